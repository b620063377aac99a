"""The tasks to measure: each entry of WORK is a row of the tables, in every framework.

A formula is written once, as users write it, for a namespace `xp`: jax.numpy, numpy,
torch, or the TensorFlow functions under these names. `axes` are the axes of the rows
and columns of an image, `channels` is the axis of its channels: [B, H, W, C], or
[B, C, H, W] in PyTorch. Where a framework has its own function for a task, its file in
`peers/` names it.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """The axes of rows and columns (and slices of a volume), and of the channels."""

    axes: tuple[int, ...]
    channels: int


def part(x, axis, some):
    """`x[some]` along one axis."""
    return x[(slice(None),) * axis + (some,)]


def difference(x, axis):
    """Differences of neighbors, one fewer than there are pixels."""
    return part(x, axis, slice(1, None)) - part(x, axis, slice(None, -1))


def padded(xp, x, axis, before, after, mode="constant"):
    """`numpy.pad` along one axis."""
    return xp.pad(
        x, [(before, after) if a == axis else (0, 0) for a in range(x.ndim)], mode
    )


def pixels(x):
    """The number of elements."""
    return math.prod(x.shape)


def image_gradients(xp, layout, image):
    """Forward differences, padded with zeros."""
    return tuple(padded(xp, difference(image, a), a, 0, 1) for a in layout.axes)


def divergence(xp, layout, *gradients):
    """Backward differences, minus the transpose of `image_gradients`."""
    inner = [
        part(g, a, slice(None, -1)) for g, a in zip(gradients, layout.axes, strict=True)
    ]
    return sum(
        padded(xp, g, a, 0, 1) - padded(xp, g, a, 1, 0)
        for g, a in zip(inner, layout.axes, strict=True)
    )


def sobel(mode, xp, layout, image):
    """Smoothed along one axis, central differences along the other."""
    for axis in layout.axes:
        image = padded(xp, image, axis, 1, 1, mode)
    both = []
    for along, across in (layout.axes, layout.axes[::-1]):
        low, middle, high = (
            part(image, across, s)
            for s in (slice(None, -2), slice(1, -1), slice(2, None))
        )
        smooth = low + 2 * middle + high
        after, before = (
            part(smooth, along, s) for s in (slice(2, None), slice(None, -2))
        )
        both.append(after - before)
    return tuple(both)


def one_sided(xp, layout, image):
    """Central differences, one-sided at the border."""
    parts = []
    for a in layout.axes:
        n = image.shape[a]
        inner = part(image, a, slice(2, None)) - part(image, a, slice(None, -2))
        first = difference(part(image, a, slice(None, 2)), a)
        last = difference(part(image, a, slice(n - 2, None)), a)
        parts.append(
            padded(xp, inner / 2, a, 1, 1)
            + padded(xp, first, a, 0, n - 1)
            + padded(xp, last, a, n - 1, 0)
        )
    return tuple(parts)


def sobel_edges(xp, layout, image):
    """Sobel's derivatives in one array, with boundary "reflect"."""
    return xp.stack(sobel("reflect", xp, layout, image), -1)


def gradient_to_the_border(xp, layout, image):
    """Central differences, one-sided at the border, as those of `numpy.gradient`."""

    def mean_of_neighbors(axis):
        each = padded(xp, difference(image, axis), axis, 1, 1, "edge")
        after, before = (part(each, axis, s) for s in (slice(1, None), slice(-1)))
        return (after + before) / 2

    return tuple(map(mean_of_neighbors, layout.axes))


def gradient_magnitude(xp, layout, image):
    """The magnitude of Sobel's derivatives, with boundary "edge"."""
    return xp.sqrt(sum(d * d for d in sobel("edge", xp, layout, image)))


def gradient_orientation(xp, layout, image):
    """The angle of Sobel's derivatives, with boundary "edge"."""
    return xp.arctan2(*sobel("edge", xp, layout, image))


def laplacian(xp, layout, image):
    """Second differences, without differences across the border."""
    return sum(
        difference(padded(xp, difference(image, a), a, 1, 1), a) for a in layout.axes
    )


def second_derivatives(xp, layout, image):
    """dyy, dyx, dxx; zero at the border."""
    y, x = layout.axes
    twice = [padded(xp, difference(difference(image, a), a), a, 1, 1) for a in (y, x)]
    mixed = image
    for a in (y, x):
        later, earlier = slice(2, None), slice(None, -2)
        central = (part(mixed, a, later) - part(mixed, a, earlier)) / 2
        mixed = padded(xp, central, a, 1, 1)
    return twice[0], mixed, twice[1]


