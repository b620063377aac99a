"""Stencils in NumPy with 64 bits, on padded copies, independent of jax_imgrad."""

import itertools
import math

import numpy as np

PADDINGS = ["interior", "constant", "edge", "reflect", "symmetric", "wrap"]
EXTRAPOLATIONS = ["linear", "quadratic"]
BOUNDARIES = [*PADDINGS, *EXTRAPOLATIONS]
GAUSSIAN = ("gaussian", 0.8)
OPERATORS = [
    *("forward", "backward", "central", "sobel", "scharr", "prewitt", "farid"),
    *("central5", "sobel5", "sobel7", GAUSSIAN),
]


def binomial(n):
    return np.array([math.comb(n, k) for k in range(n + 1)], float)


def centered(weights):
    """Taps in an array with offset 0 in the middle, from a sequence or a mapping."""
    if weights is None:
        return None
    if not isinstance(weights, dict):
        start = -((len(weights) - 1) // 2)
        weights = {start + i: w for i, w in enumerate(weights)}
    reach = max(map(abs, weights))
    return np.array([weights.get(k, 0) for k in range(-reach, reach + 1)], float)


def bell(sigma, truncate=4.0):
    """The offsets, and the Gaussian there."""
    reach = int(truncate * sigma + 0.5)
    k = np.arange(-reach, reach + 1)
    weights = np.exp(-(k**2) / (2 * sigma**2))
    return k, weights / weights.sum()


def kernels(operator, order=1):
    """Raw centered taps: first derivative, smoothing, second derivative.

    The operator is a name, ("gaussian", sigma), or a dict with the taps of a Kernel.
    """
    if isinstance(operator, dict):
        names = ("first", "smoothing", "second")
        given = {"smoothing": (1,)} | operator
        return [centered(given.get(name)) for name in names]
    one, central, second = [0, 1, 0], [-1, 0, 1], [1, -2, 1]
    if operator == "forward":
        return [0, -1, 1], one, second
    if operator == "backward":
        return [-1, 1, 0], one, second
    if operator in ("central", "sobel", "scharr", "prewitt"):
        smooth = {"sobel": [1, 2, 1], "scharr": [3, 10, 3], "prewitt": [1, 1, 1]}
        return central, smooth.get(operator, one), second
    if operator == "central5":
        return [1, -8, 0, 8, -1], one, [-1, 16, -30, 16, -1]
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
    k, smooth = bell(sigma)
    return k / sigma**2 * smooth, smooth, (k**2 / sigma**4 - 1 / sigma**2) * smooth


def of_axis(operator, i):
    """The operator along the i-th axis: a Gaussian may have a sigma for each axis."""
    if isinstance(operator, tuple) and isinstance(operator[1], tuple):
        return "gaussian", operator[1][i]
    return operator


def offsets(taps):
    return np.arange(len(taps)) - len(taps) // 2


def scaled(operator, order, scale):
    first, smooth, second = (
        None if taps is None else np.asarray(taps, float)
        for taps in kernels(operator, order)
    )
    if scale == "derivative":
        smooth = smooth / smooth.sum()
        if first is not None:
            first = first / (offsets(first) @ first)
        if second is not None:
            second = second - (offsets(second) == 0) * second.sum()
            second = second / (offsets(second) ** 2 @ second / 2)
    return first, smooth, second


def padded(x, reach, axis, boundary):
    """The image with `reach` more pixels at each end of an axis.

    "linear" and "quadratic" continue it such that each further second, or third,
    difference is 0.
    """
    if boundary not in EXTRAPOLATIONS:
        width = [(reach, reach) if a == axis else (0, 0) for a in range(x.ndim)]
        return np.pad(x, width, "constant" if boundary == "interior" else boundary)
    x = np.moveaxis(x, axis, 0)
    for _ in range(reach):
        for _ in range(2):  # at the start, then, in reverse, at the end
            if boundary == "linear":
                further = 2 * x[0] - x[1]
            else:
                further = 3 * x[0] - 3 * x[1] + x[2]
            x = np.concatenate([further[None], x])[::-1]
    return np.moveaxis(x, 0, axis)


def padded_mask(bad, reach, axis, boundary):
    """Where pixels are bad, or extrapolated from bad ones."""
    if boundary not in EXTRAPOLATIONS:
        return padded(bad.astype(float), reach, axis, boundary)
    count = {"linear": 2, "quadratic": 3}[boundary]
    bad = np.moveaxis(bad, axis, 0)
    ends = [bad[:count].any(0), bad[-count:].any(0)]
    before, after = ([end] * reach for end in ends)
    return np.moveaxis(np.array([*before, *bad, *after], float), 0, axis)


def correlate(x, taps, axis, boundary, pad=padded):
    """The sum over k of taps[k] x[i + k]; 0 if a tap is missing, with "interior"."""
    taps = np.asarray(taps)
    reach, size = len(taps) // 2, x.shape[axis]
    around = pad(x, reach, axis, boundary)
    out = np.zeros(x.shape, np.result_type(x.dtype, float))
    for k, tap in enumerate(taps):
        if tap:
            out += tap * np.take(around, np.arange(size) + k, axis)
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
    x = np.asarray(x)
    x = x.astype(complex if x.dtype.kind == "c" else float)
    for i, (count, axis, mode, h) in enumerate(
        zip(counts, axes, each(boundary, axes), each(spacing, axes), strict=True)
    ):
        taps = scaled(of_axis(operator, i), max(1, sum(counts)), scale)
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
    one_sided=False,
):
    axes = [a % np.ndim(x) for a in axes]
    uneven = [np.ndim(h) == 1 for h in each(spacing, axes)]
    if not (one_sided or any(uneven)):
        widths = each(spacing, axes)
        parts = results(x, 1, operator, axes, boundary, 1, scale, where)
        return [part / h for part, h in zip(parts, widths, strict=True)]
    x = np.asarray(x)
    x = x.astype(complex if x.dtype.kind == "c" else float)
    where = np.broadcast_to(True if where is None else where, x.shape)
    gain = 2 if (operator, scale) == ("central", "raw") else 1
    parts = []
    for axis, mode, h in zip(
        axes, each(boundary, axes), each(spacing, axes), strict=True
    ):
        if not (one_sided or np.ndim(h) == 1):
            options = {"axes": [axis], "boundary": mode, "scale": scale, "where": where}
            parts += [part / h for part in gradient(x, operator, **options)]
            continue
        slopes = slopes_along(x, where, operator, axis, mode, h, one_sided)[0]
        parts.append(gain * slopes / (1 if np.ndim(h) == 1 else h))
    return parts


