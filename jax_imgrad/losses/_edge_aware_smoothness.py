"""Edge-aware smoothness: a field may change where a guide image does."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._arguments import renamed
from jax_imgrad._differences import difference
from jax_imgrad._dtypes import accumulator, float_of, upcast
from jax_imgrad._functional import functional
from jax_imgrad._jax import is_whole_along
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
    r"""How much a field varies where its guide does not.

    .. math::
        \sum_a \frac{1}{N_a} \sum_i \rho(\partial_a^n d_i) \,
        \exp\Big(-\frac1G \sum_{g=1}^{G} \phi(\lambda\, \delta_a I_{ig})\Big)

    with :math:`N_a` the number of differences along axis a: each axis has its own mean.
    Of order 1, :math:`\partial_a d` and :math:`\delta_a I` are the differences to the
    next pixel. Of order 2 they are :math:`d_{i+2} - 2 d_{i+1} + d_i`, which leaves
    ramps alone, and :math:`I_{i+2} - I_i`. :math:`\rho(x)` is :math:`|x|`, or of
    Charbonnier, :math:`\sqrt{x^2 + \epsilon^2} - \epsilon`; :math:`\phi(x)` is
    :math:`|x|`, or of a Gaussian weight, :math:`x^2`.

    - Monodepth, paper and code: the default, with I in [0, 1]; in the code its weight
      is 0.1, divided by :math:`2^k` at scale k.
    - Monodepth2, paper and code: `mean_normalized=True`, without which a smaller
      disparity is a smaller loss; the weight is 0.001, divided likewise.
    - UFlow: in the paper order 1 or 2, :math:`|x|` and :math:`\lambda = 150`. In the
      code :math:`\rho` is that of Charbonnier, without its :math:`- \epsilon`; the
      weights are exponential or Gaussian; and the sum over the axes is halved. The
      weight there is 2 for order 2.

    Args:
      field: d, for example a disparity or a flow, `[B, ..., C]`, real; integers are
        taken as float32.
      guide: I, for example a photograph in [0, 1]: an array of the shape of `field` but
        for its last axis, of G channels. Integers are divided by the largest of their
        dtype, so that bytes from 0 to 255 are taken as 0 to 1; their derivative is 0.
      order: n, of the differences of the field, 1 or 2.
      penalty: the name of :math:`\rho`.
      delta: :math:`\epsilon` of Charbonnier: a positive number, or an array that
        broadcasts to `field`; the difference from pixel i uses that of pixel i. It may
        be differentiated.
      edge_weight: :math:`\lambda`: a number of at least 0, or an array that broadcasts
        to `guide`, for example `[G]`, one for each of its channels; the difference
        from pixel i uses that of pixel i. It may be differentiated.
      edge_weighting: which :math:`\phi`: `"exponential"` or `"gaussian"`.
      mean_normalized: whether to divide the field by its mean, over the valid pixels of
        each channel, plus 1e-7.
      axes: the axes along which to take differences, an integer or a sequence of
        integers; not the last axis, which has the channels.
      where: `[B, ..., C]`, broadcast to `field`: which pixels of the field are valid. A
        difference of order 2 is valid if its three pixels are.
      reduction: `"mean"`, over the valid differences along each axis, or `"sum"`.
      implementation: as for :func:`total_variation`.

    Returns:
      One number for each image, `[B]`, in at least float32.

    Raises:
      ValueError: if the shapes differ, the guide has no channels, an option has an
        unsupported value, an axis is not one of the field's or is that of its channels,
        or `where`, `delta` or `edge_weight` does not broadcast.
      TypeError: if `field` or `guide` is not an array of real numbers.
      NotImplementedError: if the implementation asked for cannot run here.

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
    _arguments.check_option("edge_weighting", edge_weighting, tuple(_EDGES))
    _arguments.check_option("reduction", reduction, ("mean", "sum"))
    _arguments.check_bool("mean_normalized", mean_normalized)
    _arguments.check_implementation(implementation)
    (field,) = _arguments.as_real_images(field=field)
    counted = _arguments.as_axes(axes, "field", field, has_channels=True)
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
        counted,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9, 10, 11))
