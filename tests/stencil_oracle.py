"""Stencils in NumPy with 64 bits, on padded copies, independent of jax_imgrad."""

import itertools
import math

import numpy as np

BOUNDARIES = ["interior", "constant", "edge", "reflect", "symmetric", "wrap"]
GAUSSIAN = ("gaussian", 0.8)
OPERATORS = [
    *("forward", "backward", "central", "sobel", "scharr", "prewitt", "farid"),
    *("sobel5", "sobel7", GAUSSIAN),
]


def binomial(n):
    return np.array([math.comb(n, k) for k in range(n + 1)], float)


def kernels(operator, order=1):
    """Raw centered taps: first derivative, smoothing, second derivative."""
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
        # As in OpenCV: a binomial of lower order, differenced 1 or 2 times.
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
    """The sum over k of taps[k] x[i + k]; 0 if a tap is missing, with "interior"."""
    taps = np.asarray(taps)
    reach, size = len(taps) // 2, x.shape[axis]
    width = [(reach, reach) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = np.pad(x, width, mode="constant" if boundary == "interior" else boundary)
    out = np.zeros(x.shape, np.result_type(x.dtype, float))
    for k, tap in enumerate(taps):
        if tap:
            out += tap * np.take(padded, np.arange(size) + k, axis)
    if boundary == "interior":
        used = np.flatnonzero(taps) - reach
        i = np.arange(size)
        inside = (i + used.min() >= 0) & (i + used.max() < size)
        shape = [size if a == axis else 1 for a in range(x.ndim)]
        out = np.where(inside.reshape(shape), out, 0)
    return out


def each(value, axes):
    return value if isinstance(value, tuple) else (value,) * len(axes)


def stencil(x, counts, operator, axes, boundary, spacing, scale):
    """Differentiates `counts` times along each of the axes."""
    taps = scaled(operator, max(1, sum(counts)), scale)
    x = np.asarray(x)
    x = x.astype(complex if x.dtype.kind == "c" else float)
    for count, axis, mode, h in zip(
        counts, axes, each(boundary, axes), each(spacing, axes), strict=True
    ):
        which = {0: 1, 1: 0, 2: 2}[count]
        x = correlate(x, taps[which], axis, mode) / h**count
    return x


def results(x, order, operator, axes, boundary, spacing, scale, where):
    """The derivatives along each axis or pair of axes; 0 where they are invalid."""
    axes = [a % np.ndim(x) for a in axes]
    x = x if where is None else np.where(where, x, 0)
    found = []
    for counts in derived(axes, order):
        one = stencil(x, counts, operator, axes, boundary, spacing, scale)
        if where is not None:
            one = np.where(counts_at(where, counts, operator, axes, boundary), one, 0)
        found.append(one)
    return found


def derived(axes, order):
    """For each result, the order of the derivative along each of the axes."""
    chosen = itertools.combinations_with_replacement(range(len(axes)), order)
    return [[some.count(i) for i in range(len(axes))] for some in chosen]


def gradient(
    x,
    operator="forward",
    axes=(-3, -2),
    boundary="interior",
    spacing=1,
    scale="derivative",
    where=None,
):
    return results(x, 1, operator, axes, boundary, spacing, scale, where)


def second_derivatives(
    x,
    operator="central",
    axes=(-3, -2),
    boundary="interior",
    spacing=1,
    scale="derivative",
    where=None,
):
    return results(x, 2, operator, axes, boundary, spacing, scale, where)


def laplacian(x, axes=(-3, -2), boundary="edge", spacing=1, where=None):
    """An output is valid if the second differences along all axes are."""
    axes = [a % np.ndim(x) for a in axes]
    x = x if where is None else np.where(where, x, 0)
    total, all_count = 0, True
    for axis, mode, h in zip(
        axes, each(boundary, axes), each(spacing, axes), strict=True
    ):
        total = total + stencil(x, [2], "central", [axis], mode, h, "raw")
        if where is not None:
            all_count &= counts_at(where, [2], "central", [axis], mode)
    return np.where(all_count, total, 0)


def divergence(parts, axes=(-3, -2), where=None, **options):
    """Minus the transpose of the gradient, whose matrix is built pixel by pixel.

    Without a mask, which may differ between them, all other axes are batch axes: the
    matrix is that of one image.
    """
    rank = parts[0].ndim
    axes = [axis % rank for axis in axes]
    if where is not None:
        axes = [*axes, *(axis for axis in range(rank) if axis not in axes)]
        where = np.moveaxis(np.broadcast_to(where, parts[0].shape), axes, range(rank))
    last = range(-len(axes), 0)
    parts = [np.moveaxis(part, axes, last) for part in parts]
    *batch, size = (
        *parts[0].shape[: rank - len(axes)],
        parts[0].shape[rank - len(axes) :],
    )
    pixels = np.eye(math.prod(size)).reshape(-1, *size)
    if where is not None:
        where = np.broadcast_to(where, pixels.shape)
    columns = gradient(pixels, axes=range(1, 1 + len(parts)), where=where, **options)
    flow = sum(
        part.reshape(*batch, -1) @ column.reshape(len(column), -1).T
        for column, part in zip(columns, parts, strict=True)
    )
    return -np.moveaxis(flow.reshape(*batch, *size), last, axes)


def counts_at(valid, counts, operator, axes, boundary):
    """Where no tap of a derivative reads an invalid pixel.

    With "interior", an output at the border reads no pixel, and is valid.
    """
    taps = kernels(operator, max(1, sum(counts)))
    bad = ~valid
    for count, axis, mode in zip(counts, axes, each(boundary, axes), strict=True):
        used = (np.asarray(taps[{0: 1, 1: 0, 2: 2}[count]]) != 0).astype(float)
        bad = correlate(bad.astype(float), used, axis, mode) > 0
    return ~bad


def valid_outputs(valid, operator="forward", axes=(-3, -2), boundary="interior"):
    """Where each part of a gradient is valid."""
    axes = [a % valid.ndim for a in axes]
    return [
        counts_at(valid, counts, operator, axes, boundary)
        for counts in derived(axes, 1)
    ]


def joint_gradient(x, where=None, **options):
    """The gradient where all its parts are valid, and the mask of these pixels."""
    if where is None:
        return gradient(x, **options), np.ones(np.shape(x), bool)
    stencils = {k: options[k] for k in ("operator", "axes", "boundary") if k in options}
    counts = np.all(valid_outputs(where, **stencils), axis=0)
    parts = gradient(x, where=where, **options)
    return [np.where(counts, part, 0) for part in parts], counts


def magnitude(x, **options):
    return length(joint_gradient(x, **options)[0])


def length(parts):
    return np.sqrt(sum(np.abs(part) ** 2 for part in parts))


def orientation(x, **options):
    """Elevations over the later axes; the last is the angle in the last two axes."""
    parts, _ = joint_gradient(x, **options)
    rest = [length(parts[i + 1 :]) for i in range(len(parts) - 2)]
    return [*map(np.arctan2, parts[:-1], [*rest, parts[-1]])]


def structure_tensor(x, sigma=1.0, axes=(-3, -2), boundary="interior", **options):
    """With a mask, the window is a mean over the valid outputs."""
    axes = [a % np.ndim(x) for a in axes]

    def windowed(image):
        for axis, mode in zip(axes, each(boundary, axes), strict=True):
            mode = "constant" if mode == "interior" else mode
            image = correlate(image, kernels(("gaussian", sigma))[1], axis, mode)
        return image

    parts, counts = joint_gradient(x, axes=axes, boundary=boundary, **options)
    pairs = itertools.combinations_with_replacement(parts, 2)
    means = [windowed(a * b) for a, b in pairs]
    if options.get("where") is None:
        return means
    share = windowed(counts.astype(float))
    return [
        np.divide(mean, share, out=np.zeros_like(mean), where=share > 0)
        for mean in means
    ]
