"""Laws that need no oracle, on images that Hypothesis invents."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jax_imgrad as jig

# Integers as floats: sums and differences of them are exact, so laws hold with ==.
SHAPES = st.tuples(*[st.integers(0, n) for n in (2, 6, 6, 3)])


def images(shape, count):
    numbers = hnp.arrays("float32", shape, elements=st.integers(-100, 100))
    return st.tuples(*[numbers] * count)


def several(count):
    return SHAPES.flatmap(lambda shape: images(shape, count))


def law(strategy):
    return lambda test: settings(deadline=None, max_examples=40)(given(strategy)(test))


def inner(a, b):
    return sum(float(jnp.vdot(x, y)) for x, y in zip(a, b, strict=True))


@law(several(3))
def test_divergence_is_minus_the_adjoint(arrays):
    image, *pair = arrays
    left = inner(jig.image_gradients(image), pair)
    assert left == -inner([image], [jig.divergence(tuple(pair))])


@law(several(3))
def test_divergence_is_minus_the_transpose_in_jax(arrays):
    image, *pair = map(jnp.asarray, arrays)
    (transposed,) = jax.linear_transpose(jig.image_gradients, image)(tuple(pair))
    np.testing.assert_array_equal(transposed, -jig.divergence(tuple(pair)))
    (transposed,) = jax.linear_transpose(jig.divergence, tuple(pair))(image)
    for one, other in zip(transposed, jig.image_gradients(image), strict=True):
        np.testing.assert_array_equal(one, -other)


@law(several(2))
def test_linear(arrays):
    a, b = arrays
    for whole, one, other in zip(
        jig.image_gradients(3 * a - 2 * b),
        jig.image_gradients(a),
        jig.image_gradients(b),
        strict=True,
    ):
        np.testing.assert_array_equal(whole, 3 * one - 2 * other)


@law(several(1))
def test_differences_telescope(arrays):
    (image,) = arrays
    dy, dx = jig.image_gradients(image)
    if image.shape[1]:
        np.testing.assert_array_equal(dy.sum(1), image[:, -1] - image[:, 0])
    if image.shape[2]:
        np.testing.assert_array_equal(dx.sum(2), image[:, :, -1] - image[:, :, 0])


@law(several(1))
def test_transposing_the_image_swaps_dy_and_dx(arrays):
    (image,) = arrays
    dy, dx = jig.image_gradients(image)
    dx_of_transposed, dy_of_transposed = jig.image_gradients(image.swapaxes(1, 2))
    np.testing.assert_array_equal(dy, dy_of_transposed.swapaxes(1, 2))
    np.testing.assert_array_equal(dx, dx_of_transposed.swapaxes(1, 2))


@law(several(1))
def test_constants_do_not_matter(arrays):
    (image,) = arrays
    for one, other in zip(
        jig.image_gradients(image), jig.image_gradients(image + 7), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@law(several(1))
def test_images_and_channels_are_independent(arrays):
    (image,) = arrays
    shuffled = image[::-1, :, :, ::-1]
    for one, other in zip(
        jig.image_gradients(image), jig.image_gradients(shuffled), strict=True
    ):
        np.testing.assert_array_equal(one, other[::-1, :, :, ::-1])


@law(several(2))
def test_divergence_conserves(arrays):
    np.testing.assert_array_equal(jig.divergence(arrays).sum((1, 2)), 0)
