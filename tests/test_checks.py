"""Error messages, word for word; and every option of every function."""

import collections
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public import TAKES_A_FIELD, TAKES_A_MASK
from test_conventions import PUBLIC

import jax_imgrad as jig
from jax_imgrad._arguments import old_names
from jax_imgrad.typing import Boundary, Implementation

pytestmark = pytest.mark.fast

BY_RANK = {
    0: "got rank 0 with shape ()",
    1: "got rank 1 with shape (2,); for one row of gray pixels [W], pass "
    "image[None, None, :, None]",
    2: "got rank 2 with shape (2, 2); for one gray image [H, W], pass "
    "image[None, ..., None]",
    3: "got rank 3 with shape (2, 2, 2); for one image [H, W, C], pass image[None]; "
    "for gray images [B, H, W], pass image[..., None]",
    5: "got rank 5 with shape (2, 2, 2, 2, 2); map over further axes with jax.vmap",
}
RANKS = pytest.mark.parametrize("rank", BY_RANK)


def rank_error(rank):
    sentence = "image must be rank 4, [batch, height, width, channels], "
    return pytest.raises(ValueError, match=whole(sentence + BY_RANK[rank]))


def whole(sentence):
    """Matches exactly this message; JAX may append lines under a transformation."""
    return f"^{re.escape(sentence)}(\n|$)"


def loss(image):
    return sum(g.sum() for g in jig.image_gradients(image))


@RANKS
@pytest.mark.parametrize(
    "call",
    [
        jig.image_gradients,
        jax.jit(jig.image_gradients),
        jax.grad(loss),
        lambda image: jax.vmap(jig.image_gradients)(image[None]),
        lambda image: jax.eval_shape(jig.image_gradients, image),
        lambda image: jig.image_gradients(np.asarray(image)),
        lambda image: jig.image_gradients(image, implementation="pallas_tpu"),
    ],
)
def test_rank(call, rank):
    with rank_error(rank):
        call(jnp.zeros((2,) * rank))


@RANKS
def test_rank_without_chex(rank):
    chex.disable_asserts()
    try:
        with rank_error(rank):
            jig.image_gradients(jnp.zeros((2,) * rank))
    finally:
        chex.enable_asserts()


def test_rank_is_checked_through_chex(monkeypatch):
    seen = []
    monkeypatch.setattr(chex, "assert_rank", lambda *args: seen.append(args))
    image = jnp.zeros((1, 2, 2, 1))
    jig.image_gradients(image)
    assert seen == [(image, {4})]


