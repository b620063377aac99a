"""The edge loss of MPRNet: a level of the Laplacian pyramid of a residual."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._arguments import renamed
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._linear import stencil
from jax_imgrad._masks import reduced, valid_outputs, valid_residual
from jax_imgrad._penalties import charbonnier
from jax_imgrad._platforms import materialize
from jax_imgrad._stencils import Stencil1D
from jax_imgrad.typing import Axes, Numbers, Parameter, Reduction

_TAPS = ((-2, 0.05), (-1, 0.25), (0, 0.4), (1, 0.25), (2, 0.05))


@renamed(scale="delta")
def laplacian_edge(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    delta: Parameter = 1e-3,
    axes: Axes = (-3, -2),
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, " B"]:
    r"""How much the edges of two images differ, in the sense of a Laplacian pyramid.

    .. math::
        \frac1N \sum_i \sqrt{(\Delta R)_i^2 + \epsilon^2} - \epsilon,
        \qquad \Delta R = R - G\, U\, G\, R, \qquad R = p - t

    where G smooths with the taps 0.05, 0.25, 0.4, 0.25, 0.05 along each axis, and U
    keeps every second pixel along all of them, doubled for each, and sets the others to
    zero. G repeats the pixels at the border, as in the reference code, also
    those of U, so that a constant residual is not quite left alone there.

    The paper writes :math:`\sqrt{\|\Delta R\|^2 + \epsilon^2}`; its code takes the mean
    of :math:`\sqrt{(\Delta R)_i^2 + \epsilon^2}` over pixels, channels and batch. Here
    :math:`\epsilon` is subtracted, so that two equal images have the loss 0. Both add
    0.05 times it to the same penalty of R itself, at each of three stages.

    Args:
      predictions: `[B, ...]`, real; integers are taken as float32.
      targets: an array of the shape of `predictions`.
      delta: :math:`\epsilon`, a positive number, or an array that broadcasts to
        `predictions`. It may be differentiated.
      axes: the axes along which to smooth, and to keep every second pixel: an integer
        or a sequence of integers.
      where: `[B, ...]`, broadcast to `predictions`: which pixels are valid in both. An
        edge counts if all pixels that it is made of are valid: those within 4 pixels
        along each axis, or 3, at every second one.
      reduction: `"mean"`, over the N edges that count and the channels, or `"sum"`.

    Returns:
      One number for each image, `[B]`, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option is none of its values, an axis is not
        one of the images', or `where` does not broadcast.
      TypeError: if `predictions` or `targets` is not an array of real numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> sharp = jnp.array([0.0, 0, 0, 0, 1, 1, 1, 1]).reshape(1, 1, 8, 1)
      >>> blurred = jnp.array([0.0, 0, 0, 0.3, 0.7, 1, 1, 1]).reshape(1, 1, 8, 1)
      >>> (loss,) = losses.laplacian_edge(blurred, sharp, axes=(2,), reduction="sum")
      >>> print(f"{loss:.3f}")
      0.687

    Reference:
      S. W. Zamir et al., "Multi-stage progressive image restoration" (MPRNet), CVPR
      2021, arXiv:2102.02808. P. Burt, E. Adelson, "The Laplacian pyramid as
      a compact image code", IEEE Transactions on Communications 31, 1983.
    """
    _arguments.check_option("reduction", reduction, ("mean", "sum"))
    pair = _arguments.as_real_images(predictions=predictions, targets=targets)
    counted = _arguments.as_axes(axes, "predictions", pair[0])
    valid = _arguments.as_mask(where, "predictions", pair[0])
    wide = accumulator(float_of(*(image.dtype for image in pair)))
    shape = pair[0].shape
    parameter = _arguments.as_parameter("delta", delta, wide, "predictions", shape)
    return _laplacian_edge(*pair, parameter, valid, counted, reduction)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _laplacian_edge(predictions, targets, delta, valid, axes, reduction):
    # The map is linear, so it is applied once, to the residual.
    residual = valid_residual(predictions, targets, valid)
    if delta.ndim:
        delta = jnp.broadcast_to(delta, residual.shape)
    smoothing = tuple((axis, Stencil1D(_TAPS, "edge")) for axis in axes)

    def smooth(image: jax.Array) -> jax.Array:
        (smoothed,) = stencil([image], ((smoothing,),), None)
        return smoothed

    kept = _every_second(residual, axes)
    coarse = jnp.where(kept, 2 ** len(axes) * smooth(residual), 0)
    penalties = charbonnier([residual - smooth(coarse)], delta)
    if valid is not None:
        valid = valid_outputs(valid_outputs(valid, smoothing) | ~kept, smoothing)
        penalties = jnp.where(valid, penalties, 0)
    # XLA for CPU does not vectorize what it sums in the same loop.
    total = materialize(penalties, "cpu").sum(tuple(range(1, penalties.ndim)))
    return reduced(total, valid, penalties.shape, reduction)


def _every_second(image: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Which pixels are even along all of the axes; it broadcasts with the image."""
    even = []
    for axis in axes:
        shape = tuple(n if i == axis else 1 for i, n in enumerate(image.shape))
        even.append(lax.broadcasted_iota(jnp.int32, shape, axis) % 2 == 0)
    return functools.reduce(jnp.logical_and, even)
