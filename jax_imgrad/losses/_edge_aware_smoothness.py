"""Edge-aware smoothness: differences of a field, weighted down at edges of a guide."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments, _stencils
from jax_imgrad._arguments import renamed
from jax_imgrad._banded import apply
from jax_imgrad._differences import shift_along
from jax_imgrad._dtypes import (
    accumulator,
    float_of,
    largest_value,
    real_dtype,
    upcast,
)
from jax_imgrad._jax import is_unsharded_along
from jax_imgrad._masks import Mask, ratio, valid_floats, without_invalid
from jax_imgrad._norms import absolute, power_of_two_near
from jax_imgrad._penalties import Variation
from jax_imgrad._platforms import materialize
from jax_imgrad._replicated import before_shift
from jax_imgrad._stencils import AxisSpec, SeparableStencil
from jax_imgrad.losses._variation import one_for_each, reduced_variation
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    EdgeAwarePenalty,
    EdgeWeighting,
    Implementation,
    Numbers,
    Order,
    Parameter,
    Reduction,
    Spacing,
    Weights,
)


@renamed(scale="delta")
def edge_aware_smoothness(
    field: Num[Numbers, "B ... C"],
    guide: Num[Numbers, "B ... G"],
    *,
    order: Order = 1,
    mixed: bool = False,
    penalty: EdgeAwarePenalty = "l1",
    delta: Parameter = 1e-3,
    subtract_delta: bool = True,
    edge_weight: Parameter = 1.0,
    edge_weighting: EdgeWeighting = "exponential",
    mean_normalized: bool = False,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    weights: Weights | None = None,
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "axis_mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""The edge-aware smoothness loss of a field, guided by an image.

    .. math::
        \sum_a \frac{1}{N_a} \sum_i \rho(\partial_a^n d_i) \,
        \exp\Big(-\frac1G \sum_{g=1}^{G} \phi(\lambda\, \delta_a I_{ig})\Big)

    where :math:`N_a` is the number of valid differences and channels along axis a. For
    `order=1`, :math:`\partial_a d` and :math:`\delta_a I` are forward differences. For
    `order=2`, they are :math:`d_{i+2} - 2 d_{i+1} + d_i`, which is 0 for a ramp, and
    :math:`I_{i+2} - I_i`. :math:`\rho(x)` is :math:`|x|`, or
    :math:`\sqrt{x^2 + \epsilon^2} - \epsilon` for `penalty="charbonnier"`.
    :math:`\phi(x)` is :math:`|x|`, or :math:`x^2` for `edge_weighting="gaussian"`. The
    loss is differentiable with respect to field and guide; the derivative of
    :math:`|x|` at 0 is 0. For complex fields, :math:`|x|` is the absolute value of the
    complex difference.

    With `mixed=True`, the sum is over ordered pairs of axes (a, b), with a = b or not:

    .. math::
        \sum_{a, b} \frac{1}{N_{ab}} \sum_i \rho(\partial_b \partial_a d_i) \,
        \exp\Big(-\frac1G \sum_{g=1}^{G} \phi(\lambda\, \delta_a I_{i + e_b, g})\Big)

    where :math:`\partial` and :math:`\delta` are forward differences, and
    :math:`i + e_b` is the pixel after i along b. So each mixed difference occurs twice,
    with the weights of two differences of the guide.

    - Monodepth, paper and code: the default options, with I in [0, 1]. The weight of
      this loss in the objective of the code is 0.1, divided by :math:`2^k` at scale k.
    - Monodepth2, paper and code: `mean_normalized=True`, so that scaling the disparity
      down does not decrease the loss. Its weight is 0.001, divided by :math:`2^k`.
    - UFlow: in the paper, order 1 or 2, :math:`|x|` and :math:`\lambda = 150`. In the
      code, `penalty="charbonnier", subtract_delta=False`, the edge weighting is
      exponential or Gaussian, the sum over the axes is halved, and the weight of this
      loss is 2 for order 2.
    - ARFlow, code: :math:`\lambda = 10`. Its first order is a quarter of this loss. Its
      second order is half the sum of two losses with `order=2, mixed=True`, one for
      each of the `axes`: along a single axis, there are no mixed differences.
    - SfMLearner, code: `order=2, mixed=True, edge_weight=0.0`, without a guide. Its
      weight is 0.5, divided by :math:`2^k`. Yang et al., who build on this code, have
      :math:`\lambda = 1`.

    Args:
      field: d, for example a disparity or a flow, `[B, ..., C]`, a real or complex JAX
        or NumPy array. Integers are converted to float32. Any axis may be sharded.
      guide: I, for example a photograph in [0, 1], a real array with the shape of
        `field` except for the last axis, with G channels. Integers are divided by the
        largest value of their dtype, so uint8 is scaled from 0..255 to [0, 1].
      order: the order n of the differences of the field, 1 or 2.
      mixed: whether to include the mixed second differences, for `order=2` only.
      penalty: the name of :math:`\rho`, `"l1"` or `"charbonnier"`.
      delta: :math:`\epsilon` of Charbonnier, a positive number, or an array that
        broadcasts to the shape of `field`; the difference that starts at pixel i uses
        its value at i. The loss is differentiable with respect to it. `"l1"` ignores
        it.
      subtract_delta: whether Charbonnier is :math:`\sqrt{x^2 + \epsilon^2} -
        \epsilon`, which is 0 for equal pixels. False leaves :math:`- \epsilon` out, as
        most published code does. The derivative with respect to the field is the same.
      edge_weight: :math:`\lambda`, a number of at least 0, or an array that broadcasts
        to the shape of `guide`, for example `[G]` with one weight per channel; the
        difference that starts at pixel i uses its value at i. The loss is
        differentiable with respect to it.
      edge_weighting: the name of :math:`\phi`, `"exponential"` or `"gaussian"`.
      mean_normalized: whether to divide each channel of the field, which must be real,
        by its mean over the valid pixels plus 1e-7.
      axes: the axes along which to take differences, an integer or a sequence of
        integers. The last axis, the channels, is not allowed.
      boundary: as in :func:`jax_imgrad.spatial_gradient`, for the field and the guide,
        one for all axes or a sequence with one for each. `"interior"`: differences
        across the border do not exist. `"wrap"`: the next pixel of the last one is the
        first, in both. `"constant"`: it is 0 in both, so a guide that is not 0 at the
        border has an edge there.
      spacing: the distance between neighboring pixels, a positive number, or a sequence
        with one for each axis. The differences of the field are divided by it, those of
        second order twice. Those of the guide are not: they tell whether an edge lies
        between two pixels, whatever their distance, and the published
        :math:`\lambda` are for neighboring pixels.
      weights: numbers of at least 0 that multiply the exponential: an array that
        broadcasts to the shape of `field`, or a sequence with one array for each axis
        (with `mixed`, for each axis a). The difference that starts at pixel i has the
        weight at i. The loss is differentiable with respect to them. The means do not
        divide by them.
      where: mask of the valid pixels of the field, bool, broadcast to the shape of
        `field`. The guide is masked where no channel of the field is valid. A second
        difference is valid if all its pixels are.
      reduction: `"axis_mean"`, where the terms of each axis (with `mixed`, of each pair
        of axes) are divided by the number :math:`N_a` of its valid differences and
        channels, and an axis without any adds 0; `"mean"`, where all are divided by the
        number of valid pixels and channels; or `"sum"`.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, the guide has no channels, an option has an
        unsupported value, an axis is out of range, the batch axis or the channel axis,
        `where`, `delta`, `edge_weight` or `weights` does not broadcast, a weight is
        negative, `mixed` is combined with order 1, or `mean_normalized` with a complex
        field.
      TypeError: if `field` is not an array of numbers, or `guide` not of real ones.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> step = jnp.array([0.0, 0, 1, 1]).reshape(1, 1, 4, 1)
      >>> flat = jnp.zeros_like(step)
      >>> losses.edge_aware_smoothness(step, flat, reduction="sum")
      Array([1.], dtype=float32)
      >>> (loss,) = losses.edge_aware_smoothness(step, step, reduction="sum")
      >>> print(f"{loss:.4f}")
      0.3679
      >>> ramp = jnp.arange(4.0).reshape(1, 1, 4, 1)
      >>> losses.edge_aware_smoothness(ramp, flat, order=2)
      Array([0.], dtype=float32)

    Reference:
      C. Godard, O. Mac Aodha, G. Brostow, "Unsupervised monocular depth estimation with
      left-right consistency" (Monodepth), CVPR 2017, arXiv:1609.03677. C. Godard et
      al., "Digging into self-supervised monocular depth prediction" (Monodepth2), ICCV
      2019, arXiv:1806.01260. R. Jonschkowski et al., "What matters in unsupervised
      optical flow" (UFlow), ECCV 2020, arXiv:2006.04902. L. Liu et al., "Learning by
      analogy: reliable supervision from transformations for unsupervised optical flow
      estimation" (ARFlow), CVPR 2020, arXiv:2003.13045. T. Zhou et al., "Unsupervised
      learning of depth and ego-motion from video" (SfMLearner), CVPR 2017,
      arXiv:1704.07813. Z. Yang et al., "Unsupervised learning of geometry with
      edge-aware depth-normal consistency", AAAI 2018, arXiv:1711.03665.
    """
    _arguments.check_option("order", order, (1, 2))
    _arguments.check_mixed(mixed, order)
    _arguments.check_option("penalty", penalty, get_args(EdgeAwarePenalty))
    _arguments.check_subtract_delta(subtract_delta, penalty)
    _arguments.check_option("edge_weighting", edge_weighting, tuple(_PHI))
    _arguments.check_option("reduction", reduction, get_args(Reduction))
    _arguments.check_implementation(implementation)
    field = _arguments.as_array("field", field)
    _arguments.check_mean_normalized(mean_normalized, "field", field.dtype)
    specs, axis_order = _arguments.loss_axis_specs(
        "field", field, axes, boundary, spacing, has_channels=True
    )
    (guide,) = _arguments.as_real_images(guide=guide)
    _arguments.check_guide("guide", guide, "field", field)
    terms = _terms(int(order), bool(mixed), specs)
    _arguments.check_stencils(
        "field", field, tuple(term.of_field for term in terms), field.dtype
    )
    valid = _arguments.as_mask(where, "field", field)
    dtype = real_dtype(accumulator(float_of(field.dtype)))
    return _edge_aware_smoothness(
        field,
        guide,
        _arguments.as_parameter("delta", delta, dtype, "field", field.shape),
        _arguments.as_parameter(
            "edge_weight", edge_weight, dtype, "guide", guide.shape, or_zero=True
        ),
        _arguments.as_weights(weights, dtype, "field", field.shape, valid, axis_order),
        valid,
        penalty,
        bool(subtract_delta),
        edge_weighting,
        bool(mean_normalized),
        terms,
        reduction,
        implementation,
    )


