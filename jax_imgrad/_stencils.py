"""Separable stencils: every linear operator of the package is made of them.

A stencil along one axis is its taps and its boundary condition. A derivative of an
image is a product of such stencils along several axes: a derivative along one, and a
smoothing along each of the others. They commute, since each acts along its own axis.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar, get_args

from jax_imgrad._kernels import Kernel, Taps, gaussian, kernel
from jax_imgrad.typing import Boundary, Operator, Scale

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)

# With at most this many terms, a stencil reads the image at all its taps in one loop.
# With more, it is applied axis by axis, and the image in between is materialized.
_MOST_TERMS = 9

Factor = TypeVar("Factor")


class Stencil1D(NamedTuple):
    """A stencil along one axis, or its transpose."""

    taps: Taps
    boundary: Boundary
    transposed: bool = False

    @property
    def reach(self) -> tuple[int, int]:
        """How many pixels the taps reach before the pixel, and after it."""
        offsets = [0, *(offset for offset, _ in self.taps)]
        return -min(offsets), max(offsets)

    @property
    def margin(self) -> tuple[int, int]:
        """How many outputs at each end are zero, for lack of a pixel at a tap."""
        has_margin = self.boundary == "interior" and not self.transposed
        return self.reach if has_margin else (0, 0)

    @property
    def border(self) -> int:
        """How many outputs at each end are affected by the boundary condition."""
        before, after = self.reach
        farthest = max(before, after)
        if not (self.transposed and farthest):
            return farthest
        # Output j of the transpose is affected if an affected row of the stencil reads
        # pixel j. Row i < before reads pixels up to i + after < before + after, and by
        # reflection those up to `before`. Likewise at the other end.
        return max(before + after, farthest + 1)

    @property
    def interior(self) -> Taps:
        """The taps of the outputs that no boundary condition affects."""
        sign = -1 if self.transposed else 1
        return tuple((sign * offset, weight) for offset, weight in self.taps)


# Axes, and the stencil along each.
SeparableStencil = tuple[tuple[int, Stencil1D], ...]

# A matrix of stencils: result r is the sum over i of `maps[r][i]` applied to image i.
Maps = tuple[tuple[SeparableStencil, ...], ...]


class AxisSpec(NamedTuple):
    """An axis to differentiate along, with its boundary condition and pixel spacing."""

    axis: int
    boundary: Boundary
    spacing: float


def gradient(
    operator: Operator, scale: Scale, specs: Sequence[AxisSpec]
) -> tuple[SeparableStencil, ...]:
    """The first derivative along each axis."""
    taps = kernel(operator, 1, scale)
    return tuple(_derivative(taps, specs, [i]) for i in range(len(specs)))


def second_derivatives(
    operator: Operator, scale: Scale, specs: Sequence[AxisSpec]
) -> tuple[SeparableStencil, ...]:
    """The second derivative along each pair of axes."""
    taps = kernel(operator, 2, scale)
    pairs = itertools.combinations_with_replacement(range(len(specs)), 2)
    return tuple(_derivative(taps, specs, pair) for pair in pairs)


def laplacian(specs: Sequence[AxisSpec]) -> tuple[SeparableStencil, ...]:
    """The second difference along each axis."""
    taps = kernel("central", 2, "raw")
    return tuple(_derivative(taps, [spec], [0, 0]) for spec in specs)


def window(sigma: float, specs: Sequence[AxisSpec]) -> SeparableStencil:
    """A Gaussian mean; of an image padded with zeros where boundary="interior"."""
    padded = [
        spec._replace(boundary="constant") if spec.boundary == "interior" else spec
        for spec in specs
    ]
    return _derivative(gaussian(sigma), padded, [])


def _derivative(
    taps: Kernel, specs: Sequence[AxisSpec], axes: Sequence[int]
) -> SeparableStencil:
    """A derivative along an axis for each time it is named; smoothing along others."""
    stencils = []
    for i, (axis, boundary, spacing) in enumerate(specs):
        order = list(axes).count(i)
        along = (taps.smoothing, taps.first, taps.second)[order]
        if order and spacing != 1:
            along = tuple((k, weight / spacing**order) for k, weight in along)
        if along != ((0, 1),):
            stencils.append((axis, Stencil1D(along, boundary)))
    return tuple(stencils)


def transpose(stencil: SeparableStencil) -> SeparableStencil:
    """The product of the transposes."""
    return tuple(
        (axis, one._replace(transposed=not one.transposed)) for axis, one in stencil
    )


def negative(stencil: SeparableStencil) -> SeparableStencil:
    """Minus the stencil: the taps along its first axis change sign."""
    (axis, first), *others = stencil
    taps = tuple((offset, -weight) for offset, weight in first.taps)
    return (axis, first._replace(taps=taps)), *others


def indicator(stencil: SeparableStencil) -> SeparableStencil:
    """The stencil with a weight of 1 at each tap, which counts the pixels it reads."""
    return tuple(
        (axis, one._replace(taps=tuple((offset, 1.0) for offset, _ in one.taps)))
        for axis, one in stencil
    )


def move_axes(stencil: SeparableStencil, inserted: int) -> SeparableStencil:
    """The same stencil once an axis is inserted into the image."""
    return tuple((axis + (axis >= inserted), one) for axis, one in stencil)


def borders_of(stencils: Sequence[SeparableStencil]) -> dict[int, int]:
    """Along each axis, how many outputs at each end a boundary condition affects."""
    borders: dict[int, int] = {}
    for axis, one in sorted(pair for stencil in stencils for pair in stencil):
        if one.border:
            borders[axis] = max(borders.get(axis, 0), one.border)
    return borders


def count_taps(stencil: SeparableStencil) -> int:
    """How many pixels an output reads."""
    return math.prod(len(one.taps) for _, one in stencil)


def passes(factors: tuple[Factor, ...], terms: int) -> list[tuple[Factor, ...]]:
    """Factors of a product of so many terms: which to apply together, in one loop."""
    if terms <= _MOST_TERMS:
        return [factors]
    return [(factor,) for factor in reversed(factors)]


def interior_taps(stencil: SeparableStencil) -> list[tuple[dict[int, int], float]]:
    """The offset along each axis, and the weight, of each tap away from the borders."""
    axes = [axis for axis, _ in stencil]
    return [
        (
            dict(zip(axes, (offset for offset, _ in taps), strict=True)),
            math.prod(weight for _, weight in taps),
        )
        for taps in itertools.product(*(one.interior for _, one in stencil))
    ]
