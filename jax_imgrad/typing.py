"""The types of arrays and options, to annotate code that calls this package.

A name of an option that is held in a variable keeps its type with them:

    >>> from jax_imgrad.typing import Operator
    >>> operator: Operator = "sobel"

The signatures of the package use these definitions themselves.
"""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import jax
import numpy as np
from jaxtyping import Shaped

__all__ = [
    "Axes",
    "Boundaries",
    "Boundary",
    "EdgeAwarePenalty",
    "EdgeWeighting",
    "Image",
    "Implementation",
    "MatchingReduction",
    "Number",
    "Numbers",
    "Operator",
    "Order",
    "Parameter",
    "Penalty",
    "Reduction",
    "Scale",
    "Spacing",
]

Numbers = jax.Array | np.ndarray[Any, np.dtype[Any]]
"""An array of JAX, tracers included, or of NumPy."""

Image = Shaped[Numbers, "B H W C"]
"""A batch of images: B images of H rows, W columns and C channels."""

Number = int | float | np.floating[Any] | np.integer[Any]
"""A real number of Python or NumPy."""

Parameter = Number | Numbers
"""A real number, or an array that broadcasts to the images."""

Operator = (
    Literal[
        "forward",
        "backward",
        "central",
        "sobel",
        "sobel5",
        "sobel7",
        "scharr",
        "prewitt",
        "farid",
    ]
    | tuple[Literal["gaussian"], Number]
)
"""The stencil of a derivative: a name, or `("gaussian", sigma)`, sigma in pixels."""

Scale = Literal["derivative", "raw"]
"""Whether taps are divided so that the derivative of a ramp is its slope."""

Axes = SupportsIndex | Sequence[SupportsIndex]
"""The axes to differentiate along: an integer or a sequence of integers."""

Boundary = Literal["interior", "constant", "edge", "reflect", "symmetric", "wrap"]
"""What lies beyond the border of an image along an axis, in NumPy's words.

`"constant"` is zeros; with `"interior"` a result is 0 where a tap is missing.
"""

Boundaries = Boundary | Sequence[Boundary]
"""The boundary condition of all axes, or a sequence of one for each."""

Spacing = Number | Sequence[Number] | Numbers
"""The distance between neighboring pixels: of all axes, or one for each."""

Implementation = Literal["xla", "xla_cpu", "pallas_tpu"]
"""The name of a way to compute. Each is a module of `_backends/`."""

Penalty = Literal["l1", "l2", "huber", "charbonnier"]
"""The penalty of `losses.total_variation`."""

EdgeAwarePenalty = Literal["l1", "charbonnier"]
"""The penalty of `losses.edge_aware_smoothness`."""

EdgeWeighting = Literal["exponential", "gaussian"]
"""How the weight in `losses.edge_aware_smoothness` decays at an edge of the guide."""

Order = Literal[1, 2]
"""The order of the differences in `losses.edge_aware_smoothness`."""

Reduction = Literal["mean", "sum"]
"""How a loss combines the penalties of the pixels of each image."""

MatchingReduction = Literal["mean", "batch_mean", "sum"]
"""The reduction of `losses.gradient_matching`, which has one more."""


def __dir__() -> list[str]:
    return __all__
