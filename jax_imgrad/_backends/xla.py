"""The definition of the operations: stencils, and sums of penalties of differences.

Read this back end first; the others compute the same. Every step keeps the shape of the
image, see `_differences.py`, so XLA fuses the steps into one loop without temporaries
on every platform.

A stencil along several axes shifts along one axis after the other, so that devices
exchange each sharded row only once. One device exchanges nothing, and shifts at once
(`shift_by=shift_at_once`): XLA for TPU materializes an array that is shifted again, but
not the image itself.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._banded import Shift, times
from jax_imgrad._differences import (
    has_next,
    has_previous,
    next_pixel,
    previous_pixel,
    shift_along,
)
from jax_imgrad._dtypes import accumulator, derivative_dtype, upcast
from jax_imgrad._penalties import Coupled, half_quadratic
from jax_imgrad._platforms import materialize
from jax_imgrad._replicated import before_shift
from jax_imgrad._stencils import (
    Difference,
    Maps,
    SeparableStencil,
    as_differences,
    transpose,
)
from jax_imgrad._toeplitz import apply, merged
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
    images = [before_shift(image) for image in images]
    results = [sum_of_stencils(row, images, shift_by).astype(dtype) for row in maps]
    return [jnp.stack(results, axis=-1)] if stacked else results


def sum_of_stencils(
    stencils: Sequence[SeparableStencil], images: Sequence[jax.Array], shift_by: Shift
) -> jax.Array:
    """The sum over k of stencil k applied to image k, in the accumulation dtype."""
    dtype = accumulator(images[0].dtype)
    terms = [
        apply(separable, image.astype(dtype), shift_by)
        for separable, image in zip(*merged(stencils, images), strict=True)
    ]
    return functools.reduce(jnp.add, terms)


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    shift_by: Shift = shift_along,
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    images = [before_shift(image) for image in images]
    if isinstance(penalty, Coupled):
        images, parameters = channels_of(images[0], parameters)
    return _sum(penalty(_outputs(images, stencils, shift_by), parameters))


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
    stencils: tuple[SeparableStencil, ...],
    shift_by: Shift = shift_along,
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image: the transposed stencils of the flux.

    For forward differences, the transposed stencil along axis a is

        q_a[j - e_a] - q_a[j]

    Along axis a, the flux q_a[j] leaves pixel j for its next pixel, if there is one;
    the flux q_a[j - e_a] enters it from its previous pixel, if there is one. A flux
    depends on the differences along all axes at the pixel that it leaves. So for each
    axis, the entering flux is computed again, from the differences of the previous
    pixel. To shift the leaving flux instead, XLA would have to store it.
    """
    images = [before_shift(image) for image in images]
    parameters = [before_shift(parameter) for parameter in parameters]
    if isinstance(penalty, Coupled):
        return _of_coupled_channels(penalty, images[0], parameters, stencils, shift_by)
    differences = as_differences(stencils)
    if differences is None:
        values, gradients = _of_any_stencils(
            penalty, images, parameters, stencils, shift_by
        )
    else:
        values, gradients = _of_differences(penalty, images, parameters, differences)
    # Without the barrier, XLA for GPU would merge this sum with a sum of the caller's
    # over the batch, and compute that together with the gradient, which takes 2 to 15
    # times as long.
    total = lax.optimization_barrier(_sum(values))
    dtypes = [derivative_dtype(image.dtype) for image in images]
    return total, [g.astype(d) for g, d in zip(gradients, dtypes, strict=True)]


