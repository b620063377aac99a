"""What one CPU computes better in another form: sums and stencils, in long rows.

XLA for CPU does not fuse the differences into their sum (openxla/xla#46351), and what
it sums itself it does not vectorize: a total variation takes 20 to 80 times as long as
reading the image. What it does well is a loop that writes an array: it vectorizes that,
and shares it out among the cores; unless it must decide, pixel by pixel, what lies
beyond a border. So all is made of loops with nothing to decide, over long rows: the
axes of an image are joined, so that each one left has differences. `[B, H, W, C]` is B
images of H rows of W*C numbers, where the next pixel is C further.

- The sum: a loop adds up 8 rows to one, all over the image; a few such loops, one on
  top of the other, leave a small part of it, which a product with ones sums.
- The derivative: one loop, of what flows into each pixel and what flows out. The flux
  is computed twice, for in an array of its own it would be written and read again.
- A stencil: one loop for each result, far from the border. What is near to it, a small
  part, is computed apart, and written over.

This is for one device: a slice of rows that are sharded gathers them.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla import accumulator, flux
from jax_imgrad._bands import (
    Product,
    apply,
    apply_inside,
    borders_of,
    count_taps,
    in_turn,
)
from jax_imgrad._shift import shift, shift_at_once
from jax_imgrad._types import Penalty

PLATFORM = None

_TERMS = 8  # of one loop: some of more are stored
_LOOPS = 4
_FEW = 2**14  # numbers, to be summed in one loop


@dataclasses.dataclass(frozen=True)
class _Part:
    """A box of an array, sliced once, as it is read.

    Sliced before, and again, it would be stored: so does the XLA of JAX 0.10.
    """

    array: jax.Array
    slices: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(range(s.start, s.stop)) for s in self.slices)

    def cut(self, axis: int, start: int, stop: int, stride: int = 1) -> "_Part":
        """From `start` to `stop` of the box; a part with a stride is not cut again."""
        if not self.slices:
            return self
        first = self.slices[axis].start
        slices = list(self.slices)
        slices[axis] = slice(first + start, first + stop, stride)
        return _Part(self.array, tuple(slices))

    def read(self) -> jax.Array:
        """In the dtype to accumulate in; a mask or a number as it is."""
        part = self.array[self.slices] if self.slices else self.array
        return part if part.dtype == bool else _wide(part)


def why_not(operand: Any) -> str | None:
    """Why this is not for an image of this type, or None."""
    if not all(isinstance(size, int) for size in operand.shape):
        return f"it needs a shape of known numbers, got {operand.shape}"
    if operand.sharding.mesh.explicit_axes:
        return "it would gather an image that is sharded"
    return None


def stencil(
    images: Sequence[jax.Array],
    maps: Sequence[Sequence[Product]],
    stacked: bool = False,
) -> list[jax.Array]:
    """Each result in one loop; or all in one, stacked along a last axis."""
    sums = [[*map(_last_in_turn, row, images)] for row in maps]
    loops = [sums] if stacked else [[terms] for terms in sums]
    return [_sums_of_products(some, images[0]) for some in loops]


def _last_in_turn(product, image):
    """What of a product one loop applies, and the image that earlier loops make."""
    *first, last = in_turn(product)
    for one in first:
        wide = _wide(image)
        image = _sums_of_products([[(one, wide)]], wide)
    return last, image


def _sums_of_products(sums, like):
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
        # Computed from the ends of the images alone, and written over.
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
    return lax.optimization_barrier(_apart(result).reshape(*shape, *rest))


def _far_from_borders(sums, like, borders):
    """The sums in rows, zero near to the borders."""
    sizes, steps = _rows(like.shape, tuple(borders))
    widths = [
        border * step for border, step in zip(borders.values(), steps, strict=True)
    ]

    def pixels(image, there):
        moved = [there[axis] * step for axis, step in zip(borders, steps, strict=True)]
        box = [
            slice(width + by, size - width + by)
            for width, by, size in zip(widths, moved, sizes, strict=True)
        ]
        return _wide(image.reshape(-1, *sizes)[:, *box])

    inside = _stacked(
        [[apply_inside(p, image, pixels) for p, image in terms] for terms in sums],
        like.dtype,
    )
    around = [(width, width, 0) for width in (0, *widths)]
    around += [(0, 0, 0)] * (inside.ndim - len(around))
    return lax.pad(inside, jnp.zeros((), like.dtype), around)


def _at_once(sums, dtype):
    """The sums in the form of the definition, with shifts of the images themselves."""
    zero = jnp.zeros((), accumulator(dtype))
    shifted = functools.partial(shift_at_once, zero=zero)
    return _stacked(
        [[apply(p, _wide(image), shifted) for p, image in terms] for terms in sums],
        dtype,
    )


def _stacked(sums, dtype):
    totals = [functools.reduce(jnp.add, terms).astype(dtype) for terms in sums]
    return totals[0] if len(totals) == 1 else jnp.stack(totals, axis=-1)


def _ends(image, axis, rows):
    """An image of so many rows at each end."""
    ends = [
        image[(slice(None),) * axis + (s,)] for s in (slice(rows), slice(-rows, None))
    ]
    return lax.concatenate(ends, axis)


def functional(
    penalty: Penalty,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    axes: tuple[int, ...],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    shape = images[0].shape
    if 0 in shape:
        return xla.functional(penalty, images, parameters, axes)
    images, parameters, steps = _joined(images, parameters, axes)
    total = jnp.zeros(images[0].shape[0], accumulator(images[0].dtype)).real
    for has_next in itertools.product((True, False), repeat=len(steps)):
        box = functools.partial(_box, steps=steps, has_next=has_next)
        nexts = [
            [
                box(image, shifted=axis) if moves else None
                for axis, moves in enumerate(has_next, start=1)
            ]
            for image in images
        ]
        pixels = ([*map(box, images)], nexts, [*map(box, parameters)])
        if 0 not in pixels[0][0].shape:
            total += _sum(functools.partial(_values, penalty), pixels)
    return total.reshape(shape[0], -1).sum(1)


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
    total = functional(penalty, images, parameters, axes)
    apart = [*map(_apart, images)]
    joined, parameters, steps = _joined(apart, parameters, axes)
    # The last barrier leaves them the shape of the images, in which they are scaled in
    # place; with the reshape in the same loop, they would be written twice.
    return total, [
        lax.optimization_barrier(_apart(field.astype(image.dtype)).reshape(shape))
        for field, image in zip(
            _field(penalty, joined, parameters, steps), images, strict=True
        )
    ]


def _field(penalty, images, parameters, steps):
    """What flows into each pixel, less what flows out, for each image."""
    axes = range(1, 1 + len(steps))
    fields: list[Any] = [0] * len(images)
    for axis in axes:
        flows = []
        for at in ({axis: 0}, {axis: -steps[axis - 1]}):
            # Behind a barrier they are other images to XLA: it does not see that it
            # computes the same flux twice, and does not store it.
            images = lax.optimization_barrier(images)
            differences = [
                [_difference(_wide(image), along, steps, at) for along in axes]
                for image in images
            ]
            # Where nothing flows in, the parameters are those of the pixel itself.
            enters = _place(images[0], axis) >= -at[axis]
            moved = [
                jnp.where(enters, _shift(p, at), p) if p.ndim and at[axis] else p
                for p in parameters
            ]
            flows.append(flux(penalty, differences, moved)[1])
        fields = [
            field + enter[axis - 1] - leave[axis - 1]
            for field, leave, enter in zip(fields, *flows, strict=True)
        ]
    return fields


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


def _apart(array):
    """Behind barriers: a loop that makes or reads it is over its own rows."""
    # Of two, for XLA takes a reshape that only adds an axis of size 1 for a transpose.
    flat = lax.optimization_barrier(array).reshape(-1)
    return lax.optimization_barrier(flat).reshape(array.shape)


def _values(penalty, pixels):
    """The penalty at pixels, of which some have a next one along each axis."""
    here, nexts, parameters = pixels
    differences = []
    for part, along in zip(here, nexts, strict=True):
        pixel = part.read()
        zero = jnp.zeros_like(pixel)
        differences.append([zero if n is None else n.read() - pixel for n in along])
    return penalty(differences, [parameter.read() for parameter in parameters])


def _sum(values: Callable[[Any], jax.Array], parts: Any) -> jax.Array:
    """The sums, over all axes but the first, of a function of parts of one shape."""
    shape = jax.tree.leaves(parts)[0].shape
    if math.prod(shape) <= _FEW:
        return values(parts).sum(tuple(range(1, len(shape))))
    last = len(shape) - 1
    axis = max(range(1, last), key=shape.__getitem__, default=last)
    axis = axis if shape[axis] >= _TERMS else last
    terms = min(_TERMS, shape[axis])
    loops = min(_LOOPS, shape[axis] // terms)
    rows = shape[axis] // (terms * loops)
    done = terms * loops * rows

    def cut(*span):
        return jax.tree.map(lambda part: part.cut(axis, *span), parts)

    def term(i):
        if axis == last:
            return values(cut(i * rows, (i + 1) * rows))
        return values(cut(i, done, terms * loops))

    sums: Any = None
    for loop in range(loops):
        added = [term(i) for i in range(loop * terms, (loop + 1) * terms)]
        added = functools.reduce(jnp.add, added)
        sums = lax.optimization_barrier(added if sums is None else sums + added)
    ones = jnp.ones(sums.shape[-1], sums.dtype)
    total = jnp.dot(sums, ones, precision="highest")
    total = total.sum(tuple(range(1, last)))
    if done == shape[axis]:
        return total
    return total + _sum(values, cut(done, shape[axis]))


def _joined(images, parameters, axes):
    """The arrays, `[B', ...]`, of one axis for each of differences, and their steps."""
    sizes, steps = _rows(images[0].shape, axes)

    def joined(array):
        return array.reshape(-1, *sizes) if array.ndim else array

    return [*map(joined, images)], [*map(joined, parameters)], steps


def _rows(shape, axes):
    """The sizes of the joined axes, and how far the next pixel is along each."""
    ends = [*axes[1:], len(shape)]
    spans = list(zip(axes, ends, strict=True))
    sizes = [math.prod(shape[axis:end]) for axis, end in spans]
    steps = [math.prod(shape[axis + 1 : end]) for axis, end in spans]
    return sizes, steps


def _box(array, steps, has_next, shifted=0):
    """The pixels that have a next one along some axes, and along the others are last.

    Or, if `shifted` is an axis, those that are their next ones along it.
    """
    box = _Part(array, tuple(slice(0, size) for size in array.shape))
    for axis, (step, moves) in enumerate(zip(steps, has_next, strict=True), start=1):
        if array.ndim:
            size = array.shape[axis]
            start, stop = (0, size - step) if moves else (size - step, size)
            by = step if axis == shifted else 0
            box = box.cut(axis, start + by, stop + by)
    return box


def _wide(array: jax.Array) -> jax.Array:
    return array.astype(accumulator(array.dtype))
