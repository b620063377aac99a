"""Removes the noise of a photograph, with the gradient and its exact adjoint.

    python examples/denoise.py [image] [--weight 0.1] [--output denoised.png]

finds the image u that minimizes |u - f|²/2 + weight Σ|∇u| (Rudin, Osher, Fatemi, 1992)
by the accelerated algorithm of Chambolle and Pock (2011), and draws f and u side by
side. Without an image, f is the astronaut of scikit-image with Gaussian noise added.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
from PIL import Image

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


def main() -> None:
    """Reads, denoises and writes."""
    parser = argparse.ArgumentParser(description="Remove the noise of a photograph.")
    parser.add_argument("image", nargs="?", help="a file that Pillow reads")
    parser.add_argument("--weight", type=float, default=0.1, help="more is smoother")
    parser.add_argument("--output", default="denoised.png")
    arguments = parser.parse_args()
    if not arguments.weight > 0:
        parser.error("--weight must be positive")
    try:
        noisy = astronaut()
        if arguments.image:
            with Image.open(arguments.image) as file:
                noisy = np.asarray(file.convert("RGB"), "float32") / 255
        both = np.concatenate([noisy, denoise(noisy, arguments.weight)], axis=1)
        Image.fromarray((both.clip(0, 1) * 255).astype("uint8")).save(arguments.output)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"wrote {arguments.output}: before and after")


if __name__ == "__main__":
    main()
