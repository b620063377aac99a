"""The gradient difference loss: how the gradients of two images differ in size."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._functional import functional
from jax_imgrad._masks import reduced, valid_differences, valid_floats
from jax_imgrad._norms import absolute, power
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import Axes, Implementation, Number, Numbers, Reduction


def gradient_difference(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    alpha: Number = 1.0,
    axes: Axes = (-3, -2),
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""How much the sizes of the gradients of two images differ, pixel by pixel.

    .. math::
        \frac1N \sum_i \sum_a
        \big|\, |\partial_a p_i| - |\partial_a t_i| \,\big|^\alpha

    which keeps predictions sharp. An edge of the opposite sign costs nothing: where
    that matters, take :func:`gradient_matching`. The paper sums, where we take the mean
    by default, and gives it the weight 1 beside a loss of the pixels. The authors' code
    has :math:`\alpha = 1` only, and takes the mean; the usual TensorFlow code,
    Adversarial_Video_Generation, has :math:`\alpha = 1` by default, sums over the whole
    batch, and also counts the step from the border to zeros beyond it.

    Args:
      predictions: `[B, ...]`, real; integers are taken as float32.
      targets: an array of the shape of `predictions`.
      alpha: the exponent, a number, at least 1, as in the paper.
      axes: the axes along which to take differences, an integer or a sequence of
        integers.
      where: `[B, ...]`, broadcast to `predictions`: which pixels are valid in both.
      reduction: `"mean"`, over the N valid pixels and channels, or `"sum"`.
      implementation: as for :func:`total_variation`.

    Returns:
      One number for each image, `[B]`, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option is none of its values, an axis is not
        one of the images', or `where` does not broadcast.
      TypeError: if `predictions` or `targets` is not an array of real numbers.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> sharp = jnp.array([0.0, 0, 4, 4]).reshape(1, 1, 4, 1)
      >>> blurred = jnp.array([0.0, 1, 3, 4]).reshape(1, 1, 4, 1)
      >>> losses.gradient_difference(blurred, sharp, reduction="sum")
      Array([4.], dtype=float32)

    Reference:
      M. Mathieu, C. Couprie, Y. LeCun, "Deep multi-scale video prediction beyond mean
      square error", ICLR 2016, arXiv:1511.05440, equation 6.
    """
    _arguments.check_option("reduction", reduction, ("mean", "sum"))
    alpha = _arguments.as_number_of_at_least("alpha", alpha, 1)
    _arguments.check_implementation(implementation)
    arrays = _arguments.as_real_images(predictions=predictions, targets=targets)
    counted = _arguments.as_axes(axes, "predictions", arrays[0])
    valid = _arguments.as_mask(where, "predictions", arrays[0])
    return _gradient_difference(
        arrays, valid, alpha, counted, reduction, implementation
    )


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _gradient_difference(images, valid, alpha, axes, reduction, implementation):
    total = functional(
        _penalty(alpha),
        valid_floats(images, valid),
        valid_differences(valid, axes),
        axes=axes,
        implementation=implementation,
    )
    return reduced(total, valid, images[0].shape, reduction)


@functools.cache
def _penalty(alpha: float) -> PenaltyFunction:
    def penalty(differences, valid):
        prediction, target = differences
        parts = [
            power(absolute(p) - absolute(t), alpha)
            for p, t in zip(prediction, target, strict=True)
        ]
        if valid:
            parts = [
                jnp.where(v, part, 0) for v, part in zip(valid, parts, strict=True)
            ]
        return functools.reduce(jnp.add, parts)

    return penalty
