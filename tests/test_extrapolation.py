"""boundary="linear" and "quadratic": laws of extrapolation, and short cases by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array
from stencil_oracle import EXTRAPOLATIONS, OPERATORS

import jax_imgrad as jig
from jax_imgrad._boundaries import sources

extrapolations = pytest.mark.parametrize("boundary", EXTRAPOLATIONS)
AXES = (0, 1)


def test_central_differences_are_those_of_numpy():
    """Of every rank, with spacing; those of JAX are NumPy's with `edge_order=1`."""
    for shape, spacing in [((5,), 2.0), ((3, 4), (0.5, 3.0)), ((3, 4, 5), (2, 1, 0.3))]:
        x, axes = random_array(shape, "float64"), tuple(range(len(shape)))
        for edge_order, boundary in enumerate(EXTRAPOLATIONS, start=1):
            with jax.enable_x64(True):
                ours = jig.spatial_gradient(
                    x,
                    operator="central",
                    axes=axes,
                    boundary=boundary,
                    spacing=spacing,
                )
                each = np.atleast_1d(spacing)
                of_jax = jax.tree.leaves(jnp.gradient(jnp.asarray(x), *each))
            theirs = np.gradient(x, *each, edge_order=edge_order)
            theirs = [theirs] if len(shape) == 1 else theirs
            for one, wide in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(one, wide, rtol=1e-13, atol=1e-13)
            if edge_order == 1:
                for one, other in zip(ours, of_jax, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


@jax.jit(static_argnames="boundary")
def all_derivatives(x, boundary):
    """By every operator: the first and the second derivatives; and the Laplacian."""
    options = {"axes": AXES, "boundary": boundary}
    first = [jig.spatial_gradient(x, operator=o, **options) for o in OPERATORS]
    second = [jig.second_derivatives(x, operator=o, **options) for o in OPERATORS]
    return first, second, jig.laplacian(x, **options)


def derivatives_of(x, boundary):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, all_derivatives(jnp.asarray(x), boundary))


@extrapolations
def test_every_operator_is_exact_on_ramps(boundary):
    y, x = np.mgrid[0.0:5, 0.0:6]
    first, second, laplacian = derivatives_of(2 * y - 3 * x + 5, boundary)
    for dy, dx in first:
        np.testing.assert_allclose(dy, 2, rtol=1e-12)
        np.testing.assert_allclose(dx, -3, rtol=1e-12)
    for part in [laplacian, *jax.tree.leaves(second)]:
        np.testing.assert_allclose(part, 0, atol=1e-11)


def test_every_operator_of_a_parabola_is_at_the_border_what_it_is_inside():
    """All are exact, but forward and backward differences are half a pixel away."""
    y, x = np.mgrid[0.0:5, 0.0:6]
    first, second, laplacian = derivatives_of(y**2 - x * y + 3 * x**2, "quadratic")
    for operator, (dy, dx) in zip(OPERATORS, first, strict=True):
        half = {"forward": 0.5, "backward": -0.5}.get(operator, 0)
        np.testing.assert_allclose(dy, 2 * (y + half) - x, atol=1e-11)
        np.testing.assert_allclose(dx, 6 * (x + half) - y, atol=1e-11)
    for parts in second:
        for part, expected in zip(parts, (2, -1, 6), strict=True):
            np.testing.assert_allclose(part, expected, atol=1e-10)
    np.testing.assert_allclose(laplacian, 8, atol=1e-11)


@extrapolations
def test_every_operator_equals_the_oracle(boundary):
    x = random_array((5, 6), "float64")
    first, second, laplacian = derivatives_of(x, boundary)
    options = {"axes": AXES, "boundary": boundary}
    wide = (
        [oracle.gradient(x, operator=o, **options) for o in OPERATORS],
        [oracle.second_derivatives(x, operator=o, **options) for o in OPERATORS],
        oracle.laplacian(x, **options),
    )
    ours = jax.tree.leaves((first, second, laplacian))
    for one, expected in zip(ours, jax.tree.leaves(wide), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-11, atol=1e-11)


@extrapolations
def test_the_weights_of_pixels_beyond_the_border(boundary):
    """Those of the polynomial through the nearest pixels, as NumPy evaluates it."""
    count, size = {"linear": 2, "quadratic": 3}[boundary], 6
    values = random_array((size,), "float64")
    for distance in range(1, 9):
        for pixel, start in [(-distance, 0), (size - 1 + distance, size - count)]:
            nearest = np.arange(start, start + count)
            line = np.polynomial.Polynomial.fit(nearest, values[nearest], count - 1)
            read = sources(pixel, size, boundary)
            assert sorted(i for i, _ in read) == [*nearest]
            assert all(isinstance(factor, int) for _, factor in read)
            assert sum(factor for _, factor in read) == 1
            found = sum(factor * values[i] for i, factor in read)
            np.testing.assert_allclose(found, line(pixel), rtol=1e-9)


