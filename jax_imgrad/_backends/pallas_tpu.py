"""The same through the vector memory (VMEM) of a TPU: each byte is moved once.

XLA's loop fetches a window of the image for every use of it. These kernels fetch a
block of rows and its *halo*, the row after it or before it, and write both results from
it. The price is that a kernel is opaque: XLA fuses nothing into it and cannot split it
over devices, so call it on whole images, or inside `jax.shard_map`. It has not been
timed on a device.

A block must lie in memory as the image does, or XLA first copies the image into another
layout, with padding that can be many times as large as the image. So blocks follow the
order of axes in which XLA stores an image by default, which depends on its shape.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from jax_imgrad._jax import explicit_devices, result_like
from jax_imgrad._stencils import Maps, Stencil1D, transpose

# A vector register is 8 sublanes of 128 lanes of 32 bits; 16-bit numbers come in pairs.
_LANES = 128
_SUBLANES = {"float32": 8, "bfloat16": 16}

# Three arrays, each fetched while another is computed, and what the computation holds,
# share the 16 MiB that a kernel may use.
_BLOCK_BYTES = 1 << 20
_LARGEST_BLOCK = 2 << 20


class _Blocks(NamedTuple):
    """How a batch of images is cut into blocks of whole rows."""

    order: str  # of the axes B, H, W, C in memory, the slowest first
    size: dict[str, int | None]  # of a block along each axis; None drops the axis
    halo: int  # rows fetched beside a block, of which one is used
    nbytes: int  # of a block, in float32, with its padding to whole registers


class _Plan(NamedTuple):
    """Which kernel computes the maps, and along which axes."""

    name: str
    kernel: Callable
    halo: str  # which rows beside a block it reads
    results: int
    axes: tuple[int, int] = (0, 1)  # rows and columns


def why_not(operand: jax.Array, maps: Maps | None, stacked: bool) -> str | None:
    """Why no kernel computes these maps of arrays of this type, or None."""
    if not all(isinstance(size, int) for size in operand.shape):
        return f"it needs a shape of known numbers, got {operand.shape}"
    if operand.dtype.name not in _SUBLANES:
        return f"it computes in float32 and bfloat16 only, got {operand.dtype}"
    if explicit_devices(operand) > 1:
        return (
            "a kernel cannot be split over the devices of a mesh with explicit axes; "
            "call it inside jax.shard_map over all axes of the mesh"
        )
    plan = _plan(maps, stacked)
    if plan is None:
        return (
            "its kernels compute forward differences along two axes with "
            "boundary='interior' and spacing=1, and their divergence"
        )
    shape = _image_shape(operand.shape, plan.axes)
    return _too_wide(shape, operand.dtype) if operand.size else None


def _too_wide(shape: tuple[int, ...], dtype) -> str | None:
    if _blocks(shape, dtype).nbytes <= _LARGEST_BLOCK:
        return None
    return f"blocks of whole rows of {shape[2]} columns do not fit in VMEM"


def stencil(images: Sequence[jax.Array], maps: Maps, stacked: bool) -> list[jax.Array]:
    """For each row of `maps`, the sum of its stencils applied to the images."""
    plan = _plan(maps, stacked)
    assert plan is not None  # `why_not` has seen to it
    return _call(plan, images)


def _plan(maps: Maps | None, stacked: bool) -> _Plan | None:
    """The plan for a gradient, its transpose, or a divergence; None for other maps.

    The divergence is minus the transpose of the gradient.
    """
    if maps is None or stacked:
        return None
    if len(maps) == 2 and all(len(row) == 1 for row in maps):  # two results of an image
        stencils = [row[0] for row in maps]
        plan = _Plan("image_gradients_pallas_tpu", _image_gradients_kernel, "below", 2)
    elif len(maps) == 1 and len(maps[0]) == 2:  # one result of two images
        stencils = [transpose(one) for one in maps[0]]
        plan = _Plan("divergence_pallas_tpu", _divergence_kernel, "above", 1)
    else:
        return None
    if not all(len(one) == 1 for one in stencils):
        return None
    ((rows, down),), ((columns, right),) = stencils
    if down != right or rows == columns:
        return None
    for sign in (1, -1):
        if down == Stencil1D(((0, -sign), (1, sign)), "interior"):
            kernel = functools.partial(plan.kernel, sign=sign)
            return plan._replace(kernel=kernel, axes=(rows, columns))
    return None


def _image_gradients_kernel(
    image_ref, below_ref, dy_ref, dx_ref, *, sign, last_row, columns
):
    image = image_ref[...].astype(jnp.float32)
    below = below_ref[...].astype(jnp.float32)
    down = _from_next(image, below, axis=0)
    right = _from_next(image, image, axis=columns)
    dy = jnp.where(_row(image) < last_row, down - image, 0)
    dx = jnp.where(_index(image, columns) < image.shape[columns] - 1, right - image, 0)
    dy_ref[...] = _signed(dy, sign).astype(dy_ref.dtype)
    dx_ref[...] = _signed(dx, sign).astype(dx_ref.dtype)


def _divergence_kernel(dy_ref, dx_ref, above_ref, out_ref, *, sign, last_row, columns):
    dy = dy_ref[...].astype(jnp.float32)
    dx = dx_ref[...].astype(jnp.float32)
    above = above_ref[...].astype(jnp.float32)
    row, column = _row(dy), _index(dx, columns)
    down = jnp.where(row < last_row, dy, 0)
    down -= jnp.where(row > 0, _from_previous(dy, above, axis=0), 0)
    right = jnp.where(column < dx.shape[columns] - 1, dx, 0)
    right -= jnp.where(column > 0, _from_previous(dx, dx, axis=columns), 0)
    out_ref[...] = _signed(down + right, -sign).astype(out_ref.dtype)


def _signed(block, sign):
    return block if sign == 1 else -block


def _from_next(block, beside, axis):
    """The next place's value in each place; in the last, the first one of `beside`."""
    if block.shape[axis] == 1:  # Mosaic has no empty vector
        return lax.slice_in_dim(beside, 0, 1, axis=axis)
    rest = lax.slice_in_dim(block, 1, None, axis=axis)
    return jnp.concatenate([rest, lax.slice_in_dim(beside, 0, 1, axis=axis)], axis)


