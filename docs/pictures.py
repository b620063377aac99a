"""Draws images side by side, for the pages whose code the build of the site runs."""

import numpy as np
from matplotlib import pyplot as plt


def show(columns: int = 3, **images) -> None:
    """Draws images `[H, W]` or `[H, W, C]`, each with its name as the title.

    In a picture of signed numbers white is 0, red is positive and blue is negative; in
    one of non-negative numbers black is 0; an RGB image shows its colors, from 0 to 1.
    The largest 1 % of the numbers are drawn alike, so that a few do not hide the rest.

    Args:
      columns: the number of pictures in one row.
      **images: NumPy or JAX arrays; underscores in their names become spaces.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    first = np.squeeze(np.asarray(next(iter(images.values()))))
    height = 7.2 / columns * first.shape[0] / first.shape[1] + 0.3
    _, panels = plt.subplots(
        rows, columns, figsize=(7.2, rows * height), layout="constrained", squeeze=False
    )
    for panel in panels.flat:
        panel.set_axis_off()
    for panel, (name, image) in zip(panels.flat, images.items(), strict=False):
        panel.set_title(name.replace("_", " "), fontsize=10)
        image = np.squeeze(np.asarray(image, "float32"))
        image = image.clip(0, 1) if image.ndim == 3 else image
        panel.imshow(image, interpolation_stage="data", **_colors(image))
    plt.show()


def _colors(image: np.ndarray) -> dict:
    """How to color an image: the color map, and the numbers at its ends."""
    if image.ndim == 3:
        return {}
    limit = np.nanpercentile(np.abs(image), 99) or 1.0
    if np.nanmin(image) < 0:
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    return {"cmap": "gray", "vmin": 0, "vmax": limit}
