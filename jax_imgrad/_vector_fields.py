"""Derivatives of vector fields: Jacobian matrix, its determinant, and curl.

A vector field has its components along the last axis, in the order of the axes: of
`[..., H, W, 2]`, `field[..., 0]` is the component along the rows, y, and
`field[..., 1]` that along the columns, x. The functions share the options of
:func:`spatial_gradient`, which documents them in full.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator
from jax_imgrad._linear import stencil
from jax_imgrad._masks import jointly_valid, valid_outputs, without_invalid
from jax_imgrad._stencils import SeparableStencil, negative
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Numbers,
    Operator,
    Scale,
    Spacing,
)


def jacobian(
    field: Shaped[Numbers, "..."],
    *,
    operator: Operator = "central",
    axes: Axes | None = None,
    boundary: Boundaries = "linear",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "..."]:
    r"""The Jacobian matrix of a vector field at each pixel.

    .. math:: J_{ij} = \partial_j u_i

    Row i is the :func:`spatial_gradient` of component i. The trace is the divergence at
    each pixel, `jnp.trace(J, axis1=-2, axis2=-1)`; the :func:`divergence` is another
    one, minus the adjoint of the gradient, and takes a tuple. The two are equal for
    central differences with `boundary="wrap"`. The map is linear.

    Args:
      field: `[..., H, W, 2]`, `[..., D, H, W, 3]`, or any array whose last axis has the
        2 or 3 components, in the order of `axes`. A JAX or NumPy array.
      operator: as in :func:`spatial_gradient`.
      axes: one axis for each component, as in :func:`spatial_gradient`. By default the
        2 or 3 axes before the last.
      boundary: as in :func:`spatial_gradient`. With `"linear"`, central differences
        are those of `numpy.gradient`, exact for affine fields at every pixel.
      spacing: as in :func:`spatial_gradient`. A displacement must be in the unit of
        `spacing`, not in pixels.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`spatial_gradient`: broadcast to the shape of `field`, so a
        mask of pixels is passed as `mask[..., None]`.
      dtype: as in :func:`spatial_gradient`.
      implementation: `"xla"` or `"xla_cpu"`, as in :func:`spatial_gradient`.

    Returns:
      An array `[..., n, n]` with the matrices in the last two axes, and the sharding of
      `field`.

    Raises:
      ValueError: as in :func:`spatial_gradient`, or if `field` does not have
        2 or 3 components, or `axes` one axis for each of them.
      TypeError: as in :func:`spatial_gradient`.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:5, 0.0:5]
      >>> field = jnp.stack([2 * y + 3 * x, y - x], axis=-1)
      >>> jig.jacobian(field)[2, 2]
      Array([[ 2.,  3.],
             [ 1., -1.]], dtype=float32)

    Reference:
      As for :func:`spatial_gradient`.
    """
    array, stencils = _field_and_stencils(
        field, operator, scale, axes, boundary, spacing
    )
    result_dtype = _arguments.result_dtype("field", array.dtype, dtype, stencils)
    valid = _arguments.as_mask(where, "field", array)
    _arguments.check_implementation(implementation)
    return _jacobian(array, valid, stencils, result_dtype, implementation)


def curl(
    field: Shaped[Numbers, "..."],
    *,
    operator: Operator = "central",
    axes: Axes | None = None,
    boundary: Boundaries = "linear",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "..."]:
    r"""The curl (rotation, vorticity) of a vector field.

    In two dimensions, for a field :math:`(u^y, u^x)`, and in three, for
    :math:`(u^z, u^y, u^x)`:

    .. math::
        \partial_x u^y - \partial_y u^x,
        \qquad
        (\partial_x u^y - \partial_y u^x, \; \partial_z u^x - \partial_x u^z, \;
        \partial_y u^z - \partial_z u^y)

    These are the components of the textbook along z, y and x. In two dimensions the
    curl is that of the field in space whose :math:`u^z` is 0, along z. It is positive
    where the field turns from the x axis to the y axis; if x points to the right and y
    down, as in a picture, that is clockwise. The map is linear.

    For arrays whose axes are x, y, z in this order, pass `axes` and the components in
    reverse: `curl(field[..., ::-1], axes=(1, 0))` in two dimensions. Otherwise the
    result has the opposite sign.

    Args:
      field: as in :func:`jacobian`.
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`jacobian`.
      boundary: as in :func:`jacobian`. With `"interior"`, a derivative that does not
        exist counts as 0.
      spacing: as in :func:`jacobian`.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`jacobian`. A result is 0 unless all that it reads is valid.
      dtype: as in :func:`spatial_gradient`.
      implementation: `"xla"` or `"xla_cpu"`, as in :func:`spatial_gradient`.

    Returns:
      Of a field of two components, an array of the shape of `field` without its last
      axis. Of three, an array of the shape of `field`.

    Raises:
      ValueError, TypeError, NotImplementedError: as in :func:`jacobian`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[-2.0:3, -2.0:3]
      >>> clockwise = jnp.stack([x, -y], axis=-1)  # to the right of the center, down
      >>> float(jig.curl(clockwise)[2, 2])
      2.0

    Reference:
      L. D. Landau, E. M. Lifshitz, "Fluid Mechanics", Pergamon, 1959, § 8.
    """
    array, stencils = _field_and_stencils(
        field, operator, scale, axes, boundary, spacing
    )
    result_dtype = _arguments.result_dtype("field", array.dtype, dtype, stencils)
    valid = _arguments.as_mask(where, "field", array)
    _arguments.check_implementation(implementation)
    return _curl(array, valid, stencils, result_dtype, implementation)


def jacobian_determinant(
    field: Shaped[Numbers, "..."],
    *,
    displacement: bool = False,
    operator: Operator = "central",
    axes: Axes | None = None,
    boundary: Boundaries = "linear",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "..."]:
    r"""The determinant of the Jacobian matrix: by how much a map stretches volumes.

    .. math:: \det J \quad\text{or}\quad \det(I + J), \qquad J_{ij} = \partial_j u_i

    For a map φ(x), given as its values, or as the displacement u of φ(x) = x + u(x). At
    1 volumes do not change; where the determinant is 0 or less, the map folds. The
    derivative is that of the formula, and is finite everywhere.

    Args:
      field: as in :func:`jacobian`.
      displacement: whether `field` is u, and not φ: True gives det(I + J).
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`jacobian`.
      boundary: as in :func:`jacobian`. With `"interior"`, a derivative that does not
        exist counts as 0.
      spacing: as in :func:`jacobian`.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`jacobian`. A result is 0 unless the whole matrix is valid.
      dtype: as in :func:`gradient_magnitude`; complex dtypes give a complex result.
      implementation: `"xla"` or `"xla_cpu"`, as in :func:`spatial_gradient`.

    Returns:
      A number for each pixel, an array of the shape of `field` without its last axis.

    Raises:
      ValueError, NotImplementedError: as in :func:`jacobian`.
      TypeError: as in :func:`jacobian`, or if `displacement` is not True or False.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.indices((5, 5), "float32")
      >>> larger = jnp.stack([0.5 * y, 0.0 * x], axis=-1)  # half as high again
      >>> float(jig.jacobian_determinant(larger, displacement=True)[2, 2])
      1.5

    Reference:
      J. Ashburner, "A fast diffeomorphic image registration algorithm", NeuroImage 38,
      2007.
    """
    _arguments.check_bool("displacement", displacement)
    array, stencils = _field_and_stencils(
        field, operator, scale, axes, boundary, spacing
    )
    result_dtype = _arguments.float_dtype("field", array.dtype, dtype, stencils)
    valid = _arguments.as_mask(where, "field", array)
    _arguments.check_implementation(implementation)
    return _determinant(
        array, valid, stencils, bool(displacement), result_dtype, implementation
    )


def _field_and_stencils(
    field: Any, operator: Any, scale: Any, axes: Any, boundary: Any, spacing: Any
) -> tuple[jax.Array, tuple[SeparableStencil, ...]]:
    """The checked field, and the derivatives along the axes of its components."""
    array = _arguments.as_vector_field("field", field)
    axes = _arguments.vector_axes("field", array, axes)
    specs = _arguments.axis_specs("field", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale, specs)
    stencils = _stencils.gradient(*kernel, specs)
    _arguments.check_sizes("field", array, stencils)
    return array, stencils


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _jacobian(
    field: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    field = without_invalid(field, valid).astype(dtype)
    maps = tuple((separable,) for separable in stencils)
    # The derivatives along the axes are the columns of the matrix.
    (columns,) = stencil([field], maps, implementation, stacked=True)
    if valid is None:
        return columns
    masks = [valid_outputs(valid, separable) for separable in stencils]
    return jnp.where(jnp.stack(masks, axis=-1), columns, 0)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _curl(
    field: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    # As in `apply_sum`, each component is upcast before it is used twice.
    field = without_invalid(field, valid).astype(accumulator(dtype))

    def turning(i: int, j: int) -> jax.Array:
        """The derivative of component i along axis j, minus that of j along i."""
        row = stencils[j], negative(stencils[i])
        (total,) = stencil([field[..., i], field[..., j]], (row,), implementation)
        total = total.astype(dtype)
        if valid is None:
            return total
        one, other = (
            valid_outputs(valid[..., k], separable)
            for k, separable in zip((i, j), row, strict=True)
        )
        return jnp.where(one & other, total, 0)

    if len(stencils) == 2:
        return turning(0, 1)
    # The axes are z, y, x, and the components of the curl along them:
    #
    #     ∂x u^y - ∂y u^x,  ∂z u^x - ∂x u^z,  ∂y u^z - ∂z u^y
    return jnp.stack([turning(1, 2), turning(2, 0), turning(0, 1)], axis=-1)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _determinant(
    field: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    displacement: bool,
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    field = without_invalid(field, valid).astype(accumulator(dtype))
    columns = stencil([field], tuple((one,) for one in stencils), implementation)
    rows = [[column[..., i] for column in columns] for i in range(len(columns))]
    if displacement:
        # Where the map is about to fold, entries are near -1, and the sum is exact.
        for i, row in enumerate(rows):
            row[i] = 1 + row[i]
    result = _determinant_of(rows).astype(dtype)
    if valid is None:
        return result
    return jnp.where(jointly_valid(valid, stencils).all(-1), result, 0)


def _determinant_of(rows: list[list[jax.Array]]) -> jax.Array:
    """The determinant of a 2×2 or 3×3 matrix, expanded along the first row."""
    first, *others = rows
    if len(others) == 1:
        ((c, d),) = others
        return first[0] * d - first[1] * c
    (d, e, f), (g, h, i) = others
    minors = e * i - f * h, d * i - f * g, d * h - e * g
    return first[0] * minors[0] - first[1] * minors[1] + first[2] * minors[2]
