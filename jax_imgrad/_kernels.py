"""The taps of every named operator.

A derivative is one stencil along its own axis, and a smoothing one along each of the
others. `scale="raw"` gives the taps as published, or whole numbers. `"derivative"`
divides them so that the first derivative of x, and the second derivatives of x²/2 and
of xy, are 1.
"""

import functools
import math
from typing import NamedTuple, get_args

from jax_imgrad.typing import Operator, Scale

NAMED: tuple[str, ...] = get_args(get_args(Operator)[0])

Taps = tuple[tuple[int, float], ...]  # offsets, and their weights


class Kernel(NamedTuple):
    """The taps along one axis, of derivatives of one order."""

    first: Taps  # of the first derivative
    smoothing: Taps  # along the axes that are not differentiated
    second: Taps  # of the second derivative


def kernel(operator: Operator, order: int, scale: Scale) -> Kernel:
    """The kernel of an operator, for derivatives of this order."""
    if isinstance(operator, tuple):
        return _scaled(gaussian(operator[1]), scale)
    best = _FARID_SECOND if (operator, order) == ("farid", 2) else _KERNELS[operator]
    return _scaled(best, scale)


def _centered(*weights: float) -> Taps:
    middle = len(weights) // 2
    return tuple((k - middle, w) for k, w in enumerate(weights) if w)


_SECOND = _centered(1, -2, 1)
_CENTRAL = Kernel(_centered(-1, 0, 1), _centered(1), _SECOND)

_KERNELS = {
    "forward": Kernel(((0, -1), (1, 1)), _centered(1), _SECOND),
    "backward": Kernel(((-1, -1), (0, 1)), _centered(1), _SECOND),
    "central": _CENTRAL,
    "sobel": _CENTRAL._replace(smoothing=_centered(1, 2, 1)),
    "scharr": _CENTRAL._replace(smoothing=_centered(3, 10, 3)),
    "prewitt": _CENTRAL._replace(smoothing=_centered(1, 1, 1)),
    # The binomials: smoothed again and again by [1, 2, 1].
    "sobel5": Kernel(
        _centered(-1, -2, 0, 2, 1),
        _centered(1, 4, 6, 4, 1),
        _centered(1, 0, -2, 0, 1),
    ),
    "sobel7": Kernel(
        _centered(-1, -4, -5, 0, 5, 4, 1),
        _centered(1, 6, 15, 20, 15, 6, 1),
        _centered(1, 2, -1, -4, -1, 2, 1),
    ),
    # H. Farid, E. Simoncelli, "Differentiation of discrete multidimensional signals",
    # IEEE Transactions on Image Processing 13, 2004, table 1: 5 taps, first order; with
    # the further decimal places that scikit-image has computed.
    "farid": Kernel(
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
_FARID_SECOND = Kernel(
    _centered(-0.104550, -0.292315, 0, 0.292315, 0.104550),
    _centered(0.030320, 0.249724, 0.439911, 0.249724, 0.030320),
    _centered(0.232905, 0.002668, -0.471147, 0.002668, 0.232905),
)


@functools.cache
def gaussian(sigma: float) -> Kernel:
    """A Gaussian and its derivatives at the pixels up to four sigma away."""
    reach = int(4 * sigma + 0.5)
    bell = {k: math.exp(-((k / sigma) ** 2) / 2) for k in range(-reach, reach + 1)}
    total = math.fsum(bell.values())
    smoothing = tuple((k, w / total) for k, w in bell.items())
    first = tuple((k, k / sigma**2 * w) for k, w in smoothing if k)
    second = tuple((k, (k**2 / sigma**4 - 1 / sigma**2) * w) for k, w in smoothing)
    return Kernel(first, smoothing, second)


@functools.cache
def _scaled(raw: Kernel, scale: Scale) -> Kernel:
    """The taps divided so that derivatives are right, unless they are to be raw."""
    if scale == "raw":
        return raw
    first, smoothing, second = raw
    # Published or sampled taps may not sum to exactly 0, as those of a derivative must.
    excess = math.fsum(w for _, w in second)
    second = tuple((k, w if k else w - excess) for k, w in second)
    return Kernel(
        _divided(first, math.fsum(k * w for k, w in first)),
        _divided(smoothing, math.fsum(w for _, w in smoothing)),
        _divided(second, math.fsum(k**2 * w for k, w in second) / 2),
    )


def _divided(taps: Taps, by: float) -> Taps:
    return tuple((k, w if by == 1 else w / by) for k, w in taps)
