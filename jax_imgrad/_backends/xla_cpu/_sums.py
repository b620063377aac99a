"""The sum of a penalty, by loops that add slices of the image elementwise.

XLA for CPU does not vectorize a reduction. So the penalties are first added up slice by
slice, into an array much smaller than the image, by loops that XLA does vectorize. Only
that array is reduced.

The pixels are split into parts by the axes along which they have a next pixel: the
interior, in which they have one along every axis, the last row, the last column and so
on. In each part, the differences need no test for the border.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla_cpu._range import exact, is_checked
from jax_imgrad._backends.xla_cpu._rows import flatten_axes
from jax_imgrad._banded import times
from jax_imgrad._dtypes import accumulator
from jax_imgrad._penalties import Coupled, Variation
from jax_imgrad._stencils import Difference, SeparableStencil, as_differences
from jax_imgrad._types import PenaltyFunction

_TERMS = 8  # slices added in one loop; with more, XLA for CPU materializes some
_LOOPS = 4  # before the array is reduced
_FEW = 2**14  # arrays of at most this many numbers are reduced directly
# Coupled channels are read side by side up to this number: to read one channel is to
# read the numbers of all of them.
_MOST_CHANNELS = 4


@dataclasses.dataclass(frozen=True)
class _Window:
    """A rectangular part of an array, or a scalar, that is read later.

    A window of a window is computed from the indices, so that the array is sliced only
    once. XLA of JAX 0.10 would materialize a slice that is sliced again.
    """

    array: jax.Array
    slices: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(range(s.start, s.stop)) for s in self.slices)

    def cut(self, axis: int, start: int, stop: int, stride: int = 1) -> "_Window":
        """The part from `start` to `stop` along an axis, with a stride.

        A window with a stride cannot be cut again. A scalar stays as it is.
        """
        if not self.slices:
            return self
        first = self.slices[axis].start
        slices = list(self.slices)
        slices[axis] = slice(first + start, first + stop, stride)
        return _Window(self.array, tuple(slices))

    def read(self) -> jax.Array:
        """The numbers in the window."""
        return self.array[self.slices] if self.slices else self.array


class _Windows(NamedTuple):
    """What the penalty of some pixels is computed from: windows of one shape.

    Attributes:
      pixels: of each image, the pixels.
      nexts: of each image and axis, the next pixels, or None if there are none.
      parameters: of the penalty, at the pixels.
    """

    pixels: list[_Window]
    nexts: list[list[_Window | None]]
    parameters: list[_Window]


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    return sum_and_weight(penalty, images, parameters, stencils)[0]


def sum_and_weight(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> tuple[jax.Array, jax.Array | None]:
    """The same sum, and the sum of the weights that its check needs, if it is checked.

    The stencils are forward differences.
    """
    differences = as_differences(stencils)
    assert differences is not None
    if not is_checked(penalty, images):
        return _sum_of_penalty(penalty, images, parameters, differences), None
    fast = _sum_of_penalty(penalty.assuming_in_range(), images, parameters, differences)
    weight = _total_weight(penalty, images[0], parameters, differences)
    return exact(fast, penalty, images, parameters, stencils, weight), weight


def _total_weight(
    penalty: Variation,
    image: jax.Array,
    parameters: Sequence[jax.Array],
    differences: Sequence[Difference],
) -> jax.Array:
    """The sum of the weights of all differences, `[B]`, or a number for all images."""
    size, dtype = image[0].size, accumulator(image.dtype)
    weights = penalty.weights_of(parameters)
    if not weights:
        return jnp.asarray(size * len(differences), dtype)
    of_pixel = len(differences) // len(weights)  # differences with the same weight
    totals = [sum_of(lambda w: w, one) if one.ndim else size * one for one in weights]
    return of_pixel * functools.reduce(jnp.add, totals)


def sum_of(function: Callable[[Any], jax.Array], arrays: Any) -> jax.Array:
    """The sum of a pointwise function of a tree of arrays, over each image, `[B]`.

    The arrays have one shape `[B, ...]`, or are scalars.
    """
    leaves, tree = jax.tree.flatten(arrays)
    flat = [leaf.reshape(len(leaf), -1) if leaf.ndim else leaf for leaf in leaves]
    windows = _Windows([*map(_window_of, flat)], [], [])

    def values(windows: _Windows) -> jax.Array:
        return function(tree.unflatten(window.read() for window in windows.pixels))

    return _sum(values, windows, 1)


def _sum_of_penalty(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    differences: Sequence[Difference],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    shape = images[0].shape
    interleaved = 1  # channels that are read side by side
    if isinstance(penalty, Coupled):
        if shape[-1] <= _MOST_CHANNELS and not any(p.ndim for p in parameters):
            interleaved = shape[-1]
        else:
            images, parameters = xla.channels_of(images[0], parameters)
    axes = tuple(difference.axis for difference in differences)
    rows = flatten_axes(images, parameters, axes)
    sums = _sum_in_rows(penalty, *rows, differences, interleaved)
    return sums.reshape(shape[0], -1).sum(1)


def _sum_in_rows(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    strides: Sequence[int],
    differences: Sequence[Difference],
    channels: int,
) -> jax.Array:
    """The sum of the penalty over each of the flattened images `[B', ...]`, `[B']`.

    `channels` is the number of coupled channels that are read side by side, or 1.
    """
    dtype = accumulator(images[0].dtype)
    values = functools.partial(_values, penalty, differences, dtype)
    total = jnp.zeros(images[0].shape[0], dtype).real
    for has_next in itertools.product((True, False), repeat=len(strides)):
        window = functools.partial(
            _window, strides=strides, has_next=has_next, channels=channels
        )
        read = [(image, channel) for image in images for channel in range(channels)]
        pixels = [window(image, channel=channel) for image, channel in read]
        nexts = [
            [
                window(image, channel=channel, next_along=axis)
                if exists or difference.boundary == "wrap"
                else None
                for axis, (exists, difference) in enumerate(
                    zip(has_next, differences, strict=True), start=1
                )
            ]
            for image, channel in read
        ]
        windows = _Windows(pixels, nexts, [*map(window, parameters)])
        if 0 not in pixels[0].shape:
            total += _sum(values, windows, channels)
    return total


def _values(
    penalty: PenaltyFunction,
    differences: Sequence[Difference],
    dtype: np.dtype,
    windows: _Windows,
) -> jax.Array:
    """The penalty of the pixels in the windows."""

    def value(pixel: jax.Array, following: _Window | None, difference: Difference):
        if following is not None:
            one = following.read().astype(dtype) - pixel
        else:
            one = -pixel if difference.boundary == "constant" else jnp.zeros_like(pixel)
        return times(one, difference.factor)

    of_images = []
    for window, nexts in zip(windows.pixels, windows.nexts, strict=True):
        pixel = window.read().astype(dtype)
        of_images.append(
            [value(pixel, *pair) for pair in zip(nexts, differences, strict=True)]
        )
    return penalty(of_images, [parameter.read() for parameter in windows.parameters])


def _sum(
    values: Callable[[_Windows], jax.Array], windows: _Windows, every: int
) -> jax.Array:
    """The sums of a function of windows of one shape, over all axes but the first.

    Along the last axis, only the numbers 0, `every`, 2 * `every` and so on count.
    """
    shape = windows.pixels[0].shape
    last = len(shape) - 1
    # The axis along which slices are taken: the longest one that is neither the batch
    # nor the last, so that loops run along whole rows; the last if that is too short.
    axis = max(range(1, last), key=shape.__getitem__, default=last)
    axis = axis if shape[axis] >= _TERMS else last
    terms = min(_TERMS, shape[axis])
    loops = min(_LOOPS, shape[axis] // terms)
    rows = shape[axis] // (terms * loops)
    if axis == last:
        rows -= rows % every  # every slice must begin with a number that counts
    if math.prod(shape) <= _FEW or rows == 0:
        return values(windows)[..., ::every].sum(tuple(range(1, len(shape))))
    done = terms * loops * rows

    def cut(*span: int) -> _Windows:
        return jax.tree.map(lambda window: window.cut(axis, *span), windows)

    def term(i: int) -> jax.Array:
        if axis == last:  # contiguous
            return values(cut(i * rows, (i + 1) * rows))
        return values(cut(i, done, terms * loops))  # every (terms * loops)-th row

    sums: Any = None
    for loop in range(loops):
        added = [term(i) for i in range(loop * terms, (loop + 1) * terms)]
        added = functools.reduce(jnp.add, added)
        # Without the barrier, XLA for CPU would fuse these loops into one loop over all
        # the terms, of which it would materialize some.
        sums = lax.optimization_barrier(added if sums is None else sums + added)
    sums = sums[..., ::every]
    ones = jnp.ones(sums.shape[-1], sums.dtype)
    total = jnp.dot(sums, ones, precision="highest")
    total = total.sum(tuple(range(1, last)))
    if done == shape[axis]:
        return total
    return total + _sum(values, cut(done, shape[axis]), every)


def _window_of(array: jax.Array) -> _Window:
    """The window of all of an array."""
    return _Window(array, tuple(slice(0, size) for size in array.shape))


def _window(
    array: jax.Array,
    strides: Sequence[int],
    has_next: Sequence[bool],
    channels: int,
    channel: int = 0,
    next_along: int = 0,
) -> _Window:
    """The window of the pixels that have a next one along given axes, and not others.

    Args:
      array: a flattened image or parameter, or a scalar.
      strides: of the axes 1, 2 and so on.
      has_next: for each of those axes, whether the pixels have a next one; otherwise
        they are the last ones. The next ones of the last are the first.
      channels: the number of channels that are read side by side, or 1.
      channel: the first number of the window, along the last axis. The windows of all
        channels have the same length, which ends `channels - 1` numbers early. So the
        number `k * channels` in the window of a channel belongs to pixel k; the numbers
        in between belong to other pixels in some of the windows, and do not count.
      next_along: if not 0, an axis: the window of the next pixels along it instead.
    """
    window = _window_of(array)
    if not array.ndim:
        return window
    last = len(strides)
    for axis, (stride, exists) in enumerate(zip(strides, has_next, strict=True), 1):
        size = array.shape[axis]
        start, stop = (0, size - stride) if exists else (size - stride, size)
        if axis == next_along:
            start = start + stride if exists else 0  # the next of the last is the first
            stop = start + (size - stride if exists else stride)
        if axis == last:
            start, stop = start + channel, stop + channel - (channels - 1)
        window = window.cut(axis, start, stop)
    return window