def test_a_masked_pixel_counts_where_its_weight_cancels():
    """In (x[1] - x[-1]) / 2, x[-1] = 2 x[0] - x[1]: as counts, x[1] would cancel."""
    x = np.array([1.0, np.nan, 4.0, 8.0, 16.0], "float32")
    options = {"axes": 0, "operator": "central", "boundary": "linear"}
    (ours,) = jig.spatial_gradient(x, where=~np.isnan(x), **options)
    np.testing.assert_array_equal(ours, [0, 1.5, 0, 6, 8])


def test_a_pixel_whose_weight_is_0_is_read():
    """The second difference at the border is 0 x[0] + 0 x[1]."""
    x = np.array([1.0, np.nan, 4.0, 8.0, 16.0], "float32")
    found = jig.laplacian(x, axes=0, boundary="linear")
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, 4, 0])


@extrapolations
def test_a_masked_nan_reaches_neither_value_nor_derivative(boundary):
    valid = np.random.default_rng(0).random((6, 7)) > 0.2
    x = np.where(valid, random_array((6, 7), "float32"), np.nan).astype("float32")

    @jax.jit
    @jax.value_and_grad
    def loss(x):
        options = {"boundary": boundary, "axes": AXES, "where": valid}
        magnitude = jig.gradient_magnitude(x, operator="central", **options)
        return magnitude.sum() + (jig.laplacian(x, **options) ** 2).sum()

    value, derivative = loss(x)
    assert value > 0
    assert np.isfinite(value)
    assert np.isfinite(derivative).all()
    np.testing.assert_array_equal(derivative[~valid], 0)
    assert derivative[valid].any()


def test_losses_of_affine_fields():
    """At the border as inside: no bending, and differences that are the slopes."""
    y, x = np.mgrid[0.0:4, 0.0:5]
    field = (2 * y - 3 * x + 5)[None, ..., None]
    options = {"boundary": "linear", "spacing": (0.5, 2.0)}
    with jax.enable_x64(True):
        (bending,) = jig.losses.bending_energy(field, **options)
        (variation,) = jig.losses.total_variation(field, **options)
    assert float(bending) <= 1e-24
    np.testing.assert_allclose(variation, 2 / 0.5 + 3 / 2, rtol=1e-12)


INTEGERS = [  # dtype, operator, boundary, and the dtype that holds every result
    ("uint8", "central", "quadratic", "int16"),
    ("uint8", "sobel", "quadratic", "int16"),
    ("uint8", "sobel5", "edge", "int16"),
    ("uint8", "sobel5", "linear", "int32"),
    ("uint8", "sobel5", "quadratic", "int32"),
    ("bool", "sobel", "quadratic", "int8"),
    ("int8", "scharr", "linear", "int16"),
]


@pytest.mark.parametrize(("dtype", "operator", "boundary", "held"), INTEGERS)
def test_integer_results_do_not_wrap_around(dtype, operator, boundary, held):
    """Of the images with the largest and with the smallest results at the border."""
    options = {"operator": operator, "axes": AXES, "boundary": boundary}
    options["scale"] = "raw"
    units = np.eye(5 * 5).reshape(-1, 5, 5)
    weights = oracle.gradient(units, **options | {"axes": (1, 2)})[0]
    i, j = np.unravel_index(np.abs(weights).sum(0).argmax(), (5, 5))
    limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    largest = np.where(weights[:, i, j].reshape(5, 5) > 0, limits[1], limits[0])
    for x in (largest, limits[0] + limits[1] - largest):
        ours, _ = jig.spatial_gradient(x.astype(dtype), **options)
        assert ours.dtype == held
        wide, _ = oracle.gradient(x, **options)
        np.testing.assert_array_equal(np.asarray(ours, float), wide)


def test_integers_of_an_axis_where_both_borders_are_in_reach():
    """A result is up to 8 * 16, which int8 does not hold; on longer axes 7 * 16."""
    x = np.array([False, True])
    options = {"operator": "sobel5", "axes": (0,), "boundary": "linear"}
    options |= {"scale": "raw", "spacing": 1 / 16}
    (ours,) = jig.spatial_gradient(x, **options)
    assert ours.dtype == "int16"
    np.testing.assert_array_equal(ours, oracle.gradient(x, **options)[0])
    assert ours.max() == 128
