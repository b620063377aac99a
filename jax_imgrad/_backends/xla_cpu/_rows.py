"""Images in long rows: only the axes along which there are differences are left."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from jax_imgrad._jax import is_explicitly_sharded
from jax_imgrad._stencils import Maps


def why_not(operand: jax.Array, maps: Maps | None, stacked: bool) -> str | None:
    """Why images of this type are not computed in rows, or None."""
    del maps, stacked
    if not all(isinstance(size, int) for size in operand.shape):
        return f"it needs a shape of known numbers, got {operand.shape}"
    if is_explicitly_sharded(operand):
        return "it would gather an image that is sharded"
    return None


def flatten_axes(
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[list[jax.Array], list[jax.Array], list[int]]:
    """The arrays as `[B', ...]` with one axis for each of `axes`, and their strides."""
    sizes, strides = flat_sizes(images[0].shape, axes)

    def flatten(array: jax.Array) -> jax.Array:
        return array.reshape(-1, *sizes) if array.ndim else array

    return [*map(flatten, images)], [*map(flatten, parameters)], strides


def flat_sizes(
    shape: tuple[int, ...], axes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The sizes of the flattened axes, and how far the next pixel is along each."""
    ends = [*axes[1:], len(shape)]
    spans = list(zip(axes, ends, strict=True))
    sizes = [math.prod(shape[axis:end]) for axis, end in spans]
    strides = [math.prod(shape[axis + 1 : end]) for axis, end in spans]
    return sizes, strides


def one_by_one(
    function: Callable[[Sequence[jax.Array], Sequence[jax.Array]], Any],
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
) -> Any:
    """`function(images, parameters)` for one image of the batch after the other.

    Its temporaries are then of the size of one image, and may fit in the cache.
    """

    def of_one(operands):
        images, arrays = jax.tree.map(lambda array: array[None], operands)
        arrays = iter(arrays)
        given = [next(arrays) if p.ndim else p for p in parameters]
        return jax.tree.map(lambda result: result[0], function(images, given))

    return lax.map(of_one, (list(images), [p for p in parameters if p.ndim]))


def materialize_rows(array: jax.Array) -> jax.Array:
    """The array in memory, so that the loops that write or read it have its rows.

    XLA for CPU would otherwise fuse the reshapes around it into those loops, or copy.
    """
    # Flat in between: a reshape that only adds an axis of size 1 is a copy to XLA.
    flat = lax.optimization_barrier(array).reshape(-1)
    return lax.optimization_barrier(flat).reshape(array.shape)
