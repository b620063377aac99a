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
    r"""The scale and the shift of each prediction that bring it closest to its target.

    .. math::
        (s, b) = \arg\min_{s, b} \sum_i (s\, p_i + b - t_i)^2, \qquad
        s = \frac{\sum_i (p_i - \bar p)(t_i - \bar t)}{\sum_i (p_i - \bar p)^2}, \quad
        b = \bar t - s \bar p

    over the valid pixels and the channels of each image. MiDaS so aligns a prediction
    before it takes its data term and :func:`gradient_matching`, and differentiates
    through the alignment. A constant prediction has the scale 0, and the mean of the
    target as its shift; an image without a valid pixel has 0 and 0. (MiDaS's code
    solves the normal equations, which are not centered, and gives 0 and 0 to both.) The
    derivatives of the scale by the prediction are 0 there.

    Args:
      predictions: p, `[B, ...]`, real; integers are taken as float32.
      targets: t, an array of the shape of `predictions`.
      where: `[B, ...]`, broadcast to `predictions`: which pixels are valid in both.

    Returns:
      The scales and the shifts, both `[B, 1, ..., 1]`, which broadcast with the
      predictions, in at least float32.

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast.
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
def _scale_and_shift(predictions, targets, valid):
    pair = valid_floats([predictions, targets], valid)
    wide = accumulator(pair[0].dtype)
    pixels = count(valid, predictions.shape, wide)
    pixels = pixels.reshape(-1, *[1] * (predictions.ndim - 1))
    (p, mean_p, power_p), (t, mean_t, power_t) = (
        _centered(image.astype(wide), valid, pixels) for image in pair
    )
    # Of p/a and t/b the scale is s a/b.
    scale = ratio(_sum(p * t), _sum(p * p)) / power_p * power_t
    return scale, mean_t - scale * mean_p


def _centered(image: jax.Array, valid: Mask, pixels: jax.Array):
    """The image minus its mean, divided by a power of two; the mean; and the power.

    The power is near the mean of the distances from the largest pixel, so that squares
    are in range: a distance is at most as many times as large as there are pixels.
    """
    # Pixels are first taken from the largest one, so that a constant is exactly 0: its
    # mean is rounded, and what is left of it would be divided by itself.
    axes = tuple(range(1, image.ndim))
    candidates = image if valid is None else jnp.where(valid, image, -jnp.inf)
    top = jax.lax.stop_gradient(candidates).max(axes, keepdims=True, initial=-jnp.inf)
    top = jnp.where(jnp.isfinite(top), top, 0)  # where no pixel is valid
    below = without_invalid(image - top, valid)
    mean = ratio(_sum(below), pixels)
    power, inverse = power_of_two_near(jnp.abs(mean))
    centered = without_invalid((below - mean) * inverse, valid)
    # XLA for CPU would otherwise compute it in the loops of both sums, which takes
    # twice the time.
    return materialize(centered, "cpu"), top + mean, power


def _sum(image: jax.Array) -> jax.Array:
    return image.sum(tuple(range(1, image.ndim)), keepdims=True)
