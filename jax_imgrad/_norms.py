"""Absolute values, powers, norms and angles, with well-defined derivatives at zero.

In JAX, the derivative of |x| at 0 is 1 and that of the square root is infinite. With
them, a constant image would have a total variation whose derivative is nonzero or NaN.
Here both derivatives are 0 at 0, as in TensorFlow and PyTorch. Three conventions keep
derivatives of every order correct and every magnitude in range:

- The primal output of a derivative rule is the function itself, so that differentiating
  a second time applies the rule again. With `jnp.abs(x)` as primal output, the second
  derivative of `absolute(x) ** 2` would use JAX's own |x|' = 1 at 0.
- A derivative that exists at 0, as that of |x|^a for a > 1, is returned as it is. Only
  one that does not exist is replaced by 0.
- If squares would overflow or underflow, the numbers are first multiplied by a power of
  two. So a norm overflows or underflows only if its result does.

In the derivative rules below, x is the primal input, x' its tangent, |x| the Euclidean
norm, <x, y> the inner product and u = x/|x| the unit vector. `in_range=True` means that
the caller guarantees that no square overflows or underflows.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax


def absolute(x: jax.Array) -> jax.Array:
    """|x| of real or complex numbers."""
    return norm([x])


@jax.custom_jvp
def _absolute(x: jax.Array) -> jax.Array:
    """|x| of real numbers."""
    return jnp.abs(x)


# |x|' = sign(x) x', with sign(0) = 0.
@_absolute.defjvp
def _absolute_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return _absolute(x), jnp.sign(x) * t


# `custom_jvp` for functions of arrays and one static argument.
_with_option = functools.partial(jax.custom_jvp, nondiff_argnums=(1,))


@_with_option
def power(x: jax.Array, exponent: float) -> jax.Array:
    """|x|^a, and 0 at 0 for a negative exponent a.

    `power` and `signed_power` are each other's derivatives, at every order:

        d/dx |x|^a = a sign(x) |x|^(a-1)
        d/dx (sign(x) |x|^a) = a |x|^(a-1)
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
    """The product of sign(x) and |x|^a, which is 0 at 0."""
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
    """The Euclidean norm of the vector whose components are the arrays `xs`.

    A complex component counts as two real ones. The norm of a single real component is
    its absolute value, without rounding.
    """
    real = [part for x in xs for part in real_components(x)]
    return _norm(real, in_range) if len(real) > 1 else _absolute(real[0])


def real_components(x: jax.Array) -> list[jax.Array]:
    """The array, or its real and its imaginary part."""
    return [x.real, x.imag] if jnp.iscomplexobj(x) else [x]


@_with_option
def _norm(xs: Sequence[jax.Array], in_range: bool) -> jax.Array:
    """The norm of two or more real components."""
    _, squares, _, inverse = rescale(xs, in_range)
    return jnp.sqrt(squares) * inverse


# From |x|² = <x, x> follows 2 |x| |x|' = 2 <x, x'>, and so |x|' = <u, x'>. At 0, u is 0
# by convention, and so is the derivative.
@_norm.defjvp
def _norm_jvp(in_range, primals, tangents):
    (xs,), (ts,) = primals, tangents
    return _norm(xs, in_range), inner(unit(xs, in_range), ts)


@_with_option
def unit(xs: Sequence[jax.Array], in_range: bool = False) -> list[jax.Array]:
    """The unit vector u = x/|x|, and 0 where x is 0."""
    rescaled, squares, _, _ = rescale(xs, in_range)
    inverse = lax.rsqrt(jnp.maximum(squares, jnp.finfo(squares.dtype).tiny))
    return [x * inverse for x in rescaled]


# By the quotient rule u' = x'/|x| - x |x|'/|x|². With |x|' = <u, x'>,
#
#     u' = (x' - u <u, x'>)/|x|
#
# which is the part of x' orthogonal to u, divided by |x|.
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


# (1/|x|)' = -|x|'/|x|² = -<u, x'>/|x|². The two divisions are two products with 1/|x|,
# since 1/|x|² alone could overflow.
@inverse_norm.defjvp
def _inverse_norm_jvp(in_range, primals, tangents):
    (xs,), (ts,) = primals, tangents
    inverse = inverse_norm(xs, in_range)
    return inverse, -(inner(unit(xs, in_range), ts) * inverse) * inverse


