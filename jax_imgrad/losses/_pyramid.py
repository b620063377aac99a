"""The scales of a loss: an image and what belongs to its pixels, downsampled.

From one scale to the next, n pixels along an axis become ceil(n / 2). "skip" keeps
every second pixel. "mean" and "gaussian" average over the valid pixels of a window. Let
a[j] be the positive taps of the window, and v[i] be 1 at a valid pixel and 0 at any
other one, those beyond the border included. Then

    y[i] = sum over j of a[j] v[2i + j] x[2i + j] / sum over j of a[j] v[2i + j]

The sums are one stencil with zeros beyond the border, applied to v x and to v. A pixel
y[i] is valid if its divisor is not 0: if any pixel of its window is valid.

"gaussian" applies this to the values and the mask of the scale before. "mean" is over
the valid pixels of a block of 2**k pixels along each axis. If such a block is split in
two, the sums over the block are those over its halves, added. So dividend and divisor
go on to the next scale as they are, and are divided for the values of a scale only. The
taps are 1/2, so that the dividend is never larger than the largest pixel.

Without a mask, v is 1 inside the image. The divisor is then a product of one factor for
each axis, which depends only on the index along that axis.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._linear import stencil
from jax_imgrad._masks import Mask, ratio, without_invalid
from jax_imgrad._stencils import Stencil1D
from jax_imgrad.typing import Downsampling, Implementation

_WINDOWS = {
    "mean": ((0, 1 / 2), (1, 1 / 2)),
    "gaussian": ((-2, 1 / 16), (-1, 1 / 4), (0, 3 / 8), (1, 1 / 4), (2, 1 / 16)),
}


class Level(NamedTuple):
    """One scale.

    Attributes:
      image: an array `[B, ...]`, 0 where it is not valid.
      delta: a scalar, or an array that broadcasts to the image.
      weights: likewise, each.
      valid: mask of the valid pixels.
    """

    image: jax.Array
    delta: jax.Array
    weights: list[jax.Array]
    valid: Mask


def coarser_levels(
    finest: Level,
    scales: int,
    axes: tuple[int, ...],
    downsample: Downsampling,
    implementation: Implementation | None,
) -> Iterator[Level]:
    """The scales 1, ..., `scales - 1`; `finest` is scale 0.

    Weights are downsampled as the image is, and delta always by skipping pixels.
    """
    subsampled = (
        jax.tree.map(
            lambda x, k=k: _subsample(x, 2**k, axes, finest.image.ndim), finest
        )
        for k in range(1, scales)
    )
    if downsample == "skip":
        yield from subsampled
        return
    images, valid = _values(finest, axes), finest.valid
    dividends, divisors = images, _divisors(images[0], valid, axes)
    for level in subsampled:
        dividends, divisors = (
            [_averages(x, axes, downsample, implementation) for x in several]
            for several in (dividends, divisors)
        )
        images = [functools.reduce(ratio, divisors, x) for x in dividends]
        valid = None if valid is None else divisors[0] > 0
        if downsample == "gaussian":
            dividends, divisors = images, _divisors(images[0], valid, axes)
        yield Level(images[0], level.delta, images[1:], valid)


def _values(level: Level, axes: tuple[int, ...]) -> list[jax.Array]:
    """The image and the weights, 0 where not valid, with all pixels along the axes."""
    image, _, weights, valid = level
    several = [image]
    for one in weights:
        one = _with_rank(one, image.ndim)
        shape = [n if a in axes else one.shape[a] for a, n in enumerate(image.shape)]
        shape = image.shape if valid is not None else shape
        several.append(without_invalid(jnp.broadcast_to(one, shape), valid))
    return several


def _divisors(image: jax.Array, valid: Mask, axes: tuple[int, ...]) -> list[jax.Array]:
    """The factors of v: the mask, or one factor for each axis."""
    if valid is not None:
        return [valid.astype(image.dtype)]
    shapes = [
        [n if a == axis else 1 for a, n in enumerate(image.shape)] for axis in axes
    ]
    return [jnp.ones(shape, image.dtype) for shape in shapes]


def _averages(
    image: jax.Array,
    axes: Sequence[int],
    downsample: Downsampling,
    implementation: Implementation | None,
) -> jax.Array:
    """The sums of a[j] x[2i + j] along each of the axes."""
    for axis in axes:
        # A single pixel is its own average. To add zeros beyond the border would halve
        # dividend and divisor at each scale, until they underflow.
        if image.shape[axis] != 1:
            window = ((axis, Stencil1D(_WINDOWS[downsample], "constant")),)
            (sums,) = stencil([image], ((window,),), implementation)
            image = _subsample(sums, 2, [axis], image.ndim)
    return image


def _subsample(
    array: jax.Array, step: int, axes: Sequence[int], rank: int
) -> jax.Array:
    """Every `step`-th pixel along the axes; a scalar stays one."""
    if not array.ndim:
        return array
    steps = [step if axis in axes else 1 for axis in range(rank)]
    return _with_rank(array, rank)[tuple(slice(None, None, step) for step in steps)]


def _with_rank(array: jax.Array, rank: int) -> jax.Array:
    """The array with leading axes of size 1."""
    return lax.expand_dims(array, range(rank - array.ndim))
