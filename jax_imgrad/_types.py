"""Shared types that callers do not see; `typing.py` has those that they do."""

from collections.abc import Callable, Sequence

import jax

# A pointwise function of differences: `penalty(differences, parameters)`, where
# `differences[k][i]` is that of image k along axis i. It is 0 where they all are, and
# its derivative by those along an axis is 0 where they are, as at the border.
# Parameters are numbers, or arrays of the shape of the images. To `_penalties.Coupled`
# the channels of one image are so many images.
PenaltyFunction = Callable[
    [Sequence[Sequence[jax.Array]], Sequence[jax.Array]], jax.Array
]
