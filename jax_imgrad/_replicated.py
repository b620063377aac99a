"""A barrier in programs for several devices, against a fault of XLA's partitioner.

In JAX 0.10 and 0.12, with automatic sharding, XLA may drop the shift of

    lax.pad(y, 0, [(-1, 1, 0)])

if y is an argument of the program that is replicated over the devices, and the result
is needed sharded along that axis, as for `x + lax.pad(...)` with a sharded x. An
optimization barrier between the argument and the shift keeps the partitioner from that.
On one device there is nothing to partition, and a barrier would prevent fusion.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax

from jax_imgrad import _jax


def before_shift(array: jax.Array) -> jax.Array:
    """The array, behind an optimization barrier unless there is one device."""
    (result,) = _barrier_p.bind(array)
    return result


def _compute(array: jax.Array) -> list[jax.Array]:
    return [array]


def _with_barrier(array: jax.Array) -> list[jax.Array]:
    return [lax.optimization_barrier(array)]


def _lower(program: _jax.Program, operand_types: Sequence[Any]):
    del operand_types
    return _compute if program.devices == 1 else _with_barrier


def _batch(arrays: Sequence[jax.Array], axes: Sequence[int]):
    return _barrier_p.bind(*arrays), axes


def _transpose(cotangents: Sequence[jax.Array | None]):
    return cotangents


_barrier_p = _jax.primitive(
    "barrier_on_several_devices",
    static_names=(),
    compute=_compute,
    result_types=lambda: _compute,
    lower=_lower,
    batch=_batch,
)
_jax.define_transpose(_barrier_p, _transpose)
