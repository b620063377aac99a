"""Penalties of differences, which are 0 at 0 and have well-defined derivatives there.

The file has two parts:

- `l1`, `l2`, `huber` and `charbonnier`: functions ρ(|x|) of the norm of a vector, given
  as a sequence of its components. `delta` (δ, or ε for Charbonnier) is the norm at
  which a penalty turns from quadratic to linear. Each follows the conventions and the
  notation of `_norms.py`, `in_range` included.
- `Variation`, `Coupled` and `half_quadratic`: penalties as `_functional.functional`
  takes them, functions of `(differences, parameters)`; see `_types.PenaltyFunction`.
  The parameters of each, in this order, are

      Variation, Coupled    delta, then the weights, then the masks
      half_quadratic        weight, then the masks

  where the masks say which differences are valid: one mask for each stencil, or none at
  all if every difference is valid. "l1" and "l2" ignore delta, but it must be given.
  For an isotropic or coupled "l1" it must be 0: `_backends/xla_cpu/_range.py` reads it.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._norms import (
    inner,
    inverse_norm,
    norm,
    real_components,
    rescale,
    squares_of,
    unit,
)


@jax.custom_jvp
def _clipped_quotient(x: jax.Array, delta: jax.Array) -> jax.Array:
    """The quotient x/δ for δ > 0, clipped where its square would overflow."""
    largest = _largest_ratio(x)
    return jnp.clip(x * (1 / delta), -largest, largest)


# (x/δ)' = x'/δ - x δ'/δ² = (x' - (x/δ) δ')/δ. The last form does not need 1/δ², which
# JAX's own derivative uses and which may be infinite. Where x/δ is clipped, it is
# constant.
@_clipped_quotient.defjvp
def _clipped_quotient_jvp(primals, tangents):
    (x, delta), (t, delta_tangent) = primals, tangents
    ratio = _clipped_quotient(x, delta)
    inside = jnp.abs(ratio) < _largest_ratio(x)
    return ratio, jnp.where(inside, (t - ratio * delta_tangent) * (1 / delta), 0)


def _largest_ratio(x: jax.Array) -> float:
    return 2.0 ** (jnp.finfo(x.dtype).maxexp // 2 - 4)


# `custom_jvp` for penalties `f(xs, delta, in_range)`, of which `in_range` is static.
_with_static_range = functools.partial(jax.custom_jvp, nondiff_argnums=(2,))


def l1(xs: Sequence[jax.Array], delta: jax.Array, in_range: bool = False) -> jax.Array:
    """|x|; it has no delta."""
    del delta
    return norm(xs, in_range)


@_with_static_range
def huber(
    xs: Sequence[jax.Array], delta: jax.Array, in_range: bool = False
) -> jax.Array:
    """|x|²/(2δ) where |x| <= δ, and |x| - δ/2 elsewhere, for δ > 0."""
    size = norm(xs, in_range)
    quadratic = inner(xs, [x * (0.5 / delta) for x in xs])
    return jnp.where(size <= delta, quadratic, size - delta / 2)


# With respect to x, the derivative of |x|²/(2δ) is x/δ, and that of |x| - δ/2 is u.
# With respect to δ, they are -|x|²/(2δ²) and -1/2, which is -m²/2 with
# m = min(|x|/δ, 1) in both cases.
@huber.defjvp
def _huber_jvp(in_range, primals, tangents):
    (xs, delta), (ts, delta_tangent) = primals, tangents
    m = jnp.minimum(_clipped_quotient(norm(xs, in_range), delta), 1)
    by_x = inner(_huber_slope(xs, delta, in_range), ts)
    return huber(xs, delta, in_range), by_x - 0.5 * (m * m) * delta_tangent


def _huber_slope(
    xs: Sequence[jax.Array], delta: jax.Array, in_range: bool
) -> list[jax.Array]:
    """The derivative with respect to x: x/δ where |x| <= δ, and x/|x| elsewhere."""
    ratios = [_clipped_quotient(x, delta) for x in xs]
    if len(xs) == 1:
        return [jnp.clip(ratios[0], -1, 1)]
    is_quadratic, us = norm(xs, in_range) <= delta, unit(xs, in_range)
    return [jnp.where(is_quadratic, r, u) for r, u in zip(ratios, us, strict=True)]


@_with_static_range
def charbonnier(
    xs: Sequence[jax.Array], epsilon: jax.Array, in_range: bool = False
) -> jax.Array:
    """sqrt(|x|² + ε²) - ε, for ε > 0."""
    # Computed as |x|²/(sqrt(|x|² + ε²) + ε), which is the same. It has no difference
    # of nearly equal numbers, and is exactly 0 at 0.
    if in_range:
        squares = squares_of(xs)
        return squares / (jnp.sqrt(squares + epsilon * epsilon) + epsilon)
    if len(xs) == 1:
        # Numerator and denominator divided by ε, with q = x/ε, whose square is finite.
        (x,) = xs
        q = _clipped_quotient(x, epsilon)
        return x * (q / (jnp.sqrt(q * q + 1) + 1))
    # The root is the norm of the vector (x, ε).
    (*rescaled, last), squares, _, _ = rescale([*xs, epsilon], False)
    denominator = jnp.maximum(jnp.sqrt(squares) + last, jnp.finfo(last.dtype).tiny)
    inverse = 1 / denominator
    return inner(xs, [x * inverse for x in rescaled])


# With R = sqrt(|x|² + ε²), the norm of the vector (x, ε), the penalty is v = R - ε and
#
#     dv/dx = x/R,    dv/dε = ε/R - 1 = -v/R
#
# x/R is the unit vector of (x, ε) without its last component. For a single component
# and q = x/ε, x/R = q/sqrt(q² + 1) and v/R = (x/R) q/(sqrt(q² + 1) + 1).
@charbonnier.defjvp
def _charbonnier_jvp(in_range, primals, tangents):
    (xs, epsilon), (ts, epsilon_tangent) = primals, tangents
    value = charbonnier(xs, epsilon, in_range)
    if len(xs) == 1 and not in_range:
        q = _clipped_quotient(xs[0], epsilon)
        slope = _charbonnier_slope(q)
        by_epsilon = slope * (q / (jnp.sqrt(q * q + 1) + 1))
        return value, slope * ts[0] - by_epsilon * epsilon_tangent
    vector = [*xs, epsilon]
    by_x = inner(unit(vector, in_range)[:-1], ts)
    return value, by_x - value * inverse_norm(vector, in_range) * epsilon_tangent


@jax.custom_jvp
def _charbonnier_slope(q: jax.Array) -> jax.Array:
    """q/sqrt(q² + 1), the derivative with respect to x at q = x/ε."""
    return q * lax.rsqrt(q * q + 1)


# (q/sqrt(q² + 1))' = (q² + 1 - q²)/(q² + 1)^(3/2) q' = (q² + 1)^(-3/2) q'. JAX's own
# derivative would subtract nearly equal numbers at large q.
@_charbonnier_slope.defjvp
def _charbonnier_slope_jvp(primals, tangents):
    (q,), (t,) = primals, tangents
    inverse = lax.rsqrt(q * q + 1)
    return _charbonnier_slope(q), inverse * inverse * inverse * t


def l2(xs: Sequence[jax.Array], delta: jax.Array, in_range: bool = False) -> jax.Array:
    """|x|²; it has no delta."""
    del delta, in_range
    return squares_of(xs)


# Penalties of the norm of a vector: `penalty(xs, delta, in_range)`.
PENALTIES = {"l1": l1, "l2": l2, "huber": huber, "charbonnier": charbonnier}


def _weight(
    name: str, xs: Sequence[jax.Array], delta: jax.Array, in_range: bool
) -> jax.Array:
    """ρ'(|x|)/|x|, the weight by which dρ/dx = weight * x; not for "l2"."""
    if name == "charbonnier":
        return inverse_norm([*xs, delta], in_range)
    weight = inverse_norm(xs, in_range)
    if name == "huber":
        return jnp.where(norm(xs, in_range) <= delta, 1 / delta, weight)
    return weight


