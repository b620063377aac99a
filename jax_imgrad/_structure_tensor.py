"""The structure tensor: second moments of the gradient in a window."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator
from jax_imgrad._linear import stencil
from jax_imgrad._masks import jointly_valid, ratio
from jax_imgrad._neighbors import apply_gradient, joint_mask, plan_of
from jax_imgrad._platforms import materialize
from jax_imgrad._stencils import AxisSpec, SeparableStencil
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    GridSpacing,
    Implementation,
    Number,
    Numbers,
    Operator,
    Scale,
    Sigma,
)


def structure_tensor(
    x: Shaped[Numbers, "..."],
    *,
    sigma: Sigma = 1.0,
    truncate: Number = 4.0,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    window_boundary: Boundaries | None = None,
    spacing: GridSpacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    one_sided: bool = False,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> tuple[Float[Array, "..."], ...]:
    r"""The structure tensor, second moments of the gradient: `(Jyy, Jyx, Jxx)`.

    .. math:: J_{ab} = G_\sigma * (\partial_a x \, \partial_b x)

    where * is convolution with a Gaussian window G. The eigenvalues of J distinguish
    corners, edges and flat regions; its eigenvectors are the directions across and
    along an edge. J is quadratic in x, so it is differentiable everywhere.

    Args:
      x: a real JAX or NumPy array of any rank. Any axis may be sharded.
      sigma: standard deviation of the window in pixels, a number of at least 0.125, or
        a sequence with one for each axis.
      truncate: where the window ends, in units of sigma, a number from 0 to 100: it has
        `2 * int(truncate * sigma + 0.5) + 1` pixels along an axis.
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`, for the derivatives and for the window.
        For the window, `"interior"` pads with zeros, and `"linear"` and `"quadratic"`
        are `"edge"`: extrapolated squares could be negative.
      window_boundary: the boundary condition of the window, if it is another: one for
        all axes, or a sequence with one per axis. With `"interior"`, the result is 0
        where the window is not inside the image.
      spacing: as in :func:`spatial_gradient`.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`gradient_magnitude`. The window averages over the pixels with
        a valid gradient; the result is 0 if there are none in it.
      one_sided: as in :func:`spatial_gradient`.
      dtype: as in :func:`gradient_magnitude`, but at least float32.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      A tuple with one array per pair of axes, the upper triangle of J row by row, each
      with the shape and sharding of `x`.

    Raises:
      ValueError: as in :func:`spatial_gradient`, or if `sigma` or `truncate` is too
        small, or the window too large.
      TypeError: as in :func:`spatial_gradient`, or if `x` is complex.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:16, 0.0:16]
      >>> jyy, jyx, jxx = jig.structure_tensor(y + 2 * x, axes=(0, 1))
      >>> [round(float(j[8, 8]), 3) for j in (jyy, jyx, jxx)]
      [1.0, 2.0, 4.0]

    Reference:
      C. Harris, M. Stephens, "A combined corner and edge detector", Alvey Vision
      Conference 1988.
    """
    array = _arguments.as_array("x", x)
    specs, grid = _arguments.axis_specs_and_grid("x", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale, specs, grid=grid)
    plan = plan_of(*kernel, specs, grid, one_sided)
    result_dtype = accumulator(
        _arguments.float_dtype("x", array.dtype, dtype, plan.stencils)
    )
    _arguments.check_real("x", result_dtype)
    window = _window(array, sigma, truncate, window_boundary, specs)
    gradient = apply_gradient(
        array, plan, where, result_dtype, implementation, jointly=True
    )
    valid = _arguments.as_mask(where, "x", array)
    stencils = plan.stencils
    if not (valid is None or plan.is_plain):
        valid, stencils = joint_mask(valid, grid, plan.parts), ()
    return _moments(gradient, valid, stencils, window, implementation)


def _window(
    array: jax.Array,
    sigma: Any,
    truncate: Any,
    window_boundary: Any,
    specs: Sequence[AxisSpec],
) -> SeparableStencil:
    """The stencil of the window, from options that are checked here."""
    widths = _arguments.as_number_of_at_least("truncate", truncate, 0, 100)
    sigmas = _arguments.as_sigmas("sigma", sigma, specs, truncate=widths)
    padded = _arguments.window_axis_specs(specs, window_boundary)
    window = _stencils.window(sigmas, widths, padded)
    if window_boundary is not None:
        _arguments.check_sizes("x", array, (window,), "window_boundary")
    return window


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _moments(
    gradient: tuple[jax.Array, ...],
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    window: SeparableStencil,
    implementation: Implementation | None,
) -> tuple[jax.Array, ...]:
    # The barrier keeps XLA for CPU from fusing the derivatives into the window, which
    # would recompute them for each of its taps. Other platforms need no barrier.
    gradient = materialize(gradient, "cpu")
    products = [a * b for a, b in itertools.combinations_with_replacement(gradient, 2)]
    moments = [stencil([p], ((window,),), implementation)[0] for p in products]
    if valid is None:
        return tuple(moments)
    # Invalid gradients are 0 in the moments. Divided by the share of the window whose
    # gradient is valid, the moments are means over that share. Without stencils, the
    # mask is that of the gradient.
    mask = jointly_valid(valid, stencils) if stencils else valid
    mask = mask.astype(moments[0].dtype)
    (share,) = stencil([mask], ((window,),), implementation)
    return tuple(ratio(moment, share) for moment in moments)
