"""The derivative of the sum, in one loop over long rows.

`_functional.py` derives, for the flux q_a along axis a,

    dL/du[j] = sum over a of q_a[j - e_a] - q_a[j]

the flux that enters pixel j less the flux that leaves it, where a flux from or to a
pixel that does not exist is 0. In flattened axes, e_a is the stride of axis a.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla import flux
from jax_imgrad._backends.xla_cpu._range import (
    factor_of_mean,
    factor_per_row,
    is_checked,
    rescaled_delta,
)
from jax_imgrad._backends.xla_cpu._rows import (
    flatten_axes,
    materialize_rows,
    one_by_one,
)
from jax_imgrad._backends.xla_cpu._sums import sum_and_weight
from jax_imgrad._banded import times
from jax_imgrad._differences import shift
from jax_imgrad._dtypes import derivative_dtype, upcast
from jax_imgrad._penalties import Coupled, half_quadratic
from jax_imgrad._stencils import Difference, SeparableStencil, as_differences
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import Boundary

# With several images (such as a prediction and a target), batches of images with at
# least this many numbers are computed one image at a time.
_LARGE = 2**16


def functional_and_gradient(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image."""
    shape = images[0].shape
    differences = as_differences(stencils)
    assert differences is not None
    several = len(images) > 1
    if several and shape[0] > 1 and math.prod(shape[1:]) >= _LARGE:
        function = functools.partial(
            functional_and_gradient, penalty, stencils=stencils
        )
        return one_by_one(function, images, parameters)
    total, weight = sum_and_weight(penalty, images, parameters, stencils)
    factor = None
    if is_checked(penalty, images):
        assert weight is not None
        penalty = penalty.assuming_in_range()
        factor = factor_of_mean(total, weight, parameters[0], images[0])
    if isinstance(penalty, Coupled):
        masks = penalty.masks(parameters)
        weight = _weight(penalty, images[0], parameters, differences, factor)
        parameters, penalty, factor = [weight, *masks], half_quadratic, None
    # Without the barrier, XLA for CPU would compute the parameters again for each
    # neighbor that reads them.
    parameters = lax.optimization_barrier(list(parameters))
    rows, parameters, axes = _flatten(
        [materialize_rows(image) for image in images], parameters, differences
    )
    if several:
        gradients = _gradients_of_several(penalty, rows, parameters, axes)
    else:
        gradients = [_gradient_of_one(penalty, rows[0], parameters, axes, factor)]
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


class _Axis(NamedTuple):
    """A flattened axis: the differences along it, and how far the next pixel is."""

    position: int
    stride: int
    boundary: Boundary
    factor: float

    @property
    def wraps(self) -> bool:
        return self.boundary == "wrap"


def _flatten(
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    differences: Sequence[Difference],
) -> tuple[list[jax.Array], list[jax.Array], list[_Axis]]:
    """The images and the parameters in flattened axes, and those axes."""
    images, parameters, strides = flatten_axes(
        images, parameters, tuple(difference.axis for difference in differences)
    )
    axes = [
        _Axis(position, stride, difference.boundary, difference.factor)
        for position, (stride, difference) in enumerate(
            zip(strides, differences, strict=True), start=1
        )
    ]
    return images, parameters, axes


