"""Stencils: one loop over long rows; outputs near a border are computed separately."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._backends.xla import stencil_on_one_device, sum_of_stencils
from jax_imgrad._backends.xla_cpu._rows import flat_sizes, materialize_rows
from jax_imgrad._banded import scale
from jax_imgrad._differences import shift_at_once
from jax_imgrad._dtypes import accumulator, upcast
from jax_imgrad._stencils import (
    Maps,
    SeparableStencil,
    Stencil1D,
    borders_of,
    count_taps,
    interior_taps,
    passes,
)

_NO_STENCIL = Stencil1D((), "constant")

# The sum of stencils applied to images; of a result, or of a pass of one.
Sum = Sequence[tuple[SeparableStencil, jax.Array]]


def stencil(images: Sequence[jax.Array], maps: Maps, stacked: bool) -> list[jax.Array]:
    """Each result in one loop; or all of them in one, stacked along a last axis."""
    # A difference of two pixels is as fast with its border.
    if max(count_taps(one) for row in maps for one in row) <= 2:
        return stencil_on_one_device(images, maps, stacked)
    sums = [[*map(_last_pass, row, images)] for row in maps]
    loops = [sums] if stacked else [[one] for one in sums]
    return [_in_one_loop(some, images[0].dtype) for some in loops]


def _last_pass(
    stencil: SeparableStencil, image: jax.Array
) -> tuple[SeparableStencil, jax.Array]:
    """The last pass of a stencil, and the image that the passes before it make."""
    *first, last = passes(stencil, count_taps(stencil))
    for one in first:
        image = upcast(image)
        image = _in_one_loop([[(one, image)]], image.dtype)
    return last, image


def _in_one_loop(sums: Sequence[Sum], dtype: np.dtype) -> jax.Array:
    """The sum; or several, stacked."""
    stencils = [one for terms in sums for one, _ in terms]
    shape = sums[0][0][1].shape
    borders = borders_of(stencils)
    short = any(shape[axis] < 2 * border for axis, border in borders.items())
    if short or 0 in shape:
        return _with_borders(sums)
    result = _interior(sums, dtype, borders)
    for i, (axis, border) in enumerate(borders.items(), start=1):
        margins = {dict(one).get(axis, _NO_STENCIL).margin for one in stencils}
        if margins == {(border, border)}:
            continue  # there is no output near these borders
        # The outputs near the borders, from the ends of the images alone. Materialized:
        # XLA for CPU would otherwise compute each end in a loop of its own.
        ends = [[(one, _ends(x, axis, 2 * border)) for one, x in sum] for sum in sums]
        near = lax.optimization_barrier(_with_borders(ends))
        width = result.shape[i] // shape[axis] * border
        window = (*result.shape[:i], width, *result.shape[i + 1 :])
        for rows, start in (
            (slice(border), 0),
            (slice(-border, None), result.shape[i] - width),
        ):
            part = near[(slice(None),) * axis + (rows,)].reshape(window)
            at = [start if j == i else 0 for j in range(result.ndim)]
            result = lax.dynamic_update_slice(result, part, at)
    stacked = result.shape[1 + len(borders) :]
    # XLA for CPU would otherwise fuse the reshape into the loop that reads the result,
    # or into the last that writes over it, and store or copy an image more.
    result = materialize_rows(result).reshape(*shape, *stacked)
    return lax.optimization_barrier(result)


def _interior(
    sums: Sequence[Sum], dtype: np.dtype, borders: dict[int, int]
) -> jax.Array:
    """The sums in flattened axes, zero near the borders."""
    shape = sums[0][0][1].shape
    sizes, strides = flat_sizes(shape, tuple(borders))
    margins = [
        border * stride
        for border, stride in zip(borders.values(), strides, strict=True)
    ]
    wide = accumulator(dtype)

    def at(image: jax.Array, offsets: dict[int, int]) -> jax.Array:
        """The image at the pixels `offsets` away from those inside the margins."""
        window = []
        for axis, stride, margin, size in zip(
            borders, strides, margins, sizes, strict=True
        ):
            by = offsets.get(axis, 0) * stride
            window.append(slice(margin + by, size - margin + by))
        return image.reshape(-1, *sizes)[:, *window].astype(wide)

    def total(terms: Sum) -> jax.Array:
        taps = [(image, *tap) for one, image in terms for tap in interior_taps(one)]
        pixels = [at(image, offsets) for image, offsets, _ in taps]
        weights = [weight for _, _, weight in taps]
        return functools.reduce(jnp.add, map(scale, pixels, weights)).astype(dtype)

    inside = _stack([total(terms) for terms in sums])
    padding = [(margin, margin, 0) for margin in (0, *margins)]
    padding += [(0, 0, 0)] * (inside.ndim - len(padding))
    return lax.pad(inside, jnp.zeros((), dtype), padding)


def _with_borders(sums: Sequence[Sum]) -> jax.Array:
    """The sums in the form of the definition, with shifts of the images themselves."""
    results = []
    for terms in sums:
        stencils, images = zip(*terms, strict=True)
        results.append(sum_of_stencils(stencils, images, shift_at_once))
    return _stack(results)


def _stack(results: Sequence[jax.Array]) -> jax.Array:
    return results[0] if len(results) == 1 else jnp.stack(results, axis=-1)


def _ends(image: jax.Array, axis: int, rows: int) -> jax.Array:
    """An image of so many rows at each end."""
    ends = [
        image[(slice(None),) * axis + (s,)] for s in (slice(rows), slice(-rows, None))
    ]
    return lax.concatenate(ends, axis)