class _Term(NamedTuple):
    """A term of the loss, of the differences along an axis or a pair of axes."""

    axis_index: int  # of the axis a among the axes of the loss, and of its weight
    of_field: SeparableStencil
    of_guide: SeparableStencil


def _terms(order: int, mixed: bool, specs: Sequence[AxisSpec]) -> tuple[_Term, ...]:
    """The differences that start at a pixel, of the field and of the guide."""
    indices = range(len(specs))
    if mixed:
        pairs = [*itertools.product(indices, repeat=2)]
        of_guide = [_stencils.later_difference(specs, *pair) for pair in pairs]
    else:
        pairs = [(i,) * order for i in indices]
        unit = [spec._replace(spacing=1.0) for spec in specs]
        of_guide = _stencils.gradient("forward", "raw", unit, step=order)
    of_field = _stencils.forward_products(specs, pairs)
    return tuple(map(_Term, (pair[0] for pair in pairs), of_field, of_guide))


@functools.partial(jax.jit, static_argnums=(6, 7, 8, 9, 10, 11, 12))
def _edge_aware_smoothness(
    field: jax.Array,
    guide: jax.Array,
    delta: jax.Array,
    edge_weight: jax.Array,
    weights: list[jax.Array],
    valid: Mask,
    penalty: EdgeAwarePenalty,
    subtract_delta: bool,
    edge_weighting: EdgeWeighting,
    mean_normalized: bool,
    terms: tuple[_Term, ...],
    reduction: Reduction,
    implementation: Implementation | None,
) -> jax.Array:
    (field,) = valid_floats([field], valid)
    weights_of_terms = _exponentials(guide, edge_weight, valid, edge_weighting, terms)
    if weights:
        of_axes = one_for_each(weights, 1 + max(term.axis_index for term in terms))
        of_terms = [of_axes[term.axis_index] for term in terms]
        weights_of_terms = [
            without_invalid(jnp.broadcast_to(weight, field.shape), valid) * exponential
            for weight, exponential in zip(of_terms, weights_of_terms, strict=True)
        ]
    stencils = tuple(term.of_field for term in terms)
    if _stencils.as_differences(stencils) is None:
        # Without the barrier, XLA for CPU would compute the weights in the loop that
        # sums the penalties, from one stored array for each channel of the guide.
        weights_of_terms = materialize(weights_of_terms, "cpu")
    total_divisor = jnp.ones((), delta.dtype)
    if mean_normalized:
        # The field is used several times. JAX adds their cotangents in its dtype.
        field, mean = _rescale_and_mean(upcast(field), valid)
        # See "Normalization by the mean" below.
        if penalty == "l1" and field.shape[-1] == 1:
            total_divisor = mean.reshape(-1)  # one mean per image: divide once
        else:
            weights_of_terms = [weight / mean for weight in weights_of_terms]
        if penalty != "l1":
            delta = jnp.broadcast_to(delta, field.shape) * mean
    total = reduced_variation(
        Variation(penalty),
        [field],
        stencils,
        pixels=field.shape,
        delta=delta,
        weights=weights_of_terms,
        valid=valid,
        reduction=reduction,
        subtract_delta=subtract_delta,
        implementation=implementation,
    )
    return total / total_divisor


