"""Wide stencils, which are computed by products, against matrices in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array, x64_if
from jax.sharding import AxisType
from stencil_oracle import BOUNDARIES
from test_sharding import collectives, shard

import jax_imgrad as jig
from jax_imgrad import _banded, losses
from jax_imgrad._differences import shift_along
from jax_imgrad._linear import stencil
from jax_imgrad._masks import valid_outputs
from jax_imgrad._stencils import Stencil1D, centered, indicator
from jax_imgrad._toeplitz import MOST_TAPS
from jax_imgrad.typing import Implementation

pytestmark = pytest.mark.fast

BEFORE, AFTER = 13, 27
OFFSETS = [k for k in range(-BEFORE, AFTER + 1) if k != 5]
"""Not symmetric, and one pixel in between is not read."""

# Several blocks and a rest; borders that meet; shorter than the reach of the taps.
SIZES = [300, 50, 14]
WAYS: list[Implementation] = ["xla", "xla_cpu"]
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)


def taps_of(kind="float"):
    """Random weights, or integers from -3 to 3, some of which are 0."""
    draw = np.random.default_rng(7)
    weights = draw.standard_normal(len(OFFSETS))
    if kind == "int":
        weights = draw.integers(-3, 4, len(OFFSETS))
    if kind == "difference":
        weights -= weights.mean()
    return tuple((k, float(w)) for k, w in zip(OFFSETS, weights, strict=True))


def matrix_of(taps, size, boundary):
    """The matrix of the stencil: the oracle applied to each pixel alone."""
    reach = max(abs(k) for k, _ in taps)
    dense = np.zeros(2 * reach + 1)
    for k, weight in taps:
        dense[reach + k] = weight
    return oracle.correlate(np.eye(size), dense, 0, boundary)


def read_by(taps, size, boundary):
    """Where the matrix of the stencil reads a pixel, whatever the weight."""
    reach = max(abs(k) for k, _ in taps)
    dense = [float(k in dict(taps)) for k in range(-reach, reach + 1)]
    eye = np.eye(size)
    return oracle.correlate(eye, dense, 0, boundary, oracle.padded_mask) != 0


def applied(images, axis, factor, implementation=None):
    """The stencil applied to each of the images, along one axis."""
    maps = ((((axis, factor),),),)
    return [stencil([jnp.asarray(x)], maps, implementation)[0] for x in images]


def has_product(function, *arrays):
    return "dot_general" in jax.jit(function).lower(*arrays).as_text()


@boundaries
def test_values_and_transposes(boundary):
    """Along the last axis, and along one before another, in one program."""
    factor = Stencil1D(taps_of(), boundary)
    flipped = factor._replace(transposed=True)
    images = [
        random_array(shape, "float32") for n in SIZES for shape in [(2, n), (2, n, 3)]
    ]

    @jax.jit
    def both(*images):
        return [applied(images, 1, one) for one in (factor, flipped)]

    for transposed, results in enumerate(both(*images)):
        for image, ours in zip(images, results, strict=True):
            matrix = matrix_of(factor.taps, image.shape[1], boundary)
            matrix = matrix.T if transposed else matrix
            wide = np.moveaxis(np.tensordot(matrix, image, (1, 1)), 0, 1)
            np.testing.assert_allclose(ours, wide, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        ("bfloat16", 2**-8),
        ("float16", 2**-10),
        ("float64", 1e-14),
        ("complex64", 3e-6),
        ("int32", 0),
        ("uint8", 0),
    ],
)
def test_dtypes(dtype, tolerance):
    """Halves are computed in 32 bits and rounded once; integers wrap around."""
    taps = taps_of("int" if "int" in dtype else "float")
    with x64_if(dtype):
        image = random_array((2, 50), dtype)
        x = image.astype("int64" if "int" in dtype else "complex128")
        for transposed in (False, True):
            factor = Stencil1D(taps, "reflect", transposed)
            (ours,) = jax.jit(lambda x, f=factor: applied([x], 1, f))(image)
            matrix = matrix_of(taps, 50, "reflect")
            wide = x @ (matrix if transposed else matrix.T)
            assert ours.dtype == image.dtype
            if "int" in dtype:
                wide = wide.astype("int64").astype(dtype)
            largest = abs(wide).max()
            ours = np.asarray(ours).astype(wide.dtype)
            np.testing.assert_allclose(
                ours, wide, rtol=tolerance, atol=float(tolerance * largest)
            )


@boundaries
def test_a_nan_stays_where_it_is_read(boundary):
    """So does an infinity: what is added is added as IEEE numbers are."""
    images = random_array((6, 300), "float32")
    images[0, 150] = images[1, 0] = images[2, 299] = np.nan
    images[3, 150], images[4, 70], images[4, 75] = np.inf, np.inf, -np.inf
    taps = tuple((k, abs(w)) for k, w in taps_of())
    for transposed in (False, True):
        factor = Stencil1D(taps, boundary, transposed)
        (ours,) = jax.jit(lambda x, f=factor: applied([x], 1, f))(images)
        matrix = matrix_of(taps, 300, boundary)
        matrix = matrix.T if transposed else matrix
        with np.errstate(invalid="ignore"):
            terms = np.where(matrix, matrix * images[:, None].astype(float), 0)
            wide = terms.sum(-1)
        assert np.isnan(wide).any()
        assert np.isinf(wide).any()
        np.testing.assert_allclose(ours, wide, rtol=1e-5, atol=3e-5)


def test_a_weight_of_zero_is_read():
    taps = tuple((k, 0.0 if k == 3 else 1.0) for k in range(30))
    image = np.zeros(60, "float32")
    image[40] = np.inf
    (ours,) = applied([image], 0, Stencil1D(taps, "constant"))
    expected = np.zeros(60)
    expected[11:41] = np.inf
    expected[37] = np.nan
    np.testing.assert_array_equal(ours, expected)


@boundaries
def test_centered_stencils_are_zero_where_the_pixels_are_equal(boundary):
    factor = Stencil1D(taps_of("difference"), boundary)
    ((_, of_differences),) = centered(((0, factor),))
    assert of_differences.centered
    for size in SIZES:
        image = random_array((size,), "float32")
        image[size // 4 :] = 1 / 3
        results = [applied([image], 0, of_differences, way)[0] for way in WAYS]
        matrix = matrix_of(factor.taps, size, boundary)
        reads = read_by(factor.taps, size, boundary)
        alike = ~(reads & (image != image[-1])).any(1)
        # The zeros beyond the border are not equal to the pixels.
        within = abs(matrix.sum(1)) < 1e-9 if boundary == "constant" else True
        for ours in results:
            np.testing.assert_allclose(ours, matrix @ image, rtol=1e-4, atol=3e-5)
            assert (np.asarray(ours)[alike & within] == 0).all()


def test_losses_of_equal_pixels():
    """Value and derivative are exactly 0."""
    image = jnp.full((1, 40, 30, 1), 1 / 3)
    gaussian = {"operator": ("gaussian", 4.0), "boundary": "wrap"}

    def loss(image):
        matching = losses.gradient_matching(
            image, jnp.zeros_like(image), scales=1, **gaussian
        )
        return (matching + losses.bending_energy(image, **gaussian)).sum()

    value, derivative = jax.jit(jax.value_and_grad(loss))(image)
    assert value == 0
    assert not derivative.any()


def test_the_accuracy_of_a_wide_gaussian():
    image = random_array((1, 200, 192), "float32")
    options = {"operator": ("gaussian", 20.0), "boundary": "reflect", "axes": (1, 2)}
    parts = jig.spatial_gradient(image, **options)
    for ours, wide in zip(parts, oracle.gradient(image, **options), strict=True):
        assert abs(ours - wide).max() <= 1.4e-5 * abs(wide).max()


def test_large_numbers_do_not_overflow():
    image = np.full((3, 200), 3e38, "float32")
    image[1, ::2] = -3e38
    image[2, 100:] = np.nan
    smooth = tuple((k, 1 / 64) for k in range(64))
    (ours,) = applied([image], 1, Stencil1D(smooth, "edge"))
    np.testing.assert_allclose(ours[0], image[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1, :130] / 3e38, 0, atol=1e-5)
    np.testing.assert_array_equal(np.isnan(ours[2]), np.arange(200) >= 37)


def test_the_program_does_not_grow_with_sigma():
    def lines(sigma):
        def gradient(x):
            return jig.spatial_gradient(x, operator=("gaussian", sigma), axes=(0, 1))

        image = jax.ShapeDtypeStruct((512, 512), "float32")
        return len(jax.jit(gradient).lower(image).as_text().splitlines())

    assert lines(20.0) <= 1.1 * lines(4.0)


def test_the_fewest_taps_of_a_product():
    for taps in (MOST_TAPS, MOST_TAPS + 1):
        factor = Stencil1D(tuple((k, 1.0) for k in range(taps)), "edge")
        for size in (13, 14, 100):
            wide = taps > MOST_TAPS and size > 13
            image = jnp.zeros((size,))
            assert has_product(lambda x, f=factor: applied([x], 0, f), image) == wide


def test_masked_pixels():
    image = random_array((40, 50), "float32")
    where = np.random.default_rng(1).random(image.shape) > 1e-3
    options = {"operator": ("gaussian", 3.5), "boundary": "wrap", "axes": (0, 1)}
    holes = np.where(where, image, np.nan)

    def gradient(x, where):
        return jig.spatial_gradient(x, where=where, **options)

    factor = Stencil1D(taps_of(), "wrap")
    assert has_product(lambda where: valid_outputs(where, ((0, factor),)), where)
    expected = oracle.gradient(image, where=where, **options)
    assert 0 < np.count_nonzero(expected[0]) < image.size
    for ours, wide in zip(gradient(holes, where), expected, strict=True):
        np.testing.assert_allclose(ours, wide, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("boundary", ["linear", "quadratic"])
def test_extrapolated_invalid_pixels_do_not_cancel(boundary):
    """The weights of an extrapolation have both signs, also those of 1 at each tap."""
    factor = Stencil1D(tuple((k, 1.0) for k in range(-14, 15)), boundary)
    for pixel in (0, 1, 2, 20):
        where = np.arange(60) != pixel
        ours = valid_outputs(where, ((0, factor),))
        narrow = _banded.apply(
            indicator(((0, factor),)), 1.0 - jnp.asarray(where, "float32"), shift_along
        )
        np.testing.assert_array_equal(ours, narrow == 0)


def test_other_stencils_in_the_same_sum():
    """A wide stencil and a narrow one along each axis, and none."""
    wide = Stencil1D(taps_of(), "edge")
    narrow = Stencil1D(((-1, 1.0), (0, 2.0), (1, 3.0)), "edge")
    sum_of = (((0, wide), (1, narrow)), ((0, narrow), (1, wide)), ((0, wide),), ())
    image = jnp.asarray(random_array((40, 30), "float32"))
    a, b = (matrix_of(wide.taps, n, "edge") for n in image.shape)
    c, d = (matrix_of(narrow.taps, n, "edge") for n in image.shape)
    expected = a @ image @ d.T + c @ image @ b.T + a @ image + image
    for way in WAYS:
        for stacked in (False, True):
            results = stencil([image] * 4, (sum_of,) * 2, way, stacked=stacked)
            ours = results[0][..., 1] if stacked else results[1]
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-4)


def test_transformations():
    options = {"operator": ("gaussian", 3.5), "boundary": "reflect", "axes": (0, 1)}
    images = random_array((3, 40, 20), "float32")

    def gradient(x):
        return jig.spatial_gradient(x, **options)

    wide = [oracle.gradient(image, **options) for image in images]
    parts = jax.vmap(gradient, in_axes=1)(np.moveaxis(images, 0, 1))
    image = jax.ShapeDtypeStruct(images.shape[1:], "float32")
    exported = jax.export.export(jax.jit(gradient), platforms=["cpu", "cuda", "tpu"])
    parts_exported = exported(image).call(images[0])
    for k in range(2):
        expected = np.stack([one[k] for one in wide])
        np.testing.assert_allclose(parts[k], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(parts_exported[k], expected[0], rtol=1e-5, atol=1e-6)
    empty = jig.spatial_gradient(np.zeros((40, 0, 3), "float32"), **options)
    assert [part.shape for part in empty] == [(40, 0, 3)] * 2


@pytest.mark.parametrize("without_jit", [False, True])
def test_debug_nans(without_jit):
    """Only a NaN of the caller is reported."""
    options = {"operator": ("gaussian", 3.5), "axes": (0, 1)}
    image = random_array((40, 30), "float32")
    with jax.debug_nans(True), jax.disable_jit(without_jit):
        jig.spatial_gradient(jnp.asarray(image), **options)
        image[20, 10] = np.nan
        with pytest.raises(FloatingPointError, match="nan"):
            jig.spatial_gradient(jnp.asarray(image), **options)


@pytest.mark.parametrize(
    ("layout", "mode", "is_product"),
    [
        ("batch", AxisType.Explicit, True),
        ("rows", AxisType.Explicit, True),
        ("rows and columns", AxisType.Auto, False),
    ],
)
def test_sharded(layout, mode, is_product):
    """Axes that are known not to be sharded are multiplied, and exchange nothing."""
    image = random_array((8, 32, 24, 1), "float32")
    sharded = shard(image, layout, mode)
    options = {"operator": ("gaussian", 3.25), "boundary": "edge"}

    def gradient(x):
        return jig.spatial_gradient(x, **options)

    compiled = jax.jit(gradient).lower(sharded).compile()
    assert has_product(gradient, sharded) == is_product
    kinds = {kind for kind, _ in collectives(compiled)}
    assert kinds <= ({"collective-permute"} if "rows" in layout else set())
    expected = oracle.gradient(image, **options)
    for ours, wide in zip(compiled(sharded), expected, strict=True):
        np.testing.assert_allclose(ours, wide, rtol=1e-5, atol=1e-6)
        assert ours.sharding.is_equivalent_to(sharded.sharding, 4)
    flow = jax.jit(lambda p: jig.divergence(p, **options))(compiled(sharded))
    wide = oracle.divergence(expected, **options)
    np.testing.assert_allclose(flow, wide, rtol=1e-5, atol=1e-6)
