"""The definition: the gradient of an image, stencils, and sums of penalties.

Every step keeps the shape of the image, as `_differences.py` does. XLA makes one loop
of that, with no temporary, on every platform.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._bands import Product, Shifted, apply
from jax_imgrad._differences import difference, outflow
from jax_imgrad._dtypes import derivative_dtype, wide
from jax_imgrad._penalties import Coupled, half_quadratic
from jax_imgrad._platforms import materialize
from jax_imgrad._shift import has_next, has_previous, shift, shift_along
from jax_imgrad._types import Penalty

PLATFORM = None


def why_not(operand: Any) -> None:
    """There is nothing that this back end refuses."""
    del operand


def image_gradients(
    image: jax.Array, axes: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """(dy, dx), the forward differences, zero in the last row and column."""
    rows, columns = axes
    return difference(image, rows), difference(image, columns)


def divergence(dy: jax.Array, dx: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Minus the transpose of `image_gradients`: what flows out of each pixel."""
    rows, columns = axes
    out = outflow(wide(dy), rows) + outflow(wide(dx), columns)
    return out.astype(dy.dtype)


def stencil(
    images: Sequence[jax.Array],
    maps: Sequence[Sequence[Product]],
    stacked: bool = False,
) -> list[jax.Array]:
    """For each row of `maps` the sum of its products times the images.

    In arrays of their own, or `stacked` in one, along a last axis.
    """
    return stencil_of(shift_along, images, maps, stacked)


def stencil_of(
    shifted: Shifted,
    images: Sequence[jax.Array],
    maps: Sequence[Sequence[Product]],
    stacked: bool,
) -> list[jax.Array]:
    """The same, of images that are shifted in a way of the caller's."""
    sums = [[*zip(row, images, strict=True)] for row in maps]
    results = sums_of_products(
        lambda product, image: apply(product, wide(image), shifted),
        sums,
        images[0].dtype,
    )
    return [jnp.stack(results, axis=-1)] if stacked else results


def sums_of_products(
    applied: Callable[[Product, jax.Array], jax.Array],
    sums: Sequence[Sequence[tuple[Product, jax.Array]]],
    dtype: np.dtype,
) -> list[jax.Array]:
    """For each list of products and images the sum of them, applied."""
    return [
        functools.reduce(jnp.add, [applied(*term) for term in terms]).astype(dtype)
        for terms in sums
    ]


def functional(
    penalty: Penalty,
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
    """The channels as so many images, and parameters of their shape."""
    channels = [image[..., channel] for channel in range(image.shape[-1])]
    # A parameter is the same in all the channels of a pixel.
    return channels, [p[..., 0] if p.ndim else p for p in parameters]


def functional_and_field(
    penalty: Penalty,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image: minus the divergence of the flux.

    The flux that leaves a pixel is the derivative of the penalty by its differences.
    What enters it left its neighbor, and is computed anew from the pixels there: the
    flux moved instead, or the differences, would have to be stored.
    """
    if isinstance(penalty, Coupled):
        return _by_weight(penalty, images[0], parameters, axes)
    differences = _differences(images, axes)
    values, out = flux(penalty, differences, parameters)
    fields = [jnp.zeros_like(along[0]) for along in differences]
    for i, axis in enumerate(axes):
        leaves = has_next(images[0], axis)
        enters = has_previous(images[0], axis)
        moved = [_of_previous(p, axis, enters) if p.ndim else p for p in parameters]
        _, back = flux(penalty, _differences(images, axes, before=axis), moved)
        for k, field in enumerate(fields):
            field += jnp.where(enters, back[k][i], 0)
            fields[k] = field - jnp.where(leaves, out[k][i], 0)
    # XLA for GPU would otherwise make one sum of this and a caller's over the batch,
    # which it computes beside the field in two to fifteen times the time.
    total = lax.optimization_barrier(_sum(values))
    dtypes = [derivative_dtype(image.dtype) for image in images]
    return total, [f.astype(d) for f, d in zip(fields, dtypes, strict=True)]


def _of_previous(parameter: jax.Array, axis: int, exists: jax.Array) -> jax.Array:
    """The parameter of the previous pixel; of the first pixel its own.

    Not 0: a scale of 0 makes NaN, which `jax.debug_nans` finds though it is not used.
    """
    return jnp.where(exists, shift(parameter, axis, -1), parameter)


def _by_weight(penalty, image, parameters, axes):
    """The same, of coupled channels: the flux is a weight times a difference.

    It takes all channels of a pixel to compute its weight, and all need it: it is
    stored.
    """
    total = functional(penalty, [image], parameters, axes)
    # XLA for GPU would otherwise compute it beside the penalty, and store what both are
    # made of.
    there = materialize(image, "cuda", "rocm")
    channels, given = channels_of(there, parameters)
    weight = penalty.weight(_differences(channels, axes), given)
    # XLA for GPU would otherwise compute it anew for each channel and neighbor, and XLA
    # for CPU store two arrays that it is made of.
    weight = lax.optimization_barrier(weight)[..., None]
    given = [jnp.broadcast_to(weight, image.shape), *parameters[1:]]
    _, fields = functional_and_field(half_quadratic, [image], given, axes)
    # As in `functional_and_field`.
    return lax.optimization_barrier(total), fields


def flux(penalty: Penalty, differences, parameters):
    """The penalty of the differences, and its derivative by each of them."""
    values, pullback = jax.vjp(lambda d: penalty(d, parameters), differences)
    return values, pullback(jnp.ones_like(values))[0]


def _differences(images, axes, before: int | None = None):
    """Of each image, along each axis, in the dtype to accumulate in.

    Those of each pixel, or of the one `before` it along an axis, 0 where there is none.
    """

    def along(image, axis):
        if before is None:
            return difference(image, axis)
        there = shift(image, before, -1)
        if axis == before:
            return jnp.where(has_previous(image, axis), image, 0) - there
        return difference(there, axis)

    return [[along(image, axis) for axis in axes] for image in map(wide, images)]


def _sum(values: jax.Array) -> jax.Array:
    return values.sum(tuple(range(1, values.ndim)))