def test_rank_under_python_o():
    code = (
        "import jax_imgrad as jig, numpy as np\n"
        "try: jig.image_gradients(np.zeros((2, 2)))\n"
        "except ValueError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-O", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert BY_RANK[2] in run.stdout


IMAGE = np.zeros((1, 2, 2, 1), "float32")

READ = "read the image file first, for example with numpy.asarray(PIL.Image.open(path))"
CONVERT = "convert it with numpy.asarray(image)"
CAST = "convert it with image.astype('float32')"
NUMERIC = "integer, floating (bfloat16, float16, float32, float64) or complex dtype"
NO_SIGNED_INTEGER = (
    "and no signed integer dtype available here holds the difference of two such "
    "numbers; convert it with image.astype('float32'), or pass dtype='float32' if the "
    "function has that option"
)
NOT_IMAGES = {
    "text": ("cat.png", f"must be an array, got 'cat.png'; {READ}"),
    "bytes": (b"cat.png", f"must be an array, got b'cat.png'; {READ}"),
    "path": (Path("cat"), f"must be an array, got {Path('cat')!r}; {READ}"),
    "ragged": (
        [[1], [1, 2]],
        f"must be a JAX or NumPy array, got list; {CONVERT}, which requires rows of "
        "equal length",
    ),
    "None": (None, "must be a JAX or NumPy array, got NoneType; pass an array"),
    "objects": (
        IMAGE.astype(object),
        f"must be an array of numbers, got dtype object (Python objects); {CAST}",
    ),
    "strings": (
        IMAGE.astype(str),
        f"must be an array of numbers, got dtype <U32 (strings); {CAST}",
    ),
    "big-endian": (
        IMAGE.astype(">i2"),
        "must be in the native byte order, got dtype >i2; convert it with "
        "image.astype('int16')",
    ),
    "float8": (
        jnp.zeros((1, 2, 2, 1), jnp.float8_e4m3fn),
        f"must have a bool, {NUMERIC}, got float8_e4m3fn; {CAST}",
    ),
    "keys": (
        jax.random.split(jax.random.key(0), (1, 2, 2, 1)),
        f"must have a bool, {NUMERIC}, got key<fry>; pass numbers drawn with "
        "jax.random",
    ),
    "masked": (
        np.ma.masked_array(IMAGE, mask=IMAGE > 0),
        "must be an array without a mask, got a masked array; pass "
        "numpy.ma.getdata(image), and where=~numpy.ma.getmaskarray(image) if the "
        "function has that option",
    ),
    "uint32": (
        IMAGE.astype("uint32"),
        f"has dtype uint32 (to which JAX also converts uint64), {NO_SIGNED_INTEGER}",
    ),
    "a number": (1.5, f"must be a JAX or NumPy array, got float; {CONVERT}"),
}


@pytest.mark.parametrize(
    ("image", "sentence"), NOT_IMAGES.values(), ids=NOT_IMAGES.keys()
)
def test_not_an_image(image, sentence):
    with pytest.raises(TypeError, match=whole(f"image {sentence}")):
        jig.image_gradients(image)


def test_uint64_has_no_signed_type():
    with jax.enable_x64(True):
        image = jnp.zeros((1, 2, 2, 1), "uint64")
        with pytest.raises(
            TypeError, match=whole(f"image has dtype uint64, {NO_SIGNED_INTEGER}")
        ):
            jig.image_gradients(image)
        assert jig.image_gradients(image, dtype="uint64")[0].dtype == "uint64"


@pytest.mark.parametrize("dtype", ["banana", "bool", "float8_e5m2", ">f4"])
def test_dtype_that_cannot_be_subtracted(dtype):
    order = " in the native byte order" if dtype == ">f4" else ""
    sentence = f"dtype must be an {NUMERIC}{order}, got '{dtype}'; for example "
    sentence += "dtype='float32'"
    with pytest.raises(TypeError, match=whole(sentence)):
        jig.image_gradients(IMAGE, dtype=dtype)


def test_dtype_that_drops_a_part():
    sentence = (
        "dtype must be complex because image is complex64, got float32; pass "
        "image.real, image.imag or abs(image)"
    )
    with pytest.raises(TypeError, match=whole(sentence)):
        jig.image_gradients(IMAGE.astype("complex64"), dtype="float32")


def test_unknown_implementation():
    sentence = (
        "implementation must be None or one of 'xla', 'xla_cpu', "
        "'pallas_tpu', got 'triton'; "
        "use None, which works everywhere"
    )
    with pytest.raises(ValueError, match=whole(sentence)):
        jig.image_gradients(IMAGE, implementation="triton")


PAIR = (
    "gradients must be a tuple with one array per axis, as spatial_gradient returns "
    "it, for axes=(-3, -2)"
)
ALIKE = "gradients must be arrays of equal shape and dtype"
NOT_PAIRS = {
    "one image": (IMAGE, TypeError, f"{PAIR}, got ndarray"),
    "one of two": ((IMAGE,), TypeError, f"{PAIR}, got tuple of length 1"),
    "text": (
        (IMAGE, "x"),
        TypeError,
        f"gradients[1] must be an array, got 'x'; {READ}",
    ),
    "rank 3": (
        (IMAGE, IMAGE[0]),
        ValueError,
        f"{ALIKE}, got float32 (1, 2, 2, 1) and float32 (2, 2, 1); pass the "
        "derivatives of one image",
    ),
    "rank 2": (
        (IMAGE[0, :, :, 0], IMAGE[0, :, :, 0]),
        ValueError,
        "axes must be distinct axes of gradients[0], which is rank 2, got (-3, -2); "
        "for an image [H, W], pass axes=(0, 1)",
    ),
    "two shapes": (
        (IMAGE, IMAGE[:, 1:]),
        ValueError,
        f"{ALIKE}, got float32 (1, 2, 2, 1) and float32 (1, 1, 2, 1); pass the "
        "derivatives of one image",
    ),
    "two dtypes": (
        (IMAGE, IMAGE.astype("int32")),
        ValueError,
        f"{ALIKE}, got float32 (1, 2, 2, 1) and int32 (1, 2, 2, 1); pass the "
        "derivatives of one image",
    ),
}


@pytest.mark.parametrize(
    ("pair", "error", "sentence"), NOT_PAIRS.values(), ids=NOT_PAIRS.keys()
)
def test_not_a_pair(pair, error, sentence):
    with pytest.raises(error, match=whole(sentence)):
        jig.divergence(pair)


# The parameters of every public function, by name.

PARAMETERS = {name: inspect.signature(f).parameters for name, f in PUBLIC.items()}
ARRAYS = {
    name: [key for key, p in parameters.items() if p.default is p.empty]
    for name, parameters in PARAMETERS.items()
}


def with_option(option):
    """Parametrizes over the functions that have this option."""
    return pytest.mark.parametrize("name", has(option))


def has(option):
    """The functions that have this option."""
    return [
        name
        for name in PUBLIC
        if option in PARAMETERS[name] and option not in ARRAYS[name]
    ]


def shape_for(name, shape):
    """The shape of images, or that of a vector field of two components."""
    return (*shape[:-1], 2) if name in TAKES_A_FIELD else shape


# Arguments that are a tuple of arrays, in the functions of `public.TAKES_A_TUPLE`.
TUPLES = {"gradients", "parts"}


def refuses(error, words, name, shape=(2, 4, 4, 3), instead=None, **options):
    """Asserts that a function refuses these options, or the arrays in `instead`."""
    dtype = bool if name in TAKES_A_MASK else "float32"
    image = np.ones(shape_for(name, shape), dtype)
    given = dict.fromkeys(ARRAYS[name], image) | (instead or {})
    for key in TUPLES & {*given}:
        axes = options.get("axes", (-3, -2))
        count = len(axes) if isinstance(axes, tuple) and len(axes) else 2
        given[key] = (given[key],) * count
    with pytest.raises(error, match=words):
        PUBLIC[name](*given.values(), **options)


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in PUBLIC for key in ARRAYS[name]]
)
@pytest.mark.parametrize(
    "what", ["float8", "text", "ragged", "objects", "keys", "masked"]
)
def test_each_array_must_be_numeric(name, key, what):
    value, _ = NOT_IMAGES[what]
    of_pair = r"\[0\]" if key in TUPLES else ""
    fact = {
        "float8": "got float8_e4m3fn",
        "text": "got 'cat.png'",
        "ragged": "got list",
        "objects": "dtype object",
        "keys": "got key<fry>",
        "masked": "got a masked array",
    }[what]
    words = rf"^{key}{of_pair} .*{fact}"
    refuses(TypeError, words, name, IMAGE.shape, instead={key: value})


