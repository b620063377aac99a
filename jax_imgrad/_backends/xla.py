"""The definition of the gradient of an image and of its divergence.

Every step keeps the shape of the image, in the *shift* form

    d[i] = shift(x)[i] - where(i has a next pixel, x[i], 0)

whose two terms are both zero at the last pixel. From that form come three properties.
XLA makes one loop of it, with no temporary, on every platform. It is the only one that
JAX accepts on an image whose rows or columns are sharded over devices (slices of a
sharded axis are refused), and one row is all that the devices then exchange. And it
asks nothing of the sizes, which may be 0, 1, or not known yet.

Pixels are selected by `where`, never by a product, so a NaN or an infinity stays in the
differences that contain it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

PLATFORM = None

_LONGEST_CONSTANT = 4096


def why_not(operand: Any) -> None:
    """There is nothing that this back end refuses."""
    del operand


def image_gradients(
    image: jax.Array, axes: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """(dy, dx), the forward differences, zero in the last row and column."""
    rows, columns = axes
    return _difference(image, rows), _difference(image, columns)


def divergence(dy: jax.Array, dx: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Minus the transpose of `image_gradients`: what flows out of each pixel."""
    rows, columns = axes
    return _outflow(dy, rows) + _outflow(dx, columns)


def _difference(image: jax.Array, axis: int) -> jax.Array:
    return _shift(image, axis, 1) - jnp.where(_has_next(image, axis), image, 0)


def _outflow(flow: jax.Array, axis: int) -> jax.Array:
    # Term by term minus the transpose of _difference: shift(., 1) and shift(., -1) are
    # transposes of one another, and a selection is its own.
    return jnp.where(_has_next(flow, axis), flow, 0) - _shift(flow, axis, -1)


def _shift(image: jax.Array, axis: int, by: int) -> jax.Array:
    """`image[i + by]` at pixel i, zero where there is no such pixel."""
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (-by, by, 0)
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def _has_next(image: jax.Array, axis: int) -> jax.Array:
    """Which pixels have a next one along `axis`; it broadcasts against the image."""
    size = image.shape[axis]
    shape = tuple(size if i == axis else 1 for i in range(image.ndim))

    def computed():
        return lax.broadcasted_iota(jnp.int32, shape, axis) < size - 1

    def constant():
        return jnp.asarray((np.arange(size) < size - 1).reshape(shape))

    # A computed mask is a kernel more on a GPU and a TPU; a constant one makes bfloat16
    # up to 2.5 times slower on a CPU, and long ones swell the program.
    if isinstance(size, int) and size <= _LONGEST_CONSTANT:
        return lax.platform_dependent(cpu=computed, default=constant)
    return computed()
