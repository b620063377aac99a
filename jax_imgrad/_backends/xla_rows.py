"""What a CPU computes faster in another form: sums of penalties, and stencils.

XLA for CPU does not fuse the differences into the sum (openxla/xla#46351), and what it
sums itself it does not vectorize: a total variation takes 20 to 80 times as long as
reading the image. So the sum is taken row by row: the image is rows of numbers, all
channels of all columns, and the penalty of each row is added to a row of sums, which is
summed once, at the end. A row is a contiguous loop that the compiler vectorizes, and
what it computes on the way stays in the cache.

The same pass writes the derivative. The flux down the rows is carried from one row to
the next, the flux along the row is moved within it, and that from planes before, in a
volume, is computed anew.

A loop over rows is for images on one device: on sharded rows it gathers the image.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla import accumulator, flux
from jax_imgrad._bands import Product
from jax_imgrad._shift import shift_at_once
from jax_imgrad._types import Penalty

PLATFORM = None

_SHORTEST_ROW = 512  # numbers: shorter ones are not worth a step of the loop
_UNROLLED = 4


class _Rows(NamedTuple):
    """Where the rows of a batch of images lie, and the axes that differences cross."""

    shape: tuple[int, ...]
    axis: int  # of the image, along which one row follows the other
    across: tuple[int, ...]  # axes of differences between rows
    within: tuple[int, ...]  # axes of differences within a row

    @property
    def length(self) -> int:
        return math.prod(self.shape[self.axis + 1 :])

    @property
    def per_image(self) -> int:
        return math.prod(self.shape[1 : self.axis + 1])

    def stride(self, axis: int) -> int:
        """From a number to the next along `axis`, in the image as it lies in memory."""
        return math.prod(self.shape[axis + 1 :])

    def coordinate(self, row: jax.Array, axis: int) -> jax.Array:
        """Where row number `row` of the batch lies along an axis across rows."""
        return row // math.prod(self.shape[axis + 1 : self.axis + 1]) % self.shape[axis]

    def coordinates(self, axis: int) -> jax.Array:
        """Where each number of a row lies along an axis within it."""
        inner = self.shape[self.axis + 1 :]
        return lax.broadcasted_iota(jnp.int32, inner, axis - self.axis - 1).reshape(-1)


def why_not(operand: Any) -> str | None:
    """Why the loop is not made for an image of this type, or None."""
    if not all(isinstance(size, int) for size in operand.shape):
        return f"it needs a shape of known numbers, got {operand.shape}"
    if operand.sharding.mesh.explicit_axes:
        return "a loop over rows would gather an image that is sharded"
    return None


def stencil(
    images: Sequence[jax.Array], maps: Sequence[Sequence[Product | None]]
) -> list[jax.Array]:
    """Each result in one loop that reads the image at all taps, with nothing stored.

    XLA for CPU stores whatever two taps or two results share, which takes longer than
    reading the image again: so each result is shifted with a zero of its own.
    """
    results = []
    zeros = _zeros(len(maps), accumulator(images[0].dtype))
    for row, zero in zip(maps, zeros, strict=True):
        shifted = functools.partial(shift_at_once, zero=zero)
        results += xla.stencil_of(shifted, images, [row])
    return results


def _zeros(count: int, dtype: np.dtype) -> list[jax.Array]:
    """As many zeros that XLA does not know to be one."""
    signed = [jnp.zeros((), dtype), -jnp.zeros((), dtype)]
    if count <= 2 and jnp.issubdtype(dtype, jnp.inexact):
        return signed[:count]
    return list(lax.optimization_barrier((signed[0],) * count))


def functional(
    penalty: Penalty,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    if images[0].size == 0:
        return xla.functional(penalty, images, parameters, axes)
    rows = _rows(images[0].shape, axes)
    images, parameters = _flat(images), _flat(parameters)

    def add(row, sums):
        differences = _differences(rows, images, row)
        return sums + penalty(differences, _row(rows, parameters, row))

    def total(image):
        first = image * rows.per_image
        sums = jnp.zeros(rows.length, accumulator(images[0].dtype)).real
        for_rows = functools.partial(lax.fori_loop, 0, rows.per_image, unroll=_UNROLLED)
        return for_rows(lambda i, sums: add(first + i, sums), sums).sum()

    return lax.map(total, jnp.arange(rows.shape[0]))


def functional_and_field(
    penalty: Penalty,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image: minus the divergence of the flux."""
    if images[0].size == 0:
        return xla.functional_and_field(penalty, images, parameters, axes)
    shape = images[0].shape
    rows = _rows(shape, axes)
    images, parameters = _flat(images), _flat(parameters)
    no_row = jnp.zeros(rows.length, accumulator(images[0].dtype))

    def write(row, carry):
        sums, above, fields = carry
        values, flows, above = _row_of_field(
            penalty, rows, images, parameters, row, above
        )
        fields = [
            lax.dynamic_update_slice(
                field, flow.astype(field.dtype), (row * rows.length,)
            )
            for field, flow in zip(fields, flows, strict=True)
        ]
        return sums + values, above, fields

    def one(image, carry):
        totals, fields = carry
        first = image * rows.per_image
        begin = (no_row.real, [no_row] * len(images), fields)
        sums, _, fields = lax.fori_loop(
            0, rows.per_image, lambda i, carry: write(first + i, carry), begin
        )
        return totals.at[image].set(sums.sum()), fields

    fields = [lax.empty(image.shape, image.dtype) for image in images]
    carry = (jnp.zeros(shape[0], no_row.dtype).real, fields)
    # A loop of one step would not be one to XLA, which then copies what it carries.
    totals, fields = (
        one(0, carry) if shape[0] == 1 else lax.fori_loop(0, shape[0], one, carry)
    )
    return totals, [field.reshape(shape) for field in fields]


