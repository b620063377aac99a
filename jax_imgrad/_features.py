"""Features of the gradient at each pixel: magnitude, orientation, structure tensor.

They share the options of :func:`spatial_gradient`, which documents them in full.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._derivatives import derivatives
from jax_imgrad._dtypes import accumulator
from jax_imgrad._linear import stencil
from jax_imgrad._masks import ratio, valid_outputs
from jax_imgrad._norms import angle, norm
from jax_imgrad._platforms import materialize
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Number,
    Numbers,
    Operator,
    Scale,
    Spacing,
)


def gradient_magnitude(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Float[Array, "..."]:
    r"""The magnitude of the gradient at each pixel.

    .. math:: m_i = \sqrt{\textstyle\sum_a |(\partial_a x)_i|^2}

    The derivative with respect to the gradient is the unit vector along it. Where the
    gradient is 0, the derivative is 0; differentiating the formula would give NaN. No
    epsilon is added. Intermediate squares neither overflow nor underflow.

    Args:
      x: a JAX or NumPy array of any rank. Any axis may be sharded.
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`.
      spacing: as in :func:`spatial_gradient`.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`spatial_gradient`. The result is 0 where the derivative along
        any axis is invalid.
      dtype: floating dtype of the result; defaults to `x.dtype`, or to float32 for
        integers. Complex dtypes give a real result of the same precision.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      A real array with the shape and sharding of `x`.

    Raises:
      ValueError: as in :func:`spatial_gradient`.
      TypeError: as in :func:`spatial_gradient`.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:4, 0.0:4]
      >>> jig.gradient_magnitude(3 * y + 4 * x, axes=(0, 1))[:3, :3]
      Array([[5., 5., 5.],
             [5., 5., 5.],
             [5., 5., 5.]], dtype=float32)
      >>> flat = jnp.ones((4, 4))
      >>> total = lambda x: jig.gradient_magnitude(x, axes=(0, 1)).sum()
      >>> float(abs(jax.grad(total)(flat)).max())
      0.0

    Reference:
      J. Canny, "A computational approach to edge detection", IEEE Transactions on
      Pattern Analysis and Machine Intelligence 8, 1986.
    """
    array = _arguments.as_array("x", x)
    specs = _arguments.axis_specs("x", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale)
    stencils = _stencils.gradient(*kernel, specs)
    result_dtype = _arguments.float_dtype("x", array.dtype, dtype, stencils)
    # The norm is computed in the accumulation dtype, and rounded once.
    gradient = derivatives(
        array, stencils, where, accumulator(result_dtype), implementation, jointly=True
    )
    return _magnitude(gradient, jnp.finfo(result_dtype).dtype)


def gradient_orientation(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Float[Array, "..."] | Any:  # a tuple for more than two axes
    r"""The orientation of the gradient at each pixel, in radians.

    .. math:: \theta_i = \operatorname{atan2}((\partial_y x)_i, (\partial_x x)_i)

    For two axes, this is the angle in [-π, π]: 0 where the values increase to the
    right, π/2 where they increase downwards. Where the gradient is 0, the angle and its
    derivative are 0.

    For n > 2 axes, the result is a tuple of n - 1 angles: for each axis but the last
    two, the elevation over the axes after it, in [-π/2, π/2]; and last, the angle above
    for the last two axes. For a volume:
    `(atan2(dz, sqrt(dy² + dx²)), atan2(dy, dx))`.

    Args:
      x: a real JAX or NumPy array of any rank. Any axis may be sharded.
      operator: as in :func:`spatial_gradient`.
      axes: two or more axes, as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`.
      spacing: as in :func:`spatial_gradient`.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`gradient_magnitude`.
      dtype: as in :func:`gradient_magnitude`.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      An array with the shape and sharding of `x`; a tuple of n - 1 such arrays for
      n > 2 axes.

    Raises:
      ValueError: as in :func:`spatial_gradient`, or if there is only one axis.
      TypeError: as in :func:`spatial_gradient`, or if `x` is complex.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:3, 0.0:3]
      >>> angle = jig.gradient_orientation(y - x, axes=(0, 1))
      >>> float(jnp.degrees(angle[0, 0]))
      135.0

    Reference:
      N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR
      2005.
    """
    array = _arguments.as_array("x", x)
    specs = _arguments.axis_specs("x", array, axes, boundary, spacing)
    if len(specs) == 1:
        raise ValueError(f"axes must be two or more for an angle, got {axes}")
    kernel = _arguments.operator_and_scale(operator, scale)
    stencils = _stencils.gradient(*kernel, specs)
    result_dtype = _arguments.float_dtype("x", array.dtype, dtype, stencils)
    _arguments.check_real("x", result_dtype)
    gradient = derivatives(
        array, stencils, where, accumulator(result_dtype), implementation, jointly=True
    )
    angles = _angles(gradient, result_dtype)
    return angles[0] if len(angles) == 1 else angles


def structure_tensor(
    x: Shaped[Numbers, "..."],
    *,
    sigma: Number = 1.0,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
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
      sigma: standard deviation of the window in pixels, a number of at least 0.125; the
        window is truncated at 4 sigma.
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`, for the derivatives and for the window.
        For the window, `"interior"` pads with zeros.
      spacing: as in :func:`spatial_gradient`.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`gradient_magnitude`. The window averages over the pixels with
        a valid gradient; the result is 0 if there are none in it.
      dtype: as in :func:`gradient_magnitude`, but at least float32.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      A tuple with one array per pair of axes, the upper triangle of J row by row, each
      with the shape and sharding of `x`.

    Raises:
      ValueError: as in :func:`spatial_gradient`, or if `sigma` is less than 0.125.
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
    specs = _arguments.axis_specs("x", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale)
    stencils = _stencils.gradient(*kernel, specs)
    result_dtype = accumulator(
        _arguments.float_dtype("x", array.dtype, dtype, stencils)
    )
    _arguments.check_real("x", result_dtype)
    gradient = derivatives(
        array, stencils, where, result_dtype, implementation, jointly=True
    )
    valid = _arguments.as_mask(where, "x", array)
    window = _stencils.window(_arguments.as_sigma("sigma", sigma), specs)
    return _moments(gradient, valid, stencils, window, implementation)


@functools.partial(jax.jit, static_argnums=1)
def _magnitude(gradient: tuple[jax.Array, ...], dtype: np.dtype) -> jax.Array:
    return norm(gradient).astype(dtype)


@functools.partial(jax.jit, static_argnums=1)
def _angles(gradient: tuple[jax.Array, ...], dtype: np.dtype) -> tuple[jax.Array, ...]:
    elevations = [
        angle(gradient[i], norm(gradient[i + 1 :])) for i in range(len(gradient) - 2)
    ]
    return tuple(a.astype(dtype) for a in (*elevations, angle(*gradient[-2:])))


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
    # gradient is valid, the moments are means over that share.
    masks = [valid_outputs(valid, separable) for separable in stencils]
    mask = functools.reduce(jnp.logical_and, masks).astype(moments[0].dtype)
    (share,) = stencil([mask], ((window,),), implementation)
    return tuple(ratio(moment, share) for moment in moments)
