"""Which outputs of the operators of masked arrays count."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jax_imgrad import _arguments, _stencils
from jax_imgrad._masks import existing_outputs
from jax_imgrad._neighbors import one_sided_masks, plan_of
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.typing import Axes, Boundaries, Numbers, Operator, Order


def valid_outputs(
    where: Bool[Numbers, "..."],
    *,
    operator: Operator = "forward",
    order: Order = 1,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    one_sided: bool = False,
) -> tuple[Bool[Array, "..."], ...]:
    r"""Where the outputs of an operator of a masked array count, and are not just 0.

    .. math:: v_i = \bigwedge_{\text{taps } k} \text{where}_{i + k}

    An output counts if it exists and all pixels that its taps read are valid. It does
    not exist if `boundary` is `"interior"` and a tap lies beyond the border. Elsewhere
    :func:`spatial_gradient` with the same options returns 0, which a slope may be, too.

    Args:
      where: mask of the valid pixels, a bool JAX or NumPy array of the shape of the
        image. Any axis may be sharded. All True: which outputs exist.
      operator: as in :func:`spatial_gradient`. The default of
        :func:`second_derivatives` is `"central"`; pass it with `order=2`.
      order: 1 for the outputs of :func:`spatial_gradient`, 2 for those of
        :func:`second_derivatives`.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`.
      one_sided: as in :func:`spatial_gradient`: an output counts if its pixel and at
        least one of the two neighbors along the axis exist and are valid.

    Returns:
      A tuple of bool arrays of the shape and sharding of `where`: one for each axis, or
      with `order=2` one for each pair of axes, as :func:`second_derivatives` has them.
      The :func:`laplacian` counts where all unmixed ones of them do, for two axes
      `yy & xx`. The :func:`divergence` counts at all valid pixels; it ignores the
      entries of its vector field that do not count here. With coordinates in
      `spacing`, central differences also read the pixel itself: `where & y`.

    Raises:
      ValueError: as in :func:`spatial_gradient`, or if `one_sided` is True for second
        derivatives.
      TypeError: if `where` is not a bool array.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> where = jnp.array([True, True, False, True, True, True])
      >>> jig.valid_outputs(where, operator="central", axes=0)[0].astype(int)
      Array([0, 0, 1, 0, 1, 0], dtype=int32)
      >>> both = {"operator": "central", "axes": 0, "one_sided": True}
      >>> jig.valid_outputs(where, **both)[0].astype(int)
      Array([1, 1, 0, 1, 1, 1], dtype=int32)

    Reference:
      Normalized convolution, with the certainty 0 or 1: H. Knutsson, C.-F. Westin,
      "Normalized and differential convolution", CVPR 1993.
    """
    array = _arguments.as_array("where", where)
    valid = jnp.asarray(_arguments.as_mask(where, "where", array))
    _arguments.check_option("order", order, (1, 2))
    _arguments.check_first_order(one_sided, order)
    specs = _arguments.axis_specs("where", array, axes, boundary, 1.0)
    _arguments.check_in_pixels(operator)
    kernel = _arguments.operator_and_scale(operator, "raw", specs, order=order)
    if order == 2:
        stencils = _stencils.second_derivatives(*kernel, specs)
        _arguments.check_sizes("where", array, stencils)
        return _masks_of(valid, stencils)
    plan = plan_of(*kernel, specs, (None,) * len(specs), one_sided)
    _arguments.check_sizes("where", array, plan.stencils)
    if one_sided:
        return one_sided_masks(valid, plan.parts)
    return _masks_of(valid, plan.stencils)


@functools.partial(jax.jit, static_argnums=1)
def _masks_of(
    valid: jax.Array, stencils: tuple[SeparableStencil, ...]
) -> tuple[jax.Array, ...]:
    return tuple(existing_outputs(valid, separable) for separable in stencils)
