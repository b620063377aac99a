"""Eigenvalues and eigenvectors of symmetric matrices, one at each pixel.

Their entries are in several arrays, as `structure_tensor` and `second_derivatives`
return them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Shaped

from jax_imgrad import _arguments, _symmetric
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad.typing import Numbers


def eigenvalues(
    parts: Sequence[Shaped[Numbers, "..."]],
) -> tuple[Float[Array, "..."], ...]:
    r"""The eigenvalues of a symmetric 2×2 or 3×3 matrix at each pixel, ascending.

    .. math:: A v_i = \lambda_i v_i, \qquad \lambda_1 \le \lambda_2 \; (\le \lambda_3)

    in closed form, as accurate as `numpy.linalg.eigvalsh`: to a few rounding errors of
    the largest entry of A, also where eigenvalues are nearly equal. The derivative is
    :math:`v_i^T A' v_i`. Equal eigenvalues, which have no derivative each, have that of
    their mean; the derivative of their sum is that of the trace. Second derivatives are
    finite, too.

    Args:
      parts: the upper triangle of the matrix, row by row, as :func:`structure_tensor`
        and :func:`second_derivatives` return it: `(Jyy, Jyx, Jxx)`, or
        `(Jzz, Jzy, Jzx, Jyy, Jyx, Jxx)` of a volume. Real JAX or NumPy arrays of one
        shape and dtype. Any axis may be sharded.

    Returns:
      A tuple of two or three arrays with the shape, sharding and dtype of the parts,
      float32 for integers. Computed in at least float32, and rounded once.

    Raises:
      ValueError: if the parts differ in shape or dtype, or are not 3 or 6.
      TypeError: if `parts` is not a sequence of arrays of real numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:5, 0.0:5]
      >>> hessian = jig.second_derivatives(2 * y**2 + 3 * y * x + 2 * x**2, axes=(0, 1))
      >>> [float(value[2, 2]) for value in jig.eigenvalues(hessian)]
      [1.0, 7.0]

    Reference:
      D. Eberly, "A Robust Eigensolver for 3 × 3 Symmetric Matrices", Geometric Tools,
      2014. J. R. Magnus, "On differentiating eigenvalues and eigenvectors", Econometric
      Theory 1, 1985.
    """
    arrays = _arguments.as_triangle("parts", parts)
    return _eigenvalues(tuple(arrays), float_of(arrays[0].dtype))


def eigenvectors(
    parts: Sequence[Shaped[Numbers, "..."]],
) -> tuple[tuple[Float[Array, "..."], ...], ...]:
    r"""The unit eigenvectors of a symmetric 2×2 or 3×3 matrix at each pixel.

    In the order of the :func:`eigenvalues`. Of a structure tensor, the last is the
    direction across an edge, and the first that along it. Where an eigenvalue is
    repeated, any two orthogonal vectors of a plane are eigenvectors: which are returned
    is arbitrary.

    The last component that is not 0 is positive. So `jig.orientation(vector)` of two
    components is the angle of the axis, from -π/2 to π/2.

    The derivative of :math:`v_i` is
    :math:`\sum_{j \ne i} v_j \, v_j^T A' v_i / (\lambda_i - \lambda_j)`, without the
    terms of equal eigenvalues, so that it is finite. It is large where eigenvalues are
    nearly equal.

    Args:
      parts: as in :func:`eigenvalues`.

    Returns:
      A tuple of two or three vectors. Each is a tuple of its components, in the order
      of the rows of the matrix: `((y, x), (y, x))`, or three `(z, y, x)`. They are
      arrays with the shape, sharding and dtype of the parts, float32 for integers.

    Raises:
      ValueError: as in :func:`eigenvalues`.
      TypeError: as in :func:`eigenvalues`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:16, 0.0:16]
      >>> tensor = jig.structure_tensor(3 * y + 4 * x, axes=(0, 1))
      >>> along, across = jig.eigenvectors(tensor)
      >>> [round(float(part[8, 8]), 3) for part in across]
      [0.6, 0.8]

    Reference:
      As for :func:`eigenvalues`.
    """
    arrays = _arguments.as_triangle("parts", parts)
    return _eigenvectors(tuple(arrays), float_of(arrays[0].dtype))


@functools.partial(jax.jit, static_argnums=1)
def _eigenvalues(
    parts: tuple[jax.Array, ...], dtype: np.dtype
) -> tuple[jax.Array, ...]:
    values = _symmetric.eigenvalues([part.astype(accumulator(dtype)) for part in parts])
    return tuple(value.astype(dtype) for value in values)


@functools.partial(jax.jit, static_argnums=1)
def _eigenvectors(
    parts: tuple[jax.Array, ...], dtype: np.dtype
) -> tuple[tuple[jax.Array, ...], ...]:
    vectors = _symmetric.eigenvectors(
        [part.astype(accumulator(dtype)) for part in parts]
    )
    return tuple(tuple(part.astype(dtype) for part in vector) for vector in vectors)