@with_option("where")
def test_where_must_broadcast_to_the_named_array(name):
    key = {"gradients": r"gradients\[0\]"}.get(ARRAYS[name][0], ARRAYS[name][0])
    shape = re.escape(str(shape_for(name, (2, 4, 4, 3))))
    words = rf"^where must .* shape of {key}, {shape}, got \(3, 4\)"
    refuses(ValueError, words, name, where=np.ones((3, 4), bool))
    refuses(TypeError, "^where .*float32", name, where=np.ones((4, 3), "float32"))


@with_option("axes")
@pytest.mark.parametrize(
    "axes", [(), [[1], [1, 2]], (1, 1), (1, -3), (1, 4), (-5, 1), (1.0, 2), "12", None]
)
def test_axes_must_be_distinct_integers(name, axes):
    words = rf"\baxes\b.*{re.escape(str(axes))}"
    if axes is None and name in TAKES_A_FIELD:
        return  # the default: the axes before the last
    refuses((TypeError, ValueError), words, name, axes=axes)


def test_divergence_refuses_empty_axes():
    with pytest.raises(TypeError, match=r"^gradients must .*\(\)"):
        jig.divergence((), axes=())


@with_option("spacing")
@pytest.mark.parametrize(
    "spacing", [0, 0.0, -1, np.nan, np.inf, True, "1", None, (1, 0), (1,), (1, 1, 1)]
)
def test_spacing_must_be_positive(name, spacing):
    refuses(ValueError, "^spacing ", name, spacing=spacing)


@pytest.mark.parametrize("sigma", [0, 0.1, 0.1249, -1, np.nan, np.inf, True, "1", None])
def test_sigma_must_be_at_least_an_eighth_of_a_pixel(sigma):
    image = np.ones((1, 4, 4, 1), "float32")
    for name in PUBLIC:
        if "operator" in PARAMETERS[name]:
            refuses(
                ValueError, r"^operator\b.*0\.125", name, operator=("gaussian", sigma)
            )
    with pytest.raises(ValueError, match=r"^sigma .*0\.125"):
        jig.structure_tensor(image, sigma=sigma)
    with pytest.raises(ValueError, match=r"^sigma .*0\.125"):
        jig.structure_tensor(image, sigma=(1.0, sigma))


