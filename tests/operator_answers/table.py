"""The rows of the tables in docs/from/, and the names in them."""

from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """Two expressions, or two assignments to the same names, with equal results."""

    theirs: str
    ours: str


class Library(NamedTuple):
    """A library: its package, and the modules in its expressions."""

    title: str
    package: str
    modules: dict[str, str]
    rows: tuple[Row, ...]
    array: str = "np.asarray"  # what makes an array of the library from a NumPy array


# What the names in the rows are, for the text above a table.
LEGEND = {
    "x": "an image `[H, W]`",
    "ys": "increasing coordinates `[H]`",
    "xs": "increasing coordinates `[W]`",
    "rgb": "a color image `[H, W, 3]`",
    "u": "a uint8 image `[H, W]`",
    "v": "a volume `[D, H, W]`",
    "b": "a batch `[B, H, W, C]`",
    "target": "another one",
    "ub": "a uint8 batch `[B, H, W, C]`",
    "c": "an image `[C, H, W]`",
    "vc": "a volume `[C, D, H, W]`",
    "t": "a batch `[B, C, H, W]`",
    "ut": "a uint8 batch `[B, C, H, W]`",
    "depth": "a batch `[B, 1, H, W]`",
    "vt": "a batch of volumes `[B, C, D, H, W]`",
    "flow": "a batch of displacements `[B, 2, H, W]`",
    "flow3": "a batch of displacements `[B, 3, D, H, W]`",
    "h": "the number of rows",
    "w": "the number of columns",
    "weight": "weights `[B, 1, H, W]`",
    "p": "a batch `[B, 3, H, W]` with values from 0 to 1",
    "q": "another one",
    "luminance": "`(0.299, 0.587, 0.114)`, `[1, 3, 1, 1]`",
    "inner": "1 inside and 0 in the first and the last pixel of each axis, `[H, W]`",
    "inner3": "the same in a volume, `[D, H, W]`",
    "sizes": "`(h, w)`, `[1, 2, 1, 1]`",
    "sobel_x": "Sobel's 3×3 kernel for each channel `[3, 1, 3, 3]`",
}


def arrays():
    """The arrays and numbers in the rows, by name."""
    rng = np.random.default_rng(0)
    sobel = np.outer([1.0, 2, 1], [-1, 0, 1])
    return {
        "x": rng.standard_normal((7, 9)),
        "rgb": rng.random((7, 9, 3)),
        "u": rng.integers(0, 256, (7, 9), "uint8"),
        "v": rng.standard_normal((5, 6, 7)),
        "b": rng.standard_normal((2, 4, 5, 3)),
        "target": rng.standard_normal((2, 4, 5, 3)),
        "ub": rng.integers(0, 256, (2, 4, 5, 3), "uint8"),
        "c": rng.standard_normal((3, 4, 5)),
        "vc": rng.standard_normal((2, 3, 4, 5)),
        "t": rng.standard_normal((2, 3, 4, 5)),
        "ut": rng.integers(0, 256, (2, 3, 4, 5), "uint8"),
        "depth": rng.random((2, 1, 4, 5)),
        "vt": rng.standard_normal((1, 2, 3, 4, 5)),
        "flow": rng.standard_normal((2, 2, 4, 8)),  # MONAI divides the sizes in float32
        "flow3": rng.standard_normal((1, 3, 3, 4, 5)),
        "h": np.array(4.0),
        "w": np.array(8.0),
        "sobel_x": np.tile(sobel, (3, 1, 1, 1)),
        "weight": rng.random((2, 1, 4, 5)),
        "p": rng.random((2, 3, 7, 8)),
        "q": rng.random((2, 3, 7, 8)) / 4,
        "luminance": np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1),
        "inner": np.pad(np.ones((2, 6)), 1),
        "inner3": np.pad(np.ones((1, 2, 3)), 1),
        "sizes": np.array([4.0, 8.0]).reshape(1, 2, 1, 1),
        "ys": np.cumsum(rng.uniform(0.2, 2, 7)),
        "xs": np.cumsum(rng.uniform(0.2, 2, 9)),
    }


# The axes of rows and columns, or of a volume, in each layout. The default of ours is
# that of `[..., H, W, C]`.
HW, DHW, HWC = "(0, 1)", "(0, 1, 2)", None
CHW, CDHW = "(-2, -1)", "(-3, -2, -1)"
RAW = {"scale": "raw"}


def ours(function, array, operator=None, boundary=None, axes=HW, **others):
    """A call of ours, with the options that are not None."""
    options = {"operator": operator, "axes": axes, "boundary": boundary, **others}
    texts = [
        f"{name}={value if name == 'axes' else quoted(value)}"
        for name, value in options.items()
        if value is not None
    ]
    return f"jig.{function}({', '.join([array, *texts])})"


class Code(str):
    """A value that stands in a row as it is, such as a call."""

    __slots__ = ()
    __repr__ = str.__str__


def kernel(**taps):
    """The code of a Kernel."""
    given = ", ".join(f"{name}={weights}" for name, weights in taps.items())
    return Code(f"jig.Kernel({given})")


def quoted(value):
    """The value as code, with strings in double quotes."""
    return repr(value).replace("'", '"')


def first(array, operator=None, boundary=None, axes=HW, **others):
    """A call of `spatial_gradient`."""
    return ours("spatial_gradient", array, operator, boundary, axes, **others)


def second(array, operator=None, boundary=None, axes=HW, **others):
    """A call of `second_derivatives`."""
    return ours("second_derivatives", array, operator, boundary, axes, **others)


def magnitude(array, operator=None, boundary=None, axes=HW, **others):
    """A call of `gradient_magnitude`."""
    return ours("gradient_magnitude", array, operator, boundary, axes, **others)


def smooth(array, operator=None, boundary=None, axes=HW, **others):
    """A call of `smooth`."""
    return ours("smooth", array, operator, boundary, axes, **others)


def harris(k, array, operator, boundary, axes=HW, **others):
    """The response of Harris, from the structure tensor."""
    tensor = ours("structure_tensor", array, operator, boundary, axes, **others)
    response = f"Jyy * Jxx - Jyx**2 - {k} * (Jyy + Jxx) ** 2"
    return f"(lambda Jyy, Jyx, Jxx: {response})(*{tensor})"


def laplacian(array, boundary=None, axes=HW, **others):
    """A call of `laplacian`."""
    return ours("laplacian", array, None, boundary, axes, **others)


def variation(array, axes=HW, **others):
    """A call of `losses.total_variation`."""
    return ours("losses.total_variation", array, None, None, axes, **others)
