"""The losses in NumPy with 64 bits, independent of jax_imgrad."""

import numpy as np


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


def total_variation(
    image,
    penalty="l1",
    delta=None,
    isotropic=False,
    channel_coupling=False,
    axes=(-3, -2),
    where=None,
    reduction="mean",
):
    image, axes = wide(image), counted(axes, np.asarray(image))
    delta = {"huber": 1.0, "charbonnier": 1e-3}.get(penalty) if delta is None else delta
    valid = valid_pixels(where, image.shape)
    if channel_coupling:
        valid = valid_pixels(valid.all(-1, keepdims=True), image.shape)
    along = [np.where(pairs(valid, a), difference(image, a), 0) for a in axes]
    if isotropic or channel_coupling:
        squares = sum(d**2 for d in along)
        if channel_coupling:
            squares = squares.sum(-1, keepdims=True)
            valid = valid[..., :1]
        along = [np.sqrt(squares)]
    total = sum(per_image(rho(penalty, d, delta)) for d in along)
    return total if reduction == "sum" else ratio(total, per_image(valid))


def gradient_difference(
    predictions, targets, alpha=1.0, axes=(-3, -2), where=None, reduction="mean"
):
    p, t = wide(predictions), wide(targets)
    valid = valid_pixels(where, p.shape)
    total = np.zeros(len(p))
    for axis in counted(axes, p):
        sizes = np.abs(difference(p, axis)) - np.abs(difference(t, axis))
        total += per_image(np.where(pairs(valid, axis), np.abs(sizes) ** alpha, 0))
    return total if reduction == "sum" else ratio(total, per_image(valid))


def gradient_matching(
    predictions, targets, scales=4, axes=(-3, -2), where=None, reduction="mean"
):
    residual = wide(predictions) - wide(targets)
    valid = valid_pixels(where, residual.shape)
    axes = counted(axes, residual)
    loss = np.zeros(len(residual))
    for k in range(scales):
        r, v = residual, valid
        for axis in axes:
            r = part(r, axis, slice(None, None, 2**k))
            v = part(v, axis, slice(None, None, 2**k))
        total = np.zeros(len(r))
        for axis in axes:
            total += per_image(np.where(pairs(v, axis), np.abs(difference(r, axis)), 0))
        if reduction == "mean":
            total = ratio(total, per_image(v))
        elif reduction == "batch_mean":
            total = len(r) * ratio(total, np.full(len(r), v.sum()))
        loss += total
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
    reduction="mean",
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
        d = d[1] - d[0] if order == 1 else d[2] - 2 * d[1] + d[0]
        edges = part(guide, axis, taps[-1]) - part(guide, axis, taps[0])
        edges = (np.abs(edge_weight * edges) ** exponent).mean(-1, keepdims=True)
        counts = np.all([part(valid, axis, tap) for tap in taps], axis=0)
        total = per_image(np.where(counts, rho(penalty, d, delta) * np.exp(-edges), 0))
        loss += total if reduction == "sum" else ratio(total, per_image(counts))
    return loss


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
