"""The words of the package: what a caller may pass, and what a back end is."""

from typing import Any, Literal, Protocol

import jax
import numpy as np
from jaxtyping import Shaped

# The string is the file: `_backends/<implementation>.py`.
Implementation = Literal["xla", "pallas_tpu"]

# B images, H rows, W columns, C channels, of JAX (tracers included) or of NumPy.
Image = Shaped[jax.Array | np.ndarray, "B H W C"]


class Backend(Protocol):
    """What each file of `_backends/` defines: one way to compute.

    Arrays come in one shape and one dtype, which can hold a difference; `axes` are
    those of the rows and of the columns.
    """

    PLATFORM: str | None
    """The only platform that it computes on, or None."""

    def why_not(self, operand: Any) -> str | None:
        """Why it cannot compute on an image of this type, or None."""
        ...

    def image_gradients(
        self, image: jax.Array, axes: tuple[int, int]
    ) -> tuple[jax.Array, jax.Array]:
        """(dy, dx), the forward differences, zero in the last row and column."""
        ...

    def divergence(
        self, dy: jax.Array, dx: jax.Array, axes: tuple[int, int]
    ) -> jax.Array:
        """Minus the transpose of `image_gradients`: what flows out of each pixel."""
        ...
