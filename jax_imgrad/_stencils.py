"""The taps of every operator, and the maps that are made of them.

A derivative is one stencil along its own axis, and a smoothing one along each of the
others. `scale="raw"` is the taps as they are published, or whole numbers. With
`scale="derivative"` they are divided so that the first derivative of x, and the second
ones of x²/2 and of xy, are 1.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from jax_imgrad._bands import Band, Boundary, Product, Taps

Operator = (
    Literal[
        "forward",
        "backward",
        "central",
        "sobel",
        "sobel5",
        "sobel7",
        "scharr",
        "prewitt",
        "farid",
    ]
    | tuple[Literal["gaussian"], float]
)
NAMED: tuple[str, ...] = get_args(get_args(Operator)[0])
Scale = Literal["derivative", "raw"]


class Stencil(NamedTuple):
    """The taps of an operator for derivatives of one order.

    Along an axis: of the first derivative, of none, and of the second.
    """

    first: Taps
    smoothing: Taps
    second: Taps


class Along(NamedTuple):
    """An axis, what lies beyond its border, and how far apart its pixels are."""

    axis: int
    boundary: Boundary
    spacing: float


def gradient(
    operator: Operator, scale: Scale, along: Sequence[Along]
) -> tuple[Product, ...]:
    """The first derivative along each axis."""
    stencil = _scaled(taps_of(operator, 1), scale)
    return tuple(_product(stencil, along, [i]) for i in range(len(along)))


def second_derivatives(
    operator: Operator, scale: Scale, along: Sequence[Along]
) -> tuple[Product, ...]:
    """The second derivative along each pair of axes."""
    stencil = _scaled(taps_of(operator, 2), scale)
    pairs = itertools.combinations_with_replacement(range(len(along)), 2)
    return tuple(_product(stencil, along, pair) for pair in pairs)


def laplacian(along: Sequence[Along]) -> tuple[Product, ...]:
    """The second difference along each axis."""
    return tuple(_product(taps_of("central", 2), [one], [0, 0]) for one in along)


def window(sigma: float, along: Sequence[Along]) -> Product:
    """A Gaussian mean, of zeros beyond a border without an output."""
    beyond = [
        a._replace(boundary="constant") if a.boundary == "interior" else a
        for a in along
    ]
    return _product(_gaussian(sigma), beyond, [])


def _product(
    stencil: Stencil, along: Sequence[Along], derivatives: Sequence[int]
) -> Product:
    """A derivative for each time that an axis is named, smoothing along the others."""
    bands = []
    for i, (axis, boundary, spacing) in enumerate(along):
        order = list(derivatives).count(i)
        taps = (stencil.smoothing, stencil.first, stencil.second)[order]
        if order and spacing != 1:
            taps = tuple((k, weight / spacing**order) for k, weight in taps)
        if taps != ((0, 1),):
            bands.append((axis, Band(taps, boundary)))
    return tuple(bands)


def _centered(*weights: float) -> Taps:
    middle = len(weights) // 2
    return tuple((k - middle, w) for k, w in enumerate(weights) if w)


_SECOND = _centered(1, -2, 1)
_CENTRAL = Stencil(_centered(-1, 0, 1), _centered(1), _SECOND)

_STENCILS = {
    "forward": Stencil(((0, -1), (1, 1)), _centered(1), _SECOND),
    "backward": Stencil(((-1, -1), (0, 1)), _centered(1), _SECOND),
    "central": _CENTRAL,
    "sobel": _CENTRAL._replace(smoothing=_centered(1, 2, 1)),
    "scharr": _CENTRAL._replace(smoothing=_centered(3, 10, 3)),
    "prewitt": _CENTRAL._replace(smoothing=_centered(1, 1, 1)),
    # The binomials: smoothed again and again by [1, 2, 1].
    "sobel5": Stencil(
        _centered(-1, -2, 0, 2, 1),
        _centered(1, 4, 6, 4, 1),
        _centered(1, 0, -2, 0, 1),
    ),
    "sobel7": Stencil(
        _centered(-1, -4, -5, 0, 5, 4, 1),
        _centered(1, 6, 15, 20, 15, 6, 1),
        _centered(1, 2, -1, -4, -1, 2, 1),
    ),
    # H. Farid, E. Simoncelli, "Differentiation of discrete multidimensional signals",
    # IEEE Transactions on Image Processing 13, 2004, table 1: 5 taps, first order; with
    # the further decimal places that scikit-image has computed.
    "farid": Stencil(
        _centered(
            *(-0.109603762960254, -0.276690988455557),
            *(0, 0.276690988455557, 0.109603762960254),
        ),
        _centered(
            *(0.0376593171958126, 0.249153396177344, 0.426374573253687),
            *(0.249153396177344, 0.0376593171958126),
        ),
        (),
    ),
}
# The same table: 5 taps, optimized for the second order.
_FARID_SECOND = Stencil(
    _centered(-0.104550, -0.292315, 0, 0.292315, 0.104550),
    _centered(0.030320, 0.249724, 0.439911, 0.249724, 0.030320),
    _centered(0.232905, 0.002668, -0.471147, 0.002668, 0.232905),
)


def taps_of(operator: Operator, order: int) -> Stencil:
    """The raw taps of an operator, for derivatives of this order."""
    if isinstance(operator, tuple):
        return _gaussian(operator[1])
    return _FARID_SECOND if (operator, order) == ("farid", 2) else _STENCILS[operator]


@functools.cache
def _gaussian(sigma: float) -> Stencil:
    """A Gaussian and its derivatives at the pixels up to four sigma away."""
    reach = int(4 * sigma + 0.5)
    bell = {k: math.exp(-((k / sigma) ** 2) / 2) for k in range(-reach, reach + 1)}
    total = math.fsum(bell.values())
    smoothing = tuple((k, w / total) for k, w in bell.items())
    first = tuple((k, k / sigma**2 * w) for k, w in smoothing if k)
    second = tuple((k, (k**2 / sigma**4 - 1 / sigma**2) * w) for k, w in smoothing)
    return Stencil(first, smoothing, second)


@functools.cache
def _scaled(stencil: Stencil, scale: Scale) -> Stencil:
    """The taps for this scale."""
    if scale == "raw":
        return stencil
    first, smoothing, second = stencil
    # What is published, or sampled, may not be exactly 0 on a constant image.
    excess = math.fsum(w for _, w in second)
    second = tuple((k, w if k else w - excess) for k, w in second)
    return Stencil(
        _divided(first, math.fsum(k * w for k, w in first)),
        _divided(smoothing, math.fsum(w for _, w in smoothing)),
        _divided(second, math.fsum(k**2 * w for k, w in second) / 2),
    )


def _divided(taps: Taps, by: float) -> Taps:
    return tuple((k, w if by == 1 else w / by) for k, w in taps)