def _weight(
    penalty: Coupled,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    differences: Sequence[Difference],
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
    rows, parameters, axes = _flatten(channels, parameters, differences)
    of_channels, (delta, *others) = _differences(rows, axes), parameters
    if factor is not None:
        factor = factor_per_row(factor, rows[0])
        of_channels = jax.tree.map(lambda d: d * factor, of_channels)
        delta = rescaled_delta(delta, factor)
    weight = penalty.weight(of_channels, [delta, *others])
    if factor is not None:
        weight *= factor
    # Without the barrier, XLA for CPU would compute a part of the weight in the loop
    # that broadcasts it, and store all the differences as input of both loops.
    weight = lax.optimization_barrier(weight)
    return jnp.broadcast_to(weight.reshape(*image.shape[:-1], 1), image.shape)


def _gradients_of_several(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: Sequence[_Axis],
) -> list[jax.Array]:
    """The derivative by each of several images.

    The flux of an image depends on all images, so to compute it twice would be slow: it
    is stored.
    """
    _, fluxes = flux(penalty, _differences(images, axes), parameters)
    # Without the barrier, XLA for CPU would compute each flux again where it enters the
    # next pixel.
    fluxes = lax.optimization_barrier(fluxes)
    # The leaving flux is 0 at the last pixel along an axis, where the difference is 0.
    return [
        functools.reduce(
            jnp.add,
            [
                times(_entering(leaving, axis) - leaving, axis.factor)
                for leaving, axis in zip(of_image, axes, strict=True)
            ],
        )
        for of_image in fluxes
    ]


def _entering(leaving: jax.Array, axis: _Axis) -> jax.Array:
    """The flux that leaves the previous pixel."""
    if axis.wraps:
        return jnp.roll(leaving, axis.stride, axis.position)
    return shift(leaving, axis.position, -axis.stride)


def _differences(
    images: Sequence[jax.Array], axes: Sequence[_Axis]
) -> list[list[jax.Array]]:
    """The differences of each image along each axis, in the dtype to accumulate in."""
    return [
        [_difference(image, axis) for axis in axes] for image in map(upcast, images)
    ]


def _difference(image: jax.Array, axis: _Axis) -> jax.Array:
    """The difference of the definition, computed from slices.

    Of the shifts of the definition, XLA for CPU would store several.
    """
    position, stride, boundary, factor = axis
    first = lax.slice_in_dim(image, 0, stride, axis=position)
    others = lax.slice_in_dim(image, stride, None, axis=position)
    last = lax.slice_in_dim(image, image.shape[position] - stride, None, axis=position)
    before_last = lax.slice_in_dim(
        image, 0, image.shape[position] - stride, axis=position
    )
    inside = others - before_last
    zero = jnp.zeros_like(last)
    at_end = {"interior": zero, "constant": -last, "wrap": first - last}[boundary]
    return times(lax.concatenate([inside, at_end], position), factor)


def _gradient_of_one(
    penalty: PenaltyFunction,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    axes: Sequence[_Axis],
    factor: jax.Array | None,
) -> jax.Array:
    """The derivative by a single image.

    Each flux is computed twice, at the pixel that it leaves and at the pixel that it
    enters, since to write it to an array and read it again would be slower.
    """
    gradient: Any = 0
    if factor is not None:
        factor = factor_per_row(factor, image)
    for i, axis in enumerate(axes):
        fluxes = []
        # The offset of the pixel that the flux leaves: this pixel, or the previous one.
        for offset in (0, -axis.stride):
            # Without the barrier, XLA for CPU would find that both loop iterations
            # compute the same flux, and store it. With it, the images look different.
            image = lax.optimization_barrier(image)
            differences = [
                _difference_at(upcast(image), other, {axis: offset}) for other in axes
            ]
            shifted = [
                _parameter_at(p, axis, offset) if p.ndim and offset else p
                for p in parameters
            ]
            if factor is not None:
                differences = [d * factor for d in differences]
                shifted[0] = rescaled_delta(shifted[0], factor)
            _, (of_image,) = flux(penalty, [differences], shifted)
            fluxes.append(of_image[i])
        leaving, entering = fluxes
        gradient = gradient + times(entering - leaving, axis.factor)
    return gradient


def _difference_at(
    image: jax.Array, axis: _Axis, offset: Mapping[_Axis, int]
) -> jax.Array:
    """At each pixel, the difference along `axis` of the pixel `offset` away.

    It is 0 where it does not exist, and where an offset along `axis` leads to no pixel.
    Where an offset along another axis leads to no pixel, it is arbitrary: the flux
    along that other axis is 0 there for any value of it.
    """
    before = -offset.get(axis, 0)
    index = _index(image, axis)
    exists = (
        index >= before if before else index < image.shape[axis.position] - axis.stride
    )
    pixel = _pixels_at(image, offset)
    following = _pixels_at(image, {**offset, axis: axis.stride - before})
    if axis.boundary == "constant" and not before:
        return times(jnp.where(exists, following, 0) - pixel, axis.factor)
    difference = times(following - pixel, axis.factor)
    return difference if axis.wraps else jnp.where(exists, difference, 0)


def _parameter_at(parameter: jax.Array, axis: _Axis, offset: int) -> jax.Array:
    """The parameter of the previous pixel; if there is none, that of the pixel itself.

    `offset` leads to the previous pixel.
    """
    previous = _pixels_at(parameter, {axis: offset})
    if axis.wraps:
        return previous
    return jnp.where(_index(parameter, axis) >= -offset, previous, parameter)


def _index(image: jax.Array, axis: _Axis) -> jax.Array:
    """The index of each pixel along an axis; it broadcasts against the image."""
    shape = [size if i == axis.position else 1 for i, size in enumerate(image.shape)]
    return lax.broadcasted_iota(jnp.int32, shape, axis.position)


def _pixels_at(image: jax.Array, offset: Mapping[_Axis, int]) -> jax.Array:
    """At each pixel, the pixel `offset` away; an arbitrary one if it does not exist."""
    last = image.ndim - 1
    # Rows first: XLA for CPU reads a moved row where it is, without storing it.
    for axis, by in sorted(offset.items()):
        size = image.shape[axis.position]
        if by == 0:
            continue
        if axis.position == last:
            shifted = _along_row(image, by)
            if axis.wraps:
                around = _along_row(image, by - size if by > 0 else by + size)
                exists = (
                    _index(image, axis) < size - by
                    if by > 0
                    else _index(image, axis) >= -by
                )
                shifted = jnp.where(exists, shifted, around)
            image = shifted
        else:
            # A gather of whole rows, with indices wrapped or clipped to those that
            # exist. A branch in the loop could keep XLA for CPU from vectorizing it.
            rows = jnp.arange(size) + by
            rows = rows % size if axis.wraps else jnp.clip(rows, 0, size - 1)
            image = image.at[(slice(None),) * axis.position + (rows,)].get(
                mode="promise_in_bounds", indices_are_sorted=not axis.wraps
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