def structure_tensor(xp, layout, image):
    """Products of forward differences, smoothed by a Gaussian of sigma 1."""
    dy, dx = image_gradients(xp, layout, image)
    bell = [math.exp(-(k**2) / 2) for k in range(-4, 5)]
    taps = [w / sum(bell) for w in bell]
    pairs = (dy * dy, dy * dx, dx * dx)
    return tuple(blurred(xp, layout, pair, taps, "constant") for pair in pairs)


def smooth(xp, layout, image):
    """A Gaussian of sigma 1, with boundary "edge"."""
    bell = [math.exp(-(k**2) / 2) for k in range(-4, 5)]
    return blurred(xp, layout, image, [w / sum(bell) for w in bell], "edge")


def gaussian_gradient(sigma, xp, layout, image):
    """Both derivatives of a Gaussian, by a convolution of each row and column."""
    reach = int(4 * sigma + 0.5)
    k = np.arange(-reach, reach + 1)
    bell = np.exp(-((k / sigma) ** 2) / 2)
    smooth = (bell / bell.sum()).astype(np.float32)
    derivative = (-k / sigma**2 * smooth).astype(np.float32)  # a convolution flips it
    both = []
    for along in layout.axes:
        part = image
        for axis in layout.axes:
            wide = padded(xp, part, axis, reach, reach, "edge")
            taps = derivative if axis == along else smooth
            part = xp.apply_along_axis(xp.convolve, axis, wide, taps, "valid")
        both.append(part)
    return tuple(both)


def huber(xp, d):
    """The penalty of Huber with delta 1."""
    return xp.where(abs(d) <= 1, d * d / 2, abs(d) - 0.5)


def charbonnier(xp, d):
    """The penalty of Charbonnier with epsilon 0.001, minus epsilon."""
    return xp.sqrt(d * d + 1e-6) - 1e-3


PENALTIES = {
    "l1": lambda xp, d: abs(d),
    "l2": lambda xp, d: d * d,
    "huber": huber,
    "charbonnier": charbonnier,
}


def variation(penalty, xp, layout, image):
    """The sum of a penalty of the differences; averaged over the batch."""
    parts = [xp.sum(PENALTIES[penalty](xp, difference(image, a))) for a in layout.axes]
    return sum(parts) / image.shape[0]


def weighted(xp, layout, image, weights):
    """The sum of absolute differences, each times the weight of its first pixel."""
    terms = [
        xp.sum(part(weights, a, slice(None, -1)) * abs(difference(image, a)))
        for a in layout.axes
    ]
    return sum(terms) / image.shape[0]


def periodic(xp, layout, image):
    """The sum of absolute differences, across the border too."""
    terms = [
        xp.sum(abs(difference(image, a)))
        + xp.sum(abs(part(image, a, slice(1)) - part(image, a, slice(-1, None))))
        for a in layout.axes
    ]
    return sum(terms) / image.shape[0]


def mean_of_each_axis(xp, layout, image):
    """The mean absolute difference along each axis, added."""
    return sum(xp.mean(abs(difference(image, a))) for a in layout.axes)


def second_order(penalty, xp, layout, image):
    """The sum of a penalty of the entries of the Hessian matrix."""
    terms = [
        xp.sum(PENALTIES[penalty](xp, difference(difference(image, a), b)))
        for a in layout.axes
        for b in layout.axes
    ]
    return sum(terms) / image.shape[0]


def isotropic(coupled, xp, layout, image, spacing=(1.0, 1.0)):
    """Isotropic total variation, with an epsilon that keeps derivatives finite."""
    gradient = image_gradients(xp, layout, image)
    squares = sum((d / h) * (d / h) for d, h in zip(gradient, spacing, strict=True))
    if coupled:
        squares = xp.sum(squares, layout.channels)
    return xp.sum(xp.sqrt(squares + 1e-12)) / image.shape[0]


def gradient_difference(xp, layout, prediction, target):
    """The loss of Mathieu, Couprie and LeCun."""
    terms = [
        xp.sum(abs(abs(difference(prediction, a)) - abs(difference(target, a))))
        for a in layout.axes
    ]
    return sum(terms) / pixels(prediction)


def gradient_matching(xp, layout, prediction, target):
    """The loss of MiDaS: four scales of the residual."""
    loss = 0
    for step in (1, 2, 4, 8):
        residual = prediction - target
        for axis in layout.axes:
            residual = part(residual, axis, slice(None, None, step))
        terms = [xp.sum(abs(difference(residual, a))) for a in layout.axes]
        loss = loss + sum(terms) / pixels(residual)
    return loss


