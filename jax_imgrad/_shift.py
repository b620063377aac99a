"""Shifting an image by pixels, in a form that keeps its shape.

It is the only form that JAX accepts on an image whose rows or columns are sharded over
devices (slices and rolls of a sharded axis are refused), and one row is all that the
devices then exchange. It asks nothing of the sizes: they may be 0, 1, or unknown.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LONGEST_CONSTANT = 4096
# XLA aborts where it pads them on a GPU. All are exact in int8.
_PARTS_OF_BYTES = (jnp.int2, jnp.int4, jnp.uint2, jnp.uint4)


def shift(image: jax.Array, axis: int, by: Any) -> jax.Array:
    """`image[i + by]` at pixel i, zero (or False) where there is no such pixel."""
    if image.dtype in _PARTS_OF_BYTES:
        return shift(image.astype(jnp.int8), axis, by).astype(image.dtype)
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (-by, by, 0)
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def shift_along(image: jax.Array, offsets: Sequence[Any]) -> jax.Array:
    """The same along each axis in turn, so that shifts share what they begin with.

    Of sharded rows, the devices then exchange each once, for all shifts by columns.
    """
    for axis, offset in enumerate(offsets):
        if type(offset) is not int or offset != 0:
            image = shift(image, axis, offset)
    return image


def shift_at_once(image: jax.Array, offsets: Sequence[Any]) -> jax.Array:
    """The same along all axes in one operation."""
    if not any(offsets):
        return image
    padding = [(-offset, offset, 0) for offset in offsets]
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def has_next(image: jax.Array, axis: int, by: int = 1) -> jax.Array:
    """Which pixels have one `by` further on."""
    return _exists(image, axis, by)


def has_previous(image: jax.Array, axis: int) -> jax.Array:
    """Which pixels have one before them."""
    return _exists(image, axis, -1)


def _exists(image: jax.Array, axis: int, by: int) -> jax.Array:
    size = image.shape[axis]
    everywhere = jnp.ones_like(image, bool)  # sharded as the image

    def by_row():
        def there(_, row):
            return row < size - by if by > 0 else row >= -by

        return everywhere & per_row(image, axis, there)

    def shifted():
        return shift(everywhere, axis, by)

    # On a GPU nothing is then read, and all stays one kernel: the derivative of a total
    # variation takes two thirds of the time.
    return lax.platform_dependent(cuda=shifted, rocm=shifted, default=by_row)


def per_row(
    image: jax.Array,
    axis: int,
    function: Callable[[Any, Any], Any],
    costly: bool = False,
) -> jax.Array:
    """`function(numpy, row)` of each row along `axis`; broadcasts against the image.

    `numpy` is that of JAX or NumPy itself; a `costly` function is not computed anew at
    each pixel.
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

    # A computed mask is a kernel more on a GPU and a TPU; a constant one is read slowly
    # on a CPU (bfloat16: up to 2.5 times in all), and long ones swell the program.
    if not (isinstance(size, int) and size <= _LONGEST_CONSTANT):
        return computed()
    if costly:
        return constant()
    return lax.platform_dependent(cpu=computed, default=constant)