def slopes_along(x, where, operator, axis, mode, h, one_sided):
    """The slopes to neighboring pixels along an axis, and where they are known."""
    slopes, known = np.zeros_like(x), np.zeros(x.shape, bool)
    at = h if np.ndim(h) == 1 else np.arange(x.shape[axis])
    for pixel in np.ndindex(*x.shape):
        if pixel[axis] == 0:
            line = tuple(slice(None) if a == axis else i for a, i in enumerate(pixel))
            found = slopes_of(x[line], where[line], at, operator, mode, one_sided)
            slopes[line], known[line] = np.transpose(found)
    return slopes, known


def slopes_of(line, valid, at, operator, mode, one_sided):
    """Pairs of a slope and whether it is known, for each pixel of a line."""
    extrapolates = mode in ("linear", "quadratic")
    around = "constant" if mode in ("interior", "constant") or extrapolates else mode
    line, inside = np.pad(line, 1, mode=around), np.pad(valid, 1, mode=around)
    if mode == "constant":
        inside[[0, -1]] = True
    at = np.concatenate([at[:1] - 1, at, at[-1:] + 1])
    pairs = []
    for i in range(1, len(line) - 1):
        after, before = (
            (line[i + k] - line[i]) / (at[i + k] - at[i])
            if inside[i] and inside[i + k]
            else None
            for k in (1, -1)
        )
        h_after, h_before = at[i + 1] - at[i], at[i] - at[i - 1]
        one, other = (after, before) if operator == "forward" else (before, after)
        if operator == "central":
            one, other = None, after if before is None else before
            if None not in (after, before):
                one = (h_before * after + h_after * before) / (h_before + h_after)
        if one is None and extrapolates and i in (1, len(line) - 2):
            missing_after = i == len(line) - 2
            needed = operator != ("backward" if missing_after else "forward")
            if needed and (after is None) == missing_after:
                one = beyond(line, inside, at, i, operator, mode)
        if one is None and one_sided:
            one = other
        pairs.append((0 if one is None else one, one is not None))
    return pairs


