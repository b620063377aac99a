"""The gradients of a photograph, as one picture.

    python examples/quickstart.py [image] [--output gradients.png]

reads an image (by default the astronaut of scikit-image), takes the differences of
neighboring pixels, dy (below minus above, vertical) and dx (right minus left,
horizontal), and draws the image, dy, dx and the gradient magnitude side by side.

Formats: PNG, JPEG, WebP, GIF, BMP and TIFF with 8 or 16 bits per channel. Of an
animation the first frame is read. Transparent pixels are blended with white.
"""

import argparse
import io
import os
import sys
import timeit
import warnings
from pathlib import Path
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
from matplotlib.figure import Figure
from PIL import Image, ImageOps

import jax_imgrad as jig

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]
PICTURES = (".png", ".jpg", ".jpeg", ".pdf")


def main() -> None:
    """Reads, computes, checks and draws, and prints a line about each."""
    parser = argparse.ArgumentParser(description="Draw the gradients of a photograph.")
    parser.add_argument(
        "image", nargs="?", type=Path, help=f"a file: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("gradients.png"),
        help=f"a file that ends in {', '.join(PICTURES)} (default: %(default)s)",
    )
    arguments = parser.parse_args()
    check_output(arguments.output)

    pixels, notes = read(arguments.image)
    image = jnp.asarray(pixels)[None]
    facts = ", ".join([f"{image.dtype} {image.shape}", *notes])
    print(f"read      {arguments.image or 'astronaut'}: {facts}")

    dy, dx = jig.image_gradients(image)
    magnitude = jig.gradient_magnitude(image)
    device = f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    print(f"computed  dy and dx in {milliseconds(image):.2f} ms, warm, on {device}")

    zero = not dy[:, -1].any() and not dx[:, :, -1].any()
    answer = "yes" if zero else "NO"
    print(f"checked   dy is zero in the last row, dx in the last column: {answer}")

    draw(arguments.output, *(np.asarray(a[0]) for a in (image, dy, dx, magnitude)))
    kilobytes = arguments.output.stat().st_size / 1000
    print(f"wrote     {arguments.output}: {kilobytes:.0f} kB")


def check_output(path: Path) -> None:
    """Refuses a path that cannot be written before the work, not after it."""
    try:
        if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            stop(f"cannot write {path}: {path.parent} is not a folder you may write in")
        if path.is_dir() or path.suffix.lower() not in PICTURES:
            stop(f"cannot write {path}: the name must end in {', '.join(PICTURES)}")
        if path.exists() and not os.access(path, os.W_OK):
            stop(f"cannot write {path}: you may not overwrite this file")
    except OSError as error:  # a name that no file can have
        stop(f"cannot write {path}: {error.strerror}")


def read(path: Path | None) -> tuple[np.ndarray, list[str]]:
    """The image as float32 in [0, 1], and what was done to it.

    The shape is [H, W, 1] if the image is gray, and [H, W, 3] otherwise.
    """
    if path is None:
        return np.asarray(skimage.data.astronaut(), np.float32) / 255, []
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # what is broken is refused below
            Image.open(path, formats=FORMATS) as file,
        ):
            frames = getattr(file, "n_frames", 1)
            file.seek(0)
            image = ImageOps.exif_transpose(file)
            gray16 = image.mode.startswith("I;16")
            gray16 |= image.mode == "I" and file.format == "PNG"  # of an older Pillow
        if image.mode in ("F", "LAB") or (image.mode == "I" and not gray16):
            stop(f"cannot read {path}: it has not 8 or 16 bits per channel")
        notes = [f"the first of {frames} frames"] if frames > 1 else []
        transparent = image.info.get("transparency")
        blend = transparent is not None or image.mode in ("LA", "La", "PA", "RGBA")
        notes += ["transparent pixels blended with white"] * blend
        if gray16:  # which convert() would clip
            pixels = np.asarray(image, np.float32)
            white = blend & (pixels == transparent)
            return np.where(white, 1, pixels / 65535)[..., None], notes
        gray = image.mode in ("1", "L", "LA", "La")
        if blend:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        pixels = np.asarray(image.convert("L" if gray else "RGB"), np.float32) / 255
        return pixels[..., None] if gray else pixels, notes
    except Image.DecompressionBombError:
        stop(f"cannot read {path}: it claims more pixels than Pillow dares to decode")
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None)
        known = f"not a whole image in one of the formats {', '.join(FORMATS)}"
        stop(f"cannot read {path}: {reason or known}")


def milliseconds(image: jax.Array) -> float:
    """How long a call takes once it is compiled: the shortest of ten."""
    seconds = timeit.repeat(
        lambda: jax.block_until_ready(jig.image_gradients(image)), number=1, repeat=10
    )
    return 1000 * min(seconds)


def draw(path: Path, image: np.ndarray, *differences: np.ndarray) -> None:
    """Draws the image, then dy, dx and the magnitude, as means over the channels.

    White is 0, red is positive (brighter below, or to the right), blue is negative.
    The color scale is clipped at the 99th percentile.
    """
    dy, dx, magnitude = (np.mean(a, axis=-1) for a in differences)
    limit = np.percentile(np.abs([dy, dx]), 99) or 1.0
    panels = [
        ("image", image, "gray", 0, 1),
        ("dy: below minus above (vertical)", dy, "RdBu_r", -limit, limit),
        ("dx: right minus left (horizontal)", dx, "RdBu_r", -limit, limit),
        ("gradient magnitude", magnitude, "gray_r", 0, 2**0.5 * limit),
    ]
    height = 3.92 * np.clip(image.shape[0] / image.shape[1], 0.25, 2) + 0.37
    figure = Figure(figsize=(16, height), layout="constrained")
    for i, (title, pixels, colors, low, high) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 4, i, title=title)
        axes.imshow(pixels, colors, vmin=low, vmax=high, interpolation_stage="data")
        axes.set_axis_off()
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower())
    partial = path.with_name(f"{path.name}.partial")  # a file at `path` stays whole
    try:
        partial.write_bytes(picture.getvalue())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        stop(f"cannot write {path}: {error.strerror or error}")


def stop(reason: str) -> NoReturn:
    """Ends the program with one sentence for the user."""
    print(f"{reason}.", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
