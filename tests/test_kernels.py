"""Taps of the caller's own, Gaussians with a sigma for each axis, and `"central5"`."""

import copy
import functools
import inspect
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array
from hypothesis import given, settings
from hypothesis import strategies as st
from public import ONE_OF_EACH, arrays
from stencil_oracle import BOUNDARIES
from test_checks import whole
from test_conventions import PUBLIC

import jax_imgrad as jig
from jax_imgrad import Kernel, losses

pytestmark = pytest.mark.fast

WITH_OPERATOR = [
    call
    for call in ONE_OF_EACH
    if "operator" in inspect.signature(PUBLIC[call.name]).parameters
]
SECOND = {"second_derivatives", "losses.bending_energy"}
each_function = pytest.mark.parametrize("call", WITH_OPERATOR, ids=str)


def close(ours, wide):
    for one, expected in zip(*map(jax.tree.leaves, (ours, wide)), strict=True):
        atol = 2e-5 * max(1, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(one, expected, rtol=2e-5, atol=atol)


def inner(a, b):
    return sum(np.vdot(x, y) for x, y in zip(a, b, strict=True))


@st.composite
def taps(draw, base):
    """A base, whose sums are those of a derivative, convolved with positive weights."""
    quarters = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
    weights = np.convolve(np.array(quarters) / 4, base)
    start = draw(st.integers(-3, 1))
    return {start + i: float(w) for i, w in enumerate(weights)}


@settings(max_examples=12)
@given(
    weights=st.fixed_dictionaries(
        {"first": taps((-1, 1)), "smoothing": taps((1,)), "second": taps((1, -2, 1))}
    ),
    shape=st.sampled_from([(9,), (5, 7), (3, 4, 3)]),
    boundary=st.sampled_from(BOUNDARIES),
    scale=st.sampled_from(["derivative", "raw"]),
    seed=st.integers(0, 99),
)
def test_any_kernel(weights, shape, boundary, scale, seed):
    """Values are those of the oracle, and the transpose is adjoint."""
    valid = np.random.default_rng(seed).random(shape) > 0.3
    options = {"axes": tuple(range(len(shape))), "boundary": boundary, "scale": scale}

    def results(functions, x, operator):
        gradient, second, smooth = functions
        return [
            *gradient(x, operator=operator, **options),
            *second(x, operator=operator, **options),
            smooth(x, operator=operator, **options),
            smooth(x, operator=operator, where=valid, **options),
        ]

    x = random_array(shape, "float32", seed)
    wide = results(
        (oracle.gradient, oracle.second_derivatives, oracle.smooth), x, weights
    )
    directions = [random_array(shape, "float32", i) for i in range(len(wide))]

    @jax.jit
    def both(x, directions):
        ours = (jig.spatial_gradient, jig.second_derivatives, jig.smooth)
        linear = functools.partial(results, ours, operator=Kernel(**weights))
        return linear(x), jax.linear_transpose(linear, x)(directions)

    ours, transposed = both(x, directions)
    close(ours, wide)
    size = inner(map(np.abs, wide), map(np.abs, directions))
    difference = inner(wide, directions) - inner(transposed, [x])
    assert abs(difference) <= 1e-5 * (size + 1)


@each_function
def test_every_function_takes_a_kernel(call):
    """With the taps of a name it gives the same results, also of raw taps."""
    kernel = Kernel(first=(-1, 0, 1), smoothing=(1, 2, 1), second=(1, -2, 1))
    given = arrays(call, (2, 5, 6, 2))
    has_scale = "scale" in inspect.signature(PUBLIC[call.name]).parameters
    for options in [{}, {"scale": "raw"}][: 1 + has_scale]:
        ours, expected = (
            call.function(operator=operator, **options)(*given)
            for operator in (kernel, "sobel")
        )
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@each_function
def test_missing_taps(call):
    """The message names them, and what to pass."""
    given = arrays(call, (2, 5, 6, 2))
    smoothing = Kernel(smoothing=(1, 2, 1))
    if call.name == "smooth":
        call.function(operator=smoothing)(*given)
        return
    words = (
        "operator must have the taps of a first derivative, got Kernel(smoothing=(1, "
        "2, 1)); pass first= to Kernel, for example first=(-1, 0, 1)"
    )
    with pytest.raises(ValueError, match=whole(words)):
        call.function(operator=smoothing)(*given)
    first = Kernel(smoothing=(1, 2, 1), first=(-1, 0, 1))
    if call.name in SECOND:
        words = (
            f"operator must have the taps of a second derivative, got {first}; pass "
            "second= to Kernel, for example second=(1, -2, 1)"
        )
        with pytest.raises(ValueError, match=whole(words)):
            call.function(operator=first)(*given)
        alone = Kernel(second=(1, -2, 1))  # enough along one axis
        call.function(operator=alone, axes=1)(*given)
        first = Kernel(first=(-1, 0, 1), second=(1, -2, 1))
    call.function(operator=first)(*given)


EQUAL = [
    Kernel(first=(-1, 0, 1)),
    Kernel(first=[-1.0, 0.0, 1.0], smoothing=(0, 1, 0)),
    Kernel(first={1: 1, -1: -1}, second=None),
    Kernel(first=np.array([-1, 0, 1], "int8"), smoothing=np.ones(1)),
    Kernel(first=jnp.array([-1.0, 0.0, 1.0]), smoothing={0: jnp.float32(1)}),
    Kernel(first=(np.float16(-1), np.int64(0), True + 0)),
    Kernel(first=(0, -1, 0, 1, 0)),
]


def test_equal_kernels():
    assert len({*EQUAL}) == 1
    others = [
        Kernel(first=(-1, 1)),
        Kernel(first=(-1, 1, 0)),
        Kernel(first=(-1, 0, 1), smoothing=(1, 2, 1)),
        Kernel(first=(-1, 0, 1), second=(1, -2, 1)),
    ]
    assert len({*EQUAL, *others}) == 5
    assert EQUAL[0] != "central"
    for kernel in (*EQUAL, *others):
        assert copy.deepcopy(kernel) == pickle.loads(pickle.dumps(kernel)) == kernel
        assert eval(repr(kernel), {"Kernel": Kernel}) == kernel
    with pytest.raises(AttributeError):
        others[0].first = ((0, 1),)


def test_the_text_of_a_kernel_is_what_was_passed():
    for text in [
        "Kernel(first=(-1, 0, 1))",
        "Kernel(first={-1: -1, 0: 1}, second=(1, -2, 1))",
        "Kernel(smoothing=(0.5, 0.5))",
    ]:
        assert repr(eval(text)) == text


def test_one_program_for_equal_kernels():
    traces = []

    @functools.partial(jax.jit, static_argnames="operator")
    def slope(x, operator):
        traces.append(operator)
        return jig.spatial_gradient(x, operator=operator, axes=0)

    for kernel in EQUAL:
        slope(np.arange(4.0), operator=kernel)
    assert len(traces) == 1


def test_taps_of_integers():
    """Of raw integer taps the results are integers."""
    x = random_array((9,), "uint8")
    for kernel, dtype in [
        (Kernel(first=(-1, 0, 1)), "int16"),
        (Kernel(first=(-1.0, 0.0, 1.0)), "int16"),
        (Kernel(first=(-200, 0, 200)), "int32"),
        (Kernel(first=(-0.5, 0, 0.5)), "float32"),
    ]:
        (ours,) = jig.spatial_gradient(x, operator=kernel, axes=0, scale="raw")
        weight = kernel.first[1][1]
        expected = np.convolve(x.astype(float), [weight, 0, -weight], "same")
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours[1:-1], expected[1:-1])