def matching_of_sobel(xp, layout, prediction, target):
    """The mean absolute value of Sobel's derivatives of the residual."""
    gradient = sobel("edge", xp, layout, prediction - target)
    return sum(xp.mean(abs(d)) for d in gradient)


def matching_of_means(xp, layout, prediction, target):
    """Gradient matching, at four scales of means of blocks of pixels."""
    residual, loss = prediction - target, 0
    for scale in range(4):
        if scale:
            residual = halved(xp, layout, residual)
        terms = [xp.sum(abs(difference(residual, a))) for a in layout.axes]
        loss = loss + sum(terms) / pixels(residual)
    return loss


def halved(xp, layout, image):
    """Means of blocks of two pixels along each axis."""
    for a in layout.axes:
        even, odd = (part(image, a, slice(k, None, 2)) for k in (0, 1))
        image = (even + odd) / 2
    return image


def gradient_magnitude_similarity(xp, layout, prediction, target):
    """The deviation of Xue et al., with an epsilon that keeps derivatives finite."""
    sizes = []
    for image in (prediction, target):
        image = halved(xp, layout, image)
        for axis in layout.axes:
            image = padded(xp, image, axis, 1, 1)
        squares = 0
        for along, across in (layout.axes, layout.axes[::-1]):
            starts = (slice(None, -2), slice(1, -1), slice(2, None))
            smooth = sum(part(image, across, s) for s in starts) / 3
            after, before = (part(smooth, along, s) for s in starts[::-2])
            squares = squares + (after - before) * (after - before)
        sizes.append(xp.sqrt(squares + 1e-12))
    (a, b), c = sizes, 170 / 255**2
    similarity = (2 * a * b + c) / (a * a + b * b + c)
    axes = tuple(range(1, len(prediction.shape)))
    centered = similarity - xp.mean(similarity, axes, keepdims=True)
    return xp.mean(xp.sqrt(xp.mean(centered * centered, axes, keepdims=True) + 1e-12))


def absolute(xp, layout, image):
    """The absolute value."""
    return abs(image)


def magnitude(xp, layout, dy, dx):
    """The magnitude of a gradient."""
    return xp.sqrt(dy * dy + dx * dx)


def orientation(xp, layout, dy, dx):
    """The angle of a gradient."""
    return xp.arctan2(dy, dx)


def eigenvalues(xp, layout, a, b, c):
    """The eigenvalues of (a b; b c)."""
    middle, half = (a + c) / 2, (a - c) / 2
    size = xp.sqrt(half * half + b * b)
    return middle - size, middle + size


def eigenvectors(xp, layout, a, b, c):
    """The eigenvectors of (a b; b c), by the angle of the larger one."""
    angle = xp.arctan2(2 * b, c - a) / 2
    y, x = xp.sin(angle), xp.cos(angle)
    return xp.where(y > 0, -x, x), abs(y), y, x


def central(x, axis, xp):
    """Central differences, 0 at the border."""
    later, earlier = part(x, axis, slice(2, None)), part(x, axis, slice(None, -2))
    return padded(xp, (later - earlier) / 2, axis, 1, 1)


def jacobian(xp, layout, field):
    """Central differences of each component along each axis, in one array."""
    return xp.stack([central(field, a, xp) for a in layout.axes], -1)


def derivatives_of_components(xp, layout, field):
    """The derivatives of the first component along each axis, and of the second."""
    columns = [central(field, a, xp) for a in layout.axes]
    return [[part(d, layout.channels, i) for d in columns] for i in (0, 1)]


def curl(xp, layout, field):
    """The curl of a field of two components."""
    (_, yx), (xy, _) = derivatives_of_components(xp, layout, field)
    return yx - xy


def jacobian_determinant(xp, layout, field):
    """The determinant of the derivative of x + u(x), of two components."""
    (yy, yx), (xy, xx) = derivatives_of_components(xp, layout, field)
    return (1 + yy) * (1 + xx) - yx * xy


def edge_aware_smoothness(xp, layout, field, guide):
    """The loss of Monodepth."""
    loss = 0
    for axis in layout.axes:
        edges = xp.mean(abs(difference(guide, axis)), layout.channels, keepdims=True)
        loss = loss + xp.mean(abs(difference(field, axis)) * xp.exp(-edges))
    return loss


