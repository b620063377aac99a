"""Pointwise functions, zero at zero, whose derivatives are right there.

JAX says that the derivative of |x| at 0 is 1, and that of the square root is infinite:
a total variation made of those pushes on a constant image, or is NaN there. Here both
are 0 at 0, as in TensorFlow and PyTorch, and every second derivative is finite.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._types import Penalty


@jax.custom_jvp
def absolute(x: jax.Array) -> jax.Array:
    """|x|, also of complex numbers."""
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return jnp.abs(x), jnp.real(jnp.conj(jnp.sign(x)) * t)


def power(x: jax.Array, exponent: float) -> jax.Array:
    """X ** exponent, for x >= 0 and exponent >= 1; derivatives at 0 are 0."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, x) ** exponent)


@jax.custom_jvp
def norm(xs: Sequence[jax.Array]) -> jax.Array:
    """The Euclidean norm of several real numbers."""
    return jnp.sqrt(_squares(xs))


@norm.defjvp
def _norm_jvp(primals, tangents):
    (xs,), (ts,) = primals, tangents
    squares = _squares(xs)
    zero = squares == 0
    along = functools.reduce(jnp.add, [x * t for x, t in zip(xs, ts, strict=True)])
    along = jnp.where(zero, 0, along / jnp.sqrt(jnp.where(zero, 1, squares)))
    return norm(xs), along


def _squares(xs: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, [x * x for x in xs])


def length(xs: Sequence[jax.Array]) -> jax.Array:
    """The Euclidean norm, of complex numbers too, as large or small as they may be."""
    parts = [p for x in xs for p in ([x.real, x.imag] if jnp.iscomplexobj(x) else [x])]
    # A constant to JAX: the norm does not depend on it, nor do its derivatives.
    largest = lax.stop_gradient(functools.reduce(jnp.maximum, map(jnp.abs, parts)))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    size = scale * norm([part / scale for part in parts])
    return jnp.where(jnp.isnan(largest), largest, size)


def angle(y: jax.Array, x: jax.Array) -> jax.Array:
    """The angle of the vector (y, x), 0 where it is 0."""
    largest = lax.stop_gradient(jnp.maximum(jnp.abs(y), jnp.abs(x)))
    some = (largest > 0) | jnp.isnan(largest)
    scale = jnp.where(some & jnp.isfinite(largest), largest, 1)
    y, x = jnp.where(some, y, 0) / scale, jnp.where(some, x, 1) / scale
    return jnp.where(some, jnp.arctan2(y, x), 0)


def square(x: jax.Array) -> jax.Array:
    """x², of a real number."""
    return x * x


def huber(x: jax.Array, delta: jax.Array) -> jax.Array:
    """x²/(2δ) where |x| <= δ, and |x| - δ/2 beyond."""
    size = absolute(x)
    return jnp.where(size <= delta, x * x * (0.5 / delta), size - delta / 2)


@jax.custom_jvp
def charbonnier(x: jax.Array, epsilon: jax.Array) -> jax.Array:
    """sqrt(x² + ε²) - ε, for ε > 0."""
    # In this form nothing cancels: it is 0 at 0, and not a rounding error.
    return x * x / (jnp.sqrt(x * x + epsilon * epsilon) + epsilon)


@charbonnier.defjvp
def _charbonnier_jvp(primals, tangents):
    (x, epsilon), (t, s) = primals, tangents
    value = charbonnier(x, epsilon)
    return value, (x * t - value * s) / jnp.sqrt(x * x + epsilon * epsilon)


PENALTIES = {
    "l1": lambda x, scale: absolute(x),
    "l2": lambda x, scale: square(x),
    "huber": huber,
    "charbonnier": charbonnier,
}


@functools.cache
def variation(name: str, isotropic: bool = False) -> Penalty:
    """The penalty of every difference, or of the length of all those of a pixel.

    Its parameters are the scale of the penalty, and for each difference which ones are
    valid, or nothing where all are.
    """
    rho = PENALTIES[name]

    def penalty(differences, parameters):
        scale, *valid = parameters
        parts = [d for along in differences for d in along]
        if valid:
            parts = [jnp.where(v, d, 0) for v, d in zip(valid, parts, strict=True)]
        if isotropic and name == "l1":
            return norm(parts)
        if isotropic:
            parts = [norm(parts)]
        return functools.reduce(jnp.add, [rho(part, scale) for part in parts])

    return penalty
