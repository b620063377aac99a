"""Edge-aware smoothness: differences of a field, weighted down at edges of a guide."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._arguments import renamed
from jax_imgrad._differences import difference
from jax_imgrad._dtypes import accumulator, float_of, upcast
from jax_imgrad._functional import functional
from jax_imgrad._jax import is_unsharded_along
from jax_imgrad._masks import (
    count,
    ratio,
    valid_differences,
    valid_floats,
    without_invalid,
)
from jax_imgrad._norms import absolute, power_of_two_near
from jax_imgrad._penalties import PENALTIES
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import (
    Axes,
    EdgeAwarePenalty,
    EdgeWeighting,
    Implementation,
    Numbers,
    Order,
    Parameter,
    Reduction,
)


@renamed(scale="delta")
def edge_aware_smoothness(
    field: Num[Numbers, "B ... C"],
    guide: Num[Numbers, "B ... G"],
    *,
    order: Order = 1,
    penalty: EdgeAwarePenalty = "l1",
    delta: Parameter = 1e-3,
    edge_weight: Parameter = 1.0,
    edge_weighting: EdgeWeighting = "exponential",
    mean_normalized: bool = False,
    axes: Axes = (-3, -2),
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "mean",
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
    :math:`|x|` at 0 is 0.

    - Monodepth, paper and code: the default options, with I in [0, 1]. The weight of
      this loss in the objective of the code is 0.1, divided by :math:`2^k` at scale k.
    - Monodepth2, paper and code: `mean_normalized=True`, so that scaling the disparity
      down does not decrease the loss. Its weight is 0.001, divided by :math:`2^k`.
    - UFlow: in the paper, order 1 or 2, :math:`|x|` and :math:`\lambda = 150`. In the
      code, :math:`\rho` is the Charbonnier penalty without :math:`- \epsilon`, the edge
      weighting is exponential or Gaussian, the sum over the axes is halved, and the
      weight of this loss is 2 for order 2.

    Args:
      field: d, for example a disparity or a flow, `[B, ..., C]`, a real JAX or NumPy
        array. Integers are converted to float32. Any axis may be sharded.
      guide: I, for example a photograph in [0, 1], a real array with the shape of
        `field` except for the last axis, with G channels. Integers are divided by the
        largest value of their dtype, so uint8 is scaled from 0..255 to [0, 1].
      order: the order n of the differences of the field, 1 or 2.
      penalty: the name of :math:`\rho`, `"l1"` or `"charbonnier"`.
      delta: :math:`\epsilon` of Charbonnier, a positive number, or an array that
        broadcasts to the shape of `field`; the difference that starts at pixel i uses
        its value at i. The loss is differentiable with respect to it. `"l1"` ignores
        it.
      edge_weight: :math:`\lambda`, a number of at least 0, or an array that broadcasts
        to the shape of `guide`, for example `[G]` with one weight per channel; the
        difference that starts at pixel i uses its value at i. The loss is
        differentiable with respect to it.
      edge_weighting: the name of :math:`\phi`, `"exponential"` or `"gaussian"`.
      mean_normalized: whether to divide each channel of the field by its mean over the
        valid pixels plus 1e-7.
      axes: the axes along which to take differences, an integer or a sequence of
        integers. The last axis, the channels, is not allowed.
      where: mask of the valid pixels of the field, bool, broadcast to the shape of
        `field`. The guide is masked where no channel of the field is valid. A second
        difference is valid if its three pixels are.
      reduction: `"mean"` over the :math:`N_a` valid differences along each axis, or
        `"sum"`.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, the guide has no channels, an option has an
        unsupported value, an axis is out of range, the batch axis or the channel axis,
        or `where`, `delta` or `edge_weight` does not broadcast.
      TypeError: if `field` or `guide` is not an array of real numbers.
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
      optical flow" (UFlow), ECCV 2020, arXiv:2006.04902.
    """
    _arguments.check_option("order", order, (1, 2))
    _arguments.check_option("penalty", penalty, ("l1", "charbonnier"))
    _arguments.check_option("edge_weighting", edge_weighting, tuple(_PHI))
    _arguments.check_option("reduction", reduction, ("mean", "sum"))
    _arguments.check_bool("mean_normalized", mean_normalized)
    _arguments.check_implementation(implementation)
    (field,) = _arguments.as_real_images(field=field)
    sorted_axes = _arguments.as_axes(axes, "field", field, has_channels=True)
    (guide,) = _arguments.as_real_images(guide=guide)
    _arguments.check_guide("guide", guide, "field", field)
    valid = _arguments.as_mask(where, "field", field)
    dtype = accumulator(float_of(field.dtype))
    return _edge_aware_smoothness(
        field,
        guide,
        _arguments.as_parameter("delta", delta, dtype, "field", field.shape),
        _arguments.as_parameter(
            "edge_weight", edge_weight, dtype, "guide", guide.shape, or_zero=True
        ),
        valid,
        int(order),
        penalty,
        edge_weighting,
        bool(mean_normalized),
        sorted_axes,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9, 10, 11))