def _from_previous(block, beside, axis):
    """The previous place's value in each place; in the first, the last of `beside`."""
    if block.shape[axis] == 1:
        return lax.slice_in_dim(beside, -1, None, axis=axis)
    rest = lax.slice_in_dim(block, 0, -1, axis=axis)
    return jnp.concatenate([lax.slice_in_dim(beside, -1, None, axis=axis), rest], axis)


def _index(block, axis):
    return lax.broadcasted_iota(jnp.int32, block.shape, axis)


def _row(block):
    """The row of the image in which each place of a block lies."""
    return pl.program_id(2) * block.shape[0] + _index(block, 0)


def _image_axes(rank: int, axes: tuple[int, int]) -> tuple[int, ...]:
    """The order of axes in which an array is a batch of images `[..., H, W, C]`."""
    others = [axis for axis in range(rank) if axis not in axes]
    return (*others[:-1], *axes, *others[-1:])


def _image_shape(shape: tuple[int, ...], axes: tuple[int, int]) -> tuple[int, ...]:
    """The shape `[B, H, W, C]` as which a kernel takes an array."""
    sizes = [shape[axis] for axis in _image_axes(len(shape), axes)]
    *batch, height, width, channels = sizes if len(sizes) > 2 else [*sizes, 1]
    return math.prod(batch), height, width, channels


def _call(plan: _Plan, operands: Sequence[jax.Array]) -> list[jax.Array]:
    """The kernel on arrays of any rank."""
    shape = operands[0].shape
    if math.prod(shape) == 0:
        return [jnp.zeros_like(operands[0])] * plan.results
    order = _image_axes(len(shape), plan.axes)
    ordered = [operand.transpose(order) for operand in operands]
    as_images = _image_shape(shape, plan.axes)
    results = _call_on_images(plan, [one.reshape(as_images) for one in ordered])
    back = np.argsort(order)
    return [result.reshape(ordered[0].shape).transpose(back) for result in results]