def _edge_aware_smoothness(
    field,
    guide,
    delta,
    edge_weight,
    valid,
    order,
    penalty,
    edge_weighting,
    mean_normalized,
    axes,
    reduction,
    implementation,
):
    if valid is None:
        valid = jnp.ones_like(field, bool)
    (field,) = valid_floats([field], valid)
    if mean_normalized or order == 2:  # its derivative is a sum of several
        field = upcast(field)
    if delta.ndim:
        delta = jnp.broadcast_to(delta, field.shape)
    divisor = total_divisor = 1  # of the weights, or of their sum
    if mean_normalized:
        # The differences of d/m are those of d, over m, and rho(x/m) with a delta e is
        # rho(x)/m with em. Divided first, the pixels may be rounded differently, and
        # the differences of a constant not be 0.
        # And d/(m + 1e-7) is that of both times a constant, which keeps squares of the
        # mean, of which its derivative is made, in range.
        field, inverse = _near_one(field)
        size = absolute(_mean(field, valid) + 1e-7 * inverse)
        if penalty == "l1" and field.shape[-1] == 1:
            total_divisor = size.reshape(-1)  # one number for each image
        else:
            divisor = size
        if penalty != "l1":
            delta = jnp.broadcast_to(delta * size, field.shape)
    weights = [
        weight / divisor
        for weight in _weights(
            guide, edge_weight, valid, edge_weighting, axes, order, reduction
        )
    ]
    total = functools.partial(
        functional, _weighted(penalty), implementation=implementation
    )
    if order == 1:
        return total([field], [delta, *weights], axes=axes) / total_divisor
    # Second differences are the first ones of an image of differences, of another image
    # along each axis. Those that the border cuts off have the weight 0.
    parts = [
        total([difference(field, axis)], [delta, weight], axes=(axis,))
        for axis, weight in zip(axes, weights, strict=True)
    ]
    return functools.reduce(jnp.add, parts) / total_divisor


@functools.cache
def _weighted(penalty: str) -> PenaltyFunction:
    rho = PENALTIES[penalty]

    def weighted(differences, parameters):
        (along,), (delta, *weights) = differences, parameters
        parts = [w * rho([d], delta) for w, d in zip(weights, along, strict=True)]
        return functools.reduce(jnp.add, parts)

    return weighted


def _weights(guide, edge_weight, valid, edge_weighting, axes, order, reduction):
    """For each axis exp(-edges), over the number of differences; 0 for invalid ones."""
    dtype = edge_weight.dtype
    some_valid = valid.any(-1, keepdims=True)
    guide = without_invalid(guide, some_valid).astype(dtype) / _largest_value(
        guide.dtype
    )
    if edge_weight.ndim:
        edge_weight = jnp.broadcast_to(edge_weight, guide.shape)
    weights = []
    counts = valid_differences(valid, axes, order)
    for axis, counted in zip(axes, counts, strict=True):
        edges = _edges(guide, axis, order, edge_weight, edge_weighting)
        weight = jnp.where(counted, jnp.exp(-edges), 0)
        if reduction == "mean":
            number = count(counted, valid.shape, dtype)
            weight = ratio(weight, number.reshape(-1, *[1] * (valid.ndim - 1)))
        weights.append(weight)
    return weights


def _largest_value(dtype) -> float:
    """Of integers, by which a guide of them is divided; and 1 of other numbers."""
    integers = jnp.issubdtype(dtype, jnp.integer)
    return float(jnp.iinfo(dtype).max) if integers else 1.0


def _edges(guide, axis, order, edge_weight, edge_weighting):
    """The mean over the channels of φ(λ δI): the exponent of the weight of a pixel."""
    parts = _channels(guide)
    weights = _channels(edge_weight) if edge_weight.ndim else [edge_weight] * len(parts)
    edges = [
        _EDGES[edge_weighting](weight * difference(part, axis, order))
        for weight, part in zip(weights, parts, strict=True)
    ]
    edges = [edge.sum(-1, keepdims=True) for edge in edges]
    return functools.reduce(jnp.add, edges) / guide.shape[-1]


def _square_of_edge(x: jax.Array) -> jax.Array:
    """x², with x clipped where exp(-x²) is 0 anyway, so that x² stays finite."""
    return jnp.square(jnp.clip(x, -(2.0**30), 2.0**30))


_EDGES = {"exponential": absolute, "gaussian": _square_of_edge}


def _channels(guide: jax.Array) -> list[jax.Array]:
    """A few channels apart: XLA for CPU sums so few numbers slowly."""
    count = guide.shape[-1]
    if not (is_whole_along(guide, [-1]) and isinstance(count, int) and 0 < count <= 4):
        return [guide]
    return jnp.split(guide, count, axis=-1)


def _near_one(field: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each image times a power of two that brings it near to 1; and that."""
    axes = tuple(range(1, field.ndim))
    sizes = lax.stop_gradient(jnp.abs(field))
    largest = sizes.max(axes, keepdims=True, initial=0)
    _, inverse = power_of_two_near(largest)
    return field * inverse, inverse


def _mean(field: jax.Array, valid: jax.Array) -> jax.Array:
    """Over the valid pixels of each channel."""
    axes = tuple(range(1, field.ndim - 1))
    pixels = valid.sum(axes, keepdims=True).astype(field.dtype)
    return ratio(field.sum(axes, keepdims=True), pixels)
