"""The sum of a penalty: loops that add up rows, all over the image."""

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
from jax_imgrad._backends.xla_cpu._range import exact, squares_may_leave
from jax_imgrad._backends.xla_cpu._rows import joined
from jax_imgrad._dtypes import accumulator, wide
from jax_imgrad._penalties import Coupled
from jax_imgrad._types import Penalty

_TERMS = 8  # of one loop: some of more are stored
_LOOPS = 4
_FEW = 2**14  # numbers, to be summed in one loop
_MOST_CHANNELS = 4  # to be read side by side: of each, all the numbers are read


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
        return part if part.dtype == bool else wide(part)


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
    channels = 1
    given = images, parameters
    if isinstance(penalty, Coupled):
        if shape[-1] <= _MOST_CHANNELS and not any(p.ndim for p in parameters):
            channels = shape[-1]
        else:
            images, parameters = xla.channels_of(images[0], parameters)
    rows = joined(images, parameters, axes)

    def total(penalty):
        return _sum_in_rows(penalty, *rows, channels).reshape(shape[0], -1).sum(1)

    if squares_may_leave(penalty):
        return exact(total(penalty.assuming_in_range()), penalty, *given, axes)
    return total(penalty)


def _sum_in_rows(penalty, images, parameters, steps, channels):
    total = jnp.zeros(images[0].shape[0], accumulator(images[0].dtype)).real
    for has_next in itertools.product((True, False), repeat=len(steps)):
        box = functools.partial(_box, steps=steps, has_next=has_next, channels=channels)
        windows = [(image, c) for image in images for c in range(channels)]
        here = [box(image, channel=c) for image, c in windows]
        nexts = [
            [
                box(image, channel=c, shifted=axis) if moves else None
                for axis, moves in enumerate(has_next, start=1)
            ]
            for image, c in windows
        ]
        pixels = (here, nexts, [*map(box, parameters)])
        if 0 not in here[0].shape:
            total += _sum(functools.partial(_values, penalty), pixels, channels)
    return total


def _values(penalty, pixels):
    """The penalty at pixels, of which some have a next one along each axis."""
    here, nexts, parameters = pixels
    differences = []
    for part, along in zip(here, nexts, strict=True):
        pixel = part.read()
        zero = jnp.zeros_like(pixel)
        differences.append([zero if n is None else n.read() - pixel for n in along])
    return penalty(differences, [parameter.read() for parameter in parameters])


def _sum(values: Callable[[Any], jax.Array], parts: Any, every: int) -> jax.Array:
    """The sums, over all axes but the first, of a function of parts of one shape.

    Of the last axis, only every so many-th number counts, from the first one on.
    """
    shape = jax.tree.leaves(parts)[0].shape
    last = len(shape) - 1
    axis = max(range(1, last), key=shape.__getitem__, default=last)
    axis = axis if shape[axis] >= _TERMS else last
    terms = min(_TERMS, shape[axis])
    loops = min(_LOOPS, shape[axis] // terms)
    rows = shape[axis] // (terms * loops)
    if axis == last:
        rows -= rows % every
    if math.prod(shape) <= _FEW or rows == 0:
        return values(parts)[..., ::every].sum(tuple(range(1, len(shape))))
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
        # XLA for CPU would otherwise fuse these loops into one of all the terms.
        sums = lax.optimization_barrier(added if sums is None else sums + added)
    sums = sums[..., ::every]
    ones = jnp.ones(sums.shape[-1], sums.dtype)
    total = jnp.dot(sums, ones, precision="highest")
    total = total.sum(tuple(range(1, last)))
    if done == shape[axis]:
        return total
    return total + _sum(values, cut(done, shape[axis]), every)


def _box(array, steps, has_next, channels, channel=0, shifted=0):
    """The pixels that have a next one along some axes, and along the others are last.

    Or, if `shifted` is an axis, those that are their next ones along it. The box of one
    of several `channels` is that row from this channel on: side by side, at the number
    `k * channels`, the boxes hold the channels of pixel k. The numbers between mix two
    pixels, and are not counted.
    """
    box = _Part(array, tuple(slice(0, size) for size in array.shape))
    for axis, (step, moves) in enumerate(zip(steps, has_next, strict=True), start=1):
        if array.ndim:
            size = array.shape[axis]
            others = channels - 1 if axis == len(steps) else 0
            start, stop = (0, size - step) if moves else (size - step, size)
            by = (channel if others else 0) + (step if axis == shifted else 0)
            box = box.cut(axis, start + by, stop + by - others)
    return box
