"""Types shared by several modules; the public ones are in `typing.py`."""

from collections.abc import Callable, Sequence

import jax

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
