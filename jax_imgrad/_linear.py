"""How the operators differentiate: each knows its transpose.

A linear map is its own derivative, at every order, and nothing need be kept in memory
for it: all that it must say is what its transpose is. JAX could find the derivative of
the definition by itself, but would keep the masks in it, at the size of the image,
until they are used; and it knows neither the derivative nor the transpose of a kernel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from jax_imgrad import _dispatch
from jax_imgrad._bands import Product, transpose
from jax_imgrad._primitives import align, batched_shape, of_one_type, primitive
from jax_imgrad._types import Implementation

# A row for each result, with a product for each operand.
Maps = tuple[tuple[Product, ...], ...]


def _linear_map(name: str, results: int) -> Primitive:
    """The map of this name, along `axes`, rows and columns, of arrays of one shape."""

    def call(function: Callable, *operands: jax.Array, axes: tuple[int, int]):
        return function(*operands, axes)

    def like(*operands: jax.Array, axes: tuple[int, int]):
        del axes
        return [operands[0]] * results

    return primitive(name, call, like, _batch, ("axes", "implementation"))


def _batch(
    mapped: Primitive,
    operands: Sequence[jax.Array],
    batched: Sequence[int | None],
    *,
    axes: tuple[int, int],
    **options: Any,
):
    """The map along the same axes, which make room for one more."""
    at, size = batched_shape(operands, batched)
    aligned = of_one_type(
        *(align(o, b, at, size) for o, b in zip(operands, batched, strict=True))
    )
    rows, columns = (axis + (axis >= at) for axis in axes)
    results = mapped.bind(*aligned, axes=(rows, columns), **options)
    return results, [at] * len(results)


def _is_minus_transpose_of(other: Primitive) -> Callable:
    """The rule that JAX calls to transpose a map whose transpose is minus `other`."""

    def rule(cotangents: Sequence[Any], *operands: Any, **options: Any):
        flow = of_one_type(*map(ad.instantiate_zeros, cotangents))
        results = other.bind(*flow, **options)
        return [
            -result if ad.is_undefined_primal(operand) else None
            for result, operand in zip(results, operands, strict=True)
        ]

    return rule


image_gradients_p = _linear_map("image_gradients", results=2)
divergence_p = _linear_map("divergence", results=1)

ad.deflinear2(image_gradients_p, _is_minus_transpose_of(divergence_p))
ad.deflinear2(divergence_p, _is_minus_transpose_of(image_gradients_p))


def _call_stencil(function: Callable, *operands: jax.Array, maps: Maps, stacked: bool):
    return function(operands, maps, stacked)


def _like_stencil(*operands: jax.Array, maps: Maps, stacked: bool):
    results = [operands[0]] * len(maps)
    return [jnp.stack(results, axis=-1)] if stacked else results


def _batch_stencil(
    mapped: Primitive,
    operands: Sequence[jax.Array],
    batched: Sequence[int | None],
    *,
    maps: Maps,
    **options: Any,
):
    """The maps along the same axes, which make room for one more."""
    at, size = batched_shape(operands, batched)
    aligned = of_one_type(
        *(align(o, b, at, size) for o, b in zip(operands, batched, strict=True))
    )

    def moved(product: Product) -> Product:
        return tuple((axis + (axis >= at), band) for axis, band in product)

    maps = tuple(tuple(map(moved, row)) for row in maps)
    results = mapped.bind(*aligned, maps=maps, **options)
    return results, [at] * len(results)


stencil_p = primitive(
    "stencil",
    _call_stencil,
    _like_stencil,
    _batch_stencil,
    ("maps", "stacked", "implementation"),
)


def _transpose_stencil(
    cotangents: Sequence[Any],
    *operands: Any,
    maps: Maps,
    stacked: bool,
    implementation: Implementation | None,
):
    """The transposed maps, without the rows whose results nothing depends on."""
    if stacked:
        (whole,) = cotangents
        zero = type(whole) is ad.Zero
        cotangents = [whole if zero else whole[..., i] for i in range(len(maps))]
    rows = [
        (row, cotangent)
        for row, cotangent in zip(maps, cotangents, strict=True)
        if type(cotangent) is not ad.Zero
    ]
    if not rows:
        return [None] * len(operands)
    columns = zip(*(row for row, _ in rows), strict=True)
    transposed = tuple(tuple(map(transpose, column)) for column in columns)
    flow = of_one_type(*(cotangent for _, cotangent in rows))
    return stencil(flow, transposed, implementation)


ad.deflinear2(stencil_p, _transpose_stencil)


def stencil(
    images: Sequence[jax.Array],
    maps: Maps,
    implementation: Implementation | None,
    *,
    stacked: bool = False,
) -> list[jax.Array]:
    """For each row of `maps` the sum of its products times the images.

    In arrays of their own, or `stacked` in one, along a last axis.
    """
    chosen = _dispatch.choose(implementation, "stencil", images[0])
    return stencil_p.bind(
        *of_one_type(*images), maps=maps, stacked=stacked, implementation=chosen
    )
