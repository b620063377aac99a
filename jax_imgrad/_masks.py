"""Which pixels count, and which differences: those of valid pixels only.

A mask is a bool array of the shape of the image, or None where all pixels are valid.
What lies in an invalid pixel is selected away before it meets any other, and the
differences are selected again after: a NaN times zero would still be NaN.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._banded import apply
from jax_imgrad._differences import shift, shift_along
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._jax import jit_is_disabled
from jax_imgrad._stencils import SeparableStencil, indicator
from jax_imgrad.typing import Reduction

Mask = jax.Array | None


def without_invalid(image: jax.Array, valid: Mask) -> jax.Array:
    """The image, zero where it is not valid."""
    if valid is None:
        return image
    if jit_is_disabled():
        # There jnp.where converts its operands one by one, and `jax.debug_nans` stops
        # at a NaN of them, though it is not selected. But jnp.where takes operands that
        # are sharded in different ways.
        valid = jnp.broadcast_to(valid, image.shape)
        return lax.select(valid, image, jnp.zeros_like(image))
    return jnp.where(valid, image, jnp.zeros((), image.dtype))


def valid_floats(images: Sequence[jax.Array], valid: Mask) -> list[jax.Array]:
    """Images of a loss in one dtype of floats, zero where they are not valid.

    Masked before they are converted: `jax.debug_nans` reports a NaN that is converted.
    """
    dtype = float_of(*(image.dtype for image in images))
    return [without_invalid(image, valid).astype(dtype) for image in images]


def valid_residual(
    predictions: jax.Array, targets: jax.Array, valid: Mask
) -> jax.Array:
    """The difference of two images, in at least float32, zero where it is not valid."""
    pair = valid_floats([predictions, targets], valid)
    p, t = (image.astype(accumulator(image.dtype)) for image in pair)
    return p - t


def valid_differences(
    valid: Mask, axes: tuple[int, ...], order: int = 1
) -> list[jax.Array]:
    """For each axis, where a pixel and the `order` next ones are valid.

    Nothing for no mask.
    """
    if valid is None:
        return []
    return [
        functools.reduce(
            jnp.logical_and,
            [valid, *(shift(valid, axis, by) for by in range(1, order + 1))],
        )
        for axis in axes
    ]


def valid_outputs(valid: jax.Array, stencil: SeparableStencil) -> jax.Array:
    """Where every pixel that a stencil reads is valid, those beyond a border too."""
    invalid = (~valid).astype(jnp.float32)
    return apply(indicator(stencil), invalid, shift_along) == 0


def reduced(
    total: jax.Array, valid: Mask, shape: tuple[int, ...], reduction: Reduction
) -> jax.Array:
    """The sum, or the mean over the valid pixels of each image; 0 where none is."""
    if reduction == "sum":
        return total
    return ratio(total, count(valid, shape, total.dtype))


def count(valid: Mask, shape: tuple[int, ...], dtype) -> jax.Array:
    """The valid pixels of each image, `[B]`."""
    valid = jnp.ones((1,) * len(shape), bool) if valid is None else valid
    axes = tuple(range(1, len(shape)))
    return jnp.broadcast_to(valid, shape).sum(axes).astype(dtype)  # of exact integers


def ratio(total: jax.Array, pixels: jax.Array) -> jax.Array:
    """`total / pixels`, and 0 for no pixels."""
    some = pixels > 0
    return jnp.where(some, total / jnp.where(some, pixels, 1), 0)
