"""Types shared by several modules; the public ones are in `typing.py`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np


class Steps(NamedTuple):
    """The distances between neighboring pixels along an axis.

    `array` has the rank of the image, and the size of the image along that axis, else
    1. It holds the distance to the next pixel, and 1 at the last one.
    """

    array: jax.Array | np.ndarray


class Widths(NamedTuple):
    """The pixel spacing at each pixel, an array that broadcasts to the image.

    It has the rank of the image.
    """

    array: jax.Array | np.ndarray


# The arrays in the option `spacing`: for each axis one, or None for a number.
Grid = tuple[Steps | Widths | None, ...]

# A pointwise penalty of the differences of images, `penalty(differences, parameters)`.
#
# - `differences[k][i]` are the differences of image k by the i-th stencil, an array of
#   the shape of the images. They are 0 where a tap of the stencil has no pixel.
# - `parameters` are scalars, or arrays of the shape of the images. The caller of
#   `_functional.functional` passes them, in the order in which its penalty takes them:
#   each penalty in `_penalties.py` and in `losses/` documents its own.
# - The result is an array of the shape of the images: the penalty of each pixel.
#
# At a border the missing differences are 0 and must not count. So a penalty must be 0
# where all differences are 0. Of forward differences, its derivative by those of a
# stencil must be 0 where they are 0. The transpose of any other stencil leaves out the
# missing ones.
#
# A `_penalties.Coupled` penalty takes the channels of a single image as its images.
PenaltyFunction = Callable[
    [Sequence[Sequence[jax.Array]], Sequence[jax.Array]], jax.Array
]
