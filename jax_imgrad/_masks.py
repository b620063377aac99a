"""Masks: which pixels, differences and outputs of stencils are valid.

A mask is a bool array that broadcasts to the shape of the image, or None where all
pixels are valid. An invalid pixel is replaced by 0 before any computation, and an
invalid difference after it. Both select by `where`: a NaN multiplied by 0 stays NaN.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad import _linear
from jax_imgrad._banded import apply
from jax_imgrad._differences import has_next, next_pixel, shift_along, zero_margin
from jax_imgrad._dtypes import accumulator, float_of
from jax_imgrad._jax import jit_is_disabled
from jax_imgrad._norms import ratio
from jax_imgrad._replicated import before_shift
from jax_imgrad._stencils import SeparableStencil, as_differences, indicator
from jax_imgrad._toeplitz import is_wide
from jax_imgrad.typing import Reduction

Mask = jax.Array | None


def without_invalid(image: jax.Array, valid: Mask, instead: float = 0) -> jax.Array:
    """The image, set to 0, or to `instead`, where it is not valid."""
    if valid is None:
        return image
    if jit_is_disabled():
        # Without jit, `jnp.where` converts its operands one by one, and
        # `jax.debug_nans` reports a NaN in them even where it is not selected.
        # `lax.select` converts nothing. Under jit, `jnp.where` is used, since it takes
        # operands with different shardings.
        valid = jnp.broadcast_to(valid, image.shape)
        return lax.select(valid, image, jnp.full_like(image, instead))
    return jnp.where(valid, image, jnp.asarray(instead, image.dtype))


def valid_floats(images: Sequence[jax.Array], valid: Mask) -> list[jax.Array]:
    """The images of a loss in a common floating dtype, set to 0 where not valid.

    They are masked before the cast, since `jax.debug_nans` reports a NaN that is cast.
    """
    dtype = float_of(*(image.dtype for image in images))
    return [without_invalid(image, valid).astype(dtype) for image in images]


def valid_residual(
    predictions: jax.Array, targets: jax.Array, valid: Mask
) -> jax.Array:
    """`predictions - targets` in at least float32, set to 0 where it is not valid."""
    pair = valid_floats([predictions, targets], valid)
    prediction, target = (image.astype(accumulator(image.dtype)) for image in pair)
    return prediction - target


def valid_differences(
    valid: Mask, stencils: tuple[SeparableStencil, ...]
) -> list[jax.Array]:
    """For each stencil, the outputs that exist and whose pixels are all valid.

    A list of one mask per stencil, or an empty list if `valid` is None. An output does
    not exist if the boundary condition is "interior" and a tap has no pixel. Its pixels
    are those that its taps read and the pixel at which it is, whose weight it has.
    """
    if valid is None:
        return []
    differences = as_differences(stencils)
    if differences is None:
        return [valid & existing_outputs(valid, separable) for separable in stencils]
    valid = before_shift(valid)
    masks = []
    for axis, boundary, _ in differences:
        valid_next = next_pixel(valid, axis, boundary == "wrap")
        if boundary == "constant":  # the zeros beyond the border are valid
            valid_next |= ~has_next(valid, axis)
        masks.append(valid & valid_next)
    return masks


def existing_outputs(valid: jax.Array, stencil: SeparableStencil) -> jax.Array:
    """Where an output exists, and every pixel that it reads is valid."""
    mask = valid_outputs(valid, stencil)
    for axis, factor in stencil:
        mask = zero_margin(mask, axis, factor.margin)
    return mask


def number_of_outputs(
    shape: tuple[int, ...], stencil: SeparableStencil, dtype: Any
) -> jax.Array:
    """How many outputs of a stencil exist in each image of a shape `[B, ...]`."""
    margins = {axis: sum(factor.margin) for axis, factor in stencil}
    # As arrays, since a size may be symbolic.
    sizes = [
        jnp.maximum(jnp.asarray(size - margins.get(axis, 0), dtype), 0)
        for axis, size in enumerate(shape)
    ]
    return functools.reduce(jnp.multiply, sizes[1:])


def valid_outputs(valid: jax.Array, stencil: SeparableStencil) -> jax.Array:
    """Where every pixel that a stencil reads is valid.

    The stencil with all weights 1 counts the invalid pixels that an output reads, by
    way of the boundary condition too; an output with a count of 0 is valid.
    """
    invalid = (~before_shift(valid)).astype(jnp.float32)
    counting = indicator(stencil)
    if not any(is_wide(factor, valid.shape) for factor in counting):
        return apply(counting, invalid, shift_along) == 0
    # How it is computed depends on the number of devices, which is not known here.
    (count,) = _linear.stencil([invalid], ((counting,),), None)
    return count == 0


def jointly_valid(
    valid: jax.Array, stencils: tuple[SeparableStencil, ...]
) -> jax.Array:
    """Where every pixel that any of the stencils reads is valid."""
    masks = [valid_outputs(valid, separable) for separable in stencils]
    return functools.reduce(jnp.logical_and, masks)


def reduced(
    total: jax.Array, valid: Mask, shape: tuple[int, ...], reduction: Reduction
) -> jax.Array:
    """The sum of each image, or its mean over valid pixels; 0 if no pixel is valid.

    `total` is the sum over each image, `[B]`, and `shape` the shape of the images.
    """
    if reduction != "mean":
        return total
    return ratio(total, count(valid, shape, total.dtype))


def count(valid: Mask, shape: tuple[int, ...], dtype) -> jax.Array:
    """The number of valid pixels of each image, `[B]`."""
    valid = jnp.ones((1,) * len(shape), bool) if valid is None else valid
    axes = tuple(range(1, len(shape)))
    # Counted in integers, then cast: a sum of ones in float32 stops at 2**24.
    return jnp.broadcast_to(valid, shape).sum(axes).astype(dtype)
