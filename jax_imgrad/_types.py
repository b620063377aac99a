"""The words of the package: what a caller may pass, and what a back end is."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import jax
import numpy as np
from jaxtyping import Shaped

# The string is the module: `_backends/<implementation>`.
Implementation = Literal["xla", "xla_at_once", "xla_cpu", "pallas_tpu"]

# B images, H rows, W columns, C channels, of JAX (tracers included) or of NumPy.
Numbers = jax.Array | np.ndarray
Image = Shaped[Numbers, "B H W C"]


# A pointwise function of differences: `penalty(differences, parameters)`, where
# `differences[k][i]` is that of image k along axis i. It is 0 where they all are, and
# its derivative by those along an axis is 0 where they are, as at the border.
# Parameters are numbers, or arrays of the shape of the images. To `_penalties.Coupled`
# the channels of one image are so many images.
Penalty = Callable[[Sequence[Sequence[jax.Array]], Sequence[jax.Array]], jax.Array]


class Backend(Protocol):
    """What each file of `_backends/` defines: one way to compute.

    Beside these it has operations, those of `xla.py` or some of them. Their arrays come
    in one shape and one dtype, which can hold a difference.
    """

    PLATFORM: str | None
    """The only platform that it computes on, or None."""

    def why_not(self, operand: Any) -> str | None:
        """Why it cannot compute on an image of this type, or None."""
        ...
