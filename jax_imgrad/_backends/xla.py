"""The definition of the operations: stencils, and sums of penalties of differences.

Read this back end first; the others compute the same. Every step keeps the shape of the
image, see `_differences.py`, so XLA fuses the steps into one loop without temporaries
on every platform.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._banded import Shift, apply
from jax_imgrad._differences import (
    difference,
    has_next,
    has_previous,
    shift,
    shift_along,
    shift_at_once,
)
from jax_imgrad._dtypes import accumulator, derivative_dtype, upcast
from jax_imgrad._penalties import Coupled, half_quadratic
from jax_imgrad._platforms import materialize
from jax_imgrad._stencils import Maps, SeparableStencil
from jax_imgrad._types import PenaltyFunction


def why_not(operand_type: Any, maps: Maps | None, stacked: bool) -> None:
    """Always None: this back end computes everything."""
    del operand_type, maps, stacked


def stencil(
    images: Sequence[jax.Array],
    maps: Maps,
    stacked: bool,
    shift_by: Shift = shift_along,
) -> list[jax.Array]:
    """For each row of `maps`, the sum of its stencils applied to the images."""
    dtype = images[0].dtype
    results = [sum_of_stencils(row, images, shift_by).astype(dtype) for row in maps]
    return [jnp.stack(results, axis=-1)] if stacked else results


def sum_of_stencils(
    stencils: Sequence[SeparableStencil], images: Sequence[jax.Array], shift_by: Shift
) -> jax.Array:
    """The sum over k of stencil k applied to image k, in the accumulation dtype."""
    dtype = accumulator(images[0].dtype)
    terms = [
        apply(separable, image.astype(dtype), shift_by)
        for separable, image in zip(stencils, images, strict=True)
    ]
    return functools.reduce(jnp.add, terms)


def stencil_on_one_device(
    images: Sequence[jax.Array], maps: Maps, stacked: bool
) -> list[jax.Array]:
    """The same as `stencil`, for one device: each tap is one shift of the image.

    `stencil` shifts along one axis after the other, so that devices exchange each
    sharded row only once. One device exchanges nothing. And XLA for TPU materializes an
    array that is shifted again, but not the image itself.
    """
    return stencil(images, maps, stacked, shift_at_once)


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    if isinstance(penalty, Coupled):
        images, parameters = channels_of(images[0], parameters)
    return _sum(penalty(_differences(images, axes), parameters))


def channels_of(
    image: jax.Array, parameters: Sequence[jax.Array]
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The channels as separate images, and the parameters in the shape of a channel.

    A parameter must be the same in all the channels of a pixel.
    """
    channels = [image[..., channel] for channel in range(image.shape[-1])]
    return channels, [p[..., 0] if p.ndim else p for p in parameters]


def functional_and_gradient(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image: minus the divergence of the flux.

    `_functional.py` derives, for the flux q_a along axis a,

        dL/du[j] = sum over a of q_a[j - e_a] - q_a[j]

    Along axis a, the flux q_a[j] leaves pixel j for its next pixel, if there is one;
    the flux q_a[j - e_a] enters it from its previous pixel, if there is one. A flux
    depends on the differences along all axes at the pixel that it leaves. So for each
    axis, the entering flux is computed again, from the differences of the previous
    pixel. To shift the leaving flux instead, XLA would have to store it.
    """
    if isinstance(penalty, Coupled):
        return _of_coupled_channels(penalty, images[0], parameters, axes)
    differences = _differences(images, axes)
    values, leaving = flux(penalty, differences, parameters)
    gradients = [jnp.zeros_like(of_image[0]) for of_image in differences]
    for i, axis in enumerate(axes):
        next_exists = has_next(images[0], axis)
        previous_exists = has_previous(images[0], axis)
        shifted = [
            _of_previous(p, axis, previous_exists) if p.ndim else p for p in parameters
        ]
        _, entering = flux(penalty, _differences(images, axes, before=axis), shifted)
        for k, gradient in enumerate(gradients):
            gradient += jnp.where(previous_exists, entering[k][i], 0)
            gradients[k] = gradient - jnp.where(next_exists, leaving[k][i], 0)
    # Without the barrier, XLA for GPU would merge this sum with a sum of the caller's
    # over the batch, and compute that together with the gradient, which takes 2 to 15
    # times as long.
    total = lax.optimization_barrier(_sum(values))
    dtypes = [derivative_dtype(image.dtype) for image in images]
    return total, [g.astype(d) for g, d in zip(gradients, dtypes, strict=True)]


def _of_previous(parameter: jax.Array, axis: int, exists: jax.Array) -> jax.Array:
    """The parameter of the previous pixel; for the first pixel, its own parameter.

    A 0 in its place could be a delta of 0, which makes a NaN. The NaN would not be
    selected, but `jax.debug_nans` would report it.
    """
    return jnp.where(exists, shift(parameter, axis, -1), parameter)


def _of_coupled_channels(
    penalty: Coupled,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The same for a `Coupled` penalty, whose flux is a weight times a difference.

    The weight of a pixel depends on all its channels, and every channel needs it, so it
    is computed once and stored.
    """
    total = functional(penalty, [image], parameters, axes)
    # Without the barrier, XLA for GPU would compute the weight in the same kernel as
    # the penalty, and store the arrays that both are computed from.
    channels, of_channel = channels_of(materialize(image, "cuda", "rocm"), parameters)
    weight = penalty.weight(_differences(channels, axes), of_channel)
    # Without the barrier, XLA for GPU would compute the weight again for each channel
    # and neighbor, and XLA for CPU would store two arrays that it is computed from.
    weight = lax.optimization_barrier(weight)[..., None]
    with_weight = [jnp.broadcast_to(weight, image.shape), *parameters[1:]]
    _, gradients = functional_and_gradient(half_quadratic, [image], with_weight, axes)
    # As in `functional_and_gradient`.
    return lax.optimization_barrier(total), gradients


def flux(
    penalty: PenaltyFunction,
    differences: Sequence[Sequence[jax.Array]],
    parameters: Sequence[jax.Array],
) -> tuple[jax.Array, list[list[jax.Array]]]:
    """The penalty of the differences, and the flux: its derivative by each of them."""
    values, pullback = jax.vjp(lambda d: penalty(d, parameters), differences)
    return values, pullback(jnp.ones_like(values))[0]


def _differences(
    images: Sequence[jax.Array], axes: tuple[int, ...], before: int | None = None
) -> list[list[jax.Array]]:
    """The differences of each image along each axis, in the dtype to accumulate in.

    At each pixel, they are those of the pixel itself or, with `before`, those of the
    previous pixel along the axis `before`. Differences that do not exist are 0.
    """

    def along(image: jax.Array, axis: int) -> jax.Array:
        if before is None:
            return difference(image, axis)
        previous = shift(image, before, -1)
        if axis == before:
            # The next pixel of the previous pixel is the pixel itself.
            return jnp.where(has_previous(image, axis), image, 0) - previous
        return difference(previous, axis)

    return [[along(image, axis) for axis in axes] for image in map(upcast, images)]


def _sum(values: jax.Array) -> jax.Array:
    return values.sum(tuple(range(1, values.ndim)))
