"""Images minus their means, such that sums of products of their pixels are in range."""

import jax
import jax.numpy as jnp

from jax_imgrad._masks import Mask, ratio, without_invalid
from jax_imgrad._norms import power_of_two_near
from jax_imgrad._platforms import materialize

# Sums of products of centered pixels are computed, and quotients of them. Two things
# can go wrong in floating point:
#
# - The mean of a constant image is rounded, so x - mean(x) is a rounding error instead
#   of 0, and a quotient one of rounding errors. So first the largest pixel is
#   subtracted, y = x - max(x): of a constant image, y and its mean are exactly 0. Then
#   x - mean(x) = y - mean(y). The maximum cancels, so it needs no derivative.
# - The products can overflow or underflow. As y <= 0, |mean(y)| is the mean of |y|, and
#   no |y| exceeds it by more than the number N of pixels. Divided by a power of two
#   near |mean(y)|, which is exact, the centered pixels are at most 2N in magnitude,
#   and their squares are in range.
#
# Weights change neither, if the maximum is taken over pixels of a weight above 0: N is
# then the sum of the weights divided by the weight of y. A pixel of weight 0 may be of
# any size, and is multiplied by its weight before it is multiplied by another pixel.


def center(
    image: jax.Array, valid: Mask, pixels: jax.Array, weight: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The image minus its mean, divided by a power of two; the mean; and the power.

    `pixels` is the number of valid pixels, or the sum of their weights.
    """
    counts = valid if weight is None else weight > 0
    top = largest(image, counts, tuple(range(1, image.ndim)))
    below_top = without_invalid(image - top, valid)
    mean = ratio(per_image(weighted(below_top, weight)), pixels)
    power, inverse = power_of_two_near(jnp.abs(mean))
    centered = without_invalid((below_top - mean) * inverse, valid)
    # The barrier keeps XLA for CPU from fusing the centering into both sums of
    # products, which would compute it twice and take twice the time.
    return materialize(centered, "cpu"), top + mean, power


def largest(image: jax.Array, valid: Mask, axes: tuple[int, ...]) -> jax.Array:
    """The largest valid pixel, with a derivative of 0; 0 if there is none."""
    candidates = image if valid is None else jnp.where(valid, image, -jnp.inf)
    top = jax.lax.stop_gradient(candidates).max(axes, keepdims=True, initial=-jnp.inf)
    return jnp.where(jnp.isfinite(top), top, 0)


def weighted(image: jax.Array, weight: jax.Array | None) -> jax.Array:
    """The image times the weight, if there is one."""
    return image if weight is None else weight * image


def per_image(image: jax.Array) -> jax.Array:
    """The sum over each image, `[B, 1, ..., 1]`."""
    return image.sum(tuple(range(1, image.ndim)), keepdims=True)
