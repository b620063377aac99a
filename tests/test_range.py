"""Every public function in 16-bit dtypes, and for very large and small numbers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public import CALLS, arrays

import jax_imgrad as jig
from jax_imgrad import losses

LARGE = (1, 300, 300, 1)  # of more pixels than the largest number in float16
SMALL = (1, 33, 130, 1)


def steps_apart(got, expected):
    """The largest distance of two arrays, counted in numbers of a 16-bit dtype.

    Differences below a float32 rounding error of the largest number are ignored: they
    are due to cancellation.
    """

    def place(x):
        bits = np.asarray(x).view(np.int16).astype(int)
        return np.where(bits < 0, -(bits & 0x7FFF), bits)

    one, other = (np.asarray(x, "float32") for x in (got, expected))
    largest = np.abs(other[np.isfinite(other)]).max(initial=0)
    with np.errstate(invalid="ignore"):
        same = (one == other) | (np.abs(one - other) <= 1e-6 * largest)
    return np.where(same, 0, np.abs(place(got) - place(expected))).max(initial=0)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_rounded_once_from_float32(call):
    """For sums of many pixels; losses are scaled up, as in float16 training."""

    @jax.jit
    def both(draws, *given):
        results, pullback = jax.vjp(lambda *a: call.function()(*a), *given)
        if call.is_loss:
            return results, pullback([jnp.full_like(r, 65536.0) for r in results])
        return results, pullback(
            [d.astype(r.dtype) for d, r in zip(draws, results, strict=True)]
        )

    draw = np.random.default_rng(0)
    adds_up = call.name.startswith("losses.") or call.name == "total_variation"
    shape = call.shape(LARGE if adds_up else SMALL)
    for dtype, amplitude in itertools.product(["float16", "bfloat16"], [1e-3, 3e4]):
        given = [
            jnp.asarray(
                (amplitude * draw.uniform(-1, 1, shape)).astype(jnp.dtype(dtype))
            )
            for _ in range(call.arrays)
        ]
        shapes = [r.shape for r in jax.eval_shape(call.function(), *given)]
        draws = [jnp.asarray(draw.uniform(-4, 4, s)).astype(dtype) for s in shapes]
        got = both(draws, *given)
        expected = both(draws, *(image.astype(jnp.float32) for image in given))
        for ours, exact in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            if ours.dtype == "float32":  # of a loss
                np.testing.assert_allclose(ours, exact, 1e-5)
            else:
                assert ours.dtype == dtype
                assert steps_apart(ours, exact.astype(dtype)) <= 2


@pytest.mark.parametrize("integers", ["uint16", "int32"])
@pytest.mark.parametrize("floats", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "call", [c for c in CALLS if c.arrays == 2 and "losses" in c.name], ids=str
)
def test_integers_beside_16_bit_floats_are_float32(call, floats, integers):
    depth = np.random.default_rng(0).integers(0, 65536, (1, 4, 5, 2)).astype(integers)
    field = jnp.asarray(np.random.default_rng(1).normal(size=depth.shape)).astype(
        floats
    )
    exact = call.function()(field.astype("float32"), depth)
    for ours, expected in zip(call.function()(field, depth), exact, strict=True):
        np.testing.assert_allclose(ours, expected, 1e-6)
    if not ("smoothness" in call.name or "similarity" in call.name):
        as_floats = call.function()(field.astype("float32"), depth.astype("float32"))
        for ours, expected in zip(exact, as_floats, strict=True):
            np.testing.assert_array_equal(ours, expected)


POWERS = (-100, -66, -33, 33, 66, 100)  # about 1e-30 to 1e30


@pytest.mark.parametrize("call", [c for c in CALLS if c.degree is not None], ids=str)
def test_values_and_gradients_scale(call):
    """They scale exactly with a power of two, if delta is scaled as well."""
    given = arrays(call, (2, 5, 6, 2))
    cotangents = jax.vjp(call.function(), *given)[0]
    for way in call.ways:

        @jax.jit
        def both(parameters, *given, way=way):
            function = call.function(implementation=way) if way else call.function()
            if call.parameters:
                options = {"implementation": way} if way else {}
                function = call.function(**parameters, **options)
            results, pullback = jax.vjp(function, *given)
            return results, pullback(cotangents)

        results, gradients = both(call.parameters, *given)
        for power in POWERS:
            if abs(power * call.degree) > 100:
                continue  # the result itself leaves the range of float32
            c = np.float32(2.0**power)
            scaled = dict(call.parameters)
            if "delta" in scaled:
                scaled["delta"] *= c
            ours, slopes = both(scaled, *(c * image for image in given))
            for x, y in zip(ours, results, strict=True):
                np.testing.assert_allclose(x / c**call.degree, y, 1e-5, 1e-5)
            for x, y in zip(slopes, gradients, strict=True):
                np.testing.assert_allclose(
                    x * c / c**call.degree, y, 1e-4, 1e-4 * np.abs(y).max()
                )


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
@pytest.mark.parametrize("penalty", ["l1", "huber", "charbonnier"])
@pytest.mark.parametrize("coupled", [False, True])
def test_batches_of_images_of_different_magnitude(penalty, coupled, implementation):
    """Each gives the same alone, and beside a flat image, a NaN and an infinity."""
    image = np.asarray(arrays(CALLS[0], (1, 9, 10, 3))[0])
    broken, endless = image.copy(), image.copy()
    broken[0, 4, 4], endless[0, 4, 4] = np.nan, np.inf
    batch = [image, 1e-28 * image, 1e28 * image, 0 * image, broken, endless]

    @jax.jit
    def loss(images, scale):
        return losses.total_variation(
            images,
            penalty=penalty,
            isotropic=True,
            channel_coupling=coupled,
            implementation=implementation,
            **({} if penalty == "l1" else {"delta": scale}),
        )

    def both(images):
        size = [1, 1e-28, 1e28, 1, 1, 1][: len(images)]
        scale = 0.3 * jnp.float32(size).reshape(-1, 1, 1, 1)
        return jax.vjp(lambda i: loss(i, scale), images)

    values, pullback = both(jnp.float32(np.concatenate(batch)))
    (gradients,) = pullback(jnp.ones(6))
    alone, pullback = both(jnp.float32(image))
    (gradient,) = pullback(jnp.ones(1))
    for i, size in enumerate([1, 1e-28, 1e28]):
        np.testing.assert_allclose(values[i] / np.float32(size), alone[0], 1e-5)
        np.testing.assert_allclose(gradients[i], gradient[0], 1e-4, 1e-6)
    np.testing.assert_array_equal(values[3], 0)
    np.testing.assert_array_equal(gradients[3], 0)
    assert np.isnan(values[4])
    assert not np.isfinite(values[5])
    far = np.ones((9, 10), bool)
    far[2:7, 2:7] = False  # the pixels that share no difference with this one
    for i in (4, 5):
        np.testing.assert_allclose(gradients[i][far], gradient[0][far], 1e-4, 1e-6)


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
@pytest.mark.parametrize("penalty", ["l1", "huber", "charbonnier"])
def test_large_and_small_differences_in_one_image(penalty, implementation):
    """Derivatives are at most those of four differences; no value underflows."""
    image = np.zeros((1, 4, 64, 1), "float32")
    image[0, :, :32, 0] = np.random.default_rng(0).normal(size=(4, 32))
    image[0, :, 40:, 0] = 1e22

    def loss(image, scale, **options):
        options |= {"implementation": implementation, "reduction": "sum"}
        options |= {} if penalty == "l1" else {"penalty": penalty, "delta": scale}
        return losses.total_variation(image, **options).sum()

    for options in ({"isotropic": True}, {"channel_coupling": True}):
        value, slopes = jax.value_and_grad(loss)(image, 1e-3, **options)
        np.testing.assert_allclose(value, 8 * 1e22 if value > 5e22 else 4e22, 1e-5)
        assert np.abs(slopes).max() <= 4
    scales = np.float32([1, 1, 1e-25, 1e-25]).reshape(1, 4, 1, 1)
    small = 1e-22 * image
    value = loss(small, scales, isotropic=True)
    with jax.enable_x64(True):
        wide = loss(small.astype("float64"), scales.astype("float64"), isotropic=True)
    np.testing.assert_allclose(value, wide, 1e-5)


@pytest.mark.parametrize("size", [1e18, 1e20])
@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "charbonnier"},
        {"penalty": "charbonnier", "channel_coupling": True},
        {"penalty": "huber", "isotropic": True},
    ],
)
def test_a_large_constant_has_zero_derivative(options, size):
    for shape in [(1, 4, 5, 3), (1, 1, 1, 3)]:
        for scale in (1e-20, 1e-3):

            def loss(image, scale=scale):
                return losses.total_variation(image, delta=scale, **options).sum()

            value, slopes = jax.value_and_grad(loss)(jnp.full(shape, size))
            assert value == 0
            np.testing.assert_array_equal(slopes, 0)


@pytest.mark.parametrize("penalty", ["l1", "charbonnier"])
@pytest.mark.parametrize("channels", [1, 2])
def test_mean_normalized_fields_of_any_size(penalty, channels):
    """For means far above the added 1e-7, the loss is scale-invariant."""
    field = np.random.default_rng(0).uniform(1, 2, (1, 4, 5, channels)).astype("f4")

    def loss(field):
        return losses.edge_aware_smoothness(
            field, 0 * field, penalty=penalty, mean_normalized=True
        ).sum()

    def all_of(size):
        both = jax.value_and_grad(loss)
        return jax.jvp(both, (size * field,), (size * field * field,))

    (value, slopes), (_, seconds) = all_of(np.float32(2**10))
    for power in (33, 66, 90):
        size = np.float32(2.0**power)
        (other, others), (_, thirds) = all_of(2**10 * size)
        np.testing.assert_allclose(other, value, 1e-5)
        np.testing.assert_allclose(others * size, slopes, 1e-4, 1e-9)
        atol = 1e-4 * np.abs(seconds).max()
        np.testing.assert_allclose(thirds * size, seconds, 1e-3, atol)


@pytest.mark.parametrize("scale", [1e-20, 1e-37, 1e20])
@pytest.mark.parametrize("penalty", ["huber", "charbonnier"])
@pytest.mark.parametrize("isotropic", [False, True])
def test_constants_have_zero_derivative_for_any_delta(penalty, isotropic, scale):
    def loss(image):
        return losses.total_variation(
            image, penalty=penalty, isotropic=isotropic, delta=scale
        ).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.zeros((1, 3, 4, 1)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    "sizes", [(2.0**-83, 2.0**-20), (2.0**66, 2.0**33), (2.0**90, 2.0**90)]
)
def test_scale_and_shift_of_numbers_of_any_size(sizes):
    draw = np.random.default_rng(0)
    p, t = draw.normal(size=(2, 1, 4, 4, 1))
    t = 3 * p + 1 + 0.1 * t
    expected = losses.scale_and_shift(jnp.float32(p), jnp.float32(t))
    a, b = sizes
    ours = losses.scale_and_shift(jnp.float32(a * p), jnp.float32(b * t))
    np.testing.assert_allclose(ours[0] * (a / b), expected[0], 1e-5)
    np.testing.assert_allclose(ours[1] / b, expected[1], 1e-5)


def test_16_bit_angles_do_not_overflow():
    image = np.zeros((1, 3, 3, 1), "float16")
    image[0, :, :, 0] = [[0, 0, 0], [10000, 30000, 10000], [20000, 20000, 20000]]
    options = {"operator": "sobel", "scale": "raw", "boundary": "edge"}
    ours = jig.gradient_orientation(image, **options)
    exact = jig.gradient_orientation(image.astype("float32"), **options)
    assert steps_apart(ours, exact.astype("float16")) == 0
