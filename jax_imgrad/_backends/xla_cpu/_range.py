"""Sums of norms, squared without rescaling, and the check that this was exact.

The definition rescales the differences of each pixel before it squares them, which on a
CPU takes a third of the time of a sum. Here they are squared as they are, and the sum
is checked:

- A square that overflows makes the sum infinite.
- A square that underflows is wrong by less than the smallest number s, its root by less
  than the root of s, and a Charbonnier or Huber penalty of delta ε by less than s/ε.
  Sums that are many times as large as all of that together are exact.

If it was not exact, the sum is computed by the definition. The derivative cannot be
checked like that. It is computed from differences times a power of two that brings the
mean penalty of the image, or its delta if that is larger, near to 1. So it is that of
the definition, unless a difference is 2**63 times smaller than both: then its squares
underflow, and it counts as 0.
"""

import functools
from typing import TypeGuard

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla_cpu._rows import one_by_one
from jax_imgrad._dtypes import upcast
from jax_imgrad._norms import power_of_two_near
from jax_imgrad._penalties import Variation
from jax_imgrad._types import PenaltyFunction


def squares_may_leave(penalty: PenaltyFunction) -> TypeGuard[Variation]:
    """Whether a penalty is made of squares that may be out of range."""
    return isinstance(penalty, Variation) and penalty.has_norms


def exact(fast: jax.Array, penalty, images, parameters, axes) -> jax.Array:
    """The sums `fast`, `[B]`; or what they should be, if a square was out of range."""
    (image,) = images
    delta = parameters[0]
    terms = image[0].size * len(axes)
    limits = jnp.finfo(fast.dtype)
    root, smallest = 2.0 ** (limits.minexp // 2), float(limits.tiny)
    lost = jnp.minimum(root, smallest / _deltas_per_image(delta, len(fast)).min(1))
    is_exact = jnp.isfinite(fast) & (fast > terms * (lost / limits.eps))

    # One image at a time: this is rare, so that memory matters more than speed.
    definition = functools.partial(xla.functional, penalty, axes=axes)
    return lax.cond(
        is_exact.all(),
        lambda image: fast,
        lambda image: one_by_one(definition, [image], parameters),
        image,
    )


def factor_of_mean(totals, delta, image) -> jax.Array:
    """For each image a power of two that brings its differences near to 1."""
    mean = jnp.maximum(
        totals / image[0].size, _deltas_per_image(delta, len(totals)).max(1)
    )
    finite = jnp.isfinite(mean)  # or a pixel is infinite, or the sum of all
    size = lax.cond(
        finite.all(),
        lambda image: mean,
        lambda image: jnp.where(finite, mean, _largest_finite(image)),
        image,
    )
    return _factor(size)


def factor_per_row(factor: jax.Array, rows: jax.Array) -> jax.Array:
    """The factors of the images, to broadcast against arrays of rows."""
    each = jnp.repeat(factor, rows.shape[0] // factor.shape[0])
    return each.reshape(-1, *[1] * (rows.ndim - 1))


def rescaled_delta(delta: jax.Array, factor: jax.Array) -> jax.Array:
    """The delta times the factor, with a square that is not 0.

    XLA rewrites (c f)(c f), for a delta c that is a constant, to (c c)(f f), which may
    be 0: the bounds keep it from that, too.
    """
    limits = jnp.finfo(delta.dtype)
    return jnp.clip(delta * factor, 2.0 ** (limits.minexp // 2), limits.max)


def _factor(size: jax.Array) -> jax.Array:
    """A power of two near 1/size, or 1 for 0, whose square is finite and not 0.

    XLA rewrites (c f)(c f) to (c c)(f f) for a difference c that is the constant 0.
    """
    half = jnp.finfo(size.dtype).maxexp // 2
    near = jnp.clip(size, 2.0 ** (1 - half), 2.0 ** (half - 1))
    return power_of_two_near(jnp.where(size > 0, near, 1))[1]


def _deltas_per_image(delta: jax.Array, images: int) -> jax.Array:
    """The deltas of each image, `[B, ...]`; of one for all, `[1, 1]`."""
    return delta.reshape(images, -1) if delta.ndim else delta.reshape(1, 1)


def _largest_finite(image: jax.Array) -> jax.Array:
    sizes = jnp.abs(upcast(image))
    return jnp.where(jnp.isfinite(sizes), sizes, 0).max(tuple(range(1, image.ndim)))
