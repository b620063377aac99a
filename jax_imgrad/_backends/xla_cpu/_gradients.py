"""The derivative of the sum, in one loop over long rows.

`_functional.py` derives, for the flux q_a along axis a,

    dL/du[j] = sum over a of q_a[j - e_a] - q_a[j]

the flux that enters pixel j less the flux that leaves it, where a flux from or to a
pixel that does not exist is 0. In flattened axes, e_a is the stride of axis a.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla import flux
from jax_imgrad._backends.xla_cpu._range import (
    factor_of_mean,
    factor_per_row,
    rescaled_delta,
    squares_may_leave,
)
from jax_imgrad._backends.xla_cpu._rows import (
    flatten_axes,
    materialize_rows,
    one_by_one,
)
from jax_imgrad._backends.xla_cpu._sums import functional
from jax_imgrad._differences import shift
from jax_imgrad._dtypes import derivative_dtype, upcast
from jax_imgrad._penalties import Coupled, half_quadratic
from jax_imgrad._types import PenaltyFunction

# With several images (such as a prediction and a target), batches of images with at
# least this many numbers are computed one image at a time.
_LARGE = 2**16


def functional_and_gradient(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image."""
    shape = images[0].shape
    if 0 in shape:
        return xla.functional_and_gradient(penalty, images, parameters, axes)
    several = len(images) > 1
    if several and shape[0] > 1 and math.prod(shape[1:]) >= _LARGE:
        function = functools.partial(functional_and_gradient, penalty, axes=axes)
        return one_by_one(function, images, parameters)
    total = functional(penalty, images, parameters, axes)
    factor = None
    if squares_may_leave(penalty):
        penalty = penalty.assuming_in_range()
        factor = factor_of_mean(total, parameters[0], images[0])
    if isinstance(penalty, Coupled):
        weight = _weight(penalty, images[0], parameters, axes, factor)
        parameters, penalty, factor = [weight, *parameters[1:]], half_quadratic, None
    # Without the barrier, XLA for CPU would compute the parameters again for each
    # neighbor that reads them.
    parameters = lax.optimization_barrier(list(parameters))
    rows, parameters, strides = flatten_axes(
        [materialize_rows(image) for image in images], parameters, axes
    )
    if several:
        gradients = _gradients_of_several(penalty, rows, parameters, strides)
    else:
        gradients = [_gradient_of_one(penalty, rows[0], parameters, strides, factor)]
    dtype = derivative_dtype(images[0].dtype)
    # Without the barrier, XLA for CPU would fuse the last reshape into the loop of a
    # caller that scales the derivative. That loop could then not write in place, which
    # takes temporaries of one more image.
    return total, [
        lax.optimization_barrier(
            materialize_rows(gradient.astype(dtype)).reshape(shape)
        )
        for gradient in gradients
    ]


def _weight(
    penalty: Coupled,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
    factor: jax.Array | None,
) -> jax.Array:
    """The weight of coupled channels, stored in the shape of the image.

    It is computed once for each pixel and repeated for its channels.
    """
    channels, parameters = xla.channels_of(image, parameters)
    # Without the barrier, XLA for CPU would read the channels from the interleaved
    # image in the loop that computes the weight, which is slower than to separate them
    # first.
    channels = lax.optimization_barrier(channels)
    rows, parameters, strides = flatten_axes(channels, parameters, axes)
    assert factor is not None  # `Coupled` penalties have norms
    factor = factor_per_row(factor, rows[0])
    differences = jax.tree.map(lambda d: d * factor, _differences(rows, strides))
    delta, *valid = parameters
    weight = penalty.weight(differences, [rescaled_delta(delta, factor), *valid])
    # Without the barrier, XLA for CPU would compute a part of the weight in the loop
    # that broadcasts it, and store all the differences as input of both loops.
    weight = lax.optimization_barrier(weight * factor)
    return jnp.broadcast_to(weight.reshape(*image.shape[:-1], 1), image.shape)


def _gradients_of_several(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    strides: Sequence[int],
) -> list[jax.Array]:
    """The derivative by each of several images.

    The flux of an image depends on all images, so to compute it twice would be slow: it
    is stored.
    """
    _, fluxes = flux(penalty, _differences(images, strides), parameters)
    # Without the barrier, XLA for CPU would compute each flux again where it enters the
    # next pixel.
    fluxes = lax.optimization_barrier(fluxes)
    # The leaving flux is 0 at the last pixel along an axis, where the difference is 0.
    return [
        functools.reduce(
            jnp.add,
            [
                shift(along_axis, axis, -stride) - along_axis
                for axis, (along_axis, stride) in enumerate(
                    zip(of_image, strides, strict=True), 1
                )
            ],
        )
        for of_image in fluxes
    ]


