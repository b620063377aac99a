"""The derivative of the sum: at each pixel, the flux that enters less what leaves.

With the flux q_a along axis a, and a next pixel i + e_a at all but the last pixel,

    L'(u)[i] = sum over a of q_a[i - e_a] - q_a[i]
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

# Several images of at least so many numbers are computed one after the other.
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
        of_some = functools.partial(functional_and_gradient, penalty, axes=axes)
        return one_by_one(of_some, images, parameters)
    total = functional(penalty, images, parameters, axes)
    factor = None
    if squares_may_leave(penalty):
        penalty = penalty.assuming_in_range()
        factor = factor_of_mean(total, parameters[0], images[0])
    if isinstance(penalty, Coupled):
        weight = _weight(penalty, images[0], parameters, axes, factor)
        parameters, penalty, factor = [weight, *parameters[1:]], half_quadratic, None
    # XLA for CPU would otherwise compute what makes them anew for each neighbor.
    parameters = lax.optimization_barrier(list(parameters))
    rows, parameters, strides = flatten_axes(
        [materialize_rows(image) for image in images], parameters, axes
    )
    if several:
        gradients = _gradients_of_several(penalty, rows, parameters, strides)
    else:
        gradients = [_gradient_of_one(penalty, rows[0], parameters, strides, factor)]
    dtype = derivative_dtype(images[0].dtype)
    # XLA for CPU would otherwise fuse the last reshape into the loop of a caller that
    # scales them, which then does not write in place: an image more of temporaries.
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
    """Of coupled channels: computed for each pixel, and stored for each number."""
    channels, parameters = xla.channels_of(image, parameters)
    # XLA for CPU would otherwise read each channel from among the others in the loop of
    # the weight, which is slower than to separate them first.
    channels = lax.optimization_barrier(channels)
    rows, parameters, strides = flatten_axes(channels, parameters, axes)
    assert factor is not None  # a norm of several numbers may leave the range
    factor = factor_per_row(factor, rows[0])
    differences = jax.tree.map(lambda d: d * factor, _differences(rows, strides))
    delta, *valid = parameters
    weight = penalty.weight(differences, [rescaled_delta(delta, factor), *valid])
    # XLA for CPU would otherwise compute a part of it in the loop that broadcasts it,
    # and store all the differences for both.
    weight = lax.optimization_barrier(weight * factor)
    return jnp.broadcast_to(weight.reshape(*image.shape[:-1], 1), image.shape)


def _gradients_of_several(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    strides: Sequence[int],
) -> list[jax.Array]:
    """By each of several images, whose flux is stored: it depends on all of them."""
    _, fluxes = flux(penalty, _differences(images, strides), parameters)
    # XLA for CPU would otherwise compute it anew where it enters the next pixel.
    fluxes = lax.optimization_barrier(fluxes)
    return [
        functools.reduce(
            jnp.add,
            [
                shift(part, axis, -stride) - part
                for axis, (part, stride) in enumerate(
                    zip(parts, strides, strict=True), 1
                )
            ],
        )
        for parts in fluxes
    ]


def _differences(
    images: Sequence[jax.Array], strides: Sequence[int]
) -> list[list[jax.Array]]:
    """Of each image along each axis."""
    return [
        [_difference(image, axis, stride) for axis, stride in enumerate(strides, 1)]
        for image in map(upcast, images)
    ]


def _difference(image: jax.Array, axis: int, stride: int) -> jax.Array:
    """That of the definition, made of slices: of its shifts XLA would store several."""
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
    """By a single image: the flux is computed where it leaves and where it enters.

    Stored in an array of its own, it would be written and read again.
    """
    gradient: Any = 0
    if factor is not None:
        factor = factor_per_row(factor, image)
    for axis, stride in enumerate(strides, start=1):
        fluxes = []
        for offset in (0, -stride):  # of the pixel that the flux leaves
            # Behind a barrier it is another image to XLA for CPU, which would otherwise
            # see that it computes the same flux twice, and store it.
            image = lax.optimization_barrier(image)
            differences = [
                _difference_at(upcast(image), other, strides, {axis: offset})
                for other in range(1, 1 + len(strides))
            ]
            # Where nothing enters, the parameters are those of the pixel itself.
            exists = _index(image, axis) >= -offset
            moved = [
                jnp.where(exists, _pixels_at(p, {axis: offset}), p)
                if p.ndim and offset
                else p
                for p in parameters
            ]
            if factor is not None:
                differences = [d * factor for d in differences]
                moved[0] = rescaled_delta(moved[0], factor)
            ((*parts,),) = flux(penalty, [differences], moved)[1]
            fluxes.append(parts[axis - 1])
        leaves, enters = fluxes
        gradient = gradient + enters - leaves
    return gradient


def _difference_at(
    image: jax.Array, axis: int, strides: Sequence[int], offset: Mapping[int, int]
) -> jax.Array:
    """The difference along `axis` at the pixel `offset` away, 0 where there is none."""
    stride, before = strides[axis - 1], -offset.get(axis, 0)
    index = _index(image, axis)
    exists = index >= before if before else index < image.shape[axis] - stride
    following = {**offset, axis: stride - before}
    difference = _pixels_at(image, following) - _pixels_at(image, offset)
    return jnp.where(exists, difference, 0)


def _index(image: jax.Array, axis: int) -> jax.Array:
    shape = [size if i == axis else 1 for i, size in enumerate(image.shape)]
    return lax.broadcasted_iota(jnp.int32, shape, axis)


def _pixels_at(image: jax.Array, offset: Mapping[int, int]) -> jax.Array:
    """The pixel `offset` away along each axis; any pixel, where there is none."""
    last = image.ndim - 1
    for axis, by in sorted(offset.items()):  # rows first: a row moved is not stored
        if image.ndim == 0 or by == 0:
            continue
        if axis == last:
            image = _along_row(image, by)
        else:
            # Rows are gathered, with indices clipped to those that exist: a branch in
            # the loop would decide whether it is vectorized.
            rows = jnp.clip(
                jnp.arange(image.shape[axis]) + by, 0, image.shape[axis] - 1
            )
            image = image.at[(slice(None),) * axis + (rows,)].get(
                mode="promise_in_bounds", indices_are_sorted=True
            )
    return image


def _along_row(image: jax.Array, by: int) -> jax.Array:
    last = image.ndim - 1
    if by > 0 or image.dtype.kind != "f":
        return shift(image, last, by)
    # As bits. Of floats, the compiler would see that this is the pixel of the previous
    # iteration, keep it from there, and make a loop whose iterations depend on each
    # other.
    bits = lax.bitcast_convert_type(image, f"uint{8 * image.dtype.itemsize}")
    return lax.bitcast_convert_type(shift(bits, last, by), image.dtype)
