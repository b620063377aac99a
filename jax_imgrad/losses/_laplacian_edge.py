"""The edge loss of MPRNet: a level of the Laplacian pyramid of a residual."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num, Shaped

from jax_imgrad import _checks, _values
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._masks import Reduction, reduced, valid_residual
from jax_imgrad._penalties import charbonnier
from jax_imgrad._platforms import materialize
from jax_imgrad._shift import has_next, has_previous, shift
from jax_imgrad._types import Numbers

_TAPS = 0.05, 0.25, 0.4  # of the pixels two apart, of the neighbors, of the pixel


def laplacian_edge(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    delta: float | jax.Array = 1e-3,
    axes: tuple[int, ...] = (-3, -2),
    where: Shaped[Numbers, "B ..."] | None = None,
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
      axes: along which to smooth, and to keep every second pixel.
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
    _values.check_option("reduction", reduction, ("mean", "sum"))
    pair = _checks.as_real_images(predictions=predictions, targets=targets)
    counted = _checks.as_axes(axes, "predictions", pair[0])
    valid = _checks.as_mask(where, "predictions", pair[0])
    wide = accumulator(float_of(*(image.dtype for image in pair)))
    shape = pair[0].shape
    parameter = _values.as_parameter("delta", delta, wide, "predictions", shape)
    return _laplacian_edge(*pair, parameter, valid, counted, reduction)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _laplacian_edge(predictions, targets, delta, valid, axes, reduction):
    # The map is linear, so that the residual goes through it once.
    residual = valid_residual(predictions, targets, valid)
    if delta.ndim:
        delta = jnp.broadcast_to(delta, residual.shape)
    kept = _every_second(residual, axes)
    coarse = jnp.where(kept, 2 ** len(axes) * _smoothed(residual, axes), 0)
    penalties = charbonnier([residual - _smoothed(coarse, axes)], delta)
    if valid is not None:
        valid = _all_valid(_all_valid(valid, axes) | ~kept, axes)
        penalties = jnp.where(valid, penalties, 0)
    # XLA for CPU does not vectorize what it sums in the same loop.
    total = materialize(penalties, "cpu").sum(tuple(range(1, penalties.ndim)))
    return reduced(total, valid, penalties.shape, reduction)


def _smoothed(image: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Along each axis, five pixels weighted; those of the border are repeated."""
    for axis in axes:
        one, other = (_beside(image, axis, step) for step in (1, -1))
        two, other_two = _beside(one, axis, 1), _beside(other, axis, -1)
        far, near, here = _TAPS
        image = far * (two + other_two) + near * (one + other) + here * image
        # Materialized: XLA for CPU would otherwise fuse the passes, compute a pixel
        # anew for each of the five that read it, and store 31 images, not 5, for the
        # derivative, which would take ten times as long. Others need no barrier.
        image = lax.optimization_barrier(image)
    return image


def _beside(image: jax.Array, axis: int, step: int) -> jax.Array:
    """The next pixel, or for -1 the previous one; at the border, the pixel itself."""
    there = has_next(image, axis) if step == 1 else has_previous(image, axis)
    return jnp.where(there, shift(image, axis, step), image)


def _all_valid(valid: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Where all pixels that `_smoothed` reads are valid."""
    invalid = ~valid
    for axis in axes:
        parts = [shift(invalid, axis, by) for by in range(-2, 3)]
        invalid = functools.reduce(jnp.logical_or, parts)
    return ~invalid


def _every_second(image: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Which pixels are even along all of the axes; it broadcasts with the image."""
    even = []
    for axis in axes:
        shape = tuple(n if i == axis else 1 for i, n in enumerate(image.shape))
        even.append(lax.broadcasted_iota(jnp.int32, shape, axis) % 2 == 0)
    return functools.reduce(jnp.logical_and, even)