def _differences(
    images: Sequence[jax.Array], strides: Sequence[int]
) -> list[list[jax.Array]]:
    """The differences of each image along each axis, in the dtype to accumulate in."""
    return [
        [_difference(image, axis, stride) for axis, stride in enumerate(strides, 1)]
        for image in map(upcast, images)
    ]


def _difference(image: jax.Array, axis: int, stride: int) -> jax.Array:
    """The difference of the definition, computed from slices.

    Of the shifts of the definition, XLA for CPU would store several.
    """
    end = image.shape[axis] - stride
    inside = lax.slice_in_dim(image, stride, None, axis=axis) - lax.slice_in_dim(
        image, 0, end, axis=axis
    )
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (0, stride, 0)
    return lax.pad(inside, jnp.zeros((), image.dtype), padding)


def _gradient_of_one(
    penalty: PenaltyFunction,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    strides: Sequence[int],
    factor: jax.Array | None,
) -> jax.Array:
    """The derivative by a single image.

    Each flux is computed twice, at the pixel that it leaves and at the pixel that it
    enters, since to write it to an array and read it again would be slower.
    """
    gradient: Any = 0
    if factor is not None:
        factor = factor_per_row(factor, image)
    for axis, stride in enumerate(strides, start=1):
        fluxes = []
        # The offset of the pixel that the flux leaves: this pixel, or the previous one.
        for offset in (0, -stride):
            # Without the barrier, XLA for CPU would find that both loop iterations
            # compute the same flux, and store it. With it, the images look different.
            image = lax.optimization_barrier(image)
            differences = [
                _difference_at(upcast(image), other, strides, {axis: offset})
                for other in range(1, 1 + len(strides))
            ]
            # A first pixel has no previous one, and takes its own parameters instead.
            exists = _index(image, axis) >= -offset
            shifted = [
                jnp.where(exists, _pixels_at(p, {axis: offset}), p)
                if p.ndim and offset
                else p
                for p in parameters
            ]
            if factor is not None:
                differences = [d * factor for d in differences]
                shifted[0] = rescaled_delta(shifted[0], factor)
            _, (of_image,) = flux(penalty, [differences], shifted)
            fluxes.append(of_image[axis - 1])
        leaving, entering = fluxes
        gradient = gradient + entering - leaving
    return gradient


def _difference_at(
    image: jax.Array, axis: int, strides: Sequence[int], offset: Mapping[int, int]
) -> jax.Array:
    """At each pixel, the difference along `axis` of the pixel `offset` away.

    It is 0 where that pixel has no next one along `axis`, and where an offset along
    `axis` leads to no pixel. Where an offset along another axis leads to no pixel, it
    is arbitrary: the flux along that other axis is 0 there for any value of it.
    """
    stride, before = strides[axis - 1], -offset.get(axis, 0)
    index = _index(image, axis)
    exists = index >= before if before else index < image.shape[axis] - stride
    next_offset = {**offset, axis: stride - before}
    difference = _pixels_at(image, next_offset) - _pixels_at(image, offset)
    return jnp.where(exists, difference, 0)


def _index(image: jax.Array, axis: int) -> jax.Array:
    """The index of each pixel along an axis; it broadcasts against the image."""
    shape = [size if i == axis else 1 for i, size in enumerate(image.shape)]
    return lax.broadcasted_iota(jnp.int32, shape, axis)


def _pixels_at(image: jax.Array, offset: Mapping[int, int]) -> jax.Array:
    """At each pixel, the pixel `offset` away; an arbitrary one if it does not exist."""
    last = image.ndim - 1
    # Rows first: XLA for CPU reads a moved row where it is, without storing it.
    for axis, by in sorted(offset.items()):
        if by == 0:
            continue
        if axis == last:
            image = _along_row(image, by)
        else:
            # A gather of whole rows, with indices clipped to those that exist. A branch
            # in the loop could keep XLA for CPU from vectorizing it.
            rows = jnp.clip(
                jnp.arange(image.shape[axis]) + by, 0, image.shape[axis] - 1
            )
            image = image.at[(slice(None),) * axis + (rows,)].get(
                mode="promise_in_bounds", indices_are_sorted=True
            )
    return image


def _along_row(image: jax.Array, by: int) -> jax.Array:
    """The image shifted along its last axis."""
    last = image.ndim - 1
    if by > 0 or image.dtype.kind != "f":
        return shift(image, last, by)
    # Shifted as bits. The pixel before this one is the pixel that the previous
    # iteration of the loop has read. With floats, the compiler would keep it from
    # there, which makes each iteration depend on the one before, so that the loop is
    # not vectorized.
    bits = lax.bitcast_convert_type(image, f"uint{8 * image.dtype.itemsize}")
    return lax.bitcast_convert_type(shift(bits, last, by), image.dtype)
