"""The stencil primitive, for all linear operators, and its transpose.

The JVP of a linear map is the map itself, at every order, and needs no residuals. To
differentiate it in reverse mode, JAX only needs its transpose. For a matrix of
stencils, y_r = sum over i of S_ri x_i, that is the transposed matrix of the transposed
stencils:

    x_i = sum over r of transpose(S_ri) y_r

so the transpose is bound to the same primitive. If JAX differentiated the definition
instead, it would keep the masks in it, each of the size of the image, as residuals; and
it cannot differentiate a Pallas kernel at all.
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

    The results are separate arrays or, with `stacked`, one array that has them along a
    new last axis.
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

    is_empty = 0 in operand_types[0].shape
    runs = is_empty or _backends.runs_on(backend, program)
    # Another platform can only interpret a Pallas kernel.
    if implementation and not (runs or _jax.is_interpreted(compute, *operand_types)):
        raise _backends.wrong_platform(implementation, program)
    return compute


def _result_types(*, maps: Maps, stacked: bool, implementation: Implementation | None):
    def results(*images: jax.Array) -> list[jax.Array]:
        # Every result has the type of an image.
        arrays = [images[0]] * len(maps)
        return [jnp.stack(arrays, axis=-1)] if stacked else arrays

    if implementation is None or _backends.BACKENDS[implementation].platform is None:
        return results

    # A Pallas kernel is traced itself: if it is interpreted, it has effects to record.
    def kernel(*images: jax.Array) -> list[jax.Array]:
        return _compute(
            *images, maps=maps, stacked=stacked, implementation=implementation
        )

    return kernel


def _batch(
    images: Sequence[jax.Array],
    axes: Sequence[int | None],
    *,
    maps: Maps,
    **options: Any,
):
    """The rule for `vmap`: the mapped axis stays where it is in the first mapped image.

    The axes of the stencils that come after it move by one.
    """
    mapped = next(axis for axis in axes if axis is not None)
    moved = _jax.match_types(*_jax.move_mapped_axes(images, axes, mapped))
    maps = tuple(tuple(move_axes(stencil, mapped) for stencil in row) for row in maps)
    results = stencil_p.bind(*moved, maps=maps, **options)
    return results, [mapped] * len(results)


def _transpose(
    cotangents: Sequence[jax.Array | None],
    *,
    maps: Maps,
    stacked: bool,
    implementation: Implementation | None,
):
    """The transposed maps, applied to the cotangents of the results.

    Rows of `maps` whose cotangent is zero (None) are left out, if the back end can
    compute what remains.
    """
    if stacked:
        (stack,) = cotangents
        rows = range(len(maps))
        cotangents = [None if stack is None else stack[..., r] for r in rows]
    nonzero = [
        (row, cotangent)
        for row, cotangent in zip(maps, cotangents, strict=True)
        if cotangent is not None
    ]
    if not nonzero:
        return [None] * len(maps[0])
    operands = [cotangent for _, cotangent in nonzero]
    transposed = _transposed(row for row, _ in nonzero)
    # A Pallas kernel may exist for all rows only, and then takes zeros for the others.
    if _backends.why_not(implementation, operands[0], transposed):
        zero = jnp.zeros_like(operands[0])
        operands = [zero if c is None else c for c in cotangents]
        transposed = _transposed(maps)
    return stencil(operands, transposed, implementation)


def _transposed(maps: Iterable[tuple[SeparableStencil, ...]]) -> Maps:
    """The transposed matrix of the transposed stencils."""
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
