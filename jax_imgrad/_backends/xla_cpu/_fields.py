"""The derivative of the sum: what flows into each pixel, less what flows out."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla import flux
from jax_imgrad._backends.xla_cpu._range import (
    factor_of_mean,
    factor_per_row,
    rescaled_scale,
    squares_may_leave,
)
from jax_imgrad._backends.xla_cpu._rows import apart, joined, one_by_one
from jax_imgrad._backends.xla_cpu._sums import functional
from jax_imgrad._dtypes import derivative_dtype, wide
from jax_imgrad._penalties import Coupled, half_quadratic
from jax_imgrad._shift import shift
from jax_imgrad._types import Penalty

_LARGE = 2**16  # numbers of an image, to be computed apart from the others


def functional_and_field(
    penalty: Penalty,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image: minus the divergence of the flux."""
    shape = images[0].shape
    if 0 in shape:
        return xla.functional_and_field(penalty, images, parameters, axes)
    several = len(images) > 1
    if several and shape[0] > 1 and math.prod(shape[1:]) >= _LARGE:
        of_some = functools.partial(functional_and_field, penalty, axes=axes)
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
    rows, parameters, steps = joined([*map(apart, images)], parameters, axes)
    if several:
        fields = _fields(penalty, rows, parameters, steps)
    else:
        fields = _field(penalty, rows, parameters, steps, factor)
    dtype = derivative_dtype(images[0].dtype)
    # XLA for CPU would otherwise fuse the last reshape into the loop of a caller that
    # scales them, which then does not write in place: an image more of temporaries.
    return total, [
        lax.optimization_barrier(apart(field.astype(dtype)).reshape(shape))
        for field in fields
    ]


def _weight(penalty, image, parameters, axes, factor):
    """Of coupled channels: computed for each pixel, and stored for each number."""
    channels, parameters = xla.channels_of(image, parameters)
    # XLA for CPU would otherwise read each channel from among the others in the loop of
    # the weight, which is slower than to set them apart first.
    channels = lax.optimization_barrier(channels)
    rows, parameters, steps = joined(channels, parameters, axes)
    factor = factor_per_row(factor, rows[0])
    differences = jax.tree.map(lambda d: d * factor, _differences(rows, steps))
    scale, *valid = parameters
    weight = (
        penalty.weight(differences, [rescaled_scale(scale, factor), *valid]) * factor
    )
    # XLA for CPU would otherwise compute a part of it in the loop that broadcasts it,
    # and store all the differences for both.
    weight = lax.optimization_barrier(weight).reshape(*image.shape[:-1], 1)
    return jnp.broadcast_to(weight, image.shape)


def _fields(penalty, images, parameters, steps):
    """For each of several images, of which the flux is stored: it depends on all."""
    along = list(enumerate(steps, start=1))
    flows = flux(penalty, _differences(images, steps), parameters)[1]
    # XLA for CPU would otherwise compute it anew where it enters the next pixel.
    flows = lax.optimization_barrier(flows)
    return [
        functools.reduce(
            jnp.add,
            [
                shift(part, axis, -step) - part
                for part, (axis, step) in zip(flow, along, strict=True)
            ],
        )
        for flow in flows
    ]


def _differences(images, steps):
    """Of each image along each axis."""
    along = list(enumerate(steps, start=1))
    return [
        [_difference_of_slices(image, *at) for at in along]
        for image in map(wide, images)
    ]


def _difference_of_slices(image, axis, step):
    """The definition's, made of slices: of its shifts XLA would store several."""
    end = image.shape[axis] - step
    inside = lax.slice_in_dim(image, step, None, axis=axis) - lax.slice_in_dim(
        image, 0, end, axis=axis
    )
    padding = [(0, 0, 0)] * image.ndim
    padding[axis] = (0, step, 0)
    return lax.pad(inside, jnp.zeros((), image.dtype), padding)


def _field(penalty, images, parameters, steps, factor):
    """For one image: the flux is computed twice, where it leaves and where it enters.

    In an array of its own it would be written and read again.
    """
    (image,) = images
    field: Any = 0
    if factor is not None:
        factor = factor_per_row(factor, image)
    for axis, step in enumerate(steps, start=1):
        flows = []
        for at in ({axis: 0}, {axis: -step}):
            # Behind a barrier it is another image to XLA for CPU, which would otherwise
            # see that it computes the same flux twice, and store it.
            image = lax.optimization_barrier(image)
            differences = [
                _difference(wide(image), other, steps, at)
                for other in range(1, 1 + len(steps))
            ]
            # Where nothing flows in, the parameters are those of the pixel itself.
            enters = _place(image, axis) >= -at[axis]
            moved = [
                jnp.where(enters, _shift(p, at), p) if p.ndim and at[axis] else p
                for p in parameters
            ]
            if factor is not None:
                differences = [d * factor for d in differences]
                moved[0] = rescaled_scale(moved[0], factor)
            ((*flow,),) = flux(penalty, [differences], moved)[1]
            flows.append(flow[axis - 1])
        leave, enter = flows
        field = field + enter - leave
    return [field]


def _difference(image, axis, steps, at):
    """To the next pixel along an axis, zero where there is none.

    Of each pixel, or of that `at` some steps along one axis from it.
    """
    step, back = steps[axis - 1], -at.get(axis, 0)
    place = _place(image, axis)
    exists = place >= back if back else place < image.shape[axis] - step
    there = {**at, axis: step - back}
    return jnp.where(exists, _shift(image, there) - _shift(image, at), 0)


def _place(image, axis):
    shape = [size if i == axis else 1 for i, size in enumerate(image.shape)]
    return lax.broadcasted_iota(jnp.int32, shape, axis)


def _shift(image, by):
    """The pixel so many steps along each axis; any, where there is none."""
    last = image.ndim - 1
    for axis, steps in sorted(by.items()):  # rows first: a row moved is not stored
        if image.ndim == 0 or steps == 0:
            continue
        if axis == last:
            image = _along_row(image, steps)
        else:
            # A row that is looked up is one of the image, with nothing to decide: of
            # what there is to decide in a loop depends whether it is vectorized.
            rows = jnp.clip(
                jnp.arange(image.shape[axis]) + steps, 0, image.shape[axis] - 1
            )
            image = image.at[(slice(None),) * axis + (rows,)].get(
                mode="promise_in_bounds", indices_are_sorted=True
            )
    return image


def _along_row(image, by):
    last = image.ndim - 1
    if by > 0 or image.dtype.kind != "f":
        return shift(image, last, by)
    # As bits, else the compiler sees that it is the pixel of the step before, keeps it
    # from there, and has a loop where each step waits for the last.
    bits = lax.bitcast_convert_type(image, f"uint{8 * image.dtype.itemsize}")
    return lax.bitcast_convert_type(shift(bits, last, by), image.dtype)
