"""Gradient matching: a penalty of the gradient of a residual, at several scales."""

from __future__ import annotations

import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._jax import is_unsharded_along, with_automatic_sharding
from jax_imgrad._masks import count, ratio, valid_residual, without_invalid
from jax_imgrad._penalties import PENALTIES, Variation
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.losses._center import largest
from jax_imgrad.losses._pyramid import Level, coarser_levels
from jax_imgrad.losses._variation import reduced_variation
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Downsampling,
    Implementation,
    MatchingOperator,
    MatchingReduction,
    Numbers,
    Parameter,
    Penalty,
    Scale,
    Spacing,
    Weights,
)


def gradient_matching(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    scales: int = 4,
    operator: MatchingOperator = "forward",
    scale: Scale = "derivative",
    step: int = 1,
    downsample: Downsampling = "skip",
    penalty: Penalty = "l1",
    delta: Parameter | None = None,
    subtract_delta: bool = True,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    weights: Weights | None = None,
    where: Bool[Numbers, "..."] | None = None,
    reduction: MatchingReduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""The multi-scale gradient matching loss between two images.

    .. math::
        \sum_{k=0}^{K-1} \frac{1}{N_k} \sum_i \sum_a \rho(\partial_a R^k_i),
        \qquad R = p - t

    where :math:`R^k` is R, downsampled k times by 2 along each axis, :math:`N_k` is the
    number of its valid pixels and channels, :math:`\partial_a` is the derivative along
    axis a and :math:`\rho` is a penalty, by default :math:`|x|`. Its derivative at 0 is
    0.

    - MiDaS: the default options, with weight 0.5 beside the data term. In the paper,
      every scale is divided by the number of pixels of the first scale: the `"sum"`,
      divided by it. The code divides as above, with the reduction `"batch_mean"` by
      default, or `"mean"`. Both align the prediction first, see
      :func:`scale_and_shift`.
    - MegaDepth, for logarithms of depth: K = 4 and weight 0.5 in the paper, which
      divides as that of MiDaS does. The code that the authors published with a later
      paper has `scales=5`, weight 0.75, and `step=2, scale="raw"`. It divides a scale
      by the number of valid pairs along both axes together. Of square images without a
      mask, that is `reduction="axis_mean"` divided by 2; otherwise, divide the `"sum"`
      of each scale, with `scales=1`, by that number.
    - DenseDepth: `scales=1`, with weight 1 in paper and code. The code applies
      `tf.image.image_gradients`, and takes the mean over all pixels (as here) and over
      the batch.
    - VGGT: `reduction="batch_mean"`, divided by the number of scales, 4, with weight 1.
      The code clips each difference at 100. An option of it multiplies a difference by
      the confidence c of its second pixel, `operator="backward", weights=c`, and
      subtracts 0.2 log c.
    - Video-Depth-Anything: for frames, as MiDaS. For video `[B, T, H, W]`, its temporal
      loss has weight 10, `axes=1, scales=1, reduction="sum"`, and is divided by the sum
      of its weights. They are 1 where both frames are valid and their targets differ by
      less than 0.05 of the range of the target in the later frame; else 0.
    - Depth Pro: `scales=6, downsample="gaussian"` or `"mean"`, divided by 6, of inverse
      depth. MAGE is `operator="scharr"`, MALE is `operator="laplacian"`, and MSGE is
      MAGE with `penalty="l2"`. Neither taps, blur, border nor weights are published.

    Args:
      predictions: p, `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or
        NumPy array. Integers are converted to float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      scales: the number of scales K, from 1 to 31.
      operator: as in :func:`jax_imgrad.spatial_gradient`, or `"laplacian"`: one
        difference instead of one for each axis, the sum of the second differences along
        all axes, as :func:`jax_imgrad.laplacian`.
      scale: `"derivative"` divides the taps so that the result is a slope; `"raw"` does
        not.
      step: how many pixels apart the taps are, an integer from 1 to 1024. Slopes are
        divided by it.
      downsample: how a scale is made. `"skip"`: of every :math:`2^k`-th pixel along
        each axis. `"mean"`: of the means over blocks of :math:`2^k` pixels along each
        axis. `"gaussian"`: the scale before is smoothed with the taps 1, 4, 6, 4, 1,
        divided by 16, and every second pixel kept. Means are over the valid pixels
        inside the image, whatever the `boundary`; a pixel is valid if one of them is.
      penalty: the name of :math:`\rho`, as in :func:`total_variation`.
      delta: as in :func:`total_variation`. An array is downsampled by skipping pixels.
      subtract_delta: as in :func:`total_variation`.
      axes: the axes along which to downsample and to take derivatives, an integer or
        a sequence of integers.
      boundary: as in :func:`jax_imgrad.spatial_gradient`, at every scale. With
        `"interior"`, a derivative that would read beyond the border does not exist; in
        a Laplacian, a missing second difference is 0.
      spacing: the distance between neighboring pixels, the same number at all scales, a
        positive number, or a sequence with one for each axis.
      weights: numbers of at least 0 that multiply the penalties: an array that
        broadcasts to the shape of `predictions`, or, except for the Laplacian, a
        sequence with one array for each axis. The derivative at pixel i has the weight
        at i: a forward difference that of its first pixel, a backward one that of its
        second. They are downsampled as the images are. The loss is differentiable with
        respect to them. The mean does not divide by them.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`. A derivative at pixel i is valid if that pixel and all
        that it reads are. In a Laplacian, a second difference that is missing at the
        border reads no pixel, so it requires no valid neighbor.
      reduction: `"mean"` divides by the number of valid pixels and channels of each
        image. `"batch_mean"`, the default of MiDaS, divides by the average of these
        numbers over the batch, so that images with few valid pixels have less weight.
        `"sum"` does not divide. `"axis_mean"` divides the derivatives along each axis
        by their number; not for the Laplacian.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option has an unsupported value, an axis is
        out of range or the batch axis, `where`, `delta` or `weights` does not
        broadcast, or a weight is negative.
      TypeError: if `predictions` or `targets` is not an array of real numbers.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> targets = jnp.zeros((1, 2, 2, 1))
      >>> predictions = jnp.array([[1.0, 3], [1, 3]]).reshape(1, 2, 2, 1)
      >>> losses.gradient_matching(predictions, targets, scales=1)
      Array([1.], dtype=float32)

    Reference:
      R. Ranftl et al., "Towards robust monocular depth estimation" (MiDaS),
      arXiv:1907.01341, equation 11. Z. Li, N. Snavely, "MegaDepth", CVPR 2018,
      arXiv:1804.00607. I. Alhashim, P. Wonka, "High quality monocular depth estimation
      via transfer learning" (DenseDepth), arXiv:1812.11941. J. Wang et al., "VGGT:
      visual geometry grounded transformer", arXiv:2503.11651. S. Chen et al., "Video
      Depth Anything", arXiv:2501.12375. A. Bochkovskii et al., "Depth Pro",
      arXiv:2410.02073, equation 2.
    """
    _arguments.check_option("reduction", reduction, get_args(MatchingReduction))
    _arguments.check_option("downsample", downsample, get_args(Downsampling))
    _arguments.check_option("penalty", penalty, tuple(PENALTIES))
    _arguments.check_subtract_delta(subtract_delta, penalty)
    scales = _arguments.as_integer_between("scales", scales, 1, 31)
    step = _arguments.as_integer_between("step", step, 1, 1024)
    _arguments.check_implementation(implementation)
    pair = _arguments.as_real_images(predictions=predictions, targets=targets)
    name, first = "predictions", pair[0]
    specs, axis_order = _arguments.loss_axis_specs(name, first, axes, boundary, spacing)
    operator, scale = _arguments.matching_operator(operator, scale, specs, axis_order)
    summed = operator == "laplacian"
    combined_by = "operator='laplacian'" if summed else ""
    _arguments.check_axis_mean(reduction, combined_by)
    dtype = accumulator(float_of(*(image.dtype for image in pair)))
    stencils = (
        _stencils.laplacian(specs, step, scale)
        if operator == "laplacian"
        else _stencils.gradient(operator, scale, specs, step)
    )
    sorted_axes = tuple(spec.axis for spec in specs)
    _check_scales(first, scales, sorted_axes, stencils, dtype)
    valid = _arguments.as_mask(where, name, first)
    return _gradient_matching(
        pair,
        _arguments.as_delta(delta, penalty, dtype, name, first.shape),
        _arguments.as_weights(
            weights, dtype, name, first.shape, valid, axis_order, combined_by
        ),
        valid,
        Variation(penalty, summed=summed),
        stencils,
        scales,
        sorted_axes,
        downsample,
        reduction,
        bool(subtract_delta),
        implementation,
    )


def _check_scales(
    image: jax.Array,
    scales: int,
    axes: tuple[int, ...],
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
) -> None:
    """Raises ValueError if the stencils cannot be applied at the coarsest scale."""
    shape = [
        -(-n // 2 ** (scales - 1)) if a in axes else n
        for a, n in enumerate(image.shape)
    ]
    coarsest = jax.ShapeDtypeStruct(shape, dtype)
    name = "predictions" + " at the coarsest scale" * (scales > 1)
    _arguments.check_stencils(name, coarsest, stencils, dtype)


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7, 8, 9, 10, 11))
def _gradient_matching(
    pair: list[jax.Array],
    delta: jax.Array,
    weights: list[jax.Array],
    valid: jax.Array | None,
    rho: Variation,
    stencils: tuple[SeparableStencil, ...],
    scales: int,
    axes: tuple[int, ...],
    downsample: Downsampling,
    reduction: MatchingReduction,
    subtract_delta: bool,
    implementation: Implementation | None,
) -> jax.Array:
    predictions, targets = pair
    residual = valid_residual(predictions, targets, valid)
    finest = Level(residual, delta, weights, valid)
    loss_at = functools.partial(
        _loss_at,
        rho=rho,
        stencils=stencils,
        reduction=reduction,
        subtract_delta=subtract_delta,
        implementation=implementation,
    )

    pads = any(one.boundary == "constant" for s in stencils for _, one in s)

    def of_coarser(finest: Level) -> jax.Array:
        if downsample != "skip" and not pads:
            # The differences are the same. Averages of a constant image, which could be
            # rounded differently, are now exactly 0.
            top = largest(finest.image, finest.valid, axes)
            image = without_invalid(finest.image - top, finest.valid)
            finest = finest._replace(image=image)
        levels = coarser_levels(finest, scales, axes, downsample, implementation)
        return functools.reduce(jnp.add, map(loss_at, levels))

    loss = loss_at(finest)
    if scales == 1:
        return loss
    if not _is_unsharded_along(finest, axes):
        # JAX refuses to slice an explicitly sharded axis with a step, since fewer
        # pixels than devices may remain. The automatic partitioner can, and exchanges
        # only a few rows.
        of_coarser = with_automatic_sharding(of_coarser, finest.image)
    return loss + of_coarser(finest)


def _is_unsharded_along(level: Level, axes: tuple[int, ...]) -> bool:
    """Whether no array of a level is explicitly sharded along the axes."""
    arrays = jax.tree.leaves(level)
    missing_leading_axes = [level.image.ndim - array.ndim for array in arrays]
    return all(
        is_unsharded_along(array, [axis - k for axis in axes if axis >= k])
        for array, k in zip(arrays, missing_leading_axes, strict=True)
    )


def _loss_at(
    level: Level,
    *,
    rho: Variation,
    stencils: tuple[SeparableStencil, ...],
    reduction: MatchingReduction,
    subtract_delta: bool,
    implementation: Implementation | None,
) -> jax.Array:
    """The term of one scale, `[B]`."""
    image, valid = level.image, level.valid
    loss = reduced_variation(
        rho,
        [image],
        stencils,
        pixels=image.shape,
        delta=level.delta,
        weights=level.weights,
        valid=valid,
        reduction="sum" if reduction == "batch_mean" else reduction,
        subtract_delta=subtract_delta,
        implementation=implementation,
    )
    if reduction != "batch_mean":
        return loss
    pixels = count(valid, image.shape, image.dtype)
    return ratio(loss, jnp.broadcast_to(pixels.mean(), pixels.shape))