def test_windows_must_not_be_too_wide():
    image = np.ones((1, 4, 4, 1), "float32")
    words = (
        "sigma must be a number of at least 0.125 and at most {}, in pixels, or one "
        "for each axis, got 1000000000.0"
    )
    for truncate, most in [(4, "2500"), (100, "100"), (0, "10000")]:
        with pytest.raises(ValueError, match=whole(words.format(most))):
            jig.structure_tensor(image, sigma=1e9, truncate=truncate)
    for truncate in (-1, 101):
        told = (
            f"truncate must be a number of at least 0 and at most 100, got {truncate}"
        )
        with pytest.raises(ValueError, match=whole(told)):
            jig.structure_tensor(image, truncate=truncate)
    row = np.ones((1, 4, 1, 1), "float32")
    told = r"^window_boundary='reflect' needs .*; use window_boundary='edge' or w"
    with pytest.raises(ValueError, match=told):
        jig.structure_tensor(row, window_boundary="reflect")
    jig.structure_tensor(row, window_boundary="edge")


def test_the_smallest_gaussian():
    """It has three taps, none of which is 0."""
    image = jax.ShapeDtypeStruct((1, 4, 4, 1), "float32")
    jax.eval_shape(lambda x: jig.structure_tensor(x, sigma=0.125), image)
    x = np.float32([0, 1, 2, 3])
    options = {"operator": ("gaussian", 0.125), "axes": (0,), "boundary": "edge"}
    (slope,) = jig.spatial_gradient(x, **options)
    np.testing.assert_allclose(slope[1:-1], 1, rtol=1e-5)


@with_option("boundary")
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("boundary", "least"), [("reflect", 2), ("linear", 2), ("quadratic", 3)]
)
def test_boundaries_that_need_several_pixels(boundary, least, name, axis):
    sizes = (least - 1, 4) if axis == 0 else (4, least - 1)
    is_loss = name.startswith("losses.")
    before, after = ((3,), (2,)) if is_loss else ((), ())  # the batch, the channels
    after = (2,) if name in TAKES_A_FIELD else after
    first = len(before)
    axes, shape, axis = (first, first + 1), (*before, *sizes, *after), first + axis
    words = rf"at least {least} pixels along axis {axis} .*{re.escape(str(shape))}"
    options = {"operator": "sobel"} if "operator" in PARAMETERS[name] else {}
    options |= {"scales": 1} if "scales" in PARAMETERS[name] else {}
    options |= {"axes": axes, "boundary": boundary}
    refuses(ValueError, words, name, shape, **options)


# Each option, for all functions that have it.

OPTIONS = {
    key for name in PUBLIC for key in PARAMETERS[name] if key not in ARRAYS[name]
}
ARRAYS_OR_NUMBERS = {"delta", "edge_weight"}
NUMBERS_ALONE = {"alpha", "scales", "sigma", "spacing", "step", "truncate"}
BOOLS = {
    *("isotropic", "channel_coupling", "mean_normalized", "subtract_delta"),
    *("downsampled", "mixed", "one_sided", "displacement"),
}
SINGLE_NUMBERS = {"constant"}  # which may be traced
TAKES_ARRAYS_OF_SPACINGS = {*has("one_sided")} - TAKES_A_MASK
NAMES = {
    *(
        "boundary",
        "operator",
        "penalty",
        "reduction",
        "edge_weighting",
        "order",
        "scale",
    ),
    *("implementation", "dtype", "downsample", "pooling", "window_boundary"),
}


def test_every_option_is_of_one_kind():
    kinds = ARRAYS_OR_NUMBERS | NUMBERS_ALONE | BOOLS | NAMES | SINGLE_NUMBERS
    kinds |= {"axes", "where", "weights"}
    assert kinds == OPTIONS


@pytest.mark.parametrize(
    ("name", "option"), [(n, option) for option in sorted(NAMES) for n in has(option)]
)
@pytest.mark.parametrize(
    "value",
    [["x"], np.array(["x", "y"]), np.ones(2), {"x": 1}, "x", len, True, 2.5],
    ids=["list", "words", "numbers", "dict", "word", "function", "bool", "float"],
)
def test_names_must_be_supported(name, option, value):
    refuses((TypeError, ValueError), f"^{option} must be ", name, **{option: value})


@pytest.mark.parametrize(
    ("name", "option"), [(n, option) for option in sorted(BOOLS) for n in has(option)]
)
@pytest.mark.parametrize("value", ["no", 0, 1.0, None, np.zeros(2, bool), [True]])
def test_bools_must_be_true_or_false(name, option, value):
    words = f"^{option} must be True or False, got "
    refuses(TypeError, words, name, **{option: value})


