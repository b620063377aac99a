"""Total variation: a penalty of the first or second differences of an image."""

from __future__ import annotations

import functools
from typing import get_args

import jax
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments, _stencils
from jax_imgrad._arguments import renamed
from jax_imgrad._dtypes import accumulator, float_of, real_dtype
from jax_imgrad._masks import valid_floats
from jax_imgrad._penalties import PENALTIES, Coupled, Variation
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.losses._variation import reduced_variation
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Numbers,
    Order,
    Parameter,
    Penalty,
    Reduction,
    Spacing,
    Weights,
)


@renamed(scale="delta")
def total_variation(
    image: Num[Numbers, "B ..."],
    *,
    order: Order = 1,
    penalty: Penalty = "l1",
    delta: Parameter | None = None,
    subtract_delta: bool = True,
    isotropic: bool = False,
    channel_coupling: bool = False,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    weights: Weights | None = None,
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""The total variation of each image, with a choice of penalties.

    .. math::
        \frac1N \sum_i \sum_a \rho(\partial_a u_i) \quad\text{or, isotropic,}\quad
        \frac1N \sum_i \rho\Big(\sqrt{\textstyle\sum_a (\partial_a u_i)^2}\Big)

    where :math:`\partial_a` is the forward difference along axis a, divided by the
    spacing, and 0 at the last pixel. With `order=2`, the sums are over pairs of axes
    and second differences :math:`\partial_a \partial_b u`, the entries of the Hessian
    matrix: mixed ones count twice. The penalty :math:`\rho(d)` is one of

    - `"l1"`: :math:`|d|`, the total variation in the strict sense;
    - `"l2"`: :math:`d^2`;
    - `"huber"`: :math:`d^2/2\delta` where :math:`|d| \le \delta`, else
      :math:`|d| - \delta/2`;
    - `"charbonnier"`: :math:`\sqrt{d^2 + \epsilon^2} - \epsilon`.

    The derivative is :math:`-\frac1N \operatorname{div} \rho'(\partial u)`, with
    :math:`\rho'(0) = 0` for every penalty.

    For complex images, :math:`|d|` is the absolute value of the complex difference.

    This function is a mean by default; in contrast, `jax_imgrad.total_variation` is the
    anisotropic sum with `"l1"`, as in TensorFlow. The paper defines the isotropic sum.
    torchmetrics has the anisotropic sum, also over the batch. kornia has the
    anisotropic sum for each channel, or the mean along each axis, added over the axes.

    Args:
      image: `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real or complex JAX or
        NumPy array. Integers are converted to float32. Any axis may be sharded.
      order: 1 for first differences, 2 for second ones: along an axis, with the taps
        1 -2 1; mixed ones are forward differences along both axes.
      penalty: the name of :math:`\rho`.
      delta: :math:`\delta` of Huber (default 1) or :math:`\epsilon` of Charbonnier
        (default 0.001): a positive number, or an array that broadcasts to the shape of
        `image` (with `channel_coupling`, to that of one channel). The loss is
        differentiable with respect to it. `"l1"` and `"l2"` ignore it.
      subtract_delta: whether Charbonnier is :math:`\sqrt{d^2 + \epsilon^2} -
        \epsilon`, which is 0 for equal pixels. False leaves :math:`- \epsilon` out, as
        most published code does; the derivative with respect to the image is the same.
      isotropic: whether to penalize the norm of the gradient (of the Hessian matrix) at
        each pixel, rather than its components.
      channel_coupling: whether that norm is also taken over the channels (the last
        axis), as in the color total variation of Bresson and Chan. Implies `isotropic`.
        A pixel is then valid if all its channels are valid.
      axes: the axes along which to take differences, an integer or a sequence of
        integers.
      boundary: as in :func:`jax_imgrad.spatial_gradient`, one for all axes or a
        sequence with one for each. `"interior"`: differences across the border do not
        exist. `"wrap"`: the next pixel of the last one is the first. `"constant"`: it
        is 0.
      spacing: the distance between neighboring pixels, a positive number, or a sequence
        with one for each axis. Differences are divided by it.
      weights: numbers of at least 0 that multiply the penalties: an array that
        broadcasts to the shape of `image` (with `channel_coupling`, to that of one
        channel), or, unless a penalty takes several differences, a sequence with one
        array for each axis. A difference has the weight of its first pixel, a second
        difference along one axis that of its central one. The loss is differentiable
        with respect to them. The mean does not divide by them.
      where: mask of the valid pixels, bool, broadcast to the shape of `image`.
      reduction: `"mean"` over the N valid pixels and channels (with `channel_coupling`,
        over the valid pixels); `"sum"`; or `"axis_mean"`, where the differences along
        each axis are divided by their number, and those along a pair of axes likewise.
        An axis without differences adds 0.
      implementation: `"xla"` is the definition, for every platform and sharding.
        `"xla_cpu"` loops over long rows, for shapes known at compile time that are not
        explicitly sharded. Defaults to `"xla_cpu"` in a program for one CPU, else to
        `"xla"`. A name is never silently replaced: if it cannot run,
        NotImplementedError is raised.

    Returns:
      `[B]`, one number per image, in at least float32.

    Raises:
      ValueError: if an option has an unsupported value, an axis is out of range or the
        batch axis, `where`, `delta` or `weights` does not broadcast, or a weight is
        negative.
      TypeError: if `image` is not an array of numbers.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> image = jnp.array([[0.0, 1, 3], [2, 2, 5], [4, 0, 1]]).reshape(1, 3, 3, 1)
      >>> losses.total_variation(image, reduction="sum")
      Array([24.], dtype=float32)

    Reference:
      L. Rudin, S. Osher, E. Fatemi, "Nonlinear total variation based noise removal
      algorithms", Physica D 60, 1992. Second order: K. Papafitsoros, C. Schönlieb, "A
      combined first and second order variational approach for image reconstruction",
      Journal of Mathematical Imaging and Vision 48, 2014. Huber: M. Werlberger et al.,
      "Anisotropic Huber-L1 optical flow", BMVC 2009. Charbonnier: P. Charbonnier et
      al., "Two deterministic half-quadratic regularization algorithms", ICIP 1994.
      Color: X. Bresson, T. Chan, "Fast dual minimization of the vectorial total
      variation norm", Inverse Problems and Imaging 2, 2008.
    """
    _arguments.check_option("order", order, (1, 2))
    _arguments.check_option("penalty", penalty, tuple(PENALTIES))
    _arguments.check_option("reduction", reduction, get_args(Reduction))
    _arguments.check_bool("isotropic", isotropic)
    _arguments.check_bool("channel_coupling", channel_coupling)
    _arguments.check_subtract_delta(subtract_delta, penalty)
    _arguments.check_implementation(implementation)
    array = _arguments.as_array("image", image)
    specs, axis_order = _arguments.loss_axis_specs(
        "image", array, axes, boundary, spacing, has_channels=bool(channel_coupling)
    )
    _arguments.check_axis_mean(reduction, _combined_by(isotropic, channel_coupling))
    stencils = (
        _stencils.gradient("forward", "derivative", specs)
        if order == 1
        else _stencils.hessian(specs)
    )
    valid = _arguments.as_mask(where, "image", array)
    _arguments.check_stencils("image", array, stencils, array.dtype)
    dtype = real_dtype(accumulator(float_of(array.dtype)))
    shape, shape_name = array.shape, "image"
    if channel_coupling:  # the penalty is of all channels, so is its delta
        shape, shape_name = (*shape[:-1], 1), "one channel of image"
        valid = None if valid is None else valid.all(-1, keepdims=True)
    combined_by = _combined_by(isotropic, channel_coupling, order)
    return _total_variation(
        array,
        _arguments.as_delta(delta, penalty, dtype, shape_name, shape),
        _arguments.as_weights(
            weights, dtype, shape_name, shape, valid, axis_order, combined_by
        ),
        valid,
        penalty,
        bool(isotropic or channel_coupling),
        bool(channel_coupling),
        stencils,
        reduction,
        bool(subtract_delta),
        implementation,
    )


def _combined_by(isotropic: bool, channel_coupling: bool, order: Order = 1) -> str:
    """An option by which a penalty is not of one difference along one axis, or ""."""
    options = {
        "channel_coupling=True": channel_coupling,
        "isotropic=True": isotropic,
        "order=2": order == 2,
    }
    return next((option for option, is_given in options.items() if is_given), "")


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7, 8, 9, 10))
def _total_variation(
    image: jax.Array,
    delta: jax.Array,
    weights: list[jax.Array],
    valid: jax.Array | None,
    penalty: str,
    isotropic: bool,
    channel_coupling: bool,
    stencils: tuple[SeparableStencil, ...],
    reduction: Reduction,
    subtract_delta: bool,
    implementation: Implementation | None,
) -> jax.Array:
    rho, pixels = Variation(penalty, isotropic), image.shape
    if channel_coupling:
        pixels = (*pixels[:-1], 1)
        # "l2" adds squares, so its sum is the same with and without coupling.
        if image.shape[-1] > 1 and penalty != "l2":
            rho = Coupled(penalty)
    return reduced_variation(
        rho,
        valid_floats([image], valid),
        stencils,
        pixels=pixels,
        delta=delta,
        weights=weights,
        valid=valid,
        reduction=reduction,
        subtract_delta=subtract_delta,
        implementation=implementation,
    )
