"""Gradient matching: the absolute differences of a residual, at several scales."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._functional import functional
from jax_imgrad._jax import is_unsharded_along, with_automatic_sharding
from jax_imgrad._masks import count, ratio, valid_differences, valid_residual
from jax_imgrad._penalties import Variation
from jax_imgrad.typing import Axes, Implementation, MatchingReduction, Numbers


def gradient_matching(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    scales: int = 4,
    axes: Axes = (-3, -2),
    where: Bool[Numbers, "..."] | None = None,
    reduction: MatchingReduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""The multi-scale gradient matching loss between two images.

    .. math::
        \sum_{k=0}^{K-1} \frac{1}{N_k} \sum_i \sum_a |\partial_a R^k_i|,
        \qquad R = p - t

    where :math:`R^k` is every :math:`2^k`-th pixel of R along each axis, and
    :math:`N_k` is the number of its valid pixels and channels. The derivative of
    :math:`|x|` at 0 is 0.

    - MiDaS: the default options, K = 4, with weight 0.5 beside the data term. In the
      paper, every scale is divided by the number of pixels of the first scale. The code
      divides as above, with the reduction `"batch_mean"` by default, or `"mean"`. Both
      align the prediction first, see :func:`scale_and_shift`.
    - MegaDepth: K = 4, with weight 0.5, for logarithms of depth. In the paper, every
      scale is divided by the number of pixels of the first scale. The code divides as
      that of MiDaS does, but takes differences of pixels that are two apart.
    - DenseDepth: `scales=1`, with weight 1 in paper and code. The code applies
      `tf.image.image_gradients`, and takes the mean over all pixels (as here) and over
      the batch.

    Args:
      predictions: p, `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or
        NumPy array. Integers are converted to float32. Any axis may be sharded.
      targets: t, a real array with the shape of `predictions`.
      scales: the number of scales K, from 1 to 31.
      axes: the axes along which to subsample and to take differences, an integer or
        a sequence of integers.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`.
      reduction: `"mean"` divides by the number of valid pixels and channels of each
        image. `"batch_mean"`, the default of MiDaS, divides by the average of these
        numbers over the batch, so that images with few valid pixels have less weight.
        `"sum"` does not divide.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option has an unsupported value, an axis is
        out of range or the batch axis, or `where` does not broadcast.
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
      via transfer learning" (DenseDepth), arXiv:1812.11941.
    """
    _arguments.check_option("reduction", reduction, ("mean", "batch_mean", "sum"))
    scales = _arguments.as_integer_between("scales", scales, 1, 31)
    _arguments.check_implementation(implementation)
    pair = _arguments.as_real_images(predictions=predictions, targets=targets)
    sorted_axes = _arguments.as_axes(axes, "predictions", pair[0])
    valid = _arguments.as_mask(where, "predictions", pair[0])
    return _gradient_matching(
        *pair, valid, scales, sorted_axes, reduction, implementation
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _gradient_matching(
    predictions: jax.Array,
    targets: jax.Array,
    valid: jax.Array | None,
    scales: int,
    axes: tuple[int, ...],
    reduction: MatchingReduction,
    implementation: Implementation | None,
) -> jax.Array:
    residual = valid_residual(predictions, targets, valid)
    loss = jnp.zeros((), residual.dtype)
    for scale in range(scales):
        loss_at_scale = functools.partial(
            _loss_at_scale, scale, axes, reduction, implementation
        )
        subsampled_axes = axes if scale else ()
        if is_unsharded_along(residual, subsampled_axes):
            loss += loss_at_scale(residual, valid)
        else:
            # JAX refuses to slice an explicitly sharded axis with a step, since fewer
            # pixels than devices may remain. The automatic partitioner can, and
            # exchanges only a few rows.
            loss += with_automatic_sharding(loss_at_scale, residual)(residual, valid)
    return loss


def _loss_at_scale(
    scale: int,
    axes: tuple[int, ...],
    reduction: MatchingReduction,
    implementation: Implementation | None,
    residual: jax.Array,
    valid: jax.Array | None,
) -> jax.Array:
    """The term of one scale, `[B]`."""
    subsampled = _subsample(residual, 2**scale, axes)
    mask = None if valid is None else _subsample(valid, 2**scale, axes)
    delta = jnp.zeros((), subsampled.dtype)  # which "l1" ignores
    total = functional(
        Variation("l1"),
        [subsampled],
        [delta, *valid_differences(mask, axes)],
        axes=axes,
        implementation=implementation,
    )
    if reduction == "sum":
        return total
    pixels = count(mask, subsampled.shape, subsampled.dtype)
    if reduction == "batch_mean":
        pixels = jnp.broadcast_to(pixels.mean(), pixels.shape)
    return ratio(total, pixels)


def _subsample(image: jax.Array, step: int, axes: tuple[int, ...]) -> jax.Array:
    """Every `step`-th pixel along the axes."""
    steps = [step if axis in axes else 1 for axis in range(image.ndim)]
    return image[tuple(slice(None, None, step) for step in steps)]
