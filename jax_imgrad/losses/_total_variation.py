"""Total variation: a penalty of the forward differences of an image."""

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

_DEFAULT_DELTA = {"huber": 1.0, "charbonnier": 1e-3}  # other penalties have no delta


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
    r"""The total variation of each image, with a choice of penalties.

    .. math::
        \frac1N \sum_i \sum_a \rho(\partial_a u_i) \quad\text{or, isotropic,}\quad
        \frac1N \sum_i \rho\Big(\sqrt{\textstyle\sum_a (\partial_a u_i)^2}\Big)

    where :math:`\partial_a` is the forward difference along axis a, 0 at the last
    pixel, and the penalty :math:`\rho(d)` is one of

    - `"l1"`: :math:`|d|`, the total variation in the strict sense;
    - `"l2"`: :math:`d^2`;
    - `"huber"`: :math:`d^2/2\delta` where :math:`|d| \le \delta`, else
      :math:`|d| - \delta/2`;
    - `"charbonnier"`: :math:`\sqrt{d^2 + \epsilon^2} - \epsilon`.

    The derivative is :math:`-\frac1N \operatorname{div} \rho'(\partial u)`, with
    :math:`\rho'(0) = 0` for every penalty.

    This function is a mean by default; in contrast, `jax_imgrad.total_variation` is the
    anisotropic sum with `"l1"`, as in TensorFlow. The paper defines the isotropic sum.
    torchmetrics has the anisotropic sum, also over the batch. kornia has the
    anisotropic sum for each channel, or the mean along each axis, added over the axes.

    Args:
      image: `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real JAX or NumPy
        array. Integers are converted to float32. Any axis may be sharded.
      penalty: the name of :math:`\rho`.
      delta: :math:`\delta` of Huber (default 1) or :math:`\epsilon` of Charbonnier
        (default 0.001): a positive number, or an array that broadcasts to the shape of
        `image` (with `channel_coupling`, to that of one channel). The loss is
        differentiable with respect to it. `"l1"` and `"l2"` ignore it.
      isotropic: whether to penalize the norm of the gradient at each pixel, rather than
        its components.
      channel_coupling: whether that norm is also taken over the channels (the last
        axis), as in the color total variation of Bresson and Chan. Implies `isotropic`.
        A pixel is then valid if all its channels are valid.
      axes: the axes along which to take differences, an integer or a sequence of
        integers.
      where: mask of the valid pixels, bool, broadcast to the shape of `image`.
      reduction: `"mean"` over the N valid pixels and channels (with `channel_coupling`,
        over the valid pixels), or `"sum"`.
      implementation: `"xla"` is the definition, for every platform and sharding.
        `"xla_cpu"` loops over long rows, for shapes known at compile time that are not
        explicitly sharded. Defaults to `"xla_cpu"` in a program for one CPU, else to
        `"xla"`. A name is never silently replaced: if it cannot run,
        NotImplementedError is raised.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if an option has an unsupported value, an axis is out of range or the
        batch axis, or `where` or `delta` does not broadcast.
      TypeError: if `image` is not an array of real numbers.
      NotImplementedError: if the named implementation cannot run.

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
    sorted_axes = _arguments.as_axes(
        axes, "image", array, has_channels=bool(channel_coupling)
    )
    valid = _arguments.as_mask(where, "image", array)
    accumulation_dtype = accumulator(float_of(array.dtype))
    shape, shape_name = array.shape, "image"
    if channel_coupling:  # the penalty is of all channels, so is its delta
        shape, shape_name = (*shape[:-1], 1), "one channel of image"
    if delta is None:
        delta = _DEFAULT_DELTA.get(penalty, 1.0)
    parameter = _arguments.as_parameter(
        "delta", delta, accumulation_dtype, shape_name, shape
    )
    if penalty not in _DEFAULT_DELTA:
        parameter = np.zeros((), accumulation_dtype)
    return _total_variation(
        array,
        parameter,
        valid,
        penalty,
        bool(isotropic or channel_coupling),
        bool(channel_coupling),
        sorted_axes,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6, 7, 8))
def _total_variation(
    image: jax.Array,
    delta: jax.Array,
    valid: jax.Array | None,
    penalty: str,
    isotropic: bool,
    channel_coupling: bool,
    axes: tuple[int, ...],
    reduction: Reduction,
    implementation: Implementation | None,
) -> jax.Array:
    rho, shape = Variation(penalty, isotropic), image.shape
    if delta.ndim:
        delta = jnp.broadcast_to(delta, shape)
    if channel_coupling:
        shape = (*shape[:-1], 1)  # the mean is over pixels, not over channels
        valid = None if valid is None else valid.all(-1, keepdims=True)
        # "l2" adds squares, so its sum is the same with and without coupling.
        if image.shape[-1] > 1 and penalty != "l2":
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
