"""Gradient magnitude similarity of two images, and its deviation."""

from __future__ import annotations

import functools
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator, float_of, largest_value
from jax_imgrad._jax import is_unsharded_along, with_automatic_sharding
from jax_imgrad._linear import stencil
from jax_imgrad._masks import (
    Mask,
    count,
    jointly_valid,
    ratio,
    valid_floats,
    valid_outputs,
    without_invalid,
)
from jax_imgrad._norms import inverse_norm, norm, power
from jax_imgrad._platforms import materialize
from jax_imgrad._stencils import AxisSpec, Stencil1D
from jax_imgrad.losses._center import center, per_image
from jax_imgrad.typing import Axes, Implementation, Numbers, Parameter, Pooling


def gradient_magnitude_similarity(
    predictions: Num[Numbers, "B ..."],
    targets: Num[Numbers, "B ..."],
    *,
    downsampled: bool = True,
    constant: Parameter = 170 / 255**2,
    pooling: Pooling = "deviation",
    axes: Axes = (-3, -2),
    where: Bool[Numbers, "..."] | None = None,
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""How much the gradient magnitudes of two images differ: by default, their GMSD.

    .. math::
        \sqrt{\frac1N \sum_i (S_i - \bar S)^2}, \qquad
        S_i = \frac{2 a_i b_i + c}{a_i^2 + b_i^2 + c}

    where a and b are the gradient magnitudes of the two images by Prewitt's operator,
    with derivatives as in the paper: means of three differences of pixels two apart,
    not halved, with zeros beyond the border. The similarity S is 1 where the magnitudes
    are equal, and the loss is 0 for equal images. Its derivative is 0 there, and finite
    where a magnitude is 0; that of the formulas as written is NaN in both cases.

    - Paper, for gray images from 0 to 255: c = 170. For images from 0 to 1, that is the
      default, :math:`170/255^2`.
    - MATLAB code of the authors: the same, but N - 1 in place of N. Multiply the loss
      by :math:`\sqrt{N/(N-1)}`; without `where`, N is the number of pixels after
      `downsampled`.
    - piq, `gmsd`: the same. RGB images are first converted to gray, and the result is
      the mean over the batch.

    Args:
      predictions: `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or
        NumPy array with values from 0 to 1. Integers are divided by the largest value
        of their dtype, so uint8 is scaled from 0..255 to [0, 1]. Every channel is
        compared on its own, and S is pooled over all of them. For the published gray
        images, pass the luminance
        `rgb @ numpy.array([[0.299], [0.587], [0.114]])`. Any axis may be sharded.
      targets: a real array with the shape of `predictions`.
      downsampled: whether to replace each block of 2 × 2 pixels by its mean first, as
        published. The blocks of an odd size end with zeros.
      constant: c, a positive number. Smaller ones weigh faint edges more. The loss is
        differentiable with respect to it.
      pooling: `"deviation"`, the standard deviation of S over the N pixels and channels
        of each image; or `"mean"`, 1 minus the mean of S.
      axes: the axes along which to take derivatives, an integer or a sequence of
        integers. Along more than two, the blocks and the means in Prewitt's operator
        extend along all of them.
      where: mask of the pixels that are valid in both images, bool, broadcast to the
        shape of `predictions`. N counts the pixels for which both images' derivatives
        read valid pixels only; zeros beyond the border are valid.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per image, in at least float32; 0 if no pixel is valid.

    Raises:
      ValueError: if the shapes differ, an option has an unsupported value, an axis is
        out of range or the batch axis, `where` does not broadcast, or `constant` is not
        a positive number.
      TypeError: if `predictions` or `targets` is not an array of real numbers.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> sharp = jnp.repeat(jnp.array([0.2, 0.8]), 8).reshape(1, 1, 16, 1)
      >>> sharp = jnp.tile(sharp, (1, 16, 1, 1))
      >>> (loss,) = losses.gradient_magnitude_similarity(0.5 * sharp, sharp)
      >>> print(f"{loss:.3f}")
      0.095
      >>> losses.gradient_magnitude_similarity(sharp, sharp)
      Array([0.], dtype=float32)

    Reference:
      W. Xue, L. Zhang, X. Mou, A. Bovik, "Gradient magnitude similarity deviation: a
      highly efficient perceptual image quality index", IEEE Transactions on Image
      Processing 23, 2014, arXiv:1308.3052.
    """
    _arguments.check_option("pooling", pooling, get_args(Pooling))
    _arguments.check_bool("downsampled", downsampled)
    _arguments.check_implementation(implementation)
    pair = _arguments.as_real_images(predictions=predictions, targets=targets)
    sorted_axes = _arguments.as_axes(axes, "predictions", pair[0])
    valid = _arguments.as_mask(where, "predictions", pair[0])
    dtype = accumulator(float_of(*(image.dtype for image in pair)))
    return _gradient_magnitude_similarity(
        *pair,
        _arguments.as_parameter("constant", constant, dtype, "a number", ()),
        valid,
        bool(downsampled),
        pooling,
        sorted_axes,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _gradient_magnitude_similarity(
    predictions: jax.Array,
    targets: jax.Array,
    constant: jax.Array,
    valid: Mask,
    downsampled: bool,
    pooling: Pooling,
    axes: tuple[int, ...],
    implementation: Implementation | None,
) -> jax.Array:
    dtypes = [predictions.dtype, targets.dtype]
    pair = [
        image.astype(accumulator(image.dtype)) / largest_value(dtype)
        for image, dtype in zip(
            valid_floats([predictions, targets], valid), dtypes, strict=True
        )
    ]
    if downsampled:
        two = Stencil1D(((0, 0.5), (1, 0.5)), "constant")
        mean = tuple((axis, two) for axis in axes)
        pair = [stencil([image], ((mean,),), implementation)[0] for image in pair]
        valid = None if valid is None else valid_outputs(valid, mean)
    step = 2 if downsampled else 1
    loss = functools.partial(_loss_of_pair, step, pooling, axes, implementation)
    if downsampled and not is_unsharded_along(pair[0], axes):
        # JAX refuses to slice an explicitly sharded axis with a step, since fewer
        # pixels than devices may remain.
        loss = with_automatic_sharding(loss, pair[0])
    first, second = pair
    return loss(first, second, constant, valid)


def _loss_of_pair(
    step: int,
    pooling: Pooling,
    axes: tuple[int, ...],
    implementation: Implementation | None,
    predictions: jax.Array,
    targets: jax.Array,
    constant: jax.Array,
    valid: Mask,
) -> jax.Array:
    """The loss of every `step`-th pixel along the axes, `[B]`."""
    steps = [step if axis in axes else 1 for axis in range(predictions.ndim)]
    every_other = tuple(slice(None, None, step) for step in steps)
    # The barrier keeps XLA for CPU from fusing what computes the pixels into the
    # derivatives, which would compute it for each tap.
    pair = materialize([predictions[every_other], targets[every_other]], "cpu")
    # The published derivatives are not halved: as if pixels were half a unit apart.
    specs = [AxisSpec(axis, "constant", 0.5) for axis in axes]
    gradient = _stencils.gradient("prewitt", "derivative", specs)
    maps = tuple((separable,) for separable in gradient)
    a, b = (norm(stencil([image], maps, implementation)) for image in pair)
    if valid is not None:
        valid = jointly_valid(valid[every_other], gradient)
    return _pooled(_dissimilarity(a, b, constant), valid, pooling)


# In range for all a and b, and without a difference of nearly equal numbers:
#
#     1 - S = (a - b)²/(a² + b² + c) = ((a - b)/R)²
#
# where R is the norm of the vector (a, b, sqrt(c)). It is exactly 0 where a = b.


def _dissimilarity(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """1 - S."""
    return jnp.square((a - b) * inverse_norm([a, b, jnp.sqrt(c)]))


def _pooled(dissimilarity: jax.Array, valid: Mask, pooling: Pooling) -> jax.Array:
    """The mean of 1 - S, or its deviation, which is that of S, `[B]`."""
    # The barrier keeps XLA for CPU from computing 1 - S for each of the sums below.
    dissimilarity = materialize(dissimilarity, "cpu")
    shape, dtype = dissimilarity.shape, dissimilarity.dtype
    pixels = count(valid, shape, dtype).reshape(-1, *[1] * (len(shape) - 1))
    if pooling == "mean":
        total = per_image(without_invalid(dissimilarity, valid))
        return ratio(total, pixels).reshape(-1)
    centered, _, unit = center(dissimilarity, valid, pixels)
    variance = ratio(per_image(centered * centered), pixels)
    # `power` has the derivative 0 at 0, where that of the root is infinite.
    return (power(variance, 0.5) * unit).reshape(-1)
