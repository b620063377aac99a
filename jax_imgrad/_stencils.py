"""Separable stencils, of which every linear operator of the package is made.

A `Stencil1D` has taps along one axis and a boundary condition. A separable stencil is a
product of such stencils along different axes: for a first derivative, the derivative
along one axis and a smoothing along each of the others. The factors commute.

This file describes stencils; `_banded.py` applies them.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar, get_args

from jax_imgrad._boundaries import LEAST_SIZES, sources
from jax_imgrad._kernels import TapsByOrder, dilated, gaussian, taps_of
from jax_imgrad._taps import Taps
from jax_imgrad.typing import Boundary, Operator, Scale

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)

# A stencil of at most this many terms is applied in one loop, which reads the image at
# every tap. A larger one is applied axis by axis, with the result of each axis stored.
_MOST_TERMS = 9

Factor = TypeVar("Factor")


class Stencil1D(NamedTuple):
    """A stencil along one axis, or its transpose.

    If `centered`, the taps, which add up to 0, are applied to the differences between
    the pixels that they read and the pixel at which the output is. That changes nothing
    but rounding: the output is exactly 0 where all these pixels are equal.

    If `is_pattern`, every pixel that an output reads has the weight 1, by way of the
    boundary condition too, whatever the weights of the taps.
    """

    taps: Taps
    boundary: Boundary
    transposed: bool = False
    centered: bool = False
    is_pattern: bool = False

    @property
    def reach(self) -> tuple[int, int]:
        """How many pixels the taps reach before the pixel and after it.

        For a transpose, this is the reach of the original stencil.
        """
        offsets = [0, *(offset for offset, _ in self.taps)]
        return -min(offsets), max(offsets)

    @property
    def margin(self) -> tuple[int, int]:
        """How many outputs at each end are 0 since a tap has no pixel to read."""
        has_margin = self.boundary == "interior" and not self.transposed
        return self.reach if has_margin else (0, 0)

    @property
    def border(self) -> int:
        """How many outputs at each end to compute apart from the others.

        All outputs that are affected by the boundary condition are among these b, and
        they read only the 2 * b pixels nearest to each end.
        """
        # Output i of the stencil is affected if a tap reads beyond the border: at the
        # start if i < before, at the end if i >= size - after. It reads the pixels up
        # to i + after and, in place of those beyond the border, up to `least - 1`, or
        # up to pixel `before` (at which "reflect" mirrors the pixel -before).
        before, after = self.reach
        farthest = max(before, after)
        least = LEAST_SIZES.get(self.boundary, 1)
        if not farthest:
            return 0
        if not self.transposed:
            return max(farthest, least - 1)
        # Output j of the transpose sums over the outputs i of the stencil that read
        # pixel j. It is affected if one of those is affected. At the start, the
        # affected outputs i < before read pixels up to i + after, which is less than
        # before + after, up to `before`, and up to `least - 1`. So j is less than the
        # maximum of before + after, before + 1 and `least`. The end is its mirror
        # image.
        return max(before + after, farthest + 1, least)

    @property
    def interior(self) -> Taps:
        """The taps away from the borders; a transpose has the opposite offsets."""
        sign = -1 if self.transposed else 1
        return tuple((sign * offset, weight) for offset, weight in self.taps)

    def entries(self, row: int, size: int) -> dict[int, float]:
        """The weights of the pixels that an output reads, on an axis of a known size.

        Taps that read the same pixel are added. Not for a transpose.
        """
        weights: dict[int, float] = {}
        for offset, weight in self.taps:
            for pixel, factor in sources(row + offset, size, self.boundary):
                weights[pixel] = weights.get(pixel, 0) + weight * factor
        return dict.fromkeys(weights, 1.0) if self.is_pattern else weights


@functools.cache
def largest_row(stencil: Stencil1D) -> float:
    """The largest absolute sum of the weights of an output, on an axis of any size.

    On a long axis, an output reads beyond one border at most. On a shorter one, it may
    read beyond both.
    """
    shortest = LEAST_SIZES.get(stencil.boundary, 1)
    longest = max(shortest, sum(stencil.reach) + 1)
    return max(
        sum(map(abs, stencil.entries(row, size).values()))
        for size in range(shortest, longest + 1)
        for row in range(size)
    )


# The product of the stencils along different axes: pairs of an axis and its stencil.
SeparableStencil = tuple[tuple[int, Stencil1D], ...]

# A matrix of stencils. Result r is the sum over i of `maps[r][i]` applied to image i.
Maps = tuple[tuple[SeparableStencil, ...], ...]


class AxisSpec(NamedTuple):
    """An axis to differentiate along, with its boundary condition and pixel spacing."""

    axis: int
    boundary: Boundary
    spacing: float


def gradient(
    operator: Operator, scale: Scale, specs: Sequence[AxisSpec], step: int = 1
) -> tuple[SeparableStencil, ...]:
    """The first derivative along each axis, with taps that are `step` pixels apart."""
    taps = _taps(operator, 1, scale, specs, step)
    return tuple(_derivative(taps, specs, [i]) for i in range(len(specs)))


def second_derivatives(
    operator: Operator, scale: Scale, specs: Sequence[AxisSpec]
) -> tuple[SeparableStencil, ...]:
    """The second derivative along each pair of axes, an axis with itself included."""
    taps = _taps(operator, 2, scale, specs)
    pairs = itertools.combinations_with_replacement(range(len(specs)), 2)
    return tuple(_derivative(taps, specs, pair) for pair in pairs)


def hessian(
    specs: Sequence[AxisSpec], step: int = 1, operator: Operator = "forward"
) -> tuple[SeparableStencil, ...]:
    """The second derivatives, row by row of the whole matrix: mixed ones occur twice.

    The taps are `step` pixels apart.
    """
    taps = _taps(operator, 2, "derivative", specs, step)
    pairs = itertools.product(range(len(specs)), repeat=2)
    return tuple(_derivative(taps, specs, sorted(pair)) for pair in pairs)


def smoothing(
    operator: Operator, scale: Scale, specs: Sequence[AxisSpec]
) -> SeparableStencil:
    """The smoothing along every axis."""
    return _derivative(_taps(operator, 1, scale, specs), specs, [])


def forward_products(
    specs: Sequence[AxisSpec], products: Sequence[Sequence[int]]
) -> tuple[SeparableStencil, ...]:
    """For each product of one or two axes, the forward differences along all of them.

    The axes are indices into `specs`; one that occurs twice is differentiated twice.
    """
    forward = ((0, 1),), ((0, -1), (1, 1)), ((0, 1), (1, -2), (2, 1))
    taps = [forward] * len(specs)
    return tuple(_derivative(taps, specs, axes) for axes in products)


def later_difference(specs: Sequence[AxisSpec], a: int, b: int) -> SeparableStencil:
    """The forward difference along a, at the next pixel along b, on a unit grid."""
    taps: dict[int, Taps] = {b: ((1, 1),)}
    taps[a] = ((1, -1), (2, 1)) if a == b else ((0, -1), (1, 1))
    return tuple(
        (specs[i].axis, Stencil1D(taps[i], specs[i].boundary)) for i in sorted(taps)
    )


class Difference(NamedTuple):
    """The forward difference `factor * (x[i + 1] - x[i])` along an axis."""

    axis: int
    boundary: Boundary
    factor: float


def as_differences(
    stencils: Sequence[SeparableStencil],
) -> tuple[Difference, ...] | None:
    """The stencils as forward differences along different axes, in increasing order.

    None if they are not. Only the boundary conditions count for which the border is
    easy to compute: those that pad with zeros, wrap, or do not pad.
    """
    differences = []
    for factors in stencils:
        if len(factors) != 1:
            return None
        ((axis, (taps, boundary, transposed, *_)),) = factors
        offsets, weights = zip(*taps, strict=True)
        if (
            transposed
            or offsets != (0, 1)
            or weights[0] != -weights[1]
            or boundary not in ("interior", "constant", "wrap")
        ):
            return None
        differences.append(Difference(axis, boundary, weights[1]))
    axes = [difference.axis for difference in differences]
    return tuple(differences) if axes == sorted({*axes}) else None


def laplacian(
    specs: Sequence[AxisSpec], step: int = 1, scale: Scale = "derivative"
) -> tuple[SeparableStencil, ...]:
    """The second difference along each axis, of pixels that are `step` apart."""
    (taps,) = taps_of("central", 2, "raw", 1)
    apart = [dilated(taps, step, scale)]
    return tuple(_derivative(apart, [spec], [0, 0]) for spec in specs)


def window(
    sigmas: Sequence[float], truncate: float, specs: Sequence[AxisSpec]
) -> SeparableStencil:
    """A Gaussian mean with a sigma for each axis, truncated at `truncate` sigma."""
    return _derivative([gaussian(sigma, truncate) for sigma in sigmas], specs, [])


def _taps(
    operator: Operator,
    order: int,
    scale: Scale,
    specs: Sequence[AxisSpec],
    step: int = 1,
) -> list[TapsByOrder]:
    """The taps of an operator along each axis, `step` pixels apart."""
    each = taps_of(operator, order, scale, len(specs))
    return [dilated(taps, step, scale) for taps in each]


def _derivative(
    each: Sequence[TapsByOrder], specs: Sequence[AxisSpec], axes: Sequence[int]
) -> SeparableStencil:
    """The derivative along `axes`, which are indices into `specs`.

    An index that occurs twice stands for a second derivative. Along every other axis of
    `specs`, the stencil smooths. `each` has the taps along each axis of `specs`.
    """
    stencils = []
    for i, (axis, boundary, spacing) in enumerate(specs):
        order = list(axes).count(i)
        taps = each[i][order]
        if order and spacing != 1:
            taps = tuple((k, weight / spacing**order) for k, weight in taps)
        if taps != ((0, 1),):  # the identity
            stencils.append((axis, Stencil1D(taps, boundary)))
    return tuple(stencils)


def transpose(stencil: SeparableStencil) -> SeparableStencil:
    """The transpose. The factors commute, so it is the product of their transposes."""
    return tuple(
        (axis, factor._replace(transposed=not factor.transposed, centered=False))
        for axis, factor in stencil
    )


def centered(stencil: SeparableStencil) -> SeparableStencil:
    """The same stencil, with its derivatives along an axis centered.

    They are the last factors, which are applied first: the others smooth zeros.
    """
    factors = [
        (axis, factor._replace(centered=_is_derivative(factor.taps)))
        for axis, factor in stencil
    ]
    return tuple(sorted(factors, key=lambda pair: pair[1].centered))


def _is_derivative(taps: Taps) -> bool:
    """Whether the weights add up to 0, but for rounding."""
    weights = [weight for _, weight in taps]
    return abs(math.fsum(weights)) < 1e-6 * math.fsum(map(abs, weights))


def negative(stencil: SeparableStencil) -> SeparableStencil:
    """Minus the stencil: the weights along its first axis change sign."""
    (axis, first), *others = stencil
    taps = tuple((offset, -weight) for offset, weight in first.taps)
    return (axis, first._replace(taps=taps)), *others


def indicator(stencil: SeparableStencil) -> SeparableStencil:
    """The stencil with a weight of 1 at each pixel that it reads.

    Applied to a mask, it counts how many of the pixels that an output reads are set.
    With weights of 1 at the taps instead, the factors of an extrapolation, which have
    both signs, could cancel.
    """

    def ones(factor: Stencil1D) -> Stencil1D:
        taps = tuple((offset, 1.0) for offset, _ in factor.taps)
        return Stencil1D(taps, factor.boundary, is_pattern=True)

    return tuple((axis, ones(factor)) for axis, factor in stencil)


def move_axes(stencil: SeparableStencil, inserted: int) -> SeparableStencil:
    """The same stencil for an image into which the axis `inserted` was inserted."""
    return tuple((axis + (axis >= inserted), factor) for axis, factor in stencil)


def borders_of(stencils: Sequence[SeparableStencil]) -> dict[int, int]:
    """For each axis with a border, the largest `Stencil1D.border` along it."""
    borders: dict[int, int] = {}
    for axis, factor in sorted(pair for stencil in stencils for pair in stencil):
        if factor.border:
            borders[axis] = max(borders.get(axis, 0), factor.border)
    return borders


def count_taps(stencil: SeparableStencil) -> int:
    """How many pixels an output reads."""
    return math.prod(len(factor.taps) for _, factor in stencil)


def passes(factors: tuple[Factor, ...], terms: int) -> list[tuple[Factor, ...]]:
    """Groups the factors of a product, one per axis, into passes over the image.

    The factors of one pass are applied in one loop: all factors if their product has
    few `terms`, otherwise one factor per pass, the last axis first.
    """
    if terms <= _MOST_TERMS:
        return [factors]
    return [(factor,) for factor in reversed(factors)]


def interior_taps(stencil: SeparableStencil) -> list[tuple[dict[int, int], float]]:
    """The taps of the product away from the borders.

    Each is a pair of the offsets, `{axis: offset}`, and the weight.
    """
    axes = [axis for axis, _ in stencil]
    return [
        (
            dict(zip(axes, (offset for offset, _ in taps), strict=True)),
            math.prod(weight for _, weight in taps),
        )
        for taps in itertools.product(*(factor.interior for _, factor in stencil))
    ]