def blurred(xp, layout, image, taps, mode):
    """The image, correlated with the same taps along each axis."""
    for axis in layout.axes:
        n, reach = image.shape[axis], len(taps) // 2
        wide = padded(xp, image, axis, reach, reach, mode)
        parts = [part(wide, axis, slice(k, n + k)) for k in range(len(taps))]
        image = sum(w * p for w, p in zip(taps, parts, strict=True))
    return image


def laplacian_edge(xp, layout, prediction, target):
    """The edge loss of MPRNet, minus epsilon."""
    residual = prediction - target
    blur = functools.partial(
        blurred, xp, layout, taps=(0.05, 0.25, 0.4, 0.25, 0.05), mode="edge"
    )
    even = blur(residual)
    for axis in layout.axes:
        shape = list(even.shape)
        even = part(even, axis, slice(None, None, 2))
        even = xp.stack((2 * even, 0 * even), axis + 1)
        shape[axis] += shape[axis] % 2
        even = part(xp.reshape(even, shape), axis, slice(residual.shape[axis]))
    return xp.mean(charbonnier(xp, residual - blur(even)))


def scale_and_shift(xp, layout, prediction, target):
    """The least-squares alignment of MiDaS."""
    axes = tuple(range(1, len(prediction.shape)))
    mean = xp.mean(prediction, axes, keepdims=True)
    centered, to = prediction - mean, xp.mean(target, axes, keepdims=True)
    products = xp.mean(centered * (target - to), axes, keepdims=True)
    scale = products / xp.mean(centered * centered, axes, keepdims=True)
    return scale, to - scale * mean


class Work(NamedTuple):
    """Our function, the formula, the inputs of both, and our options.

    `keywords` names the options of our function that take the last of the inputs.
    """

    ours: str
    formula: Callable
    inputs: tuple[str, ...] = ("image",)
    options: dict[str, Any] = {}  # noqa: RUF012
    keywords: tuple[str, ...] = ()


def total_variation(formula, **options):
    """One of the penalties of our total variation."""
    options = {"reduction": "sum", **options}
    return Work("losses.total_variation", formula, options=options)


def matching(formula, **options):
    """A form of our gradient matching."""
    return Work("losses.gradient_matching", formula, PAIR, options)


def gaussian(sigma):
    """Both derivatives of a Gaussian."""
    options = {"operator": ("gaussian", sigma), "boundary": "edge", "scale": "raw"}
    formula = functools.partial(gaussian_gradient, sigma)
    return Work("spatial_gradient", formula, options=options)


PAIR = ("image", "other")
MATRIX = ("image", "other", "third")
FLOW = {"boundary": "interior"}
SOBEL = {"operator": "sobel", "boundary": "edge", "scale": "raw"}
SIGMAS = (4.0, 20.0)
WORK = {
    "image_gradients": Work("image_gradients", image_gradients),
    "divergence": Work("divergence", divergence, PAIR),
    "sobel_edges": Work("sobel_edges", sobel_edges),
    "spatial_gradient": Work(
        "spatial_gradient",
        functools.partial(sobel, "edge"),
        options=SOBEL,
    ),
    "gradient, linear": Work(
        "spatial_gradient",
        gradient_to_the_border,
        options={"operator": "central", "boundary": "linear"},
    ),
    "gradient, one-sided": Work(
        "spatial_gradient",
        one_sided,
        options={"operator": "central", "one_sided": True},
    ),
    **{f"spatial_gradient, sigma {sigma}": gaussian(sigma) for sigma in SIGMAS},
    "gradient_magnitude": Work("gradient_magnitude", gradient_magnitude, options=SOBEL),
    "gradient_orientation": Work(
        "gradient_orientation", gradient_orientation, options=SOBEL
    ),
    "laplacian": Work("laplacian", laplacian),
    "second_derivatives": Work("second_derivatives", second_derivatives),
    "smooth": Work("smooth", smooth),
    "structure_tensor": Work("structure_tensor", structure_tensor),
    "absolute": Work("absolute", absolute),
    "magnitude": Work("magnitude", magnitude, PAIR),
    "orientation": Work("orientation", orientation, PAIR),
    "eigenvalues": Work("eigenvalues", eigenvalues, MATRIX),
    "eigenvectors": Work("eigenvectors", eigenvectors, MATRIX),
    "jacobian": Work("jacobian", jacobian, ("flow",), FLOW),
    "curl": Work("curl", curl, ("flow",), FLOW),
    "jacobian_determinant": Work(
        "jacobian_determinant",
        jacobian_determinant,
        ("flow",),
        {"displacement": True, **FLOW},
    ),
    "total_variation": Work("total_variation", functools.partial(variation, "l1")),
    **{
        f"variation, {name}": total_variation(
            functools.partial(variation, name), penalty=name
        )
        for name in PENALTIES
    },
    "variation, isotropic": total_variation(
        functools.partial(isotropic, False), isotropic=True
    ),
    "variation, color": total_variation(
        functools.partial(isotropic, True), channel_coupling=True
    ),
    "variation, spacing": total_variation(
        functools.partial(isotropic, False, spacing=(2.5, 0.6)),
        isotropic=True,
        spacing=(2.5, 0.6),
    ),
    "variation, weights": Work(
        "losses.total_variation", weighted, PAIR, {"reduction": "sum"}, ("weights",)
    ),
    "variation, wrap": total_variation(periodic, boundary="wrap"),
    "variation, axis_mean": total_variation(mean_of_each_axis, reduction="axis_mean"),
    "variation, second order": total_variation(
        functools.partial(second_order, "l1"), order=2
    ),
    "bending_energy": Work(
        "losses.bending_energy",
        functools.partial(second_order, "l2"),
        options={"reduction": "sum"},
    ),
    "gradient_difference": Work(
        "losses.gradient_difference", gradient_difference, PAIR
    ),
    "gradient_matching": matching(gradient_matching),
    "matching, sobel": matching(matching_of_sobel, scales=1, **SOBEL),
    "matching, means": matching(matching_of_means, downsample="mean"),
    "gradient_magnitude_similarity": Work(
        "losses.gradient_magnitude_similarity", gradient_magnitude_similarity, PAIR
    ),
    "edge_aware_smoothness": Work(
        "losses.edge_aware_smoothness", edge_aware_smoothness, ("field", "image")
    ),
    "laplacian_edge": Work("losses.laplacian_edge", laplacian_edge, PAIR),
    "scale_and_shift": Work("losses.scale_and_shift", scale_and_shift, PAIR),
}