@pytest.mark.parametrize(
    ("name", "option"),
    [(n, option) for option in sorted(NUMBERS_ALONE) for n in has(option)],
)
def test_numbers_must_be_scalars_and_static(name, option):
    """Scalars of NumPy and JAX are accepted; arrays and traced values are not."""
    image = np.ones(shape_for(name, (1, 4, 4, 1)), "float32")
    given = [image] * len(ARRAYS[name])
    given = [tuple(given * 2)] if name == "divergence" else given

    def call(value):
        return jax.tree.leaves(PUBLIC[name](*given, **{option: value}))

    for value in (np.float32(2), np.int64(2), np.array(2), jnp.float32(2)):
        for ours, expected in zip(call(value), call(2), strict=True):
            np.testing.assert_array_equal(ours, expected)
    for value in ("2", [[2]], np.ones((2, 2)), 2j, True, None, jax.random.key(0)):
        with pytest.raises(ValueError, match=f"^{option} must "):
            call(value)
    if option == "spacing" and name in TAKES_ARRAYS_OF_SPACINGS:
        for ours, expected in zip(jax.jit(call)(2.0), call(2), strict=True):
            np.testing.assert_allclose(ours, expected, 1e-6)
        return
    with pytest.raises(ValueError, match=f"^{option} must .* which is traced"):
        jax.jit(call)(2.0)


def given_to(name, count=2):
    """Small random arrays for a function; a divergence gets `count` of them."""
    image = np.random.default_rng(0).random((1, 4, 5, 2), "float32") + 1
    image = image > 1.3 if name in TAKES_A_MASK else image
    return [(image,) * count] if name == "divergence" else [image] * len(ARRAYS[name])


def same_results(name, given, option, values, **others):
    """Asserts that all values of an option give the same results as the first."""
    expected, *rest = (
        jax.tree.leaves(PUBLIC[name](*given, **{option: value}, **others))
        for value in values
    )
    for found in rest:
        for ours, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, other)


@with_option("axes")
def test_axes_may_be_any_sequence_of_integers(name):
    several = [
        *((1, 2), [1, 2], range(1, 3), collections.UserList([1, 2]), (-3, -2)),
        *((np.int64(1), np.uint8(2)), np.array([1, 2]), jnp.array([1, 2])),
    ]
    same_results(name, given_to(name), "axes", several)


@with_option("axes")
def test_axes_may_be_an_integer(name):
    one = [(2,), [2], 2, -2, np.int64(2), np.array(2), jnp.int32(2)]
    if name == "gradient_orientation":
        for axes in one:
            refuses(ValueError, "^axes must be two or more", name, axes=axes)
    elif name in TAKES_A_FIELD:
        for axes in one:
            refuses(ValueError, "^axes must be 2 axes of field", name, axes=axes)
    else:
        same_results(name, given_to(name, 1), "axes", one)


@with_option("spacing")
def test_spacing_may_be_any_sequence_of_numbers(name):
    each = [
        *((1, 2), [1.0, 2.0], range(1, 3), collections.UserList([1, 2])),
        *((np.float32(1), np.int64(2)), (np.array(1.0), jnp.float32(2))),
        *(np.array([1.0, 2.0]), np.float16([1, 2]), jnp.array([1, 2])),
    ]
    same_results(name, given_to(name), "spacing", each)
    one = [2, 2.0, np.float32(2), np.int64(2), np.array(2), jnp.float32(2), (2, 2)]
    same_results(name, given_to(name), "spacing", one)


@with_option("sigma")
def test_sigma_may_be_any_sequence_of_numbers(name):
    each = [(1, 2), [1.0, 2.0], (np.float32(1), jnp.int32(2)), np.array([1.0, 2.0])]
    same_results(name, given_to(name), "sigma", each)
    same_results(name, given_to(name), "sigma", [2, (2, 2), np.array([2])[0]])


@with_option("boundary")
def test_boundary_may_be_any_sequence_of_names(name):
    each = [("edge", "wrap"), ["edge", "wrap"], collections.UserList(["edge", "wrap"])]
    same_results(name, given_to(name), "boundary", each)
    same_results(name, given_to(name), "boundary", ["edge", ("edge", "edge")])
    words = (
        "^boundary must be one value for all axes, or a sequence with one for each of "
    )
    refuses(ValueError, words, name, boundary=["edge"])


def test_gradients_may_be_any_sequence():
    (pair,) = given_to("divergence")
    expected = jig.divergence(pair)
    for sequence in ([*pair], collections.UserList(pair)):
        np.testing.assert_array_equal(jig.divergence(sequence), expected)


