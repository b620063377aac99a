"""Bending energy: the squares of all second derivatives of a field."""

from __future__ import annotations

import functools
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator, float_of, real_dtype
from jax_imgrad._masks import valid_floats
from jax_imgrad._penalties import Variation
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.losses._variation import reduced_variation
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Numbers,
    Operator,
    Reduction,
    Spacing,
    Weights,
)


def bending_energy(
    field: Num[Numbers, "B ..."],
    *,
    operator: Operator = "forward",
    step: int = 1,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    weights: Weights | None = None,
    where: Bool[Numbers, "..."] | None = None,
    reduction: Reduction = "mean",
    implementation: Implementation | None = None,
) -> Float[Array, " B"]:
    r"""The bending energy of each field, for example of a displacement.

    .. math::
        \frac1N \sum_i \sum_a \sum_b |\partial_a \partial_b u_i|^2

    where a and b run over the `axes`: the squared Frobenius norm of the Hessian matrix,
    in which mixed derivatives count twice. The components of a vector field are its
    last axis; the sum i runs over them as over the pixels. The energy is 0 for affine
    fields. The derivative is :math:`\frac2N \sum_{a,b} (\partial_a \partial_b)^\top
    \partial_a \partial_b u`.

    With spacing h, :math:`\partial_a \partial_a u` is
    :math:`(u_{i-1} - 2 u_i + u_{i+1})/h_a^2`, and :math:`\partial_a \partial_b u`
    consists of forward differences along a and b; with `operator="central"`, of central
    differences. So the mean is that of the curvature per unit of length, whatever the
    resolution. With `step=k`, the pixels are k apart, and h is replaced by k h.

    Published forms, for a displacement `u` of shape `[B, D, H, W, 3]` and
    `axes=(-4, -3, -2)`:

    - Rueckert et al.: `reduction="mean"` times 3, since the paper adds the components,
      and `spacing` in millimeters.
    - MONAI 1.6.1, `BendingEnergyLoss()`: `operator="central"`. MONAI leaves out the
      outer voxels, in the sum and in the number N: as with `weights=inner /
      inner.mean()`, where `inner`, `[D, H, W, 1]`, is 1 inside and 0 at the border. Its
      `normalize=True` is `spacing=(1 / D, 1 / H, 1 / W)`, of `u / numpy.array([D, H,
      W])`.
    - MONAI before 1.6.1: `step=2`, the taps 1 0 -2 0 1 divided by 4. MONAI leaves out
      the 2 outer voxels on each side; the sum is equal if the 3 outer ones are 0.

    First derivatives are penalized by other functions:

    - MONAI, `DiffusionLoss()`: `gradient_matching(u, jnp.zeros_like(u),
      operator="central", penalty="l2", scales=1)`, with the same weights.
    - VoxelMorph, `Grad("l2", loss_mult=2)`, of weight 0.01: `total_variation(u,
      penalty="l2", reduction="axis_mean")`, times 2/3 (`loss_mult` divided by the
      number of axes). `Grad("l1")` has `penalty="l1"`. Any diffusion regularizer with
      forward differences is such a call.

    Args:
      field: u, `[B, ...]`, `[B, H, W, C]` for the default `axes`; a real or complex JAX
        or NumPy array. Integers are converted to float32. Any axis may be sharded.
      operator: as in :func:`jax_imgrad.second_derivatives`.
      step: how many pixels apart the taps are, an integer from 1 to 1024.
      axes: the axes along which to take derivatives, an integer or a sequence of
        integers: `(-4, -3, -2)` for a volume.
      boundary: as in :func:`total_variation`. `"interior"`: second derivatives that
        would read a pixel beyond the border do not exist.
      spacing: the distance between neighboring pixels, a positive number, or a sequence
        with one for each axis.
      weights: numbers of at least 0 that multiply the squares, an array that broadcasts
        to the shape of `field`. A second derivative has the weight of its central
        pixel, except that a mixed one of forward differences has that of its first
        pixel. The loss is differentiable with respect to them. The mean does not divide
        by them.
      where: mask of the valid pixels, bool, broadcast to the shape of `field`. A second
        derivative is valid if the pixel of its weight and all that it reads are.
      reduction: `"mean"` over the N valid pixels and components; `"sum"`; or
        `"axis_mean"`, where the squares of each second derivative are divided by their
        number, so that each term is a mean.
      implementation: as in :func:`total_variation`.

    Returns:
      `[B]`, one number per field, in at least float32.

    Raises:
      ValueError: if an option has an unsupported value, an axis is out of range or the
        batch axis, `where` or `weights` does not broadcast, or a weight is negative.
      TypeError: if `field` is not an array of numbers.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax_imgrad import losses
      >>> y, x = jnp.mgrid[0.0:5, 0.0:5]
      >>> saddle = (x * y)[None, ..., None]  # dyx = 1, dyy = dxx = 0
      >>> losses.bending_energy(saddle, reduction="axis_mean")
      Array([2.], dtype=float32)
      >>> losses.bending_energy(2 * saddle + (x + y)[None, ..., None], reduction="sum")
      Array([128.], dtype=float32)

    Reference:
      D. Rueckert et al., "Nonrigid registration using free-form deformations:
      application to breast MR images", IEEE Transactions on Medical Imaging 18, 1999.
    """
    _arguments.check_option("reduction", reduction, get_args(Reduction))
    _arguments.check_implementation(implementation)
    array = _arguments.as_array("field", field)
    specs, axis_order = _arguments.loss_axis_specs(
        "field", array, axes, boundary, spacing
    )
    operator, _ = _arguments.operator_and_scale(
        operator, "derivative", specs, order=2, axis_order=axis_order
    )
    apart = _arguments.as_integer_between("step", step, 1, 1024)
    stencils = _stencils.hessian(specs, apart, operator)
    _arguments.check_stencils("field", array, stencils, array.dtype)
    valid = _arguments.as_mask(where, "field", array)
    dtype = real_dtype(accumulator(float_of(array.dtype)))
    return _bending_energy(
        array,
        _arguments.as_weights(weights, dtype, "field", array.shape, valid, None),
        valid,
        stencils,
        reduction,
        implementation,
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _bending_energy(
    field: jax.Array,
    weights: list[jax.Array],
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    reduction: Reduction,
    implementation: Implementation | None,
) -> jax.Array:
    dtype = real_dtype(accumulator(float_of(field.dtype)))
    return reduced_variation(
        Variation("l2"),
        valid_floats([field], valid),
        stencils,
        pixels=field.shape,
        delta=jnp.zeros((), dtype),  # which "l2" ignores
        weights=weights,
        valid=valid,
        reduction=reduction,
        subtract_delta=True,
        implementation=implementation,
    )