# Normalization by the mean. Let m = |mean(d) + 1e-7|, and x a difference of d, so that
# x/m is that of d/m. The penalties are homogeneous of degree 1 in x and delta together:
#
#     rho(x/m; delta) = rho(x; m delta) / m
#
# The right-hand side is computed. If the pixels of d were divided by m first, equal
# pixels might be rounded differently, and a constant field would have differences other
# than 0.
#
# The derivative of 1/m is -1/m², which overflows or underflows for means far from 1. So
# d is first multiplied by a power of two c, which is exact. If 1e-7 is multiplied by c
# as well, c cancels: c d / |mean(c d) + c 1e-7| = d/m.


def _rescale_and_mean(field: jax.Array, valid: Mask) -> tuple[jax.Array, jax.Array]:
    """`c d` with a power of two c that brings it near 1, and `|mean(c d) + c 1e-7|`.

    The mean is over the valid pixels of each channel.
    """
    valid = jnp.ones_like(field, bool) if valid is None else valid
    image_axes = tuple(range(1, field.ndim))
    magnitudes = lax.stop_gradient(jnp.abs(field))
    largest = magnitudes.max(image_axes, keepdims=True, initial=0)
    _, c = power_of_two_near(largest)
    field = field * c
    pixel_axes = image_axes[:-1]
    pixels = valid.sum(pixel_axes, keepdims=True).astype(field.dtype)
    mean = ratio(field.sum(pixel_axes, keepdims=True), pixels)
    return field, absolute(mean + 1e-7 * c)


