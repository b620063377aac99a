"""GMSD: the published codes, evaluated literally in NumPy, and its derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import random_array

from jax_imgrad import losses

SIZES = [(8, 8), (7, 8), (8, 7), (7, 9), (2, 3), (1, 6)]


def gmsd(p, t, **options):
    """Of two gray images, in float64, and its derivative by the first."""

    def loss(p, t):
        (one,) = losses.gradient_magnitude_similarity(p, t, axes=(1, 2), **options)
        return one

    with jax.enable_x64(True):
        value, derivative = jax.value_and_grad(loss)(p[None], t[None])
    return float(value), np.asarray(derivative[0])


def pair(size, seed=0):
    draw = np.random.default_rng(seed)
    return draw.random(size), draw.random(size)


def piq(x, y, data_range=1.0, t=170 / 255**2):
    """piq 0.8, piq/gmsd.py, `gmsd` of gray images [H, W]."""

    def correlate(image, kernel):  # with one zero at each side
        h, w = image.shape
        padded = np.pad(image, 1)
        out = np.zeros((h, w))
        for i in range(3):
            for j in range(3):
                out += kernel[i, j] * padded[i : i + h, j : j + w]
        return out

    def magnitude(image):
        up = max(image.shape[0] % 2, image.shape[1] % 2)
        image = np.pad(image / data_range, ((0, up), (0, up)))
        h, w = image.shape[0] // 2, image.shape[1] // 2
        image = image[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3))
        kernel = np.array([[-1, 0, 1]] * 3) / 3
        return np.sqrt(correlate(image, kernel) ** 2 + correlate(image, kernel.T) ** 2)

    a, b = magnitude(x), magnitude(y)
    similarity = (2 * a * b + t) / (a**2 + b**2 + t)
    return np.sqrt(
        np.mean((similarity - similarity.mean()) ** 2)
    ), 1 - similarity.mean()


def matlab(first, second):
    """The code of the authors, of gray images from 0 to 255."""

    def conv2_same(image, kernel):
        (h, w), (m, n) = image.shape, kernel.shape
        full = np.zeros((h + m - 1, w + n - 1))
        for i in range(m):
            for j in range(n):
                full[i : i + h, j : j + w] += kernel[i, j] * image
        top, left = m // 2, n // 2  # of an even kernel, MATLAB takes the later center
        return full[top : top + h, left : left + w]

    constant, dx = 170, np.array([[1, 0, -1]] * 3) / 3
    magnitudes = []
    for image in (first, second):
        mean = conv2_same(image, np.ones((2, 2)) / 4)[::2, ::2]
        along = conv2_same(mean, dx), conv2_same(mean, dx.T)
        magnitudes.append(np.sqrt(along[0] ** 2 + along[1] ** 2))
    a, b = magnitudes
    similarity = (2 * a * b + constant) / (a**2 + b**2 + constant)
    return np.std(similarity, ddof=1), similarity.size


@pytest.mark.parametrize("size", SIZES)
def test_piq_and_the_code_of_the_authors(size):
    """And the derivative, by central differences of piq's formula."""
    p, t = pair(size)
    expected = piq(p, t)
    for pooling, one in zip(("deviation", "mean"), expected, strict=True):
        value, derivative = gmsd(p, t, pooling=pooling)
        np.testing.assert_allclose(value, one, 1e-9)
        by = random_array(size, "float64", seed=9)
        which = 0 if pooling == "deviation" else 1
        up, down = (piq(p + h * by, t)[which] for h in (1e-6, -1e-6))
        np.testing.assert_allclose(np.vdot(derivative, by), (up - down) / 2e-6, 1e-5)
    theirs, n = matlab(255 * p, 255 * t)
    np.testing.assert_allclose(expected[0] * np.sqrt(n / (n - 1)), theirs, 1e-9)


def test_bytes_are_scaled_by_their_dtype():
    p, t = (np.round(255 * image).astype("uint8")[None] for image in pair((8, 9)))
    loss = functools.partial(losses.gradient_magnitude_similarity, axes=(1, 2))
    expected, _ = piq(p[0], t[0], data_range=255)
    np.testing.assert_allclose(loss(p, t), expected, 1e-5)
    half = (t / 255).astype("float32")  # each image by its own dtype
    np.testing.assert_allclose(loss(p, half), expected, 1e-5)
    in_bytes = loss(p.astype("float32"), t.astype("float32"), constant=170.0)
    np.testing.assert_allclose(in_bytes, expected, 1e-5)


