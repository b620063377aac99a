"""Every transformation of JAX, for every implementation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import random_array
from jax.experimental.jet import jet
from jax.experimental.pallas import tpu as pltpu
from jax.test_util import check_grads

import jax_imgrad as jig
from jax_imgrad import _backends

IMAGE = random_array((2, 5, 6, 3), "float32")
SMALL = random_array((1, 3, 2, 2), "float32")


@pytest.fixture
def gradients(implementation):
    return functools.partial(jig.image_gradients, implementation=implementation)


@pytest.fixture
def divergence(implementation):
    return functools.partial(jig.divergence, implementation=implementation)


@pytest.fixture
def loss(gradients):
    """A smooth loss, whose derivatives of every order depend on the image."""

    def smooth(image):
        dy, dx = gradients(image)
        return jnp.sum(jnp.sin(dy)) + jnp.sum(jnp.cos(dx) * dx)

    return smooth


def derivative_of_loss(image):
    """The derivative of `loss`, from the oracle."""
    dy, dx = oracle.image_gradients(image)
    return -oracle.divergence(np.cos(dy), np.cos(dx) - dx * np.sin(dx))


def close(ours, expected):
    for one, other in zip(
        jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_jit(gradients):
    close(jax.jit(gradients)(IMAGE), oracle.image_gradients(IMAGE))


def test_repeated_calls_do_not_retrace(monkeypatch):
    traces = []
    check = _backends.check
    monkeypatch.setattr(
        _backends, "check", lambda *args: traces.append(args) or check(*args)
    )
    for seed in range(3):
        jig.image_gradients(random_array((1, 19, 23, 1), "float32", seed))
    assert len(traces) == 1


def test_grad(loss):
    close(jax.grad(loss)(IMAGE), derivative_of_loss(IMAGE))
    close(jax.jit(jax.value_and_grad(loss))(IMAGE)[1], derivative_of_loss(IMAGE))


def test_grad_of_divergence(divergence):
    pair = tuple(random_array(IMAGE.shape, "float32", seed) for seed in (1, 2))
    derivative = jax.grad(lambda pair: jnp.sum(jnp.sin(divergence(pair))))(pair)
    flow = np.cos(oracle.divergence(*pair))
    close(derivative, [-g for g in oracle.image_gradients(flow)])


def test_grad_of_divergence_in_one_part(divergence):
    derivative = jax.grad(lambda dy: jnp.sum(jnp.sin(divergence((dy, IMAGE)))))(IMAGE)
    flow = np.cos(oracle.divergence(IMAGE, IMAGE))
    close(derivative, -oracle.image_gradients(flow)[0])


def test_jvp_is_the_map_itself(gradients):
    tangent = random_array(IMAGE.shape, "float32", seed=1)
    value, derivative = jax.jvp(gradients, (IMAGE,), (tangent,))
    close(value, oracle.image_gradients(IMAGE))
    close(derivative, oracle.image_gradients(tangent))


def test_vjp_is_minus_divergence(gradients):
    pair = tuple(random_array(IMAGE.shape, "float32", seed) for seed in (1, 2))
    close(jax.vjp(gradients, IMAGE)[1](pair)[0], -oracle.divergence(*pair))


def test_vjp_keeps_no_residuals(gradients):
    _, pullback = jax.vjp(gradients, jnp.asarray(IMAGE))
    assert jax.tree.leaves(pullback) == []


def test_linear_transpose(gradients, divergence):
    image = jnp.asarray(IMAGE)
    pair = tuple(jnp.asarray(random_array(IMAGE.shape, "float32", s)) for s in (1, 2))
    transposed = jax.linear_transpose(gradients, image)
    close(transposed(pair)[0], -oracle.divergence(*pair))
    close(
        jax.linear_transpose(transposed, pair)((image,))[0],
        oracle.image_gradients(image),
    )
    (back,) = jax.linear_transpose(divergence, pair)(image)
    close(back, [-g for g in oracle.image_gradients(image)])


def test_second_order(loss, implementation):
    if implementation == "xla":
        with jax.enable_x64(True):
            check_grads(loss, (SMALL.astype("float64"),), order=2, modes=["fwd", "rev"])
        return
    plain = jax.hessian(lambda image: smooth_by_numpy_order(image))(SMALL)
    close(jax.hessian(loss)(SMALL), plain)
    close(jax.jacrev(jax.jacrev(loss))(SMALL), plain)
    close(jax.jacfwd(jax.jacfwd(loss))(SMALL), plain)


def smooth_by_numpy_order(image):
    """`loss` with slices, which JAX differentiates by its own rules."""
    dy, dx = jnp.diff(image, axis=1), jnp.diff(image, axis=2)
    return jnp.sum(jnp.sin(dy)) + jnp.sum(jnp.cos(dx) * dx)


def test_hessian_of_a_loss(loss):
    close(jax.hessian(loss)(SMALL), jax.hessian(smooth_by_numpy_order)(SMALL))


def test_jacobians(gradients):
    close(jax.jacfwd(gradients)(SMALL), jax.jacrev(gradients)(SMALL))


@pytest.mark.parametrize("axis", range(5))
def test_vmap_over_any_axis(gradients, loss, axis):
    images = random_array((2, 4, 5, 3, 2), "float32")
    mapped = np.moveaxis(images, 0, axis)
    each = [oracle.image_gradients(image) for image in images]
    ours = jax.vmap(gradients, in_axes=axis)(mapped)
    close(ours, [np.stack(parts) for parts in zip(*each, strict=True)])
    derivative = jax.vmap(jax.grad(loss), in_axes=axis, out_axes=axis)(mapped)
    expected = np.stack([derivative_of_loss(image) for image in images], axis)
    close(derivative, expected)


def test_vmap_nested(gradients):
    images = random_array((2, 3, 1, 4, 5, 2), "float32")
    flat = oracle.image_gradients(images.reshape(6, 4, 5, 2))
    ours = jax.vmap(jax.vmap(gradients))(images)
    close(ours, [part.reshape(images.shape) for part in flat])


@pytest.mark.parametrize("in_axes", [(0, None), (None, 4), (0, 3)])
def test_vmap_over_both_parts_and_over_one(divergence, in_axes):
    pairs = random_array((3, 2, *IMAGE.shape), "float32")
    given = [
        pairs[0, i] if axis is None else np.moveaxis(pairs[:, i], 0, axis)
        for i, axis in enumerate(in_axes)
    ]
    ours = jax.vmap(lambda *pair: divergence(pair), in_axes)(*given)
    each = [
        [pair[i] if axis is not None else pairs[0, i] for i, axis in enumerate(in_axes)]
        for pair in pairs
    ]
    close(ours, np.stack([oracle.divergence(*pair) for pair in each]))


def test_vmap_of_size_zero(gradients):
    ours = jax.vmap(gradients)(np.zeros((0, *IMAGE.shape), "float32"))
    assert [part.shape for part in ours] == [(0, *IMAGE.shape)] * 2


def test_checkpoint(loss, implementation):
    # NaN memory is written by callbacks, which jax.checkpoint does not support.
    with pltpu.force_tpu_interpret_mode(True):
        derivative = jax.grad(jax.checkpoint(loss))(IMAGE)
    close(derivative, derivative_of_loss(IMAGE))


def test_scan(loss):
    def descend(image):
        def step(image, _):
            return image - 0.1 * jax.grad(loss)(image), None

        return jax.lax.scan(step, image, length=2)[0]

    expected = IMAGE - 0.1 * derivative_of_loss(IMAGE)
    expected = expected - 0.1 * derivative_of_loss(expected)
    close(descend(jnp.asarray(IMAGE)), expected)
    close(jax.jit(descend)(IMAGE), expected)


def test_debug_nans_checking_leaks_and_no_jit(loss):
    with jax.debug_nans(True), jax.checking_leaks():
        close(jax.grad(loss)(IMAGE), derivative_of_loss(IMAGE))
    with jax.disable_jit():
        close(jax.grad(loss)(jnp.asarray(IMAGE)), derivative_of_loss(IMAGE))


def test_donation():
    image = jnp.asarray(IMAGE)
    step = jax.jit(lambda x: x - jig.image_gradients(x)[0], donate_argnums=0)
    close(step(image), IMAGE - oracle.image_gradients(IMAGE)[0])
    assert image.is_deleted()


def test_eval_shape(gradients):
    struct = jax.ShapeDtypeStruct((2, 5, 6, 3), "float32")
    assert jax.eval_shape(gradients, struct) == (struct, struct)
    photograph = jax.ShapeDtypeStruct((2, 5, 6, 3), "uint8")
    assert jax.eval_shape(jig.image_gradients, photograph)[0].dtype == "int16"


@pytest.mark.parametrize("x64", [False, True])
def test_x64(x64):
    with jax.enable_x64(x64):
        image = jnp.asarray(IMAGE.astype("float64"))
        dy, _ = jig.image_gradients(image)
        assert dy.dtype == image.dtype == ("float64" if x64 else "float32")
        dy32, _ = jig.image_gradients(jnp.asarray(IMAGE))
        assert dy32.dtype == "float32"


def test_export_with_symbolic_shapes_for_every_platform():
    def both(image):
        def loss(image):
            return sum(jnp.sum(jnp.sin(part)) for part in jig.image_gradients(image))

        return jig.image_gradients(image), jax.grad(loss)(image)

    shape = jax.export.symbolic_shape("b, h, w, c")
    exported = jax.export.export(jax.jit(both), platforms=["cpu", "cuda", "tpu"])(
        jax.ShapeDtypeStruct(shape, "float32")
    )
    called = jax.export.deserialize(exported.serialize()).call
    for size in [(1, 1, 1, 1), (2, 5, 6, 3), (1, 9, 1, 2), (1, 1, 7, 1)]:
        image = random_array(size, "float32")
        value, derivative = called(image)
        dy, dx = oracle.image_gradients(image)
        close(value, (dy, dx))
        close(derivative, -oracle.divergence(np.cos(dy), np.cos(dx)))


def test_export_with_a_known_shape_for_every_platform():
    exported = jax.export.export(
        jax.jit(jig.image_gradients), platforms=["cpu", "cuda", "tpu"]
    )(jax.ShapeDtypeStruct(IMAGE.shape, "float32"))
    close(exported.call(IMAGE), oracle.image_gradients(IMAGE))


@pytest.mark.parametrize("name", ["image_gradients", "spatial_gradient"])
def test_taylor_coefficients(name):
    """Those of a composition, against derivatives of derivatives."""
    options = {"operator": "sobel", "boundary": "edge"}
    options = {} if name == "image_gradients" else options
    along = jnp.asarray(random_array(IMAGE.shape, "float32", 1))

    def function(image):
        dy, dx = getattr(jig, name)(jnp.sin(image), **options)
        return dy * dx, jig.divergence((dy, dx))

    def derivative(function):
        return lambda image: jax.jvp(function, (image,), (along,))[1]

    value, series = jet(function, (IMAGE,), [[along, jnp.zeros_like(along)]])
    close(value, function(IMAGE))
    first, second = zip(*series, strict=True)
    close(first, derivative(function)(IMAGE))
    close(second, derivative(derivative(function))(IMAGE))
