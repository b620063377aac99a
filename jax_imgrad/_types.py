"""Shared type aliases."""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import numpy as np
from jaxtyping import Shaped

# The names of the back ends in `_backends/`.
Implementation = Literal["xla", "xla_cpu", "pallas_tpu"]

# B images, H rows, W columns, C channels, of JAX (tracers included) or of NumPy.
Numbers = jax.Array | np.ndarray
Image = Shaped[Numbers, "B H W C"]


# A pointwise function of differences: `penalty(differences, parameters)`, where
# `differences[k][i]` is that of image k along axis i. It is 0 where they all are, and
# its derivative by those along an axis is 0 where they are, as at the border.
# Parameters are numbers, or arrays of the shape of the images. To `_penalties.Coupled`
# the channels of one image are so many images.
Penalty = Callable[[Sequence[Sequence[jax.Array]], Sequence[jax.Array]], jax.Array]
