"""What is made of a gradient at each pixel: its length, its angle, its moments."""

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
    r"""The length of the gradient at each pixel.

    .. math:: m_i = \sqrt{\textstyle\sum_a |(\partial_a x)_i|^2}

    Where the gradient is 0, so are the magnitude and its derivatives, which JAX alone
    would make NaN; no epsilon is added. It neither overflows nor underflows on the way.

    Args:
      x: an array of any rank, of JAX or NumPy. Any axis may be sharded.
      operator: as for :func:`spatial_gradient`.
      axes: as for :func:`spatial_gradient`.
      boundary: as for :func:`spatial_gradient`.
      spacing: as for :func:`spatial_gradient`.
      scale: as for :func:`spatial_gradient`.
      where: as for :func:`spatial_gradient`: the magnitude is 0 where a part of the
        gradient does not count.
      dtype: floating dtype of the result; defaults to `x.dtype`, or to float32 for
        integers.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      A real array of the shape and sharding of `x`.

    Raises:
      ValueError: as for :func:`spatial_gradient`.
      TypeError: as for :func:`spatial_gradient`.
      NotImplementedError: if the implementation asked for cannot run here.

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
    along = _arguments.axis_specs("x", array, axes, boundary, spacing)
    stencils = _stencils.gradient(
        *_arguments.operator_and_scale(operator, scale), along
    )
    held = _arguments.float_dtype("x", array.dtype, dtype, stencils)
    wide = accumulator(held)
    parts = derivatives(array, stencils, where, wide, implementation, jointly=True)
    return _length(parts, jnp.finfo(held).dtype)


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
) -> Float[Array, "..."] | Any:  # or a tuple, by the number of axes
    r"""The direction of the gradient at each pixel, in radians.

    .. math:: \theta_i = \operatorname{atan2}((\partial_y x)_i, (\partial_x x)_i)

    for two axes: 0 where the image gets brighter from column to column, π/2 where it
    does from row to row. Where the gradient is 0, so are the angle and its derivatives.

    For more axes it is a tuple of angles: of each axis but the last two the elevation
    over those that follow, in [-π/2, π/2]; and the angle above, of the last two. For a
    volume: `(atan2(dz, sqrt(dy² + dx²)), atan2(dy, dx))`.

    Args:
      x: a real array of any rank, of JAX or NumPy. Any axis may be sharded.
      operator: as for :func:`spatial_gradient`.
      axes: two or more, as for :func:`spatial_gradient`.
      boundary: as for :func:`spatial_gradient`.
      spacing: as for :func:`spatial_gradient`.
      scale: as for :func:`spatial_gradient`.
      where: as for :func:`gradient_magnitude`.
      dtype: as for :func:`gradient_magnitude`.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      An array of the shape and sharding of `x`; for n axes, n > 2, a tuple of n - 1.

    Raises:
      ValueError: as for :func:`spatial_gradient`; or if there is one axis only.
      TypeError: as for :func:`spatial_gradient`; or if `x` is complex.
      NotImplementedError: if the implementation asked for cannot run here.

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
    along = _arguments.axis_specs("x", array, axes, boundary, spacing)
    if len(along) == 1:
        raise ValueError(f"axes must be two or more for an angle, got {axes}")
    stencils = _stencils.gradient(
        *_arguments.operator_and_scale(operator, scale), along
    )
    held = _arguments.float_dtype("x", array.dtype, dtype, stencils)
    _arguments.check_real("x", held)
    wide = accumulator(held)
    parts = derivatives(array, stencils, where, wide, implementation, jointly=True)
    angles = _angles(parts, held)
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
    r"""The second moments of the gradient around each pixel: `(Jyy, Jyx, Jxx)`.

    .. math:: J_{ab} = G_\sigma * (\partial_a x \, \partial_b x)

    with a Gaussian window G. Its eigenvalues tell corners from edges and from flat
    regions; its eigenvectors the direction of the edges.

    Args:
      x: a real array of any rank, of JAX or NumPy. Any axis may be sharded.
      sigma: standard deviation of the window in pixels, a number of at least 0.125. The
        window is cut off at four sigma.
      operator: as for :func:`spatial_gradient`.
      axes: as for :func:`spatial_gradient`.
      boundary: as for :func:`spatial_gradient`, of the image and of the stencils; with
        `"interior"` there are zeros around these.
      spacing: as for :func:`spatial_gradient`.
      scale: as for :func:`spatial_gradient`.
      where: as for :func:`gradient_magnitude`. The window is then a mean over those of
        its pixels that count, and 0 where none does.
      dtype: as for :func:`gradient_magnitude`; but at least float32.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      A tuple: for each pair of `axes`, the second not before the first, an array of the
      shape and sharding of `x`.

    Raises:
      ValueError: as for :func:`spatial_gradient`.
      TypeError: as for :func:`spatial_gradient`; or if `x` is complex.
      NotImplementedError: if the implementation asked for cannot run here.

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
    along = _arguments.axis_specs("x", array, axes, boundary, spacing)
    stencils = _stencils.gradient(
        *_arguments.operator_and_scale(operator, scale), along
    )
    held = accumulator(_arguments.float_dtype("x", array.dtype, dtype, stencils))
    _arguments.check_real("x", held)
    parts = derivatives(array, stencils, where, held, implementation, jointly=True)
    valid = _arguments.as_mask(where, "x", array)
    window = _stencils.window(_arguments.as_sigma("sigma", sigma), along)
    return _moments(parts, valid, stencils, window, implementation)


@functools.partial(jax.jit, static_argnums=1)
def _length(parts: tuple[jax.Array, ...], dtype: np.dtype) -> jax.Array:
    return norm(parts).astype(dtype)


@functools.partial(jax.jit, static_argnums=1)
def _angles(parts: tuple[jax.Array, ...], dtype: np.dtype) -> tuple[jax.Array, ...]:
    elevations = [angle(parts[i], norm(parts[i + 1 :])) for i in range(len(parts) - 2)]
    return tuple(a.astype(dtype) for a in (*elevations, angle(*parts[-2:])))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _moments(
    parts: tuple[jax.Array, ...],
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    window: SeparableStencil,
    implementation: Implementation | None,
) -> tuple[jax.Array, ...]:
    # Materialized: XLA for CPU would otherwise compute them anew for each tap of the
    # window. Others need no barrier.
    parts = materialize(parts, "cpu")
    pairs = [a * b for a, b in itertools.combinations_with_replacement(parts, 2)]
    means = [stencil([pair], ((window,),), implementation)[0] for pair in pairs]
    if valid is None:
        return tuple(means)
    counts = [valid_outputs(valid, one) for one in stencils]
    weight = functools.reduce(jnp.logical_and, counts).astype(means[0].dtype)
    (share,) = stencil([weight], ((window,),), implementation)
    return tuple(ratio(mean, share) for mean in means)
