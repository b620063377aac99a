"""The scale and the shift that align a prediction with its target."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._masks import Mask, count, ratio, valid_floats, without_invalid
from jax_imgrad._norms import power_of_two_near
from jax_imgrad.losses._center import center, per_image, weighted
from jax_imgrad.typing import Numbers, Parameter


def scale_and_shift(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    weights: Parameter | None = None,
    where: Bool[Numbers, "..."] | None = None,
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    r"""The least-squares scale and shift that align each prediction with its target.

    .. math::
        (s, b) = \arg\min_{s, b} \sum_i w_i (s\, p_i + b - t_i)^2, \qquad
        s = \frac{\sum_i w_i (p_i - \bar p)(t_i - \bar t)}
                 {\sum_i w_i (p_i - \bar p)^2}, \quad
        b = \bar t - s \bar p

    with sums over the valid pixels and the channels of each image, and weighted means,
    :math:`\bar p = \sum_i w_i p_i / \sum_i w_i`. All weights are 1 by default. The
    aligned prediction is :math:`s\,p + b`. MiDaS aligns predictions in this way before
    its data term and :func:`gradient_matching`, and differentiates through s and b.

    A constant prediction has scale 0 and, as shift, the mean of the target; an image
    without valid pixels, or whose weights are all 0, has scale 0 and shift 0. In these
    cases the derivative of the scale by the prediction is 0. (The code of MiDaS solves
    the normal equations without centering, and returns 0 and 0 in all of them.)

    Args:
      predictions: p, `[B, ...]`, a real JAX or NumPy array. Integers are converted to
        float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      weights: numbers of at least 0, an array that broadcasts to the shape of
        `predictions`. Scale and shift are differentiable with respect to them. A
        common factor of all weights of an image changes nothing.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`. Invalid pixels reach neither value nor derivative.

    Returns:
      `(s, b)`, both `[B, 1, ..., 1]`, so that they broadcast with `predictions`, in at
      least float32.

    Raises:
      ValueError: if the shapes differ, the images have only a batch axis, `where` or
        `weights` does not broadcast, or a weight is negative.
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
    dtype = accumulator(float_of(*(image.dtype for image in pair)))
    shape = pair[0].shape
    given = _arguments.as_weights(weights, dtype, "predictions", shape, valid, None)
    return _scale_and_shift(*pair, given, valid)


@jax.jit
def _scale_and_shift(
    predictions: jax.Array, targets: jax.Array, weights: list[jax.Array], valid: Mask
) -> tuple[jax.Array, jax.Array]:
    pair = valid_floats([predictions, targets], valid)
    dtype = accumulator(pair[0].dtype)
    pixels = count(valid, predictions.shape, dtype)
    pixels = pixels.reshape(-1, *[1] * (predictions.ndim - 1))
    weight = None
    if weights:
        weight = _rescaled(weights[0], predictions.shape, valid)
        pixels = per_image(weight)
    (p, mean_p, power_p), (t, mean_t, power_t) = (
        center(image.astype(dtype), valid, pixels, weight) for image in pair
    )
    weighted_p = weighted(p, weight)
    # If p and t are divided by powers a and b, the scale of the original images is that
    # of the divided ones times b/a.
    scale = ratio(per_image(weighted_p * t), per_image(weighted_p * p))
    scale = scale / power_p * power_t
    return scale, mean_t - scale * mean_p


def _rescaled(weight: jax.Array, shape: tuple[int, ...], valid: Mask) -> jax.Array:
    """The weight of each pixel, 0 where it is invalid, with a maximum near 1.

    A common factor of the weights cancels.
    """
    weight = without_invalid(jnp.broadcast_to(weight, shape), valid)
    axes = tuple(range(1, len(shape)))
    largest = jax.lax.stop_gradient(weight).max(axes, keepdims=True, initial=0)
    return weight * power_of_two_near(largest)[1]
