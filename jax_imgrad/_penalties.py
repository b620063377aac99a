"""Penalties of differences, zero at zero, with well-defined derivatives at zero.

A penalty is a function of the norm of a vector, ρ(|x|), and of `delta`, at which it
turns from quadratic to linear. `in_range` says that the squares of x are known to be in
the range of their dtype. The penalties of Huber and Charbonnier are smooth at 0, and so
are their derivatives here. All of them follow the rules in `_norms.py`.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._norms import inner, inverse_norm, norm, rescale, squares_of, unit


@jax.custom_jvp
def _ratio(x: jax.Array, delta: jax.Array) -> jax.Array:
    """X/s for s > 0, cut off where its square would overflow.

    Its derivative is (x' - (x/s) s')/s: JAX's own has 1/s², which may be infinite.
    """
    most = _largest_ratio(x)
    return jnp.clip(x * (1 / delta), -most, most)


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    (x, delta), (t, s) = primals, tangents
    ratio = _ratio(x, delta)
    inside = jnp.abs(ratio) < _largest_ratio(x)
    return ratio, jnp.where(inside, (t - ratio * s) * (1 / delta), 0)


def _largest_ratio(x: jax.Array) -> float:
    return 2.0 ** (jnp.finfo(x.dtype).maxexp // 2 - 4)


# A derivative rule of f(vector, delta, in_range), of which the last is static.
_with_delta = functools.partial(jax.custom_jvp, nondiff_argnums=(2,))


def l1(xs: Sequence[jax.Array], delta: jax.Array, in_range: bool = False) -> jax.Array:
    """|x|, whatever the delta."""
    del delta
    return norm(xs, in_range)


@_with_delta
def huber(
    xs: Sequence[jax.Array], delta: jax.Array, in_range: bool = False
) -> jax.Array:
    """x²/(2δ) where |x| <= δ, and |x| - δ/2 beyond, for δ > 0."""
    size = norm(xs, in_range)
    near = inner(xs, [x * (0.5 / delta) for x in xs])
    return jnp.where(size <= delta, near, size - delta / 2)


@huber.defjvp
def _huber_jvp(in_range, primals, tangents):
    (xs, delta), (ts, d) = primals, tangents
    share = jnp.minimum(_ratio(norm(xs, in_range), delta), 1)
    along = inner(_huber_slope(xs, delta, in_range), ts)
    return huber(xs, delta, in_range), along - 0.5 * (share * share) * d


def _huber_slope(xs, delta, in_range: bool) -> list[jax.Array]:
    """X/δ where |x| <= δ, and x/|x| beyond."""
    ratios = [_ratio(x, delta) for x in xs]
    if len(xs) == 1:
        return [jnp.clip(ratios[0], -1, 1)]
    near, us = norm(xs, in_range) <= delta, unit(xs, in_range)
    return [jnp.where(near, r, u) for r, u in zip(ratios, us, strict=True)]


@_with_delta
def charbonnier(
    xs: Sequence[jax.Array], epsilon: jax.Array, in_range: bool = False
) -> jax.Array:
    """sqrt(x² + ε²) - ε, for ε > 0."""
    # As x²/(sqrt(x² + ε²) + ε): nothing cancels, and it is exactly 0 at 0.
    if in_range:
        squares = squares_of(xs)
        return squares / (jnp.sqrt(squares + epsilon * epsilon) + epsilon)
    if len(xs) == 1:
        (x,) = xs
        r = _ratio(x, epsilon)
        return x * (r / (jnp.sqrt(r * r + 1) + 1))
    # The root is the norm of the vector (x, ε).
    (*rescaled, last), squares, _, _ = rescale([*xs, epsilon], False)
    denominator = jnp.maximum(jnp.sqrt(squares) + last, jnp.finfo(last.dtype).tiny)
    inverse = 1 / denominator
    return inner(xs, [x * inverse for x in rescaled])


@charbonnier.defjvp
def _charbonnier_jvp(in_range, primals, tangents):
    (xs, epsilon), (ts, e) = primals, tangents
    value = charbonnier(xs, epsilon, in_range)
    if len(xs) == 1 and not in_range:
        r = _ratio(xs[0], epsilon)
        slope = _charbonnier_slope(r)
        by_epsilon = slope * (r / (jnp.sqrt(r * r + 1) + 1))
        return value, slope * ts[0] - by_epsilon * e
    vector = [*xs, epsilon]
    along = inner(unit(vector, in_range)[:-1], ts)
    return value, along - value * inverse_norm(vector, in_range) * e


@jax.custom_jvp
def _charbonnier_slope(r: jax.Array) -> jax.Array:
    """r/sqrt(r² + 1), whose derivative is (r² + 1)^(-3/2)."""
    return r * lax.rsqrt(r * r + 1)


@_charbonnier_slope.defjvp
def _charbonnier_slope_jvp(primals, tangents):
    (r,), (t,) = primals, tangents
    inverse = lax.rsqrt(r * r + 1)
    return _charbonnier_slope(r), inverse * inverse * inverse * t


def l2(xs: Sequence[jax.Array], delta: jax.Array, in_range: bool = False) -> jax.Array:
    """x², whatever the delta."""
    del delta, in_range
    return squares_of(xs)


# Of a vector, by its norm alone: `penalty(xs, delta, in_range)`.
PENALTIES = {"l1": l1, "l2": l2, "huber": huber, "charbonnier": charbonnier}


def _weight(name: str, xs, delta, in_range: bool) -> jax.Array:
    """ρ'(|x|)/|x|: the derivative of the penalty is this weight times x."""
    if name == "charbonnier":
        return inverse_norm([*xs, delta], in_range)
    weight = inverse_norm(xs, in_range)
    if name == "huber":
        return jnp.where(norm(xs, in_range) <= delta, 1 / delta, weight)
    return weight


