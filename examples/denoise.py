"""Removes the noise of a photograph, by the gradient and its exact adjoint.

    python examples/denoise.py

finds the image u that minimizes |u - f|²/2 + weight Σ|∇u| (Rudin, Osher, Fatemi, 1992)
by the accelerated algorithm of Chambolle and Pock (2011), and draws it to denoised.png.
"""

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
from PIL import Image

import jax_imgrad as jig


@jax.jit
def denoise(noisy: jax.Array, weight: float = 0.1) -> jax.Array:
    """The image of least energy, of a photograph `[H, W, C]`."""

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


if __name__ == "__main__":
    clean = np.asarray(skimage.data.astronaut(), "float32") / 255
    noise = np.random.default_rng(0).normal(0, 0.1, clean.shape).astype("float32")
    both = np.concatenate([clean + noise, denoise(clean + noise)], axis=1)
    Image.fromarray((both.clip(0, 1) * 255).astype("uint8")).save("denoised.png")
