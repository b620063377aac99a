"""The losses in NumPy with 64 bits, independent of jax_imgrad."""

import itertools

import numpy as np
from stencil_oracle import EXTRAPOLATIONS, padded, padded_mask


def wide(array):
    """The array in the 64-bit dtype in which the oracle computes."""
    return np.asarray(array).astype("c16" if np.iscomplexobj(array) else "f8")


def part(array, axis, some):
    """`array[some]` along one axis."""
    return array[(slice(None),) * axis + (some,)]


def difference(image, axis):
    """Forward differences, without the last pixel."""
    out = np.zeros_like(image)
    for i in range(image.shape[axis] - 1):
        part(out, axis, i)[...] = part(image, axis, i + 1) - part(image, axis, i)
    return out


def pairs(valid, axis):
    """Where a pixel and the next one are both valid."""
    out = np.zeros_like(valid)
    for i in range(valid.shape[axis] - 1):
        part(out, axis, i)[...] = part(valid, axis, i) * part(valid, axis, i + 1)
    return out


def minus_divergence(flows, axes):
    """The derivative of a sum of penalties with the derivatives `flows`."""
    out = np.zeros_like(flows[0])
    for flow, axis in zip(flows, axes, strict=True):
        for i in range(flow.shape[axis] - 1):
            part(out, axis, i)[...] -= part(flow, axis, i)
            part(out, axis, i + 1)[...] += part(flow, axis, i)
    return out


def per_image(array):
    return array.sum(tuple(range(1, array.ndim)))


def ratio(total, pixels):
    """The quotient; 0 where there are no pixels."""
    return np.divide(total, pixels, out=np.zeros_like(total), where=pixels > 0)


def valid_pixels(where, shape):
    return np.broadcast_to(True if where is None else where, shape)


def counted(axes, image):
    return [axis % image.ndim for axis in np.atleast_1d(axes)]


def rho(penalty, d, delta):
    if penalty == "l1":
        return np.abs(d)
    if penalty == "l2":
        return d**2
    if penalty == "huber":
        return np.where(np.abs(d) <= delta, d**2 / (2 * delta), np.abs(d) - delta / 2)
    return np.sqrt(d**2 + delta**2) - delta


PADDING = {"interior": "constant"}  # of NumPy; the others have the same names


def read(array, offsets, boundaries, beyond=0):
    """`array[i + offset]` at i, along several axes; `beyond` for constant padding."""
    for axis, by in offsets.items():
        size, mode = array.shape[axis], PADDING.get(boundaries[axis], boundaries[axis])
        constant = {"constant_values": beyond} if mode == "constant" else {}
        width = [(abs(by), abs(by)) if a == axis else (0, 0) for a in range(array.ndim)]
        if mode not in EXTRAPOLATIONS:
            around = np.pad(array, width, mode, **constant)
        elif array.dtype == bool:
            around = padded_mask(~array, abs(by), axis, mode) == 0
        else:
            around = padded(array, abs(by), axis, mode)
        array = part(around, axis, slice(abs(by) + by, abs(by) + by + size))
    return array


def stencil(image, valid, taps, boundaries):
    """The sum of `weight * image[i + offset]`, and which outputs exist and are valid.

    `taps` are pairs of a weight and the offsets, `{axis: offset}`.
    """
    total, counts = 0, np.ones(image.shape, bool)
    for weight, offsets in taps:
        total = total + weight * read(image, offsets, boundaries)
        counts &= read(valid, offsets, boundaries, beyond=True)
        for axis, by in offsets.items():
            if boundaries[axis] == "interior":
                exists = read(np.ones_like(valid), {axis: by}, {axis: "constant"})
                counts &= exists.astype(bool)
    return np.where(counts, total, 0), counts


def forward(axis):
    return [(-1, {}), (1, {axis: 1})]


def second(a, b):
    """The second difference along two axes, or twice along the same one."""
    if a == b:
        return [(1, {a: -1}), (-2, {}), (1, {a: 1})]
    return [(1, {}), (-1, {a: 1}), (-1, {b: 1}), (1, {a: 1, b: 1})]


def each(option, axes):
    """One value of an option for each axis."""
    several = isinstance(option, (list, tuple))
    return dict(zip(axes, option if several else [option] * len(axes), strict=True))


