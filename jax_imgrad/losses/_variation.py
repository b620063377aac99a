"""The sum of a penalty of stencils, with the options that most losses share."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jax_imgrad._functional import functional
from jax_imgrad._masks import (
    Mask,
    count,
    number_of_outputs,
    ratio,
    reduced,
    valid_differences,
    valid_outputs,
    without_invalid,
)
from jax_imgrad._penalties import Variation
from jax_imgrad._stencils import SeparableStencil
from jax_imgrad.typing import Implementation, Reduction


def reduced_variation(
    rho: Variation,
    images: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    *,
    pixels: tuple[int, ...],
    delta: jax.Array,
    weights: Sequence[jax.Array],
    valid: Mask,
    reduction: Reduction,
    subtract_delta: bool,
    implementation: Implementation | None,
) -> jax.Array:
    """The penalty of the stencils of each image, reduced to `[B]`.

    Args:
      rho: the penalty; its `weights` are set here.
      images: the images, 0 where they are not valid.
      stencils: the differences to penalize.
      pixels: the shape of what the mean counts: that of the images, or, if `rho` takes
        all channels of a pixel together, that of one of their channels.
      delta: a scalar, or an array that broadcasts to `pixels`.
      weights: none, one for each pixel, or one for each stencil; each like `delta`.
      valid: mask of the valid pixels, likewise.
      reduction: "sum"; "mean", over the valid pixels; "axis_mean", the sum of the means
        over the valid outputs of each stencil.
      subtract_delta: False adds delta to each penalty.
      implementation: the back end.
    """
    shape = images[0].shape
    masks = _masks(rho, valid, stencils)
    if delta.ndim:
        # Not 0 at invalid pixels: a delta of 0 could make a NaN.
        delta = without_invalid(jnp.broadcast_to(delta, pixels), valid, instead=1)
    weights = [
        without_invalid(jnp.broadcast_to(w, pixels), valid) if w.ndim else w
        for w in weights
    ]
    if reduction == "axis_mean":
        weights = _divided(weights, masks, stencils, pixels, delta.dtype)
    total = functional(
        dataclasses.replace(rho, weights=len(weights)),
        images,
        [_broadcast(p, shape) for p in (delta, *weights, *masks)],
        stencils=stencils,
        implementation=implementation,
    )
    if not subtract_delta:
        total += _sum_of_delta(rho, delta, weights, valid, stencils, pixels)
    return reduced(total, valid, pixels, reduction)


def _masks(
    rho: Variation, valid: Mask, stencils: tuple[SeparableStencil, ...]
) -> list[jax.Array]:
    """The valid outputs of each stencil; none if `valid` is None.

    The outputs of stencils whose sum is penalized are one output, which is valid if all
    the pixels that it reads are. As in `jax_imgrad.laplacian`, those of them that do
    not exist count as 0.
    """
    if valid is None or not rho.summed:
        return valid_differences(valid, stencils)
    masks = [valid, *(valid_outputs(valid, separable) for separable in stencils)]
    return [functools.reduce(jnp.logical_and, masks)] * len(stencils)


def _broadcast(parameter: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The parameter in this shape, except that a scalar stays one."""
    return jnp.broadcast_to(parameter, shape) if parameter.ndim else parameter


def _divided(
    weights: Sequence[jax.Array],
    masks: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    shape: tuple[int, ...],
    dtype,
) -> list[jax.Array]:
    """The weight of each stencil, divided by the number of its valid outputs."""
    if masks:
        numbers = [count(mask, shape, dtype) for mask in masks]
        numbers = [number.reshape(-1, *[1] * (len(shape) - 1)) for number in numbers]
    else:
        numbers = [number_of_outputs(shape, s, dtype) for s in stencils]
    shares = [ratio(jnp.ones_like(number), number) for number in numbers]
    if not weights:
        return shares
    of_each = one_for_each(weights, len(stencils))
    return [w * share for w, share in zip(of_each, shares, strict=True)]


def one_for_each(weights: Sequence[jax.Array], count: int) -> Sequence[jax.Array]:
    """The weights, of which a single one is repeated."""
    return [*weights] * count if len(weights) == 1 else weights


def _sum_of_delta(
    rho: Variation,
    delta: jax.Array,
    weights: Sequence[jax.Array],
    valid: Mask,
    stencils: tuple[SeparableStencil, ...],
    shape: tuple[int, ...],
) -> jax.Array:
    """The sum over all penalties of their delta times their weight, `[B]`."""
    valid = jnp.ones(shape, bool) if valid is None else valid
    # A penalty of all differences of a pixel is one for each pixel, also where some of
    # them are 0 because they do not exist.
    masks = [valid] if rho.isotropic else _masks(rho, valid, stencils)
    masks = masks[:1] if rho.summed else masks
    of_each = one_for_each(weights or [jnp.ones((), delta.dtype)], len(masks))
    deltas = [
        jnp.where(mask, w * delta, 0) for mask, w in zip(masks, of_each, strict=True)
    ]
    total = functools.reduce(jnp.add, deltas)
    return jnp.broadcast_to(total, shape).sum(tuple(range(1, len(shape))))
