"""Stencils: one loop over long rows for the interior, and separate borders."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla_cpu._rows import flat_sizes, materialize_rows
from jax_imgrad._banded import times
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
from jax_imgrad._toeplitz import is_wide, merged, product

# Stands for an axis along which there is no stencil. It has no margin.
_NO_STENCIL = Stencil1D((), "constant")

# A sum of stencils: pairs of a stencil and the image that it is applied to.
Sum = Sequence[tuple[SeparableStencil, jax.Array]]


def stencil(images: Sequence[jax.Array], maps: Maps, stacked: bool) -> list[jax.Array]:
    """For each row of `maps`, the sum of its stencils applied to the images.

    Each result is computed in one loop; with `stacked`, all results in one.
    """
    # With two taps, the definition is as fast, borders included.
    if max(count_taps(entry) for row in maps for entry in row) <= 2:
        return xla.stencil(images, maps, stacked, shift_at_once)
    sums = [[*map(_last_pass, *merged(row, images))] for row in maps]
    loops = [sums] if stacked else [[terms] for terms in sums]
    return [_in_one_loop(sums_of_loop, images[0].dtype) for sums_of_loop in loops]


def _last_pass(
    stencil: SeparableStencil, image: jax.Array
) -> tuple[SeparableStencil, jax.Array]:
    """Applies all passes of a stencil but the last.

    Returns the last pass, and the image to apply it to. A pass along a wide axis is a
    product, not a loop. If that is the last one, the identity is returned.
    """
    remaining = passes(stencil, count_taps(stencil))
    while remaining:
        factors = remaining.pop(0)
        if len(factors) == 1 and is_wide(factors[0], image.shape):
            image = lax.optimization_barrier(product(*factors[0], upcast(image)))
        elif remaining:
            image = upcast(image)
            image = _in_one_loop([[(factors, image)]], image.dtype)
        else:
            return factors, image
    return (), image


def _in_one_loop(sums: Sequence[Sum], dtype: np.dtype) -> jax.Array:
    """The sum; several sums are stacked along a new last axis."""
    if not any(factors for terms in sums for factors, _ in terms):
        return _with_borders(sums, dtype)
    stencils = [factors for terms in sums for factors, _ in terms]
    shape = sums[0][0][1].shape
    # If the borders along an axis meet, there is no interior.
    borders = borders_of(stencils)
    short = any(shape[axis] < 2 * border for axis, border in borders.items())
    if short or 0 in shape:
        return _with_borders(sums, dtype)
    result = _interior(sums, dtype, borders)
    for i, (axis, border) in enumerate(borders.items(), start=1):
        margins = {dict(factors).get(axis, _NO_STENCIL).margin for factors in stencils}
        if margins == {(border, border)}:
            continue  # the outputs near these borders are 0, as `_interior` left them
        # Outputs within `border` of an end read only pixels within 2 * border of the
        # ends. So they equal those of a short image that consists of the two ends.
        # Without the barrier, XLA for CPU would compute each end in a loop of its own.
        ends = [[(f, _ends(x, axis, 2 * border)) for f, x in terms] for terms in sums]
        near = lax.optimization_barrier(_with_borders(ends, dtype))
        width = result.shape[i] // shape[axis] * border
        window = (*result.shape[:i], width, *result.shape[i + 1 :])
        for rows, start in (
            (slice(border), 0),
            (slice(-border, None), result.shape[i] - width),
        ):
            update = near[(slice(None),) * axis + (rows,)].reshape(window)
            starts = [start if j == i else 0 for j in range(result.ndim)]
            result = lax.dynamic_update_slice(result, update, starts)
    stacked = result.shape[1 + len(borders) :]
    # Without the barriers, XLA for CPU would fuse the reshape into the loop that reads
    # the result, or into the last one that writes to it, and store or copy one more
    # image.
    result = materialize_rows(result).reshape(*shape, *stacked)
    return lax.optimization_barrier(result)


def _interior(
    sums: Sequence[Sum], dtype: np.dtype, borders: dict[int, int]
) -> jax.Array:
    """The sums in flattened axes, with 0 near the borders."""
    shape = sums[0][0][1].shape
    sizes, strides = flat_sizes(shape, tuple(borders))
    margins = [
        border * stride
        for border, stride in zip(borders.values(), strides, strict=True)
    ]
    accumulated = accumulator(dtype)

    def read(image: jax.Array, offsets: dict[int, int]) -> jax.Array:
        """The pixels inside the margins, moved by `offsets`: a slice of the rows."""
        window = []
        for axis, stride, margin, size in zip(
            borders, strides, margins, sizes, strict=True
        ):
            by = offsets.get(axis, 0) * stride
            window.append(slice(margin + by, size - margin + by))
        return image.reshape(-1, *sizes)[:, *window].astype(accumulated)

    def total(terms: Sum) -> jax.Array:
        pixels, weights = [], []
        for factors, image in terms:
            # The weights of a product with a centered factor add up to 0 too.
            is_centered = any(factor.centered for _, factor in factors)
            for offsets, weight in interior_taps(factors):
                pixel = read(image, offsets)
                pixels.append(pixel - read(image, {}) if is_centered else pixel)
                weights.append(weight)
        return functools.reduce(jnp.add, map(times, pixels, weights)).astype(dtype)

    inside = _stack([total(terms) for terms in sums])
    padding = [(margin, margin, 0) for margin in (0, *margins)]
    padding += [(0, 0, 0)] * (inside.ndim - len(padding))
    return lax.pad(inside, jnp.zeros((), dtype), padding)


def _with_borders(sums: Sequence[Sum], dtype: np.dtype) -> jax.Array:
    """The sums in the form of the definition, with its boundary conditions."""
    results = []
    for terms in sums:
        stencils, images = zip(*terms, strict=True)
        total = xla.sum_of_stencils(stencils, images, shift_at_once)
        results.append(total.astype(dtype))
    return _stack(results)


def _stack(results: Sequence[jax.Array]) -> jax.Array:
    return results[0] if len(results) == 1 else jnp.stack(results, axis=-1)


def _ends(image: jax.Array, axis: int, rows: int) -> jax.Array:
    """The first `rows` and the last `rows` of an image along an axis, as one image."""
    ends = [
        image[(slice(None),) * axis + (s,)] for s in (slice(rows), slice(-rows, None))
    ]
    return lax.concatenate(ends, axis)
