"""A stencil along an axis, with its boundary condition, as a banded matrix.

    y[i] = sum over the taps (k, w) of w * x[source(i + k)]

where `source` gives the pixel that stands in for one beyond the border. Collected by
the offset of the pixel that is read, that is a sum over the diagonals of the matrix,

    y[i] = sum over the offsets o of weight(o, i) * x[i + o]

Away from the border, the offsets and weights are those of the taps; in a few rows near
the border, the boundary condition changes weights and adds diagonals. The transpose has
the diagonal -o for each diagonal o, moved by o rows. So every stencil, and its
transpose, is one sum of shifted images with weights, from which XLA makes one loop,
without a padded copy of the image.
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

from jax_imgrad._differences import per_row, zero_margin
from jax_imgrad._stencils import SeparableStencil, Stencil1D, passes
from jax_imgrad.typing import Boundary

# `shifted(image, {axis: offset})` is `image[i + offset]`, and 0 beyond the border.
Shifted = Callable[[jax.Array, Mapping[int, Any]], jax.Array]


class Diagonal(NamedTuple):
    """`weight * x[i + offset]` at pixel i, with other weights in some rows.

    A weight of None means that the matrix has no entry there: the pixel is not read. A
    weight of 0 is an entry, of taps that cancel: a NaN that it multiplies stays NaN.
    """

    offset: Any  # an integer, or an expression in the unknown size of the axis
    weight: float | None
    rows: tuple[tuple[int, float | None], ...] = ()  # below 0: counted from the end
    margin: tuple[int, int] = (0, 0)  # rows at either end that have no entry


def apply(stencil: SeparableStencil, image: jax.Array, shifted: Shifted) -> jax.Array:
    """The product of the matrices, one for each axis, times the image."""
    matrices = tuple((axis, diagonals(one, image.shape[axis])) for axis, one in stencil)
    terms = math.prod(len(matrix) for _, matrix in matrices)
    for i, some in enumerate(passes(matrices, terms)):
        if i:
            # Materialized: XLA for CPU would otherwise compute it anew for each tap
            # along this axis, and so would XLA for GPU of a wrapped image. Other
            # programs for a GPU or a TPU store it without a barrier, too.
            image = lax.optimization_barrier(image)
        image = _product(some, image, shifted)
    return image


def _product(
    matrices: Sequence[tuple[int, tuple[Diagonal, ...]]],
    image: jax.Array,
    shifted: Shifted,
) -> jax.Array:
    """The product of the matrices times the image, in one loop over it."""
    if not all(matrix for _, matrix in matrices):
        return jnp.zeros_like(image)
    # The image at the offsets of every combination of diagonals, the last axis fastest;
    # then the weighted sum along one axis after the other, from the last.
    offsets = itertools.product(*([d.offset for d in matrix] for _, matrix in matrices))
    axes = [axis for axis, _ in matrices]
    terms = [shifted(image, dict(zip(axes, at, strict=True))) for at in offsets]
    for axis, matrix in reversed(matrices):
        starts = range(0, len(terms), len(matrix))
        terms = [_sum(matrix, terms[i : i + len(matrix)], axis) for i in starts]
    (total,) = terms
    return total


def _sum(
    matrix: tuple[Diagonal, ...], shifted: Sequence[jax.Array], axis: int
) -> jax.Array:
    """The sum over the diagonals of their weights times the shifted images."""
    margins = [diagonal.margin for diagonal in matrix]
    of_sum = margins[0] if len({*margins}) == 1 else (0, 0)
    if not any(of_sum):
        shifted = [
            zero_margin(image, axis, margin)
            for image, margin in zip(shifted, margins, strict=True)
        ]
    terms = [_weighted(d, term, axis) for d, term in zip(matrix, shifted, strict=True)]
    return zero_margin(functools.reduce(jnp.add, terms), axis, of_sum)


def _weighted(diagonal: Diagonal, shifted: jax.Array, axis: int) -> jax.Array:
    """The weights of a diagonal times the shifted image."""
    usual, rows = diagonal.weight, diagonal.rows
    weights = {usual, *(weight for _, weight in rows)}
    numbers = [weight for weight in weights if weight is not None]
    if len(numbers) == 1:
        (number,) = numbers
        scaled = scale(shifted, number)
    else:
        values = [(row, weight or 0.0) for row, weight in rows]
        scaled = shifted * _by_row(shifted, axis, usual or 0.0, values, shifted.dtype)
    if None in weights:
        entries = [(row, weight is not None) for row, weight in rows]
        mask = _by_row(shifted, axis, usual is not None, entries, np.dtype(bool))
        scaled = jnp.where(mask, scaled, 0)
    return scaled


def scale(image: jax.Array, weight: float) -> jax.Array:
    """The image times a weight, in the dtype of the image."""
    if weight in (1, -1):
        return image if weight == 1 else -image
    return image * jnp.asarray(_in_dtype(weight, image.dtype))


def _in_dtype(weight: Any, dtype: np.dtype) -> np.ndarray:
    """A weight in this dtype; of unsigned integers modulo their range, as they wrap."""
    whole = jnp.issubdtype(dtype, jnp.integer)
    return np.asarray(int(weight) if whole else weight).astype(dtype)


def _by_row(image: jax.Array, axis: int, usual, rows, dtype: np.dtype) -> jax.Array:
    """The usual value in all rows but some."""
    size = image.shape[axis]

    def values(numpy, index):
        out = numpy.full(index.shape, _in_dtype(usual, dtype), dtype)
        for row, value in rows:
            here = index == (row if row >= 0 else size + row)
            out = numpy.where(here, _in_dtype(value, dtype), out)
        return out

    return per_row(image, axis, values, costly=len(rows) > 2)


def diagonals(stencil: Stencil1D, size: Any) -> tuple[Diagonal, ...]:
    """The diagonals of the matrix on an axis of this size, which may be unknown."""
    if isinstance(size, int):
        return _diagonals(stencil, size)
    # Where the two borders do not meet, border rows are the same for every size: they
    # are taken from a matrix of a known size, and counted from the nearer end.
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
    """Raises ValueError unless the axis is long enough, whatever its size will be."""
    if stencil.boundary in ("interior", "constant"):
        return
    before, after = stencil.reach
    mirrored = max(before, after) + 1 if stencil.boundary == "reflect" else 0
    least = max(before + after, mirrored)
    try:
        enough = size >= least
    except jax.errors.InconclusiveDimensionOperation:
        enough = False
    if not enough:
        raise ValueError(
            f"boundary={stencil.boundary!r} on an axis of unknown size {size} takes at "
            f"least {least} pixels; promise them, for example with jax.export."
            f"symbolic_shape('h, w', constraints=['h >= {least}', 'w >= {least}'])"
        )


def _offset(offset: int, known: int, size: Any) -> Any:
    """An offset that reaches the opposite end of a wrapped axis grows with its size."""
    if abs(offset) < known // 2:
        return offset
    return offset - known + size if offset > 0 else offset + known - size


@functools.cache
def _diagonals(stencil: Stencil1D, size: int) -> tuple[Diagonal, ...]:
    if stencil.boundary == "interior":
        return _diagonals_of_interior(stencil, size)
    before, after = stencil.reach
    border = [i for i in range(size) if i < before or i >= size - after]
    # The entries of the border rows, by diagonal. Taps that meet at a pixel are added.
    entries: dict[int, dict[int, float]] = {}
    for i, (k, weight) in itertools.product(border, stencil.taps):
        pixel = source(i + k, size, stencil.boundary)
        if pixel is not None:
            diagonal = entries.setdefault(pixel - i, {})
            diagonal[i] = diagonal.get(i, 0) + weight
    taps = dict(stencil.taps)
    result = []
    for offset in sorted({*taps, *entries}):
        usual, found = taps.get(offset), entries.get(offset, {})
        weights = [(i, found.get(i)) for i in border if 0 <= i + offset < size]
        rows = tuple((i, weight) for i, weight in weights if weight != usual)
        if abs(offset) < size:
            result.append(Diagonal(offset, usual, rows))
    if not stencil.transposed:
        return tuple(result)
    # A[i, i + o] is entry (i + o, i) of the transpose: diagonal -o, row i + o.
    return tuple(
        Diagonal(-d.offset, d.weight, tuple((i + d.offset, w) for i, w in d.rows))
        for d in result
    )


def _diagonals_of_interior(stencil: Stencil1D, size: int) -> tuple[Diagonal, ...]:
    """Without an output in the rows where a tap is missing."""
    before, after = stencil.reach
    taps = [(offset, weight) for offset, weight in stencil.taps if abs(offset) < size]
    if not stencil.transposed:
        # A shifted image is 0 where its pixel is beyond the border. If that leaves one
        # term to be masked, as in a difference, it is masked, and not the sum.
        margins = [
            (before if -o < before else 0, after if o < after else 0) for o, _ in taps
        ]
        if sum(map(any, margins)) > 1:
            margins = [stencil.margin] * len(taps)
        return tuple(
            Diagonal(o, w, margin=m) for (o, w), m in zip(taps, margins, strict=True)
        )
    # The transpose reads no row without an output: of diagonal -o, row i reads row
    # i - o, which is none of the first `before` and of the last `after`. Where i - o is
    # beyond the border, the shifted image is 0 already.
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


def source(pixel: int, size: int, boundary: Boundary) -> int | None:
    """The pixel that stands in for one beyond the border, or None for a zero."""
    if 0 <= pixel < size:
        return pixel
    if boundary == "constant":
        return None
    if boundary == "edge":
        return min(max(pixel, 0), size - 1)
    if boundary == "wrap":
        return pixel % size
    period = 2 * size if boundary == "symmetric" else 2 * (size - 1)
    mirrored = pixel % period
    return min(mirrored, period - mirrored - (boundary == "symmetric"))
