"""Total variation: a penalty of the differences of one image."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments
from jax_imgrad._arguments import renamed
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._functional import functional
from jax_imgrad._masks import reduced, valid_differences, valid_floats
from jax_imgrad._penalties import PENALTIES, Coupled, Variation
from jax_imgrad.typing import (
    Axes,
    Implementation,
    Numbers,
    Parameter,
    Penalty,
    Reduction,
)

_SCALES = {"huber": 1.0, "charbonnier": 1e-3}


@renamed(scale="delta")
def total_variation(
    image: Num[Numbers, "B ..."],
    *,
    penalty: Penalty = "l1",
    delta: Parameter | None = None,
    isotropic: bool = False,
    channel_coupling: bool = False,
    axes: Axes = (-3, -2),
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""How much an image varies from pixel to pixel.

    .. math::
        \frac1N \sum_i \sum_a \rho(\partial_a u_i) \quad\text{or, isotropic,}\quad
        \frac1N \sum_i \rho\Big(\sqrt{\textstyle\sum_a (\partial_a u_i)^2}\Big)

    with :math:`\partial_a` the forward difference along axis a, zero at the last pixel,
    and :math:`\rho(d)` one of

    - `"l1"`: :math:`|d|`, the total variation itself;
    - `"l2"`: :math:`d^2`;
    - `"huber"`: :math:`d^2/2\delta` where :math:`|d| \le \delta`, else
      :math:`|d| - \delta/2`;
    - `"charbonnier"`: :math:`\sqrt{d^2 + \epsilon^2} - \epsilon`.

    The paper's is the isotropic sum. Of the codes, that of TensorFlow is the sum of the
    parts, as `jax_imgrad.total_variation`; so is torchmetrics', which adds up the
    batch, too; kornia's is that for each channel, or the mean along each axis, added.

    Args:
      image: `[B, ...]`, real; integers are taken as float32. `[B, H, W, C]` for the
        default `axes`.
      penalty: the name of :math:`\rho`.
      delta: :math:`\delta` of Huber, by default 1, or :math:`\epsilon` of Charbonnier,
        by default 0.001: a positive number, or an array that broadcasts to `image`
        (with `channel_coupling` to one of one channel). It may be differentiated.
      isotropic: whether the penalty is of the length of the gradient, not of its parts.
      channel_coupling: whether that length is taken over the channels (the last axis)
        too: the color total variation of Bresson and Chan. Implies `isotropic`. A pixel
        is then valid if all its channels are.
      axes: the axes along which to take differences, an integer or a sequence of
        integers.
      where: `[B, ...]`, broadcast to `image`: which pixels are valid.
      reduction: `"mean"`, over the N valid pixels and channels (with
        `channel_coupling`, over the valid pixels), or `"sum"`.
      implementation: None, which is `"xla_cpu"` in a program for one CPU and `"xla"`
        elsewhere; or either name.

    Returns:
      One number for each image, `[B]`, in at least float32.

    Raises:
      ValueError: if an option is none of its values, an axis is not one of the image's,
        or `where` does not broadcast.
      TypeError: if `image` is not an array of real numbers.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> image = jnp.array([[0.0, 1, 3], [2, 2, 5], [4, 0, 1]]).reshape(1, 3, 3, 1)
      >>> losses.total_variation(image, reduction="sum")
      Array([24.], dtype=float32)

    Reference:
      L. Rudin, S. Osher, E. Fatemi, "Nonlinear total variation based noise removal
      algorithms", Physica D 60, 1992. Huber: M. Werlberger et al., "Anisotropic
      Huber-L1 optical flow", BMVC 2009. Charbonnier: P. Charbonnier et al., "Two
      deterministic half-quadratic regularization algorithms", ICIP 1994. Color: X.
      Bresson, T. Chan, "Fast dual minimization of the vectorial total variation norm",
      Inverse Problems and Imaging 2, 2008.
    """
    _arguments.check_option("penalty", penalty, tuple(PENALTIES))
    _arguments.check_option("reduction", reduction, ("mean", "sum"))
    _arguments.check_bool("isotropic", isotropic)
    _arguments.check_bool("channel_coupling", channel_coupling)
    _arguments.check_implementation(implementation)
    (array,) = _arguments.as_real_images(image=image)
    counted = _arguments.as_axes(
        axes, "image", array, has_channels=bool(channel_coupling)
    )
    valid = _arguments.as_mask(where, "image", array)
    wide = accumulator(float_of(array.dtype))
    pixels, of = array.shape, "image"
    if channel_coupling:
        pixels, of = (*pixels[:-1], 1), "one channel of image"
    delta = _SCALES.get(penalty, 1.0) if delta is None else delta
    parameter = _arguments.as_parameter("delta", delta, wide, of, pixels)
    if penalty not in _SCALES:
        parameter = np.zeros((), wide)
    return _total_variation(
        array,
        parameter,
        valid,
        penalty,
        bool(isotropic or channel_coupling),
        bool(channel_coupling),
        counted,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6, 7, 8))
def _total_variation(
    image, delta, valid, penalty, isotropic, coupled, axes, reduction, implementation
):
    rho, shape = Variation(penalty, isotropic), image.shape
    if delta.ndim:
        delta = jnp.broadcast_to(delta, shape)
    if coupled:
        shape = (*shape[:-1], 1)
        valid = None if valid is None else valid.all(-1, keepdims=True)
        if image.shape[-1] > 1 and penalty != "l2":  # whose sum is the same
            rho = Coupled(penalty)
    masks = valid_differences(valid, axes)
    total = functional(
        rho,
        valid_floats([image], valid),
        [delta, *(jnp.broadcast_to(mask, image.shape) for mask in masks)],
        axes=axes,
        implementation=implementation,
    )
    return reduced(total, valid, shape, reduction)
