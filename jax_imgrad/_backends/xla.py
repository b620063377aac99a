"""The definition: stencils, and sums of penalties of differences. Read this one first.

Every step keeps the shape of the image, as in `_differences.py`. From that, XLA makes
one loop without temporaries, on every platform.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._banded import Shifted, apply
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


def why_not(operand: jax.Array, maps: Maps | None, stacked: bool) -> None:
    """It computes everything."""
    del operand, maps, stacked


def stencil(
    images: Sequence[jax.Array],
    maps: Maps,
    stacked: bool,
    shifted: Shifted = shift_along,
) -> list[jax.Array]:
    """For each row of `maps`, the sum of its stencils applied to the images."""
    results = [sum_of_stencils(row, images, shifted) for row in maps]
    return [jnp.stack(results, axis=-1)] if stacked else results


def sum_of_stencils(
    stencils: Sequence[SeparableStencil], images: Sequence[jax.Array], shifted: Shifted
) -> jax.Array:
    """The sum of stencils, each applied to an image of its own."""
    dtype = accumulator(images[0].dtype)
    terms = [
        apply(one, image.astype(dtype), shifted)
        for one, image in zip(stencils, images, strict=True)
    ]
    return functools.reduce(jnp.add, terms).astype(images[0].dtype)


def stencil_on_one_device(
    images: Sequence[jax.Array], maps: Maps, stacked: bool
) -> list[jax.Array]:
    """The same, reading an image at all taps at once.

    `stencil` shifts an image by rows, then that by columns: of sharded rows, devices
    exchange each once. One device exchanges nothing; and a TPU materializes what is
    shifted, unless each tap is a shift of the image itself.
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
    """The channels as separate images, and the parameters in their shape."""
    channels = [image[..., channel] for channel in range(image.shape[-1])]
    # A parameter is the same in all the channels of a pixel.
    return channels, [p[..., 0] if p.ndim else p for p in parameters]


def functional_and_gradient(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image: minus the divergence of the flux.

    The flux that leaves a pixel is the derivative of the penalty by its differences.
    The flux that enters it leaves its previous pixel, and is computed again from the
    pixels there: to move the flux, or the differences, they would have to be stored.
    """
    if isinstance(penalty, Coupled):
        return _of_coupled_channels(penalty, images[0], parameters, axes)
    differences = _differences(images, axes)
    values, leaving = flux(penalty, differences, parameters)
    gradients = [jnp.zeros_like(along[0]) for along in differences]
    for i, axis in enumerate(axes):
        next_exists = has_next(images[0], axis)
        previous_exists = has_previous(images[0], axis)
        moved = [
            _of_previous(p, axis, previous_exists) if p.ndim else p for p in parameters
        ]
        _, entering = flux(penalty, _differences(images, axes, before=axis), moved)
        for k, gradient in enumerate(gradients):
            gradient += jnp.where(previous_exists, entering[k][i], 0)
            gradients[k] = gradient - jnp.where(next_exists, leaving[k][i], 0)
    # XLA for GPU would otherwise make one sum of this and a caller's over the batch,
    # which it computes beside the gradient in two to fifteen times the time.
    total = lax.optimization_barrier(_sum(values))
    dtypes = [derivative_dtype(image.dtype) for image in images]
    return total, [g.astype(d) for g, d in zip(gradients, dtypes, strict=True)]


def _of_previous(parameter: jax.Array, axis: int, exists: jax.Array) -> jax.Array:
    """The parameter of the previous pixel; of the first pixel its own.

    It must not be 0 there: a delta of 0 makes a NaN, which is not selected, but which
    `jax.debug_nans` finds.
    """
    return jnp.where(exists, shift(parameter, axis, -1), parameter)


def _of_coupled_channels(
    penalty: Coupled,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The same, of coupled channels: the flux is a weight times a difference.

    The weight of a pixel depends on all of its channels, and each of them needs it: it
    is stored.
    """
    total = functional(penalty, [image], parameters, axes)
    # XLA for GPU would otherwise compute the weight beside the penalty, and store what
    # both are made of.
    channels, given = channels_of(materialize(image, "cuda", "rocm"), parameters)
    weight = penalty.weight(_differences(channels, axes), given)
    # XLA for GPU would otherwise compute it anew for each channel and neighbor, and XLA
    # for CPU store two arrays that it is made of.
    weight = lax.optimization_barrier(weight)[..., None]
    given = [jnp.broadcast_to(weight, image.shape), *parameters[1:]]
    _, gradients = functional_and_gradient(half_quadratic, [image], given, axes)
    # As in `functional_and_gradient`.
    return lax.optimization_barrier(total), gradients


def flux(
    penalty: PenaltyFunction,
    differences: Sequence[Sequence[jax.Array]],
    parameters: Sequence[jax.Array],
) -> tuple[jax.Array, list[list[jax.Array]]]:
    """The penalty of the differences, and its derivative by each of them."""
    values, pullback = jax.vjp(lambda d: penalty(d, parameters), differences)
    return values, pullback(jnp.ones_like(values))[0]


def _differences(
    images: Sequence[jax.Array], axes: tuple[int, ...], before: int | None = None
) -> list[list[jax.Array]]:
    """Of each image, along each axis, in the dtype to accumulate in.

    Those of each pixel, or of the one `before` it along an axis, 0 where there is none.
    """

    def along(image: jax.Array, axis: int) -> jax.Array:
        if before is None:
            return difference(image, axis)
        previous = shift(image, before, -1)
        if axis == before:
            return jnp.where(has_previous(image, axis), image, 0) - previous
        return difference(previous, axis)

    return [[along(image, axis) for axis in axes] for image in map(upcast, images)]


def _sum(values: jax.Array) -> jax.Array:
    return values.sum(tuple(range(1, values.ndim)))
