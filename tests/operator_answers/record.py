"""A table of expressions of other libraries and of jax_imgrad with equal results.

In an environment that has one or several of the libraries,

    python tests/operator_answers/record.py

records their results beside this file, for the tests. With --page it writes
docs/conversion.md from the same table.
"""

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "conversion.md"


class Row(NamedTuple):
    """Two expressions with equal results, theirs and ours."""

    theirs: str
    ours: str


def pixels():
    """The arrays in the expressions: an image, a uint8 image and a volume."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((7, 9)),
        "u": rng.integers(0, 256, (7, 9), "uint8"),
        "v": rng.standard_normal((5, 6, 7)),
    }


# For each boundary condition of ours, the name in other libraries.
SCIPY = {
    "symmetric": "reflect",
    "reflect": "mirror",
    "edge": "nearest",
    "wrap": "wrap",
    "constant": "constant",
}
OPENCV = {
    "symmetric": "BORDER_REFLECT",
    "reflect": "BORDER_REFLECT_101",
    "edge": "BORDER_REPLICATE",
    "constant": "BORDER_CONSTANT",
}
MONAI = {
    "reflect": "reflect",
    "edge": "replicate",
    "wrap": "circular",
    "constant": "zeros",
}


def ours(function, operator=None, boundary="symmetric", *, at="", image="x", raw=True):
    """An expression of ours for an image or a volume, with the usual options."""
    axes = "(0, 1, 2)" if image == "v" else "(0, 1)"
    options = [image, f"axes={axes}", f"boundary={boundary!r}"]
    if operator is not None:
        options.insert(1, f"operator={operator!r}")
        options += ["scale='raw'"] if raw else []
    return f"jig.{function}({', '.join(options)}){at}"


def first(operator, boundary="symmetric", **options):
    return ours("spatial_gradient", operator, boundary, **options)


def second(operator, boundary="symmetric", **options):
    return ours("second_derivatives", operator, boundary, **options)


def scipy_rows():
    gaussian = ("gaussian", 1.5)
    for boundary, mode in SCIPY.items():
        for axis in (0, 1):
            theirs = f"ndimage.sobel(x, axis={axis}, mode={mode!r})"
            yield Row(theirs, first("sobel", boundary, at=f"[{axis}]"))
    yield Row("ndimage.prewitt(x, axis=1)", first("prewitt", at="[1]"))
    yield Row("ndimage.sobel(v, axis=0)", first("sobel", image="v", at="[0]"))
    yield Row("ndimage.laplace(x)", ours("laplacian"))
    yield Row(
        "ndimage.gaussian_filter(x, 1.5, order=(1, 0))", first(gaussian, at="[0]")
    )
    yield Row(
        "ndimage.gaussian_gradient_magnitude(x, 1.5)",
        ours("gradient_magnitude", gaussian),
    )
    yield Row(
        "ndimage.gaussian_laplace(x, 1.5)", f"sum({second(gaussian, at='[::2]')})"
    )


def skimage_rows():
    for name in ("sobel", "scharr", "prewitt"):
        for direction, k in (("h", 0), ("v", 1)):
            theirs = f"filters.{name}_{direction}(x)"
            yield Row(theirs, f"2 * {first(name, raw=False, at=f'[{k}]')}")
    magnitude = ours("gradient_magnitude", "sobel", raw=False)
    yield Row("filters.sobel(x)", f"2 / 2**0.5 * {magnitude}")
    magnitude = ours("gradient_magnitude", "sobel", image="v", raw=False)
    yield Row("filters.sobel(v)", f"2 / 3**0.5 * {magnitude}")
    yield Row("filters.farid_h(x)", first("farid", at="[0]"))
    yield Row("filters.farid_v(x)", first("farid", at="[1]"))
    yield Row("filters.laplace(x)", f"-{ours('laplacian')}")
    for k, name in enumerate(("Arr", "Arc", "Acc")):
        yield Row(
            f"feature.structure_tensor(x, sigma=1.5, mode='nearest')[{k}]  # {name}",
            ours("structure_tensor", "sobel", "edge", at=f"[{k}]").replace(
                "(x,", "(x, sigma=1.5,"
            ),
        )


def opencv_rows():
    for boundary, border in OPENCV.items():
        theirs = f"cv2.Sobel(x, cv2.CV_64F, 1, 0, borderType=cv2.{border})"
        yield Row(theirs, first("sobel", boundary, at="[1]"))
    sizes = {1: "central", 3: "sobel", 5: "sobel5", 7: "sobel7"}
    for size, operator in sizes.items():
        theirs = f"cv2.Sobel(x, cv2.CV_64F, 0, 1, ksize={size})"
        yield Row(theirs, first(operator, "reflect", at="[0]"))
    yield Row("cv2.Scharr(x, cv2.CV_64F, 1, 0)", first("scharr", "reflect", at="[1]"))
    for size in (3, 5, 7):
        for k, orders in enumerate(("0, 2", "1, 1", "2, 0")):
            theirs = f"cv2.Sobel(x, cv2.CV_64F, {orders}, ksize={size})"
            yield Row(theirs, second(sizes[size], "reflect", at=f"[{k}]"))
    yield Row("cv2.Laplacian(x, cv2.CV_64F)", ours("laplacian", None, "reflect"))
    gradient = first("sobel", "reflect", image="u")
    yield Row("cv2.spatialGradient(u)[0]", f"{gradient}[1]")
    yield Row("cv2.spatialGradient(u)[1]", f"{gradient}[0]")


def kornia_rows():
    image, volume = "torch.tensor(x)[None, None]", "torch.tensor(v)[None, None]"
    for mode, operator in (("sobel", "sobel"), ("diff", "central")):
        for normalized in (True, False):
            raw = {"raw": not normalized}
            for k in (0, 1):  # dx, dy
                theirs = f"({image}, {mode!r}, normalized={normalized})[0, 0, {k}]"
                yield Row(
                    f"kornia.filters.spatial_gradient{theirs}",
                    first(operator, "edge", at=f"[{1 - k}]", **raw),
                )
    for mode, operator in (("sobel", "sobel5"), ("diff", "central")):
        for k in (0, 1, 2):  # dxx, dxy, dyy
            yield Row(
                f"kornia.filters.spatial_gradient({image}, {mode!r}, 2)[0, 0, {k}]",
                second(operator, "edge", at=f"[{2 - k}]", raw=False),
            )
    for k in (0, 1, 2):  # dx, dy, dz
        yield Row(
            f"kornia.filters.spatial_gradient3d({volume})[0, 0, {k}]",
            first("central", "edge", image="v", at=f"[{2 - k}]", raw=False),
        )


def monai_rows():
    for boundary, mode in MONAI.items():
        for k in (0, 1):
            theirs = f"monai.transforms.SobelGradients(padding_mode={mode!r})(x[None])"
            yield Row(
                f"{theirs}[{k}]", first("sobel", boundary, at=f"[{k}]", raw=False)
            )
    for k in (0, 1, 2):
        yield Row(
            f"monai.transforms.SobelGradients()(v[None])[{k}]",
            first("sobel", "reflect", image="v", at=f"[{k}]", raw=False),
        )


def tensorflow_rows():
    image = "x[None, ..., None]"
    for k in (0, 1):
        yield Row(
            f"tf.image.sobel_edges(tf.constant({image}))[..., {k}]",
            f"jig.sobel_edges({image})[..., {k}]",
        )
        yield Row(
            f"tf.image.image_gradients(tf.constant({image}))[{k}]",
            f"jig.image_gradients({image})[{k}]",
        )


class Library(NamedTuple):
    """A library, the modules in its expressions, and its conventions."""

    title: str
    version: str
    modules: dict[str, str]
    rows: tuple[Row, ...]
    note: str


LIBRARIES = {
    "tensorflow": Library(
        "TensorFlow",
        "tensorflow",
        {"tf": "tensorflow"},
        tuple(tensorflow_rows()),
        "`sobel_edges`: unscaled taps, boundary REFLECT, `(dy, dx)` stacked along a "
        "new last axis. Reflection needs at least 2 pixels along an axis, in both "
        "libraries.",
    ),
    "scipy": Library(
        "SciPy",
        "scipy",
        {"ndimage": "scipy.ndimage"},
        tuple(scipy_rows()),
        "Unscaled taps, one axis per call. SciPy's *reflect* is our `symmetric`, its "
        "*mirror* is our `reflect`. Results for uint8 images wrap around in SciPy, but "
        "not here.",
    ),
    "skimage": Library(
        "scikit-image",
        "skimage",
        {"filters": "skimage.filters", "feature": "skimage.feature"},
        tuple(skimage_rows()),
        "The smoothing taps sum to 1, but differences over two pixels are not halved: "
        "the derivative of a ramp of slope 1 is 2. Magnitudes are divided by the "
        "square root of the number of axes. `laplace` has the opposite sign. Boundary "
        "conditions have SciPy's names.",
    ),
    "opencv": Library(
        "OpenCV",
        "cv2",
        {"cv2": "cv2"},
        tuple(opencv_rows()),
        "Unscaled taps; the orders of the derivative are arguments, x before y. "
        "`spatialGradient` returns `(dx, dy)`. With `ddepth=-1`, results for uint8 "
        "images saturate in OpenCV, but not here.",
    ),
    "kornia": Library(
        "kornia",
        "kornia",
        {"kornia": "kornia", "torch": "torch"},
        tuple(kornia_rows()),
        "Derivatives per pixel if `normalized`; the boundary is always *replicate*. "
        "Parts are in the opposite order: `(dx, dy)`, `(dxx, dxy, dyy)`, "
        "`(dx, dy, dz)`. Second derivatives with `'sobel'` use OpenCV's taps of size "
        "5. `kornia.filters.sobel` adds 1e-6 under the square root.",
    ),
    "monai": Library(
        "MONAI",
        "monai",
        {"monai": "monai.transforms"},
        tuple(monai_rows()),
        "Derivatives per pixel, for images and volumes, stacked along the channel axis "
        "in the order of the axes.",
    ),
}
BOUNDARY_NAMES = {
    "SciPy, scikit-image": SCIPY,
    "OpenCV": OPENCV,
    "MONAI, PyTorch": MONAI,
    "TensorFlow": {"reflect": "REFLECT"},
}


def named(library):
    """The namespace of the expressions: arrays, and the modules of the library."""
    names = pixels()
    for short, module in library.modules.items():
        imported = importlib.import_module(module)
        # Expressions that start with the package name submodules in full.
        whole = module.split(".")[0] == short
        names[short] = sys.modules[short] if whole else imported
    return names


def record(name):
    """Writes the results of a library to its file."""
    library = LIBRARIES[name]
    names = named(library)
    asked = [row.theirs for row in library.rows]
    answers = {str(i): np.asarray(eval(q, names)) for i, q in enumerate(asked)}
    version = importlib.import_module(library.version).__version__
    np.savez_compressed(HERE / f"{name}.npz", version=version, asked=asked, **answers)
    print(f"recorded {len(answers)} answers of {name} {version}")


def load(name):
    """The version of a library, and its results by expression."""
    with np.load(HERE / f"{name}.npz") as file:
        asked = file["asked"].tolist()
        return str(file["version"]), {q: file[str(i)] for i, q in enumerate(asked)}


def page():
    """The text of docs/conversion.md."""
    lines = [
        "# From other libraries\n",
        "The two expressions of each row have equal results. A test compares ours with "
        "recorded results of the other library. `x` is an image `[H, W]`, `u` a uint8 "
        "image, `v` a volume `[D, H, W]`. This page is generated from the table of "
        "that test by `python tests/operator_answers/record.py --page`.\n",
        "## Boundary conditions\n",
        "| ours | before a b c | " + " | ".join(BOUNDARY_NAMES) + " |",
        "|---|---|" + "---|" * len(BOUNDARY_NAMES),
    ]
    pictures = {
        "edge": "a a │ a b c",
        "reflect": "c b │ a b c",
        "symmetric": "b a │ a b c",
        "wrap": "b c │ a b c",
        "constant": "0 0 │ a b c",
        "interior": "the result is 0",
    }
    for boundary, picture in pictures.items():
        theirs = [names.get(boundary, "") for names in BOUNDARY_NAMES.values()]
        lines.append(f"| `{boundary}` | {picture} | " + " | ".join(theirs) + " |")
    for name, library in LIBRARIES.items():
        lines += [f"\n## {library.title} {load(name)[0]}\n", f"{library.note}\n"]
        lines += ["| theirs | ours |", "|---|---|"]
        lines += [f"| `{row.theirs}` | `{row.ours}` |" for row in library.rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--page" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        for each in LIBRARIES:
            try:
                importlib.import_module(LIBRARIES[each].version)
            except ImportError:
                continue
            record(each)
