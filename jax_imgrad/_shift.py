"""Shifting an image by a pixel, in a form that keeps its shape.

It is the only form that JAX accepts on an image whose rows or columns are sharded over
devices (slices and rolls of a sharded axis are refused), and one row is all that the
devices then exchange. It asks nothing of the sizes: they may be 0, 1, or unknown.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LONGEST_CONSTANT = 4096


def shift(image: jax.Array, axis: int, by: int) -> jax.Array:
    """`image[i + by]` at pixel i, zero (or False) where there is no such pixel."""
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (-by, by, 0)
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def has_next(image: jax.Array, axis: int, by: int = 1) -> jax.Array:
    """Which pixels have one `by` further on; it broadcasts against the image."""
    size = image.shape[axis]
    shape = tuple(size if i == axis else 1 for i in range(image.ndim))

    def computed():
        return lax.broadcasted_iota(jnp.int32, shape, axis) < size - by

    def constant():
        return jnp.asarray((np.arange(size) < size - by).reshape(shape))

    # A computed mask is a kernel more on a GPU and a TPU; a constant one is read slowly
    # on a CPU (bfloat16: up to 2.5 times in all), and long ones swell the program.
    if isinstance(size, int) and size <= _LONGEST_CONSTANT:
        return lax.platform_dependent(cpu=computed, default=constant)
    return computed()
