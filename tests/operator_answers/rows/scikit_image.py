"""scikit-image."""

from ..table import (
    DHW,
    HW,
    HWC,
    RAW,
    Library,
    Row,
    first,
    harris,
    laplacian,
    magnitude,
    ours,
    smooth,
)

ROOT2, ROOT3 = "2**0.5", "2 / 3**0.5"


def rows():
    for name in ("sobel", "scharr", "prewitt"):
        yield Row(
            f"dy, dx = filters.{name}_h(x), filters.{name}_v(x)",
            f"dy, dx = [2 * d for d in {first('x', name, 'symmetric')}]",
        )
    yield Row(
        "dy, dx = filters.farid_h(x), filters.farid_v(x)",
        f"dy, dx = {first('x', 'farid', 'symmetric', **RAW)}",
    )
    yield Row(
        'filters.sobel(x, axis=0, mode="nearest")',
        f"2 * {first('x', 'sobel', 'edge')}[0]",
    )
    for name in ("sobel", "scharr", "prewitt"):
        yield Row(
            f"filters.{name}(x)", f"{ROOT2} * {magnitude('x', name, 'symmetric')}"
        )
    farid = magnitude("x", "farid", "symmetric", **RAW)
    yield Row("filters.farid(x)", f"{farid} / 2**0.5")
    yield Row(
        "filters.sobel(v)", f"{ROOT3} * {magnitude('v', 'sobel', 'symmetric', DHW)}"
    )
    yield Row("filters.laplace(x)", f"-{laplacian('x', 'symmetric')}")
    yield from window_rows()
    yield from eigen_rows()
    yield from color_rows()
    yield from byte_rows()


def window_rows():
    """By default the border is padded with zeros, as are the derivatives there."""
    for options, boundary, sigma in [
        ("", "constant", None),
        (', sigma=1.5, mode="nearest"', "edge", 1.5),
        (', sigma=(1.5, 0.5), mode="reflect"', "symmetric", (1.5, 0.5)),
    ]:
        tensor = ours("structure_tensor", "x", "sobel", boundary, **RAW, sigma=sigma)
        yield Row(
            f"Arr, Arc, Acc = feature.structure_tensor(x{options})",
            f"Arr, Arc, Acc = {tensor}",
        )
    yield Row(
        "feature.corner_harris(x, sigma=1.5)",
        harris(0.05, "x", "sobel", "constant", **RAW, sigma=1.5),
    )
    yield Row("filters.gaussian(x, 1.5)", smooth("x", ("gaussian", 1.5)))
    yield Row(
        "filters.gaussian(rgb, (1.5, 0.5), channel_axis=-1)",
        smooth("rgb", ("gaussian", (1.5, 0.5)), axes=HWC),
    )


def eigen_rows():
    """scikit-image has the largest eigenvalue first."""
    options = {**RAW, "sigma": 1.5}
    theirs = 'feature.structure_tensor({}, sigma=1.5, mode="nearest")'
    for names, array, axes in (("l1, l2", "x", HW), ("l1, l2, l3", "v", DHW)):
        tensor = ours("structure_tensor", array, "sobel", "edge", axes, **options)
        yield Row(
            f"{names} = feature.structure_tensor_eigenvalues({theirs.format(array)})",
            f"{names} = jig.eigenvalues({tensor})[::-1]",
        )
    yield Row(
        "l1, l2 = feature.hessian_matrix_eigvals([*c])",
        "l1, l2 = jig.eigenvalues([*c])[::-1]",
    )
    tensor = ours("structure_tensor", "x", "sobel", "constant", HW, **options)
    yield Row("feature.corner_shi_tomasi(x, 1.5)", f"jig.eigenvalues({tensor})[0]")


def color_rows():
    """scikit-image takes the channels as a third axis."""
    gray = "rgb @ jnp.array([0.2125, 0.7154, 0.0721])"
    yield Row(
        "filters.sobel(color.rgb2gray(rgb))",
        f"{ROOT2} * {magnitude(gray, 'sobel', 'symmetric')}",
    )
    channels = "np.stack([filters.{}(rgb[..., i]) for i in range(3)], -1)"
    for name in ("sobel", "scharr", "prewitt"):
        yield Row(
            channels.format(name),
            f"{ROOT2} * {magnitude('rgb', name, 'symmetric', HWC)}",
        )
    farid = magnitude("rgb", "farid", "symmetric", HWC, **RAW)
    yield Row(channels.format("farid"), f"{farid} / 2**0.5")
    yield Row(
        "filters.sobel(rgb)",
        f"{ROOT3} * {magnitude('rgb', 'sobel', 'symmetric', DHW)}",
    )


def byte_rows():
    """scikit-image scales integers to [0, 1], or to [-1, 1]."""
    yield Row(
        "filters.sobel(u)", f"{ROOT2} * {magnitude('u / 255', 'sobel', 'symmetric')}"
    )
    yield Row("filters.sobel_h(u)", f"2 * {first('u / 255', 'sobel', 'symmetric')}[0]")
    yield Row("filters.laplace(u)", f"-{laplacian('u / 255', 'symmetric')}")


SKIMAGE = Library(
    "scikit-image",
    "skimage",
    {
        "filters": "skimage.filters",
        "feature": "skimage.feature",
        "color": "skimage.color",
        "np": "numpy",
    },
    tuple(rows()),
)