def _call_on_images(plan: _Plan, operands: list[jax.Array]) -> list[jax.Array]:
    """The kernel on the blocks of the operands and on the halo of the first one."""
    image = operands[0]
    if reason := _too_wide(image.shape, image.dtype):  # after a vmap, other axes
        raise NotImplementedError(f"implementation='pallas_tpu' under vmap: {reason}")
    blocks = _blocks(image.shape, image.dtype)
    viewed = [
        operand.transpose(*map("BHWC".index, blocks.order)) for operand in operands
    ]
    whole, beside = _specs(blocks, image.shape[1])
    sizes = dict(zip("BHWC", image.shape, strict=True))
    out = result_like(viewed[0].shape, image)
    axes_of_block = [axis for axis in blocks.order if blocks.size[axis]]
    results = pl.pallas_call(
        functools.partial(
            plan.kernel, last_row=sizes["H"] - 1, columns=axes_of_block.index("W")
        ),
        grid=tuple(pl.cdiv(sizes[axis], blocks.size[axis] or 1) for axis in "BCH"),
        in_specs=[*[whole] * len(operands), beside[plan.halo]],
        out_specs=[whole] * plan.results,
        out_shape=[out] * plan.results,
        name=plan.name,
    )(*viewed, viewed[0])
    return [result.transpose(*map(blocks.order.index, "BHWC")) for result in results]


def _specs(
    blocks: _Blocks, height: int
) -> tuple[pl.BlockSpec, dict[str, pl.BlockSpec]]:
    """The specification of whole blocks, and of the rows below and above them."""

    def spec(rows: int, row_block: Callable) -> pl.BlockSpec:
        size = blocks.size | {"H": rows}

        def index(b, c, h):
            at = {"B": b, "C": c, "H": row_block(h), "W": 0}
            return tuple(at[axis] for axis in blocks.order)

        return pl.BlockSpec(tuple(size[axis] for axis in blocks.order), index)

    rows, halo = blocks.size["H"] or 1, blocks.halo
    step, last = rows // halo, pl.cdiv(height, halo) - 1
    return spec(rows, lambda h: h), {
        "below": spec(halo, lambda h: jnp.minimum((h + 1) * step, last)),
        "above": spec(halo, lambda h: jnp.maximum(h * step - 1, 0)),
    }


def _blocks(shape: tuple[int, ...], dtype) -> _Blocks:
    """Blocks of about a mebibyte that lie as XLA stores such images by default."""
    batch, height, width, channels = shape
    sublanes = _SUBLANES[dtype.name]
    order = _order(shape, dtype)
    size = {"B": None, "C": None, "H": None, "W": width}
    halo, row = 1, 8 * _round_up(width, _LANES)
    if order == "BHWC":
        size["C"], row = _LANES, _round_up(width, 8) * _LANES
    elif order == "BHCW":
        size["C"] = min(channels, sublanes)
    elif order == "HCBW":
        size["B"] = min(batch, sublanes)
    else:
        halo, row = min(height, sublanes), row // 8
    most = max(1, _BLOCK_BYTES // (4 * row))
    rows = _round_up(pl.cdiv(height, pl.cdiv(height, most)), halo)
    return _Blocks(order, size | {"H": rows}, halo, 4 * row * rows)


def _order(shape: tuple[int, ...], dtype) -> str:
    """The axes in memory: the last runs along lanes, the one before along sublanes.

    XLA puts channels in lanes where they fill them, else columns, and in sublanes the
    axis that needs the least padding, which it does in powers of two up to 8.
    """
    batch, height, _, channels = shape
    if channels % _LANES == 0:
        return "BHWC"
    packed = 4 // dtype.itemsize

    def padding(size: int) -> float:
        tile = min(8, max(packed, pl.next_power_of_2(size)))
        return _round_up(size, tile) / size

    in_sublanes = {"BHCW": channels, "BCHW": height, "HCBW": batch}
    return min(in_sublanes, key=lambda order: padding(in_sublanes[order]))


def _round_up(size: int, multiple: int) -> int:
    return pl.cdiv(size, multiple) * multiple
