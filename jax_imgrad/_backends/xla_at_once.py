"""Stencils that read the image at all taps at once, for one device.

The definition shifts an image by rows, and what it has then by columns: of sharded
rows, the devices exchange each once. One device has nothing to exchange; and a TPU
stores what has been shifted, unless each tap is a shift of the image itself.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jax_imgrad._backends import xla
from jax_imgrad._bands import Product
from jax_imgrad._shift import shift_at_once

PLATFORM = None


def why_not(operand: Any) -> None:
    """There is nothing that this back end refuses."""
    del operand


def stencil(
    images: Sequence[jax.Array],
    maps: Sequence[Sequence[Product]],
    stacked: bool = False,
) -> list[jax.Array]:
    """Each result in one loop, with nothing stored on the way."""
    return xla.stencil_of(shift_at_once, images, maps, stacked)
