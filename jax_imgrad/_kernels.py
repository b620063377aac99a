"""The taps of every named operator.

All operators are separable: a derivative stencil along each axis that is differentiated
and a smoothing stencil along each of the others. The tables hold the taps as published.
`scale="raw"` keeps them; `scale="derivative"` divides them so that the first derivative
of x, and the second derivatives of x²/2 and of xy, are 1.
"""

import functools
import math
from typing import NamedTuple, get_args

from jax_imgrad.typing import Operator, Scale

NAMED: tuple[str, ...] = get_args(get_args(Operator)[0])

# Pairs of an offset and a weight: sum of `weight * x[i + offset]`.
Taps = tuple[tuple[int, float], ...]


class Kernel(NamedTuple):
    """The taps of an operator along one axis."""

    first: Taps  # of the first derivative
    smoothing: Taps  # along the axes that are not differentiated
    second: Taps  # of the second derivative


def kernel_of(operator: Operator, order: int, scale: Scale) -> Kernel:
    """The kernel of an operator for derivatives of the given order.

    Only `"farid"` has other taps, smoothing included, for the second order.
    """
    if isinstance(operator, tuple):
        return _scaled(gaussian(operator[1]), scale)
    raw = _FARID_SECOND if (operator, order) == ("farid", 2) else _KERNELS[operator]
    return _scaled(raw, scale)


def _centered(*weights: float) -> Taps:
    """Taps centered on the pixel. Zero weights are left out: no pixel is read there."""
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
    # The taps of "sobel", convolved once and twice with [1, 2, 1] along each axis.
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
    # IEEE Transactions on Image Processing 13, 2004, table 1: 5 taps, first order, with
    # the additional decimal places of scikit-image.
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


def dilated(kernel: Kernel, step: int, scale: Scale = "derivative") -> Kernel:
    """The kernel with taps that are `step` pixels apart.

    Offsets grow by a factor of `step`, so first derivatives are divided by it and
    second ones by its square, unless `scale` is "raw".
    """
    if step == 1:
        return kernel

    def apart(taps: Taps, order: int) -> Taps:
        divisor = 1 if scale == "raw" else step**order
        return tuple((step * k, weight / divisor) for k, weight in taps)

    return Kernel(
        *(
            apart(t, order)
            for t, order in zip(
                (kernel.first, kernel.smoothing, kernel.second), (1, 0, 2), strict=True
            )
        )
    )


@functools.cache
def gaussian(sigma: float) -> Kernel:
    """A Gaussian and its derivatives, truncated at 4 sigma."""
    reach = int(4 * sigma + 0.5)
    bell = {k: math.exp(-((k / sigma) ** 2) / 2) for k in range(-reach, reach + 1)}
    total = math.fsum(bell.values())
    smoothing = tuple((k, w / total) for k, w in bell.items())
    first = tuple((k, k / sigma**2 * w) for k, w in smoothing if k)
    second = tuple((k, (k**2 / sigma**4 - 1 / sigma**2) * w) for k, w in smoothing)
    return Kernel(first, smoothing, second)


@functools.cache
def _scaled(raw: Kernel, scale: Scale) -> Kernel:
    """The taps, divided so that derivatives are exact unless `scale` is "raw".

    By Taylor's theorem, taps (k, w) along an axis give

        sum of w f(x + k) = f(x) sum w + f'(x) sum k w + f''(x) sum k² w/2 + ...

    So each kind of taps is divided by the sum that multiplies its derivative: smoothing
    by sum w, the first derivative by sum k w, the second by sum k² w/2.
    """
    if scale == "raw":
        return raw
    first, smoothing, second = raw
    # The second derivative of a constant is 0 only if the taps sum to exactly 0, which
    # published or sampled ones may not. The center tap takes the difference.
    excess = math.fsum(w for _, w in second)
    second = tuple((k, w if k else w - excess) for k, w in second)
    return Kernel(
        _divided(first, math.fsum(k * w for k, w in first)),
        _divided(smoothing, math.fsum(w for _, w in smoothing)),
        _divided(second, math.fsum(k**2 * w for k, w in second) / 2),
    )


def _divided(taps: Taps, divisor: float) -> Taps:
    return tuple((k, w if divisor == 1 else w / divisor) for k, w in taps)
