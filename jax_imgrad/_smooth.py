"""Smoothing: the taps of an operator along the axes that it does not differentiate."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Inexact, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator, real_dtype
from jax_imgrad._linear import stencil
from jax_imgrad._masks import ratio, without_invalid
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Numbers,
    Operator,
    Scale,
    Spacing,
)


def smooth(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = ("gaussian", 1.0),
    axes: Axes = (-3, -2),
    boundary: Boundaries = "edge",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Inexact[Array, "..."]:
    r"""A weighted mean of the pixels around each pixel, by default a Gaussian blur.

    .. math::
        (S x)_i = \sum_{k, l, \dots} s_k \, s_l \cdots \, x_{i + k e_a + l e_b + \dots}

    where s are the taps with which the operator smooths, here along each of the `axes`
    a, b, ...; see :func:`spatial_gradient` for those of the named operators. With a
    mask v, 1 at valid pixels and 0 elsewhere, the result is the mean over the valid
    pixels in the window,

    .. math:: (S v x)_i \, / \, (\bar S v)_i

    and 0 where there are none, as in the window of :func:`structure_tensor`;
    :math:`\bar S` has the taps divided by their sum. Both maps are linear in x.

    Args:
      x: a JAX or NumPy array of any rank. Any axis may be sharded.
      operator: as in :func:`spatial_gradient`. A Gaussian is truncated at 4 sigma. Any
        other window is a :class:`Kernel` with `smoothing=`. An operator that does not
        smooth, such as `"forward"`, returns `x`.
      axes: the axes to smooth along, as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`. With `"interior"`, an output is 0 where
        the window is not inside the image. With a mask, `"linear"` and `"quadratic"`
        are `"edge"`: extrapolated weights could be negative.
      spacing: as in :func:`spatial_gradient`. It only matters for `("gaussian", sigma,
        "spacing")`.
      scale: `"derivative"` divides the taps by their sum, so that a constant image is
        not changed. `"raw"` does not.
      where: mask of the valid pixels, bool, broadcast to the shape of `x`. Taps must
        then be at least 0. Pixels beyond the border are as valid as those that they
        repeat; the zeros of `"constant"` are no pixels, and do not count in the mean.
        A NaN at an invalid pixel reaches neither value nor derivative.
      dtype: floating or complex dtype of the result; defaults to `x.dtype`, or to
        float32 for integers.
      implementation: `"xla"` or `"xla_cpu"`, as in :func:`spatial_gradient`.

    Returns:
      An array with the shape and sharding of `x`.

    Raises:
      ValueError: as in :func:`spatial_gradient`, or if a tap is negative with `where`.
      TypeError: as in :func:`spatial_gradient`.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> x = jnp.array([0.0, 0.0, 4.0, 0.0, 8.0])
      >>> jig.smooth(x, operator=jig.Kernel(smoothing=(1, 2, 1)), axes=0)
      Array([0., 1., 2., 3., 6.], dtype=float32)

    Reference:
      H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993,
      for the mean over valid pixels.
    """
    array = _arguments.as_array("x", x)
    specs = _arguments.axis_specs("x", array, axes, boundary, spacing)
    if where is not None:
        specs = _arguments.without_extrapolation(specs)
    operator_and_scale = _arguments.operator_and_scale(operator, scale, specs, order=0)
    window = _stencils.smoothing(*operator_and_scale, specs)
    result_dtype = _arguments.float_dtype("x", array.dtype, dtype, (window,))
    _arguments.check_sizes("x", array, (window,))
    valid = _arguments.as_mask(where, "x", array)
    _arguments.check_implementation(implementation)
    weights = _stencils.smoothing(operator_and_scale[0], "derivative", specs)
    if valid is not None:
        _check_positive(operator, weights)
    return _smooth(array, valid, window, weights, result_dtype, implementation)


def _check_positive(operator: Any, window: SeparableStencil) -> None:
    """Raises ValueError if a weight of a mean is negative."""
    if any(weight < 0 for _, factor in window for _, weight in factor.taps):
        raise ValueError(
            "operator must have smoothing taps of at least 0 with where=, since the "
            f"result is divided by the sum of those at valid pixels, got {operator!r}; "
            "pass a Gaussian, or smooth without a mask"
        )


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _smooth(
    array: jax.Array,
    valid: jax.Array | None,
    window: SeparableStencil,
    weights: SeparableStencil,
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    if valid is None:
        (result,) = stencil([array.astype(dtype)], ((window,),), implementation)
        return result
    # Dividend and divisor are rounded once, as their ratio.
    wide = accumulator(dtype)
    image = without_invalid(array, valid).astype(wide)
    (total,) = stencil([image], ((window,),), implementation)
    mask = valid.astype(real_dtype(wide))
    (share,) = stencil([mask], ((weights,),), implementation)
    with jax.numpy_dtype_promotion("standard"):  # of complex pixels and real weights
        return ratio(total, share).astype(dtype)
