"""Types of arrays and options, for annotating code that calls this package.

A type checker accepts a variable as an option if the variable has the option's type:

    >>> from jax_imgrad.typing import Operator
    >>> operator: Operator = "sobel"

The signatures of the package are annotated with the same types.
"""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import jax
import numpy as np
from jaxtyping import Shaped

from jax_imgrad._taps import Kernel

__all__ = [
    "Axes",
    "Boundaries",
    "Boundary",
    "Downsampling",
    "EdgeAwarePenalty",
    "EdgeWeighting",
    "GridSpacing",
    "Image",
    "Implementation",
    "MatchingOperator",
    "MatchingReduction",
    "Number",
    "Numbers",
    "Operator",
    "Order",
    "Parameter",
    "Penalty",
    "PixelReduction",
    "Pooling",
    "Reduction",
    "Scale",
    "Sigma",
    "Spacing",
    "Weights",
]

Numbers = jax.Array | np.ndarray[Any, np.dtype[Any]]
"""A JAX array, which may be a tracer, or a NumPy array."""

Image = Shaped[Numbers, "B H W C"]
"""A batch of B images with H rows, W columns and C channels."""

Number = int | float | np.floating[Any] | np.integer[Any]
"""A real Python or NumPy number."""

Parameter = Number | Numbers
"""A real number, or an array that broadcasts to the shape of the images."""

Sigma = Number | Sequence[Number] | Numbers
"""The standard deviation of a Gaussian: one for all axes, or one for each axis."""

Operator = (
    Literal[
        "forward",
        "backward",
        "central",
        "central5",
        "sobel",
        "sobel5",
        "sobel7",
        "scharr",
        "prewitt",
        "farid",
    ]
    | tuple[Literal["gaussian"], Sigma]
    | tuple[Literal["gaussian"], Sigma, Literal["spacing"]]
    | Kernel
)
"""A derivative stencil: a name, a Gaussian, or taps of your own.

`("gaussian", sigma)` has sigma in pixels, `("gaussian", sigma, "spacing")` in units of
the option `spacing`. A `jax_imgrad.Kernel` has any taps.
"""

Scale = Literal["derivative", "raw"]
"""Whether taps are normalized to give slopes (`"derivative"`) or not (`"raw"`)."""

Axes = SupportsIndex | Sequence[SupportsIndex]
"""The axes to differentiate along: an integer, or a sequence of integers."""

Boundary = Literal[
    "interior",
    "constant",
    "edge",
    "reflect",
    "symmetric",
    "wrap",
    "linear",
    "quadratic",
]
"""A boundary condition: what lies beyond the border; paddings are named as in NumPy.

`"constant"` pads with zeros. `"interior"` does not pad: an output is 0 if any of its
taps lies beyond the border. `"linear"` and `"quadratic"` extrapolate, by the line
through the 2 nearest pixels and by the parabola through the 3 nearest.
"""

Boundaries = Boundary | Sequence[Boundary]
"""One boundary condition for all axes, or a sequence with one for each axis."""

Spacing = Number | Sequence[Number] | Numbers
"""The distance between neighboring pixels: one for all axes, or one for each axis."""

GridSpacing = Parameter | Sequence[Parameter]
"""A `Spacing`, or arrays: the coordinates of the pixels along an axis, or spacings.

An array of rank 1 in a sequence holds the coordinates along the axis in that place. An
array of the rank of the image holds the spacing of each pixel.
"""

Implementation = Literal["xla", "xla_cpu", "pallas_tpu"]
"""The name of a back end. Each is a module of `_backends/`."""

Penalty = Literal["l1", "l2", "huber", "charbonnier"]
"""A penalty of differences, in several losses."""

EdgeAwarePenalty = Literal["l1", "charbonnier"]
"""A penalty of `losses.edge_aware_smoothness`."""

EdgeWeighting = Literal["exponential", "gaussian"]
"""How the weight in `losses.edge_aware_smoothness` decays at edges of the guide."""

Order = Literal[1, 2]
"""The order of the differences in a loss."""

Reduction = Literal["mean", "sum", "axis_mean"]
"""How a loss reduces the penalties of the pixels of one image to a number.

`"mean"` divides the sum by the number of valid pixels and channels. `"axis_mean"`
divides the sum of each axis by its own number of valid differences.
"""

Pooling = Literal["deviation", "mean"]
"""How `losses.gradient_magnitude_similarity` reduces the similarity of the pixels."""

PixelReduction = Literal["mean", "sum"]
"""A reduction of `losses.laplacian_edge`, which takes no differences along axes."""

Weights = Parameter | Sequence[Parameter]
"""The weights of a loss: numbers or arrays.

One for each pixel, or a sequence with one for each axis. Losses that take several
differences of a pixel in one penalty take no sequence.
"""

MatchingOperator = Literal["laplacian"] | Operator
"""A stencil of `losses.gradient_matching`: that of an operator, or the Laplacian."""

Downsampling = Literal["skip", "mean", "gaussian"]
"""How `losses.gradient_matching` makes the images of its coarser scales."""

MatchingReduction = Literal["mean", "batch_mean", "sum", "axis_mean"]
"""A reduction of `losses.gradient_matching`, which also has `"batch_mean"`."""


def __dir__() -> list[str]:
    return __all__