def test_rounded_taps_of_a_derivative_are_made_to_sum_to_0():
    """Unless they are raw. Constant images have no derivatives."""
    kernel = Kernel(
        first=(-0.333333, 0.000001, 0.333333), second=(0.3333333, -2 / 3, 0.3333333)
    )
    x = np.full(5, 1e3)
    with jax.enable_x64(True):
        options = {"operator": kernel, "axes": 0, "boundary": "edge"}
        for function in (jig.spatial_gradient, jig.second_derivatives):
            (ours,) = function(x, **options)
            np.testing.assert_allclose(ours, 0, atol=1e-12)
            (raw,) = function(x, scale="raw", **options)
            assert np.abs(raw).min() > 1e-5


GIVEN = "must be a sequence of weights, or a mapping {offset: weight}"
WRONG = {  # the arguments and the whole message
    "a number": (
        {"first": 1},
        TypeError,
        f"first {GIVEN}, got 1; pass (-1, 1), for example",
    ),
    "text": (
        {"first": "sobel"},
        TypeError,
        f"first {GIVEN}, got 'sobel'; pass (-1, 1), for example",
    ),
    "no smoothing": (
        {"smoothing": None},
        TypeError,
        f"smoothing {GIVEN}, got None; pass (1,), for example",
    ),
    "a matrix": (
        {"first": np.ones((3, 3))},
        ValueError,
        f"first {GIVEN}, got an array of shape (3, 3); pass the weights along one "
        "axis: a Kernel is a product of stencils along the axes",
    ),
    "words": (
        {"first": ("a", "b")},
        ValueError,
        "first must be finite real numbers, got ('a', 'b')",
    ),
    "NaN": (
        {"second": (1, math.nan, 1)},
        ValueError,
        "second must be finite real numbers, got (1, nan, 1)",
    ),
    "complex numbers": (
        {"smoothing": np.array([1j])},
        ValueError,
        "smoothing must be finite real numbers, got array([0.+1.j])",
    ),
    "bools": (
        {"smoothing": (True,)},
        ValueError,
        "smoothing must be finite real numbers, got (True,)",
    ),
    "fractional offsets": (
        {"first": {-0.5: -1, 0.5: 1}},
        ValueError,
        "first must have integers as offsets, got -0.5; in a mapping {offset: weight}, "
        "offsets are the keys",
    ),
    "far away": (
        {"first": {0: -1, 10_001: 1}},
        ValueError,
        "first must reach at most 10000 pixels, got an offset of 10001; subsample the "
        "image first",
    ),
    "tiny": (
        {"smoothing": (1e-19, 1, 1e-19)},
        ValueError,
        "smoothing must be 0 or between 1e-18 and 1e+18, but for the sign, got a "
        "weight of 1e-19; set it to 0",
    ),
    "huge": (
        {"first": (-1e300, 1e300)},
        ValueError,
        "first must be 0 or between 1e-18 and 1e+18, but for the sign, got a weight of "
        "-1e+300; divide all weights by it",
    ),
    "empty": (
        {"first": ()},
        ValueError,
        "first must have a weight that is not 0, got (); pass (-1, 1), for example",
    ),
    "zeros": (
        {"second": {0: 0.0}},
        ValueError,
        "second must have a weight that is not 0, got {0: 0.0}; pass (1, -2, 1), for "
        "example",
    ),
    "a sum that is not 0": (
        {"first": (-1, 0, 1.5)},
        ValueError,
        "first must be 0 for a constant, but the sum of the weights is 0.5, got (-1, "
        "0, 1.5); subtract that from one of them, or pass smoothing=",
    ),
    "another one": (
        {"second": (1, -2, 1.25)},
        ValueError,
        "second must be 0 for a constant, but the sum of the weights is 0.25, got (1, "
        "-2, 1.25); subtract that from one of them, or pass smoothing=",
    ),
    "a first derivative as second": (
        {"second": (-1, 0, 1)},
        ValueError,
        "second must be 0 for a ramp, but the sum of the weights times their offsets "
        "is 2, got (-1, 0, 1); pass the taps of a first derivative as first",
    ),
    "a second derivative as first": (
        {"first": (1, -2, 1)},
        ValueError,
        "first must give a ramp a slope, but the sum of the weights times their "
        "offsets is 0, got (1, -2, 1); pass the taps of a second derivative as second",
    ),
    "a third derivative as second": (
        {"second": (-1, 2, 0, -2, 1)},
        ValueError,
        "second must give a parabola a second derivative, but the sum of the weights "
        "times k² is 0, got (-1, 2, 0, -2, 1); pass the taps of a second derivative, "
        "such as (1, -2, 1)",
    ),
    "a derivative as smoothing": (
        {"smoothing": (-1, 0, 1)},
        ValueError,
        "smoothing must not be 0 for a constant, but the sum of the weights is 0, got "
        "(-1, 0, 1); pass the taps of a derivative as first or second",
    ),
}


