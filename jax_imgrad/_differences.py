"""Shifts and differences of an image that keep its shape.

A difference along an axis is

    d[i] = shift(x, 1)[i] - where(i has a next pixel, x[i], 0)

where `shift(x, 1)[i]` is x[i + 1], or 0 beyond the border. At the last pixel both terms
are 0. Pixels are selected by `where` and never multiplied by a mask, so a NaN or an
infinity stays in the differences that contain it.

Every array here has the shape of the image, for two reasons. JAX refuses a slice or a
roll along an axis that is sharded over devices; it accepts these shifts, for which
neighboring devices exchange one row. And sizes may be 0, 1 or symbolic.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LONGEST_CONSTANT = 4096  # elements of a mask that is stored in the program


def shift(image: jax.Array, axis: int, by: Any) -> jax.Array:
    """`image[i + by]` at pixel i; 0 (or False) where there is no pixel i + by."""
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (-by, by, 0)
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def shift_along(image: jax.Array, offsets: Mapping[int, Any]) -> jax.Array:
    """The image shifted along several axes, one axis after the other, rows first.

    Two shifts by the same number of rows then share the shift along the rows. If rows
    are sharded, the devices exchange each row once for all shifts that need it.
    """
    for axis, offset in sorted(offsets.items()):
        # A symbolic offset, of a wrapped axis, is not compared with 0.
        if type(offset) is not int or offset != 0:
            image = shift(image, axis, offset)
    return image


def shift_at_once(image: jax.Array, offsets: Mapping[int, Any]) -> jax.Array:
    """The image shifted along several axes, in one operation."""
    if not any(offsets.values()):
        return image
    padding: list[tuple[Any, Any, int]] = [(0, 0, 0)] * image.ndim
    for axis, offset in offsets.items():
        padding[axis] = (-offset, offset, 0)
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def next_pixel(image: jax.Array, axis: int, wraps: bool) -> jax.Array:
    """`image[i + 1]` at pixel i; at the last pixel, `image[0]` if it wraps, else 0."""
    return _neighbor(image, axis, 1, wraps)


def previous_pixel(image: jax.Array, axis: int, wraps: bool) -> jax.Array:
    """`image[i - 1]` at pixel i; at the first, the last pixel if it wraps, else 0."""
    return _neighbor(image, axis, -1, wraps)


def _neighbor(image: jax.Array, axis: int, by: int, wraps: bool) -> jax.Array:
    neighbor = shift(image, axis, by)
    if not wraps:
        return neighbor
    # The other shift is 0 but at the border, where the first one is 0.
    around = shift(image, axis, by * (1 - image.shape[axis]))
    return neighbor | around if image.dtype == bool else neighbor + around


def has_next(image: jax.Array, axis: int, by: int = 1) -> jax.Array:
    """Where there is a pixel i + by, for a positive `by`."""
    return _exists(image, axis, by)


def has_previous(image: jax.Array, axis: int) -> jax.Array:
    """Where there is a pixel i - 1."""
    return _exists(image, axis, -1)


def _exists(image: jax.Array, axis: int, by: int) -> jax.Array:
    """Where there is a pixel i + by: a mask of the shape and sharding of the image."""
    size = image.shape[axis]
    everywhere = jnp.ones_like(image, bool)

    def by_row():
        def exists(_, row):
            return row < size - by if by > 0 else row >= -by

        return everywhere & per_row(image, axis, exists)

    def shifted():
        return shift(everywhere, axis, by)

    # XLA for GPU evaluates a shifted constant without reading it from memory, in the
    # kernel that uses it: the derivative of a total variation takes two thirds of the
    # time that it takes with a mask by row.
    return lax.platform_dependent(cuda=shifted, rocm=shifted, default=by_row)


def zero_margin(image: jax.Array, axis: int, margin: tuple[int, int]) -> jax.Array:
    """The image, set to 0 in the first and the last rows along an axis.

    `margin` is the number of rows at the start and the number of rows at the end.
    """
    before, after = margin
    if not (before or after):
        return image
    size = image.shape[axis]

    def inside(_, row):
        return (row >= before) & (row < size - after)

    zero = jnp.zeros((), image.dtype)
    return jnp.where(per_row(image, axis, inside), image, zero)


def per_row(
    image: jax.Array,
    axis: int,
    function: Callable[[Any, Any], Any],
    costly: bool = False,
) -> jax.Array:
    """Evaluates a function of the row index; the result broadcasts against the image.

    Args:
      image: has the shape that the result broadcasts against.
      axis: along which rows are counted.
      function: `function(numpy, row)`, where `row` is an array of the row indices and
        `numpy` the module that it belongs to: `jax.numpy` or NumPy.
      costly: evaluate the function once per row and store the result, instead of
        leaving XLA free to evaluate it again at each pixel.
    """
    size = image.shape[axis]
    shape = tuple(size if i == axis else 1 for i in range(image.ndim))

    def computed():
        rows = function(jnp, lax.broadcasted_iota(jnp.int32, shape, axis))
        # Without the barrier, XLA for CPU and for GPU would fuse the function into the
        # loop over pixels that uses it, and evaluate it at each pixel.
        return lax.optimization_barrier(rows) if costly else rows

    def constant():
        return jnp.asarray(function(np, np.arange(size).reshape(shape)))

    # On a GPU and a TPU, computing the rows costs one more kernel, so a constant is
    # better. On a CPU, reading a constant is slow: with bfloat16, programs take up to
    # 2.5 times as long. A long constant would make the program large, and a symbolic
    # size has none.
    if not (isinstance(size, int) and size <= _LONGEST_CONSTANT):
        return computed()
    if costly:
        return constant()
    return lax.platform_dependent(cpu=computed, default=constant)
