"""Absolute values, powers, norms and angles, with well-defined derivatives at zero.

JAX takes the derivative of |x| at 0 to be 1, and that of the square root to be
infinite: a total variation made of those pushes on a constant image, or is NaN there.
Here both are 0 at 0, as in TensorFlow and PyTorch. Three rules keep the derivatives of
every order right, and every magnitude in range:

- A derivative rule returns the function itself as its primal output. A second
  differentiation then meets the rule again. If it returned `jnp.abs(x)` instead, the
  second derivative of `absolute(x) ** 2` would be made of JAX's own |x|' = 1 at 0.
- Where a derivative exists at 0 (that of |x|^a for a > 1), it is returned; only one
  that does not exist is replaced by 0.
- Before they are squared, numbers are multiplied by a power of two if their squares
  would overflow or underflow. So a norm does neither unless its result does.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax


def absolute(x: jax.Array) -> jax.Array:
    """|x|, also of complex numbers."""
    return norm([x])


@jax.custom_jvp
def _absolute(x: jax.Array) -> jax.Array:
    return jnp.abs(x)


@_absolute.defjvp
def _absolute_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return _absolute(x), jnp.sign(x) * t


# A derivative rule of f(array, static argument).
_with_option = functools.partial(jax.custom_jvp, nondiff_argnums=(1,))


@_with_option
def power(x: jax.Array, exponent: float) -> jax.Array:
    """|x| ** exponent, and 0 at 0 for a negative exponent.

    With `signed_power` its derivatives are closed: those of |x|^a are a sign(x)
    |x|^(a-1), then a (a-1) |x|^(a-2), and so on.
    """
    size = jnp.abs(x)
    if exponent == int(exponent):
        exponent = int(exponent)
    if exponent >= 0:
        return size**exponent
    zero = size == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, size) ** exponent)


@_with_option
def signed_power(x: jax.Array, exponent: float) -> jax.Array:
    """Sign(x) |x| ** exponent, and 0 at 0."""
    return x if exponent == 1 else jnp.sign(x) * power(x, exponent)


@power.defjvp
def _power_jvp(exponent, primals, tangents):
    (x,), (t,) = primals, tangents
    slope = exponent * signed_power(x, exponent - 1) if exponent else jnp.zeros_like(x)
    return power(x, exponent), slope * t


@signed_power.defjvp
def _signed_power_jvp(exponent, primals, tangents):
    (x,), (t,) = primals, tangents
    slope = exponent * power(x, exponent - 1) if exponent else jnp.zeros_like(x)
    return signed_power(x, exponent), slope * t


def norm(xs: Sequence[jax.Array], in_range: bool = False) -> jax.Array:
    """The Euclidean norm of several numbers; of one its absolute value, exactly.

    With `in_range` the caller guarantees that no square overflows or underflows; here
    and below.
    """
    parts = [p for x in xs for p in ([x.real, x.imag] if jnp.iscomplexobj(x) else [x])]
    return _norm(parts, in_range) if len(parts) > 1 else _absolute(parts[0])


@_with_option
def _norm(xs: Sequence[jax.Array], in_range: bool) -> jax.Array:
    _, squares, _, inverse = rescale(xs, in_range)
    return jnp.sqrt(squares) * inverse


@_norm.defjvp
def _norm_jvp(in_range, primals, tangents):
    (xs,), (ts,) = primals, tangents
    return _norm(xs, in_range), inner(unit(xs, in_range), ts)


@_with_option
def unit(xs: Sequence[jax.Array], in_range: bool = False) -> list[jax.Array]:
    """The vector divided by its norm, u = x/|x|, and 0 where it is 0.

    Its derivative is that of a direction, u' = (x' - u <u, x'>)/|x|.
    """
    rescaled, squares, _, _ = rescale(xs, in_range)
    inverse = lax.rsqrt(jnp.maximum(squares, jnp.finfo(squares.dtype).tiny))
    return [x * inverse for x in rescaled]


@unit.defjvp
def _unit_jvp(in_range, primals, tangents):
    (xs,), (ts,) = primals, tangents
    us, inverse = unit(xs, in_range), inverse_norm(xs, in_range)
    along = inner(us, ts)
    return us, [(t - u * along) * inverse for u, t in zip(us, ts, strict=True)]


@_with_option
def inverse_norm(xs: Sequence[jax.Array], in_range: bool = False) -> jax.Array:
    """1/|x|, and 0 at 0."""
    _, squares, factor, _ = rescale(xs, in_range)
    return jnp.where(squares == 0, 0, lax.rsqrt(squares) * factor)


@inverse_norm.defjvp
def _inverse_norm_jvp(in_range, primals, tangents):
    (xs,), (ts,) = primals, tangents
    inverse = inverse_norm(xs, in_range)
    return inverse, -(inner(unit(xs, in_range), ts) * inverse) * inverse


def rescale(xs: Sequence[jax.Array], in_range: bool):
    """The vector times a power of two, so that its squares stay in range.

    Returns:
      The rescaled numbers, the sum of their squares, the factor, and its inverse.
    """
    squares = squares_of(xs)
    if in_range:
        return xs, squares, 1, 1
    far = jnp.finfo(squares.dtype).maxexp  # 2**far is infinite
    small, large = squares < 2.0 ** (-far * 5 // 8), squares > 2.0 ** (far * 5 // 8)

    def chosen(of_small, of_large):
        factor = jnp.where(small, of_small, jnp.where(large, of_large, 1.0))
        return factor.astype(squares.dtype)

    # XLA rewrites (c f)(c f), for a constant c, to (c c)(f f). So the squares of the
    # factors must be finite, for the zeros that a border gives.
    up, down = far // 2 - 1, far // 2
    factor, inverse = chosen(2.0**up, 2.0**-down), chosen(2.0**-up, 2.0**down)
    rescaled = [x * factor for x in xs]
    # And that of a small scale would be 0: the minimum prevents the rewriting.
    most = float(jnp.finfo(squares.dtype).max)
    rescaled = [
        y if x.ndim else jnp.minimum(y, most) for x, y in zip(xs, rescaled, strict=True)
    ]
    return rescaled, squares_of(rescaled), factor, inverse


def squares_of(xs: Sequence[jax.Array]) -> jax.Array:
    """|x|²."""
    return inner(xs, xs)


def inner(xs: Sequence[jax.Array], ys: Sequence[jax.Array]) -> jax.Array:
    """The inner product of two real vectors."""
    return functools.reduce(jnp.add, [x * y for x, y in zip(xs, ys, strict=True)])


@jax.custom_jvp
def angle(y: jax.Array, x: jax.Array) -> jax.Array:
    """The angle of the vector (y, x), 0 where it is 0."""
    return jnp.where((y == 0) & (x == 0), 0, jnp.arctan2(y, x))


@angle.defjvp
def _angle_jvp(primals, tangents):
    (s, t), (y, x) = tangents, inversion(list(primals))
    return angle(*primals), x * s - y * t


@jax.custom_jvp
def inversion(xs: Sequence[jax.Array]) -> list[jax.Array]:
    """x/|x|², the inversion in the unit circle, and 0 at 0."""
    rescaled, squares, factor, _ = rescale(xs, False)
    inverse = 1 / jnp.maximum(squares, jnp.finfo(squares.dtype).tiny)
    return [x * inverse * factor for x in rescaled]


@inversion.defjvp
def _inversion_jvp(primals, tangents):
    (xs,), (ts,) = primals, tangents
    us, inverse = unit(xs), inverse_norm(xs)
    along = 2 * inner(us, ts)
    slopes = [(t - u * along) * inverse for u, t in zip(us, ts, strict=True)]
    return inversion(xs), [slope * inverse for slope in slopes]


def power_of_two_near(size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A power of two p with p <= size < 2p, for size >= 0; and 1/p; 1 and 1 for 0.

    Neither has a derivative. Of infinity and NaN p is finite: divided by it, they stay
    what they are.
    """
    info = jnp.finfo(size.dtype)
    last, bias = info.nmant, info.maxexp - 1
    # Clearing the mantissa of a float rounds it down to a power of two. The exponents
    # of p and 1/p add up to twice that of 1.
    bits = lax.bitcast_convert_type(size, jnp.dtype(f"int{info.bits}"))
    exponent = jnp.minimum(bits >> last, 2 * bias - 1)  # of which 1/p is still normal
    exponent = jnp.where(size < info.tiny, bias, exponent)
    power = lax.bitcast_convert_type(exponent << last, size.dtype)
    return power, lax.bitcast_convert_type((2 * bias - exponent) << last, size.dtype)
