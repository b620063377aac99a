"""Pointwise functions, zero at zero, whose derivatives are right there.

JAX says that the derivative of |x| at 0 is 1, and that of the square root is infinite:
a total variation made of those pushes on a constant image, or is NaN there. Here both
are 0 at 0, as in TensorFlow and PyTorch, and every second derivative is finite.
"""

import dataclasses
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
    return norm(xs), _inner(xs, ts) * _inverse_root(_squares(xs))


@jax.custom_jvp
def _inverse_root(x: jax.Array) -> jax.Array:
    """1/√x, and 0 at 0."""
    return jnp.where(x == 0, 0, lax.rsqrt(x))


@_inverse_root.defjvp
def _inverse_root_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    inverse = _inverse_root(x)
    # In this order nothing overflows, forward, where x is a small number's square.
    return inverse, -0.5 * t * inverse * inverse * inverse


def _squares(xs: Sequence[jax.Array]) -> jax.Array:
    return _inner(xs, xs)


def _inner(xs: Sequence[jax.Array], ys: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, [x * y for x, y in zip(xs, ys, strict=True)])


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


def _size(xs: Sequence[jax.Array]) -> jax.Array:
    """The Euclidean norm; of one number its absolute value, with an exact sign."""
    return norm(xs) if len(xs) > 1 else absolute(xs[0])


def _huber(xs: Sequence[jax.Array], delta: jax.Array) -> jax.Array:
    """x²/(2δ) where |x| <= δ, and |x| - δ/2 beyond."""
    size = _size(xs)
    return jnp.where(size <= delta, _squares(xs) * (0.5 / delta), size - delta / 2)


@jax.custom_jvp
def charbonnier(xs: Sequence[jax.Array], epsilon: jax.Array) -> jax.Array:
    """sqrt(x² + ε²) - ε, for ε > 0."""
    # In this form nothing cancels: it is 0 at 0, and not a rounding error.
    squares = _squares(xs)
    return squares / (jnp.sqrt(squares + epsilon * epsilon) + epsilon)


@charbonnier.defjvp
def _charbonnier_jvp(primals, tangents):
    (xs, epsilon), (ts, s) = primals, tangents
    value = charbonnier(xs, epsilon)
    along = _inner(xs, ts) - value * s
    return value, along / jnp.sqrt(_squares(xs) + epsilon * epsilon)


# Of a vector, by its length alone.
PENALTIES = {
    "l1": lambda xs, scale: _size(xs),
    "l2": lambda xs, scale: _squares(xs),
    "huber": _huber,
    "charbonnier": charbonnier,
}

# Their derivatives by the length, divided by the length: of its square. There is none
# of l2, whose sum is the same with channels coupled or not.
_WEIGHTS = {
    "l1": lambda squares, scale: _inverse_root(squares),
    "huber": lambda squares, scale: jnp.where(
        squares <= square(scale), 1 / scale, _inverse_root(squares)
    ),
    "charbonnier": lambda squares, scale: lax.rsqrt(squares + scale * scale),
}


@functools.cache
def variation(name: str, isotropic: bool = False) -> Penalty:
    """The penalty of every difference, or of the length of all those of a pixel.

    Its parameters are the scale of the penalty, and for each axis which differences are
    valid, or nothing where all are.
    """
    rho = PENALTIES[name]

    def penalty(differences, parameters):
        scale, *valid = parameters
        parts = _valid_parts(differences, valid)
        if isotropic:
            return rho(parts, scale)
        return functools.reduce(jnp.add, [rho([part], scale) for part in parts])

    return penalty


def _valid_parts(differences, valid) -> list[jax.Array]:
    """All the differences of a pixel, 0 where they are not valid."""
    if not valid:
        return [d for along in differences for d in along]
    return [
        jnp.where(v, d, 0)
        for along in differences
        for v, d in zip(valid, along, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class Coupled:
    """The penalty of the length of all differences of a pixel of one image.

    Its channels, the last axis, are so many images to the penalty, whose arguments have
    that axis no more. Its derivative by a difference d is `weight * d`, with one weight
    for all channels of a pixel: that of `half_quadratic`, for which it is a constant.
    """

    name: str

    def __call__(self, differences, parameters) -> jax.Array:
        return variation(self.name, True)(differences, parameters)

    def weight(self, differences, parameters) -> jax.Array:
        """Of each pixel."""
        scale, *valid = parameters
        squares = _squares(_valid_parts(differences, valid))
        return _WEIGHTS[self.name](squares, scale)


def half_quadratic(differences, parameters) -> jax.Array:
    """Half the weighted squares: the weight is in the place of the scale."""
    weight, *valid = parameters
    return weight * (0.5 * _squares(_valid_parts(differences, valid)))
