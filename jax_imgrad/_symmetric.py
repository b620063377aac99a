"""Eigenvalues and eigenvectors of symmetric 2×2 and 3×3 matrices, in closed form.

A matrix is given by the entries of its upper triangle, row by row; each is an array of
numbers, one for each pixel. All is elementwise and without branches.

A matrix A is its mean eigenvalue m and a matrix B of trace 0, A = m I + B. B has the
eigenvectors of A, and its eigenvalues are those of A minus m. Differences of
eigenvalues are taken from B, so that they keep their accuracy where m is far larger.

Where two eigenvalues are equal up to rounding, their eigenvectors may be any two of a
plane, and neither has a derivative. There both eigenvalues have the derivative of their
mean, and their eigenvectors do not turn toward each other. So all derivatives are
finite.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._blocks import in_blocks
from jax_imgrad._norms import inner, inverse_norm, norm, power_of_two_near

Vector = tuple[jax.Array, ...]

# Eigenvalues that differ by at most so many rounding errors of the matrix are equal.
_ROUNDING_ERRORS = 8

# The positions of the entries of a matrix in its upper triangle.
_TRIANGLES = {3: ((0, 1), (1, 2)), 6: ((0, 1, 2), (1, 3, 4), (2, 4, 5))}


def eigenvalues(parts: Sequence[jax.Array]) -> Vector:
    """The eigenvalues, in ascending order."""
    if len(parts) == 6:
        return _values_of_three(tuple(parts), False)
    mean, deviator = _mean_and_deviator(parts)
    return tuple(mean + value for value in _values_of_two(deviator))


def eigenvectors(parts: Sequence[jax.Array]) -> tuple[Vector, ...]:
    """The unit eigenvectors, in the order of the eigenvalues.

    The last component that is not 0 is positive.
    """
    return _vectors(tuple(parts))


def _values_of_two(deviator: Vector) -> Vector:
    # The square of (d b; b -d) is (d² + b²) I.
    size = norm(deviator[:2])
    return -size, size


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _values_of_three(parts: Vector, minus_mean: bool) -> Vector:
    """The eigenvalues, or those of the deviator."""
    return in_blocks(_deviations if minus_mean else _values, parts, 3)


# Let A v = λ v. Then A' v + A v' = λ' v + λ v'. The inner product with v itself is
# <v, A' v> + λ <v, v'> = λ' + λ <v, v'>, and so λ' = <v, A' v>.
@_values_of_three.defjvp
def _values_of_three_jvp(minus_mean, primals, tangents):
    (parts,), (ts,) = primals, tangents
    values = _values_of_three(parts, minus_mean)
    a, b, c = (_form(ts, v, v) for v in _vectors(parts))
    low, high = (_are_equal(parts, values[i], values[i + 1]) for i in (0, 1))

    def mean_if_equal(alone, if_low, if_high):
        of_two = jnp.where(low, if_low, jnp.where(high, if_high, alone))
        return jnp.where(low & high, (a + b + c) / 3, of_two)

    ab, bc = (a + b) / 2, (b + c) / 2
    slopes = [mean_if_equal(*s) for s in ((a, ab, a), (b, ab, bc), (c, c, bc))]
    if minus_mean:
        mean = _third_of_trace(ts)
        slopes = [slope - mean for slope in slopes]
    return values, tuple(slopes)


@jax.custom_jvp
def _vectors(parts: Vector) -> tuple[Vector, ...]:
    n = len(_TRIANGLES[len(parts)])
    entries = in_blocks(_directions, parts, n * n)
    return tuple(entries[n * i : n * (i + 1)] for i in range(n))


# The inner product of the same equation with another eigenvector w, whose eigenvalue is
# μ, is <w, A' v> + μ <w, v'> = λ <w, v'>, and so
#
#     <w, v'> = <w, A' v>/(λ - μ)
#
# while <v, v'> = 0, because the length of v stays 1.
@_vectors.defjvp
def _vectors_jvp(primals, tangents):
    (parts,), (ts,) = primals, tangents
    vectors = _vectors(parts)
    if len(parts) == 6:
        values = _values_of_three(parts, True)
    else:
        values = _values_of_two(_mean_and_deviator(parts)[1])
    slopes = [[jnp.zeros_like(x) for x in vector] for vector in vectors]
    for i, j in itertools.combinations(range(len(vectors)), 2):
        equal = _are_equal(parts, values[i], values[j])
        gap = jnp.where(equal, 0, values[j] - values[i])
        turn = _form(ts, vectors[i], vectors[j]) * inverse_norm([gap])
        for k, (v, w) in enumerate(zip(vectors[i], vectors[j], strict=True)):
            slopes[i][k] -= turn * w
            slopes[j][k] += turn * v
    return vectors, tuple(map(tuple, slopes))


def _are_equal(parts: Vector, low: jax.Array, high: jax.Array) -> jax.Array:
    """Where two eigenvalues differ by no more than rounding errors of the matrix."""
    rounding = _ROUNDING_ERRORS * float(jnp.finfo(low.dtype).eps)
    return high - low <= rounding * _largest(parts)


# What follows is not differentiated.


def _values(parts: Vector) -> Vector:
    mean, deviator = _mean_and_deviator(parts)
    return tuple(mean + value for value in _deviations_of(deviator))


def _deviations(parts: Vector) -> Vector:
    return _deviations_of(_mean_and_deviator(parts)[1])


def _deviations_of(deviator: Vector) -> Vector:
    """The eigenvalues of a 3×3 matrix of trace 0."""
    scaled, power = _scaled(deviator)
    vector, is_largest = _separated(scaled)
    middle, half, product = _in_plane(scaled, *_plane(vector))
    size = jnp.sqrt(inner((half, product), (half, product)))
    # The trace is 0, so the other eigenvalue is minus the sum of these two.
    pair, other = (middle - size, middle + size), -2 * middle
    return tuple(power * value for value in _sorted(pair, other, is_largest))


def _directions(parts: Vector) -> Vector:
    """The components of all eigenvectors, in one tuple."""
    scaled, _ = _scaled(_mean_and_deviator(parts)[1])
    if len(scaled) == 3:
        cosine, sine = _direction(*scaled[:2])
        return *_with_sign((-sine, cosine)), *_with_sign((cosine, sine))
    vector, is_largest = _separated(scaled)
    u, w = _plane(vector)
    cosine, sine = _direction(*_in_plane(scaled, u, w)[1:])
    small = tuple(cosine * y - sine * x for x, y in zip(u, w, strict=True))
    large = tuple(cosine * x + sine * y for x, y in zip(u, w, strict=True))
    columns = zip(small, large, vector, strict=True)
    # Sorted component by component.
    ordered = [_sorted(column[:2], column[2], is_largest) for column in columns]
    return tuple(x for v in zip(*ordered, strict=True) for x in _with_sign(v))


def _mean_and_deviator(parts: Sequence[jax.Array]) -> tuple[jax.Array, Vector]:
    """The mean eigenvalue, and the matrix minus that on its diagonal."""
    if len(parts) == 3:
        a, b, c = parts[0] / 2, parts[1], parts[2] / 2
        return a + c, (a - c, b, c - a)
    mean = _third_of_trace(parts)
    deviator = _minus(parts, mean)
    # The rounding error of a mean that is far larger than the deviator is a trace of
    # the deviator.
    error = _third_of_trace(deviator)
    return mean + error, _minus(deviator, error)


def _third_of_trace(parts: Sequence[jax.Array]) -> jax.Array:
    a, _, _, b, _, c = parts
    return a / 3 + b / 3 + c / 3


def _minus(parts: Sequence[jax.Array], shift: jax.Array) -> Vector:
    """The 3×3 matrix minus a number on its diagonal."""
    a, b, c, d, e, f = parts
    return a - shift, b, c, d - shift, e, f - shift


def _scaled(parts: Vector) -> tuple[Vector, jax.Array]:
    """The matrix divided by a power of two near its largest entry, and that power."""
    power, inverse = power_of_two_near(_largest(parts))
    return tuple(part * inverse for part in parts), power


def _largest(parts: Vector) -> jax.Array:
    return functools.reduce(jnp.maximum, map(jnp.abs, parts))


def _separated(parts: Vector) -> tuple[Vector, jax.Array]:
    """The unit eigenvector of the eigenvalue that is farthest from the two others.

    Also returns where this eigenvalue is the largest; elsewhere it is the smallest.

    The eigenvalues of B are 2 p cos(φ + 2πk/3), k = 0, 1, 2, where cos 3φ = h. They are
    p times the roots of x³ - 3x = 2h, where

        p² = <B, B>/6,    h = det B/(2 p³),    -1 <= h <= 1

    For h >= 0 the largest, x >= √3, is at least √3 from the others: an eigenvector of
    it is accurate, while those of the others may be undetermined. The smallest root for
    -h is minus the largest for h.
    """
    a, b, c, d, e, f = parts
    # The largest entry is at least 1, so p² >= 1/4, unless all are 0. Then any vector
    # is an eigenvector, and this p leads to one.
    squares = inner((a, d, f), (a, d, f)) + 2 * inner((b, c, e), (b, c, e))
    p = jnp.sqrt(jnp.maximum(squares / 6, 0.125))
    determinant = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
    is_largest = determinant >= 0
    h = jnp.abs(determinant) / (2 * p * p * p)
    # A parabola through the roots for h = 0, 1/2 and 1 is off by less than 1e-3. Each
    # of Newton's steps squares the error.
    x = 1.7320508 + h * (0.3213884 - 0.0534392 * h)
    for _ in range(3 if x.dtype == jnp.float64 else 2):
        x -= (x * (x * x - 3) - 2 * h) / (3 * (x * x - 1))
    value = jnp.where(is_largest, p * x, -p * x)
    return _null_vector(_minus(parts, value)), is_largest


def _null_vector(parts: Vector) -> Vector:
    """The unit vector that a matrix of rank 2 maps to 0.

    Each column of the adjugate, which is a multiple of v vᵀ, is a multiple of v. The
    column with the largest entry on the diagonal is the longest.
    """
    a, b, c, d, e, f = parts
    aa, dd, ff = d * f - e * e, a * f - c * c, a * d - b * b
    ab, ac, bc = c * e - b * f, b * e - c * d, b * c - a * e
    first, second = (aa >= dd) & (aa >= ff), dd >= ff
    columns = zip((aa, ab, ac), (ab, dd, bc), (ac, bc, ff), strict=True)
    column = [jnp.where(first, x, jnp.where(second, y, z)) for x, y, z in columns]
    inverse = lax.rsqrt(inner(column, column))
    x, y, z = (entry * inverse for entry in column)
    return x, y, z


def _plane(vector: Vector) -> tuple[Vector, Vector]:
    """Two unit vectors orthogonal to a unit vector and to each other.

    T. Duff et al., "Building an Orthonormal Basis, Revisited", Journal of Computer
    Graphics Techniques 6, 2017.
    """
    x, y, z = vector
    sign = jnp.where(z < 0, -1, 1).astype(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    return (1 + sign * x * x * a, sign * b, -sign * x), (b, sign + y * y * a, -y)


def _in_plane(parts: Vector, u: Vector, w: Vector) -> Vector:
    """The matrix (m + d, b; b, m - d) of the bilinear form in a basis of a plane."""
    uu, uw, ww = _form(parts, u, u), _form(parts, u, w), _form(parts, w, w)
    return (uu + ww) / 2, (uu - ww) / 2, uw


def _form(parts: Vector, v: Vector, w: Vector) -> jax.Array:
    """The bilinear form <v, B w>."""
    rows = _TRIANGLES[len(parts)]
    return inner(v, [inner([parts[k] for k in row], w) for row in rows])


def _direction(half: jax.Array, product: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The unit eigenvector of (d b; b -d) for its larger eigenvalue r = |(d, b)|.

    It is a multiple of both (r + d, b) and (b, r - d). For either sign of d, one of
    them is computed without cancellation. For a matrix of 0 it is (0, 1).
    """
    size = jnp.sqrt(inner((half, product), (half, product)))
    sum_ = jnp.where(size == 0, 1, size + jnp.abs(half))
    inverse = lax.rsqrt(inner((sum_, product), (sum_, product)))
    large, small = sum_ * inverse, product * inverse
    first = half > 0
    return jnp.where(first, large, small), jnp.where(first, small, large)


def _sorted(pair: Vector, other: jax.Array, is_largest: jax.Array) -> Vector:
    """The three in ascending order, if the other is the largest or the smallest."""
    small, large = pair
    return (
        jnp.where(is_largest, small, other),
        jnp.where(is_largest, large, small),
        jnp.where(is_largest, other, large),
    )


def _with_sign(vector: Vector) -> Vector:
    """The vector or minus the vector: its last component that is not 0 is positive."""
    last = vector[0]
    for x in vector[1:]:
        last = jnp.where(x == 0, last, x)
    return tuple(jnp.where(last < 0, -x, x) for x in vector)