@dataclasses.dataclass(frozen=True)
class Variation:
    """A penalty of the differences of each pixel.

    Isotropic: the penalty of the norm of all differences of the pixel. Otherwise: the
    sum of the penalties of its single differences. A complex difference, and the
    differences of several images, count as the vector of their real components.

    Except for "l2", the penalty is homogeneous of degree 1 in the differences and delta
    together, so its derivative is homogeneous of degree 0.

    Attributes:
      name: a key of `PENALTIES`.
      isotropic: whether the differences of a pixel are combined by their norm.
      weights: how many weights the penalty is multiplied by: 0, 1 (a weight of each
        pixel), or, unless it is isotropic or summed, one for each stencil.
      in_range: whether the squares of the differences are known to be in the range of
        their dtype.
      summed: whether the differences of a pixel are one difference in several parts,
        such as a Laplacian: the penalty is of their sum. Not supported for forward
        differences: the fast way for them assumes that the derivative by a difference
        that does not exist, at the border, is 0. Here it is the derivative by the sum,
        whose other parts may exist.
    """

    name: str
    isotropic: bool = False
    weights: int = 0
    in_range: bool = False
    summed: bool = False

    def __call__(
        self,
        differences: Sequence[Sequence[jax.Array]],
        parameters: Sequence[jax.Array],
    ) -> jax.Array:
        masks = self.masks(parameters)
        if self.isotropic:
            vectors = [_components(differences, masks)]
        else:
            vectors = _vectors(differences, masks)
        if self.summed:
            parts = zip(*vectors, strict=True)
            vectors = [[functools.reduce(jnp.add, part) for part in parts]]
        values = [self.rho(vector, parameters[0]) for vector in vectors]
        weights = self.weights_of(parameters)
        if len(weights) == len(values):
            values = [w * value for w, value in zip(weights, values, strict=True)]
            weights = []
        value = functools.reduce(jnp.add, values)
        return weights[0] * value if weights else value

    def rho(self, xs: Sequence[jax.Array], delta: jax.Array) -> jax.Array:
        """The penalty of one vector."""
        return PENALTIES[self.name](xs, delta, self.in_range)

    def weights_of(self, parameters: Sequence[jax.Array]) -> Sequence[jax.Array]:
        """The weights among the parameters."""
        return parameters[1 : 1 + self.weights]

    def masks(self, parameters: Sequence[jax.Array]) -> Sequence[jax.Array]:
        """The masks among the parameters."""
        return parameters[1 + self.weights :]

    @property
    def has_norms(self) -> bool:
        """Whether it squares differences and then takes a root.

        The squares may be out of range although the penalty is not.
        """
        return self.name == "charbonnier" or (self.isotropic and self.name != "l2")

    def assuming_in_range(self) -> "Variation":
        """The same penalty with `in_range=True`."""
        return dataclasses.replace(self, in_range=True)