PIXELS = np.ones((1, 2, 3, 1), "float32")
TV, GMS = "losses.total_variation", "losses.gradient_magnitude_similarity"
MATCHING, LAPLACIAN = "losses.gradient_matching", "losses.laplacian_edge"
AXES_TOGETHER = (
    "since each penalty is then of the differences along all axes together; use "
    "reduction='mean'"
)
WEIGHT = "weights must be a number of at least 0, or an array of such numbers, got"
DELTA = "delta must be a positive number, or an array of such numbers"
ONE_ARRAY = "pass one array, with the weight of each pixel"
NOT_ONE = "since each penalty is then not of one difference along one axis"
PARTLY_NAN = np.where(np.arange(3) == 1, np.nan, PIXELS[..., 0])[..., None]
NUMBERS = {  # the function, its options, and the whole message
    "axis_mean, isotropic": (
        TV,
        {"reduction": "axis_mean", "isotropic": True},
        f"reduction must not be 'axis_mean' with isotropic=True, {AXES_TOGETHER}",
    ),
    "axis_mean of a Laplacian": (
        MATCHING,
        {"reduction": "axis_mean", "operator": "laplacian"},
        f"reduction must not be 'axis_mean' with operator='laplacian', {AXES_TOGETHER}",
    ),
    "an array of constants": (
        GMS,
        {"constant": np.ones(3)},
        "constant must be one positive number, got an array of shape (3,)",
    ),
    "a list of constants": (
        GMS,
        {"constant": [1.0]},
        "constant must be one positive number, got [1.0]",
    ),
    "weights by axis, coupled": (
        TV,
        {"weights": (1.0, 1.0), "channel_coupling": True},
        f"weights must be one array with channel_coupling=True, {NOT_ONE}, got a "
        f"sequence of 2; {ONE_ARRAY}",
    ),
    "weights by axis, order 2": (
        TV,
        {"weights": (1.0, 1.0), "order": 2},
        f"weights must be one array with order=2, {NOT_ONE}, got a sequence of 2; "
        f"{ONE_ARRAY}",
    ),
    "weights by axis, without axes": (
        LAPLACIAN,
        {"weights": (1.0, 1.0)},
        "weights must be one array, since this loss takes one weight for each pixel, "
        f"got a sequence of 2; {ONE_ARRAY}",
    ),
    "three weights": (
        TV,
        {"weights": (1.0, 1.0, 1.0)},
        "weights must be one array, or a sequence with one for each of the axes, got a "
        f"sequence of 3; {ONE_ARRAY}, or 2 arrays in the order of axes",
    ),
    "mask as weights": (
        TV,
        {"weights": PIXELS > 0},
        f"{WEIGHT} an array of bool; a mask is passed as where",
    ),
    "complex weights": (
        TV,
        {"weights": PIXELS * 1j},
        f"{WEIGHT} an array of complex64; pass weights.real or abs(weights)",
    ),
    "masked weights": (
        TV,
        {"weights": (1.0, np.ma.masked_less(PIXELS, 2))},
        "weights[1] must be an array without a mask, got a masked array; pass "
        "numpy.ma.getdata(weights[1])",
    ),
    "negative weights": (
        TV,
        {"weights": jnp.array([-0.3, 0.5, 1])[:, None]},
        f"{WEIGHT} an array with a smallest value of -0.3",
    ),
    "a weight of NaN": (
        TV,
        {"weights": PARTLY_NAN},
        f"{WEIGHT} an array with a NaN; pass where= for pixels without a weight",
    ),
    "infinite weights": (
        TV,
        {"weights": PIXELS * np.inf},
        f"{WEIGHT} an array with an infinite value",
    ),
    "large weights": (
        TV,
        {"weights": np.full(3, 1e300)[:, None]},
        f"{WEIGHT} an array with a value that float32 does not hold",
    ),
    "a delta of 0": (
        TV,
        {"penalty": "huber", "delta": np.arange(3.0)[:, None]},
        f"{DELTA} (1.2e-38 or more in float32), got an array with a smallest value of "
        "0",
    ),
    "a delta of NaN": (
        TV,
        {"penalty": "huber", "delta": PARTLY_NAN},
        f"{DELTA} (1.2e-38 or more in float32), got an array with a NaN",
    ),
}


