"""Every remedy in an error message, followed to the letter, gives the right result."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_imgrad as jig
from jax_imgrad import losses

DRAW = np.random.default_rng(0)
GRAY, COLOR = (DRAW.random(shape, np.float32) for shape in [(7, 9), (7, 9, 3)])
GRAYS, COLORS = (DRAW.random((4, *a.shape), np.float32) for a in (GRAY, COLOR))
BATCH = ["image[None]", "axes=(-3, -2)"]
SCOPE = {"jax": jax, "jnp": jnp, "np": np, "numpy": np}


def followed(function, given, steps, **options):
    """Calls a function, which fails, applies the remedy that it names, and so on.

    Each step lists parts of the expected message: an expression, which replaces the
    array or option that it names, or `option=value`.
    """
    for step in steps:
        with pytest.raises((TypeError, ValueError)) as caught:
            function(*given.values(), **options)
        for words in step:
            assert words in str(caught.value)
            if option := re.fullmatch(r"(\w+)=(.*)", words):
                options[option[1]] = eval(option[2])
                continue
            name = re.search(rf"\b({'|'.join([*given, *options])})\b", words)[0]
            target = given if name in given else options
            target[name] = eval(words, SCOPE | given | options)
    return jax.tree.leaves(function(*given.values(), **options))


def check(function, given, steps, expected, **options):
    ours = followed(function, dict(given), steps, **options)
    for one, other in zip(ours, jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(
            np.ravel(one), np.ravel(other).astype(np.asarray(one).dtype), 1e-5, 1e-6
        )


OPERATORS = {"image": jig.image_gradients, "images": jig.total_variation}


@pytest.mark.parametrize("function", [jig.image_gradients, jig.sobel_edges])
def test_ranks_of_batches_of_images(function):
    def of(image):
        return function(jnp.asarray(image))

    gray = of(GRAY[None, ..., None])
    check(function, {"image": GRAY}, [["image[None, ..., None]"]], gray)
    check(function, {"image": COLOR}, [["image[None]"]], of(COLOR[None]))
    check(function, {"image": GRAYS}, [["image[..., None]"]], of(GRAYS[..., None]))
    first = {"image": np.moveaxis(COLOR, -1, 0)}
    check(
        function, first, [["jax.numpy.moveaxis(image, 0, -1)[None]"]], of(COLOR[None])
    )
    row = {"image": GRAY[0]}
    if function is jig.image_gradients:  # sobel_edges needs at least two rows
        expected = of(GRAY[:1][None, ..., None])
        check(function, row, [["image[None, None, :, None]"]], expected)
    video = np.stack([COLORS, COLORS])
    with pytest.raises(ValueError, match=r"map over further axes with jax\.vmap"):
        function(video)
    for one, other in zip(
        jax.tree.leaves(jax.vmap(function)(video)),
        jax.tree.leaves(of(COLORS)),
        strict=True,
    ):
        np.testing.assert_array_equal(one[0], other)


def test_ranks_of_total_variation():
    gray = {"images": GRAY}
    expected = jig.total_variation(GRAY[..., None])
    check(jig.total_variation, gray, [["images[None, ..., None]"]], expected)


def test_gradients_in_one_array():
    pair = np.stack([GRAY, GRAY**2])
    expected = jig.divergence(tuple(pair), axes=(0, 1))
    steps = [["tuple(gradients)"]]
    check(jig.divergence, {"gradients": pair}, steps, expected, axes=(0, 1))


@pytest.mark.parametrize("function", [jig.magnitude, jig.orientation])
@pytest.mark.parametrize("axis", [0, -1])
def test_parts_in_one_array(function, axis):
    stack = np.stack([GRAY, GRAY**2], axis)
    moved = "jax.numpy.moveaxis(parts, -1, 0)"
    steps = [["tuple(parts)" if axis == 0 else f"tuple({moved})"]]
    check(function, {"parts": stack}, steps, function((GRAY, GRAY**2)))


def test_all_entries_of_a_matrix():
    parts = [GRAY, GRAY**2, GRAY**3]
    expected = jig.eigenvalues(parts)
    entries = [parts[i] for i in (0, 1, 1, 2)]
    steps = [["(parts[0], parts[1], parts[3])"]]
    check(jig.eigenvalues, {"parts": entries}, steps, expected)
    parts = [GRAY**k for k in range(1, 7)]
    entries = [parts[i] for i in (0, 1, 2, 1, 3, 4, 2, 4, 5)]
    steps = [["[parts[i] for i in (0, 1, 2, 4, 5, 8)]"]]
    check(jig.eigenvalues, {"parts": entries}, steps, jig.eigenvalues(parts))


def test_the_components_of_a_vector_field():
    field = np.stack([GRAY, GRAY**2], -1)
    expected = jig.curl(field)
    first = [["jax.numpy.moveaxis(field, 0, -1)"]]
    check(jig.curl, {"field": np.moveaxis(field, -1, 0)}, first, expected)
    pair = [["jax.numpy.stack(field, axis=-1)"]]
    check(jig.curl, {"field": (GRAY, GRAY**2)}, pair, expected)
    three = np.concatenate([field, field[..., :1]], -1)
    check(jig.curl, {"field": three}, [["field[..., :2]"]], expected)
    batch = np.stack([field] * 4)
    second = [["jax.numpy.moveaxis(field, 1, -1)"]]
    check(jig.curl, {"field": np.moveaxis(batch, -1, 1)}, second, jig.curl(batch))
    check(jig.curl, {"field": field}, [["axes=(-3, -2)"]], expected, axes=(1, 2))


def test_axes_of_operators():
    def of(image):
        return jig.laplacian(image[..., None])[..., 0]

    check(jig.laplacian, {"x": GRAY}, [["axes=(0, 1)"]], of(GRAY))
    expected = jig.laplacian(GRAY[0][None], axes=(1,))
    check(jig.laplacian, {"x": GRAY[0]}, [["axes=0"]], expected)


ONE = {
    "losses.total_variation": losses.total_variation,
    "channels coupled": lambda i, **o: losses.total_variation(
        i, channel_coupling=True, **o
    ),
}


@pytest.mark.parametrize("name", ONE)
def test_ranks_of_losses_of_one_image(name):
    loss, coupled = ONE[name], name == "channels coupled"
    rows = ["axes=(-3, -2)"]
    check(
        loss,
        {"image": GRAY},
        [["image[None, ..., None]", *rows]],
        loss(GRAY[None, ..., None]),
    )
    check(loss, {"image": COLOR}, [["image[None]", *rows]], loss(COLOR[None]))
    grays = ["image[..., None]"] if coupled else ["axes=(-2, -1)"]
    check(loss, {"image": GRAYS}, [grays], loss(GRAYS[..., None]))
    first = {"image": np.moveaxis(COLOR, -1, 0)}
    moved = ["jax.numpy.moveaxis(image, 0, -1)[None]"]
    check(loss, first, [moved], loss(COLOR[None]))
    signal = GRAY[0]
    expected = loss(signal[None, :, None], axes=1)
    check(loss, {"image": signal}, [["image[None, :, None]", "axes=1"]], expected)


PAIRS = [
    losses.gradient_difference,
    losses.gradient_magnitude_similarity,
    losses.gradient_matching,
    losses.laplacian_edge,
]


@pytest.mark.parametrize("loss", PAIRS)
def test_ranks_of_losses_of_two_images(loss):
    def both(image, other):
        return {"predictions": image, "targets": other}

    def steps(predictions, targets):
        return [[predictions], [targets]]

    half = GRAY * GRAY
    expected = loss(GRAY[None, ..., None], half[None, ..., None])
    gray = steps("predictions[None, ..., None]", "targets[None, ..., None]")
    check(loss, both(GRAY, half), gray, expected)
    color = steps("predictions[None]", "targets[None]")
    check(loss, both(COLOR, COLOR**2), color, loss(COLOR[None], COLOR[None] ** 2))
    expected = loss(GRAYS[..., None], GRAYS[..., None] ** 2)
    check(loss, both(GRAYS, GRAYS**2), [["axes=(-2, -1)"]], expected)
    channels_first = np.moveaxis(COLORS, -1, 1)
    moved = [["jax.numpy.moveaxis(targets, 1, -1)"]]
    check(loss, both(COLORS, channels_first**2), moved, loss(COLORS, COLORS**2))
    one = COLORS[:1] ** 2
    whole = [["jax.numpy.broadcast_to(targets, predictions.shape)"]]
    expected = loss(COLORS, np.broadcast_to(one, COLORS.shape))
    check(loss, both(COLORS, one), whole, expected)


def test_ranks_of_a_field_and_its_guide():
    loss = losses.edge_aware_smoothness

    def check_both(field, guide, steps, expected, **options):
        check(loss, {"field": field, "guide": guide}, steps, expected, **options)

    gray, color = GRAY[None, ..., None], COLOR[None]
    first = ["field[None, ..., None]", "axes=(-3, -2)"]
    check_both(GRAY, GRAY, [first, ["guide[None, ..., None]"]], loss(gray, gray))
    check_both(GRAY, COLOR, [first, ["guide[None]"]], loss(gray, color))
    grays, colors = GRAYS[..., None], COLORS
    check_both(GRAYS, COLORS, [["field[..., None]"]], loss(grays, colors))
    check_both(grays, GRAYS, [["guide[..., None]"]], loss(grays, grays))
    moved = [np.moveaxis(a, -1, 1) for a in (grays, colors)]
    both = [f"jax.numpy.moveaxis({name}, 1, -1)" for name in ("field", "guide")]
    check_both(*moved, [both], loss(grays, colors))
    turned = [[both[0], "axes=(-3, -2)"], both[1:]]
    check_both(*moved, turned, loss(grays, colors), axes=(-2, -1))
    with pytest.raises(ValueError, match=r"got \(4, 3, 9\); resize guide first$"):
        loss(colors, colors[:, :3])


@pytest.mark.parametrize(
    ("function", "arrays"),
    [(losses.total_variation, 1), (losses.laplacian_edge, 2), (jig.laplacian, 1)],
)
def test_shapes_of_masks(function, arrays):
    valid = DRAW.random((4, 7, 9)) < 0.8
    expected = function(*[COLORS] * arrays, where=valid[..., None])

    def check_mask(where, words):
        with pytest.raises(ValueError, match="where must broadcast to") as caught:
            function(*[COLORS] * arrays, where=where)
        assert words in str(caught.value)
        where = eval(words, SCOPE | {"where": where})
        ours = function(*[COLORS] * arrays, where=where)
        np.testing.assert_array_equal(ours, expected)

    check_mask(valid, "where[..., None]")
    check_mask(valid[:, None], "jax.numpy.moveaxis(where, 1, -1)")
    for dtype, largest in [("float32", 1), ("uint8", 255), ("int32", 1)]:
        where = valid[..., None].astype(dtype) * np.array(largest, dtype)
        with pytest.raises(
            TypeError, match="pass a bool array, for example "
        ) as caught:
            function(*[COLORS] * arrays, where=where)
        words = str(caught.value).rpartition("for example ")[2]
        ours = function(*[COLORS] * arrays, where=eval(words, {"where": where}))
        np.testing.assert_array_equal(ours, expected)


def test_shapes_of_parameters():
    delta = DRAW.uniform(0.1, 1, 4).astype("float32")
    steps = [["delta[:, None, None, None]"]]
    for loss, given in [
        (losses.total_variation, {"image": COLORS}),
        (losses.laplacian_edge, {"predictions": COLORS, "targets": COLORS**2}),
    ]:
        options = {"penalty": "huber"} if len(given) == 1 else {}
        expected = [
            loss(*(a[i : i + 1] for a in given.values()), delta=delta[i], **options)
            for i in range(4)
        ]
        check(loss, given, steps, np.concatenate(expected), delta=delta, **options)


def test_arrays_of_other_kinds():
    def tv(image):
        return losses.total_variation(image)

    masked = np.ma.masked_array(COLORS, mask=COLORS > 0.7)
    expected = losses.total_variation(COLORS, where=COLORS <= 0.7)
    with pytest.raises(TypeError, match="image must be an array without a mask") as e:
        tv(masked)
    assert "numpy.ma.getdata(image), and where=~numpy.ma.getmaskarray(image)" in str(
        e.value
    )
    ours = losses.total_variation(
        np.ma.getdata(masked), where=~np.ma.getmaskarray(masked)
    )
    np.testing.assert_array_equal(ours, expected)
    words = "convert it with numpy.asarray(image)"
    with pytest.raises(TypeError, match=re.escape(words)):
        tv(COLORS.tolist())
    np.testing.assert_allclose(tv(np.asarray(COLORS.tolist())), tv(COLORS), 1e-6)
    bytes_ = (255 * COLORS).astype("uint16")
    for strange, dtype in [
        *[(COLORS.astype(kind), "float32") for kind in (object, "U32", "S32", ">f4")],
        (jnp.asarray(COLORS, "float8_e4m3fn"), "float32"),
        (bytes_.astype(">u2"), "uint16"),
    ]:
        words = f"convert it with image.astype({dtype!r})"
        with pytest.raises(TypeError, match=re.escape(words)):
            tv(strange)
        converted = strange.astype(dtype)
        plain = bytes_ if dtype == "uint16" else COLORS
        rtol = 0.2 if "float8" in str(strange.dtype) else 1e-6  # which has 4 bits
        np.testing.assert_allclose(tv(converted), tv(plain), rtol)
    words = r"predictions must be real.*predictions\.real or abs"
    with pytest.raises(TypeError, match=words):
        losses.gradient_difference(COLORS + 1j, COLORS)
    for real in ((COLORS + 1j).real, abs(COLORS + 1j)):
        losses.gradient_difference(real, COLORS)


ELSEWHERE = {
    "nearest": "edge",  # SciPy
    "replicate": "edge",  # PyTorch, kornia
    "border": "edge",  # MONAI, PyTorch's grid_sample
    "mirror": "reflect",  # SciPy
    "circular": "wrap",  # PyTorch
    "grid-wrap": "wrap",  # SciPy
    "grid-constant": "constant",  # SciPy
    "zeros": "constant",  # PyTorch
    "extrapolate": "linear",  # SciPy's interp1d
    "smooth": "linear",  # PyWavelets
}


@pytest.mark.parametrize("theirs", ELSEWHERE)
def test_boundaries_by_the_names_of_other_libraries(theirs):
    told = f"'{theirs}' in other libraries is '{ELSEWHERE[theirs]}' here"
    with pytest.raises(ValueError, match=told):
        jig.spatial_gradient(COLORS, boundary=theirs)


def test_names_in_capital_letters():
    with pytest.raises(ValueError, match="got 'REFLECT'; write 'reflect'"):
        jig.spatial_gradient(COLORS, boundary="REFLECT")
    with pytest.raises(ValueError, match="got 'Sobel'; write 'sobel'"):
        jig.spatial_gradient(COLORS, operator="Sobel")


@pytest.mark.parametrize("reduction", [None, "none"])
def test_no_reduction(reduction):
    words = "every reduction returns one number for each image of the batch"
    with pytest.raises(ValueError, match=f"^reduction must be .*; {words}$"):
        losses.total_variation(COLORS, reduction=reduction)
    for reduces in ("mean", "sum"):
        assert losses.total_variation(COLORS, reduction=reduces).shape == (4,)


def test_options_that_are_traced():
    words = (
        "which is traced; options are static: bind them with functools.partial, or "
        "list them in static_argnames of jax.jit"
    )
    for function, options in [
        (losses.gradient_matching, {"scales": 2}),
        (losses.gradient_difference, {"alpha": 2}),
        (losses.edge_aware_smoothness, {"order": 2}),
        (losses.edge_aware_smoothness, {"mean_normalized": True}),
        (losses.gradient_matching, {"axes": (1, 2)}),
        (losses.gradient_matching, {"axes": 1}),
        (lambda x, y, **o: jig.second_derivatives(x, **o), {"spacing": 2.0}),
        (lambda x, y, **o: jig.second_derivatives(x, **o), {"spacing": (2.0, 1.0)}),
        (lambda x, y, **o: jig.structure_tensor(x, **o), {"sigma": 2.0}),
    ]:
        pair = COLORS, COLORS**2
        with pytest.raises((TypeError, ValueError), match=rf"{words}(\n|$)"):
            jax.jit(function)(*pair, **options)
        expected = jax.tree.leaves(function(*pair, **options))
        bound = jax.jit(functools.partial(function, **options))
        listed = jax.jit(function, static_argnames=tuple(options))
        for ours in (bound(*pair), listed(*pair, **options)):
            for one, other in zip(jax.tree.leaves(ours), expected, strict=True):
                np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_sobel_edges_of_one_row():
    row = GRAY[:1][None, ..., None]
    with pytest.raises(ValueError, match="needs at least 2 pixels along axis 1") as e:
        jig.sobel_edges(row)
    words = "use spatial_gradient with operator='sobel' and scale='raw'"
    assert words in str(e.value)
    options = {"operator": "sobel", "scale": "raw", "boundary": "edge"}
    dy, dx = jig.spatial_gradient(row, **options)
    assert not dy.any()
    expected = 4 * (GRAY[0, 2:] - GRAY[0, :-2])
    np.testing.assert_allclose(dx[0, 0, 1:-1, 0], expected, 1e-5, 1e-6)


def test_options_that_messages_name():
    """Each call fails with these words, and runs with the options that they name."""
    pixels = np.uint32([[5, 200, 7], [0, 1, 9]])
    bytes_ = pixels.astype("uint8")
    row, numbers = GRAY[:1], [0.1, 0.5, 2.0]
    gradient = functools.partial(jig.spatial_gradient, axes=(0, 1))
    huber = functools.partial(losses.total_variation, penalty="huber")

    def matching(image, operator="laplacian", **options):
        targets = 0 * image
        return losses.gradient_matching(image, targets, operator=operator, **options)

    sobel = functools.partial(matching, operator="sobel")
    cases = [
        (gradient, pixels, {"scale": "raw"}, {"dtype": "float32"}),
        (gradient, pixels.astype("uint64"), {"scale": "raw"}, {"dtype": "float32"}),
        (
            gradient,
            bytes_,
            {"spacing": 2, "dtype": "int16"},
            {"scale": "raw", "spacing": 1},
        ),
        (gradient, row, {"boundary": "reflect"}, {"boundary": "edge"}),
        (gradient, row, {"boundary": "reflect"}, {"boundary": "symmetric"}),
        (gradient, row, {"boundary": "linear"}, {"boundary": "edge"}),
        (gradient, row, {"boundary": "quadratic"}, {"boundary": "symmetric"}),
        (gradient, GRAY[:2], {"boundary": "quadratic"}, {"boundary": "linear"}),
        (gradient, GRAY[:2], {"boundary": "quadratic"}, {"boundary": "edge"}),
        (gradient, GRAY, {"implementation": "pallas_tpu"}, {"implementation": None}),
        (huber, COLORS, {"delta": numbers}, {"delta": np.asarray(numbers)}),
        (matching, COLORS, {"reduction": "axis_mean"}, {"reduction": "mean"}),
        (matching, COLORS, {"weights": [1.0, 2.0]}, {"weights": np.ones(3)}),
        (sobel, COLORS[:, :4], {"boundary": "reflect"}, {"boundary": "edge"}),
    ]
    words = [
        "or pass dtype='float32' if the function has that option",
        "(to which JAX also converts uint64)",
        "scale='raw' and spacing=1",
        *["use boundary='edge' or boundary='symmetric'"] * 4,
        *["use boundary='linear' or boundary='edge'"] * 2,
        "use implementation=None",
        "pass numpy.asarray(delta)",
        "use reduction='mean'",
        "pass one array, with the weight of each pixel",
        "use boundary='edge' or boundary='symmetric'",
    ]
    for (function, image, options, other), told in zip(cases, words, strict=True):
        errors = (TypeError, ValueError, NotImplementedError)
        with pytest.raises(errors, match=re.escape(told)):
            function(image, **options)
        ours = function(image, **(options | other))
        floats = image.astype("float32")
        named = {k: v for k, v in (options | other).items() if k != "dtype"}
        exact = function(floats, **named)
        for one, two in zip(*map(jax.tree.leaves, (ours, exact)), strict=True):
            np.testing.assert_allclose(one, two, 1e-6)


def test_a_negative_spacing():
    options = {"axes": (0,), "operator": "central", "boundary": "edge"}
    with pytest.raises(ValueError, match=r"reverse an axis with jax\.numpy\.flip"):
        jig.spatial_gradient(GRAY, spacing=-2.0, **options)
    (reversed_,) = jig.spatial_gradient(jnp.flip(GRAY, 0), spacing=2.0, **options)
    (slope,) = jig.spatial_gradient(GRAY, spacing=2.0, **options)
    np.testing.assert_allclose(jnp.flip(reversed_, 0), -slope, 1e-6)


def test_coordinates_and_arrays_of_spacings():
    """Followed: a sequence, the opposite numbers, sorted ones, another rank."""
    xs = np.array([0.0, 0.5, 2, 2.5, 4, 4.5, 7, 8, 9])
    slope = functools.partial(jig.spatial_gradient, operator="central", axes=(0, 1))
    expected = slope(GRAY, spacing=[1.0, xs])
    listed = {"spacing": xs}
    with pytest.raises(ValueError, match="pass the sequence ") as caught:
        slope(GRAY, **listed)
    words = str(caught.value).rpartition("pass the sequence ")[2]
    for one, other in zip(
        slope(GRAY, spacing=eval(words, listed)), expected, strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"; pass -spacing\[1\], and negate the"):
        slope(GRAY[:, ::-1], spacing=[1.0, xs[::-1]])
    _, dx = slope(GRAY[:, ::-1], spacing=[1.0, -xs[::-1]])
    np.testing.assert_allclose(-dx[:, ::-1], expected[1], 1e-5, 1e-6)
    mixed = np.random.default_rng(0).permutation(9)
    with pytest.raises(ValueError, match="; sort them, and the pixels along this axis"):
        slope(GRAY[:, mixed], spacing=[1.0, xs[mixed]])
    order = np.argsort(xs[mixed])
    _, dx = slope(GRAY[:, mixed][:, order], spacing=[1.0, xs[mixed][order]])
    np.testing.assert_array_equal(dx, expected[1])
    widths = np.linspace(1, 2, 7)[:, None]
    batch = functools.partial(jig.spatial_gradient, axes=(1, 2))
    with pytest.raises(ValueError, match="array of rank 4") as caught:
        batch(GRAY[None, ..., None], spacing=[1.0, widths])
    assert "pass spacing[1][None, ..., None]" in str(caught.value)
    spacing = [1.0, widths[None, ..., None]]
    ours = batch(GRAY[None, ..., None], spacing=spacing)
    plain = jig.spatial_gradient(GRAY, axes=(0, 1))
    np.testing.assert_allclose(ours[1][0, ..., 0], plain[1] / widths, 1e-6)
    words = "apply it to its results for second derivatives"
    with pytest.raises(ValueError, match=words):
        jig.second_derivatives(GRAY, axes=(0, 1), spacing=[1.0, xs])
    wide = {"axes": (1,), "spacing": [xs], "operator": "central"}
    (second,) = jig.spatial_gradient(
        *jig.spatial_gradient(0 * GRAY + xs**2, **wide), **wide
    )
    np.testing.assert_allclose(second[:, 2:-2], 2, 1e-5)
