"""Magnitude, orientation, structure tensor and sobel_edges, also at zero."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array, tolerance, x64_if
from jax.sharding import AxisType
from test_sharding import shard

import jax_imgrad as jig

IMAGE = random_array((7, 8), "float32")
VOLUME = random_array((5, 6, 7), "float32")
OPTIONS = {"operator": "sobel", "boundary": "edge"}
FEATURES = {
    "gradient_magnitude": oracle.magnitude,
    "gradient_orientation": oracle.orientation,
    "structure_tensor": oracle.structure_tensor,
}


@pytest.mark.parametrize("x", [IMAGE, VOLUME], ids=["image", "volume"])
def test_magnitude(x):
    axes = tuple(range(x.ndim))
    ours = jig.gradient_magnitude(x, axes=axes, **OPTIONS)
    parts = oracle.gradient(x, axes=axes, **OPTIONS)
    np.testing.assert_allclose(ours, np.sqrt(sum(p**2 for p in parts)), rtol=1e-5)


def test_magnitude_of_complex_numbers():
    x = random_array((7, 8), "complex64")
    ours = jig.gradient_magnitude(x, axes=(0, 1), **OPTIONS)
    parts = oracle.gradient(x, axes=(0, 1), **OPTIONS)
    wide = np.sqrt(sum(np.abs(p) ** 2 for p in parts))
    assert ours.dtype == "float32"
    np.testing.assert_allclose(ours, wide, rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_flat_images_have_zero_value_gradient_and_hessian(rank):
    flat, axes = jnp.ones((3,) * rank), tuple(range(rank))

    def total(x):
        angles = jax.tree.leaves(jig.gradient_orientation(x, axes=axes, **OPTIONS))
        magnitude = jig.gradient_magnitude(x, axes=axes, **OPTIONS)
        return sum(a.sum() for a in [magnitude, *angles])

    assert total(flat) == 0
    assert not jax.grad(total)(flat).any()
    assert not jax.hessian(total)(flat).any()


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_magnitude_and_its_derivative_neither_overflow_nor_underflow(size):
    x = jnp.array([0.0, 3.0 * size, 7.0 * size])[:, None] + jnp.zeros((3, 3))
    ours = jig.gradient_magnitude(x, axes=(0, 1))
    np.testing.assert_allclose(ours[:2, 0], [3 * size, 4 * size], rtol=1e-6)
    derivative = jax.grad(lambda x: jig.gradient_magnitude(x, axes=(0, 1))[0, 0])(x)
    np.testing.assert_allclose(derivative[:2, 0], [-1, 1], atol=1e-6)
    turned = jax.grad(lambda x: jig.gradient_orientation(x, axes=(0, 1))[0, 0])(x)
    np.testing.assert_allclose(turned[0, 1] * size, -1 / 3, rtol=1e-5)


@pytest.mark.parametrize("clean", [IMAGE, VOLUME], ids=["image", "volume"])
@pytest.mark.parametrize("operator", ["forward", "sobel"])
def test_features_of_nan_and_infinity(operator, clean):
    """As in NumPy, the angle beside an infinity is that of its axis, not NaN."""
    options = {"axes": tuple(range(clean.ndim)), "operator": operator}

    @jax.jit
    def ours(x):
        angles = jig.gradient_orientation(x, **options)
        return jig.gradient_magnitude(x, **options), jax.tree.leaves(angles)

    for value in (np.nan, np.inf, -np.inf):
        x = clean.copy()
        x[(3,) * x.ndim] = value
        magnitude, angles = ours(x)
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            expected = oracle.magnitude(x, **options), oracle.orientation(x, **options)
        assert not np.isfinite(expected[0]).all()
        np.testing.assert_allclose(magnitude, expected[0], rtol=1e-5)
        for one, wide in zip(angles, expected[1], strict=True):
            np.testing.assert_allclose(one, wide, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "uint8"])
def test_dtypes(dtype):
    """Floating dtypes are kept; sums of squares are at least float32."""
    held = "float32" if dtype == "uint8" else dtype
    with x64_if(dtype):
        x = jnp.asarray(random_array((7, 8), dtype))

        @jax.jit
        def ours(x):
            return {
                name: jax.tree.leaves(getattr(jig, name)(x, axes=(0, 1), **OPTIONS))
                for name in FEATURES
            }

        found = ours(x)
    for name, feature in FEATURES.items():
        at_least = "float32" if name == "structure_tensor" else held
        expected = np.promote_types(at_least, held) if dtype != "bfloat16" else at_least
        wide = jax.tree.leaves(feature(np.asarray(x), axes=(0, 1), **OPTIONS))
        for one, other in zip(found[name], wide, strict=True):
            assert one.dtype == expected, name
            rtol = 4 * tolerance(expected)
            atol = rtol * np.abs(other).max()
            np.testing.assert_allclose(np.asarray(one, float), other, rtol, atol)


def test_derivative_of_magnitude():
    def total(magnitude):
        return lambda x: jnp.sum(jnp.sin(magnitude(x)))

    def plain(x):
        return jnp.sqrt(
            sum(p**2 for p in jig.spatial_gradient(x, axes=(0, 1), **OPTIONS))
        )

    ours = jax.grad(total(lambda x: jig.gradient_magnitude(x, axes=(0, 1), **OPTIONS)))
    np.testing.assert_allclose(ours(IMAGE), jax.grad(total(plain))(IMAGE), atol=1e-5)


def test_orientation():
    dy, dx = oracle.gradient(IMAGE, axes=(0, 1), **OPTIONS)
    ours = jig.gradient_orientation(IMAGE, axes=(0, 1), **OPTIONS)
    np.testing.assert_allclose(ours, np.arctan2(dy, dx), atol=1e-5)


def test_orientation_of_a_volume():
    dz, dy, dx = oracle.gradient(VOLUME, axes=(0, 1, 2), **OPTIONS)
    elevation, azimuth = jig.gradient_orientation(VOLUME, axes=(0, 1, 2), **OPTIONS)
    np.testing.assert_allclose(elevation, np.arctan2(dz, np.hypot(dy, dx)), atol=1e-5)
    np.testing.assert_allclose(azimuth, np.arctan2(dy, dx), atol=1e-5)


def test_orientation_takes_two_real_axes():
    with pytest.raises(ValueError, match="axes must be two or more for an angle"):
        jig.gradient_orientation(IMAGE, axes=(0,))
    with pytest.raises(TypeError, match="x must be real, got complex64"):
        jig.gradient_orientation(IMAGE.astype("complex64"), axes=(0, 1))


def test_magnitude_of_integers_is_float32():
    x = np.array([[0, 200], [100, 0]], "uint8")
    ours = jig.gradient_magnitude(x, axes=(0, 1))
    assert ours.dtype == "float32"
    np.testing.assert_allclose(ours[0, 0], np.hypot(100, 200), rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "boundary"),
    [*((IMAGE, one) for one in oracle.BOUNDARIES), (VOLUME, "interior")],
    ids=lambda one: one if isinstance(one, str) else f"rank {one.ndim}",
)
def test_structure_tensor(x, boundary):
    """With "interior", the products are zero outside the image."""
    options = {"sigma": 0.9, "axes": tuple(range(x.ndim))}
    options |= {"operator": "sobel", "boundary": boundary}
    ours = jax.jit(lambda x: jig.structure_tensor(x, **options))(x)
    for one, wide in zip(ours, oracle.structure_tensor(x, **options), strict=True):
        np.testing.assert_allclose(one, wide, atol=1e-5)


def test_windows_of_the_structure_tensor():
    """A sigma for each axis, another reach and another boundary, also with a mask."""
    x = random_array((7, 8), "float32")
    valid = np.random.default_rng(0).random((7, 8)) > 0.2
    windows = [
        {"sigma": (0.7, 1.2)},
        {"sigma": 1.0, "truncate": 3.0, "window_boundary": "reflect"},
        {"sigma": (0.7, 1.2), "truncate": 1, "window_boundary": "interior"},
        {"truncate": 0.5, "window_boundary": ("wrap", "edge")},
        {"truncate": 0},  # a window of one pixel
    ]

    def each(function, x):
        return [
            function(x, axes=(0, 1), operator="sobel", boundary="edge", **more, **mask)
            for more in windows
            for mask in ({}, {"where": valid})
        ]

    ours = jax.jit(lambda x: each(jig.structure_tensor, x))(x)
    for one, wide in zip(ours, each(oracle.structure_tensor, x), strict=True):
        for part, expected in zip(one, wide, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-5)


def test_structure_tensor_of_valid_pixels_is_their_mean():
    y, x = np.mgrid[0.0:13, 0.0:13].astype("float32")
    valid = np.ones((13, 13), bool)
    valid[5, 6] = valid[8, 3] = False
    ramp = np.where(valid, y + 2 * x, np.nan).astype("float32")
    found = jig.structure_tensor(
        ramp, axes=(0, 1), operator="central", boundary="reflect", where=valid
    )
    for j, expected in zip(found, (1, 2, 4), strict=True):
        np.testing.assert_allclose(j[6, 6], expected, rtol=1e-5)
    nothing = jig.structure_tensor(ramp, axes=(0, 1), where=np.zeros_like(valid))
    assert not any(j.any() for j in nothing)


def test_sobel_edges_are_the_raw_derivatives():
    image = random_array((2, 5, 6, 3), "float32")
    edges = jig.sobel_edges(image)
    assert edges.shape == (2, 5, 6, 3, 2)
    parts = oracle.gradient(image, "sobel", boundary="reflect", scale="raw")
    for k, wide in enumerate(parts):
        np.testing.assert_allclose(edges[..., k], wide, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "mode"),
    [(None, None), ("rows", AxisType.Auto), ("rows", AxisType.Explicit)],
)
def test_the_derivative_of_sobel_edges(layout, mode):
    image = random_array((8, 16, 12, 3), "float32")
    given = shard(image, layout, mode) if layout else image
    options = {"operator": "sobel", "boundary": "reflect", "scale": "raw"}

    def loss(x, edges):
        return jnp.sum(jnp.sin(edges(x)))

    def stacked(x):
        return jnp.stack(jig.spatial_gradient(x, **options), axis=-1)

    ours = jax.jit(jax.grad(lambda x: loss(x, jig.sobel_edges)))(given)
    np.testing.assert_allclose(
        ours, jax.grad(lambda x: loss(x, stacked))(jnp.asarray(image)), atol=1e-4
    )
    each = jax.vmap(lambda x: jig.sobel_edges(x[None])[0])(image)
    np.testing.assert_allclose(each, stacked(image), atol=1e-5)


def test_sobel_edges_of_two_pixels_and_of_one():
    edges = jig.sobel_edges(jnp.arange(4.0).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(edges, 0)
    with pytest.raises(ValueError, match="at least 2 pixels along axis 2 of image"):
        jig.sobel_edges(jnp.zeros((1, 3, 1, 1)))


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 5])
def test_sobel_edges_refuse_other_ranks_without_chex_too(rank):
    chex.disable_asserts()
    try:
        with pytest.raises(
            ValueError, match=f"image must be rank 4, .* got rank {rank} "
        ):
            jig.sobel_edges(jnp.zeros((2,) * rank))
    finally:
        chex.enable_asserts()


def test_sobel_edges_of_uint8():
    image = np.array([[0, 255, 0]] * 3, "uint8").reshape(1, 3, 3, 1)
    edges = jig.sobel_edges(image)
    assert edges.dtype == "int16"
    image[:, :, 2] = 255
    assert edges[0, 1, 1, 0].tolist() == [0, 0]
    assert jig.sobel_edges(image)[0, 1, 1, 0].tolist() == [0, 1020]


def test_parts_of_a_gradient_are_valid_together():
    """One invalid pixel: where only dy or only dx reads it, both count as unknown."""
    x, valid = random_array((6, 7), "float32"), np.ones((6, 7), bool)
    valid[2, 3] = False
    options = {"axes": (0, 1), "operator": "central", "boundary": "reflect"}
    dy, dx = oracle.gradient(x, **options)
    both = np.logical_and(*oracle.valid_outputs(valid, **options))
    assert 0 < both.sum() < 42 - 1
    magnitude = jig.gradient_magnitude(x, where=valid, **options)
    np.testing.assert_allclose(magnitude, both * np.hypot(dy, dx), 1e-5, 1e-6)
    angle = jig.gradient_orientation(x, where=valid, **options)
    assert not np.asarray(angle)[~both].any()


@pytest.mark.parametrize("x", [IMAGE, VOLUME], ids=["image", "volume"])
def test_features_of_gradients_are_those_of_their_image(x):
    options = {"axes": tuple(range(x.ndim)), **OPTIONS}
    gradient = jig.spatial_gradient(x, **options)
    for ours, other in [
        (jig.magnitude(gradient), jig.gradient_magnitude(x, **options)),
        (jig.orientation([*gradient]), jig.gradient_orientation(x, **options)),
    ]:
        assert isinstance(ours, tuple) == isinstance(other, tuple)
        for one, two in zip(*map(jax.tree.leaves, (ours, other)), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int32", "bfloat16", "float16", "float64", "complex64"]
)
def test_dtypes_of_features_of_arrays(dtype):
    with x64_if(dtype):
        x, y = (jnp.asarray(random_array((3, 4), dtype, seed)) for seed in (0, 1))
        absolute, magnitude = jig.absolute(x), jig.magnitude((x, y))
        assert absolute.dtype == jnp.abs(x).dtype
        np.testing.assert_allclose(absolute, jnp.abs(x), 1e-6)
        real = {"complex64": "float32"}.get(dtype, dtype)
        floating = dtype if dtype in ("bfloat16", "float16", "float64") else "float32"
        assert magnitude.dtype == floating
        wide = [np.asarray(one).astype("c16") for one in (x, y)]
        exact = np.sqrt(abs(wide[0]) ** 2 + abs(wide[1]) ** 2)
        np.testing.assert_allclose(
            np.asarray(magnitude, "f8"), exact, tolerance(floating)
        )
        if dtype in ("bfloat16", "float16"):  # rounded once
            np.testing.assert_array_equal(magnitude, exact.astype(floating))
        if real == dtype:
            angle = jig.orientation((x, y))
            assert angle.dtype == floating
            exact = np.arctan2(wide[0].real, wide[1].real)
            np.testing.assert_allclose(
                np.asarray(angle, "f8"), exact, tolerance(floating), tolerance(floating)
            )


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_absolute_values_have_the_derivative_0_at_0(dtype):
    x = jnp.array([-2, 0, 3, 1e30, -1e-30], dtype)
    total = lambda x: jig.absolute(x).sum()  # noqa: E731
    np.testing.assert_allclose(jax.grad(total)(x), [-1, 0, 1, 1, -1], 1e-6)
    squared = jax.hessian(lambda x: (jig.absolute(x) ** 2).sum())(x.real[:3])
    # By the chain rule with |0|' = 0, that of |x|² at 0 is 0.
    np.testing.assert_array_equal(squared, np.diag([2.0, 0, 2]))


def test_features_of_zero_vectors_have_the_derivative_0():
    parts = tuple(jnp.array([0.0, size]) for size in (3.0, 4.0, 12.0))
    by_parts = jax.grad(lambda parts: jig.magnitude(parts).sum())(parts)
    np.testing.assert_allclose(by_parts, np.outer([3, 4, 12], [0, 1 / 13]), 1e-6)
    for count in (2, 3):

        def turned(parts):
            return sum(a.sum() for a in jax.tree.leaves(jig.orientation(parts)))

        first = jax.grad(turned)(parts[:count])
        second = jax.hessian(turned)(parts[:count])
        assert not any(part[0] for part in first)
        assert np.isfinite(jax.tree.leaves(second)).all()


def test_parts_must_be_arrays_of_one_kind():
    with pytest.raises(ValueError, match="parts must be two or more for an angle"):
        jig.orientation((IMAGE,))
    with pytest.raises(TypeError, match=r"parts\[0\] must be real, got complex64"):
        jig.orientation((IMAGE + 1j, IMAGE + 1j))
    for function in (jig.magnitude, jig.orientation):
        with pytest.raises(ValueError, match="parts must be arrays of equal shape"):
            function((IMAGE, IMAGE[1:]))
        with pytest.raises(ValueError, match="parts must be arrays of equal shape"):
            function((IMAGE, IMAGE.astype("float16")))
        for none in ((), None, 3.0, {}):
            with pytest.raises(TypeError, match="parts must be a tuple of one or more"):
                function(none)
