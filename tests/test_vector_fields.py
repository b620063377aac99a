"""Jacobian, curl and determinant, against NumPy and by the identities of calculus."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array, tolerance, x64_if
from jax.test_util import check_grads

import jax_imgrad as jig

CASES = {  # shape, options
    "image": ((6, 7, 2), {"boundary": "reflect", "operator": "sobel"}),
    "batch": ((2, 5, 6, 2), {"spacing": (0.5, 2.0)}),
    "columns first": ((5, 6, 2), {"axes": (1, 0), "boundary": "wrap"}),
    "volume": ((4, 5, 6, 3), {"boundary": ("edge", "interior", "symmetric")}),
    "volumes": ((2, 4, 3, 5, 3), {"operator": "forward", "spacing": (2, 1.0, 0.5)}),
}
every_case = pytest.mark.parametrize("case", CASES)


def expected_jacobian(field, axes=None, where=None, **options):
    """J[..., i, j] is the derivative of component i along the axis of component j."""
    n = field.shape[-1]
    axes = range(-1 - n, -1) if axes is None else axes
    axes = [axis % field.ndim for axis in axes]
    options = {"operator": "central", "boundary": "linear", **options}
    columns = oracle.gradient(field, axes=axes, where=where, **options)
    return np.stack(columns, -1)


def expected_curl(field, **options):
    """∂x u^y - ∂y u^x; of volumes, the formula of the textbook along z, y, x."""
    j = expected_jacobian(field, **options)
    if field.shape[-1] == 2:
        y, x = 0, 1
        return j[..., y, x] - j[..., x, y]
    z, y, x = 0, 1, 2
    along_x = j[..., z, y] - j[..., y, z]
    along_y = j[..., x, z] - j[..., z, x]
    along_z = j[..., y, x] - j[..., x, y]
    return np.stack([along_z, along_y, along_x], -1)


def expected_determinant(field, displacement=False, **options):
    j = expected_jacobian(field, **options)
    return np.linalg.det(j + displacement * np.eye(field.shape[-1]))


EXPECTED = {
    "jacobian": expected_jacobian,
    "curl": expected_curl,
    "jacobian_determinant": expected_determinant,
}


@every_case
def test_values(case):
    shape, options = CASES[case]
    field = random_array(shape, "float32")
    found = jax.jit(
        lambda field: (
            {n: getattr(jig, n)(field, **options) for n in EXPECTED}
            | {
                "displaced": jig.jacobian_determinant(
                    field, displacement=True, **options
                )
            }
        )
    )(field)
    displaced = expected_determinant(field, True, **options)
    wide = {name: f(field, **options) for name, f in EXPECTED.items()}
    for name, other in (wide | {"displaced": displaced}).items():
        assert found[name].dtype == "float32"
        np.testing.assert_allclose(found[name], other, 1e-5, 1e-5, err_msg=name)


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
def test_valid_pixels(implementation):
    """Invalid pixels are NaN; a result that reads one is 0."""
    shape = (5, 6, 7, 3)
    field = random_array(shape, "float32")
    valid = np.random.default_rng(0).random(shape[:-1]) > 0.05
    options = {"boundary": "edge", "operator": "central"}
    counts = np.stack(
        oracle.valid_outputs(valid, axes=(0, 1, 2), **options), -1
    )  # for the derivative along each axis
    j = expected_jacobian(np.where(valid[..., None], field, 0), **options)
    turns = expected_curl(np.where(valid[..., None], field, 0), **options)
    z, y, x = (counts[..., i] for i in range(3))
    expected = {
        "jacobian": np.where(counts[..., None, :], j, 0),
        "curl": np.where(np.stack([x & y, x & z, y & z], -1), turns, 0),
        "jacobian_determinant": np.where(counts.all(-1), np.linalg.det(j), 0),
    }
    broken = np.where(valid[..., None], field, np.nan).astype("float32")

    @jax.jit
    def ours(field, valid):
        more = {"where": valid[..., None], "implementation": implementation}

        def total(field):
            found = {n: getattr(jig, n)(field, **options, **more) for n in EXPECTED}
            return sum(jnp.sin(one).sum() for one in found.values()), found

        return jax.grad(total, has_aux=True)(field)

    slopes, found = ours(broken, valid)
    for name, other in expected.items():
        np.testing.assert_allclose(found[name], other, 1e-5, 1e-5, err_msg=name)
        assert (other == 0).sum() > (other != 0).sum() / 20
    assert np.isfinite(slopes).all()
    assert not slopes[~valid].any()


def test_a_mask_for_each_component():
    field, valid = random_array((5, 6, 2), "float32"), np.ones((5, 6, 2), bool)
    valid[2, 3, 0] = valid[2, 0, 1] = False
    options = {"boundary": "edge", "where": valid}
    turning = jig.curl(field, **options)
    # The curl reads the component along y to the left and to the right, and the one
    # along x above and below.
    zero = np.zeros((5, 6), bool)
    zero[2, [2, 4]] = zero[[1, 3], 0] = True
    np.testing.assert_array_equal(np.asarray(turning) == 0, zero)
    # The determinant reads both in all four directions; "edge" reads the pixel itself.
    zero[[1, 3], 3] = zero[2, [0, 1]] = True
    stretch = jig.jacobian_determinant(field, displacement=True, **options)
    np.testing.assert_array_equal(np.asarray(stretch) == 0, zero)


@pytest.mark.parametrize("boundary", ["interior", "wrap"])
@pytest.mark.parametrize("operator", ["forward", "central", "sobel"])
@pytest.mark.parametrize("n", [2, 3])
def test_the_curl_of_a_gradient_and_the_divergence_of_a_curl_are_0(
    n, operator, boundary
):
    """Stencils along different axes commute, so that all terms cancel."""
    shape = (6, 5, 7)[:n]
    options = {"operator": operator, "boundary": boundary}
    if boundary == "interior":
        inside = (slice(4, -4),) * n
        shape = tuple(size + 6 for size in shape)
    else:
        inside = (...,)
    x = random_array(shape, "float32")
    gradient = jig.spatial_gradient(x, axes=range(n), **options)
    turning = jig.curl(jnp.stack(gradient, -1), **options)
    np.testing.assert_allclose(turning[inside], 0, atol=5e-6)
    if n == 3:
        field = random_array((*shape, 3), "float32")
        turning = jig.curl(field, **options)
        flow = jnp.trace(jig.jacobian(turning, **options), axis1=-2, axis2=-1)
        np.testing.assert_allclose(flow[inside], 0, atol=5e-6)
        assert np.abs(turning[inside]).max() > 0.1


def test_the_curl_of_a_field_in_the_plane_is_that_in_space_along_z():
    field = random_array((3, 5, 6, 2), "float32")
    in_plane = jig.curl(field, axes=(1, 2), boundary="edge")
    in_space = jnp.concatenate([jnp.zeros_like(field[..., :1]), field], -1)
    turning = jig.curl(in_space, boundary="edge")
    np.testing.assert_allclose(turning[..., 0], in_plane, atol=1e-6)


def test_a_rotation_from_x_to_y_has_a_positive_curl_along_z():
    z, y, x = np.mgrid[-2.0:3, -2.0:3, -2.0:3]
    turning = jig.curl(np.stack([0 * z, x, -y], -1))
    np.testing.assert_array_equal(turning[2, 2, 2], [2, 0, 0])


def test_the_trace_of_the_jacobian_is_the_divergence_of_periodic_fields():
    field = random_array((6, 5, 2), "float32")
    options = {"operator": "central", "boundary": "wrap"}
    trace = jnp.trace(jig.jacobian(field, **options), axis1=-2, axis2=-1)
    parts = tuple(jnp.moveaxis(field, -1, 0))
    flow = jig.divergence(parts, axes=(0, 1), **options)
    np.testing.assert_allclose(trace, flow, atol=1e-6)


def test_the_jacobian_is_that_of_numpy_at_every_pixel():
    field = random_array((4, 5, 6, 3), "float32")
    spacing = (2.0, 1.0, 0.5)
    columns = np.gradient(field.astype("float64"), *spacing, axis=(0, 1, 2))
    ours = jig.jacobian(field, spacing=spacing)
    np.testing.assert_allclose(ours, np.stack(columns, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [2, 3])
def test_the_determinant_of_an_affine_map(n):
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(n, n))
    grid = np.stack(np.mgrid[(slice(0, 5),) * n], -1).astype("float64")
    field = (grid @ matrix.T).astype("float32")
    for displacement in (False, True):
        ours = jig.jacobian_determinant(field, displacement=displacement)
        exact = np.linalg.det(matrix + displacement * np.eye(n))
        np.testing.assert_allclose(ours, exact, rtol=1e-4)


@pytest.mark.parametrize("n", [2, 3])
def test_a_map_that_folds(n):
    """Near -1, an entry of the matrix does not lose its last digits to the 1."""
    grid = np.stack(np.mgrid[(slice(0, 4),) * n], -1).astype("float32")
    steps = np.float32([-1 - 2.0**-20, *[0.5] * (n - 1)])
    ours = jig.jacobian_determinant(steps * grid, displacement=True)
    exact = -(2.0**-20) * 1.5 ** (n - 1)
    np.testing.assert_allclose(ours, exact, rtol=1e-6)


@pytest.mark.parametrize("name", ["jacobian", "curl"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_adjoint(name, dtype):
    field = jnp.asarray(random_array((4, 5, 6, 3), dtype))
    options = {"operator": "sobel", "boundary": ("edge", "wrap", "interior")}

    def function(field):
        return getattr(jig, name)(field, **options)

    result = function(field)
    other = jnp.asarray(random_array(result.shape, dtype, 1))
    (back,) = jax.linear_transpose(function, field)(other)
    left, right = jnp.sum(result * other), jnp.sum(field * back)
    size = jnp.sum(abs(result) * abs(other))
    assert abs(left - right) <= tolerance(dtype) * size
    _, pullback = jax.vjp(function, field)
    assert not jax.tree.leaves(pullback), "no residual is kept"


def test_derivatives_of_the_determinant():
    def total(field):
        stretch = jig.jacobian_determinant(field, displacement=True, boundary="edge")
        return jnp.sum(jnp.sin(stretch))

    with jax.enable_x64(True):
        field = jnp.asarray(random_array((3, 3, 4, 3), "float64"))
        check_grads(total, (field,), order=2, modes=["fwd", "rev"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "uint8"])
def test_dtypes(dtype):
    """Results are rounded once; integers become float32 by the half of "central"."""
    held = "float32" if dtype == "uint8" else dtype
    with x64_if(dtype):
        field = jnp.asarray(random_array((6, 7, 2), dtype))
        found = {n: getattr(jig, n)(field, boundary="edge") for n in EXPECTED}
    wide = np.asarray(field).astype("float64")
    for name, function in EXPECTED.items():
        assert found[name].dtype == held, name
        exact = function(wide, boundary="edge")
        eps = max(0.51 * float(jnp.finfo(held).eps), 1e-6 * (held == "float32"))
        eps = 1e-12 if held == "float64" else eps
        atol = 1e-6 * np.abs(exact).max()
        np.testing.assert_allclose(np.asarray(found[name], float), exact, eps, atol)


def test_integers_with_integer_taps_stay_integers():
    field = np.random.default_rng(0).integers(0, 256, (5, 6, 2)).astype("uint8")
    for name in ("jacobian", "curl"):
        ours = getattr(jig, name)(field, operator="forward")
        assert ours.dtype == "int16"
        exact = EXPECTED[name](field, operator="forward")
        np.testing.assert_array_equal(ours, exact)


FIELD = np.ones((4, 5, 2), "float32")
BAD = {  # the field, the axes, and the message
    "gray": (FIELD[..., :1], None, r"field must have 2 or 3 components .* \(4, 5, 1\)"),
    "no axis": (np.array(1.0), None, "field must have 2 or 3 components .* shape"),
    "components first": (
        np.moveaxis(FIELD, -1, 0),
        None,
        r"; for components along another axis, pass jax\.numpy\.moveaxis\(field, 0, -1",
    ),
    "an image": (
        np.ones((4, 5, 3), "float32"),
        None,
        r"field must have 3 axes before .* \(4, 5, 3\); of 2 components, pass field\[",
    ),
    "the components": (
        FIELD,
        (0, 2),
        r"axes must be 2 axes of field, .* got \(0, 2\); .* pass axes=\(-3, -2\)$",
    ),
    "one axis": (FIELD, 0, "axes must be 2 axes of field, .* got 0; "),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_fields(name):
    field, axes, words = BAD[name]
    for function in (jig.jacobian, jig.curl, jig.jacobian_determinant):
        with pytest.raises(ValueError, match=f"^{words}" if words[0] != ";" else words):
            function(field, axes=axes)


def test_every_pair_of_components_of_the_curl():
    """Of a field with one derivative only, two components of the curl, or none."""
    grid = np.mgrid[(slice(0.0, 3),) * 3]
    for i, j in itertools.product(range(3), repeat=2):
        field = np.zeros((3, 3, 3, 3), "float32")
        field[..., i] = grid[j]
        ours = jig.curl(field)[1, 1, 1]
        names = "zyx"
        expected = np.zeros(3)
        if i != j:
            # Along a it is ∂b u^c - ∂c u^b for (a, b, c) in the order x, y, z.
            a = next(k for k in range(3) if k not in (i, j))
            order = "xyzxy"
            even = names[a] + names[j] + names[i] in order
            expected[a] = 1 if even else -1
        np.testing.assert_array_equal(ours, expected)
