"""The taps of an operator along an axis: `jax_imgrad.Kernel`, and its checks."""

from __future__ import annotations

import dataclasses
import math
import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsFloat

import jax
import numpy as np

from jax_imgrad._numbers import as_number, hint_if_traced

# Pairs of an offset and a weight: the sum of `weight * x[i + offset]`.
Taps = tuple[tuple[int, float], ...]

# What a caller passes for them.
GivenTaps = (
    Sequence[SupportsFloat]
    | Mapping[int, SupportsFloat]
    | np.ndarray[Any, np.dtype[Any]]
    | jax.Array
)

# How many pixels the taps may reach. To list the taps of a Gaussian with a sigma of 1e9
# would not end.
FARTHEST = 10_000

# Weights of this size, multiplied with pixels and divided by sums of weights, are far
# from the limits of float32.
_SMALLEST, _LARGEST = 1e-18, 1e18

_EXAMPLES = {"first": (-1, 1), "smoothing": (1,), "second": (1, -2, 1)}

# Sums are 0 if they are this small, relative to the sum of the absolute values:
# published taps are rounded to 6 digits.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Kernel:
    r"""The taps of an operator of your own, for the option `operator`.

    .. math:: (D x)_i = \sum_k d_k x_{i + k}

    along each axis that is differentiated, where d are the taps of the derivative, and
    the taps of `smoothing` along each of the others. They are given in one of two ways:

    - as a sequence of n weights, for the offsets k from -((n - 1) // 2): an odd number
      of them is centered on the pixel, and `(-1, 1)` is the forward difference;
    - as a mapping from offsets to weights: `{-1: -1, 0: 1}` is the backward difference.

    The weights multiply `x[i + k]`: a correlation, as in `scipy.ndimage.correlate1d`.
    For those of a convolution, reverse their order. No pixel is read where the weight
    is 0. With `scale="derivative"`, the default of the operators, the weights are
    divided so that derivatives are in the units of a slope: smoothing by
    :math:`\sum_k s_k`, the first derivative by :math:`\sum_k k d_k`, the second by
    :math:`\sum_k k^2 d_k / 2`. `scale="raw"` uses them as they are.

    A kernel is immutable. Kernels with the same taps are equal and have the same hash,
    so that a compiled function is compiled once for all of them.

    Args:
      first: the weights of the first derivative. They sum to 0, but for rounding. None
        if no first derivative is asked for.
      smoothing: the weights along the axes that are not differentiated, which do not
        sum to 0. By default, there is no smoothing.
      second: the weights of the second derivative along one axis, as in
        :func:`second_derivatives`. They sum to 0 and so do their products with k, but
        for rounding. None if no second derivative is asked for.

    Raises:
      ValueError: if the weights are not finite real numbers, or the sums are not as
        above.
      TypeError: if an argument is neither a sequence nor a mapping.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> boxes = jig.Kernel(first=(-1, 1), smoothing=(1, 1))  # 2×2 pixels
      >>> y, x = jnp.mgrid[0.0:4, 0.0:4]
      >>> dy, dx = jig.spatial_gradient(2 * y + x * y, operator=boxes, axes=(0, 1))
      >>> dy[:3, :3]  # 2 + x, in the middle of 2×2 pixels
      Array([[2.5, 3.5, 4.5],
             [2.5, 3.5, 4.5],
             [2.5, 3.5, 4.5]], dtype=float32)

    Reference:
      B. Horn, B. Schunck, "Determining optical flow", Artificial Intelligence 17, 1981,
      section 7, for the taps of the example.
    """

    first: Taps | None
    smoothing: Taps
    second: Taps | None
    _text: str = dataclasses.field(compare=False)

    def __init__(
        self,
        *,
        first: GivenTaps | None = None,
        smoothing: GivenTaps = (1,),
        second: GivenTaps | None = None,
    ) -> None:
        given = {"first": first, "smoothing": smoothing, "second": second}
        texts = []
        for name, value in given.items():
            if value is None and name != "smoothing":
                object.__setattr__(self, name, None)
                continue
            weights = _by_offset(name, value)
            taps = tuple(sorted((k, w) for k, w in weights.items() if w))
            _check_sums(name, taps, value)
            object.__setattr__(self, name, taps)
            shown = weights if isinstance(value, Mapping) else tuple(weights.values())
            if name != "smoothing" or shown != (1,):
                texts.append(f"{name}={shown}")
        object.__setattr__(self, "_text", f"Kernel({', '.join(texts)})")

    def __repr__(self) -> str:
        return self._text


