"""Edge-aware smoothness: a field may change where a guide image does."""

import functools

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
from jax_imgrad._penalties import absolute
from jax_imgrad._types import Implementation, Numbers


def edge_aware_smoothness(
    field: Num[Numbers, "B ... C"],
    guide: Num[Numbers, "B ... G"],
    *,
    edge_weight: float | jax.Array = 1.0,
    mean_normalized: bool = False,
    axes: tuple[int, ...] = (-3, -2),
    where: Shaped[Numbers, "B ... C"] | None = None,
    reduction: Reduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""How much a field varies where its guide does not.

    .. math::
        \sum_a \frac{1}{N_a} \sum_i |\partial_a d_i| \,
        \exp\Big(-\frac{\lambda}{G} \sum_{g=1}^{G} |\partial_a I_{ig}|\Big)

    with :math:`N_a` the number of differences along axis a: each axis has its own mean,
    as in the reference code of Monodepth. Monodepth2 divides d by its mean over the
    image first, with `mean_normalized=True`, else a smaller disparity is a smaller
    loss. They weight it by 0.1 and by 0.001, divided by :math:`2^k` at scale k.

    Args:
      field: d, for example a disparity, `[B, ..., C]`, real; integers are taken as
        float32.
      guide: I, for example a photograph in [0, 1]: an array of the shape of `field` but
        for its last axis, of G channels.
      edge_weight: :math:`\lambda`, at least 0; it may be differentiated.
      mean_normalized: whether to divide the field by its mean, over the valid pixels of
        each channel, plus 1e-7.
      axes: along which to take differences; the last is not among them.
      where: `[B, ..., C]`, broadcast to `field`: which pixels of the field are valid.
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

    Reference:
      C. Godard, O. Mac Aodha, G. Brostow, "Unsupervised monocular depth estimation with
      left-right consistency" (Monodepth), CVPR 2017, arXiv:1609.03677. C. Godard et
      al., "Digging into self-supervised monocular depth prediction" (Monodepth2), ICCV
      2019, arXiv:1806.01260.
    """
    _checks.check_option("reduction", reduction, ("mean", "sum"))
    (field,) = _checks.as_real_images(field=field)
    (guide,) = _checks.as_real_images(guide=guide)
    _checks.check_same_but_last("guide", guide, "field", field)
    counted = _checks.as_axes(axes, "field", field)
    valid = _checks.as_mask(where, "field", field)
    return _edge_aware_smoothness(
        field,
        guide,
        jnp.asarray(edge_weight, accumulator(field.dtype)),
        valid,
        mean_normalized,
        counted,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _edge_aware_smoothness(
    field, guide, edge_weight, valid, mean_normalized, axes, reduction, implementation
):
    if valid is None:
        valid = jnp.ones_like(field, bool)
    field = without_invalid(field, valid)
    guide = without_invalid(guide, valid.any(-1, keepdims=True))
    wide = accumulator(field.dtype)
    # The differences of d/m are those of d, over m. Divided first, the pixels may be
    # rounded differently, and the differences of a constant not be 0.
    size = absolute(_mean(field.astype(wide), valid) + 1e-7) if mean_normalized else 1
    weights = []
    for axis, pairs in zip(axes, valid_differences(valid, axes), strict=True):
        edges = absolute(difference(guide.astype(wide), axis)).mean(-1, keepdims=True)
        weight = jnp.where(pairs, jnp.exp(-edge_weight * edges), 0)
        if reduction == "mean":
            pixels = count(pairs, field.shape, wide)
            weight = ratio(weight, pixels.reshape(-1, *[1] * (field.ndim - 1)))
        weights.append(weight / size)
    return functional(
        _weighted, [field], weights, axes=axes, implementation=implementation
    )


def _weighted(differences, weights):
    (along,) = differences
    parts = [w * absolute(d) for w, d in zip(weights, along, strict=True)]
    return functools.reduce(jnp.add, parts)


def _mean(field: jax.Array, valid: jax.Array) -> jax.Array:
    """Over the valid pixels of each channel."""
    axes = tuple(range(1, field.ndim - 1))
    pixels = valid.sum(axes, keepdims=True).astype(field.dtype)
    return ratio(field.sum(axes, keepdims=True), pixels)