def test_channels_are_compared_one_by_one_and_pooled_together():
    p, t = (random_array((2, 6, 7, 3), "float32", seed) for seed in (0, 1))
    loss = losses.gradient_magnitude_similarity
    side_by_side = [np.moveaxis(image, -1, 1) for image in (p, t)]
    np.testing.assert_allclose(loss(p, t), loss(*side_by_side, axes=(-2, -1)), 1e-6)
    each = [loss(p[..., [c]], t[..., [c]], pooling="mean") for c in range(3)]
    np.testing.assert_allclose(loss(p, t, pooling="mean"), np.mean(each, 0), 1e-5)
    luminance = np.float32([[0.299], [0.587], [0.114]])
    p, t = abs(p) / 4, abs(t) / 4
    gray = [
        piq(*(image @ luminance[:, 0] for image in two))[0]
        for two in zip(p, t, strict=True)
    ]
    np.testing.assert_allclose(loss(p @ luminance, t @ luminance), gray, 1e-5)


FLAT = np.full((7, 8), 0.3)
RAMP = np.arange(8) / 8 + np.zeros((7, 1))


@pytest.mark.parametrize("pooling", ["deviation", "mean"])
@pytest.mark.parametrize("image", [FLAT, RAMP, pair((7, 8))[0]])
def test_equal_images_have_neither_loss_nor_derivative(image, pooling):
    """The usual formula has 0/0, the derivative of the root of the variance."""
    value, derivative = gmsd(image, image, pooling=pooling)
    assert value == 0
    assert not derivative.any()

    def loss(p, t):
        return losses.gradient_magnitude_similarity(
            p[None], t[None], axes=(1, 2), pooling=pooling
        ).sum()

    # Both are arguments: XLA would compute the magnitude of a constant at compile time,
    # with other rounding errors than a GPU has.
    image = jnp.asarray(image, "float32")
    assert loss(image, image) == 0
    derivative = jax.jit(jax.grad(loss))
    assert not derivative(image, image).any()
    by = jnp.asarray(random_array(image.shape, "float32"))
    assert np.isfinite(jax.jvp(derivative, (image, image), (by, 0 * by))[1]).all()


def test_flat_images_have_a_finite_derivative():
    """Inside, their magnitudes are 0; at the border, where zeros lie beyond, not."""
    p, t = FLAT, 2 * FLAT
    value, derivative = gmsd(p, t)
    np.testing.assert_allclose(value, piq(p, t)[0], 1e-9)
    assert value > 0.01
    assert np.isfinite(derivative).all()
    up, down = (piq(p + h, t)[0] for h in (1e-6, -1e-6))
    np.testing.assert_allclose(derivative.sum(), (up - down) / 2e-6, 1e-5)


def test_a_constant_similarity_deviates_by_exactly_0():
    """In pairs of pixels, each beside one zero; their mean, rounded, is another."""
    p, t = (np.full((1, 1, 2, 13), v, "float32") for v in (0.1, 0.4))
    loss = functools.partial(losses.gradient_magnitude_similarity, downsampled=False)
    assert loss(p, t, pooling="mean") > 0.1
    value, derivative = jax.value_and_grad(lambda p: loss(p, t).sum())(p)
    assert value == 0
    assert not derivative.any()


@pytest.mark.parametrize("size", [1e-17, 1e-6, 1e18, 1e30])
def test_any_magnitude(size):
    """Images and the root of the constant scaled alike: the same loss."""
    p, t = pair((6, 7))
    expected, derivative = gmsd(p, t, constant=0.01)

    def loss(p):
        return losses.gradient_magnitude_similarity(
            p[None],
            jnp.asarray(size * t[None], "float32"),
            axes=(1, 2),
            constant=0.01 * size**2 if 1e-19 < size < 1e19 else 0.01,
        ).sum()

    value, slopes = jax.value_and_grad(loss)(jnp.asarray(size * p, "float32"))
    if size == 1e30:  # next to it, the constant is 0
        expected, derivative = gmsd(p, t, constant=1e-60)
    np.testing.assert_allclose(value, expected, 1e-4)
    np.testing.assert_allclose(slopes * size, derivative, 1e-3, 1e-5)


