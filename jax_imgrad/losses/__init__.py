"""Losses made of image gradients: differentiable, with one number per image.

Most losses sum a penalty of differences of pixels. The first axis of all images is the
batch axis, and `axes` selects the axes along which to take differences. The default,
`(-3, -2)`, is the rows and columns of `[B, H, W, C]`; for a volume `[B, D, H, W, C]`,
add its depth axis with `axes=(-4, -3, -2)`. Most losses have these options, with the
exceptions below:

- `boundary` and `spacing`: what lies beyond the border, and the distance between
  neighboring pixels; one for all axes, or one for each. By default, `"interior"`, no
  difference reads beyond the border.
- `weights` multiply the penalties: one array, or one for each axis. The losses are
  differentiable with respect to them.
- `where` is a mask of the valid pixels. A difference is valid if all its pixels are.
  Invalid pixels are masked before differencing, so a NaN in them, or in their weights,
  reaches neither value nor derivative.
- `reduction="mean"` divides by the number of valid pixels and channels of each image,
  `"axis_mean"` the differences along each axis by their own number, and `"sum"` by
  nothing. Means are 0 if nothing is valid. `"mean"` is the default, except in
  :func:`edge_aware_smoothness`.

Exceptions:

- :func:`laplacian_edge` and :func:`bending_energy` take one array of weights, not one
  for each axis. So do losses whose penalties are not of one difference along one axis:
  :func:`total_variation` with `isotropic`, `channel_coupling` or `order=2`, and
  :func:`gradient_matching` with `operator="laplacian"`.
- :func:`laplacian_edge` has no `boundary` and no `spacing`, and no `"axis_mean"`.
- :func:`gradient_magnitude_similarity` has no `boundary`, `spacing` or `weights`, and
  has `pooling` in place of `reduction`.
- :func:`scale_and_shift`, which is not a loss, has only `weights`, one array, and
  `where`.

Sums are accumulated, and returned, in at least float32. The derivatives of absolute
values and norms at 0 are defined as 0.

All options but `where`, `weights`, `delta`, `edge_weight` and `constant` are static:
bind them before `jax.jit`, as in
`jax.jit(functools.partial(losses.total_variation, penalty="l2"))`.
"""

from jax_imgrad.losses._bending_energy import bending_energy
from jax_imgrad.losses._edge_aware_smoothness import edge_aware_smoothness
from jax_imgrad.losses._gradient_difference import gradient_difference
from jax_imgrad.losses._gradient_magnitude_similarity import (
    gradient_magnitude_similarity,
)
from jax_imgrad.losses._gradient_matching import gradient_matching
from jax_imgrad.losses._laplacian_edge import laplacian_edge
from jax_imgrad.losses._scale_and_shift import scale_and_shift
from jax_imgrad.losses._total_variation import total_variation

__all__ = [
    "bending_energy",
    "edge_aware_smoothness",
    "gradient_difference",
    "gradient_magnitude_similarity",
    "gradient_matching",
    "laplacian_edge",
    "scale_and_shift",
    "total_variation",
]


def __dir__() -> list[str]:
    return __all__
