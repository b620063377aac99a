"""The taps of every named operator.

All operators are separable: a derivative stencil along each axis that is differentiated
and a smoothing stencil along each of the others. The tables hold the taps as published.
`scale="raw"` keeps them; `scale="derivative"` divides them so that the first derivative
of x, and the second derivatives of x²/2 and of xy, are 1.
"""

import functools
import math
from collections.abc import Sequence
from typing import cast, get_args

from jax_imgrad._taps import Kernel, Taps, moment
from jax_imgrad.typing import Operator, Scale

NAMED: tuple[str, ...] = get_args(get_args(Operator)[0])
# Those that are differences of neighboring pixels, along one axis.
NEIGHBORING = ("forward", "backward", "central")

# The taps of an operator along an axis by the order of the derivative there: smoothing,
# the first derivative, the second. Empty if the operator has none.
TapsByOrder = tuple[Taps, Taps, Taps]


def taps_of(
    operator: Operator, order: int, scale: Scale, axes: int
) -> tuple[TapsByOrder, ...]:
    """The taps of an operator along each axis, for derivatives of the given order.

    `("gaussian", sigmas)` has a sigma for each axis, in pixels. Only `"farid"` has
    other taps, smoothing included, for the second order.
    """
    if isinstance(operator, tuple):
        sigmas = cast(Sequence[float], operator[1])
        return tuple(_scaled(gaussian(sigma), scale) for sigma in sigmas)
    if isinstance(operator, str):
        second = (operator, order) == ("farid", 2)
        operator = _FARID_SECOND if second else _KERNELS[operator]
    taps = operator.smoothing, operator.first or (), operator.second or ()
    return (_scaled(taps, scale),) * axes


_DIFFERENCE, _SECOND = (-1, 0, 1), (1, -2, 1)

_KERNELS = {
    "forward": Kernel(first=(-1, 1), second=_SECOND),
    "backward": Kernel(first=(-1, 1, 0), second=_SECOND),
    "central": Kernel(first=_DIFFERENCE, second=_SECOND),
    # Of fourth order: the errors are h⁴/30 times the fifth derivative, and h⁴/90 times
    # the sixth.
    "central5": Kernel(first=(1, -8, 0, 8, -1), second=(-1, 16, -30, 16, -1)),
    "sobel": Kernel(first=_DIFFERENCE, smoothing=(1, 2, 1), second=_SECOND),
    "scharr": Kernel(first=_DIFFERENCE, smoothing=(3, 10, 3), second=_SECOND),
    "prewitt": Kernel(first=_DIFFERENCE, smoothing=(1, 1, 1), second=_SECOND),
    # The taps of "sobel", convolved once and twice with [1, 2, 1] along each axis.
    "sobel5": Kernel(
        first=(-1, -2, 0, 2, 1), smoothing=(1, 4, 6, 4, 1), second=(1, 0, -2, 0, 1)
    ),
    "sobel7": Kernel(
        first=(-1, -4, -5, 0, 5, 4, 1),
        smoothing=(1, 6, 15, 20, 15, 6, 1),
        second=(1, 2, -1, -4, -1, 2, 1),
    ),
    # H. Farid, E. Simoncelli, "Differentiation of discrete multidimensional signals",
    # IEEE Transactions on Image Processing 13, 2004, table 1: 5 taps, first order, with
    # the additional decimal places of scikit-image.
    "farid": Kernel(
        first=(
            *(-0.109603762960254, -0.276690988455557),
            *(0, 0.276690988455557, 0.109603762960254),
        ),
        smoothing=(
            *(0.0376593171958126, 0.249153396177344, 0.426374573253687),
            *(0.249153396177344, 0.0376593171958126),
        ),
    ),
}
# The same table: 5 taps, optimized for the second order.
_FARID_SECOND = Kernel(
    first=(-0.104550, -0.292315, 0, 0.292315, 0.104550),
    smoothing=(0.030320, 0.249724, 0.439911, 0.249724, 0.030320),
    second=(0.232905, 0.002668, -0.471147, 0.002668, 0.232905),
)


def dilated(taps: TapsByOrder, step: int, scale: Scale = "derivative") -> TapsByOrder:
    """The taps, moved to be `step` pixels apart.

    Offsets grow by a factor of `step`, so first derivatives are divided by it and
    second ones by its square, unless `scale` is "raw".
    """
    if step == 1:
        return taps

    def apart(taps: Taps, order: int) -> Taps:
        divisor = 1 if scale == "raw" else step**order
        return tuple((step * k, weight / divisor) for k, weight in taps)

    smoothing, first, second = taps
    return apart(smoothing, 0), apart(first, 1), apart(second, 2)


@functools.cache
def gaussian(sigma: float, truncate: float = 4.0) -> TapsByOrder:
    """A Gaussian and its derivatives, truncated at `truncate` times sigma."""
    reach = int(truncate * sigma + 0.5)
    bell = {k: math.exp(-((k / sigma) ** 2) / 2) for k in range(-reach, reach + 1)}
    total = math.fsum(bell.values())
    smoothing = tuple((k, w / total) for k, w in bell.items())
    first = tuple((k, k / sigma**2 * w) for k, w in smoothing if k)
    second = tuple((k, (k**2 / sigma**4 - 1 / sigma**2) * w) for k, w in smoothing)
    return smoothing, first, second


@functools.cache
def _scaled(raw: TapsByOrder, scale: Scale) -> TapsByOrder:
    """The taps, divided so that derivatives are exact unless `scale` is "raw".

    By Taylor's theorem, taps (k, w) along an axis give

        sum of w f(x + k) = f(x) sum w + f'(x) sum k w + f''(x) sum k² w/2 + ...

    So each kind of taps is divided by the sum that multiplies its derivative: smoothing
    by sum w, the first derivative by sum k w, the second by sum k² w/2.
    """
    if scale == "raw":
        return raw
    smoothing, first, second = raw
    first, second = _without_sum(first), _without_sum(second)
    return (
        _divided(smoothing, moment(smoothing, 0)),
        _divided(first, moment(first, 1)),
        _divided(second, moment(second, 2) / 2),
    )


def _without_sum(taps: Taps) -> Taps:
    """The taps of a derivative, made to sum to 0; the largest takes the difference.

    The derivative of a constant is 0 only if they do, which published or sampled ones
    may not.
    """
    excess = moment(taps, 0)
    if not excess:
        return taps
    largest = max(taps, key=lambda tap: abs(tap[1]))
    return tuple((k, w - excess if (k, w) == largest else w) for k, w in taps)


def _divided(taps: Taps, divisor: float) -> Taps:
    return tuple((k, w if divisor == 1 else w / divisor) for k, w in taps)