def _row_of_field(penalty, rows, images, parameters, row, above):
    """The penalties of a row, its field of each image, and the flux that it sends down.

    `above` is what the row before sends down to this one.
    """
    differences = _differences(rows, images, row)
    values, out = flux(penalty, differences, _row(rows, parameters, row))
    fields = [jnp.zeros_like(flow) for flow in above]
    down = above
    for i, axis in enumerate(rows.across):
        has_next = rows.coordinate(row, axis) < rows.shape[axis] - 1
        leaves = [jnp.where(has_next, flows[i], 0) for flows in out]
        if axis == rows.axis:
            enters, down = above, leaves
        else:
            before = row - rows.stride(axis) // rows.length
            _, back = flux(
                penalty,
                _differences(rows, images, before),
                _row(rows, parameters, before),
            )
            has_previous = rows.coordinate(row, axis) > 0
            enters = [jnp.where(has_previous, flows[i], 0) for flows in back]
        fields = [f + e - o for f, e, o in zip(fields, enters, leaves, strict=True)]
    for i, axis in enumerate(rows.within, start=len(rows.across)):
        has_next = rows.coordinates(axis) < rows.shape[axis] - 1
        leaves = [jnp.where(has_next, flows[i], 0) for flows in out]
        # Behind the barrier the flux is a row in the cache; without it, the compiler
        # computes it twice, and does not vectorize.
        stored = lax.optimization_barrier(leaves)
        enters = [_shift(flow, -rows.stride(axis)) for flow in stored]
        fields = [f + e - o for f, e, o in zip(fields, enters, leaves, strict=True)]
    return values, fields, down


def _rows(shape: tuple[int, ...], axes: tuple[int, ...]) -> _Rows:
    """The shortest rows that are long enough; at most, a row is an image."""
    axis = len(shape) - 2
    while axis > 0 and math.prod(shape[axis + 1 :]) < _SHORTEST_ROW:
        axis -= 1
    across = tuple(a for a in axes if a <= axis)
    return _Rows(shape, axis, across, axes[len(across) :])


def _differences(rows, images, row):
    """Of each image, along each axis, the differences that begin in this row."""

    def wide(arrays):
        return [a.astype(accumulator(a.dtype)) for a in arrays]

    def along(axis, image, here):
        if axis in rows.across:
            has_next = rows.coordinate(row, axis) < rows.shape[axis] - 1
            next_row = row + rows.stride(axis) // rows.length
            (there,) = wide(_row(rows, [image], next_row))
        else:
            has_next = rows.coordinates(axis) < rows.shape[axis] - 1
            there = _shift(here, rows.stride(axis))
        return jnp.where(has_next, there - here, 0)

    axes = rows.across + rows.within
    here = wide(_row(rows, images, row))
    return [
        [along(axis, image, h) for axis in axes]
        for image, h in zip(images, here, strict=True)
    ]


def _row(rows, arrays, row):
    """This row of each array; numbers as they are.

    Where there is no such row it is another one, which a mask must exclude.
    """
    at, size = (row * rows.length,), (rows.length,)
    return [lax.dynamic_slice(a, at, size) if a.ndim else a for a in arrays]


def _flat(arrays: Sequence[jax.Array]) -> list[jax.Array]:
    return [array.reshape(-1) if array.ndim else array for array in arrays]


def _shift(row: jax.Array, by: int) -> jax.Array:
    """`row[i + by]` at number i, zero where there is no such number."""
    return lax.pad(row, jnp.zeros((), row.dtype), [(-by, by, 0)])