# Lower bounds: to read the image, to read and write it, to write two images.
FLOORS = {
    "R": lambda x: x.sum(),
    "C1": lambda x: x * 2,
    "C2": lambda x: (x + 1, x * 2),
}

VALUE, GRADIENT, BOTH = KINDS = ("value", "gradient", "value and gradient")


class Case(NamedTuple):
    """One input shape, and the tasks that are measured on it."""

    shape: tuple[int, ...]
    works: tuple[str, ...]
    kinds: tuple[str, ...] = (VALUE, BOTH)
    dtype: str = "float32"
    peers: tuple[str, ...] | None = None  # the tasks of the peers; None: the same

    def __str__(self):
        """The heading of the case."""
        return f"{'×'.join(map(str, self.shape))}, {self.dtype}"


WIDE = tuple(f"spatial_gradient, sigma {sigma}" for sigma in SIGMAS)
ALL = tuple(name for name in WORK if name not in WIDE)
CORE = ("image_gradients", "variation, l1")
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
CASES = [
    Case((1, 512, 512, 3), ALL, KINDS),
    Case((16, 512, 512, 3), ALL, KINDS, peers=(*CORE, "sobel_edges")),
    Case((4, 512, 512, 3), CORE, dtype="bfloat16"),
    Case((64, 64, 64, 3), CORE),
    Case((4, 256, 256, 64), CORE),
    Case((1, 256, 256, 256, 1), ("variation, l1", "variation, l2")),
    *(Case((1, n, n, 1), CORE) for n in SIZES),
    *(Case((1, n, n, 1), WIDE, (VALUE,)) for n in (512, 2048)),
]
ACCELERATED = [
    Case((64, 512, 512, 3), ALL, KINDS, peers=(*CORE, "sobel_edges", "laplacian")),
    Case((1, 512, 512, 3), CORE),
    Case((64, 512, 512, 3), CORE, dtype="bfloat16", peers=()),
    Case((1, 256, 256, 256, 1), ("variation, l1", "variation, l2")),
    *(Case((1, n, n, 1), CORE) for n in (*SIZES[3:], 8192)),
    *(Case((1, n, n, 1), WIDE, (VALUE,)) for n in (512, 2048)),
]
QUICK = [
    Case((2, 24, 32, 3), ALL, (BOTH,)),
    Case((2, 24, 32, 3), CORE, KINDS, dtype="bfloat16"),
    Case((1, 8, 9, 10, 1), ("variation, l1", "variation, l2")),
    *(Case((1, n, n, 1), CORE) for n in SIZES[:2]),
    Case((1, 24, 32, 1), WIDE, (VALUE,)),
]