@pytest.mark.parametrize(("options", "error", "words"), WRONG.values(), ids=WRONG)
def test_wrong_taps(options, error, words):
    with pytest.raises(error, match=whole(words)):
        Kernel(**options)


def test_remedies_of_wrong_taps():
    """What the messages above name is accepted."""
    Kernel(first=(-1, 1), second=(1, -2, 1), smoothing=(1,))
    Kernel(first=(-1, 0, 1.5 - 0.5), second=(1, -2, 1.25 - 0.25))
    Kernel(smoothing=(0, 1, 0), first=(-1e300 / -1e300, 1e300 / -1e300))
    Kernel(first=(-1, 0, 1))  # which was passed as second, or as smoothing


def test_traced_taps():
    words = r"^first must be finite real numbers, got .*which is traced; options are"
    for kernel in (lambda w: Kernel(first=w), lambda w: Kernel(first=(-w[0], w[0]))):
        with pytest.raises(ValueError, match=words):
            jax.jit(lambda w, kernel=kernel: kernel(w) and w)(jnp.array([-1.0, 1.0]))


# Gaussians.

FUNCTIONS = ["spatial_gradient", "second_derivatives", "smooth"]
ORACLES = [oracle.gradient, oracle.second_derivatives, oracle.smooth]


def test_a_sigma_for_each_axis():
    """They follow the order of the axes, as the spacing does."""
    x = random_array((7, 8), "float32")
    operator = ("gaussian", (0.6, 1.1))
    options = {"operator": operator, "axes": (1, 0), "boundary": "symmetric"}

    def found(*operators):
        return jax.jit(
            lambda x: [
                [getattr(jig, f)(x, **(options | {"operator": one})) for f in FUNCTIONS]
                for one in operators
            ]
        )(x)

    wide = [function(x, **options) for function in ORACLES]
    same = [["gaussian", [0.6, 1.1]], ("gaussian", np.array([0.6, 1.1]))]
    for each in found(operator, *same):
        close(each, wide)
    one_sigma = [
        oracle_of(x, **(options | {"operator": ("gaussian", 0.6)}))
        for oracle_of in ORACLES
    ]
    (equal,) = found(("gaussian", (0.6, 0.6)))
    close(equal, one_sigma)


