"""The scale and the shift that align a prediction with its target."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._dtypes import accumulator
from jax_imgrad._masks import Mask, count, ratio, valid_floats, without_invalid
from jax_imgrad._norms import power_of_two_near
from jax_imgrad._platforms import materialize
from jax_imgrad.typing import Numbers


def scale_and_shift(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    where: Bool[Numbers, "..."] | None = None,
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    r"""The least-squares scale and shift that align each prediction with its target.

    .. math::
        (s, b) = \arg\min_{s, b} \sum_i (s\, p_i + b - t_i)^2, \qquad
        s = \frac{\sum_i (p_i - \bar p)(t_i - \bar t)}{\sum_i (p_i - \bar p)^2}, \quad
        b = \bar t - s \bar p

    with sums and means over the valid pixels and the channels of each image. The
    aligned prediction is :math:`s\,p + b`. MiDaS aligns predictions in this way before
    its data term and :func:`gradient_matching`, and differentiates through s and b.

    A constant prediction has scale 0 and, as shift, the mean of the target; an image
    without valid pixels has scale 0 and shift 0. In both cases the derivative of the
    scale by the prediction is 0. (The code of MiDaS solves the normal equations without
    centering, and returns 0 and 0 in both cases.)

    Args:
      predictions: p, `[B, ...]`, a real JAX or NumPy array. Integers are converted to
        float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`. Invalid pixels reach neither value nor derivative.

    Returns:
      `(s, b)`, both `[B, 1, ..., 1]`, so that they broadcast with `predictions`, in at
      least float32.

    Raises:
      ValueError: if the shapes differ, the images have only a batch axis, or `where`
        does not broadcast.
      TypeError: if `predictions` or `targets` is not an array of real numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> predictions = jnp.array([[0.0, 1], [2, 4]]).reshape(1, 2, 2, 1)
      >>> targets = 3 * predictions + 5
      >>> scale, shift = losses.scale_and_shift(predictions, targets)
      >>> print(scale.item(), shift.item())
      3.0 5.0
      >>> losses.gradient_matching(scale * predictions + shift, targets, scales=1)
      Array([0.], dtype=float32)

    Reference:
      R. Ranftl et al., "Towards robust monocular depth estimation" (MiDaS),
      arXiv:1907.01341, equation 5.
    """
    pair = _arguments.as_real_images(predictions=predictions, targets=targets)
    _arguments.check_has_batch("predictions", pair[0])
    valid = _arguments.as_mask(where, "predictions", pair[0])
    return _scale_and_shift(*pair, valid)


@jax.jit
def _scale_and_shift(
    predictions: jax.Array, targets: jax.Array, valid: Mask
) -> tuple[jax.Array, jax.Array]:
    pair = valid_floats([predictions, targets], valid)
    dtype = accumulator(pair[0].dtype)
    pixels = count(valid, predictions.shape, dtype)
    pixels = pixels.reshape(-1, *[1] * (predictions.ndim - 1))
    (p, mean_p, power_p), (t, mean_t, power_t) = (
        _center(image.astype(dtype), valid, pixels) for image in pair
    )
    # If p and t are divided by powers a and b, the scale of the original images is that
    # of the divided ones times b/a.
    scale = ratio(_sum(p * t), _sum(p * p)) / power_p * power_t
    return scale, mean_t - scale * mean_p


# How an image x is centered. The scale is a quotient of sums of products of centered
# pixels, of which two things can go wrong in floating point:
#
# - The mean of a constant image is rounded, so x - mean(x) is a rounding error instead
#   of 0, and the scale a quotient of rounding errors. So first the largest pixel is
#   subtracted, y = x - max(x): of a constant image, y and its mean are exactly 0. Then
#   x - mean(x) = y - mean(y). The maximum cancels, so it needs no derivative.
# - The products can overflow or underflow. As y <= 0, |mean(y)| is the mean of |y|, and
#   no |y| exceeds it by more than the number N of pixels. Divided by a power of two
#   near |mean(y)|, which is exact, the centered pixels are at most 2N in magnitude,
#   and their squares are in range.


def _center(
    image: jax.Array, valid: Mask, pixels: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The image minus its mean, divided by a power of two; the mean; and the power."""
    axes = tuple(range(1, image.ndim))
    candidates = image if valid is None else jnp.where(valid, image, -jnp.inf)
    top = jax.lax.stop_gradient(candidates).max(axes, keepdims=True, initial=-jnp.inf)
    top = jnp.where(jnp.isfinite(top), top, 0)  # where no pixel is valid
    below_top = without_invalid(image - top, valid)
    mean = ratio(_sum(below_top), pixels)
    power, inverse = power_of_two_near(jnp.abs(mean))
    centered = without_invalid((below_top - mean) * inverse, valid)
    # The barrier keeps XLA for CPU from fusing the centering into both sums of
    # products, which would compute it twice and take twice the time.
    return materialize(centered, "cpu"), top + mean, power


def _sum(image: jax.Array) -> jax.Array:
    """The sum over each image, `[B, 1, ..., 1]`."""
    return image.sum(tuple(range(1, image.ndim)), keepdims=True)