@dataclasses.dataclass(frozen=True)
class Variation:
    """The penalty of every difference, or of the norm of all those of a pixel.

    Its parameters are the delta of the penalty, and for each axis which differences are
    valid, or nothing where all are. Except for "l2" it is homogeneous of degree 1 in
    the differences and the delta together, and its derivative of degree 0.
    """

    name: str
    isotropic: bool = False
    in_range: bool = False

    def __call__(self, differences, parameters) -> jax.Array:
        delta, *valid = parameters
        parts = _valid_parts(differences, valid)
        if self.isotropic:
            return PENALTIES[self.name](parts, delta, self.in_range)
        return functools.reduce(
            jnp.add,
            [PENALTIES[self.name]([part], delta, self.in_range) for part in parts],
        )

    @property
    def has_norms(self) -> bool:
        """Whether it is made of norms, the squares of which may be out of range."""
        return self.name == "charbonnier" or (self.isotropic and self.name != "l2")

    def assuming_in_range(self) -> "Variation":
        """The same for differences whose squares are in the range of their dtype."""
        return dataclasses.replace(self, in_range=True)


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
class Coupled(Variation):
    """The penalty of the norm of all differences of a pixel of one image.

    The penalty receives one image for each channel, without the channel axis. Its
    derivative by a difference d is `weight * d`, with one weight for all channels of a
    pixel: that of `half_quadratic`, for which it is a constant.
    """

    isotropic: bool = True

    def weight(self, differences, parameters) -> jax.Array:
        """Of each pixel."""
        delta, *valid = parameters
        parts = _valid_parts(differences, valid)
        return _weight(self.name, parts, delta, self.in_range)


def half_quadratic(differences, parameters) -> jax.Array:
    """Half the weighted squares; the first parameter is the weight, not a delta."""
    weight, *valid = parameters
    return weight * (0.5 * squares_of(_valid_parts(differences, valid)))