def _edge_aware_smoothness(
    field: jax.Array,
    guide: jax.Array,
    delta: jax.Array,
    edge_weight: jax.Array,
    valid: jax.Array | None,
    order: Order,
    penalty: EdgeAwarePenalty,
    edge_weighting: EdgeWeighting,
    mean_normalized: bool,
    axes: tuple[int, ...],
    reduction: Reduction,
    implementation: Implementation | None,
) -> jax.Array:
    if valid is None:
        valid = jnp.ones_like(field, bool)
    (field,) = valid_floats([field], valid)
    if mean_normalized or order == 2:
        # The field is used several times below. JAX adds the cotangents of the uses in
        # its dtype, so it is upcast.
        field = upcast(field)
    if delta.ndim:
        delta = jnp.broadcast_to(delta, field.shape)
    weight_divisor = total_divisor = 1
    if mean_normalized:
        field, mean = _rescale_and_mean(field, valid)
        # See "Normalization by the mean" below.
        if penalty == "l1" and field.shape[-1] == 1:
            total_divisor = mean.reshape(-1)  # one mean per image: divide once
        else:
            weight_divisor = mean
        if penalty != "l1":
            delta = jnp.broadcast_to(delta * mean, field.shape)
    weights = [
        weight / weight_divisor
        for weight in _weights(
            guide, edge_weight, valid, edge_weighting, axes, order, reduction
        )
    ]
    total = functools.partial(
        functional, _weighted(penalty), implementation=implementation
    )
    if order == 1:
        return total([field], [delta, *weights], axes=axes) / total_divisor
    # A second difference along an axis is the first difference of the image of first
    # differences along that axis. Where a tap lies beyond the border, the weight is 0.
    totals = [
        total([difference(field, axis)], [delta, weight], axes=(axis,))
        for axis, weight in zip(axes, weights, strict=True)
    ]
    return functools.reduce(jnp.add, totals) / total_divisor


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


def _rescale_and_mean(
    field: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`c d` with a power of two c that brings it near 1, and `|mean(c d) + c 1e-7|`.

    The mean is over the valid pixels of each channel.
    """
    image_axes = tuple(range(1, field.ndim))
    magnitudes = lax.stop_gradient(jnp.abs(field))
    largest = magnitudes.max(image_axes, keepdims=True, initial=0)
    _, c = power_of_two_near(largest)
    field = field * c
    pixel_axes = image_axes[:-1]
    pixels = valid.sum(pixel_axes, keepdims=True).astype(field.dtype)
    mean = ratio(field.sum(pixel_axes, keepdims=True), pixels)
    return field, absolute(mean + 1e-7 * c)


@functools.cache  # `functional` is compiled once for each penalty object
def _weighted(penalty: EdgeAwarePenalty) -> PenaltyFunction:
    rho = PENALTIES[penalty]

    def weighted(image_differences, parameters):
        (differences,), (delta, *weights) = image_differences, parameters
        penalties = [
            weight * rho([d], delta)
            for weight, d in zip(weights, differences, strict=True)
        ]
        return functools.reduce(jnp.add, penalties)

    return weighted


def _weights(
    guide: jax.Array,
    edge_weight: jax.Array,
    valid: jax.Array,
    edge_weighting: EdgeWeighting,
    axes: tuple[int, ...],
    order: Order,
    reduction: Reduction,
) -> list[jax.Array]:
    """For each axis, the weight of each difference, 0 where it is invalid.

    It is exp(-exponent), divided for the mean by the number of valid differences.
    """
    dtype = edge_weight.dtype
    any_valid = valid.any(-1, keepdims=True)
    largest_value = _largest_value(guide.dtype)
    guide = without_invalid(guide, any_valid).astype(dtype) / largest_value
    if edge_weight.ndim:
        edge_weight = jnp.broadcast_to(edge_weight, guide.shape)
    weights = []
    masks = valid_differences(valid, axes, order)
    for axis, mask in zip(axes, masks, strict=True):
        exponent = _exponent(guide, axis, order, edge_weight, edge_weighting)
        weight = jnp.where(mask, jnp.exp(-exponent), 0)
        if reduction == "mean":
            number = count(mask, valid.shape, dtype)
            weight = ratio(weight, number.reshape(-1, *[1] * (valid.ndim - 1)))
        weights.append(weight)
    return weights


def _largest_value(dtype: np.dtype) -> float:
    """The largest value of an integer dtype, and 1 for bool and floating dtypes."""
    is_integer = jnp.issubdtype(dtype, jnp.integer)
    return float(jnp.iinfo(dtype).max) if is_integer else 1.0


def _exponent(
    guide: jax.Array,
    axis: int,
    order: Order,
    edge_weight: jax.Array,
    edge_weighting: EdgeWeighting,
) -> jax.Array:
    """The mean of φ(λ δI) over the channels of the guide, `[B, ..., 1]`."""
    channels = _split_channels(guide)
    if edge_weight.ndim:
        lambdas = _split_channels(edge_weight)
    else:
        lambdas = [edge_weight] * len(channels)
    edges = [
        _PHI[edge_weighting](factor * difference(channel, axis, order))
        for factor, channel in zip(lambdas, channels, strict=True)
    ]
    edges = [edge.sum(-1, keepdims=True) for edge in edges]
    return functools.reduce(jnp.add, edges) / guide.shape[-1]


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