def _vectors(
    differences: Sequence[Sequence[jax.Array]], masks: Sequence[jax.Array]
) -> list[list[jax.Array]]:
    """For each stencil, the real components of the differences of all images.

    They are 0 where the differences are not valid.
    """
    vectors = [
        [part for d in of_images for part in real_components(d)]
        for of_images in zip(*differences, strict=True)
    ]
    if not masks:
        return vectors
    return [
        [jnp.where(mask, d, 0) for d in vector]
        for mask, vector in zip(masks, vectors, strict=True)
    ]


def _components(
    differences: Sequence[Sequence[jax.Array]], masks: Sequence[jax.Array]
) -> list[jax.Array]:
    """The differences of each pixel as one vector of real components."""
    return [x for vector in _vectors(differences, masks) for x in vector]


@dataclasses.dataclass(frozen=True)
class Coupled(Variation):
    """The penalty of the norm of all differences of a pixel, over all its channels.

    A back end handles it separately from other penalties. It splits the single image
    into its channels and passes them as images, without the channel axis. And it
    computes the derivative in two steps: the derivative by a difference d is
    `weight * d`, with one weight for all the channels of a pixel. So it stores the
    weight, and uses it as the constant parameter of `half_quadratic`, whose derivative
    by d is `weight * d` too.
    """

    isotropic: bool = True

    def weight(
        self,
        differences: Sequence[Sequence[jax.Array]],
        parameters: Sequence[jax.Array],
    ) -> jax.Array:
        """The weight of each pixel, ρ'(|x|)/|x| of the vector x of its differences."""
        components = _components(differences, self.masks(parameters))
        weight = _weight(self.name, components, parameters[0], self.in_range)
        return functools.reduce(jnp.multiply, self.weights_of(parameters), weight)


def half_quadratic(
    differences: Sequence[Sequence[jax.Array]], parameters: Sequence[jax.Array]
) -> jax.Array:
    """The product of weight and |x|²/2, for the vector x of a pixel's differences."""
    weight, *masks = parameters
    return weight * (0.5 * squares_of(_components(differences, masks)))
