"""Stencils once more, in NumPy and 64 bits, on padded copies; nothing of ours."""

import itertools
import math

import numpy as np

BOUNDARIES = ["zero", "constant", "edge", "reflect", "symmetric", "wrap"]
GAUSSIAN = ("gaussian", 0.8)
OPERATORS = [
    *("forward", "backward", "central", "sobel", "scharr", "prewitt", "farid"),
    *("sobel5", "sobel7", GAUSSIAN),
]


def binomial(n):
    return np.array([math.comb(n, k) for k in range(n + 1)], float)


def kernels(operator, order=1):
    """Raw taps, centered: of the first derivative, of none, of the second."""
    one, central, second = [0, 1, 0], [-1, 0, 1], [1, -2, 1]
    if operator == "forward":
        return [0, -1, 1], one, second
    if operator == "backward":
        return [-1, 1, 0], one, second
    if operator in ("central", "sobel", "scharr", "prewitt"):
        smooth = {"sobel": [1, 2, 1], "scharr": [3, 10, 3], "prewitt": [1, 1, 1]}
        return central, smooth.get(operator, one), second
    if operator in ("sobel5", "sobel7"):
        width = int(operator[-1])
        # As OpenCV: what is left of the binomial when 1 or 2 differences are taken.
        first = np.convolve(binomial(width - 3), central)
        return first, binomial(width - 1), np.convolve(binomial(width - 3), second)
    if operator == "farid" and order == 1:
        smooth = [0.0376593171958126, 0.249153396177344, 0.426374573253687]
        half = [-0.109603762960254, -0.276690988455557]
        return [*half, 0, -half[1], -half[0]], [*smooth, *smooth[1::-1]], None
    if operator == "farid":
        smooth, second = [0.030320, 0.249724, 0.439911], [0.232905, 0.002668, -0.471147]
        first = [-0.104550, -0.292315, 0, 0.292315, 0.104550]
        return first, [*smooth, *smooth[1::-1]], [*second, *second[1::-1]]
    _, sigma = operator
    k = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    bell = np.exp(-(k**2) / (2 * sigma**2))
    bell /= bell.sum()
    return k / sigma**2 * bell, bell, (k**2 / sigma**4 - 1 / sigma**2) * bell


def scaled(operator, order, scale):
    first, smooth, second = (
        None if taps is None else np.asarray(taps, float)
        for taps in kernels(operator, order)
    )
    if scale == "derivative":
        k = np.arange(len(first)) - len(first) // 2
        first, smooth = first / (k @ first), smooth / smooth.sum()
        if second is not None:
            second = second - (k == 0)[: len(second)] * second.sum()
            second = second / (k**2 @ second / 2)
    return first, smooth, second


def correlate(x, taps, axis, boundary):
    """Sum over k of taps[k] x[i + k], of a copy that is padded; or 0 with "zero"."""
    taps = np.asarray(taps)
    reach, size = len(taps) // 2, x.shape[axis]
    width = [(reach, reach) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = np.pad(x, width, mode="constant" if boundary == "zero" else boundary)
    out = np.zeros(x.shape, np.result_type(x.dtype, float))
    for k, tap in enumerate(taps):
        if tap:
            out += tap * np.take(padded, np.arange(size) + k, axis)
    if boundary == "zero":
        used = np.flatnonzero(taps) - reach
        i = np.arange(size)
        inside = (i + used.min() >= 0) & (i + used.max() < size)
        shape = [size if a == axis else 1 for a in range(x.ndim)]
        out = np.where(inside.reshape(shape), out, 0)
    return out


def each(value, axes):
    return value if isinstance(value, tuple) else (value,) * len(axes)


def stencil(x, counts, operator, axes, boundary, spacing, scale):
    """`counts`: how often to differentiate along each of the axes."""
    taps = scaled(operator, max(1, sum(counts)), scale)
    x = np.asarray(x)
    x = x.astype(complex if x.dtype.kind == "c" else float)
    for count, axis, mode, h in zip(
        counts, axes, each(boundary, axes), each(spacing, axes), strict=True
    ):
        which = {0: 1, 1: 0, 2: 2}[count]
        x = correlate(x, taps[which], axis, mode) / h**count
    return x


def gradient(
    x, operator="forward", axes=(-3, -2), boundary="zero", spacing=1, scale="derivative"
):
    axes = [a % np.ndim(x) for a in axes]
    return [
        stencil(
            x,
            [i == j for j in range(len(axes))],
            operator,
            axes,
            boundary,
            spacing,
            scale,
        )
        for i in range(len(axes))
    ]


def second_derivatives(
    x, operator="central", axes=(-3, -2), boundary="zero", spacing=1, scale="derivative"
):
    axes = [a % np.ndim(x) for a in axes]
    pairs = itertools.combinations_with_replacement(range(len(axes)), 2)
    return [
        stencil(
            x,
            [(i == j) + (i == k) for i in range(len(axes))],
            operator,
            axes,
            boundary,
            spacing,
            scale,
        )
        for j, k in pairs
    ]


def valid_outputs(valid, operator, axes, boundary):
    """Of each derivative: where no tap meets a pixel that is not valid, one by one."""
    axes = [a % valid.ndim for a in axes]
    first, smooth, _ = kernels(operator)
    results = []
    for derived in axes:
        bad = ~valid
        for axis, mode in zip(axes, each(boundary, axes), strict=True):
            used = (np.asarray(first if axis == derived else smooth) != 0).astype(float)
            mode = "constant" if mode == "zero" else mode
            bad = correlate(bad.astype(float), used, axis, mode) > 0
        results.append(~bad)
    return results
