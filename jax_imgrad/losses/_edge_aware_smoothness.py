"""Edge-aware smoothness: a field may change where a guide image does."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, Shaped

from jax_imgrad import _checks
from jax_imgrad._backends.xla import accumulator, difference
from jax_imgrad._functional import functional
from jax_imgrad._masks import (
    Reduction,
    count,
    ratio,
    valid_differences,
    without_invalid,
)
from jax_imgrad._penalties import PENALTIES, absolute, square
from jax_imgrad._types import Implementation, Numbers, Penalty


def edge_aware_smoothness(
    field: Num[Numbers, "B ... C"],
    guide: Num[Numbers, "B ... G"],
    *,
    order: Literal[1, 2] = 1,
    penalty: Literal["l1", "charbonnier"] = "l1",
    scale: float | jax.Array = 1e-3,
    edge_weight: float | jax.Array = 1.0,
    edge_weighting: Literal["exponential", "gaussian"] = "exponential",
    mean_normalized: bool = False,
    axes: tuple[int, ...] = (-3, -2),
    where: Shaped[Numbers, "B ... C"] | None = None,
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
        for its last axis, of G channels.
      order: n, of the differences of the field, 1 or 2.
      penalty: the name of :math:`\rho`.
      scale: :math:`\epsilon` of Charbonnier, positive; it may be differentiated.
      edge_weight: :math:`\lambda`, at least 0; it may be differentiated.
      edge_weighting: which :math:`\phi`: `"exponential"` or `"gaussian"`.
      mean_normalized: whether to divide the field by its mean, over the valid pixels of
        each channel, plus 1e-7.
      axes: along which to take differences; the last is not among them.
      where: `[B, ..., C]`, broadcast to `field`: which pixels of the field are valid. A
        difference of order 2 is valid if its three pixels are.
      reduction: `"mean"`, over the valid differences along each axis, or `"sum"`.
      implementation: as for :func:`total_variation`.

    Returns:
      One number for each image, `[B]`, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option is none of its values, an axis is not
        one of the field's, or `where` does not broadcast.
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
    _checks.check_option("order", order, (1, 2))
    _checks.check_option("penalty", penalty, ("l1", "charbonnier"))
    _checks.check_option("edge_weighting", edge_weighting, tuple(_EDGES))
    _checks.check_option("reduction", reduction, ("mean", "sum"))
    _checks.check_parameter("scale", scale)
    _checks.check_parameter("edge_weight", edge_weight, or_zero=True)
    (field,) = _checks.as_real_images(field=field)
    (guide,) = _checks.as_real_images(guide=guide)
    _checks.check_same_but_last("guide", guide, "field", field)
    counted = _checks.as_axes(axes, "field", field)
    valid = _checks.as_mask(where, "field", field)
    wide = accumulator(field.dtype)
    return _edge_aware_smoothness(
        field,
        guide,
        jnp.asarray(scale, wide),
        jnp.asarray(edge_weight, wide),
        valid,
        int(order),
        penalty,
        edge_weighting,
        mean_normalized,
        counted,
        reduction,
        implementation,
    )


_EDGES = {"exponential": absolute, "gaussian": square}


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9, 10, 11))
def _edge_aware_smoothness(
    field,
    guide,
    scale,
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
    wide = accumulator(field.dtype)
    field = without_invalid(field, valid)
    guide = without_invalid(guide, valid.any(-1, keepdims=True)).astype(wide)
    divisor = total_divisor = 1  # of the weights, or of their sum
    if mean_normalized:
        # The differences of d/m are those of d, over m, and rho(x/m) with a scale e is
        # rho(x)/m with em. Divided first, the pixels may be rounded differently, and
        # the differences of a constant not be 0.
        size = absolute(_mean(field.astype(wide), valid) + 1e-7)
        if penalty == "l1" and field.shape[-1] == 1:
            total_divisor = size.reshape(-1)  # one number for each image
        else:
            divisor = size
        if penalty != "l1":
            scale = jnp.broadcast_to(scale * size, field.shape)
    counts = valid_differences(valid, axes, order)
    weights = []
    for axis, counted in zip(axes, counts, strict=True):
        edges = _edges(guide, axis, order, edge_weight, edge_weighting)
        weight = jnp.where(counted, jnp.exp(-edges), 0)
        if reduction == "mean":
            number = count(counted, field.shape, wide)
            weight = ratio(weight, number.reshape(-1, *[1] * (field.ndim - 1)))
        weights.append(weight / divisor)
    total = functools.partial(
        functional, _weighted(penalty), implementation=implementation
    )
    if order == 1:
        return total([field], [scale, *weights], axes=axes) / total_divisor
    # Second differences are the first ones of an image of differences, of another image
    # along each axis. Those that the border cuts off have the weight 0.
    parts = [
        total([difference(field.astype(wide), axis)], [scale, weight], axes=(axis,))
        for axis, weight in zip(axes, weights, strict=True)
    ]
    return functools.reduce(jnp.add, parts) / total_divisor


@functools.cache
def _weighted(penalty: str) -> Penalty:
    rho = PENALTIES[penalty]

    def weighted(differences, parameters):
        (along,), (scale, *weights) = differences, parameters
        parts = [w * rho([d], scale) for w, d in zip(weights, along, strict=True)]
        return functools.reduce(jnp.add, parts)

    return weighted


def _edges(guide, axis, order, edge_weight, edge_weighting):
    """How much there is of an edge of the guide at each pixel."""
    edges = [
        _EDGES[edge_weighting](edge_weight * difference(part, axis, order))
        for part in _channels(guide)
    ]
    edges = [edge.sum(-1, keepdims=True) for edge in edges]
    return functools.reduce(jnp.add, edges) / guide.shape[-1]


def _channels(guide: jax.Array) -> list[jax.Array]:
    """A few channels apart: XLA for CPU sums so few numbers slowly."""
    count = guide.shape[-1]
    whole = jax.typeof(guide).sharding.spec[-1] is None
    if not (whole and isinstance(count, int) and 0 < count <= 4):
        return [guide]
    return jnp.split(guide, count, axis=-1)


def _mean(field: jax.Array, valid: jax.Array) -> jax.Array:
    """Over the valid pixels of each channel."""
    axes = tuple(range(1, field.ndim - 1))
    pixels = valid.sum(axes, keepdims=True).astype(field.dtype)
    return ratio(field.sum(axes, keepdims=True), pixels)
