"""Images in long rows, for one device: each axis left has differences."""

import math
from typing import Any

import jax
from jax import lax

PLATFORM = None


def why_not(operand: Any) -> str | None:
    """Why this is not for an image of this type, or None."""
    if not all(isinstance(size, int) for size in operand.shape):
        return f"it needs a shape of known numbers, got {operand.shape}"
    if operand.sharding.mesh.explicit_axes:
        return "it would gather an image that is sharded"
    return None


def joined(images, parameters, axes):
    """The arrays, `[B', ...]`, of one axis for each of differences, and their steps."""
    sizes, steps = rows_of(images[0].shape, axes)

    def join(array):
        return array.reshape(-1, *sizes) if array.ndim else array

    return [*map(join, images)], [*map(join, parameters)], steps


def rows_of(shape, axes):
    """The sizes of the joined axes, and how far the next pixel is along each."""
    ends = [*axes[1:], len(shape)]
    spans = list(zip(axes, ends, strict=True))
    sizes = [math.prod(shape[axis:end]) for axis, end in spans]
    steps = [math.prod(shape[axis + 1 : end]) for axis, end in spans]
    return sizes, steps


def one_by_one(function, images, parameters):
    """`function(images, parameters)`, of each image of the batch in turn.

    What it stores is then a part as large, and may fit in the cache.
    """

    def of_one(operands):
        images, arrays = jax.tree.map(lambda array: array[None], operands)
        arrays = iter(arrays)
        given = [next(arrays) if p.ndim else p for p in parameters]
        return jax.tree.map(lambda result: result[0], function(images, given))

    return lax.map(of_one, (list(images), [p for p in parameters if p.ndim]))


def apart(array):
    """Behind barriers: a loop that makes or reads it is over its own rows.

    XLA for CPU would otherwise fuse the reshapes around it into those loops, or copy.
    """
    # Flat in between: a reshape that only adds an axis of size 1 is a copy to XLA.
    flat = lax.optimization_barrier(array).reshape(-1)
    return lax.optimization_barrier(flat).reshape(array.shape)
