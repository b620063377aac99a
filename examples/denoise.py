"""Removes the noise of a photograph, with the gradient and its exact adjoint.

    python examples/denoise.py [image] [--weight 0.1] [--output denoised.png]

finds the image u that minimizes |u - f|²/2 + weight Σ|∇u| (Rudin, Osher, Fatemi, 1992)
by the accelerated algorithm of Chambolle and Pock (2011), and draws f and u side by
side. Without an image, f is the astronaut of scikit-image with Gaussian noise added.
"""

import argparse
import io
import sys
from pathlib import Path
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
from PIL import Image, UnidentifiedImageError

import jax_imgrad as jig


@jax.jit
def denoise(noisy: jax.Array, weight: float = 0.1) -> jax.Array:
    """The minimizer u for the photograph f = `noisy`, `[H, W, C]`."""

    def step(i, state):
        image, extrapolated, dual, tau, sigma = state
        slopes = jig.spatial_gradient(extrapolated)
        dual = [p + sigma * d for p, d in zip(dual, slopes, strict=True)]
        size = jnp.maximum(jnp.sqrt(sum(p**2 for p in dual)) / weight, 1)
        dual = [p / size for p in dual]
        flow = jig.divergence(dual)
        new = (image + tau * (flow + noisy)) / (1 + tau)
        theta = 1 / jnp.sqrt(1 + 2 * tau)
        further = new + theta * (new - image)
        return new, further, dual, theta * tau, sigma / theta

    start = jnp.sqrt(1 / 8)  # |∇|² is at most 8
    state = (noisy, noisy, [jnp.zeros_like(noisy)] * 2, start, start)
    return jax.lax.fori_loop(0, 300, step, state)[0]


def astronaut() -> np.ndarray:
    """A photograph with Gaussian noise of standard deviation 0.1."""
    clean = np.asarray(skimage.data.astronaut(), "float32") / 255
    noise = np.random.default_rng(0).normal(0, 0.1, clean.shape)
    return clean + noise.astype("float32")


def read(path: Path) -> np.ndarray:
    """A photograph as `[H, W, 3]`, from 0 to 1."""
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"), "float32") / 255
    except UnidentifiedImageError:
        stop(f"cannot read {path}: it is not an image that Pillow reads")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        stop(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")


def write(path: Path, image: np.ndarray) -> None:
    """Writes a picture; a file that was at `path` stays whole until then."""
    picture = io.BytesIO()
    kind = Image.registered_extensions()[path.suffix.lower()]
    Image.fromarray((image.clip(0, 1) * 255).astype("uint8")).save(picture, kind)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(picture.getvalue())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        stop(f"cannot write {path}: {error.strerror or error}")


def main() -> None:
    """Reads, denoises and writes."""
    parser = argparse.ArgumentParser(description="Remove the noise of a photograph.")
    parser.add_argument("image", nargs="?", type=Path, help="a file that Pillow reads")
    parser.add_argument("--weight", type=float, default=0.1, help="more is smoother")
    parser.add_argument("--output", type=Path, default=Path("denoised.png"))
    arguments = parser.parse_args()
    if not 0 < arguments.weight < float("inf"):
        stop(f"--weight must be positive and finite, got {arguments.weight}")
    if arguments.output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        stop(f"cannot write {arguments.output}: it must end in .png, .jpg or .webp")
    if not arguments.output.parent.is_dir():
        stop(f"cannot write {arguments.output}: {arguments.output.parent} is no folder")
    noisy = read(arguments.image) if arguments.image else astronaut()
    both = np.concatenate([noisy, denoise(noisy, arguments.weight)], axis=1)
    write(arguments.output, both)
    print(f"wrote {arguments.output}: before and after")


def stop(reason: str) -> NoReturn:
    """Ends the program with one sentence for the user."""
    print(f"{reason}.", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
