"""Second derivatives of every public function, also where neighbors are equal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import random_array
from public import CALLS, arrays

import jax_imgrad as jig
from jax_imgrad import losses

SHAPE = (2, 3, 4, 2)


def inner(a, b):
    return sum(
        jnp.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


def along(function, x, v):
    """The derivative along a direction, in forward mode."""
    return jax.jvp(function, (x,), (v,))[1]


def second_derivatives(function, x, v, w, modes=4):
    """v' H w, by each mode of differentiation over each, or by the first of these."""
    gradient = jax.grad(function)
    each = [
        lambda: inner(jax.grad(lambda x: inner(gradient(x), v))(x), w),
        lambda: along(lambda x: along(function, x, v), x, w),
        lambda: inner(along(gradient, x, v), w),
        lambda: inner(jax.grad(lambda x: along(function, x, v))(x), w),
    ]
    return [mode() for mode in each[:modes]]


def check_second_order(function, points):
    """The modes agree, and the chain rule and the product rule hold, at such points."""

    def other(x):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(x))

    @jax.jit
    def numbers(x, v, w):
        of_function = second_derivatives(function, x, v, w)
        (f, f_v), (_, f_w) = (jax.jvp(function, (x,), (t,)) for t in (v, w))
        (g, g_v), (_, g_w) = (jax.jvp(other, (x,), (t,)) for t in (v, w))
        f_vw, (g_vw,) = of_function[0], second_derivatives(other, x, v, w, modes=1)
        squared = second_derivatives(lambda x: function(x) ** 2, x, v, w, modes=2)
        product = second_derivatives(lambda x: function(x) * other(x), x, v, w, modes=1)
        return {
            "modes": (of_function, [f_vw] * 4),
            "symmetry": ([inner(along(jax.grad(function), x, w), v)], [f_vw]),
            "chain": (squared, [2 * f_v * f_w + 2 * f * f_vw] * 2),
            "product": (product, [f_v * g_w + f_w * g_v + f * g_vw + g * f_vw]),
            "gradient": ([inner(jax.grad(function)(x), v)], [f_v]),
        }

    for x in points:
        for what, (got, expected) in numbers(x, *directions(x)).items():
            got, expected = np.array(got), np.array(expected)
            assert np.isfinite(got).all(), what
            np.testing.assert_allclose(got, expected, 1e-8, 1e-8, err_msg=what)


def directions(x):
    leaves, tree = jax.tree.flatten(x)
    for seed in (5, 6):
        moves = [random_array(jnp.shape(leaf), "float64", seed) for leaf in leaves]
        yield jax.tree.unflatten(tree, list(map(jnp.asarray, moves)))


KINDS = ("ties", "normal")


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_second_derivatives_in_arrays_and_parameters(call):
    def function(x):
        return call.weighted(x[0], **x[1])

    with jax.enable_x64(True):
        parameters = {n: jnp.float64(v) for n, v in call.parameters.items()}
        given = [arrays(call, SHAPE, "float64", kind) for kind in KINDS]
        check_second_order(function, [(arrays, parameters) for arrays in given])


def test_second_derivatives_in_complex_pixels():
    (call,) = [c for c in CALLS if c.name == "total_variation"]

    def function(parts):
        return jig.total_variation(jax.lax.complex(*parts)).sum()

    with jax.enable_x64(True):
        images = [arrays(call, SHAPE, "float64", kind)[0] for kind in KINDS]
        check_second_order(function, [[real, real[::-1]] for real in images])


def test_hessian_of_a_function_of_total_variation_at_ties():
    """That of (Σ|d|)² is 2 g g', with g = 0 where neighbors are equal."""
    image = np.float32([1, 1, 3, 3, 2]).reshape(1, 1, 5, 1)
    hessian = jax.hessian(lambda x: jnp.sum(jig.total_variation(x) ** 2))(image)
    slopes = np.float32([0, -1, 1, 1, -1])  # of the sum of |0|, |2|, |0| and |-1|
    np.testing.assert_array_equal(hessian.reshape(5, 5), 2 * np.outer(slopes, slopes))


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
@pytest.mark.parametrize("alpha", [1, 1.5, 2, 3])
def test_derivatives_of_a_power_at_zero(alpha, implementation):
    """Derivatives of |x|^α at 0 are those of the formula if they exist, else 0."""
    targets = np.float32([0, 1, 3, 7]).reshape(1, 1, 4, 1)
    loss = functools.partial(
        losses.gradient_difference,
        alpha=alpha,
        axes=2,
        reduction="sum",
        implementation=implementation,
    )
    by_predictions = lambda p: loss(p, targets).sum()  # noqa: E731
    gradient = jax.grad(by_predictions)(targets)
    np.testing.assert_array_equal(gradient, 0 * targets)
    hessian = jax.hessian(by_predictions)(targets).reshape(4, 4)
    laplacian = [[1, -1, 0, 0], [-1, 2, -1, 0], [0, -1, 2, -1], [0, 0, -1, 1]]
    np.testing.assert_array_equal(
        hessian, (2 if alpha == 2 else 0) * np.array(laplacian)
    )
    third = jax.jvp(jax.hessian(by_predictions), (targets,), (targets,))[1]
    assert np.isfinite(third).all()


@pytest.mark.parametrize("alpha", [1, 1.5, 2, 3])
def test_second_derivatives_of_a_power_away_from_zero(alpha):
    def loss(p):
        targets = jnp.zeros((1, 1, 2, 1))
        return losses.gradient_difference(
            p, targets, alpha=alpha, axes=2, reduction="sum"
        ).sum()

    image = np.float32([0, -0.5]).reshape(1, 1, 2, 1)
    expected = alpha * (alpha - 1) * 0.5 ** (alpha - 2)
    hessian = jax.hessian(loss)(image).reshape(2, 2)
    np.testing.assert_allclose(hessian, expected * np.array([[1, -1], [-1, 1]]), 1e-6)
