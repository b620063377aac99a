"""Losses made of image gradients: differentiable, with one number per image.

Each loss sums a penalty of the differences of neighboring pixels. The first axis of all
images is the batch axis, and `axes` selects the axes along which to take differences.
The default, `(-3, -2)`, is the rows and columns of `[B, H, W, C]`; for a volume
`[B, D, H, W, C]`, add its depth axis with `axes=(-4, -3, -2)`.

- `where` is a mask of the valid pixels. A difference is valid if all its pixels are.
  Invalid pixels are masked before differencing, so a NaN in them reaches neither value
  nor derivative.
- `reduction="mean"`, the default, divides by the number of valid pixels and channels of
  each image, or in :func:`edge_aware_smoothness` by the number of valid differences
  along each axis. It is 0 if there are none. `reduction="sum"` does not divide.
- Sums are accumulated, and returned, in at least float32.
- The derivatives of absolute values and norms at 0 are defined as 0.
- All options but `where`, `delta` and `edge_weight` are static: bind them before
  `jax.jit`, as in `jax.jit(functools.partial(losses.total_variation, penalty="l2"))`.
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