@pytest.mark.parametrize(("name", "options", "sentence"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_and_arrays_of_losses(name, options, sentence):
    given = [PIXELS] * len(ARRAYS[name])
    with pytest.raises((TypeError, ValueError), match=whole(sentence)):
        PUBLIC[name](*given, **options)


def test_weights_of_invalid_pixels_are_not_checked():
    """Not even for NaNs with `jax.debug_nans`, also by the weights."""
    valid = ~np.isnan(PARTLY_NAN)

    def loss(weights):
        return jig.losses.total_variation(PIXELS, weights=weights, where=valid).sum()

    with jax.debug_nans(True):
        slope = jax.grad(loss)(jnp.asarray(PARTLY_NAN, "float32"))
    assert np.isfinite(slope).all()


def test_an_empty_tuple_of_parts():
    words = "parts must be a tuple of one or more arrays, such as (dy, dx), got an "
    for empty, kind in [((), "tuple"), ([], "list")]:
        with pytest.raises(TypeError, match=whole(f"{words}empty {kind}")):
            jig.magnitude(empty)


# Names of earlier versions.


def test_errors_for_old_values_name_the_present_ones():
    assert old_names.VALUES.keys() == {"boundary", "implementation"}
    takes = {"boundary": get_args(Boundary), "implementation": get_args(Implementation)}
    for option, values in old_names.VALUES.items():
        for old, new in values.items():
            assert new in takes[option]
            if old in takes[option]:
                continue
            remark = "; zeros beyond the border are 'constant'" if old == "zero" else ""
            words = (
                rf"^{option} must be .*, got '{old}'; '{old}' is now '{new}'{remark}$"
            )
            for name in has(option):
                refuses(ValueError, words, name, **{option: old})


@with_option("boundary")
def test_the_error_for_boundary_zero_distinguishes_zero_padding(name):
    words = "'zero' is now 'interior'; zeros beyond the border are 'constant'$"
    refuses(ValueError, words, name, boundary="zero")
    refuses(ValueError, words, name, boundary=("edge", "zero"))


@with_option("delta")
def test_the_error_for_the_old_name_of_delta(name):
    if "scale" in PARAMETERS[name]:  # of the operator
        refuses(ValueError, "^scale must be one of ", name, scale=1.0)
        return
    *_, plain = name.split(".")
    words = f"^{plain} has no option scale; it is delta$"
    refuses(TypeError, words, name, scale=1.0)
    refuses(TypeError, words, name, scale=None, delta=1.0)
    refuses(TypeError, "unexpected keyword argument 'scales'$", name, scales=1.0)


@with_option("spacing")
@pytest.mark.parametrize("spacing", [1e-200, 1e200, 1e-39, 1e39])
def test_spacing_must_not_overflow_or_underflow_the_taps(name, spacing):
    if name == "smooth" and 1e-150 < spacing < 1e150:
        return  # its taps do not depend on it
    refuses(ValueError, "^spacing must be ", name, spacing=spacing)


LOSS_PARAMETERS = [
    ("losses.total_variation", "delta", {"penalty": "huber"}),
    ("losses.total_variation", "delta", {"penalty": "charbonnier", "isotropic": True}),
    (
        "losses.total_variation",
        "delta",
        {"penalty": "charbonnier", "channel_coupling": True},
    ),
    ("losses.gradient_matching", "delta", {"penalty": "huber"}),
    ("losses.laplacian_edge", "delta", {}),
    ("losses.edge_aware_smoothness", "delta", {"penalty": "charbonnier"}),
    (
        "losses.edge_aware_smoothness",
        "delta",
        {"penalty": "charbonnier", "order": 2, "mean_normalized": True},
    ),
    ("losses.edge_aware_smoothness", "edge_weight", {}),
    ("losses.edge_aware_smoothness", "edge_weight", {"edge_weighting": "gaussian"}),
]
of_parameters = pytest.mark.parametrize(("name", "option", "options"), LOSS_PARAMETERS)


def test_the_list_of_loss_parameters_is_complete():
    found = {(name, option) for name, option, _ in LOSS_PARAMETERS}
    assert found == {
        (name, option)
        for option in ARRAYS_OR_NUMBERS
        for name in has(option)
        if name.startswith("losses.")
    }


@of_parameters
def test_parameters_must_be_positive_real_numbers(name, option, options):
    given = {"name": name, "shape": (2, 4, 4, 3), **options}
    bad = [-1, np.nan, np.inf, "1", [1.0], True, 1e39, np.full(1, -1.0)]
    bad += [] if option == "edge_weight" else [0, 1e-46]  # the latter is 0 in float32
    bad += [] if PARAMETERS[name][option].default is None else [None]
    for value in bad:
        refuses(ValueError, f"^{option} must be a", **given, **{option: value})
    refuses(ValueError, f"^{option} must be .*, got -1$", **given, **{option: -1})
    for value in (1j, np.ones(3, complex), jnp.ones(3, complex), np.ones(3, bool)):
        words = f"^{option} must be a"
        refuses((TypeError, ValueError), words, **given, **{option: value})
    refuses(ValueError, f"^{option} must be a", **given, **{option: jnp.float32(-1)})
    key = jax.random.key(0)
    refuses(TypeError, f"^{option} must have .*got key", **given, **{option: key})


@of_parameters
def test_parameters_broadcast_to_the_image(name, option, options):
    shape = (2, 4, 5, 3)
    draw = np.random.default_rng(0)
    given = [draw.random(shape, "float32") for _ in ARRAYS[name]]
    coupled = "channel_coupling" in options

    def loss(value, given=given):
        return PUBLIC[name](*given, **options, **{option: value})

    number = loss(0.7)
    for same in (np.array([0.7]), jnp.full((1, 1, 1), 0.7), np.full(shape, 0.7)):
        if not (coupled and same.size > 1):
            np.testing.assert_allclose(loss(same), number, 1e-6)
    each = np.float32([0.3, 0.9]).reshape(2, 1, 1, 1)
    one_by_one = [loss(each[i], [a[i : i + 1] for a in given])[0] for i in range(2)]
    np.testing.assert_allclose(loss(each), one_by_one, 1e-6)
    of_pixels = np.broadcast_to(each, (*shape[:-1], 1)).copy()
    np.testing.assert_allclose(loss(of_pixels), one_by_one, 1e-6)
    np.testing.assert_allclose(jax.jit(loss)(of_pixels), one_by_one, 1e-6)
    inside = jax.jit(lambda *given: loss(of_pixels, given))  # a NumPy array
    np.testing.assert_allclose(inside(*given), one_by_one, 1e-6)
    slopes = jax.jit(jax.grad(lambda value: loss(value).sum()))(of_pixels)
    by_each = jax.grad(lambda value: loss(value).sum())(each)
    np.testing.assert_allclose(slopes.sum((1, 2, 3)), by_each.ravel(), 1e-5)
    for wrong in [
        (7,),
        (4, 1, 1, 1),
        (2, 4, 5, 2),
        (1, 2, 4, 5, 3),
        (3,) if coupled else (4,),
    ]:
        refuses(
            ValueError,
            rf"^{option} must broadcast to the shape of [\w ]+, .*, got \({wrong[0]}",
            name,
            shape,
            **options,
            **{option: np.ones(wrong)},
        )


def test_parameters_may_differ_between_channels():
    draw = np.random.default_rng(0)
    image = draw.random((2, 4, 5, 3), "float32")
    each = np.float32([0.1, 0.5, 2])
    total = jig.losses.total_variation(image, penalty="huber", delta=each)
    apart = [
        jig.losses.total_variation(
            image[..., i : i + 1], penalty="huber", delta=each[i]
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(total, np.mean(apart, 0), 1e-6)
    for channels in (3, 6):  # up to 4 channels are summed separately
        guide = draw.random((2, 4, 5, channels), "float32")
        weight = np.linspace(0.1, 2, channels, dtype="float32")
        smooth = jig.losses.edge_aware_smoothness
        weighted = smooth(image, guide, edge_weight=weight)
        np.testing.assert_allclose(weighted, smooth(image, guide * weight), 1e-6)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int16", "float16", "bool"]
)
def test_integer_guides_are_divided_by_the_maximum_of_their_dtype(dtype):
    draw = np.random.default_rng(0)
    field = draw.random((1, 4, 5, 1), "float32")
    guide = draw.integers(0, 2 if dtype == "bool" else 256, (1, 4, 5, 3)).astype(dtype)
    white = np.iinfo(dtype).max if dtype not in ("float16", "bool") else 1
    smooth = jig.losses.edge_aware_smoothness
    expected = smooth(field, guide.astype("float32") / white)
    np.testing.assert_allclose(smooth(field, guide), expected, 1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int32"])
@pytest.mark.parametrize(
    "name", ["image_gradients", "laplacian", "spatial_gradient", "second_derivatives"]
)
@pytest.mark.parametrize("where", [None, True])
def test_requested_integer_dtypes_wrap_around(name, where, dtype):
    """An integer `dtype=` computes modulo its range, as NumPy does."""
    x = np.random.default_rng(0).integers(0, 100, (1, 4, 5, 2)).astype(dtype)
    options = {"scale": "raw"} if "scale" in PARAMETERS[name] else {}
    if name == "second_derivatives":
        options |= {"boundary": "edge", "operator": "sobel"}
    exact = PUBLIC[name](x.astype("int32"), **options)
    if where and "where" in PARAMETERS[name]:
        options["where"] = np.ones((), bool)
    ours = PUBLIC[name](x, dtype=dtype, **options)
    for one, other in zip(*map(jax.tree.leaves, (ours, exact)), strict=True):
        assert one.dtype == dtype
        np.testing.assert_array_equal(one, np.asarray(other).astype(dtype))