def rescale(
    xs: Sequence[jax.Array], in_range: bool
) -> tuple[Sequence[jax.Array], jax.Array, jax.Array | int, jax.Array | int]:
    """The vector multiplied by a power of two such that its squares stay in range.

    Three factors suffice: a large one where the sum of squares is small, a small one
    where it is large, and 1 elsewhere.

    Returns:
      The rescaled vector, the sum of its squares, the factor, and 1/factor.
    """
    squares = squares_of(xs)
    if in_range:
        return xs, squares, 1, 1
    infinite = jnp.finfo(squares.dtype).maxexp  # 2**infinite overflows
    bound = infinite * 5 // 8
    small, large = squares < 2.0 ** (-infinite * 5 // 8), squares > 2.0**bound

    def choose(if_small, if_large):
        factor = jnp.where(small, if_small, jnp.where(large, if_large, 1.0))
        return factor.astype(squares.dtype)

    # XLA rewrites (c f)(c f), where c is a constant and f the factor, to (c c)(f f).
    # This affects the constant zeros at a border: f f must be finite, or 0 times
    # infinity would make a NaN.
    up, down = infinite // 2 - 1, infinite // 2
    factor, inverse = choose(2.0**up, 2.0**-down), choose(2.0**-up, 2.0**down)
    rescaled = [x * factor for x in xs]
    # It also affects a small constant delta, of which c c would underflow to 0. The
    # minimum changes no value; it stands in the way of the rewriting.
    largest = float(jnp.finfo(squares.dtype).max)
    rescaled = [
        y if x.ndim else jnp.minimum(y, largest)
        for x, y in zip(xs, rescaled, strict=True)
    ]
    return rescaled, squares_of(rescaled), factor, inverse


def squares_of(xs: Sequence[jax.Array]) -> jax.Array:
    """|x|² = <x, x>, without rescaling."""
    return inner(xs, xs)


def inner(xs: Sequence[jax.Array], ys: Sequence[jax.Array]) -> jax.Array:
    """The inner product <x, y> of two real vectors."""
    return functools.reduce(jnp.add, [x * y for x, y in zip(xs, ys, strict=True)])


@jax.custom_jvp
def angle(y: jax.Array, x: jax.Array) -> jax.Array:
    """The angle atan2(y, x) of a vector, and 0 where the vector is 0."""
    return jnp.where((y == 0) & (x == 0), 0, jnp.arctan2(y, x))


# angle' = (x y' - y x')/(x² + y²). The quotients y/(x² + y²) and x/(x² + y²) are the
# inversion of the vector, which is 0 at 0.
@angle.defjvp
def _angle_jvp(primals, tangents):
    (y_tangent, x_tangent), (y, x) = tangents, inversion(list(primals))
    return angle(*primals), x * y_tangent - y * x_tangent


@jax.custom_jvp
def inversion(xs: Sequence[jax.Array]) -> list[jax.Array]:
    """The inversion x/|x|² in the unit circle, and 0 at 0."""
    rescaled, squares, factor, _ = rescale(xs, False)
    inverse = 1 / jnp.maximum(squares, jnp.finfo(squares.dtype).tiny)
    return [x * inverse * factor for x in rescaled]


# (x/|x|²)' = x'/|x|² - 2 x <x, x'>/|x|⁴ = (x' - 2 u <u, x'>)/|x|². As above, the
# division by |x|² is two products with 1/|x|.
@inversion.defjvp
def _inversion_jvp(primals, tangents):
    (xs,), (ts,) = primals, tangents
    us, inverse = unit(xs), inverse_norm(xs)
    along = 2 * inner(us, ts)
    slopes = [(t - u * along) * inverse for u, t in zip(us, ts, strict=True)]
    return inversion(xs), [slope * inverse for slope in slopes]


def power_of_two_near(size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For a size >= 0, the power of two p with p <= size < 2p, and 1/p.

    For a size of 0 both are 1. Their derivative is 0. For infinity and NaN, p is
    finite, so that dividing them by p leaves them as they are.
    """
    info = jnp.finfo(size.dtype)
    last, bias = info.nmant, info.maxexp - 1
    # Clearing the mantissa of a float rounds it down to a power of two. The exponent
    # bits of p and 1/p add up to twice the exponent bits of 1, which are the bias.
    bits = lax.bitcast_convert_type(size, jnp.dtype(f"int{info.bits}"))
    exponent = jnp.minimum(bits >> last, 2 * bias - 1)  # the last with a normal 1/p
    exponent = jnp.where(size < info.tiny, bias, exponent)
    power = lax.bitcast_convert_type(exponent << last, size.dtype)
    return power, lax.bitcast_convert_type((2 * bias - exponent) << last, size.dtype)


def ratio(total: jax.Array, number: jax.Array) -> jax.Array:
    """`total / number`, and 0 where `number` is 0."""
    not_empty = number > 0
    return jnp.where(not_empty, total / jnp.where(not_empty, number, 1), 0)