def test_sigma_in_units_of_spacing():
    x = random_array((7, 8), "float32")
    options = {"axes": (0, 1), "boundary": "edge", "spacing": (2.0, 0.5)}
    for name in FUNCTIONS:
        for sigma, pixels in [(0.8, (0.4, 1.6)), ((0.4, 0.8), (0.2, 1.6))]:
            ours, expected = (
                getattr(jig, name)(x, operator=operator, **options)
                for operator in (("gaussian", sigma, "spacing"), ("gaussian", pixels))
            )
            for one, other in zip(*map(jax.tree.leaves, (ours, expected)), strict=True):
                np.testing.assert_array_equal(one, other)


def test_sigmas_of_losses_follow_their_axes():
    """Losses sort the axes."""
    image = random_array((2, 7, 8, 1), "float32")
    for loss in (
        functools.partial(losses.gradient_matching, targets=0 * image, scales=1),
        losses.bending_energy,
    ):
        turned, expected, other = (
            loss(image, axes=axes, spacing=h, operator=("gaussian", sigma, "spacing"))
            for axes, h, sigma in [
                ((2, 1), (2.0, 1.0), (1.0, 0.75)),
                ((1, 2), (1.0, 2.0), (0.75, 1.0)),
                ((1, 2), (1.0, 2.0), (1.0, 0.75)),
            ]
        )
        np.testing.assert_array_equal(turned, expected)
        assert not np.allclose(expected, other)


@each_function
def test_sigmas_that_are_too_large(call):
    """They would not end: a sigma of 1e9 has eight billion taps."""
    given = arrays(call, (2, 5, 6, 2))
    name = "operator=('gaussian', sigma{}): sigma"
    limits = (
        "must be a number of at least 0.125 and at most 2500, in pixels, or one for"
    )
    for sigma, unit, got in [
        (1e9, (), "1000000000.0"),
        ((1.0, 2501), (), "(1.0, 2501)"),
        (2.0, ("spacing",), "2.0, with spacing [0.0005, 1.0]"),
    ]:
        words = (
            f"{name.format(', spacing' if unit else '')} {limits} each axis, got {got}"
        )
        options = {"spacing": (0.0005, 1.0)} if unit else {}
        with pytest.raises(ValueError, match=whole(words)):
            call.function(operator=("gaussian", sigma, *unit), **options)(*given)


@pytest.mark.parametrize(
    "operator",
    [
        ("gaussian",),
        ("gaussian", 1.0, "pixels"),
        ("gaussian", 1, "spacing", 2),
        ("box", 1),
    ],
)
def test_other_tuples(operator):
    with pytest.raises(ValueError, match=r"^operator must be one of .*jax_imgrad\.K"):
        jig.spatial_gradient(np.ones((4, 4)), operator=operator, axes=(0, 1))


# Fourth-order differences.


def test_central5_is_of_fourth_order():
    """With half the spacing, the error of the derivatives of a sine is a sixteenth."""

    def errors(pixels):
        h = 2 * np.pi / pixels
        x = h * np.arange(pixels)
        options = {"operator": "central5", "axes": 0, "boundary": "wrap", "spacing": h}
        with jax.enable_x64(True):
            (first,) = map(np.asarray, jig.spatial_gradient(np.sin(x), **options))
            (second,) = map(np.asarray, jig.second_derivatives(np.sin(x), **options))
        return np.array(
            [np.abs(first - np.cos(x)).max(), np.abs(second + np.sin(x)).max()]
        )

    h = 2 * np.pi / 32
    np.testing.assert_allclose(errors(32), [h**4 / 30, h**4 / 90], rtol=0.02)
    np.testing.assert_allclose(errors(32) / errors(64), 16, rtol=0.02)
