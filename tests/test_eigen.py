"""Eigenvalues and eigenvectors, against LAPACK in float64, and their derivatives."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import x64_if
from jax.test_util import check_grads

import jax_imgrad as jig

PAIRS = {n: list(itertools.combinations_with_replacement(range(n), 2)) for n in (2, 3)}
sizes = pytest.mark.parametrize("n", [2, 3])


def triangle(matrices):
    """The upper triangle, row by row, as a tuple of arrays."""
    return tuple(matrices[..., i, j] for i, j in PAIRS[matrices.shape[-1]])


def full(parts):
    """The symmetric matrices with this upper triangle."""
    n = {3: 2, 6: 3}[len(parts)]
    matrices = np.zeros((*np.shape(parts[0]), n, n), np.asarray(parts[0]).dtype)
    for (i, j), part in zip(PAIRS[n], parts, strict=True):
        matrices[..., i, j] = matrices[..., j, i] = part
    return matrices


def rotated(values, seed=0):
    """A matrix with these eigenvalues and random eigenvectors."""
    n = len(values)
    draw = np.random.default_rng(seed)
    vectors = np.linalg.qr(draw.normal(size=(n, n)))[0]
    return vectors * values @ vectors.T


def easy(n, count=50):
    """Random matrices."""
    draw = np.random.default_rng(0)
    lower = draw.normal(size=(count, n, n))
    return lower + lower.swapaxes(-1, -2)


def hard(n):
    """Matrices with equal and nearly equal eigenvalues, zeros, and large traces."""
    ones, unit = np.ones((n, n)), np.eye(n)
    found = [0 * unit, unit, -unit, ones, ones - unit, unit - ones, ones + 1e4 * unit]
    found += [np.diag(np.roll((1.0, 2.0, -3.0)[:n], k)) for k in range(n)]
    found += [np.diag((2.0, 2.0, -4.0)[:n]), np.diag((-4.0, 2.0, 2.0)[:n])]
    for i, j in itertools.combinations(range(n), 2):
        single = 0 * unit
        single[i, j] = single[j, i] = 3.0
        found += [single, unit + 1e-7 * single, unit + 1e-30 * single]
    for power in range(1, 10):
        near = 10.0**-power
        for pair in ((1, 1 + near, 2), (-2, 1, 1 + near), (1, 1 + near, 1 + 2 * near)):
            found += [rotated(np.array(pair[:n]), seed) for seed in range(4)]
    return np.stack(found)


def matrices(n, dtype):
    every = np.concatenate([easy(n), hard(n)]).astype(dtype)
    return np.stack([every * every.dtype.type(2.0**k) for k in (-60, -20, 0, 20, 60)])


@sizes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_eigenvalues_are_as_accurate_as_those_of_lapack(n, dtype):
    """Within a few rounding errors of the largest entry, in ascending order."""
    given = matrices(n, dtype)
    with x64_if(dtype):
        ours = np.stack(jig.eigenvalues(triangle(given)), -1)
    assert ours.dtype == dtype
    exact = np.linalg.eigvalsh(given.astype("float64"))
    largest = np.abs(given).max((-2, -1))[..., None]
    error = np.abs(ours.astype("float64") - exact)
    assert (error <= BOUND[dtype] * np.finfo(dtype).eps * largest).all()
    assert (np.diff(ours) >= 0).all()


# In float64, LAPACK has rounding errors of its own.
BOUND = {"float32": 3, "float64": 8}


@sizes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_eigenvectors_are_unit_vectors_that_the_matrix_stretches(n, dtype):
    given = matrices(n, dtype)
    with x64_if(dtype):
        values = jig.eigenvalues(triangle(given))
        vectors = jig.eigenvectors(triangle(given))
    assert all(part.dtype == dtype for part in jax.tree.leaves(vectors))
    wide = given.astype("float64")
    rows = np.stack([np.stack(one, -1) for one in vectors], -2).astype("float64")
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        rows @ rows.swapaxes(-1, -2),
        np.broadcast_to(np.eye(n), rows.shape),
        atol=8 * eps,
    )
    stretched = rows * np.stack(values, -1).astype("float64")[..., None]
    error = np.abs(rows @ wide - stretched).max((-2, -1))
    assert (error <= 12 * eps * np.abs(wide).max((-2, -1))).all()
    nonzero = np.where(rows == 0, np.nan, rows)
    last = [next(x for x in row[::-1] if x == x) for row in nonzero.reshape(-1, n)]
    assert min(last) > 0


@sizes
def test_eigenvectors_of_separate_eigenvalues_are_those_of_lapack(n):
    given = easy(n).astype("float32")
    _, columns = np.linalg.eigh(given.astype("float64"))
    expected = np.moveaxis(columns * np.sign(columns[:, -1:]), -1, 0)
    for ours, wide in zip(jig.eigenvectors(triangle(given)), expected, strict=True):
        np.testing.assert_allclose(np.stack(ours, -1), wide, atol=1e-5)


@sizes
def test_eigenvectors_of_last_digits_beside_a_large_mean(n):
    """The mean is rounded, which leaves a trace as large as these digits."""
    digits = np.random.default_rng(0).integers(-9, 9, (40, n, n))
    digits = np.float32(2.0**-22) * (digits + digits.swapaxes(-1, -2))
    given = np.float32(3) * np.eye(n, dtype="float32") + digits
    np.testing.assert_array_equal(given.astype("float64") - 3 * np.eye(n), digits)
    _, columns = np.linalg.eigh(digits.astype("float64"))
    for ours, wide in zip(
        jig.eigenvectors(triangle(given)), np.moveaxis(columns, -1, 0), strict=True
    ):
        length = np.abs((np.stack(ours, -1) * wide).sum(-1))
        np.testing.assert_allclose(length, 1, rtol=1e-5)


def test_the_order_of_the_parts_is_that_of_second_derivatives():
    z, y, x = np.mgrid[0.0:3, 0.0:3, 0.0:3]
    quadratic = z**2 + 2 * z * y + 3 * z * x + 4 * y**2 + 5 * y * x + 6 * x**2
    parts = jig.second_derivatives(quadratic, axes=(0, 1, 2))
    hessian = np.array([[2.0, 2, 3], [2, 8, 5], [3, 5, 12]])
    ours = [value[1, 1, 1] for value in jig.eigenvalues(parts)]
    np.testing.assert_allclose(ours, np.linalg.eigvalsh(hessian), rtol=1e-6)


def test_an_eigenvector_is_an_axis_for_orientation():
    """Its angle is from -π/2 to π/2: of edges whose gradient has this angle."""
    angles = np.radians([-90.0, -60, 0, 45, 89, 135, 180, 270]).astype("float32")
    dy, dx = np.sin(angles), np.cos(angles)
    across = jig.eigenvectors((dy * dy, dy * dx, dx * dx))[1]
    ours = np.asarray(jig.orientation(across))
    assert (np.abs(ours) <= np.float32(math.pi / 2)).all()
    np.testing.assert_allclose(np.sin(ours - angles), 0, atol=1e-6)


@sizes
def test_a_nan_or_an_infinity_stays_in_its_pixel(n):
    given = np.broadcast_to(np.eye(n, dtype="float32"), (4, n, n)).copy()
    given[1, 0, 0], given[2, 0, 1], given[2, 1, 0] = np.nan, np.nan, np.nan
    given[3, 0, 1] = given[3, 1, 0] = np.inf
    values = jig.eigenvalues(triangle(given))
    for value in values:
        assert np.isfinite(value).tolist() == [True, False, False, False]
    for part in jax.tree.leaves(jig.eigenvectors(triangle(given))):
        assert np.isnan(part).tolist()[:3] == [False, True, True]


@pytest.mark.parametrize(("n", "modes"), [(2, ["fwd", "rev"]), (3, ["rev"])])
def test_derivatives_to_second_order(n, modes):
    """Each mode over each for 2×2; the program for 3×3 takes long to compile."""

    @jax.jit
    def loss(parts):
        leaves = [*jig.eigenvalues(parts), *jax.tree.leaves(jig.eigenvectors(parts))]
        return sum(jnp.sin(k + leaf).sum() for k, leaf in enumerate(leaves))

    with jax.enable_x64(True):
        parts = [jnp.asarray(part) for part in triangle(easy(n, 3))]
        check_grads(loss, (parts,), order=2, modes=modes, rtol=1e-4, atol=1e-4)


@sizes
def test_derivatives_are_those_of_the_formula(n):
    """λ' = v' A' v and v' = Σ w (w' A' v)/(λ - μ), with LAPACK in float64."""
    given, direction = easy(n), easy(n, 100)[50:]
    values, columns = np.linalg.eigh(given)
    columns *= np.sign(columns[:, -1:])
    along = np.swapaxes(columns, -1, -2) @ direction @ columns
    gaps = values[:, None, :] - values[:, :, None]
    turn = np.where(gaps == 0, 0, along / np.where(gaps == 0, 1, gaps))
    slopes = np.moveaxis(columns @ turn, -1, 0)
    for dtype, tolerance in (("float32", 1e-3), ("float64", 1e-9)):
        with x64_if(dtype):
            both = [
                tuple(jnp.asarray(part, dtype) for part in triangle(m))
                for m in (given, direction)
            ]
            _, ours = jax.jvp(jig.eigenvalues, *[(one,) for one in both])
            _, turned = jax.jvp(jig.eigenvectors, *[(one,) for one in both])
        expected = np.diagonal(along, axis1=-2, axis2=-1)
        np.testing.assert_allclose(np.stack(ours, -1), expected, tolerance, tolerance)
        for one, wide in zip(turned, slopes, strict=True):
            limit = tolerance * max(1, np.abs(wide).max())
            np.testing.assert_allclose(np.stack(one, -1), wide, tolerance, limit)


@sizes
def test_derivatives_of_equal_eigenvalues(n):
    """Finite to second order; the sum has the derivative of the trace."""
    given = hard(n).astype("float32")
    parts = tuple(map(jnp.asarray, triangle(given)))
    tangent = tuple(map(jnp.float32, triangle(easy(n, len(given)))))

    for function in (jig.eigenvalues, jig.eigenvectors):

        def total(parts, function=function):
            leaves = jax.tree.leaves(function(parts))
            return sum(jnp.sin(k + leaf).sum() for k, leaf in enumerate(leaves))

        found = jax.jvp(jax.value_and_grad(total), (parts,), (tangent,))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    _, slopes = jax.jvp(jig.eigenvalues, (parts,), (tangent,))
    trace = sum(tangent[k] for k, (i, j) in enumerate(PAIRS[n]) if i == j)
    np.testing.assert_allclose(sum(slopes), trace, atol=2e-5)
    by_parts = jax.grad(lambda parts: sum(jig.eigenvalues(parts)).sum())(parts)
    for (i, j), one in zip(PAIRS[n], by_parts, strict=True):
        np.testing.assert_allclose(one, float(i == j), atol=2e-6)


def test_equal_eigenvalues_have_the_derivative_of_their_mean():
    tangent = np.array([[3.0, 1, 2], [1, 5, 4], [2, 4, -2]])
    for values, expected in [
        ((1.0, 1.0), (4, 4)),
        ((0.0, 0.0, 0.0), (2, 2, 2)),
        ((1.0, 1.0, 2.0), (4, 4, -2)),
        ((3.0, -1.0, 3.0), (5, 0.5, 0.5)),
    ]:
        n = len(values)
        at = triangle(np.diag(values).astype("float32"))
        by = triangle(tangent[:n, :n].astype("float32"))
        _, slopes = jax.jvp(jig.eigenvalues, (at,), (by,))
        np.testing.assert_allclose(slopes, expected, rtol=1e-6)


def test_the_second_derivative_of_the_largest_beside_two_equal_ones():
    """By differences in float64; it does not depend on the choice in the plane."""
    at, by = rotated(np.array([1.0, 1, 3])), easy(3, 1)[0]

    def largest(t):
        return np.linalg.eigvalsh(at + t * by)[2]

    h = 1e-4
    expected = (largest(h) - 2 * largest(0) + largest(-h)) / h**2
    with jax.enable_x64(True):

        def ours(t):
            matrix = jnp.asarray(at) + t * by
            return jig.eigenvalues(triangle(matrix))[2]

        second = jax.grad(jax.grad(ours))(0.0)
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def cucim(a, d, f, b, e, c):
    """The closed formula of cuCIM for matrices (a d f; d b e; f e c), in float64.

    After C. Deledalle et al., "Closed-form expressions of the eigen decomposition of
    2 x 2 and 3 x 3 Hermitian matrices", 2017.
    """
    x1 = a**2 + b**2 + c**2 - a * b - a * c - b * c + 3 * (d**2 + e**2 + f**2)
    of_a, of_b, of_c = 2 * a - b - c, 2 * b - a - c, 2 * c - a - b
    x2 = -of_a * of_b * of_c - 54 * d * e * f
    x2 += 9 * (of_c * d**2 + of_b * f**2 + of_a * e**2)
    phi = np.arctan2(np.sqrt(np.maximum(4 * x1**3 - x2**2, 0)), x2)
    turns = np.stack([phi, phi - np.pi, phi + np.pi]) / 3
    signs = np.array([-1.0, 1, 1])[:, None]
    return np.sort((a + b + c) / 3 + signs * 2 / 3 * np.sqrt(x1) * np.cos(turns), 0)


def test_the_closed_formula_of_cucim():
    parts = triangle(easy(3))
    with jax.enable_x64(True):
        ours = jig.eigenvalues(parts)
    np.testing.assert_allclose(ours, cucim(*parts), rtol=1e-9, atol=1e-9)


@sizes
def test_integers_are_computed_in_float32(n):
    given = np.random.default_rng(0).integers(0, 9, (6, n, n)).astype("uint8")
    ours = jig.eigenvalues(triangle(given))
    assert {one.dtype for one in ours} == {jnp.dtype("float32")}
    exact = np.linalg.eigvalsh(full(triangle(given)).astype("float64"))
    np.testing.assert_allclose(np.stack(ours, -1), exact, atol=1e-5)


def test_the_number_of_parts():
    words = r"^parts must be the 3 arrays \(Jyy, Jyx, Jxx\) .* 3×3 matrix, got "
    one = np.ones((3, 4), "float32")
    for function in (jig.eigenvalues, jig.eigenvectors):
        for count in (1, 2, 4, 5, 9):
            with pytest.raises(ValueError, match=f"{words}{count}"):
                function((one,) * count)
        with pytest.raises(TypeError, match=r"^parts\[0\] must be real"):
            function((one * 1j,) * 3)


def test_the_remedy_for_whole_matrices():
    tensor = np.random.default_rng(0).random((4, 2, 2)).astype("float32")
    with pytest.raises(TypeError, match="of matrices in its last two axes, pass") as e:
        jig.eigenvalues(tensor)
    triangle_of = eval(str(e.value).partition("axes, pass ")[2], {"parts": tensor})
    ours = jig.eigenvalues(triangle_of)
    symmetric = np.where([[True, True], [False, True]], tensor, tensor.mT)
    np.testing.assert_allclose(np.stack(ours, -1), np.linalg.eigvalsh(symmetric), 1e-5)
