"""A stencil along one axis, with what lies beyond the border: a banded matrix.

    y[i] = sum over the taps (k, w) of w * x[source(i + k)]

where `source` says which pixel stands in for one beyond the border. That is the sum
over the diagonals of the matrix of `weight * x[i + offset]`, whose weight is the same
in all rows but a few at the border. The transpose has the same diagonals, moved to the
other side. So every stencil, and its transpose, is one sum of shifted images with
weights, of which XLA makes one loop, with no padded copy. Far from the border there are
but the taps.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._shift import per_row

# NumPy's names and meanings (`constant` is zeros); with `zero` there is no output.
Boundary = Literal["interior", "constant", "edge", "reflect", "symmetric", "wrap"]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)

Taps = tuple[tuple[int, float], ...]  # offsets, and their weights

# With at most so many taps in all, they are read in one loop; with more, axis by axis,
# and the image is stored in between.
_MOST_AT_ONCE = 9


class Band(NamedTuple):
    """A stencil along one axis, or its transpose."""

    taps: Taps
    boundary: Boundary
    transposed: bool = False

    @property
    def reach(self) -> tuple[int, int]:
        """How far the taps go before the pixel, and after it."""
        offsets = [0, *(offset for offset, _ in self.taps)]
        return -min(offsets), max(offsets)

    @property
    def border(self) -> int:
        """How many pixels at each end have to do with the border."""
        before, after = self.reach
        farthest = max(before, after)
        if not (self.transposed and farthest):
            return farthest
        return max(before + after, farthest + 1)

    @property
    def inside(self) -> Taps:
        """The taps of the pixels that no border has to do with."""
        sign = -1 if self.transposed else 1
        return tuple((sign * offset, weight) for offset, weight in self.taps)


# `shifted(image, offsets)` is `image[i + offset]` along each axis, 0 where none is.
Shifted = Callable[[jax.Array, Sequence[Any]], jax.Array]

# A band along each of some axes. They commute, and the map is their product.
Product = tuple[tuple[int, Band], ...]


class Diagonal(NamedTuple):
    """`weight * x[i + offset]` at pixel i, but with other weights in some `rows`.

    A weight of None selects nothing, where one of 0 is that of taps that cancel. Rows
    below 0 are counted from the end. Nothing is selected in the `margin`: that many
    rows at the start and at the end.
    """

    offset: Any
    weight: float | None
    rows: tuple[tuple[int, float | None], ...]
    margin: tuple[int, int] = (0, 0)


class Matrix(NamedTuple):
    """Its diagonals, and the rows at the start and the end in which it is zero."""

    diagonals: tuple[Diagonal, ...]
    margin: tuple[int, int] = (0, 0)


def transpose(product: Product) -> Product:
    """The product of the transposes."""
    return tuple(
        (axis, band._replace(transposed=not band.transposed)) for axis, band in product
    )


def apply(product: Product, image: jax.Array, shifted: Shifted) -> jax.Array:
    """The product times the image, of which `shifted` gives the pixels further on."""
    along = [(axis, matrix(band, image.shape[axis])) for axis, band in product]
    taps = [len(m.diagonals) for _, m in along]
    for i, some in enumerate(_in_turn(along, math.prod(taps))):
        if i:
            # XLA for CPU would otherwise compute it anew for each tap along this axis,
            # and XLA for GPU that of a wrapped image. Other programs for a GPU or a TPU
            # store it without a barrier, too.
            image = lax.optimization_barrier(image)
        image = _times(some, image, (0,) * image.ndim, shifted)
    return image


def apply_inside(product: Product, image: jax.Array, shifted: Shifted) -> jax.Array:
    """The same, where no border has to do with it."""
    along = [
        (axis, Matrix(tuple(Diagonal(offset, w, ()) for offset, w in band.inside)))
        for axis, band in product
    ]
    return _times(along, image, (0,) * image.ndim, shifted)


def borders_of(products: Sequence[Product]) -> dict[int, int]:
    """How many pixels at each end of an axis have to do with the border."""
    borders: dict[int, int] = {}
    for axis, band in sorted(one for product in products for one in product):
        if band.border:
            borders[axis] = max(borders.get(axis, 0), band.border)
    return borders


def count_taps(product: Product) -> int:
    return math.prod(len(band.taps) for _, band in product)


def in_turn(product: Product) -> list[Product]:
    """Products to be applied one after the other, each in one loop."""
    return _in_turn(product, count_taps(product))


def _in_turn(factors: Any, taps: int) -> Any:
    """All at once, or one by one."""
    if taps <= _MOST_AT_ONCE:
        return [factors]
    return [(one,) for one in reversed(factors)]


def _times(along, image: jax.Array, there: tuple, shifted: Shifted) -> jax.Array:
    """The product of the matrices times the image, at the pixel that lies `there`."""
    if not along:
        return shifted(image, there)
    (axis, (diagonals, margin)), *rest = along
    parts = []
    for d in diagonals:
        further = (*there[:axis], d.offset, *there[axis + 1 :])
        parts.append(_weighted(d, axis, _times(rest, image, further, shifted)))
    if not parts:
        return jnp.zeros_like(image)
    return _without_margin(functools.reduce(jnp.add, parts), axis, margin)


def _weighted(diagonal: Diagonal, axis: int, image: jax.Array) -> jax.Array:
    """The diagonal times the image, which is shifted already."""
    weight, rows = diagonal.weight, diagonal.rows
    weights = {weight, *(w for _, w in rows)}
    numbers = weights - {None}
    if len(numbers) == 1:
        scaled = _scaled(image, *numbers)
    else:
        values = [(row, w or 0.0) for row, w in rows]
        scaled = image * _by_row(image, axis, weight or 0.0, values, image.dtype)
    if None in weights:
        kept = [(row, w is not None) for row, w in rows]
        mask = _by_row(image, axis, weight is not None, kept, np.dtype(bool))
        scaled = jnp.where(mask, scaled, 0)
    return _without_margin(scaled, axis, diagonal.margin)


def _scaled(image: jax.Array, weight: float | None) -> jax.Array:
    if weight in (1, -1):
        return image if weight == 1 else -image
    return image * jnp.asarray(_in_dtype(weight, image.dtype))


def _in_dtype(weight: Any, dtype: np.dtype) -> np.ndarray:
    """A weight in this dtype; of unsigned integers modulo their range, as they wrap."""
    whole = jnp.issubdtype(dtype, jnp.integer)
    return np.asarray(int(weight) if whole else weight).astype(dtype)


def _without_margin(image: jax.Array, axis: int, margin: tuple[int, int]) -> jax.Array:
    """The image, zero in so many rows at the start and at the end."""
    before, after = margin
    if not (before or after):
        return image
    size = image.shape[axis]
    inside = per_row(image, axis, lambda _, row: (row >= before) & (row < size - after))
    return jnp.where(inside, image, 0)


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


def matrix(band: Band, size: Any) -> Matrix:
    """The matrix of a band on an axis of this size, which may be unknown as yet."""
    if isinstance(size, int):
        return _matrix(band, size)
    # Border rows are the same at every size at which those of one border have nothing
    # to do with the other: they are read off one, and counted from the nearer end.
    before, after = band.reach
    _check_size(band, size)
    some = 8 * (before + after + 1)
    known = _matrix(band, some)

    def from_end(row: int) -> int:
        return row - some if row >= some // 2 else row

    return known._replace(
        diagonals=tuple(
            d._replace(
                offset=_of_size(d.offset, some, size),
                rows=tuple((from_end(row), w) for row, w in d.rows),
            )
            for d in known.diagonals
        )
    )


def _check_size(band: Band, size: Any) -> None:
    """Raises ValueError unless the axis is long enough, whatever its size will be."""
    if band.boundary in ("interior", "constant"):
        return
    before, after = band.reach
    mirrored = max(before, after) + 1 if band.boundary == "reflect" else 0
    least = max(before + after, mirrored)
    try:
        enough = size >= least
    except jax.errors.InconclusiveDimensionOperation:
        enough = False
    if not enough:
        raise ValueError(
            f"boundary={band.boundary!r} on an axis of unknown size {size} takes at "
            f"least {least} pixels; promise them, for example with jax.export."
            f"symbolic_shape('h, w', constraints=['h >= {least}', 'w >= {least}'])"
        )


def _of_size(offset: int, some: int, size: Any) -> Any:
    """An offset of a wrapped image is that to the other end."""
    if abs(offset) < some // 2:
        return offset
    return offset - some + size if offset > 0 else offset + some - size


@functools.cache
def _matrix(band: Band, size: int) -> Matrix:
    if band.boundary == "interior":
        return _matrix_without_border(band, size)
    before, after = band.reach
    border = [i for i in range(size) if i < before or i >= size - after]
    entries: dict[int, dict[int, float]] = {}  # by offset and row
    for i in border:
        for k, weight in band.taps:
            at = source(i + k, size, band.boundary)
            if at is not None:
                of_offset = entries.setdefault(at - i, {})
                of_offset[i] = of_offset.get(i, 0) + weight
    usual = dict(band.taps)
    diagonals = []
    for offset in sorted({*usual, *entries}):
        weight, found = usual.get(offset), entries.get(offset, {})
        rows = [(i, found.get(i)) for i in border if 0 <= i + offset < size]
        other = tuple((i, w) for i, w in rows if w != weight)
        if abs(offset) < size:
            diagonals.append(Diagonal(offset, weight, other))
    if band.transposed:
        diagonals = [
            Diagonal(-o, weight, tuple((i + o, w) for i, w in rows))
            for o, weight, rows, _ in diagonals
        ]
    return Matrix(tuple(diagonals))


def _matrix_without_border(band: Band, size: int) -> Matrix:
    before, after = band.reach
    taps = [(o, w) for o, w in band.taps if abs(o) < size]
    if not band.transposed:
        return Matrix(tuple(Diagonal(o, w, ()) for o, w in taps), (before, after))
    # What a tap reads of a row it gives to it; rows without an output give nothing.
    return Matrix(tuple(Diagonal(-o, w, (), (before + o, after - o)) for o, w in taps))


def source(at: int, size: int, boundary: Boundary) -> int | None:
    """The pixel that stands in for pixel `at` of an axis, or None for a zero."""
    if 0 <= at < size:
        return at
    if boundary == "constant":
        return None
    if boundary == "edge":
        return min(max(at, 0), size - 1)
    if boundary == "wrap":
        return at % size
    period = 2 * size if boundary == "symmetric" else 2 * (size - 1)
    mirrored = at % period
    return min(mirrored, period - mirrored - (boundary == "symmetric"))
