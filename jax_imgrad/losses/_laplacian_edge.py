"""The edge loss of MPRNet: one level of the Laplacian pyramid of a residual."""

from __future__ import annotations

import functools
from typing import get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._arguments import renamed
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._linear import stencil
from jax_imgrad._masks import reduced, valid_outputs, valid_residual, without_invalid
from jax_imgrad._penalties import charbonnier
from jax_imgrad._platforms import materialize
from jax_imgrad._stencils import Stencil1D
from jax_imgrad.typing import Axes, Numbers, Parameter, PixelReduction

_TAPS = ((-2, 0.05), (-1, 0.25), (0, 0.4), (1, 0.25), (2, 0.05))


@renamed(scale="delta")
def laplacian_edge(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    delta: Parameter = 1e-3,
    subtract_delta: bool = True,
    axes: Axes = (-3, -2),
    weights: Parameter | None = None,
    where: Bool[Numbers, "..."] | None = None,
    reduction: PixelReduction = "mean",
) -> Float[Array, " B"]:
    r"""The Laplacian pyramid edge loss between two images.

    .. math::
        \frac1N \sum_i \sqrt{(\Delta R)_i^2 + \epsilon^2} - \epsilon,
        \qquad \Delta R = R - G\, U\, G\, R, \qquad R = p - t

    where G smooths along each of the `axes`, with the taps 0.05, 0.25, 0.4, 0.25, 0.05
    and the boundary condition `"edge"`. U multiplies the pixels with even indices along
    all of the `axes` by 2 for each axis, and sets the others to 0. As in the reference
    code, the second G pads the result of U with its edge pixels, so :math:`\Delta R` of
    a constant R is not exactly 0 near the border. The loss is differentiable
    everywhere, with derivative 0 for equal images.

    The paper writes :math:`\sqrt{\|\Delta R\|^2 + \epsilon^2}`; its code takes the mean
    of :math:`\sqrt{(\Delta R)_i^2 + \epsilon^2}` over pixels, channels and batch. Here
    :math:`\epsilon` is subtracted, so that the loss of two equal images is 0;
    `subtract_delta=False` gives the value of the code. Paper and code add 0.05 times
    this loss to the same penalty of R, at each of three stages.

    `jax.export` needs an unknown size along the `axes` to be promised to be at least 2:
    `jax.export.symbolic_shape("b, h, w, c", constraints=["h >= 2", "w >= 2"])`.

    Args:
      predictions: p, `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or
        NumPy array. Integers are converted to float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      delta: :math:`\epsilon`, a positive number, or an array that broadcasts to the
        shape of `predictions`. The loss is differentiable with respect to it.
      subtract_delta: whether to subtract :math:`\epsilon`. The derivative with respect
        to the images is the same without it.
      axes: the axes along which to smooth and subsample, an integer or a sequence of
        integers.
      weights: numbers of at least 0 that multiply the penalty of each output, an array
        that broadcasts to the shape of `predictions`. The loss is differentiable with
        respect to them. The mean does not divide by them.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`. An output :math:`(\Delta R)_i` is valid if all pixels
        that it depends on are valid: along each axis, those within 4 pixels of i if i
        is even, and within 3 if it is odd.
      reduction: `"mean"` over the N valid outputs and channels, or `"sum"`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option has an unsupported value, an axis is
        out of range or the batch axis, `where`, `delta` or `weights` does not
        broadcast, or a weight is negative.
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
    _arguments.check_option("reduction", reduction, get_args(PixelReduction))
    _arguments.check_subtract_delta(subtract_delta, "charbonnier")
    pair = _arguments.as_real_images(predictions=predictions, targets=targets)
    sorted_axes = _arguments.as_axes(axes, "predictions", pair[0])
    valid = _arguments.as_mask(where, "predictions", pair[0])
    dtype = accumulator(float_of(*(image.dtype for image in pair)))
    shape = pair[0].shape
    parameter = _arguments.as_parameter("delta", delta, dtype, "predictions", shape)
    return _laplacian_edge(
        *pair,
        parameter,
        _arguments.as_weights(weights, dtype, "predictions", shape, valid, None),
        valid,
        bool(subtract_delta),
        sorted_axes,
        reduction,
    )


@functools.partial(jax.jit, static_argnums=(5, 6, 7))
def _laplacian_edge(
    predictions: jax.Array,
    targets: jax.Array,
    delta: jax.Array,
    weights: list[jax.Array],
    valid: jax.Array | None,
    subtract_delta: bool,
    axes: tuple[int, ...],
    reduction: PixelReduction,
) -> jax.Array:
    # R - G U G R is linear, so it is applied once, to the residual, and not to both
    # images.
    residual = valid_residual(predictions, targets, valid)
    if delta.ndim:
        delta = jnp.broadcast_to(delta, residual.shape)
    smoothing = tuple((axis, Stencil1D(_TAPS, "edge")) for axis in axes)

    def smooth(image: jax.Array) -> jax.Array:
        (smoothed,) = stencil([image], ((smoothing,),), None)
        return smoothed

    is_even = _is_even(residual, axes)
    subsampled = jnp.where(is_even, 2 ** len(axes) * smooth(residual), 0)
    penalties = charbonnier([residual - smooth(subsampled)], delta)
    if not subtract_delta:
        penalties += delta
    if valid is not None:
        # The other pixels of `subsampled` are 0, whatever the mask, and so valid.
        valid_subsampled = valid_outputs(valid, smoothing) | ~is_even
        valid = valid_outputs(valid_subsampled, smoothing)
        penalties = jnp.where(valid, penalties, 0)
    for weight in weights:
        weight = jnp.broadcast_to(weight, penalties.shape)
        penalties = without_invalid(weight, valid) * penalties
    # The barrier keeps XLA for CPU from fusing the penalties into their sum: it does
    # not vectorize the loop that computes them when the loop also reduces them.
    total = materialize(penalties, "cpu").sum(tuple(range(1, penalties.ndim)))
    return reduced(total, valid, penalties.shape, reduction)


def _is_even(image: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Mask of the pixels with even indices along all axes; broadcasts to the image."""
    masks = []
    for axis in axes:
        shape = tuple(n if i == axis else 1 for i, n in enumerate(image.shape))
        masks.append(lax.broadcasted_iota(jnp.int32, shape, axis) % 2 == 0)
    return functools.reduce(jnp.logical_and, masks)
