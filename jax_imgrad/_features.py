"""Features of the gradient at each pixel: its magnitude and its orientation.

They share the options of :func:`spatial_gradient`, which documents them in full.
`absolute`, `magnitude` and `orientation` take derivatives that the caller has computed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Shaped

from jax_imgrad import _arguments, _norms
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._neighbors import apply_gradient, plan_of
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    GridSpacing,
    Implementation,
    Numbers,
    Operator,
    Scale,
)


def absolute(x: Shaped[Numbers, "..."]) -> Shaped[Array, "..."]:
    r"""The absolute value of each number, with the derivative 0 at 0.

    The derivative is :math:`x/|x|`, and 0 where x is 0; that of `jnp.abs` is 1 there.
    Higher derivatives at 0 are 0, too.

    Args:
      x: a real or complex JAX or NumPy array of any rank. Any axis may be sharded.

    Returns:
      An array with the shape and sharding of `x`, and the dtype of `jnp.abs(x)`.

    Raises:
      TypeError: if `x` is not an array of numbers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> x = jnp.array([-2.0, 0, 3])
      >>> jax.grad(lambda x: jig.absolute(x).sum())(x)
      Array([-1.,  0.,  1.], dtype=float32)

    Reference:
      As for :func:`jax_imgrad.losses.total_variation`, whose "l1" this is.
    """
    return _absolute(_arguments.as_array("x", x))


def magnitude(parts: Sequence[Shaped[Numbers, "..."]]) -> Float[Array, "..."]:
    r"""The norm of the vector that several arrays form at each pixel.

    .. math:: m_i = \sqrt{\textstyle\sum_a |p^a_i|^2}

    `gradient_magnitude` is this function of `spatial_gradient`. The derivative is the
    unit vector, and 0 where the vector is 0; see :func:`gradient_magnitude`.

    Args:
      parts: `(dy, dx)`, or any sequence of at least one array, of one shape and dtype.
        Real or complex JAX or NumPy arrays. Any axis may be sharded.

    Returns:
      A real array with the shape and sharding of the parts, and their precision;
      float32 for integers. Computed in at least float32, and rounded once.

    Raises:
      ValueError: if the parts differ in shape or dtype.
      TypeError: if `parts` is not a sequence of arrays of numbers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> dy, dx = jnp.array([3.0, 0]), jnp.array([4.0, 0])
      >>> jig.magnitude((dy, dx))
      Array([5., 0.], dtype=float32)
      >>> jax.grad(lambda dy: jig.magnitude((dy, dx)).sum())(dy)
      Array([0.6, 0. ], dtype=float32)

    Reference:
      As for :func:`gradient_magnitude`.
    """
    arrays = _arguments.as_parts("parts", parts)
    return _magnitude(tuple(arrays), jnp.finfo(float_of(arrays[0].dtype)).dtype)


def orientation(parts: Sequence[Shaped[Numbers, "..."]]) -> Float[Array, "..."] | Any:
    r"""The angle of the vector that several arrays form at each pixel, in radians.

    `gradient_orientation` is this function of `spatial_gradient`, and says which angles
    there are. For two parts it is `atan2(dy, dx)`; for n, a tuple of n - 1 angles.
    Where the vector is 0, the angle and its derivative are 0.

    Args:
      parts: `(dy, dx)`, or any sequence of at least two real arrays, as in
        :func:`magnitude`.

    Returns:
      An array with the shape, sharding and dtype of the parts, float32 for integers; a
      tuple of n - 1 such arrays for n > 2 parts.

    Raises:
      ValueError: as in :func:`magnitude`, or if there is only one part.
      TypeError: as in :func:`magnitude`, or if the parts are complex.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> angle = jig.orientation((jnp.array([1.0, 0]), jnp.array([1.0, 0])))
      >>> jnp.degrees(angle)
      Array([45.,  0.], dtype=float32)

    Reference:
      As for :func:`gradient_orientation`.
    """
    arrays = _arguments.as_parts("parts", parts)
    if len(arrays) == 1:
        raise ValueError("parts must be two or more for an angle, got 1")
    dtype = float_of(arrays[0].dtype)
    _arguments.check_real("parts[0]", dtype)
    return _orientation(tuple(arrays), dtype)


def gradient_magnitude(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: GridSpacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    one_sided: bool = False,
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
      one_sided: as in :func:`spatial_gradient`.
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
    specs, grid = _arguments.axis_specs_and_grid("x", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale, specs, grid=grid)
    plan = plan_of(*kernel, specs, grid, one_sided)
    result_dtype = _arguments.float_dtype("x", array.dtype, dtype, plan.stencils)
    # The norm is computed in the accumulation dtype, and rounded once.
    gradient = apply_gradient(
        array, plan, where, accumulator(result_dtype), implementation, jointly=True
    )
    return _magnitude(gradient, jnp.finfo(result_dtype).dtype)


def gradient_orientation(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: GridSpacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    one_sided: bool = False,
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
      one_sided: as in :func:`spatial_gradient`.
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
    specs, grid = _arguments.axis_specs_and_grid("x", array, axes, boundary, spacing)
    if len(specs) == 1:
        raise ValueError(f"axes must be two or more for an angle, got {axes}")
    kernel = _arguments.operator_and_scale(operator, scale, specs, grid=grid)
    plan = plan_of(*kernel, specs, grid, one_sided)
    result_dtype = _arguments.float_dtype("x", array.dtype, dtype, plan.stencils)
    _arguments.check_real("x", result_dtype)
    gradient = apply_gradient(
        array, plan, where, accumulator(result_dtype), implementation, jointly=True
    )
    return _orientation(gradient, result_dtype)


@jax.jit
def _absolute(x: jax.Array) -> jax.Array:
    is_inexact = jnp.issubdtype(x.dtype, jnp.inexact)
    return _norms.absolute(x) if is_inexact else jnp.abs(x)


@functools.partial(jax.jit, static_argnums=1)
def _magnitude(parts: tuple[jax.Array, ...], dtype: np.dtype) -> jax.Array:
    return _norms.norm(_wide(parts)).astype(dtype)


@functools.partial(jax.jit, static_argnums=1)
def _orientation(parts: tuple[jax.Array, ...], dtype: np.dtype) -> Any:
    wide = _wide(parts)
    elevations = [
        _norms.angle(wide[i], _norms.norm(wide[i + 1 :])) for i in range(len(wide) - 2)
    ]
    angles = tuple(a.astype(dtype) for a in (*elevations, _norms.angle(*wide[-2:])))
    return angles[0] if len(angles) == 1 else angles


def _wide(parts: tuple[jax.Array, ...]) -> list[jax.Array]:
    """The parts in the dtype in which to compute: floating, of at least 32 bits."""
    return [part.astype(accumulator(float_of(part.dtype))) for part in parts]