def beyond(line, inside, at, i, operator, mode):
    """The slope at an end, of the line or the parabola through the pixels nearest."""
    toward = 1 if i == 1 else -1
    nearest = [i + k * toward for k in range(2 if mode == "linear" else 3)]
    if not inside[nearest].all() or nearest[-1] not in range(1, len(line) - 1):
        return None
    curve = np.polynomial.Polynomial.fit(at[nearest], line[nearest], len(nearest) - 1)
    if operator == "central":
        return curve.deriv()(at[i])
    end = at[i] - (at[i + toward] - at[i])  # the interval beyond has the same size
    return (curve(end) - curve(at[i])) / (end - at[i])


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
    bad = ~valid
    for i, (count, axis, mode) in enumerate(
        zip(counts, axes, each(boundary, axes), strict=True)
    ):
        taps = kernels(of_axis(operator, i), max(1, sum(counts)))
        used = (np.asarray(taps[{0: 1, 1: 0, 2: 2}[count]]) != 0).astype(float)
        bad = correlate(bad, used, axis, mode, padded_mask) > 0
    return ~bad


def valid_outputs(
    valid,
    operator="forward",
    axes=(-3, -2),
    boundary="interior",
    one_sided=False,
    spacing=1,
):
    """Where each part of a gradient is valid, or does not exist."""
    axes = [a % valid.ndim for a in axes]
    masks = []
    for counts, axis, mode, h in zip(
        derived(axes, 1), axes, each(boundary, axes), each(spacing, axes), strict=True
    ):
        if not (one_sided or np.ndim(h) == 1):
            masks.append(counts_at(valid, counts, operator, axes, boundary))
            continue
        known, exists = (
            slopes_along(valid + 0.0, w, operator, axis, mode, h, one_sided)[1]
            for w in (valid, np.ones_like(valid))
        )
        masks.append(known | ~exists)
    return masks


def joint_gradient(x, where=None, **options):
    """The gradient where all its parts are valid, and the mask of these pixels."""
    if where is None:
        return gradient(x, **options), np.ones(np.shape(x), bool)
    names = ("operator", "axes", "boundary", "one_sided", "spacing")
    stencils = {k: options[k] for k in names if k in options}
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


def smooth(
    x,
    operator=("gaussian", 1.0),
    axes=(-3, -2),
    boundary="edge",
    scale="derivative",
    where=None,
):
    """With a mask, the mean over the valid pixels, never of extrapolated ones."""
    if where is not None:
        nearest = {"linear": "edge", "quadratic": "edge"}
        boundary = tuple(nearest.get(one, one) for one in each(boundary, axes))
    axes = [a % np.ndim(x) for a in axes]
    counts = [0] * len(axes)
    options = {"operator": operator, "axes": axes, "boundary": boundary, "spacing": 1}
    if where is None:
        return stencil(x, counts, scale=scale, **options)
    total = stencil(np.where(where, x, 0), counts, scale=scale, **options)
    share = stencil(where.astype(float), counts, scale="derivative", **options)
    return np.divide(total, share, out=np.zeros_like(total), where=share > 0)


def structure_tensor(
    x,
    sigma=1.0,
    axes=(-3, -2),
    boundary="interior",
    truncate=4.0,
    window_boundary=None,
    **options,
):
    """With a mask, the window is a mean over the valid outputs."""
    axes = [a % np.ndim(x) for a in axes]
    if window_boundary is None:
        modes = each(boundary, axes)
        modes = ["constant" if m == "interior" else m for m in modes]
        modes = ["edge" if m in EXTRAPOLATIONS else m for m in modes]  # no negative
    else:
        modes = each(window_boundary, axes)

    def windowed(image):
        for axis, mode, width in zip(axes, modes, each(sigma, axes), strict=True):
            image = correlate(image, bell(width, truncate)[1], axis, mode)
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