def _exponentials(
    guide: jax.Array,
    edge_weight: jax.Array,
    valid: Mask,
    edge_weighting: EdgeWeighting,
    terms: Sequence[_Term],
) -> list[jax.Array]:
    """The exponential of each term, `[B, ..., 1]`."""
    if valid is not None:
        guide = without_invalid(guide, valid.any(-1, keepdims=True))
    largest = largest_value(guide.dtype)
    guide = guide.astype(edge_weight.dtype) / largest
    channels = _split_channels(before_shift(guide))
    lambdas = [edge_weight] * len(channels)
    if edge_weight.ndim:
        lambdas = _split_channels(jnp.broadcast_to(edge_weight, guide.shape))

    def mean(stencil: SeparableStencil) -> jax.Array:
        edges = [
            _PHI[edge_weighting](factor * apply(stencil, channel, shift_along))
            for factor, channel in zip(lambdas, channels, strict=True)
        ]
        edges = [edge.sum(-1, keepdims=True) for edge in edges]
        return functools.reduce(jnp.add, edges) / guide.shape[-1]

    return [jnp.exp(-mean(term.of_guide)) for term in terms]


def _square(x: jax.Array) -> jax.Array:
    """x², with x clipped where exp(-x²) is 0 anyway, so that x² does not overflow."""
    return jnp.square(jnp.clip(x, -(2.0**30), 2.0**30))


_PHI = {"exponential": absolute, "gaussian": _square}


def _split_channels(guide: jax.Array) -> list[jax.Array]:
    """One array per channel, if there are only a few; else one array with all of them.

    XLA for CPU reduces a short axis slowly, and adds separate arrays fast.
    """
    size = guide.shape[-1]
    if not (
        is_unsharded_along(guide, [-1]) and isinstance(size, int) and 0 < size <= 4
    ):
        return [guide]
    return jnp.split(guide, size, axis=-1)