def moment(taps: Taps, power: int) -> float:
    """The sum of the weights times a power of their offsets."""
    return math.fsum(k**power * w for k, w in taps)


def _by_offset(name: str, given: Any) -> dict[int, float]:
    """The weights by their offsets, as Python numbers."""
    expected = f"{name} must be a sequence of weights, or a mapping {{offset: weight}}"
    if isinstance(given, jax.Array | np.ndarray):
        if given.ndim != 1:
            raise ValueError(
                f"{expected}, got an array of shape {given.shape}; pass the weights "
                "along one axis: a Kernel is a product of stencils along the axes"
            )
    elif isinstance(given, str) or not isinstance(given, Sequence | Mapping):
        raise TypeError(
            f"{expected}, got {reprlib.repr(given)}; pass {_EXAMPLES[name]}, for "
            "example"
        )
    if isinstance(given, Mapping):
        weights, offsets = [*given.values()], [_as_offset(name, k) for k in given]
    else:
        weights: list[Any] = [*given]
        start = -((len(weights) - 1) // 2)
        offsets = range(start, start + len(weights))
    numbers = list(map(as_number, weights))
    if None in numbers:
        raise ValueError(
            f"{name} must be finite real numbers, got {reprlib.repr(given)}"
            f"{hint_if_traced(*weights)}"
        )
    _check_limits(name, numbers, offsets)
    return dict(zip(offsets, numbers, strict=True))


def _as_offset(name: str, offset: Any) -> int:
    try:
        if isinstance(offset, bool | np.bool_):
            raise TypeError("a bool is not an offset")
        return operator.index(offset)
    except TypeError as error:
        raise ValueError(
            f"{name} must have integers as offsets, got {offset!r}; in a mapping "
            "{offset: weight}, offsets are the keys"
        ) from error


def _check_limits(name: str, weights: list[float], offsets: Iterable[int]) -> None:
    farthest = max(map(abs, offsets), default=0)
    if farthest > FARTHEST:
        raise ValueError(
            f"{name} must reach at most {FARTHEST} pixels, got an offset of {farthest};"
            " subsample the image first"
        )
    for weight in weights:
        if weight and not _SMALLEST <= abs(weight) <= _LARGEST:
            remedy = "set it to 0" if abs(weight) < 1 else "divide all weights by it"
            raise ValueError(
                f"{name} must be 0 or between {_SMALLEST} and {_LARGEST}, but for the "
                f"sign, got a weight of {weight}; {remedy}"
            )


# By Taylor's theorem, sum_k w_k f(x + k) = f(x) M0 + f'(x) M1 + f''(x) M2 / 2 + ...,
# with the moments Mp = sum_k k^p w_k. For each kind of taps, the moments that must be
# 0, and the one that must not, by which `scale="derivative"` divides.
_MOMENTS = {"first": ([0], 1), "smoothing": ([], 0), "second": ([0, 1], 2)}
_SUMS = ("the weights", "the weights times their offsets", "the weights times k²")
_DERIVATIVES = {
    "first": ("give a ramp a slope", "pass the taps of a second derivative as second"),
    "smoothing": (
        "not be 0 for a constant",
        "pass the taps of a derivative as first or second",
    ),
    "second": (
        "give a parabola a second derivative",
        "pass the taps of a second derivative, such as (1, -2, 1)",
    ),
}


def _check_sums(name: str, taps: Taps, given: Any) -> None:
    """Raises ValueError unless the taps are those of such a derivative."""
    got = f"got {reprlib.repr(given)}"
    if not taps:
        raise ValueError(
            f"{name} must have a weight that is not 0, {got}; pass {_EXAMPLES[name]}, "
            "for example"
        )

    def is_zero(power: int) -> bool:
        size = math.fsum(abs(k**power * w) for k, w in taps)
        return abs(moment(taps, power)) <= _ROUNDING * size

    zeros, scale = _MOMENTS[name]
    for power in zeros:
        if not is_zero(power):
            of_what, remedy = (
                ("a constant", "subtract that from one of them, or pass smoothing="),
                ("a ramp", "pass the taps of a first derivative as first"),
            )[power]
            raise ValueError(
                f"{name} must be 0 for {of_what}, but the sum of {_SUMS[power]} is "
                f"{moment(taps, power):.6g}, {got}; {remedy}"
            )
    if is_zero(scale):
        purpose, remedy = _DERIVATIVES[name]
        raise ValueError(
            f"{name} must {purpose}, but the sum of {_SUMS[scale]} is 0, {got}; "
            f"{remedy}"
        )
