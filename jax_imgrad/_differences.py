"""Shifts and differences of an image, in a form that keeps its shape.

    d[i] = shift(x)[i] - where(i has a next pixel, x[i], 0)

Both terms are zero at the last pixel. Pixels are selected by `where`, never multiplied
by a mask, so a NaN or an infinity stays in the differences that contain it.

Of an image whose rows or columns are sharded over devices, JAX refuses slices and rolls
along a sharded axis. It accepts this form, and one row is all that the devices then
exchange. The form makes no assumption about the sizes: they may be 0, 1 or unknown.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LONGEST_CONSTANT = 4096  # rows


def shift(image: jax.Array, axis: int, by: Any) -> jax.Array:
    """`image[i + by]` at pixel i, zero (or False) where there is no such pixel."""
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (-by, by, 0)
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def shift_along(image: jax.Array, offsets: Mapping[int, Any]) -> jax.Array:
    """The image shifted along several axes, one after the other.

    Shifts by the same rows and other columns share the shift by rows. If rows are
    sharded, the devices then exchange each row once, for all of these shifts.
    """
    for axis, offset in sorted(offsets.items()):
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


def difference(image: jax.Array, axis: int, by: int = 1) -> jax.Array:
    """The pixel `by` further on minus this one; zero where there is none."""
    return shift(image, axis, by) - jnp.where(has_next(image, axis, by), image, 0)


def has_next(image: jax.Array, axis: int, by: int = 1) -> jax.Array:
    """Which pixels have a next one, `by` pixels further on."""
    return _exists(image, axis, by)


def has_previous(image: jax.Array, axis: int) -> jax.Array:
    """Which pixels have a previous one."""
    return _exists(image, axis, -1)


def _exists(image: jax.Array, axis: int, by: int) -> jax.Array:
    size = image.shape[axis]
    everywhere = jnp.ones_like(image, bool)  # sharded as the image

    def by_row():
        def exists(_, row):
            return row < size - by if by > 0 else row >= -by

        return everywhere & per_row(image, axis, exists)

    def shifted():
        return shift(everywhere, axis, by)

    # A shifted constant is not read from memory on a GPU, and all stays one kernel: the
    # derivative of a total variation takes two thirds of the time.
    return lax.platform_dependent(cuda=shifted, rocm=shifted, default=by_row)


def zero_margin(image: jax.Array, axis: int, margin: tuple[int, int]) -> jax.Array:
    """The image, zero in so many rows at the start and at the end of an axis."""
    before, after = margin
    if not (before or after):
        return image
    size = image.shape[axis]

    def inside(_, row):
        return (row >= before) & (row < size - after)

    return jnp.where(per_row(image, axis, inside), image, 0)


def per_row(
    image: jax.Array,
    axis: int,
    function: Callable[[Any, Any], Any],
    costly: bool = False,
) -> jax.Array:
    """`function(numpy, row)` of each row along `axis`; broadcasts against the image.

    `numpy` is `jax.numpy` or NumPy. A `costly` function is evaluated once for each row,
    not at each pixel.
    """
    size = image.shape[axis]
    shape = tuple(size if i == axis else 1 for i in range(image.ndim))

    def computed():
        rows = function(jnp, lax.broadcasted_iota(jnp.int32, shape, axis))
        # XLA for CPU or GPU would otherwise evaluate it at each pixel, in the loop that
        # reads it.
        return lax.optimization_barrier(rows) if costly else rows

    def constant():
        return jnp.asarray(function(np, np.arange(size).reshape(shape)))

    # A computed mask is one more kernel on a GPU and a TPU. A constant mask is read
    # slowly on a CPU (with bfloat16, the program takes up to 2.5 times as long), and a
    # long one makes the program large.
    if not (isinstance(size, int) and size <= _LONGEST_CONSTANT):
        return computed()
    if costly:
        return constant()
    return lax.platform_dependent(cpu=computed, default=constant)
