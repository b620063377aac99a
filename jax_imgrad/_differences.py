"""Differences of neighboring pixels, and what flows out of each pixel.

In the shift form of `_shift.py`, which keeps the shape of the image:

    d[i] = shift(x)[i] - where(i has a next pixel, x[i], 0)

whose two terms are both zero at the last pixel. Pixels are selected by `where`, never
by a product, so a NaN or an infinity stays in the differences that contain it.
"""

import jax
import jax.numpy as jnp

from jax_imgrad._shift import has_next, shift


def difference(image: jax.Array, axis: int, by: int = 1) -> jax.Array:
    """The pixel `by` further on minus this one; zero where there is none."""
    return shift(image, axis, by) - jnp.where(has_next(image, axis, by), image, 0)


def outflow(flow: jax.Array, axis: int) -> jax.Array:
    """Minus the transpose of `difference`: what leaves a pixel minus what enters it."""
    # Term by term: shift(., 1) and shift(., -1) are transposes of one another, and a
    # selection is its own.
    return jnp.where(has_next(flow, axis), flow, 0) - shift(flow, axis, -1)
