"""The gradients of a photograph, as one picture.

    python examples/quickstart.py [image] [--output gradients.png]

reads a PNG or JPEG (by default the astronaut of scikit-image), takes the differences of
neighboring pixels down the rows (dy) and along the columns (dx), and draws the
photograph, dy, dx and their magnitude side by side.
"""

import argparse
import os
import sys
import timeit
from pathlib import Path
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
from matplotlib.figure import Figure
from PIL import Image, ImageOps

import jax_imgrad as jig


def main() -> None:
    """Reads, computes, checks and draws, and prints a line about each."""
    parser = argparse.ArgumentParser(description="Draw the gradients of a photograph.")
    parser.add_argument("image", nargs="?", type=Path, help="a PNG or JPEG file")
    parser.add_argument("--output", type=Path, default=Path("gradients.png"))
    arguments = parser.parse_args()
    check_output(arguments.output)

    image = jnp.asarray(read(arguments.image))[None]
    print(f"read      {arguments.image or 'astronaut'}: {image.dtype} {image.shape}")

    dy, dx = jig.image_gradients(image)
    magnitude = jnp.sqrt(dy**2 + dx**2)
    device = f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    print(f"computed  dy and dx in {milliseconds(image):.2f} ms, warm, on {device}")

    zero = not dy[:, -1].any() and not dx[:, :, -1].any()
    answer = "yes" if zero else "NO"
    print(f"checked   dy is zero in the last row, dx in the last column: {answer}")

    draw(arguments.output, *(np.asarray(a[0]) for a in (image, dy, dx, magnitude)))
    kilobytes = arguments.output.stat().st_size / 1000
    print(f"wrote     {arguments.output}: {kilobytes:.0f} kB")


def check_output(path: Path) -> None:
    """Refuses a path that cannot be written, before the work and not after it."""
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        stop(f"cannot write {path}: {path.parent} is not a folder you may write in")
    if path.is_dir() or path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".pdf"):
        stop(f"cannot write {path}: the name of a picture ends in .png, .jpg or .pdf")


def read(path: Path | None) -> np.ndarray:
    """The image as float32 in [0, 1]: [H, W, 1] if gray, [H, W, 3] otherwise."""
    if path is None:
        return np.asarray(skimage.data.astronaut(), np.float32) / 255
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as file:
            image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16-bit gray, which convert() would clip
            return np.asarray(image, np.float32)[..., None] / 65535
        if image.mode in ("1", "L", "LA"):
            return np.asarray(image.convert("L"), np.float32)[..., None] / 255
        return np.asarray(image.convert("RGB"), np.float32) / 255
    except Image.DecompressionBombError:
        stop(f"cannot read {path}: it claims more pixels than Pillow dares to decode")
    except (OSError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a whole PNG or JPEG image"
        stop(f"cannot read {path}: {reason}")


def milliseconds(image: jax.Array) -> float:
    """How long a call takes once it is compiled: the shortest of ten."""
    seconds = timeit.repeat(
        lambda: jax.block_until_ready(jig.image_gradients(image)), number=1, repeat=10
    )
    return 1000 * min(seconds)


def draw(path: Path, image: np.ndarray, *differences: np.ndarray) -> None:
    """Draws the image, then dy, dx and the magnitude, as means over the channels.

    White is zero, red gets brighter, blue gets darker. One difference in a hundred
    lies beyond the scale, and is clipped, so that the others show.
    """
    dy, dx, magnitude = (np.mean(a, axis=-1) for a in differences)
    limit = np.percentile(np.abs([dy, dx]), 99) or 1.0
    panels = [
        ("image", image, "gray", 0, 1),
        ("dy: down the rows", dy, "RdBu_r", -limit, limit),
        ("dx: along the columns", dx, "RdBu_r", -limit, limit),
        ("magnitude", magnitude, "gray_r", 0, 2**0.5 * limit),
    ]
    height = 3.92 * np.clip(image.shape[0] / image.shape[1], 0.25, 2) + 0.37
    figure = Figure(figsize=(16, height), layout="constrained")
    for i, (title, pixels, colors, low, high) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 4, i, title=title)
        axes.imshow(pixels, colors, vmin=low, vmax=high, interpolation_stage="data")
        axes.set_axis_off()
    figure.savefig(path)


def stop(reason: str) -> NoReturn:
    """Ends the program with one sentence for the user."""
    print(f"{reason}.", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
