"""Values and dtypes of every implementation, against the oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import (
    COMPLEX,
    DTYPES,
    FLOATS,
    SHAPES,
    SIGNED,
    UNSIGNED,
    random_array,
    tolerance,
    x64_if,
)

import jax_imgrad as jig

# Those of a kernel. What depends on the dtype is how an image is cut into blocks.
shapes_and_dtypes = pytest.mark.parametrize(
    ("shape", "dtype"),
    [*((s, "float32") for s in SHAPES), *((s, "bfloat16") for s in SHAPES[5:15])],
)


def assert_same(ours, wide, dtype):
    """Asserts that `ours` is the exact result of the oracle, rounded to `dtype`."""
    assert ours.dtype == jnp.dtype(dtype)
    assert ours.shape == wide.shape
    if jnp.issubdtype(dtype, jnp.inexact):
        eps, limit = tolerance(dtype), np.abs(wide).max(initial=1)
        np.testing.assert_allclose(oracle.wide(ours), wide, rtol=eps, atol=eps * limit)
    else:
        np.testing.assert_array_equal(np.asarray(ours), wide.astype(dtype))


@shapes_and_dtypes
def test_image_gradients(implementation, shape, dtype):
    image = random_array(shape, dtype)
    ours = jig.image_gradients(image, implementation=implementation)
    for one, wide in zip(ours, oracle.image_gradients(image), strict=True):
        assert_same(one, wide, dtype)


@shapes_and_dtypes
def test_divergence(implementation, shape, dtype):
    pair = random_array(shape, dtype), random_array(shape, dtype, seed=1)
    ours = jig.divergence(pair, implementation=implementation)
    assert_same(ours, oracle.divergence(*pair), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    held = UNSIGNED.get(dtype, dtype)
    with x64_if(dtype, held):
        image = random_array((2, 7, 6, 3), dtype)
        dy, dx = jig.image_gradients(jnp.asarray(image))
        for one, wide in zip((dy, dx), oracle.image_gradients(image), strict=True):
            assert_same(one, wide, held)
        if dtype in UNSIGNED:  # nothing wraps around
            np.testing.assert_array_equal(
                oracle.wide(dy), oracle.image_gradients(image)[0]
            )
        assert_same(jig.divergence((dy, dx)), oracle.divergence(dy, dx), held)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *SIGNED, *UNSIGNED])
def test_dtype_option(dtype):
    if dtype == "bool":
        with pytest.raises(TypeError, match=r"dtype must be .* got 'bool'"):
            jig.image_gradients(np.zeros((1, 2, 2, 1)), dtype=dtype)
        return
    with x64_if(dtype):
        image = random_array((1, 4, 5, 3), "uint4").astype("uint8")
        for one, wide in zip(
            jig.image_gradients(image, dtype=dtype),
            oracle.image_gradients(image.astype(dtype)),
            strict=True,
        ):
            assert_same(one, wide, dtype)


def test_modular_arithmetic_is_an_option():
    image = np.array([10, 5], "uint8").reshape(1, 1, 2, 1)
    assert jig.image_gradients(image)[1].ravel().tolist() == [-5, 0]
    assert jig.image_gradients(image, dtype=image.dtype)[1].ravel().tolist() == [251, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0), (2, 3), (4, 3), (4, 5), (2, 5), (0, 5)])
def test_nan_and_infinity_reach_only_their_differences(implementation, value, at):
    clean = random_array((1, 5, 6, 1), "float32")
    image = clean.copy()
    image[0, *at, 0] = value
    i, j = at
    touched_dy = {(i, j), (i - 1, j)} if i < 4 else {(i - 1, j)}
    touched_dx = {(i, j), (i, j - 1)} if j < 5 else {(i, j - 1)}
    for ours, before, touched in zip(
        jig.image_gradients(image, implementation=implementation),
        jig.image_gradients(clean, implementation=implementation),
        (touched_dy, touched_dx),
        strict=True,
    ):
        not_finite = {
            tuple(p) for p in np.argwhere(~np.isfinite(ours[0, :, :, 0])).tolist()
        }
        assert not_finite == {p for p in touched if min(p) >= 0}
        np.testing.assert_array_equal(
            ours[jnp.isfinite(ours)], before[jnp.isfinite(ours)]
        )


def test_the_divergence_ignores_the_last_row_and_column(implementation):
    dy, dx = (random_array((1, 5, 6, 2), "float32", seed) for seed in (0, 1))
    expected = jig.divergence((dy, dx), implementation=implementation)
    dy[:, -1], dx[:, :, -1] = np.nan, np.inf
    ours = jig.divergence((dy, dx), implementation=implementation)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_the_masks_of_other_platforms(monkeypatch, empty_caches, platform):
    """GPU and TPU use other masks; a CPU computes with these here."""

    def elsewhere(*operands, default, **platforms):
        return platforms.get(platform, default)(*operands)

    monkeypatch.setattr(jax.lax, "platform_dependent", elsewhere)
    image = random_array((2, 5, 7, 3), "float32")
    pair = jig.image_gradients(image)
    for ours, wide in zip(pair, oracle.image_gradients(image), strict=True):
        assert_same(ours, wide, "float32")
    assert_same(jig.divergence(pair), oracle.divergence(*pair), "float32")
    smooth = jax.grad(
        lambda x: jig.losses.total_variation(
            x, penalty="l2", reduction="sum", implementation="xla"
        ).sum()
    )
    flow = -2 * oracle.divergence(*oracle.image_gradients(image))
    np.testing.assert_allclose(smooth(image), flow, atol=1e-5)


def test_blocks_of_the_shipped_size(monkeypatch, empty_caches, implementation):
    from jax_imgrad._backends import pallas_tpu

    monkeypatch.setattr(pallas_tpu, "_BLOCK_BYTES", 1 << 20)
    image = random_array((1, 2400, 200, 3), "float32")
    for ours, wide in zip(
        jig.image_gradients(image, implementation=implementation),
        oracle.image_gradients(image),
        strict=True,
    ):
        assert_same(ours, wide, "float32")


def test_numpy_and_jax_arrays_give_the_same(implementation):
    image = random_array((2, 5, 6, 3), "float32")
    for a, b in zip(
        jig.image_gradients(image, implementation=implementation),
        jig.image_gradients(jnp.asarray(image), implementation=implementation),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
        assert isinstance(a, jax.Array)
