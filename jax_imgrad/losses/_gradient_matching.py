"""Gradient matching: the gradients of a residual, at several scales."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._functional import functional
from jax_imgrad._jax import is_whole_along, with_automatic_sharding
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
    r"""How much the gradients of two images differ, at several scales.

    .. math::
        \sum_{k=0}^{K-1} \frac{1}{N_k} \sum_i \sum_a |\partial_a R^k_i|,
        \qquad R = p - t

    where :math:`R^k` is every :math:`2^k`-th pixel of R along each axis, and
    :math:`N_k` counts its valid pixels.

    - MiDaS: the default; K = 4, and the weight is 0.5 beside the data term. The paper
      divides every scale by the pixels of the first. The code divides as here, by
      default as `"batch_mean"`; its other reduction is `"mean"`. Both align the
      prediction first, with :func:`scale_and_shift`.
    - MegaDepth: K = 4, R is of logarithms of depth, and the weight is 0.5. The paper
      divides every scale by the pixels of the first. The code divides as MiDaS's, but
      takes differences of pixels two apart.
    - DenseDepth: `scales=1`, with the weight 1 in paper and code. The code takes the
      mean over the batch, too, of `tf.image.image_gradients`, as here over all pixels.

    Args:
      predictions: `[B, ...]`, real; integers are taken as float32.
      targets: an array of the shape of `predictions`.
      scales: K, from 1 to 31.
      axes: the axes along which to take differences, and every :math:`2^k`-th pixel: an
        integer or a sequence of integers.
      where: `[B, ...]`, broadcast to `predictions`: which pixels are valid in both.
      reduction: `"mean"`, over the valid pixels and channels of each image;
        `"batch_mean"`, the default of MiDaS, whose mean over the batch is the sum over
        the batch, divided by the valid pixels of the batch, so that images with few of
        them count less; or `"sum"`.
      implementation: as for :func:`total_variation`.

    Returns:
      One number for each image, `[B]`, in at least float32.

    Raises:
      ValueError: if the shapes differ, an option is none of its values, an axis is not
        one of the images', or `where` does not broadcast.
      TypeError: if `predictions` or `targets` is not an array of real numbers.
      NotImplementedError: if the implementation asked for cannot run here.

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
    counted = _arguments.as_axes(axes, "predictions", pair[0])
    valid = _arguments.as_mask(where, "predictions", pair[0])
    return _gradient_matching(*pair, valid, scales, counted, reduction, implementation)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _gradient_matching(
    predictions, targets, valid, scales, axes, reduction, implementation
):
    residual = valid_residual(predictions, targets, valid)
    loss = jnp.zeros((), residual.dtype)
    for scale in range(scales):
        loss += _over_devices(
            functools.partial(_of_scale, scale, axes, reduction, implementation),
            residual,
            valid,
            sliced=axes if scale else (),
        )
    return loss


def _of_scale(scale, axes, reduction, implementation, residual, valid):
    part = _every(2**scale, residual, axes)
    mask = None if valid is None else _every(2**scale, valid, axes)
    total = functional(
        Variation("l1"),
        [part],
        [jnp.zeros((), part.dtype), *valid_differences(mask, axes)],
        axes=axes,
        implementation=implementation,
    )
    pixels = count(mask, part.shape, part.dtype)
    if reduction == "batch_mean":
        pixels = jnp.broadcast_to(pixels.mean(), pixels.shape)
    return total if reduction == "sum" else ratio(total, pixels)


def _over_devices(function, image, valid, sliced):
    """`function(image, valid)`, a number for each image, which slices these axes."""
    if is_whole_along(image, sliced):
        return function(image, valid)
    # JAX does not slice an axis that is explicitly sharded, as there may be fewer
    # pixels left than devices; the partitioner does, with exchanges of a few rows.
    return with_automatic_sharding(function, image)(image, valid)


def _every(step: int, image: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    steps = [step if axis in axes else 1 for axis in range(image.ndim)]
    return image[tuple(slice(None, None, step) for step in steps)]
