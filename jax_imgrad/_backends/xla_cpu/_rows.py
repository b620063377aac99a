"""Long rows: arrays whose axes are merged until each one left has differences."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from jax_imgrad._jax import is_explicitly_sharded
from jax_imgrad._stencils import Maps


def why_not(operand_type: Any, maps: Maps | None, stacked: bool) -> str | None:
    """The reason why this back end cannot compute, or None if it can."""
    del maps, stacked
    if not all(isinstance(size, int) for size in operand_type.shape):
        return f"it needs a shape of known numbers, got {operand_type.shape}"
    if is_explicitly_sharded(operand_type):
        return "it would gather an image that is sharded"
    return None


def flatten_axes(
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[list[jax.Array], list[jax.Array], list[int]]:
    """The arrays with one axis for each of `axes`, after a batch axis.

    Returns:
      The images and the parameters as `[B', ...]` (scalar parameters as they are), and
      the stride of each axis: how far the next pixel along it is.
    """
    sizes, strides = flat_sizes(images[0].shape, axes)

    def flatten(array: jax.Array) -> jax.Array:
        return array.reshape(-1, *sizes) if array.ndim else array

    return [*map(flatten, images)], [*map(flatten, parameters)], strides


def flat_sizes(
    shape: tuple[int, ...], axes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The size of each flattened axis, and its stride.

    Each of `axes` is merged with the axes after it, up to the next one of `axes`. For
    `[B, H, W, C]` and axes (1, 2), the sizes are [H, W*C], and the strides [1, C].
    """
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
    """`function(images, parameters)`, evaluated for one image of the batch at a time.

    Its temporaries then have the size of one image, and may fit in the cache.
    """

    def of_one(operands: tuple[list[jax.Array], list[jax.Array]]) -> Any:
        images, arrays = jax.tree.map(lambda array: array[None], operands)
        arrays = iter(arrays)
        with_scalars = [next(arrays) if p.ndim else p for p in parameters]
        return jax.tree.map(lambda result: result[0], function(images, with_scalars))

    return lax.map(of_one, (list(images), [p for p in parameters if p.ndim]))


def materialize_rows(array: jax.Array) -> jax.Array:
    """Stores the array, so that the loops that write and read it run over its rows.

    Without the barriers, XLA for CPU would fuse the reshapes before and after into
    those loops, or copy the array.
    """
    # Between the barriers the array is flat. Without that, a reshape that only adds an
    # axis of size 1 would be a copy.
    flat = lax.optimization_barrier(array).reshape(-1)
    return lax.optimization_barrier(flat).reshape(array.shape)
