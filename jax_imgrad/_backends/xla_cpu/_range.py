"""Norms without rescaling each pixel: the check of a sum, the scaling of a derivative.

To keep squares in range, the definition rescales the differences of each pixel before
it squares them. On a CPU that takes a third of the time of a sum. Here the differences
are squared without rescaling, and the sum is checked afterwards:

- If a square overflows, the sum is infinite.
- If a square underflows, its absolute error is less than s, the smallest normal number.
  A norm sqrt(S) then has an error of less than sqrt(s) for each such square, since
  sqrt(S + s) - sqrt(S) <= sqrt(s). A Charbonnier or Huber penalty of delta δ also has
  an error of less than s/δ, since its derivative by S is at most 1/(2δ).

So a sum of N differences has an absolute error of less than N min(sqrt(s), s/δ) from
underflow; if the differences have weights, N is the sum of the weights. The sum is
accepted if that is less than the machine epsilon times the sum, and otherwise computed
again by the definition. For a norm alone, "l1", the bound is sqrt(s): its unused delta
must be 0.

A derivative cannot be checked like that. But it does not change if the differences and
delta are multiplied by a common factor, see `_penalties.Variation`. So they are
multiplied by one power of two per image. With m the larger of the mean penalty of the
image and its delta, that power is near 1/m. The derivative is then that of the
definition, except for a difference that is (in float32) 2**63 times smaller than m: its
square underflows, and it counts as 0.
"""

import functools
from collections.abc import Sequence
from typing import TypeGuard

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla_cpu._rows import one_by_one
from jax_imgrad._dtypes import upcast
from jax_imgrad._norms import power_of_two_near, ratio
from jax_imgrad._penalties import Variation
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad._types import PenaltyFunction


def is_checked(
    penalty: PenaltyFunction, images: Sequence[jax.Array]
) -> TypeGuard[Variation]:
    """Whether squares may leave their range, and are computed without rescaling."""
    is_one = len(images) == 1 and not jnp.iscomplexobj(images[0])
    return is_one and isinstance(penalty, Variation) and penalty.has_norms


def exact(
    fast: jax.Array,
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    weight: jax.Array,
) -> jax.Array:
    """The sums `fast`, `[B]`, or those of the definition if a square left its range.

    `fast` was computed without rescaling, and `weight` is N as above, for each image.
    The other arguments are those of `functional`.
    """
    (image,) = images
    delta = parameters[0]
    limits = jnp.finfo(fast.dtype)
    root, smallest = 2.0 ** (limits.minexp // 2), float(limits.tiny)
    error = jnp.minimum(root, smallest / _deltas_per_image(delta, len(fast)).min(1))
    is_exact = jnp.isfinite(fast) & (fast > weight * (error / limits.eps))

    # The definition is needed rarely, so memory matters more than speed: it computes
    # one image at a time.
    definition = functools.partial(xla.functional, penalty, stencils=stencils)
    return lax.cond(
        is_exact.all(),
        lambda image: fast,
        lambda image: one_by_one(definition, [image], parameters),
        image,
    )


def factor_of_mean(
    totals: jax.Array, weight: jax.Array, delta: jax.Array, image: jax.Array
) -> jax.Array:
    """For each image, `[B]`, a power of two that brings its differences near to 1.

    `totals` are the sums of the penalty over each image, and `weight` is N as above.
    """
    mean = jnp.maximum(
        ratio(totals, weight), _deltas_per_image(delta, len(totals)).max(1)
    )
    # Not finite if a pixel is infinite or the sum overflows. Then the largest finite
    # pixel takes the place of the mean.
    finite = jnp.isfinite(mean)
    size = lax.cond(
        finite.all(),
        lambda image: mean,
        lambda image: jnp.where(finite, mean, _largest_finite(image)),
        image,
    )
    return _factor(size)


def factor_per_row(factor: jax.Array, rows: jax.Array) -> jax.Array:
    """The factors of the images, `[B]`, in a shape that broadcasts against `rows`."""
    each = jnp.repeat(factor, rows.shape[0] // factor.shape[0])
    return each.reshape(-1, *[1] * (rows.ndim - 1))


def rescaled_delta(delta: jax.Array, factor: jax.Array) -> jax.Array:
    """The delta times the factor, clipped so that its square is not 0."""
    limits = jnp.finfo(delta.dtype)
    # XLA rewrites (c f)(c f), for a delta that is a constant c, to (c c)(f f), which
    # may underflow to 0. Clipping also prevents this.
    return jnp.clip(delta * factor, 2.0 ** (limits.minexp // 2), limits.max)


def _factor(size: jax.Array) -> jax.Array:
    """A power of two near 1/size, or 1 for a size of 0.

    Its square is finite and not 0: for a difference that is the constant 0, XLA
    rewrites (0 f)(0 f) to (0 0)(f f), which is NaN if f f is infinite.
    """
    half = jnp.finfo(size.dtype).maxexp // 2
    near = jnp.clip(size, 2.0 ** (1 - half), 2.0 ** (half - 1))
    return power_of_two_near(jnp.where(size > 0, near, 1))[1]


def _deltas_per_image(delta: jax.Array, images: int) -> jax.Array:
    """The deltas of each image, `[B, N]`, or `[1, 1]` for a scalar delta."""
    return delta.reshape(images, -1) if delta.ndim else delta.reshape(1, 1)


def _largest_finite(image: jax.Array) -> jax.Array:
    """The largest finite absolute value of each image, `[B]`."""
    sizes = jnp.abs(upcast(image))
    return jnp.where(jnp.isfinite(sizes), sizes, 0).max(tuple(range(1, image.ndim)))
