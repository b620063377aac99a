"""The gradient difference loss: it compares the magnitudes of differences."""

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
    r"""The gradient difference loss between two images.

    .. math::
        \frac1N \sum_i \sum_a
        \big|\, |\partial_a p_i| - |\partial_a t_i| \,\big|^\alpha

    It favors sharp predictions. It ignores the sign of the differences, so an edge of
    the opposite sign costs nothing; :func:`gradient_matching` penalizes it. The
    derivatives of :math:`|x|` and :math:`|x|^\alpha` at 0 are 0.

    The paper takes the sum (here the default is the mean), with weight 1 beside a loss
    of the pixels. The authors' code supports only :math:`\alpha = 1`, and takes the
    mean. A widely used TensorFlow implementation, Adversarial_Video_Generation, has
    :math:`\alpha = 1` by default, takes the sum over the whole batch, and pads with
    zeros, so that it includes differences across the border.

    Args:
      predictions: p, `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or
        NumPy array. Integers are converted to float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      alpha: the exponent :math:`\alpha`, a number of at least 1.
      axes: the axes along which to take differences, an integer or a sequence of
        integers.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`.
      reduction: `"mean"` over the N valid pixels and channels, or `"sum"`.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option has an unsupported value, an axis is
        out of range or the batch axis, or `where` does not broadcast.
      TypeError: if `predictions` or `targets` is not an array of real numbers.
      NotImplementedError: if the named implementation cannot run.

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
    sorted_axes = _arguments.as_axes(axes, "predictions", arrays[0])
    valid = _arguments.as_mask(where, "predictions", arrays[0])
    return _gradient_difference(
        arrays, valid, alpha, sorted_axes, reduction, implementation
    )


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _gradient_difference(
    images: list[jax.Array],
    valid: jax.Array | None,
    alpha: float,
    axes: tuple[int, ...],
    reduction: Reduction,
    implementation: Implementation | None,
) -> jax.Array:
    total = functional(
        _penalty(alpha),
        valid_floats(images, valid),
        valid_differences(valid, axes),
        axes=axes,
        implementation=implementation,
    )
    return reduced(total, valid, images[0].shape, reduction)


@functools.cache  # `functional` is compiled once for each penalty object
def _penalty(alpha: float) -> PenaltyFunction:
    def penalty(differences, masks):
        of_predictions, of_targets = differences
        penalties = [
            power(absolute(p) - absolute(t), alpha)
            for p, t in zip(of_predictions, of_targets, strict=True)
        ]
        if masks:
            penalties = [
                jnp.where(mask, value, 0)
                for mask, value in zip(masks, penalties, strict=True)
            ]
        return functools.reduce(jnp.add, penalties)

    return penalty
