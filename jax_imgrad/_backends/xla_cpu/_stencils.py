"""Stencils: far from the border in long rows; near to it apart, and written over."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends.xla import sums_of_products
from jax_imgrad._backends.xla_cpu._rows import apart, rows_of
from jax_imgrad._bands import (
    Product,
    apply,
    apply_inside,
    borders_of,
    count_taps,
    in_turn,
)
from jax_imgrad._dtypes import wide
from jax_imgrad._shift import shift_at_once


def stencil(
    images: Sequence[jax.Array],
    maps: Sequence[Sequence[Product]],
    stacked: bool = False,
) -> list[jax.Array]:
    """Each result in one loop; or all in one, stacked along a last axis."""
    sums = [[*map(_last_in_turn, row, images)] for row in maps]
    loops = [sums] if stacked else [[terms] for terms in sums]
    return [_in_one_loop(some, images[0]) for some in loops]


def _last_in_turn(product, image):
    """What of a product one loop applies, and the image that earlier loops make."""
    *first, last = in_turn(product)
    for one in first:
        image = wide(image)
        image = _in_one_loop([[(one, image)]], image)
    return last, image


def _in_one_loop(sums, like):
    """The sum of products times images; or several, stacked."""
    shape = like.shape
    products = [product for terms in sums for product, _ in terms]
    borders = borders_of(products)
    short = any(shape[axis] < 2 * border for axis, border in borders.items())
    # A difference of two pixels is as fast with its border.
    if short or 0 in shape or max(map(count_taps, products)) <= 2:
        return _at_once(sums, like.dtype)
    result = _far_from_borders(sums, like, borders)
    for i, (axis, border) in enumerate(borders.items(), start=1):
        # Computed from the ends of the images alone, and written over. XLA for CPU
        # would otherwise compute each end by itself, in more loops that store more.
        ends = [[(p, _ends(x, axis, 2 * border)) for p, x in terms] for terms in sums]
        near = lax.optimization_barrier(_at_once(ends, like.dtype))
        width = result.shape[i] // shape[axis] * border
        box = (*result.shape[:i], width, *result.shape[i + 1 :])
        for rows, at in (
            (slice(border), 0),
            (slice(-border, None), result.shape[i] - width),
        ):
            part = near[(slice(None),) * axis + (rows,)].reshape(box)
            start = [at if j == i else 0 for j in range(result.ndim)]
            result = lax.dynamic_update_slice(result, part, start)
    rest = result.shape[1 + len(borders) :]
    # XLA for CPU would otherwise fuse the reshape into the loop that reads the result,
    # or into the last that writes over it, and store or copy an image more.
    return lax.optimization_barrier(apart(result).reshape(*shape, *rest))


def _far_from_borders(sums, like, borders):
    """The sums in rows, zero near to the borders."""
    sizes, steps = rows_of(like.shape, tuple(borders))
    widths = [
        border * step for border, step in zip(borders.values(), steps, strict=True)
    ]

    def pixels(image, there):
        moved = [there[axis] * step for axis, step in zip(borders, steps, strict=True)]
        box = [
            slice(width + by, size - width + by)
            for width, by, size in zip(widths, moved, sizes, strict=True)
        ]
        return wide(image.reshape(-1, *sizes)[:, *box])

    inside = _one_array(
        sums_of_products(
            lambda product, image: apply_inside(product, image, pixels),
            sums,
            like.dtype,
        )
    )
    around = [(width, width, 0) for width in (0, *widths)]
    around += [(0, 0, 0)] * (inside.ndim - len(around))
    return lax.pad(inside, jnp.zeros((), like.dtype), around)


def _at_once(sums, dtype):
    """The sums in the form of the definition, with shifts of the images themselves."""
    return _one_array(
        sums_of_products(
            lambda product, image: apply(product, wide(image), shift_at_once),
            sums,
            dtype,
        )
    )


def _one_array(results):
    return results[0] if len(results) == 1 else jnp.stack(results, axis=-1)


def _ends(image, axis, rows):
    """An image of so many rows at each end."""
    ends = [
        image[(slice(None),) * axis + (s,)] for s in (slice(rows), slice(-rows, None))
    ]
    return lax.concatenate(ends, axis)