def total_variation(
    image,
    order=1,
    penalty="l1",
    delta=None,
    subtract_delta=True,
    isotropic=False,
    channel_coupling=False,
    axes=(-3, -2),
    boundary="interior",
    spacing=1.0,
    weights=None,
    where=None,
    reduction="mean",
):
    image, axes = wide(image), counted(axes, np.asarray(image))
    delta = {"huber": 1.0, "charbonnier": 1e-3}.get(penalty) if delta is None else delta
    valid = valid_pixels(where, image.shape)
    if channel_coupling:
        valid = valid_pixels(valid.all(-1, keepdims=True), image.shape)
    boundaries, h = each(boundary, axes), each(spacing, axes)
    weights = each(1.0 if weights is None else weights, axes)
    if order == 1:
        taps = [(forward(a), h[a], weights[a]) for a in axes]
    else:
        taps = [(second(a, b), h[a] * h[b], weights[a]) for a in axes for b in axes]
    terms = []  # of each penalty: the size, the weight, which outputs count
    for one, divisor, weight in taps:
        d, counts = stencil(np.where(valid, image, 0), valid, one, boundaries)
        terms.append((np.abs(d) / divisor, np.where(valid, weight, 0), counts))
    if isotropic or channel_coupling:
        squares = sum(size**2 for size, _, _ in terms)
        weight = terms[0][1]
        if channel_coupling:
            squares = squares.sum(-1, keepdims=True)
            valid, weight = valid[..., :1], weight[..., :1]
        terms = [(np.sqrt(squares), weight, valid)]
    loss = 0
    for size, weight, counts in terms:
        value = rho(penalty, size, delta) + (0 if subtract_delta else delta)
        total = per_image(np.where(counts, weight * value, 0))
        if reduction == "axis_mean":
            total = ratio(total, per_image(counts))
        loss = loss + total
    return ratio(loss, per_image(valid)) if reduction == "mean" else loss


def neighbor(array, offsets, boundary, beyond=0.0):
    """`array[i + offsets]`, with `beyond` where there is no such pixel; and where."""
    inside = np.ones(array.shape, bool)
    if boundary in EXTRAPOLATIONS:
        return read(array, offsets, dict.fromkeys(offsets, boundary)), inside
    for axis, offset in offsets.items():
        n = array.shape[axis]
        index = np.arange(n) + offset
        exists = (index >= 0) & (index < n)
        array = np.take(array, index % n, axis)
        if boundary != "wrap":
            shape = [n if a == axis else 1 for a in range(array.ndim)]
            array = np.where(exists.reshape(shape), array, beyond)
            inside &= exists.reshape(shape)
    return array, inside


# Taps along the axis of the derivative, and along each other one.
TAPS = {
    "forward": ({0: -1, 1: 1}, {0: 1}),
    "backward": ({-1: -1, 0: 1}, {0: 1}),
    "central": ({-1: -1 / 2, 1: 1 / 2}, {0: 1}),
    "sobel": ({-1: -1 / 2, 1: 1 / 2}, {-1: 1 / 4, 0: 1 / 2, 1: 1 / 4}),
    "scharr": ({-1: -1 / 2, 1: 1 / 2}, {-1: 3 / 16, 0: 10 / 16, 1: 3 / 16}),
    "laplacian": ({-1: 1, 0: -2, 1: 1}, {0: 1}),
}
RAW = {"central": 2, "sobel": 8, "scharr": 32}  # the published taps, times these


def derivative(image, valid, axis, axes, operator, raw, step, boundary, spacing):
    """Along an axis: the outputs, where they exist, and where they are valid."""
    order = 2 if operator == "laplacian" else 1
    of_axes = [TAPS[operator][0 if other == axis else 1] for other in axes]
    value, exists, counts = 0.0, True, valid
    for taps in itertools.product(*(one.items() for one in of_axes)):
        offsets = {a: step * k for a, (k, _) in zip(axes, taps, strict=True)}
        weight = np.prod([w for _, w in taps]) / spacing**order
        pixel, inside = neighbor(image, offsets, boundary)
        value = value + weight * pixel
        exists = exists & (inside | (boundary != "interior"))
        counts = counts & neighbor(valid, offsets, boundary, True)[0]
    value = value * (RAW.get(operator, 1) if raw else 1 / step**order)
    return np.where(exists, value, 0), exists, counts


