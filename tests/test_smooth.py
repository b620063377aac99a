"""Smoothing: means in a window, also of valid pixels alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array, x64_if
from stencil_oracle import BOUNDARIES
from test_checks import whole

import jax_imgrad as jig
from jax_imgrad import Kernel

pytestmark = pytest.mark.fast

BOXES = {"smoothing": (1, 1)}  # the mean of a pixel and the next one
OPERATORS = [("gaussian", 0.6), ("gaussian", (0.4, 0.8)), "sobel5", BOXES]
# Each boundary with an operator, and each operator with a boundary.
CASES = [
    *((OPERATORS[i % 4], boundary) for i, boundary in enumerate(BOUNDARIES)),
    ("central", "edge"),  # which does not smooth
]


def ours(operator):
    return Kernel(**operator) if isinstance(operator, dict) else operator


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
def test_values(implementation):
    """Of all pixels and of valid ones, whose neighbors are NaN, and raw."""
    shape = (2, 7, 8, 2)
    x, valid = (
        random_array(shape, "float32"),
        np.random.default_rng(0).random(shape) > 0.4,
    )

    def each(smooth, x, masked, **more):
        found = {}
        for operator, boundary in CASES:
            options = {"operator": operator, "boundary": boundary}
            if smooth is jig.smooth:
                options |= {"operator": ours(operator), **more}
            found[f"{options}"] = [
                smooth(x, **options),
                smooth(x, scale="raw", **options),
                smooth(masked, where=valid, **options),
                smooth(masked, where=valid, scale="raw", **options),
            ]
        return [*found.values()]

    masked = np.where(valid, x, np.nan).astype("float32")
    found = jax.jit(
        lambda *arrays: each(jig.smooth, *arrays, implementation=implementation)
    )(x, masked)
    wide = each(oracle.smooth, x, x)
    for case, one, other in zip(CASES, found, wide, strict=True):
        for part, expected in zip(one, other, strict=True):
            size = np.abs(expected).max()
            np.testing.assert_allclose(
                part, expected, rtol=1e-5, atol=1e-6 * size, err_msg=str(case)
            )


def test_the_transpose_with_a_mask_is_exact():
    valid = np.random.default_rng(0).random((6, 7)) > 0.5
    x, y = (random_array((6, 7), "float32", seed) for seed in (0, 1))

    def smooth(x):
        return jig.smooth(x, axes=(0, 1), boundary="reflect", where=valid)

    (back,) = jax.linear_transpose(smooth, x)(y)
    assert np.vdot(smooth(x), y) == pytest.approx(float(np.vdot(x, back)), rel=1e-5)
    np.testing.assert_array_equal(back[~valid], 0)
    with_nan = np.where(valid, x, np.nan).astype("float32")
    slope = jax.grad(lambda x: jnp.sum(smooth(x) ** 2))(with_nan)
    np.testing.assert_allclose(slope, jax.linear_transpose(smooth, x)(2 * smooth(x))[0])


def test_constants_and_windows_without_valid_pixels():
    """A constant stays, beside invalid pixels too; an empty window gives 0."""
    x = np.full((9, 9), 3, "float32")
    valid = np.ones((9, 9), bool)
    valid[:, 3:] = False
    box = Kernel(smoothing=(1, 1, 1))
    for boundary in ("edge", "constant"):  # whose zeros are no pixels
        options = {"operator": box, "axes": (0, 1), "boundary": boundary}
        found = jig.smooth(x, where=valid, **options)
        np.testing.assert_allclose(found[:, :4], 3, rtol=1e-6)
        np.testing.assert_array_equal(found[:, 4:], 0)
    padded = jig.smooth(x, **options)
    np.testing.assert_allclose(padded[0, 0], 3 * 4 / 9, rtol=1e-6)
    inside = jig.smooth(x, **(options | {"boundary": "interior"}))
    np.testing.assert_allclose(inside, np.pad(x[1:-1, 1:-1], 1), rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_dtypes(masked):
    where = np.ones((), bool) if masked else None
    for dtype, held in [
        *(("bfloat16",) * 2, ("float16",) * 2, ("float64",) * 2, ("complex64",) * 2),
        *(("uint8", "float32"), ("int32", "float32"), ("bool", "float32")),
    ]:
        with x64_if(dtype):
            x = random_array((5, 6), dtype)
            found = jig.smooth(x, axes=(0, 1), where=where)
            assert found.dtype == held
            wide_x = x if x.dtype.kind == "c" else np.asarray(x, float)
            wide = oracle.smooth(wide_x, axes=(0, 1))
            half = 0.51 * float(jnp.finfo(held).eps)
            rtol, atol = max(half, 1e-12), 1e-6 * np.abs(wide).max()
            if jnp.finfo(held).bits > 16:
                rtol = 1e-5
            if dtype == "float64":
                atol = 1e-12
            found = np.asarray(found).astype(wide.dtype)
            np.testing.assert_allclose(found, wide, rtol=rtol, atol=atol)
    with pytest.raises(TypeError, match=r"^dtype must be floating or complex"):
        jig.smooth(x, axes=(0, 1), dtype="int32")


def test_a_nan_that_is_not_masked_stays():
    x = np.ones(9, "float32")
    x[4] = np.nan
    for where in (None, np.arange(9) != 0):
        found = jig.smooth(x, operator="sobel", axes=0, where=where)
        np.testing.assert_array_equal(np.isnan(found), np.isin(np.arange(9), (3, 4, 5)))


def test_negative_taps_have_no_mean_over_valid_pixels():
    sharp = Kernel(smoothing=(-1, 4, -1))
    x = random_array((4, 5), "float32")
    words = (
        "operator must have smoothing taps of at least 0 with where=, since the result "
        "is divided by the sum of those at valid pixels, got Kernel(smoothing=(-1, 4, "
        "-1)); pass a Gaussian, or smooth without a mask"
    )
    valid = np.ones((4, 5), bool)
    with pytest.raises(ValueError, match=whole(words)):
        jig.smooth(x, operator=sharp, axes=(0, 1), where=valid)
    jig.smooth(x, operator=("gaussian", 1), axes=(0, 1), where=valid)
    jig.smooth(x, operator=sharp, axes=(0, 1))
    negative = Kernel(smoothing=(-1, -2, -1))  # divided by -4
    np.testing.assert_array_equal(
        jig.smooth(x, operator=negative, axes=(0, 1), where=valid),
        jig.smooth(x, operator="sobel", axes=(0, 1), where=valid),
    )
