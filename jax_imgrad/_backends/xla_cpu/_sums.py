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
from jax_imgrad._backends.xla_cpu._rows import flatten_axes
from jax_imgrad._dtypes import accumulator
from jax_imgrad._penalties import Coupled
from jax_imgrad._types import PenaltyFunction

_TERMS = 8  # of one loop: some of more are stored
_LOOPS = 4
_FEW = 2**14  # numbers, to be summed in one loop
_MOST_CHANNELS = 4  # to be read side by side: of each, all the numbers are read


@dataclasses.dataclass(frozen=True)
class _Window:
    """A window of an array, or a number. It is sliced once, when it is read.

    XLA of JAX 0.10 would materialize a slice that is sliced again.
    """

    array: jax.Array
    slices: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(range(s.start, s.stop)) for s in self.slices)

    def cut(self, axis: int, start: int, stop: int, stride: int = 1) -> "_Window":
        """The part from `start` to `stop`. A window with a stride is not cut again."""
        if not self.slices:
            return self
        first = self.slices[axis].start
        slices = list(self.slices)
        slices[axis] = slice(first + start, first + stop, stride)
        return _Window(self.array, tuple(slices))

    def read(self) -> jax.Array:
        return self.array[self.slices] if self.slices else self.array


def functional(
    penalty: PenaltyFunction,
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
    rows = flatten_axes(images, parameters, axes)

    def total(penalty):
        return _sum_in_rows(penalty, *rows, channels).reshape(shape[0], -1).sum(1)

    if squares_may_leave(penalty):
        return exact(total(penalty.assuming_in_range()), penalty, *given, axes)
    return total(penalty)


def _sum_in_rows(penalty, images, parameters, strides, channels):
    """The sum of the penalty over each of `[B', ...]` images, `[B']`.

    Pixels are split by the axes along which they have a next one: inside each part,
    loops have no branches.
    """
    dtype = accumulator(images[0].dtype)
    total = jnp.zeros(images[0].shape[0], dtype).real
    for has_next in itertools.product((True, False), repeat=len(strides)):
        window = functools.partial(
            _window, strides=strides, has_next=has_next, channels=channels
        )
        read = [(image, channel) for image in images for channel in range(channels)]
        here = [window(image, channel=channel) for image, channel in read]
        nexts = [
            [
                window(image, channel=channel, next_along=axis) if moves else None
                for axis, moves in enumerate(has_next, start=1)
            ]
            for image, channel in read
        ]
        pixels = (here, nexts, [*map(window, parameters)])
        if 0 not in here[0].shape:
            total += _sum(functools.partial(_values, penalty, dtype), pixels, channels)
    return total


def _values(penalty, dtype, pixels):
    """The penalty at pixels, of which some have a next one along each axis."""
    here, nexts, parameters = pixels
    differences = []
    for window, along in zip(here, nexts, strict=True):
        pixel = window.read().astype(dtype)
        zero = jnp.zeros_like(pixel)
        differences.append(
            [zero if n is None else n.read().astype(dtype) - pixel for n in along]
        )
    return penalty(differences, [parameter.read() for parameter in parameters])


def _sum(values: Callable[[Any], jax.Array], windows: Any, every: int) -> jax.Array:
    """The sums, over all axes but the first, of a function of windows of one shape.

    Along the last axis, only one number in `every` counts, from the first one on.
    """
    shape = jax.tree.leaves(windows)[0].shape
    last = len(shape) - 1
    axis = max(range(1, last), key=shape.__getitem__, default=last)
    axis = axis if shape[axis] >= _TERMS else last
    terms = min(_TERMS, shape[axis])
    loops = min(_LOOPS, shape[axis] // terms)
    rows = shape[axis] // (terms * loops)
    if axis == last:
        rows -= rows % every
    if math.prod(shape) <= _FEW or rows == 0:
        return values(windows)[..., ::every].sum(tuple(range(1, len(shape))))
    done = terms * loops * rows

    def cut(*span):
        return jax.tree.map(lambda window: window.cut(axis, *span), windows)

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


def _window(array, strides, has_next, channels, channel=0, next_along=0):
    """The pixels that have a next one along some axes, and are last along the others.

    With `next_along`, their next pixels along that axis instead. Of several `channels`,
    the window begins at one `channel`, and ends as many numbers earlier: then number
    `k * channels` of each window belongs to pixel k, for all channels. The numbers in
    between mix two pixels, and are not counted.
    """
    window = _Window(array, tuple(slice(0, size) for size in array.shape))
    if not array.ndim:
        return window
    last = len(strides)
    for axis, (stride, moves) in enumerate(zip(strides, has_next, strict=True), 1):
        size = array.shape[axis]
        start, stop = (0, size - stride) if moves else (size - stride, size)
        if axis == next_along:
            start, stop = start + stride, stop + stride
        if axis == last:
            start, stop = start + channel, stop + channel - (channels - 1)
        window = window.cut(axis, start, stop)
    return window