def coarser(image, valid, axes, downsample, k):
    """An image at scale k, and where it is valid."""
    if downsample == "skip":
        for axis in axes:
            image = part(image, axis, slice(None, None, 2**k))
            valid = part(valid, axis, slice(None, None, 2**k))
        return image, valid
    for _ in range(k if downsample == "gaussian" else 1):
        sums, shares = np.where(valid, image, 0), 1.0 * valid
        for axis in axes:
            n = image.shape[axis]
            if downsample == "mean":
                matrix = [np.arange(n) // 2**k == i for i in range(-(-n // 2**k))]
            else:
                around = [np.arange(n) - i + 2 for i in range(0, n, 2)]
                taps = np.array([1, 4, 6, 4, 1, 0])
                matrix = [taps[np.where((j >= 0) & (j < 5), j, 5)] for j in around]
            sums, shares = (
                np.moveaxis(np.tensordot(1.0 * np.array(matrix), a, (1, axis)), 0, axis)
                for a in (sums, shares)
            )
        image, valid = ratio(sums, shares), shares > 0
    return image, valid


def weights_of(weights, axes, image):
    """A weight for each of the axes, in the shape of the image."""
    each = weights if isinstance(weights, list) else [weights] * len(axes)
    return [np.broadcast_to(1.0 if w is None else wide(w), image.shape) for w in each]


def reduced(parts, reduction, valid):
    """The penalties of each axis, and where they count, as a number for each image."""
    totals = [per_image(np.where(counts, value, 0)) for value, counts in parts]
    if reduction == "axis_mean":
        pairs = zip(totals, parts, strict=True)
        return sum(
            ratio(total, 1.0 * per_image(counts)) for total, (_, counts) in pairs
        )
    total, pixels = sum(totals), 1.0 * per_image(valid)
    if reduction == "batch_mean":
        pixels = np.full(len(pixels), pixels.mean())
    return total if reduction == "sum" else ratio(total, pixels)


def gradient_difference(
    predictions,
    targets,
    alpha=1.0,
    axes=(-3, -2),
    boundary="interior",
    spacing=1.0,
    weights=None,
    where=None,
    reduction="mean",
):
    p, t = wide(predictions), wide(targets)
    valid = valid_pixels(where, p.shape)
    axes = counted(axes, p)
    spacings = np.broadcast_to(spacing, len(axes))
    parts = []
    for axis, weight, h in zip(
        axes, weights_of(weights, axes, p), spacings, strict=True
    ):
        options = (axis, [axis], "forward", False, 1, boundary, h)
        dp, exists, counts = derivative(p, valid, *options)
        dt, _, _ = derivative(t, valid, *options)
        sizes = np.abs(np.abs(dp) - np.abs(dt))
        parts.append((weight * sizes**alpha, exists & counts))
    return reduced(parts, reduction, valid)


def gradient_matching(
    predictions,
    targets,
    scales=4,
    operator="forward",
    scale="derivative",
    step=1,
    downsample="skip",
    penalty="l1",
    delta=None,
    subtract_delta=True,
    axes=(-3, -2),
    boundary="interior",
    spacing=1.0,
    weights=None,
    where=None,
    reduction="mean",
):
    residual = wide(predictions) - wide(targets)
    finest = valid_pixels(where, residual.shape)
    axes = counted(axes, residual)
    delta = {"huber": 1.0, "charbonnier": 1e-3}.get(penalty) if delta is None else delta
    weights = weights_of(weights, axes, residual)
    loss = np.zeros(len(residual))
    for k in range(scales):
        image, valid = coarser(residual, finest, axes, downsample, k)
        deltas = delta
        if np.ndim(delta):
            every = np.broadcast_to(delta, residual.shape)
            deltas, _ = coarser(every, finest, axes, "skip", k)
        parts = [
            derivative(
                *(image, valid, axis, axes, operator, scale == "raw"),
                *(step, boundary, h),
            )
            for axis, h in zip(axes, np.broadcast_to(spacing, len(axes)), strict=True)
        ]
        if operator == "laplacian":
            # A second difference that does not exist counts as 0.
            values, exist, counts = zip(*parts, strict=True)
            counts = [valid & (c | ~e) for c, e in zip(counts, exist, strict=True)]
            parts = [(sum(values), True, np.all(counts, 0))]
        penalties = []
        for (value, exists, counts), weight in zip(parts, weights, strict=False):
            small, _ = coarser(weight, finest, axes, downsample, k)
            one = rho(penalty, value, deltas)
            if not subtract_delta:
                one = one + deltas
            penalties.append((small * one, exists & counts))
        loss += reduced(penalties, reduction, valid)
    return loss


def edge_aware_smoothness(
    field,
    guide,
    order=1,
    penalty="l1",
    delta=1e-3,
    edge_weight=1.0,
    edge_weighting="exponential",
    mean_normalized=False,
    axes=(-3, -2),
    where=None,
    reduction="axis_mean",
):
    white = np.iinfo(guide.dtype).max if np.asarray(guide).dtype.kind in "iu" else 1
    field, guide = wide(field), wide(guide) / white
    valid = valid_pixels(where, field.shape)
    field = np.where(valid, field, 0)
    if mean_normalized:
        field = field.copy()
        for b in range(field.shape[0]):
            for c in range(field.shape[-1]):
                pixels = valid[b, ..., c].sum()
                mean = field[b, ..., c].sum() / pixels if pixels else 0
                field[b, ..., c] /= mean + 1e-7
    exponent = {"exponential": 1, "gaussian": 2}[edge_weighting]
    loss = np.zeros(len(field))
    for axis in counted(axes, field):
        n = field.shape[axis]
        taps = [slice(k, max(n - order + k, 0)) for k in range(order + 1)]
        d = [part(field, axis, tap) for tap in taps]
        d = np.abs(d[1] - d[0] if order == 1 else d[2] - 2 * d[1] + d[0])
        edges = part(guide, axis, taps[-1]) - part(guide, axis, taps[0])
        edges = (np.abs(edge_weight * edges) ** exponent).mean(-1, keepdims=True)
        counts = np.all([part(valid, axis, tap) for tap in taps], axis=0)
        total = per_image(np.where(counts, rho(penalty, d, delta) * np.exp(-edges), 0))
        loss += ratio(total, per_image(counts)) if reduction == "axis_mean" else total
    return ratio(loss, per_image(valid)) if reduction == "mean" else loss


def smoothing(n):
    """The matrix of five taps, with the border repeated."""
    matrix = np.zeros((n, n))
    for i in range(n):
        for k, tap in enumerate([0.05, 0.25, 0.4, 0.25, 0.05]):
            matrix[i, min(max(i + k - 2, 0), n - 1)] += tap
    return matrix


def blurred(n):
    """The matrix that smooths, subsamples, upsamples with zeros, and smooths."""
    every_second = np.diag(2.0 * (np.arange(n) % 2 == 0))
    return smoothing(n) @ every_second @ smoothing(n)


def laplacian_edge(
    predictions, targets, delta=1e-3, axes=(-3, -2), where=None, reduction="mean"
):
    residual = wide(predictions) - wide(targets)
    valid = valid_pixels(where, residual.shape)
    low, read = (
        residual,
        1.0 - valid,
    )  # the weighted number of invalid pixels that are read
    for axis in counted(axes, residual):
        matrix = blurred(residual.shape[axis])
        low = np.moveaxis(np.tensordot(matrix, low, (1, axis)), 0, axis)
        read = np.moveaxis(np.tensordot(matrix, read, (1, axis)), 0, axis)
    counts = read == 0
    edges = np.where(counts, residual - low, 0)
    total = per_image(rho("charbonnier", edges, delta))
    return total if reduction == "sum" else ratio(total, per_image(counts))


def second_difference(image, a, b, step, operator="forward"):
    """Second differences along two axes that exist, and where the first pixel lies.

    The pixels are `step` apart. The central pixel of a difference along one axis counts
    as the first, and that of central differences, which is returned as another pixel.
    """
    if a == b:
        n = max(image.shape[a] - 2 * step, 0)
        before, middle, after = (
            part(image, a, slice(k * step, k * step + n)) for k in range(3)
        )
        return (
            [before, middle, middle, after],
            (1, -1, -1, 1),
            {a: slice(step, n + step)},
        )
    middle = []
    if operator == "central":
        m, n = (max(image.shape[axis] - 2 * step, 0) for axis in (a, b))
        first = {a: slice(step, step + m), b: slice(step, step + n)}
        middle = [part(part(image, a, first[a]), b, first[b])]
        step *= 2
    m, n = (max(image.shape[axis] - step, 0) for axis in (a, b))
    corners = [
        part(part(image, a, slice(i, i + m)), b, slice(j, j + n))
        for i in (0, step)
        for j in (0, step)
    ]
    if middle:
        return corners + middle, (0.25, -0.25, -0.25, 0.25, 0), first
    return corners, (1, -1, -1, 1), {a: slice(0, m), b: slice(0, n)}


def bending_energy(
    field,
    operator="forward",
    step=1,
    axes=(-3, -2),
    spacing=1.0,
    weights=None,
    where=None,
    reduction="mean",
):
    field = wide(field)
    valid = valid_pixels(where, field.shape)
    field = np.where(valid, field, 0)
    weights = np.broadcast_to(1.0 if weights is None else weights, field.shape)
    axes = counted(axes, field)
    spacing = dict(zip(axes, np.broadcast_to(spacing, len(axes)), strict=True))
    energy = np.zeros(len(field))
    for a in axes:
        for b in axes:
            pixels, signs, first = second_difference(field, a, b, step, operator)
            masks, _, _ = second_difference(valid, a, b, step, operator)
            weight = weights
            for axis, some in first.items():
                weight = part(weight, axis, some)
            d = sum(sign * pixel for sign, pixel in zip(signs, pixels, strict=True))
            d = d / (step**2 * spacing[a] * spacing[b])
            counts = np.all(masks, axis=0)
            term = per_image(np.where(counts, weight * np.abs(d) ** 2, 0))
            energy += (
                ratio(term, per_image(counts)) if reduction == "axis_mean" else term
            )
    return ratio(energy, per_image(valid)) if reduction == "mean" else energy


def three(image, axis, weights):
    """The weighted sum of three neighbors along an axis, with zeros at the border."""
    widths = [(int(i == axis),) * 2 for i in range(image.ndim)]
    padded, n = np.pad(image, widths), image.shape[axis]
    return sum(w * part(padded, axis, slice(k, k + n)) for k, w in enumerate(weights))


def blocks(image, axes):
    """The sums of every two pixels along the axes; the last of an odd size is alone."""
    for axis in axes:
        widths = [(0, image.shape[i] % 2 * (i == axis)) for i in range(image.ndim)]
        padded = np.pad(image, widths)
        image = part(padded, axis, slice(0, None, 2)) + part(
            padded, axis, slice(1, None, 2)
        )
    return image


def prewitt(image, axes, along, smoothing=1 / 3):
    """Prewitt's operator along each axis, with the taps `along` that axis."""
    parts = []
    for a in axes:
        one = three(image, a, along)
        for b in axes:
            one = one if a == b else three(one, b, [smoothing] * 3)
        parts.append(one)
    return parts


def gradient_magnitude_similarity(
    predictions,
    targets,
    downsampled=True,
    constant=170 / 255**2,
    pooling="deviation",
    axes=(-3, -2),
    where=None,
):
    images = [np.asarray(image) for image in (predictions, targets)]
    axes = counted(axes, images[0])
    valid = valid_pixels(where, images[0].shape)
    invalid, magnitudes = 1.0 - valid, []
    for image in images:
        white = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
        image = np.where(valid, wide(image) / white, 0)
        if downsampled:
            image = blocks(image, axes) / 2 ** len(axes)
        magnitudes.append(np.sqrt(sum(d**2 for d in prewitt(image, axes, [-1, 0, 1]))))
    if downsampled:
        invalid = blocks(invalid, axes)
    counts = sum(prewitt(invalid, axes, [1, 0, 1], 1)) == 0
    a, b = magnitudes
    similarity = (2 * a * b + constant) / (a**2 + b**2 + constant)
    pooled = {"deviation": np.std, "mean": lambda s: 1 - s.mean()}[pooling]
    each = zip(similarity, counts, strict=True)
    return np.array([pooled(s[count]) if count.any() else 0 for s, count in each])
