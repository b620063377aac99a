"""Wide stencils: along an axis, a product with a few small matrices.

`_banded.py` reads the image once for each tap. For many taps that is a long program,
which takes long to compile and to run. But away from the borders every output is the
same sum of the pixels around it, so T outputs in a row are the product of one T×K
matrix, with the taps in each row moved by one, and the K = T + taps - 1 pixels that
they read:

    y[t : t + T] = M e[t : t + K],    M[i, j] = taps[j - i]

An axis of n pixels is cut into blocks of T outputs, the same matrix for each. This is a
block-Toeplitz matrix: XLA compiles it to one product for any number of taps.

Let e = E x be the image with the pixels beyond the border that the boundary condition
puts there, and B the Toeplitz matrix of the taps. The stencil is y = B E x. Its
transpose is E' B' y, where B' is the Toeplitz matrix of the taps in reversed order,
applied to y with zeros beyond the border, and E' adds what the pixels beyond the border
receive to the pixels that they were read from. The rows of E are taken from
`_boundaries.sources`, so this file knows no boundary condition by name, except those
that have zeros beyond the border.

A sum of shifted images has three properties that a product has not by itself:

- A pixel that is not read is multiplied by 0, and 0 times a NaN is a NaN. So infinities
  and NaNs are replaced by 0. Only if there are any, two more products find which
  outputs read them: one counts them, the other adds the signs of the infinities. From
  both follows which outputs are NaN and which are infinite.
- If a stencil is centered, its output is exactly 0 where all pixels that it reads are
  equal. With W[k], the sum of the taps up to tap k, which is 0 for the last one,

      sum over k of w[k] e[k] = - sum over k of W[k] (e[k + 1] - e[k])

  So a centered stencil is a stencil of differences, which are exactly 0 there.
- A product reads an axis in blocks. XLA would gather an axis that is sharded, so it is
  left to `_banded.py`.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad import _banded, _jax
from jax_imgrad._banded import Shift
from jax_imgrad._boundaries import sources
from jax_imgrad._differences import shift_at_once, zero_margin
from jax_imgrad._dtypes import upcast
from jax_imgrad._stencils import SeparableStencil, Stencil1D

# The most taps along an axis that are read one by one. Processor time of both
# derivatives of a Gaussian of 512 by 512 pixels on a CPU, by loops and by products, the
# least of several runs on a machine in use:
#
#   taps                    9         17        25        33        49        65
#   run, milliseconds       2 and 7   5 and 9   5 and 8   9 and 15  20 and 14 24 and 11
#   compile, seconds        1.3, 2.4  1.9, 2.4  2.3, 2.0  2.5, 2.4  4.2, 3.7  6.5, 3.7
#
# So products compile as fast from 25 taps on, and run as fast from about 40 on. The
# limit is where they compile as fast, since a program may have many stencils: a loss of
# all second derivatives of a volume, with 33 taps each, compiles in 45 s with loops.
MOST_TAPS = 25

# On a CPU, blocks are multiplied one by one if the axes after that of the stencil have
# at least so many numbers.
_LONG = 16

# Otherwise as many lines are multiplied at once as have at most so many numbers: they
# and their copies fit in the cache.
_PART = 1 << 18

# The boundary conditions with zeros beyond the border.
_ZEROS = ("interior", "constant")


def apply(stencil: SeparableStencil, image: jax.Array, shift: Shift) -> jax.Array:
    """The stencil applied to the image, along wide axes by a product.

    On several devices, only axes that are known not to be sharded take products.
    """
    # On several devices, shifts are along one axis after the other.
    one_device = shift is shift_at_once
    if not any(_is_product(factor, image, one_device) for factor in stencil):
        return _banded.apply(stencil, image, shift)
    for i, factor in enumerate(reversed(stencil)):
        if i:
            image = lax.optimization_barrier(image)  # as in `_banded.apply`
        if not _is_product(factor, image, one_device):
            image = _banded.apply((factor,), image, shift)
        elif one_device:
            image = product(*factor, image)
        else:
            image = _jax.on_each_shard(functools.partial(product, *factor), image)
    return image


def merged(
    stencils: Sequence[SeparableStencil], images: Sequence[jax.Array]
) -> tuple[Sequence[SeparableStencil], Sequence[jax.Array]]:
    """The stencils and images of a sum, where each wide stencil occurs once.

    The images of equal stencils are added.
    """
    of_stencil: dict[SeparableStencil, list[jax.Array]] = {}
    for stencil, image in zip(stencils, images, strict=True):
        of_stencil.setdefault(stencil, []).append(image)
    repeated = [stencil for stencil, several in of_stencil.items() if len(several) > 1]
    shape = images[0].shape
    if not any(is_wide(factor, shape) for stencil in repeated for factor in stencil):
        return stencils, images
    totals = [
        functools.reduce(jnp.add, map(upcast, several)) if len(several) > 1 else image
        for several in of_stencil.values()
        for image in several[:1]
    ]
    return [*of_stencil], totals


def _is_product(
    factor: tuple[int, Stencil1D], image: jax.Array, one_device: bool
) -> bool:
    if not is_wide(factor, image.shape):
        return False
    if one_device:
        return True
    is_explicit = _jax.is_explicitly_sharded(jax.typeof(image))
    return is_explicit and _jax.is_unsharded_along(image, factor[:1])


def is_wide(factor: tuple[int, Stencil1D], shape: tuple[Any, ...]) -> bool:
    """Whether a stencil along an axis reads many pixels of an image of this shape.

    False if a size is symbolic: the blocks are not known then.
    """
    axis, stencil = factor
    known = all(isinstance(size, int) for size in shape)
    # An axis of n pixels has the offsets from 1 - n to n - 1.
    return known and min(len(stencil.taps), 2 * shape[axis] - 1) > MOST_TAPS


# Under `jit`, a stencil that occurs several times in a program is traced once.
@functools.partial(jax.jit, static_argnums=(0, 1))
def product(axis: int, stencil: Stencil1D, image: jax.Array) -> jax.Array:
    """The stencil applied along an axis, in the dtype of the image."""
    if 0 in image.shape:
        return image
    if jnp.issubdtype(image.dtype, jnp.complexfloating):
        # The product with a complex matrix would take twice as long.
        parts = (product(axis, stencil, part) for part in (image.real, image.imag))
        return lax.complex(*parts)
    # The axes before the axis of the stencil are one axis, and those after it.
    before, after = math.prod(image.shape[:axis]), math.prod(image.shape[axis + 1 :])
    flat = image.reshape(before, image.shape[axis], after)
    applied = functools.partial(_apply, stencil)
    if jnp.issubdtype(image.dtype, jnp.integer):
        return applied(flat).reshape(image.shape)
    contained = functools.partial(_with_nonfinite, stencil)
    result = lax.cond(_is_finite(flat), applied, contained, flat)
    return result.reshape(image.shape)


def _is_finite(image: jax.Array) -> jax.Array:
    """Whether there is no infinity and no NaN in the image."""
    # The sum is finite if all pixels are: weighted so, it cannot overflow. XLA for CPU
    # vectorizes the product, and would not vectorize a reduction.
    count = math.prod(image.shape[1:])
    weight = 0.5 ** math.ceil(math.log2(image.size) + 1)
    weights = jnp.full(count, weight, image.dtype)
    return jnp.isfinite(jnp.sum(image.reshape(-1, count) @ weights))


def _with_nonfinite(stencil: Stencil1D, image: jax.Array) -> jax.Array:
    """The stencil applied to an image with infinities or NaNs.

    An output that reads none of them does not depend on them. An output that reads
    infinities only, times weights that make all of them the same infinity, is that
    infinity. The other outputs are NaN.
    """
    finite = jnp.isfinite(image)
    result = _apply(stencil, jnp.where(finite, image, 0))
    weights = dict(stencil.taps)
    if stencil.centered:  # the pixel itself is subtracted from the others
        weights = {0: 0.0, **weights}
    reads = tuple((offset, 1.0) for offset in weights)
    signs = tuple((offset, float(np.sign(w))) for offset, w in weights.items())
    reading = stencil._replace(taps=reads, centered=False, is_pattern=True)
    count = _apply(reading, (~finite).astype(image.dtype))
    sign = jnp.where(jnp.isinf(image), jnp.sign(image), 0)
    total = _apply(reading._replace(taps=signs, is_pattern=False), sign)
    # With a zero among the weights, or a NaN or another sign among the pixels, the
    # total is less than the count.
    infinite = jnp.copysign(jnp.asarray(jnp.inf, image.dtype), total)
    instead = jnp.where(jnp.abs(total) == count, infinite, jnp.nan)
    return jnp.where(count == 0, result, instead)


def _apply(stencil: Stencil1D, image: jax.Array) -> jax.Array:
    """The stencil applied along the middle axis of an image of three axes.

    A pattern is not applied exactly: a pixel may be counted several times, but it is
    counted if it is read.
    """
    before, after = stencil.reach
    taps = np.zeros(before + after + 1)
    for offset, weight in stencil.taps:
        taps[before + offset] = weight
    if not stencil.transposed:
        extended = _extended(image, stencil)
        if stencil.centered:
            extended, taps = extended[:, 1:] - extended[:, :-1], -np.cumsum(taps)[:-1]
        return zero_margin(_correlated(taps, extended), 1, stencil.margin)
    if stencil.boundary == "interior":  # the outputs that are 0 are not read
        image = zero_margin(image, 1, stencil.reach)
    if stencil.boundary in _ZEROS:
        return _correlated(taps[::-1], _padded(image, after, before))
    both = before + after
    received = _correlated(taps[::-1], _padded(image, both, both))
    return _folded(received, stencil)


def _padded(image: jax.Array, before: int, after: int) -> jax.Array:
    """The image with zeros before and after it, along the middle axis."""
    if not (before or after):
        return image
    padding = ((0, 0, 0), (before, after, 0), (0, 0, 0))
    return lax.pad(image, jnp.zeros((), image.dtype), padding)


def _extended(image: jax.Array, stencil: Stencil1D) -> jax.Array:
    """The image with the pixels beyond the border that the stencil reads."""
    if stencil.boundary in _ZEROS:
        return _padded(image, *stencil.reach)
    start, end = (
        _beyond(border, image, edge, stencil.is_pattern)
        for border, edge in zip(
            _borders(stencil, image.shape[1]),
            (image[:, :1], image[:, -1:]),
            strict=True,
        )
    )
    return lax.concatenate([start, image, end], 1)


def _beyond(
    border: "_Border", image: jax.Array, edge: jax.Array, is_pattern: bool
) -> jax.Array:
    """The pixels beyond one end of the image, of which `edge` is the last one.

    The weights of an extrapolation add up to 1. Those of the differences to the edge
    continue an image that is constant there without rounding.
    """
    weights, read = border
    extrapolates = (np.count_nonzero(weights, axis=1) > 1).any()
    if extrapolates and not is_pattern:
        return edge + _times(weights, image[:, read] - edge)
    return _times(weights, image[:, read])


def _folded(extended: jax.Array, stencil: Stencil1D) -> jax.Array:
    """The transpose of `_extended`: adds the pixels beyond the border to others."""
    before, after = stencil.reach
    size = extended.shape[1] - before - after
    image = extended[:, before : before + size]
    ends = extended[:, :before], extended[:, before + size :]
    for (weights, read), end in zip(_borders(stencil, size), ends, strict=True):
        added = _times(weights.T, end)
        image = image + _padded(added, read.start, size - read.stop)
    return image


class _Border(NamedTuple):
    """The pixels beyond one end of an axis, as sums of pixels of the image.

    Attributes:
      weights: a matrix, with a row for each pixel beyond the border.
      read: the pixels of the image that its columns stand for.
    """

    weights: np.ndarray
    read: slice


def _borders(stencil: Stencil1D, size: int) -> list[_Border]:
    """The pixels beyond both ends of an axis, as far as a stencil reaches.

    The weights of a pattern are positive, so that they do not cancel.
    """
    before, after = stencil.reach
    borders = []
    for beyond in (range(-before, 0), range(size, size + after)):
        rows = [dict(sources(pixel, size, stencil.boundary)) for pixel in beyond]
        read = [column for row in rows for column in row]
        first, stop = (min(read), max(read) + 1) if read else (0, 1)
        weights = np.zeros((len(rows), stop - first))
        for number, row in enumerate(rows):
            for column, factor in row.items():
                weights[number, column - first] = factor
        weights = np.abs(weights) if stencil.is_pattern else weights
        borders.append(_Border(weights, slice(first, stop)))
    return borders


def _correlated(taps: np.ndarray, image: jax.Array) -> jax.Array:
    """The sum over k of `taps[k] * image[i + k]`, where there are all these pixels."""
    others = len(taps) - 1
    size = image.shape[1] - others
    # More outputs in a block multiply more zeros; fewer read more pixels twice.
    blocks = max(1, round(size / (64 if others <= 64 else 128)))
    height = -(-size // blocks)
    matrix = np.zeros((height, height + others))
    for row in range(height):
        matrix[row, row : row + len(taps)] = taps
    # The blocks of a whole number of rows, with zeros beyond the end.
    image = _padded(image, 0, blocks * height - size)
    in_a_loop = _one_by_one if image.shape[2] >= _LONG else _in_parts
    at_once, in_a_loop = (
        functools.partial(function, matrix, blocks=blocks)
        for function in (_at_once, in_a_loop)
    )
    # XLA for CPU allocates large temporaries anew in each call, which takes longer than
    # the product.
    result = lax.platform_dependent(image, cpu=in_a_loop, default=at_once)
    return result[:, :size]


def _one_by_one(matrix: np.ndarray, image: jax.Array, *, blocks: int) -> jax.Array:
    """The product of the matrix and every block, in a loop: it copies no block."""
    before, _, after = image.shape
    height, width = matrix.shape
    if before * blocks == 1:
        return _times(matrix, image)

    def product_of(number: jax.Array) -> jax.Array:
        start = (number // blocks, number % blocks * height, 0)
        block = lax.dynamic_slice(image, start, (1, width, after))
        return _times(matrix, block)[0]

    result = lax.map(product_of, jnp.arange(before * blocks))
    return result.reshape(before, blocks * height, after)


def _in_parts(matrix: np.ndarray, image: jax.Array, *, blocks: int) -> jax.Array:
    """The product of the matrix and all blocks, for some lines at a time."""
    lines = image.shape[0]
    most = max(1, lines * _PART // image.size)
    each = next(n for n in range(min(most, lines), 0, -1) if lines % n == 0)
    at_once = functools.partial(_at_once, matrix, blocks=blocks)
    if each == lines:
        return at_once(image)
    result = lax.map(at_once, image.reshape(-1, each, *image.shape[1:]))
    return result.reshape(lines, *result.shape[2:])


def _at_once(matrix: np.ndarray, image: jax.Array, *, blocks: int) -> jax.Array:
    """The product of the matrix and all blocks: they overlap, so they are copied."""
    before, _, after = image.shape
    height, width = matrix.shape
    if blocks > 1:
        pieces = -(-width // height)
        image = _padded(image, 0, (blocks + pieces - 1) * height - image.shape[1])
        shape = (before * blocks, height, after)
        windows = [
            image[:, k * height : (k + blocks) * height].reshape(shape)
            for k in range(pieces)
        ]
        windows[-1] = windows[-1][:, : width - (pieces - 1) * height]
        image = lax.concatenate(windows, 1)
    return _times(matrix, image).reshape(before, blocks * height, after)


def _times(matrix: np.ndarray, image: jax.Array) -> jax.Array:
    """The product of a matrix and the middle axis of an image."""
    is_integer = jnp.issubdtype(image.dtype, jnp.integer)
    weights = matrix.astype(np.int64 if is_integer else float).astype(image.dtype)
    multiply = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    if image.shape[2] == 1:
        return multiply("bk,tk->bt", image[..., 0], weights)[..., None]
    return multiply("tk,bks->bts", weights, image)