def test_small_numbers_have_a_loss():
    """The squares of their dissimilarities are less than the smallest float32."""
    p, t = (1e-11 * image for image in pair((6, 7)))
    loss = functools.partial(losses.gradient_magnitude_similarity, axes=(1, 2))
    value, slopes = jax.value_and_grad(lambda p, t: loss(p, t).sum())(
        jnp.asarray(p[None], "float32"), jnp.asarray(t[None], "float32")
    )
    expected, of_expected = gmsd(p, t)
    assert expected**2 < np.finfo("float32").tiny
    np.testing.assert_allclose(value, expected, 1e-4)
    np.testing.assert_allclose(slopes[0], of_expected, 1e-3, 1e-14)


def test_one_pixel_of_many():
    """The sum over all pixels is not lost beside the largest of them."""
    t = np.full((200, 200), 0.5)
    p = t.copy()
    p[77, 88] = 0.9
    loss = losses.gradient_magnitude_similarity
    for pooling, expected in zip(("deviation", "mean"), piq(p, t), strict=True):
        pair = np.float32(p[None]), np.float32(t[None])
        ours = loss(*pair, axes=(1, 2), pooling=pooling)
        np.testing.assert_allclose(ours, expected, 1e-4)


def test_more_than_two_axes():
    """Along an axis on which nothing depends, away from its ends, as without it."""
    p, t = (np.float32(image) for image in pair((1, 6, 8)))
    loss = losses.gradient_magnitude_similarity
    volumes = [np.repeat(image[:, None], 10, 1) for image in (p, t)]
    valid = np.zeros(volumes[0].shape, bool)
    valid[:, 2:8] = True
    ours = loss(*volumes, axes=(1, 2, 3), where=valid)
    np.testing.assert_allclose(ours, loss(p, t, axes=(1, 2)), 1e-5)


def test_an_invalid_pixel_excludes_the_blocks_around_its_own():
    """It lies in one block of 2 × 2; the derivatives at the 8 blocks around read it."""
    p, t = (np.float32(image) for image in pair((1, 12, 12)))
    valid = np.ones((1, 12, 12), bool)
    valid[0, 5, 6] = False
    loss = functools.partial(losses.gradient_magnitude_similarity, axes=(1, 2))
    whole, part = (loss(p, t, pooling="mean", where=w) for w in (None, valid))
    a, b = (magnitudes_of(image[0]) for image in (p, t))
    c = 170 / 255**2
    missing = 1 - (2 * a * b + c) / (a**2 + b**2 + c)
    around = np.ones((6, 6), bool)
    around[1:4, 2:5] = False
    around[2, 3] = True  # the block itself: its derivatives do not read it
    np.testing.assert_allclose(whole, missing.mean(), 1e-5)
    np.testing.assert_allclose(part, missing[around].mean(), 1e-5)


def magnitudes_of(image):
    half = image.reshape(6, 2, 6, 2).mean((1, 3))
    padded = np.pad(half, 1)
    dx = sum(padded[k : k + 6, 2:] - padded[k : k + 6, :-2] for k in range(3)) / 3
    dy = sum(padded[2:, k : k + 6] - padded[:-2, k : k + 6] for k in range(3)) / 3
    return np.hypot(dy, dx)


def test_derivative_by_the_constant():
    p, t = pair((6, 7))

    def loss(constant):
        return losses.gradient_magnitude_similarity(
            p[None], t[None], axes=(1, 2), constant=constant
        ).sum()

    with jax.enable_x64(True):
        found = jax.grad(loss)(0.01)
        each = jax.vmap(loss)(jnp.array([0.01, 0.1]))
    up, down = (piq(p, t, t=0.01 + h)[0] for h in (1e-6, -1e-6))
    np.testing.assert_allclose(found, (up - down) / 2e-6, 1e-5)
    np.testing.assert_allclose(each, [piq(p, t, t=c)[0] for c in (0.01, 0.1)], 1e-9)


def test_errors():
    image = np.ones((1, 6, 7, 3), "float32")
    loss = functools.partial(losses.gradient_magnitude_similarity, image, image)
    for pooling in ("std", "sum", None, 2):
        with pytest.raises(ValueError, match=r"^pooling must be one of 'deviation'"):
            loss(pooling=pooling)
    for downsampled in (2, "mean", None):
        with pytest.raises(TypeError, match=r"^downsampled must be True or False"):
            loss(downsampled=downsampled)
    for constant in (0, -1.0, np.nan, None):
        with pytest.raises(ValueError, match=r"^constant must be one positive number"):
            loss(constant=constant)
    with pytest.raises(ValueError, match=r"^constant .*got an array of shape"):
        loss(constant=np.ones(3, "float32"))
