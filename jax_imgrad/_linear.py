"""The stencil operation, and its transpose: one primitive for all linear operators.

A linear map is its own derivative, at every order, and nothing need be kept in memory
for it: it only has to say what its transpose is. The transpose of a matrix of stencils
is the transposed matrix of their transposes. JAX could differentiate the definition,
but would keep the masks in it, at the size of the image, until they are used; and it
does not know the derivative of a kernel.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jax_imgrad import _backends, _jax
from jax_imgrad._stencils import Maps, SeparableStencil, move_axes, transpose
from jax_imgrad.typing import Implementation


def stencil(
    images: Sequence[jax.Array],
    maps: Maps,
    implementation: Implementation | None,
    *,
    stacked: bool = False,
) -> list[jax.Array]:
    """For each row of `maps`, the sum of its stencils applied to the images.

    The results are arrays of their own, or `stacked` in one, along a last axis.
    """
    images = _jax.match_types(*images)
    _backends.check(implementation, images[0], maps, stacked)
    return stencil_p.bind(
        *images, maps=maps, stacked=stacked, implementation=implementation
    )


def _compute(
    *images: jax.Array,
    maps: Maps,
    stacked: bool,
    implementation: Implementation | None,
) -> list[jax.Array]:
    return _backends.BACKENDS[implementation or "xla"].stencil(images, maps, stacked)


def _lower(
    program: _jax.Program,
    operand_types: Sequence[Any],
    *,
    maps: Maps,
    stacked: bool,
    implementation: Implementation | None,
):
    backend = _backends.choose(implementation, program, operand_types[0])

    def compute(*images: jax.Array) -> list[jax.Array]:
        return backend.stencil(images, maps, stacked)

    if implementation and not _backends.runs_on(backend, program):
        empty = 0 in operand_types[0].shape  # for which there is no kernel
        if not (empty or _jax.is_interpreted(compute, *operand_types)):
            raise _backends.wrong_platform(implementation, program)
    return compute


def _result_types(*, maps: Maps, stacked: bool, implementation: Implementation | None):
    def results(*images: jax.Array) -> list[jax.Array]:
        alike = [images[0]] * len(maps)
        return [jnp.stack(alike, axis=-1)] if stacked else alike

    if implementation is None or _backends.BACKENDS[implementation].platform is None:
        return results

    def kernel(*images: jax.Array) -> list[jax.Array]:
        return _compute(
            *images, maps=maps, stacked=stacked, implementation=implementation
        )

    return kernel


def _batch(
    images: Sequence[jax.Array],
    batched: Sequence[int | None],
    *,
    maps: Maps,
    **options: Any,
):
    """The same stencils along the same axes, which make room for the mapped one."""
    at = next(axis for axis in batched if axis is not None)
    moved = _jax.match_types(*_jax.move_mapped_axes(images, batched, at))
    maps = tuple(tuple(move_axes(one, at) for one in row) for row in maps)
    results = stencil_p.bind(*moved, maps=maps, **options)
    return results, [at] * len(results)


def _transpose(
    cotangents: Sequence[jax.Array | None],
    *,
    maps: Maps,
    stacked: bool,
    implementation: Implementation | None,
):
    """The transposed maps, without the rows whose results have no cotangent."""
    if stacked:
        (whole,) = cotangents
        parts = range(len(maps))
        cotangents = [None if whole is None else whole[..., i] for i in parts]
    given = [
        (row, cotangent)
        for row, cotangent in zip(maps, cotangents, strict=True)
        if cotangent is not None
    ]
    if not given:
        return [None] * len(maps[0])
    flow = [cotangent for _, cotangent in given]
    transposed = _transposed(row for row, _ in given)
    if _backends.why_not(implementation, flow[0], transposed):  # a kernel for all rows
        zero = jnp.zeros_like(flow[0])
        flow = [zero if c is None else c for c in cotangents]
        transposed = _transposed(maps)
    return stencil(flow, transposed, implementation)


def _transposed(maps: Iterable[tuple[SeparableStencil, ...]]) -> Maps:
    return tuple(tuple(map(transpose, column)) for column in zip(*maps, strict=True))


stencil_p = _jax.primitive(
    "stencil",
    static_names=("maps", "stacked", "implementation"),
    compute=_compute,
    result_types=_result_types,
    lower=_lower,
    batch=_batch,
)
_jax.define_transpose(stencil_p, _transpose)
