"""Elementwise functions with several results, computed block by block on a CPU.

XLA for GPU and for TPU can compute several results in one loop. XLA for CPU computes
one result in each loop, so it stores what several results need in temporaries of the
size of an image. Block by block, the temporaries have the size of a block, and stay in
the cache.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad import _jax

# An elementwise function of arrays of one shape and dtype, whose results have it too.
Elementwise = Callable[[tuple[jax.Array, ...]], Sequence[jax.Array]]

_BLOCK = 2048  # elements


def in_blocks(
    function: Elementwise, arrays: Sequence[jax.Array], results: int
) -> tuple[jax.Array, ...]:
    """The results of an elementwise function, which is a static parameter.

    So pass a function that is defined at the top of a module. It is not differentiated:
    the caller has a derivative rule.
    """
    arrays = _jax.match_types(*arrays)
    return tuple(blocks_p.bind(*arrays, function=function, results=results))


def _compute(
    *arrays: jax.Array, function: Elementwise, results: int
) -> Sequence[jax.Array]:
    del results
    return function(arrays)


def _result_types(*, function: Elementwise, results: int):
    del function
    return lambda *arrays: [arrays[0]] * results


def _lower(
    program: _jax.Program,
    operand_types: Sequence[Any],
    *,
    function: Elementwise,
    results: int,
):
    one, *_ = operand_types
    is_known = all(isinstance(size, int) for size in one.shape)
    on_one_cpu = program.platforms == ("cpu",) and program.devices == 1
    if (
        not (is_known and on_one_cpu)
        or math.prod(one.shape) <= _BLOCK
        or _jax.is_explicitly_sharded(one)
    ):
        return functools.partial(_compute, function=function, results=results)
    return functools.partial(_by_blocks, function=function, results=results)


def _by_blocks(
    *arrays: jax.Array, function: Elementwise, results: int
) -> list[jax.Array]:
    shape, size = arrays[0].shape, arrays[0].size
    rows = [array.reshape(size) for array in arrays]

    def step(i, filled):
        # A slice that would reach beyond the end begins earlier instead: the last block
        # computes some elements a second time.
        start = i * _BLOCK
        block = tuple(lax.dynamic_slice(row, (start,), (_BLOCK,)) for row in rows)
        return [
            lax.dynamic_update_slice(into, part, (start,))
            for into, part in zip(filled, function(block), strict=True)
        ]

    filled = [jnp.zeros_like(rows[0])] * results
    filled = lax.fori_loop(0, math.ceil(size / _BLOCK), step, filled)
    return [array.reshape(shape) for array in filled]


def _batch(arrays: Sequence[jax.Array], axes: Sequence[int | None], **parameters: Any):
    moved = _jax.match_types(*_jax.move_mapped_axes(arrays, axes, 0))
    results = blocks_p.bind(*moved, **parameters)
    return results, [0] * len(results)


blocks_p = _jax.primitive(
    "elementwise_in_blocks",
    static_names=("function", "results"),
    compute=_compute,
    result_types=_result_types,
    lower=_lower,
    batch=_batch,
)
