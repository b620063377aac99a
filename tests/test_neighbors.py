"""One-sided differences, uneven grids, and which outputs of masked arrays count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array, x64_if
from jax.sharding import AxisType
from jax.test_util import check_grads
from stencil_oracle import BOUNDARIES, OPERATORS
from test_sharding import collectives, shard

import jax_imgrad as jig

NEIGHBORING = ["forward", "backward", "central"]
YS = np.array([0.0, 0.5, 2.0, 2.25, 4.0, 7.0])
XS = np.array([-3.0, -1.0, -0.5, 1.0, 1.25, 4.0, 6.0])
WIDTHS = np.linspace(0.5, 2.0, 6)[:, None]  # of each row
SHAPE = (6, 7)
HOLES = np.random.default_rng(0).random(SHAPE) > 0.3

one_sided = functools.partial(dict, axes=(0, 1), one_sided=True)
OPTIONS = {
    **{
        f"one-sided, {operator}, {boundary}": one_sided(
            operator=operator, boundary=boundary, spacing=(2.0, 0.5)
        )
        for operator in NEIGHBORING
        for boundary in BOUNDARIES
        # The boundaries that pad differ only in which pixels they read.
        if operator == "central" or boundary in ("interior", "edge", "quadratic")
    },
    "one-sided, raw": one_sided(operator="central", scale="raw"),
    "two boundaries": one_sided(operator="central", boundary=("wrap", "interior")),
    **{
        f"coordinates, {operator}, {boundary}{', one-sided' * is_one_sided}": {
            **{"operator": operator, "boundary": boundary, "axes": (0, 1)},
            **{"spacing": (YS, XS), "one_sided": is_one_sided},
        }
        for boundary in ("interior", "linear", "quadratic")
        for operator, is_one_sided in [
            *(("forward", False), ("backward", True)),
            *(("central", False), ("central", True)),
        ]
    },
    "raw coordinates": {
        **{"operator": "central", "scale": "raw", "axes": (0, 1)},
        "spacing": (2.0, XS),
    },
    "coordinates and widths": {
        **{"operator": "central", "axes": (1, 0), "spacing": (WIDTHS, YS)},
        "one_sided": True,
    },
    **{
        f"widths, {operator}": {
            **{"operator": operator, "boundary": "edge", "axes": (0, 1)},
            "spacing": (1.5, WIDTHS),
        }
        for operator in ("forward", "sobel", "farid")
    },
}


@pytest.mark.parametrize(
    ("masked", "implementation"), [(False, "xla"), (True, "xla_cpu")]
)
def test_values_and_adjoints(masked, implementation):
    """Of every operator and boundary, in one program; invalid pixels are NaN.

    Neither the back ends nor the masks know of each other.
    """
    where = HOLES if masked else None
    x, *p = (random_array(SHAPE, "float64", seed) for seed in range(3))

    @jax.jit
    def both(x, p):
        found = {}
        for name, options in OPTIONS.items():
            options = {**options, "where": where, "implementation": implementation}
            gradient = functools.partial(jig.spatial_gradient, **options)
            parts, transpose = jax.vjp(gradient, x)
            (pulled,), flow = transpose(tuple(p)), jig.divergence(p, **options)
            found[name] = parts, flow, pulled
        return found

    with jax.enable_x64(True):
        given = np.where(where, x, np.nan) if masked else x
        found = both(given, p)
    for name, (parts, flow, pulled) in found.items():
        wide = oracle.gradient(x, where=where, **OPTIONS[name])
        for one, other in zip(parts, wide, strict=True):
            np.testing.assert_allclose(one, other, 1e-12, 1e-12, err_msg=name)
        np.testing.assert_allclose(pulled, -flow, 1e-12, 1e-12, err_msg=name)
        np.testing.assert_allclose(
            np.vdot(x, flow), -sum(map(np.vdot, wide, p)), 1e-12, err_msg=name
        )


def test_a_ramp_with_holes_has_its_slope_beside_them():
    """No NaN reaches a value or a derivative."""
    y, x = np.mgrid[0.0:20, 0.0:30]
    valid = np.random.default_rng(1).random(x.shape) > 0.3
    ramp = np.where(valid, 2 * y - 3 * x, np.nan).astype("float32")
    options = one_sided(operator="central", where=valid)

    def gradient(x):
        return jig.spatial_gradient(x, **options)

    parts, transpose = jax.vjp(gradient, ramp)
    for axis, (part, slope) in enumerate(zip(parts, (2, -3), strict=True)):
        padded = np.pad(valid, 1)
        neighbors = [np.roll(padded, k, axis)[1:-1, 1:-1] for k in (1, -1)]
        known = valid & np.logical_or(*neighbors)
        assert 0.6 < known.mean() < 0.7
        np.testing.assert_allclose(part, np.where(known, slope, 0), 1e-5)
        (mask,) = jig.valid_outputs(
            valid, axes=axis, operator="central", one_sided=True
        )
        np.testing.assert_array_equal(mask, known)
    (pulled,) = transpose((np.ones_like(ramp),) * 2)
    moved = jax.jvp(gradient, (ramp,), (np.where(valid, 1, np.nan).astype("f4"),))
    for one in (pulled, *moved[1]):
        assert np.isfinite(one).all()
    np.testing.assert_array_equal(pulled[~valid], 0)
    assert np.abs(pulled[valid]).max() > 0


@pytest.mark.parametrize("shape", [(9,), (6, 7), (2, 5, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_central_differences_are_those_of_numpy(shape, dtype):
    """At every pixel, on even and on uneven grids, in any rank."""
    x, axes = random_array(shape, dtype), tuple(range(len(shape)))
    draw = np.random.default_rng(2)
    coordinates = tuple(np.cumsum(draw.uniform(0.2, 2, n)) for n in shape)
    numbers = (2.0, 0.5, 3.0)[: len(shape)]
    limit = 2e-6 if dtype == "float32" else 1e-13

    @jax.jit
    def ours(x):
        return [
            jig.spatial_gradient(x, **one_sided(operator="central", axes=axes, **more))
            for more in ({}, {"spacing": numbers}, {"spacing": coordinates})
        ]

    with x64_if(dtype):
        found = ours(x)
    for parts, spacing in zip(found, ([], numbers, coordinates), strict=True):
        wide = np.gradient(x, *spacing)
        wide = [wide] if len(shape) == 1 else wide
        for one, other in zip(parts, wide, strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, other, limit, 4 * limit)


@pytest.mark.parametrize("boundary", ["linear", "quadratic"])
def test_extrapolation_on_coordinates_is_that_of_numpy(boundary):
    x = random_array(SHAPE, "float64")
    order = 1 if boundary == "linear" else 2
    with jax.enable_x64(True):
        ours = jig.spatial_gradient(
            x, operator="central", axes=(0, 1), boundary=boundary, spacing=(YS, XS)
        )
    for one, other in zip(ours, np.gradient(x, YS, XS, edge_order=order), strict=True):
        np.testing.assert_allclose(one, other, 1e-12, 1e-12)


def test_central_differences_on_coordinates_are_of_second_order():
    """Exact for a parabola; and the error for sin shrinks with the square."""
    errors = []
    with jax.enable_x64(True):
        options = {"operator": "central", "axes": 0, "one_sided": True}
        (slope,) = jig.spatial_gradient(XS**2, spacing=(XS,), **options)
        np.testing.assert_allclose(slope[1:-1], 2 * XS[1:-1], 1e-12)
        for n in (50, 100):
            t = np.linspace(0, 1, n) ** 2 + np.linspace(0, 1, n)
            (slope,) = jig.spatial_gradient(np.sin(t), spacing=(t,), **options)
            errors.append(np.abs(slope - np.cos(t))[1:-1].max())
    assert 3.5 < errors[0] / errors[1] < 4.6


def test_coordinates_keep_their_64_bits():
    """float32 does not tell these apart, but it holds their distances."""
    xs = 1e8 + XS
    x = random_array((7,), "float32")
    for options in ({"operator": "forward"}, {"operator": "central"}):
        far, near = (
            jig.spatial_gradient(x, axes=0, spacing=(one,), **options)[0]
            for one in (xs, XS)
        )
        np.testing.assert_array_equal(far, near)


def test_traced_spacings_and_their_derivatives():
    """Coordinates, widths and numbers may be traced, mapped and differentiated."""
    x = random_array(SHAPE, "float64")

    def loss(x, ys, widths, number):
        options = {"axes": (0, 1), "where": HOLES}
        one = jig.spatial_gradient(
            x, operator="central", spacing=(ys, widths), one_sided=True, **options
        )
        two = jig.gradient_magnitude(x, spacing=number, boundary="edge", **options)
        return sum(jnp.sum(jnp.sin(part)) for part in (*one, two))

    with jax.enable_x64(True):
        given = tuple(map(jnp.asarray, (x, YS, WIDTHS, 1.7)))
        expected = loss(x, YS, WIDTHS, 1.7)
        np.testing.assert_allclose(jax.jit(loss)(*given), expected, 1e-12)
        check_grads(jax.jit(loss), given, order=2, modes=["rev"], rtol=1e-3)
        several = jnp.stack([YS, 2 * YS])
        mapped = jax.vmap(lambda ys: loss(x, ys, WIDTHS, 1.7))(several)
        each = [loss(x, ys, WIDTHS, 1.7) for ys in (YS, 2 * YS)]
        np.testing.assert_allclose(mapped, each, 1e-12)


def test_a_spacing_at_invalid_outputs_does_not_matter():
    """It may be 0 or NaN there, if it is traced."""
    x = np.where(HOLES, random_array(SHAPE, "float32"), np.nan)
    counts = oracle.valid_outputs(HOLES, "central", (0, 1))
    widths = [jnp.where(count, 2.0, jnp.nan) for count in counts]

    def total(widths):
        options = {"operator": "central", "axes": (0, 1), "where": HOLES}
        return sum(map(jnp.sum, jig.spatial_gradient(x, spacing=widths, **options)))

    value, slopes = jax.value_and_grad(total)(widths)
    assert np.isfinite(value)
    for one, count in zip(slopes, counts, strict=True):
        np.testing.assert_array_equal(one[~count], 0)
        assert np.isfinite(one).all()
        assert np.abs(one).max() > 0


def test_an_unmasked_nan_stays_in_the_outputs_that_read_it():
    x = random_array(SHAPE, "float64")
    x[2, 3] = np.nan
    for name in ("one-sided, central, interior", "coordinates, central, interior"):
        options = OPTIONS[name]
        with jax.enable_x64(True):
            ours = jig.spatial_gradient(x, **options)
        for one, wide in zip(ours, oracle.gradient(x, **options), strict=True):
            where_uneven = np.isnan(wide)
            if name.startswith("one-sided"):  # the pixel between the two is not read
                where_uneven[2, 3] = False
            np.testing.assert_array_equal(np.isnan(one), where_uneven)


def test_vmap_export_and_sharding():
    options = one_sided(operator="central", axes=(-2, -1))
    images = random_array((8, 8, 16), "float32")
    wide = oracle.gradient(images, **options)
    at = np.cumsum(np.linspace(1, 2, 16))
    wide += oracle.gradient(images, "central", (2,), spacing=(at,))

    def gradient(x, at):
        uneven = {"axes": -1, "spacing": (at,)}
        parts = jig.spatial_gradient(x, **options)
        return (*parts, *jig.spatial_gradient(x, operator="central", **uneven))

    def check(found):
        for one, other in zip(found, wide, strict=True):
            np.testing.assert_allclose(one, other, 1e-5, 1e-5)

    check(jax.vmap(gradient, in_axes=(0, None))(images, at))
    structs = [
        jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape, scope=scope), "float32")
        for scope in [jax.export.SymbolicScope()]
        for shape in ("b, h, w", "w")
    ]
    check(jax.export.export(jax.jit(gradient))(*structs).call(images, at.astype("f4")))
    for mode in (AxisType.Auto, AxisType.Explicit):
        sharded = shard(images[..., None], "columns", mode)
        program = jax.jit(lambda x: gradient(x[..., 0], at)).lower(sharded).compile()
        check(program(sharded))
        assert {kind for kind, _ in collectives(program)} <= {"collective-permute"}


@pytest.mark.parametrize("dtype", ["bfloat16", "uint8"])
def test_other_dtypes(dtype):
    x = random_array(SHAPE, dtype)
    for name, held in [
        ("one-sided, forward, edge", "float32"),
        ("one-sided, raw", "int16"),
        ("coordinates, central, interior", "float32"),
        ("widths, sobel", "float32"),
    ]:
        ours = jig.spatial_gradient(x, **OPTIONS[name])
        wide = oracle.gradient(np.asarray(x, float), **OPTIONS[name])
        for one, other in zip(ours, wide, strict=True):
            assert one.dtype == (held if dtype == "uint8" else dtype), name
            if dtype == "bfloat16":  # rounded once
                half = 0.51 * float(jnp.finfo(dtype).eps)
                one = np.asarray(one, float)
                np.testing.assert_allclose(one, other, half, 1e-5)
            else:
                np.testing.assert_allclose(one, other, 1e-5, 1e-4)
    uneven = one_sided(operator="forward", spacing=(YS, XS), dtype="int16")
    with pytest.raises(TypeError, match="dtype must be floating or complex, because"):
        jig.spatial_gradient(x, **uneven)


def test_one_pixel_and_two():
    """A pixel alone has no slope; for the magnitude it does not count as unknown."""
    for shape in ((1, 4), (2, 1), (1, 1), (0, 3)):
        x = random_array(shape, "float32")
        valid = np.ones(shape, bool)
        for spacing in (1.0, (np.arange(1.0 * shape[0]), np.arange(1.0 * shape[1]))):
            options = one_sided(operator="central", spacing=spacing)
            ours = jig.spatial_gradient(x, **options)
            wide = oracle.gradient(x, **options)
            for one, other in zip(ours, wide, strict=True):
                np.testing.assert_allclose(one, other, 1e-6)
            magnitude = jig.gradient_magnitude(x, where=valid, **options)
            np.testing.assert_allclose(magnitude, oracle.length(wide), 1e-6)


# Which outputs count.


def counting(operator, order, boundary):
    """Which outputs of the oracle exist, and read no pixel that is filled with NaN."""
    x = random_array(SHAPE, "float64")
    common = (order, operator, (0, 1), boundary, 1, "raw")
    complete, other = (oracle.results(one, *common, None) for one in (x, 2 - x))
    filled, broken = (
        oracle.results(np.where(HOLES, x, fill), *common, None) for fill in (9, np.nan)
    )
    for one, two, full, nan in zip(complete, other, filled, broken, strict=True):
        exists = np.ones(SHAPE, bool)
        if boundary == "interior":
            exists = (one != 0) | (two != 0)
        counts = exists & ~np.isnan(nan)
        np.testing.assert_array_equal(full[counts], one[counts])
        yield counts


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_valid_outputs_are_those_that_read_no_invalid_pixel(boundary):
    """Found by filling the invalid pixels with other numbers, and with NaN."""
    calls = [(operator, order) for operator in OPERATORS for order in (1, 2)]

    @jax.jit
    def ours(where):
        return [
            jig.valid_outputs(
                where, operator=operator, order=order, axes=(0, 1), boundary=boundary
            )
            for operator, order in calls
        ]

    for call, masks in zip(calls, ours(HOLES), strict=True):
        for one, other in zip(masks, counting(*call, boundary), strict=True):
            assert one.dtype == bool
            np.testing.assert_array_equal(one, other, str(call))


@pytest.mark.parametrize("operator", NEIGHBORING)
def test_valid_outputs_of_one_sided_differences(operator):
    """Those of a ramp that are not 0, with any filling."""
    y, x = np.mgrid[0.0:6, 0.0:7]
    for boundary in ("interior", "wrap"):
        options = one_sided(operator=operator, boundary=boundary)
        masks = jig.valid_outputs(HOLES, **options)
        for axis, mask in enumerate(masks):
            ramp = np.where(HOLES, (y, x)[axis] ** 2 + 1, np.nan)
            slopes, known = oracle.slopes_along(
                ramp, HOLES, operator, axis, boundary, 1, True
            )
            assert 0 < known.sum() < HOLES.sum() + 1
            np.testing.assert_array_equal(mask, known)
            assert np.isfinite(slopes).all()


def test_valid_outputs_of_laplacian_and_divergence():
    """As the docstring says."""
    x = random_array(SHAPE, "float32")
    yy, _, xx = jig.valid_outputs(
        HOLES, operator="central", order=2, axes=(0, 1), boundary="edge"
    )
    broken = jig.laplacian(np.where(HOLES, x, np.nan), axes=(0, 1))
    assert 0 < (yy & xx).sum() < HOLES.sum()
    np.testing.assert_array_equal(yy & xx, np.isfinite(broken))
    counts = jig.valid_outputs(HOLES, axes=(0, 1))
    p = tuple(np.where(c, x, np.nan).astype("float32") for c in counts)
    flow = jig.divergence(p, axes=(0, 1), where=HOLES)
    assert np.isfinite(flow).all()
    p = tuple(np.where(c, x, 7).astype("float32") for c in counts)
    np.testing.assert_array_equal(flow, jig.divergence(p, axes=(0, 1), where=HOLES))


# Errors.

IMAGE = np.ones((4, 5), "float32")
UP = np.arange(5.0)
ERRORS = {
    "operator": (
        {"one_sided": True, "operator": "sobel"},
        "one_sided must be False unless operator is one of 'forward', 'backward', "
        "'central', got True with operator='sobel'; pass operator='central', or leave "
        "one_sided out",
    ),
    "operator of coordinates": (
        {"spacing": (1.0, UP), "operator": "scharr"},
        "operator must be one of 'forward', 'backward', 'central' with coordinates in "
        "spacing, got 'scharr'; pass operator='central'",
    ),
    "sigma in units of coordinates": (
        {"spacing": (np.ones((4, 1)), 1.0), "operator": ("gaussian", 2, "spacing")},
        "operator must be ('gaussian', sigma), with sigma in pixels, if spacing has "
        "arrays, got ('gaussian', 2, 'spacing'); pass ('gaussian', 2), or numbers in "
        "spacing",
    ),
    "boundary of coordinates": (
        {"spacing": (1.0, UP), "boundary": "edge"},
        "boundary must be one of 'interior', 'linear', 'quadratic' along an axis with "
        "coordinates in spacing, since there are none beyond the border, got 'edge'; "
        "pass boundary='linear' for one-sided differences at the border",
    ),
    "decreasing": (
        {"spacing": (1.0, -UP)},
        "spacing[1] must be finite, strictly increasing coordinates, got decreasing "
        "ones; pass -spacing[1], and negate the derivative",
    ),
    "unsorted": (
        {"spacing": (1.0, np.array([0.0, 2, 1, 3, 4]))},
        "got 2, 1 at pixels 1, 2; sort them, and the pixels along this axis with "
        "numpy.argsort of them",
    ),
    "repeated": (
        {"spacing": (1.0, np.array([0.0, 1, 1, 3, 4]))},
        "got 1, 1 at pixels 1, 2; remove pixels whose coordinate is repeated",
    ),
    "a NaN": (
        {"spacing": (1.0, np.full(5, np.nan))},
        "got an array with a NaN or an infinity",
    ),
    "too close": (
        {"spacing": (1.0, 1e-45 * UP)},
        "at pixels 3, 4; choose another unit of length",
    ),
    "length": (
        {"spacing": (UP, 1.0)},
        "spacing[0] must have one coordinate for each of the 4 pixels along axis 0 of "
        "x, got 5; pass the coordinates of the pixels themselves",
    ),
    "an array itself": (
        {"spacing": UP},
        "spacing must be one value for all axes, or a sequence with one for each of "
        "the 2, got an array of shape (5,); for the coordinates of the pixels along "
        "an axis, pass the sequence [1.0, spacing]",
    ),
    "rank": (
        {"spacing": (1.0, np.ones((1, 4, 1)))},
        "spacing[1] must be a number, an array of rank 1 with the coordinates of the "
        "5 pixels along axis 1, or an array of rank 2 that broadcasts to the shape of "
        "x, (4, 5), got (1, 4, 1)",
    ),
    "widths": (
        {"spacing": (np.zeros((4, 1)), 1.0)},
        "spacing[0] must be positive and finite, got an array with a smallest value of "
        "0; pass where= for pixels without a spacing, and any positive number there",
    ),
    "dtype": (
        {"spacing": (1.0, UP > 2)},
        "spacing[1] must be an array of real numbers, got one of bool; pass "
        "spacing[1].astype('float32')",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    options, words = ERRORS[name]
    with np.errstate(all="ignore"), pytest.raises((TypeError, ValueError)) as caught:
        jig.spatial_gradient(IMAGE, axes=(0, 1), **options)
    assert words in str(caught.value)


def test_functions_that_take_numbers_only_say_what_to_do():
    words = "are options of spatial_gradient: apply it to its results for second"
    for function in (jig.second_derivatives, jig.laplacian):
        with pytest.raises(ValueError, match=words):
            function(IMAGE, axes=(0, 1), spacing=(1.0, UP))
    with pytest.raises(ValueError, match="and add up penalties of its results for a"):
        jig.losses.total_variation(IMAGE[None], axes=(1, 2), spacing=(1.0, UP))
    with pytest.raises(ValueError, match="which is traced; options are static"):
        jax.jit(lambda h: jig.laplacian(IMAGE, axes=(0, 1), spacing=h))(1.0)


def test_valid_outputs_of_second_derivatives_need_no_first_ones():
    kernel = jig.Kernel(second=(1, 0, -2, 0, 1))
    (ours,) = jig.valid_outputs(HOLES, operator=kernel, order=2, axes=0)
    (same,) = jig.valid_outputs(HOLES, operator="sobel5", order=2, axes=0)
    np.testing.assert_array_equal(ours, same)


def test_valid_outputs_know_no_spacing():
    with pytest.raises(ValueError, match="since this function has no spacing, got"):
        jig.valid_outputs(HOLES, operator=("gaussian", 2, "spacing"), axes=0)


def test_one_sided_second_differences_are_refused():
    with pytest.raises(ValueError, match="one_sided must be False unless order=1, "):
        jig.valid_outputs(HOLES, order=2, axes=(0, 1), one_sided=True)
