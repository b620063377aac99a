"""Draws what each operator makes of a photograph: the small pictures of functions.md.

    python docs/draw_operators.py

writes docs/operators/<name>.png. Gray is 0 in a picture of signed numbers; white is 0
in one of positive ones; the color of an angle is its direction.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import skimage.data
from matplotlib import colormaps
from PIL import Image

import jax_imgrad as jig

FOLDER = Path(__file__).with_name("operators")
PHOTOGRAPH = np.asarray(skimage.data.astronaut(), "float32")[16:208, 128:320] / 255
GRAY = PHOTOGRAPH.mean(-1)[None, ..., None]
SMOOTH = {"operator": ("gaussian", 1.5), "boundary": "edge"}


def signed(*parts) -> np.ndarray:
    """Arrays side by side: gray is 0, white is more."""
    both = np.concatenate([np.asarray(p)[0, :, :, 0] for p in parts], axis=1)
    return 0.5 + 0.5 * both / np.percentile(np.abs(both), 99)


def positive(part) -> np.ndarray:
    """White is 0, black is more."""
    array = np.asarray(part)[0, :, :, 0]
    return 1 - array / np.percentile(array, 99)


def turned(angle, magnitude) -> np.ndarray:
    """The color of a direction, where there is one."""
    wheel = colormaps["hsv"]((np.asarray(angle)[0, :, :, 0] / np.pi + 1) / 2)
    return 1 - (1 - wheel[..., :3]) * (1 - positive(magnitude)).clip(0, 1)[..., None]


def pictures() -> dict[str, np.ndarray]:
    """One for each operator."""
    gradient = jig.image_gradients(GRAY)
    edges = jnp.unstack(jig.sobel_edges(GRAY), axis=-1)
    magnitude = jig.gradient_magnitude(GRAY, **SMOOTH)
    tensor = jig.structure_tensor(GRAY, sigma=3.0, **SMOOTH)
    return {
        "image_gradients": signed(*gradient),
        "sobel_edges": signed(*edges),
        "spatial_gradient": signed(*jig.spatial_gradient(GRAY, **SMOOTH)),
        "divergence": signed(jig.divergence(gradient)),
        "gradient_magnitude": positive(magnitude),
        "gradient_orientation": turned(
            jig.gradient_orientation(GRAY, **SMOOTH), magnitude
        ),
        "laplacian": signed(jig.laplacian(GRAY)),
        "second_derivatives": signed(*jig.second_derivatives(GRAY, **SMOOTH)),
        "structure_tensor": signed(*tensor),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, pixels in pictures().items():
        picture = Image.fromarray((pixels.clip(0, 1) * 255).astype("uint8"))
        picture = picture.resize((picture.width // 2, picture.height // 2))
        picture.quantize(32).save(FOLDER / f"{name}.png", optimize=True)
