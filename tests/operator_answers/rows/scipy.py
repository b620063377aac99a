"""SciPy."""

from ..table import (
    DHW,
    HWC,
    RAW,
    Library,
    Row,
    first,
    kernel,
    laplacian,
    magnitude,
    second,
    smooth,
)

# For each boundary condition of ours, the name in SciPy.
MODES = {
    "symmetric": "reflect",
    "reflect": "mirror",
    "edge": "nearest",
    "wrap": "wrap",
    "constant": "constant",
}
SOBEL = ("sobel", "symmetric")


def rows():
    yield Row(
        "dy, dx = ndimage.sobel(x, axis=0), ndimage.sobel(x, axis=1)",
        f"dy, dx = {first('x', *SOBEL, **RAW)}",
    )
    for boundary, mode in MODES.items():
        yield Row(
            f'ndimage.sobel(x, axis=0, mode="{mode}")',
            f"{first('x', 'sobel', boundary, **RAW)}[0]",
        )
    yield Row(
        "dy, dx = ndimage.prewitt(x, axis=0), ndimage.prewitt(x, axis=1)",
        f"dy, dx = {first('x', 'prewitt', 'symmetric', **RAW)}",
    )
    yield Row(
        "dz, dy, dx = [ndimage.sobel(v, axis) for axis in (0, 1, 2)]",
        f"dz, dy, dx = {first('v', *SOBEL, DHW, **RAW)}",
    )
    yield Row(
        "ndimage.generic_gradient_magnitude(x, ndimage.sobel)",
        magnitude("x", *SOBEL, **RAW),
    )
    yield Row("ndimage.laplace(x)", laplacian("x", "symmetric"))
    yield Row("ndimage.laplace(v)", laplacian("v", "symmetric", DHW))
    yield from gaussian_rows()
    yield from rows_of_any_taps()
    yield from color_rows()
    yield from byte_rows()


def gaussian_rows():
    gaussian = ("x", ("gaussian", 1.5), "symmetric")
    yield Row(
        "ndimage.gaussian_filter(x, 1.5, order=(1, 0))", f"{first(*gaussian, **RAW)}[0]"
    )
    yield Row(
        "ndimage.gaussian_gradient_magnitude(x, 1.5)", magnitude(*gaussian, **RAW)
    )
    yield Row(
        "ndimage.gaussian_filter(x, 1.5, order=(1, 1))",
        f"{second(*gaussian, **RAW)}[1]",
    )
    yield Row(
        "ndimage.gaussian_laplace(x, 1.5)", f"sum({second(*gaussian, **RAW)}[::2])"
    )


def rows_of_any_taps():
    """Smoothing alone, and weights of one's own."""
    yield Row(
        "ndimage.gaussian_filter(x, 1.5)", smooth("x", ("gaussian", 1.5), "symmetric")
    )
    yield Row(
        'ndimage.gaussian_filter(x, (1.5, 0.5), mode="nearest")',
        smooth("x", ("gaussian", (1.5, 0.5)), "edge"),
    )
    yield Row(
        "ndimage.gaussian_filter(x, (1.5, 0.5), order=(0, 1))",
        f"{first('x', ('gaussian', (1.5, 0.5)), 'symmetric', **RAW)}[1]",
    )
    for size, weights in [(3, (1, 1, 1)), (2, (1, 1, 0))]:
        yield Row(
            f"ndimage.uniform_filter(x, {size})",
            smooth("x", kernel(smoothing=weights), "symmetric"),
        )
    yield Row(
        "ndimage.correlate1d(x, [1, -8, 0, 8, -1], axis=0)",
        f"{first('x', 'central5', 'symmetric', **RAW)}[0]",
    )
    yield Row(
        "ndimage.correlate1d(x, [-1, 3, -2], axis=0)",
        f"{first('x', kernel(first=(-1, 3, -2)), 'symmetric', **RAW)}[0]",
    )
    yield Row(
        "ndimage.convolve1d(x, [-1, 3, -2], axis=0)",
        f"{first('x', kernel(first=(-2, 3, -1)), 'symmetric', **RAW)}[0]",
    )


def color_rows():
    """SciPy takes the channels as a third axis, and smooths along it as well."""
    yield Row(
        "np.stack([ndimage.sobel(rgb[..., i], axis=0) for i in range(3)], -1)",
        f"{first('rgb', *SOBEL, HWC, **RAW)}[0]",
    )
    yield Row("ndimage.sobel(rgb, axis=0)", f"{first('rgb', *SOBEL, DHW, **RAW)}[0]")
    yield Row("ndimage.laplace(rgb, axes=(0, 1))", laplacian("rgb", "symmetric", HWC))


def byte_rows():
    sobel = f"{first('u', *SOBEL, **RAW)}[0]"
    yield Row('ndimage.sobel(u, axis=0, output="int16")', sobel)
    yield Row("ndimage.sobel(u, axis=0)", f'{sobel}.astype("uint8")')


SCIPY = Library(
    "SciPy",
    "scipy",
    {"ndimage": "scipy.ndimage", "np": "numpy"},
    tuple(rows()),
)
