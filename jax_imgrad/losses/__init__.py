"""Losses made of image gradients: one number for each image, to be differentiated.

A loss here is a penalty of the differences of neighboring pixels. Images have a batch
axis first, and `axes` says along which ones to take differences: rows and columns
of `[B, H, W, C]` by default, as well those of a volume `[B, D, H, W, C]`.

- `where=` marks the valid pixels. A difference counts if all its pixels are valid, and
  what lies in the others, NaN too, reaches neither the value nor the derivative.
- The mean, by default, is over the valid pixels and the channels, so that a value does
  not depend on the resolution; it is 0 where there are none. `reduction="sum"` does not
  divide.
- Sums are taken in at least float32, which is also the dtype of the result.
- The derivative of |x| and of a square root at 0 is 0: a constant image is left alone.
"""

from jax_imgrad.losses._edge_aware_smoothness import edge_aware_smoothness
from jax_imgrad.losses._gradient_difference import gradient_difference
from jax_imgrad.losses._gradient_matching import gradient_matching
from jax_imgrad.losses._laplacian_edge import laplacian_edge
from jax_imgrad.losses._scale_and_shift import scale_and_shift
from jax_imgrad.losses._total_variation import total_variation

__all__ = [
    "edge_aware_smoothness",
    "gradient_difference",
    "gradient_matching",
    "laplacian_edge",
    "scale_and_shift",
    "total_variation",
]


def __dir__() -> list[str]:
    return __all__
