"""Values of the derivatives, against the oracle and on polynomials."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import FLOATS, random_array, tolerance, x64_if
from stencil_oracle import (
    BOUNDARIES,
    EXTRAPOLATIONS,
    GAUSSIAN,
    OPERATORS,
    PADDINGS,
)

import jax_imgrad as jig

operators = pytest.mark.parametrize("operator", OPERATORS, ids=str)
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)

CASES = {  # shape, axes, spacing
    "image": ((2, 5, 6, 2), (-3, -2), 1.0),
    "volume": ((4, 5, 6), (0, 1, 2), (2.5, 1.0, 0.5)),
    "signal": ((3, 9), (1,), 2.0),
}
# Of images every operator with every boundary, and raw; of other ranks every operator
# and every boundary. `test_extrapolation.py` has all operators with each extrapolation.
EVERY_CASE = [
    *(("image", o, b, "derivative") for o in OPERATORS for b in PADDINGS),
    *(("image", o, b, "raw") for o in ("backward", "sobel7") for b in EXTRAPOLATIONS),
    *(("image", o, "edge", "raw") for o in OPERATORS),
    *(
        (case, o, BOUNDARIES[i % len(BOUNDARIES)], "derivative")
        for case in ("volume", "signal")
        for i, o in enumerate(OPERATORS)
    ),
]
every_case = pytest.mark.parametrize(
    ("case", "operator", "boundary", "scale"), EVERY_CASE, ids=str
)


def assert_close(ours, wide, dtype="float32", gain=1.0):
    assert ours.dtype == jnp.dtype(dtype)
    assert ours.shape == wide.shape
    largest = gain * max(1.0, np.abs(wide).max(initial=0))
    eps = 4 * tolerance(dtype)
    np.testing.assert_allclose(
        np.asarray(ours).astype(wide.dtype), wide, rtol=eps, atol=eps * largest
    )


def image_and_options(case, operator, boundary):
    shape, axes, spacing = CASES[case]
    options = {"axes": axes, "spacing": spacing}
    options |= {"operator": operator, "boundary": boundary}
    return random_array(shape, "float32"), options


@every_case
def test_spatial_gradient(case, operator, boundary, scale):
    x, options = image_and_options(case, operator, boundary)
    ours = jig.spatial_gradient(x, scale=scale, **options)
    for one, wide in zip(ours, oracle.gradient(x, scale=scale, **options), strict=True):
        assert_close(one, wide)
    if boundary != "constant":  # a constant image has no slope
        for part in jig.spatial_gradient(np.full_like(x, 3), scale=scale, **options):
            np.testing.assert_allclose(part, 0, atol=2e-6)


def test_axes_in_another_order():
    x = random_array((7, 5), "float32")
    options = {"operator": "sobel", "axes": (1, 0), "spacing": (1.0, 3.0)}
    for one, wide in zip(
        jig.spatial_gradient(x, **options), oracle.gradient(x, **options), strict=True
    ):
        assert_close(one, wide)


each_implementation = pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])


@each_implementation
@boundaries
@pytest.mark.parametrize("operator", ["backward", "sobel", "farid"])
def test_each_implementation(operator, boundary, implementation):
    """The images are large enough to have pixels far from every border."""
    x = random_array((2, 18, 17, 2), "float32")
    options = {"operator": operator, "boundary": boundary}
    assert_adjoint_to_each_other(x, implementation, options)


@each_implementation
@pytest.mark.parametrize("shape", [(3, 6), (5, 4), (4, 7), (8, 9)])
@boundaries
def test_images_with_few_interior_pixels(boundary, shape, implementation):
    x = random_array(shape, "float32")
    options = {"operator": "sobel", "axes": (0, 1), "boundary": boundary}
    assert_adjoint_to_each_other(x, implementation, options)


def assert_adjoint_to_each_other(x, implementation, options):
    """Asserts the gradient of the oracle, and that the divergence is its adjoint."""
    wide = oracle.gradient(x, **options)
    options["implementation"] = implementation
    for one, expected in zip(jig.spatial_gradient(x, **options), wide, strict=True):
        assert_close(one, expected)
    p = tuple(random_array(x.shape, "float32", 1 + i) for i in range(len(wide)))
    inner = np.vdot(x, jig.divergence(p, **options))
    assert -inner == pytest.approx(sum(map(np.vdot, wide, p)), rel=1e-4, abs=1e-3)


@each_implementation
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "complex64"])
def test_each_implementation_in_other_dtypes(dtype, implementation):
    with x64_if(dtype):
        x = random_array((1, 9, 8, 3), dtype)
        options = {"operator": "scharr", "boundary": "reflect"}
        ours = jig.spatial_gradient(x, implementation=implementation, **options)
        for one, wide in zip(ours, oracle.gradient(x, **options), strict=True):
            assert_close(one, wide, dtype)


@each_implementation
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_results_are_rounded_once(dtype, implementation):
    """Intermediate results, also between two axes, are float32."""
    x = random_array((1, 18, 17, 2), dtype)
    options = {"boundary": "reflect"}
    chosen = {"implementation": implementation}

    @jax.jit
    def ours(x):
        firsts = [
            jig.spatial_gradient(x, operator=operator, **options, **chosen)
            for operator in OPERATORS
        ]
        return firsts, jig.laplacian(x, **options, **chosen)

    def wide(x):
        firsts = [oracle.gradient(x, operator, **options) for operator in OPERATORS]
        return firsts, oracle.laplacian(x, **options)

    half = 0.51 * float(jnp.finfo(dtype).eps)  # half of the distance to the next number
    for one, expected in zip(*map(jax.tree.leaves, (ours(x), wide(x))), strict=True):
        assert one.dtype == dtype
        one = np.asarray(one, float)
        np.testing.assert_allclose(one, expected, rtol=half, atol=1e-6)


@each_implementation
@pytest.mark.parametrize("boundary", ["edge", "linear"])
def test_nan_and_infinity_reach_only_their_neighborhood(boundary, implementation):
    """With "linear", pixels in row 1 are read with weights that add up to 0, too."""
    x = np.zeros((12, 12), "float32")
    x[0, 3], x[7, 6], x[1, 9] = np.nan, np.inf, np.nan
    options = {"operator": "sobel", "axes": (0, 1), "boundary": boundary}
    ours = jig.spatial_gradient(x, implementation=implementation, **options)
    for one, wide in zip(ours, oracle.gradient(x, **options), strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(wide))


@every_case
def test_second_derivatives(case, operator, boundary, scale):
    x, options = image_and_options(case, operator, boundary)
    ours = jig.second_derivatives(x, scale=scale, **options)
    for one, wide in zip(
        ours, oracle.second_derivatives(x, scale=scale, **options), strict=True
    ):
        assert_close(one, wide)


@boundaries
@pytest.mark.parametrize("operator", ["sobel", "sobel7", "farid"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 3), (4, 1), (3, 4)])
def test_axes_shorter_than_the_stencil(shape, operator, boundary):
    x = random_array(shape, "float32")
    options = {"operator": operator, "axes": (0, 1), "boundary": boundary}
    least = {"reflect": 2, "linear": 2, "quadratic": 3}.get(boundary, 1)
    if min(shape) < least:
        words = f"needs at least {least} pixels along axis"
        with pytest.raises(ValueError, match=words):
            jig.spatial_gradient(x, **options)
        return
    for one, wide in zip(
        jig.spatial_gradient(x, **options), oracle.gradient(x, **options), strict=True
    ):
        assert_close(one, wide)


def test_the_border_weights_of_other_platforms(monkeypatch, empty_caches):
    """On a GPU and a TPU they are constants; a CPU computes with these here."""

    def elsewhere(*operands, default, **platforms):
        return default(*operands)

    monkeypatch.setattr(jax.lax, "platform_dependent", elsewhere)
    x = random_array((5, 6), "float32")
    for boundary in BOUNDARIES:
        options = {"operator": "sobel", "axes": (0, 1), "boundary": boundary}
        ours = jig.spatial_gradient(x, **options)
        for one, wide in zip(ours, oracle.gradient(x, **options), strict=True):
            assert_close(one, wide)


@boundaries
@pytest.mark.parametrize("shape", [(0, 3, 4, 2), (2, 0, 4, 2), (2, 3, 0, 2)])
def test_empty(shape, boundary):
    for part in jig.spatial_gradient(
        np.zeros(shape, "float32"), operator="sobel", boundary=boundary
    ):
        assert part.shape == shape


def test_a_boundary_for_each_axis():
    x = random_array((5, 6), "float32")
    options = {"operator": "sobel", "axes": (0, 1), "boundary": ("wrap", "edge")}
    for one, wide in zip(
        jig.spatial_gradient(x, **options), oracle.gradient(x, **options), strict=True
    ):
        assert_close(one, wide)


def ramps(rank):
    """The coordinates of a grid, and the part where no tap is outside of it."""
    coordinates = np.meshgrid(*[np.arange(9.0)] * rank, indexing="ij")
    return coordinates, (slice(4, -4),) * rank


@pytest.mark.parametrize("rank", [1, 2, 3])
@operators
def test_slopes_of_ramps_and_parabolas(operator, rank):
    coordinates, inside = ramps(rank)
    axes = tuple(range(rank))
    half = {"forward": 0.5, "backward": -0.5}.get(operator, 0)
    for a in axes:
        with jax.enable_x64(True):
            parts = jig.spatial_gradient(coordinates[a], operator=operator, axes=axes)
        for b, part in enumerate(parts):
            np.testing.assert_allclose(part[inside], a == b, atol=1e-13)
        with jax.enable_x64(True):
            parts = jig.spatial_gradient(
                coordinates[a] ** 2 / 2, operator=operator, axes=axes
            )
        expected = coordinates[a][inside] + half
        np.testing.assert_allclose(parts[a][inside], expected, rtol=1e-13)


@operators
def test_second_derivatives_of_polynomials(operator):
    coordinates, inside = ramps(2)
    axes = (0, 1)
    pairs = [(a, b) for a in axes for b in axes if a <= b]
    for pair in pairs:
        a, b = pair
        field = coordinates[a] * coordinates[b] / (2 if a == b else 1)
        with jax.enable_x64(True):
            found = jig.second_derivatives(field, operator=operator, axes=axes)
        for one, part in zip(pairs, found, strict=True):
            np.testing.assert_allclose(part[inside], one == pair, atol=1e-11)


@pytest.mark.parametrize(
    ("operator", "gain"),
    [("sobel", 8), ("scharr", 32), ("prewitt", 6), ("sobel5", 128), ("sobel7", 2048)],
)
def test_raw_gains_are_the_opencv_gains(operator, gain):
    (_, x), inside = ramps(2)
    _, dx = jig.spatial_gradient(
        x.astype("float32"), operator=operator, axes=(0, 1), scale="raw"
    )
    np.testing.assert_array_equal(dx[inside], gain)


def test_the_default_is_image_gradients():
    for dtype in ("float32", "bfloat16", "uint8"):
        image = random_array((2, 5, 6, 3), dtype)
        for one, other in zip(
            jig.spatial_gradient(image), jig.image_gradients(image), strict=True
        ):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "complex128"])
def test_floats_keep_their_dtype(dtype):
    with x64_if(dtype):
        x = random_array((6, 7), dtype)
        options = {"operator": "scharr", "axes": (0, 1), "boundary": "edge"}
        for one, wide in zip(
            jig.spatial_gradient(x, **options),
            oracle.gradient(x, **options),
            strict=True,
        ):
            assert_close(one, wide, dtype)


@pytest.mark.parametrize(
    ("dtype", "operator", "scale", "held"),
    [
        ("uint8", "sobel", "derivative", "float32"),
        ("uint8", "sobel", "raw", "int16"),
        ("uint8", "sobel7", "raw", "int32"),
        ("int8", "sobel", "raw", "int16"),
        ("bool", "sobel", "raw", "int8"),
        ("uint16", "scharr", "raw", "int32"),
        ("int32", "sobel", "raw", "int32"),
        ("uint8", "farid", "raw", "float32"),
        ("uint8", "backward", "derivative", "int16"),
        ("uint8", "sobel5", "raw", "int16"),
    ],
)
def test_integer_results_do_not_wrap_around(dtype, operator, scale, held):
    x = random_array((9, 9), dtype)
    x[:, :5], x[:, 5:] = x.min(), x.max()  # the steepest possible edge
    if dtype == "int32":
        x //= 8
    options = {"operator": operator, "axes": (0, 1), "boundary": "edge", "scale": scale}
    for one, wide in zip(
        jig.spatial_gradient(x, **options), oracle.gradient(x, **options), strict=True
    ):
        assert one.dtype == held
        np.testing.assert_allclose(np.asarray(one, float), wide, rtol=1e-5, atol=1e-2)


def test_integer_dtypes_are_refused_for_fractional_taps():
    with pytest.raises(
        TypeError, match="dtype must be floating or complex, because the taps"
    ):
        jig.spatial_gradient(
            np.ones((3, 3), "uint8"), axes=(0, 1), spacing=2, dtype="int16"
        )


@pytest.mark.parametrize("operator", ["backward", "sobel5"])
@boundaries
def test_masked_pixels_do_not_count(operator, boundary):
    rng = np.random.default_rng(0)
    valid = rng.random((7, 8)) > 0.1
    x = random_array((7, 8), "float32")
    options = {"operator": operator, "axes": (0, 1), "boundary": boundary}
    ours = jig.spatial_gradient(np.where(valid, x, np.nan), where=valid, **options)
    clean = oracle.gradient(np.where(valid, x, 0), **options)
    counts = oracle.valid_outputs(valid, **options)
    for one, wide, count in zip(ours, clean, counts, strict=True):
        assert_close(one, np.where(count, wide, 0))


ORACLES = {
    "spatial_gradient": oracle.gradient,
    "second_derivatives": oracle.second_derivatives,
    "laplacian": oracle.laplacian,
    "divergence": oracle.divergence,
    "gradient_magnitude": oracle.magnitude,
    "gradient_orientation": oracle.orientation,
    "structure_tensor": oracle.structure_tensor,
}
MASKED = {  # shape, options
    "signals": ((2, 9), {"axes": (1,), "operator": "central", "boundary": "wrap"}),
    "image": ((6, 7), {"axes": (0, 1), "operator": "sobel", "boundary": "edge"}),
    "channels": ((6, 7, 2), {"operator": "scharr", "boundary": "reflect"}),
    "batch": ((2, 6, 7, 2), {"operator": "forward", "boundary": "interior"}),
    "extrapolated": (
        (6, 7),
        {"axes": (0, 1), "operator": "central", "boundary": ("linear", "quadratic")},
    ),
    "volumes": (
        (2, 4, 5, 6),
        {
            "axes": (1, 2, 3),
            "operator": "backward",
            "boundary": ("symmetric", "interior", "constant"),
            "spacing": (2.5, 1.0, 0.5),
        },
    ),
    "one-sided": (
        (6, 7),
        {"axes": (0, 1), "operator": "central", "one_sided": True},
    ),
    "coordinates": (
        (6, 7),
        {
            **{"axes": (0, 1), "operator": "central"},
            "spacing": (0.5, np.cumsum([0.5, 1, 2, 0.25, 1, 3, 1])),
        },
    ),
}


@each_implementation
@pytest.mark.parametrize("case", MASKED)
def test_every_operator_of_valid_pixels(case, implementation):
    """Invalid pixels are NaN in the input, invalid outputs are 0."""
    shape, options = MASKED[case]
    valid = np.random.default_rng(0).random(shape) > 0.1
    if case == "batch":  # a mask of pixels, broadcast to the channels
        valid = np.broadcast_to(valid[..., :1], shape)
    x, *parts = (
        random_array(shape, "float32", seed)
        for seed in range(1 + len(options.get("axes", "yx")))
    )
    counts = oracle.valid_outputs(valid, **options)
    names = [n for n in ORACLES if n != "gradient_orientation" or len(parts) > 1]

    def each(functions, x, parts, **more):
        found = {}
        for name in names:
            given = parts if name == "divergence" else x
            some = options | more
            if name == "laplacian":
                del some["operator"]
            if name in ("laplacian", "second_derivatives"):
                some.pop("one_sided", None)
                if case == "coordinates":
                    del some["spacing"]
            if name == "structure_tensor":
                some["sigma"] = 0.5  # few taps compile faster
            found[name] = functions[name](given, **some)
        return found

    @jax.jit
    def ours(x, parts, where):
        more = {"where": where, "implementation": implementation}
        return each(vars(jig), x, parts, **more)

    found = ours(
        np.where(valid, x, np.nan).astype("float32"),
        [
            np.where(c, p, np.nan).astype("float32")
            for c, p in zip(counts, parts, strict=True)
        ],
        valid[..., :1] if case == "batch" else valid,
    )
    for name, expected in each(ORACLES, x, parts, where=valid).items():
        for one, wide in zip(
            *map(jax.tree.leaves, (found[name], expected)), strict=True
        ):
            atol = 1e-5 * max(1, np.abs(wide).max())
            np.testing.assert_allclose(one, wide, rtol=1e-5, atol=atol, err_msg=name)


def test_masked_nan_reaches_no_derivative():
    valid = np.random.default_rng(0).random((7, 8)) > 0.2
    x = np.where(valid, random_array((7, 8), "float32"), np.nan).astype("float32")

    def loss(x):
        options = {
            "operator": "sobel",
            "axes": (0, 1),
            "boundary": "edge",
            "where": valid,
        }
        parts = jig.spatial_gradient(x, **options)
        return (
            sum(jnp.sum(jnp.sin(part)) for part in parts)
            + jnp.sum(jnp.cos(jig.gradient_magnitude(x, **options)))
            + jnp.sum(jig.gradient_orientation(x, **options))
            + sum(jnp.sum(j) for j in jig.structure_tensor(x, **options))
            + jnp.sum(jig.laplacian(x, axes=(0, 1), where=valid) ** 2)
            + jnp.sum(jig.divergence(parts, **options) ** 2)
        )

    value, derivative = jax.value_and_grad(loss)(x)
    assert np.isfinite(value)
    assert np.isfinite(derivative).all()
    np.testing.assert_array_equal(derivative[~valid], 0)
    assert derivative[valid].any()


@pytest.mark.parametrize("case", ["image", "volume"])
@boundaries
def test_laplacian(case, boundary):
    shape, axes, spacing = CASES[case]
    x = random_array(shape, "float32")
    ours = jig.laplacian(x, axes=axes, boundary=boundary, spacing=spacing)
    counted = [a % x.ndim for a in axes]
    wide = sum(
        oracle.correlate(x.astype(float), [1, -2, 1], axis, boundary) / h**2
        for axis, h in zip(counted, oracle.each(spacing, axes), strict=True)
    )
    assert_close(ours, wide, gain=4)


def test_laplacian_is_the_divergence_of_the_gradient():
    x = random_array((2, 6, 7, 3), "float32")
    ours = jig.laplacian(x)
    assert_close(ours, np.asarray(jig.divergence(jig.image_gradients(x))), gain=2)
    np.testing.assert_allclose(ours.sum((1, 2)), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "spacing", "held"),
    [
        ("uint8", 1, "int16"),
        ("int8", 1, "int16"),
        ("bool", 1, "int8"),
        ("uint8", (1, 1 / 4), "int16"),
        ("uint8", (1, 1 / 16), "int32"),
        ("uint8", (1 / 16, 1), "int32"),
        ("int16", (1, 1 / 2), "int32"),
        ("uint8", 2, "float32"),
        ("uint8", (1, 2), "float32"),
    ],
)
def test_laplacian_of_integers_does_not_wrap_around(dtype, spacing, held):
    """The dtype holds the weighted sum over all axes."""
    x = random_array((4, 4), dtype)
    x[:], x[1, 1] = x.max(), x.min()  # the darkest pixel among the brightest ones
    for one in (x, ~x):  # and the brightest among the darkest
        ours = jig.laplacian(one, axes=(0, 1), spacing=spacing)
        assert ours.dtype == held
        wide = oracle.laplacian(one.astype(float), (0, 1), spacing=spacing)
        np.testing.assert_array_equal(np.asarray(ours, float), wide)


@pytest.mark.parametrize(
    ("dtype", "options", "held"),
    [
        ("int32", {}, "int32"),
        ("int32", {"spacing": 2}, "float32"),
        ("int32", {"spacing": 1 / 2}, "int32"),
        ("int32", {"spacing": (1, 2)}, "float32"),
        ("int32", {"operator": "sobel"}, "float32"),
        ("int32", {"operator": "sobel", "scale": "raw"}, "int32"),
        ("int32", {"operator": "farid", "scale": "raw"}, "float32"),
        ("int16", {}, "int16"),
        ("uint8", {"spacing": 2}, "float32"),
        ("uint8", {"boundary": "edge"}, "int16"),
    ],
)
def test_divergence_of_integers(dtype, options, held):
    """Integers keep their dtype if the taps are integers too."""
    options = options | {"axes": (0, 1)}
    parts = [random_array((4, 5), "uint4", seed).astype(dtype) for seed in (0, 1)]
    ours = jig.divergence(parts, **options)
    assert ours.dtype == held
    wide = oracle.divergence([part.astype(float) for part in parts], **options)
    np.testing.assert_allclose(np.asarray(ours, float), wide, rtol=1e-6, atol=1e-5)


def test_second_derivatives_add_up_to_the_laplacian():
    x = random_array((6, 7), "float32")
    dyy, _, dxx = jig.second_derivatives(x, axes=(0, 1), boundary="edge")
    assert_close(jig.laplacian(x, axes=(0, 1)), np.asarray(dyy + dxx))


@boundaries
def test_no_padded_copy_and_no_temporary(boundary):
    """Only thin borders are stored; JAX 0.10 copies one result."""
    if boundary == "wrap" and jax.default_backend() != "cpu":
        pytest.skip("an accelerator stores an image")
    image = jax.ShapeDtypeStruct((1, 2048, 2048, 3), "float32")
    images = 1.2 if jax.__version_info__ < (0, 11) else 0.05
    little = images * math.prod(image.shape) * 4

    def gradient(x):
        return jig.spatial_gradient(x, operator="sobel", boundary=boundary)

    def transpose(pair):
        return jig.divergence(pair, operator="sobel", boundary=boundary)

    for function, operand in ((gradient, image), (transpose, (image, image))):
        compiled = jax.jit(function).lower(operand).compile()
        assert compiled.memory_analysis().temp_size_in_bytes <= little


def test_wide_stencils_are_separable():
    image = jax.ShapeDtypeStruct((1, 64, 64, 1), "float32")
    wide = ("gaussian", 3.0)
    lowered = jax.jit(
        lambda x: jig.spatial_gradient(x, operator=wide, implementation="xla")
    ).lower(image)
    taps = lowered.as_text().count("stablehlo.pad")
    assert taps == 2 * (25 - 1) + 2 * (25 - 1)  # the middle tap needs no shift


BAD_OPTIONS = {
    "operator": ("laplace", r"operator must be one of 'forward', .*, got 'laplace'"),
    "sigma": (("gaussian", 0), r"sigma must be a number of at least 0.125 and at"),
    "boundary": ("mirror", r"boundary must be one of 'interior', .*, got 'mirror'"),
    "boundaries": (
        ("edge",),
        r"boundary must be one value for all axes, or a sequence",
    ),
    "spacing": (-1.0, r"spacing must be a positive number between .* got -1.0"),
    "scale": ("opencv", r"scale must be one of 'derivative', 'raw', got 'opencv'"),
    "axes": ((0, 0), r"axes must be distinct axes of x, which is rank 4"),
    "implementation": ("pallas_tpu", r"its kernels compute forward differences"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name):
    value, sentence = BAD_OPTIONS[name]
    keyword = {"sigma": "operator", "boundaries": "boundary"}.get(name, name)
    error = NotImplementedError if name == "implementation" else ValueError
    with pytest.raises(error, match=sentence):
        jig.spatial_gradient(
            np.zeros((1, 4, 4, 1), "float32"), **{"operator": "sobel", keyword: value}
        )


def test_gaussian_is_a_tuple():
    told = r"\('gaussian', sigma\) or a jax_imgrad.Kernel, got 'gaussian'"
    with pytest.raises(ValueError, match=told):
        jig.spatial_gradient(np.zeros((1, 4, 4, 1)), operator=GAUSSIAN[0])