def _of_differences(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    differences: tuple[Difference, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The penalty of each pixel, and the gradients."""
    of_pixels = _differences(images, differences)
    values, leaving = flux(penalty, of_pixels, parameters)
    gradients = [jnp.zeros_like(of_image[0]) for of_image in of_pixels]
    for i, difference in enumerate(differences):
        of_previous = _differences(images, differences, before=difference)
        shifted = [_of_previous(p, difference) if p.ndim else p for p in parameters]
        _, entering = flux(penalty, of_previous, shifted)
        for k, gradient in enumerate(gradients):
            enters, leaves = entering[k][i], leaving[k][i]
            if difference.boundary != "wrap":
                enters = jnp.where(has_previous(images[0], difference.axis), enters, 0)
            if difference.boundary == "interior":
                leaves = jnp.where(has_next(images[0], difference.axis), leaves, 0)
            gradients[k] = gradient + times(enters - leaves, difference.factor)
    return values, gradients


def _of_previous(parameter: jax.Array, difference: Difference) -> jax.Array:
    """The parameter of the previous pixel; if there is none, that of the pixel itself.

    A 0 in its place could be a delta of 0, which makes a NaN. The NaN would not be
    selected, but `jax.debug_nans` would report it.
    """
    axis, wraps = difference.axis, difference.boundary == "wrap"
    previous = previous_pixel(parameter, axis, wraps)
    if wraps:
        return previous
    return jnp.where(has_previous(parameter, axis), previous, parameter)


def _of_any_stencils(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    shift_by: Shift,
) -> tuple[jax.Array, list[jax.Array]]:
    """The penalty of each pixel, and the gradients."""
    values, fluxes = flux(penalty, _outputs(images, stencils, shift_by), parameters)
    # Without the barrier, XLA would compute the flux again for each of the taps.
    fluxes = lax.optimization_barrier(fluxes)
    transposed = [transpose(separable) for separable in stencils]
    return values, [sum_of_stencils(transposed, q, shift_by) for q in fluxes]


def _of_coupled_channels(
    penalty: Coupled,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    shift_by: Shift,
) -> tuple[jax.Array, list[jax.Array]]:
    """The same for a `Coupled` penalty, whose flux is a weight times a difference.

    The weight of a pixel depends on all its channels, and every channel needs it, so it
    is computed once and stored.
    """
    total = functional(penalty, [image], parameters, stencils, shift_by)
    # Without the barrier, XLA for GPU would compute the weight in the same kernel as
    # the penalty, and store the arrays that both are computed from.
    channels, of_channel = channels_of(materialize(image, "cuda", "rocm"), parameters)
    weight = penalty.weight(_outputs(channels, stencils, shift_by), of_channel)
    # Without the barrier, XLA for GPU would compute the weight again for each channel
    # and neighbor, and XLA for CPU would store two arrays that it is computed from.
    weight = lax.optimization_barrier(weight)[..., None]
    with_weight = [
        jnp.broadcast_to(weight, image.shape),
        *penalty.masks(parameters),
    ]
    _, gradients = functional_and_gradient(
        half_quadratic, [image], with_weight, stencils, shift_by
    )
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


def _outputs(
    images: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
    shift_by: Shift,
) -> list[list[jax.Array]]:
    """The stencils applied to each image, in the dtype to accumulate in."""
    differences = as_differences(stencils)
    if differences is not None:
        return _differences(images, differences)
    return [
        [apply(separable, image, shift_by) for separable in stencils]
        for image in map(upcast, images)
    ]


def _differences(
    images: Sequence[jax.Array],
    differences: tuple[Difference, ...],
    before: Difference | None = None,
) -> list[list[jax.Array]]:
    """The differences of each image along each axis, in the dtype to accumulate in.

    At each pixel, they are those of the pixel itself or, with `before`, those of the
    previous pixel along the axis of `before`. If there is none, they are arbitrary.
    Differences that do not exist are 0.
    """

    def along(image: jax.Array, difference: Difference) -> jax.Array:
        axis, boundary, factor = difference
        pixel, following = image, None
        if before is not None:
            pixel = previous_pixel(image, before.axis, before.boundary == "wrap")
            if difference == before:
                # The next pixel of the previous pixel is the pixel itself.
                following = image
                if boundary == "interior":
                    following = jnp.where(has_previous(image, axis), image, 0)
        if following is None:
            following = next_pixel(pixel, axis, boundary == "wrap")
            if boundary == "interior":
                pixel = jnp.where(has_next(pixel, axis), pixel, 0)
        return times(following - pixel, factor)

    return [[along(image, d) for d in differences] for image in map(upcast, images)]


def _sum(values: jax.Array) -> jax.Array:
    return values.sum(tuple(range(1, values.ndim)))
