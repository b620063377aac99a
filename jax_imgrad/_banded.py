"""Applies stencils: along an axis, a stencil is a banded matrix.

A stencil with taps (k, w) computes

    y[i] = sum over the taps of w * x[i + k]

where a pixel i + k beyond the border stands for the pixels that the boundary condition
reads in its place, each with a factor: see `sources` in `_boundaries.py`. Sorted by the
offset o = j - i of the pixel j that is read, this is a sum over the diagonals of a
matrix:

    y[i] = sum over the offsets o of weight(o, i) * x[i + o]

In the interior the diagonals are the taps, with constant weights. In a few rows near
the border, the boundary condition changes weights and adds diagonals. The entry
A[i, i + o] is in row i + o of the transpose, on the diagonal -o. So a transpose is such
a sum too, with the rows of each diagonal o moved by o.

Every stencil and every transpose is therefore a weighted sum of shifted images. XLA
compiles it to one loop over the image, without a padded copy.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._boundaries import LEAST_SIZES
from jax_imgrad._differences import per_row, zero_margin
from jax_imgrad._stencils import SeparableStencil, Stencil1D, passes

# How to shift: `shift(image, {axis: offset})` is `image[i + offset]`, and 0 where there
# is no such pixel. See `shift_along` and `shift_at_once`.
Shift = Callable[[jax.Array, Mapping[int, Any]], jax.Array]


# Multiplies a shifted image by the weights of a diagonal.
Weights = Callable[[jax.Array], jax.Array]


class Diagonal(NamedTuple):
    """A diagonal of the matrix: `weight * x[i + offset]` in row i.

    A weight is None for a structural zero: the pixel is not read. A weight of 0.0 is an
    explicit zero, from taps that cancel: the pixel is read, and a NaN in it stays NaN.

    Attributes:
      offset: an integer, or an expression in the symbolic size of the axis.
      weight: in all rows except those in `rows` and in the margin.
      rows: pairs of a row and its weight. Negative rows count from the end.
      margin: how many rows at the start and at the end are structural zeros.
    """

    offset: Any
    weight: float | None
    rows: tuple[tuple[int, float | None], ...] = ()
    margin: tuple[int, int] = (0, 0)


def apply(stencil: SeparableStencil, image: jax.Array, shift: Shift) -> jax.Array:
    """The stencil applied to the image: a product with one matrix for each axis."""
    matrices = tuple(_Matrix.of(*pair, image.shape) for pair in stencil)
    terms = math.prod(len(matrix.diagonals) for matrix in matrices)
    for i, factors in enumerate(passes(matrices, terms)):
        if i:
            # The barrier stores the result of the pass before. Without it, XLA for CPU
            # would compute that again for each tap of this pass, and so would XLA for
            # GPU with boundary="wrap". In other cases XLA for GPU and for TPU stores it
            # anyway.
            image = lax.optimization_barrier(image)
        image = _product(factors, image, shift)
    return image


class _Matrix(NamedTuple):
    """The matrix of a stencil along an axis.

    Attributes:
      axis: along which it is applied.
      diagonals: of the matrix. If the stencil is centered, the first one is that of the
        pixel itself, which is subtracted from the others.
      pads: whether pixels beyond the border count as 0.
      centered: whether the stencil is.
    """

    axis: int
    diagonals: tuple[Diagonal, ...]
    pads: bool
    centered: bool

    @classmethod
    def of(cls, axis: int, stencil: Stencil1D, shape: tuple[Any, ...]) -> "_Matrix":
        size, pads = shape[axis], stencil.boundary == "constant"
        matrix = diagonals(stencil, size)
        # There are no diagonals for taps that read only zeros, from which the pixel
        # itself would have to be subtracted.
        short = pads and isinstance(size, int) and size <= max(stencil.reach)
        centered = stencil.centered and not short
        if centered:
            # A symbolic offset, of a wrapped axis, is not compared with 0.
            others = [d for d in matrix if not (type(d.offset) is int and not d.offset)]
            matrix = (Diagonal(0, 0.0), *others)
        return cls(axis, matrix, pads, centered)


def _product(matrices: Sequence[_Matrix], image: jax.Array, shift: Shift) -> jax.Array:
    """The product of the matrices and the image, in one loop over the image."""
    if not all(matrix.diagonals for matrix in matrices):
        return jnp.zeros_like(image)
    # First the shifted image for every combination of diagonals, in the order of
    # `itertools.product`, where the diagonals of the last axis vary fastest. Then the
    # weighted sums, along the last axis first: each replaces the consecutive terms that
    # differ only in their diagonal of that axis.
    combinations = itertools.product(
        *([d.offset for d in matrix.diagonals] for matrix in matrices)
    )
    axes = [matrix.axis for matrix in matrices]
    terms = [
        shift(image, dict(zip(axes, offsets, strict=True))) for offsets in combinations
    ]
    for matrix in reversed(matrices):
        count = len(matrix.diagonals)
        starts = range(0, len(terms), count)
        # Once for all sums along this axis, which have the same weights.
        weights = [_times_weights(d, image, matrix.axis) for d in matrix.diagonals]
        terms = [_sum(matrix, weights, terms[i : i + count]) for i in starts]
    (total,) = terms
    return total


def _sum(
    matrix: _Matrix, weights: Sequence[Weights], terms: Sequence[jax.Array]
) -> jax.Array:
    """The sum over the diagonals of their weights times the shifted images."""
    axis, weighted = matrix.axis, matrix.diagonals
    if matrix.centered:
        (center, *terms), (_, *weighted), (_, *weights) = terms, weighted, weights
        if not terms:
            return jnp.zeros_like(center)
        terms = [
            _less(center, term, matrix, diagonal.offset)
            for diagonal, term in zip(weighted, terms, strict=True)
        ]
    margins = [diagonal.margin for diagonal in weighted]
    # One mask of the sum if all diagonals have the same margin, else one for each term.
    common_margin = margins[0] if len({*margins}) == 1 else (0, 0)
    if not any(common_margin):
        terms = [
            zero_margin(term, axis, margin)
            for term, margin in zip(terms, margins, strict=True)
        ]
    terms = [multiply(term) for multiply, term in zip(weights, terms, strict=True)]
    return zero_margin(functools.reduce(jnp.add, terms), axis, common_margin)


def _less(
    center: jax.Array, shifted: jax.Array, matrix: _Matrix, offset: Any
) -> jax.Array:
    """The shifted image less the image, 0 where there is no pixel to subtract from."""
    if matrix.pads:
        return shifted - center
    size = center.shape[matrix.axis]

    def exists(_, row):
        return (row + offset >= 0) & (row + offset < size)

    mask = per_row(center, matrix.axis, exists)
    return jnp.where(mask, shifted - center, jnp.zeros((), center.dtype))


def _times_weights(diagonal: Diagonal, image: jax.Array, axis: int) -> Weights:
    """Multiplies shifted images by a diagonal's weights, before the margin is zeroed.

    Structural zeros are masked, not multiplied, so that a NaN does not pass.
    """
    usual, rows = diagonal.weight, diagonal.rows
    weights = {usual, *(weight for _, weight in rows)}
    numbers = [weight for weight in weights if weight is not None]
    values = mask = None
    if len(numbers) > 1:
        by_row = [(row, weight or 0.0) for row, weight in rows]
        values = _by_row(image, axis, usual or 0.0, by_row, image.dtype)
    if None in weights and values is not None and 0 not in numbers:
        mask = values != 0
    elif None in weights:
        entries = [(row, weight is not None) for row, weight in rows]
        mask = _by_row(image, axis, usual is not None, entries, np.dtype(bool))

    def multiply(shifted: jax.Array) -> jax.Array:
        scaled = times(shifted, numbers[0]) if values is None else shifted * values
        return scaled if mask is None else jnp.where(mask, scaled, 0)

    return multiply


def times(image: jax.Array, weight: float) -> jax.Array:
    """The image times a weight, in the dtype of the image."""
    # No multiplication by 1 and -1, the most frequent weights.
    if weight in (1, -1):
        return image if weight == 1 else -image
    return image * jnp.asarray(_in_dtype(weight, image.dtype))


def _in_dtype(weight: Any, dtype: np.dtype) -> np.ndarray:
    """A weight in the given dtype; a negative one wraps around in unsigned integers."""
    is_integer = jnp.issubdtype(dtype, jnp.integer)
    return np.asarray(int(weight) if is_integer else weight).astype(dtype)


def _by_row(
    image: jax.Array,
    axis: int,
    usual: float | bool,
    rows: Sequence[tuple[int, float | bool]],
    dtype: np.dtype,
) -> jax.Array:
    """The values given for `rows`, and `usual` in all other rows."""
    size = image.shape[axis]

    def values(numpy, index):
        out = numpy.full(index.shape, _in_dtype(usual, dtype), dtype)
        for row, value in rows:
            here = index == (row if row >= 0 else size + row)
            out = numpy.where(here, _in_dtype(value, dtype), out)
        return out

    return per_row(image, axis, values, costly=len(rows) > 2)


def diagonals(stencil: Stencil1D, size: Any) -> tuple[Diagonal, ...]:
    """The diagonals of the matrix for an axis of the given, possibly symbolic, size."""
    if isinstance(size, int):
        return _diagonals(stencil, size)
    # For a symbolic size. If the two borders do not meet, the border rows, counted from
    # the nearer end, are the same for every size. So they are those of a matrix of a
    # known size, large enough to tell the two ends apart.
    check_size(stencil, size)
    before, after = stencil.reach
    known = 8 * (before + after + 1)

    def from_end(row: int) -> int:
        return row - known if row >= known // 2 else row

    return tuple(
        diagonal._replace(
            offset=_offset(diagonal.offset, known, size),
            rows=tuple((from_end(row), weight) for row, weight in diagonal.rows),
        )
        for diagonal in _diagonals(stencil, known)
    )


def check_size(stencil: Stencil1D, size: Any) -> None:
    """Raises ValueError unless a symbolic size is known to be large enough.

    Large enough means that the borders do not meet and that the pixels exist that are
    reflected, or from which others are extrapolated.
    With "edge", the weight of a diagonal -k differs only in the row that reads the edge
    pixel, which is row k, counted from either end. So the borders may meet, but two
    such rows must not be the same one.
    """
    if stencil.boundary in ("interior", "constant"):
        return
    before, after = stencil.reach
    mirrored = max(before, after) + 1 if stencil.boundary == "reflect" else 0
    least = max(before + after, mirrored, LEAST_SIZES.get(stencil.boundary, 0))
    if stencil.boundary == "edge":
        least = min(least, 2)
    try:
        enough = size >= least
    except jax.errors.InconclusiveDimensionOperation:
        enough = False
    if not enough:
        raise ValueError(
            f"boundary={stencil.boundary!r} on an axis of unknown size {size} must "
            f"have at least {least} pixels; promise that, for example with jax.export."
            f"symbolic_shape('h, w', constraints=['h >= {least}', 'w >= {least}'])"
        )


def _offset(offset: int, known: int, size: Any) -> Any:
    """The offset on an axis of the given size, from that on an axis of a known size.

    Only an offset that wraps around to the opposite end depends on the size.
    """
    if abs(offset) < known // 2:
        return offset
    return offset - known + size if offset > 0 else offset + known - size


@functools.cache
def _diagonals(stencil: Stencil1D, size: int) -> tuple[Diagonal, ...]:
    """The diagonals of the matrix for an axis of a known size.

    Row i is a border row if one of its taps reads beyond the border: i < before or
    i >= size - after. All other rows have the taps as their entries. So a diagonal has
    the weight of the tap with its offset, or None if there is no such tap, except in
    the border rows where the entry differs.
    """
    if stencil.boundary == "interior":
        return _diagonals_of_interior(stencil, size)
    before, after = stencil.reach
    border = {
        i: stencil.entries(i, size)
        for i in range(size)
        if i < before or i >= size - after
    }
    taps = dict(stencil.taps)
    offsets = {j - i for i, entries in border.items() for j in entries}
    result = []
    for offset in sorted({*taps, *offsets}):
        usual = taps.get(offset)
        # Where i + offset is beyond the border, the shifted image is 0 already.
        weights = [
            (i, entries.get(i + offset))
            for i, entries in border.items()
            if 0 <= i + offset < size
        ]
        rows = tuple((i, weight) for i, weight in weights if weight != usual)
        if abs(offset) < size:
            result.append(Diagonal(offset, usual, rows))
    if not stencil.transposed:
        return tuple(result)
    # The entry A[i, i + o] is in row i + o of the transpose, on the diagonal -o.
    return tuple(
        Diagonal(-d.offset, d.weight, tuple((i + d.offset, w) for i, w in d.rows))
        for d in result
    )


def _diagonals_of_interior(stencil: Stencil1D, size: int) -> tuple[Diagonal, ...]:
    """The diagonals for boundary="interior".

    The rows with a tap beyond the border are zero: the first `before`, the last
    `after`.
    """
    before, after = stencil.reach
    taps = [(offset, weight) for offset, weight in stencil.taps if abs(offset) < size]
    if not stencil.transposed:
        # A shift gives 0 where the pixel is beyond the border. If only one diagonal
        # needs a mask nevertheless, as in a difference, that one gets it; else the sum.
        margins = [
            (before if -o < before else 0, after if o < after else 0) for o, _ in taps
        ]
        if sum(map(any, margins)) > 1:
            margins = [stencil.margin] * len(taps)
        return tuple(
            Diagonal(o, w, margin=m) for (o, w), m in zip(taps, margins, strict=True)
        )
    # The zero rows are zero columns of the transpose. In its row i, the diagonal -o is
    # in column i - o. That is a zero column if i - o < before or i - o >= size - after:
    # in the first before + o rows and in the last after - o rows. With before = 0, the
    # first o rows have a column i - o < 0, where the shifted image is 0 already; the
    # same holds for the last rows with after = 0.
    return tuple(
        Diagonal(
            -offset,
            weight,
            margin=(
                before + offset if before else 0,
                after - offset if after else 0,
            ),
        )
        for offset, weight in taps
    )
