"""The gradient difference loss: it compares the magnitudes of differences."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._masks import valid_floats
from jax_imgrad._norms import absolute, power
from jax_imgrad._penalties import Variation
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.losses._variation import reduced_variation
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Number,
    Numbers,
    Reduction,
    Spacing,
    Weights,
)


def gradient_difference(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    alpha: Number = 1.0,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    weights: Weights | None = None,
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
    zeros, so that it includes differences across the border: `boundary="constant",
    reduction="sum"`, added over the batch.

    Args:
      predictions: p, `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or
        NumPy array. Integers are converted to float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      alpha: the exponent :math:`\alpha`, a number of at least 1.
      axes: the axes along which to take differences, an integer or a sequence of
        integers.
      boundary: as in :func:`total_variation`.
      spacing: the distance between neighboring pixels, as in :func:`total_variation`.
      weights: numbers of at least 0 that multiply the penalties: an array that
        broadcasts to the shape of `predictions`, or a sequence with one array for each
        axis, as in :func:`total_variation`.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`.
      reduction: `"mean"` over the N valid pixels and channels; `"sum"`; or
        `"axis_mean"`, where the differences along each axis are divided by their
        number. An axis without differences adds 0.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option has an unsupported value, an axis is
        out of range or the batch axis, `where` or `weights` does not broadcast, or a
        weight is negative.
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
    _arguments.check_option("reduction", reduction, get_args(Reduction))
    alpha = _arguments.as_number_of_at_least("alpha", alpha, 1)
    _arguments.check_implementation(implementation)
    arrays = _arguments.as_real_images(predictions=predictions, targets=targets)
    name, first = "predictions", arrays[0]
    specs, axis_order = _arguments.loss_axis_specs(name, first, axes, boundary, spacing)
    stencils = _stencils.gradient("forward", "derivative", specs)
    dtype = float_of(*(array.dtype for array in arrays))
    _arguments.check_stencils(name, first, stencils, dtype)
    valid = _arguments.as_mask(where, name, first)
    return _gradient_difference(
        arrays,
        _arguments.as_weights(
            weights, accumulator(dtype), name, first.shape, valid, axis_order
        ),
        valid,
        alpha,
        stencils,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _gradient_difference(
    images: list[jax.Array],
    weights: list[jax.Array],
    valid: jax.Array | None,
    alpha: float,
    stencils: tuple[SeparableStencil, ...],
    reduction: Reduction,
    implementation: Implementation | None,
) -> jax.Array:
    images = valid_floats(images, valid)
    return reduced_variation(
        _DifferenceOfMagnitudes(alpha=alpha),
        images,
        stencils,
        pixels=images[0].shape,
        delta=jnp.zeros((), accumulator(images[0].dtype)),  # which it ignores
        weights=weights,
        valid=valid,
        reduction=reduction,
        subtract_delta=True,
        implementation=implementation,
    )


@dataclasses.dataclass(frozen=True)
class _DifferenceOfMagnitudes(Variation):
    """The penalty of the differences p and t of two images: ||p| - |t||^alpha."""

    name: str = "difference of magnitudes"
    alpha: float = 1.0

    def rho(self, xs: Sequence[jax.Array], delta: jax.Array) -> jax.Array:
        """The penalty of one pair of differences."""
        del delta
        p, t = xs
        return power(absolute(p) - absolute(t), self.alpha)
