"""The structure tensor: second moments of the gradient in a window."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator
from jax_imgrad._linear import stencil
from jax_imgrad._masks import ratio, valid_outputs
from jax_imgrad._operators import apply_stencils
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
    gradient = apply_stencils(
        array, stencils, where, result_dtype, implementation, jointly=True
    )
    valid = _arguments.as_mask(where, "x", array)
    window = _stencils.window(_arguments.as_sigma("sigma", sigma), specs)
    return _moments(gradient, valid, stencils, window, implementation)


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
