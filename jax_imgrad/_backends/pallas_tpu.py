"""Pallas kernels for TPU, which read each pixel once into vector memory (VMEM).

The loop that XLA makes of the definition fetches a window of the image for every shift.
These kernels fetch a block of rows and its halo, the row after or before the block, and
compute all results from them. They have two drawbacks: XLA fuses nothing into a kernel,
and it cannot partition one over devices. So call them on whole images, or inside
`jax.shard_map`. They have not been timed on a device.

A block must have the memory layout of the image. Otherwise XLA first copies the image
into another layout, whose padding can be many times as large as the image. So the order
of axes in a block is the one in which XLA stores the image by default, which depends on
the shape of the image.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from jax_imgrad._jax import explicit_devices, result_like
from jax_imgrad._stencils import Maps, Stencil1D, transpose

# A vector register has 8 sublanes of 128 lanes of 32 bits. A lane holds two 16-bit
# numbers, which makes 16 sublanes.
_LANES = 128
_SUBLANES = {"float32": 8, "bfloat16": 16}

# A kernel may use 16 MiB of VMEM. It holds two blocks of each of three arrays (one is
# transferred while the other is computed) and the temporaries of the computation.
_BLOCK_BYTES = 1 << 20
_LARGEST_BLOCK = 2 << 20


class _Blocks(NamedTuple):
    """How a batch of images is cut into blocks of whole rows.

    Attributes:
      order: of the axes B, H, W, C in memory; the last varies fastest.
      size: of a block along each axis. None stands for 1, without the axis in the
        block that a kernel sees.
      halo: the number of rows fetched beside a block, of which one is used.
      nbytes: of a block in float32, including its padding to whole registers.
    """

    order: str
    size: dict[str, int | None]
    halo: int
    nbytes: int


class _Plan(NamedTuple):
    """Which kernel computes the maps, and along which axes.

    Attributes:
      name: of the kernel, as it appears in the compiled program.
      kernel: the function that computes a block.
      halo: which rows beside a block it reads, "below" or "above".
      results: the number of its results.
      axes: of the rows and of the columns.
    """

    name: str
    kernel: Callable
    halo: str
    results: int
    axes: tuple[int, int] = (0, 1)


def why_not(operand_type: Any, maps: Maps | None, stacked: bool) -> str | None:
    """The reason why no kernel computes these maps, or None if one does."""
    if not all(isinstance(size, int) for size in operand_type.shape):
        return f"it needs a shape of known numbers, got {operand_type.shape}"
    if operand_type.dtype.name not in _SUBLANES:
        return f"it computes in float32 and bfloat16 only, got {operand_type.dtype}"
    if explicit_devices(operand_type) > 1:
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
    shape = _image_shape(operand_type.shape, plan.axes)
    return _too_wide(shape, operand_type.dtype) if operand_type.size else None


def _too_wide(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """The reason why images of a shape `[B, H, W, C]` do not fit, or None."""
    if _blocks(shape, dtype).nbytes <= _LARGEST_BLOCK:
        return None
    return f"blocks of whole rows of {shape[2]} columns do not fit in VMEM"


def stencil(images: Sequence[jax.Array], maps: Maps, stacked: bool) -> list[jax.Array]:
    """For each row of `maps`, the sum of its stencils applied to the images."""
    plan = _plan(maps, stacked)
    assert plan is not None  # `why_not` has made sure
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


def _signed(block: jax.Array, sign: int) -> jax.Array:
    return block if sign == 1 else -block


def _from_next(block: jax.Array, beside: jax.Array, axis: int) -> jax.Array:
    """`block[i + 1]` at index i along an axis; at the last one, `beside[0]`."""
    if block.shape[axis] == 1:  # Mosaic has no empty vector
        return lax.slice_in_dim(beside, 0, 1, axis=axis)
    rest = lax.slice_in_dim(block, 1, None, axis=axis)
    return jnp.concatenate([rest, lax.slice_in_dim(beside, 0, 1, axis=axis)], axis)


def _from_previous(block: jax.Array, beside: jax.Array, axis: int) -> jax.Array:
    """`block[i - 1]` at index i along an axis; at the first one, `beside[-1]`."""
    if block.shape[axis] == 1:
        return lax.slice_in_dim(beside, -1, None, axis=axis)
    rest = lax.slice_in_dim(block, 0, -1, axis=axis)
    return jnp.concatenate([lax.slice_in_dim(beside, -1, None, axis=axis), rest], axis)


def _index(block: jax.Array, axis: int) -> jax.Array:
    """The index along an axis, in the shape of the block."""
    return lax.broadcasted_iota(jnp.int32, block.shape, axis)


def _row(block: jax.Array) -> jax.Array:
    """The row in the image of each element of a block."""
    return pl.program_id(2) * block.shape[0] + _index(block, 0)


def _image_axes(rank: int, axes: tuple[int, int]) -> tuple[int, ...]:
    """The permutation of axes that makes an array a batch of images `[..., H, W, C]`.

    `axes` become H and W, and the last of the other axes becomes C.
    """
    others = [axis for axis in range(rank) if axis not in axes]
    return (*others[:-1], *axes, *others[-1:])


def _image_shape(shape: tuple[int, ...], axes: tuple[int, int]) -> tuple[int, ...]:
    """The shape `[B, H, W, C]` after that permutation, with batch axes merged."""
    sizes = [shape[axis] for axis in _image_axes(len(shape), axes)]
    *batch, height, width, channels = sizes if len(sizes) > 2 else [*sizes, 1]
    return math.prod(batch), height, width, channels


def _call(plan: _Plan, operands: Sequence[jax.Array]) -> list[jax.Array]:
    """Applies the kernel to arrays of any rank, as batches of images."""
    shape = operands[0].shape
    if math.prod(shape) == 0:
        return [jnp.zeros_like(operands[0])] * plan.results
    order = _image_axes(len(shape), plan.axes)
    ordered = [operand.transpose(order) for operand in operands]
    as_images = _image_shape(shape, plan.axes)
    results = _call_on_images(plan, [array.reshape(as_images) for array in ordered])
    inverse = np.argsort(order)
    return [result.reshape(ordered[0].shape).transpose(inverse) for result in results]


def _call_on_images(plan: _Plan, operands: list[jax.Array]) -> list[jax.Array]:
    """Applies the kernel to arrays `[B, H, W, C]`.

    It reads the blocks of the operands, and the halo of the first operand.
    """
    image = operands[0]
    # `why_not` has checked the shape before a `vmap`, which may have changed it.
    if reason := _too_wide(image.shape, image.dtype):
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
    """The specification of the blocks, and those of the halos below and above them.

    The halo of a block at the border of the image is clipped to the image; kernels do
    not use it.
    """

    def spec(rows: int, row_block: Callable) -> pl.BlockSpec:
        size = blocks.size | {"H": rows}

        def index(b, c, h):
            indices = {"B": b, "C": c, "H": row_block(h), "W": 0}
            return tuple(indices[axis] for axis in blocks.order)

        return pl.BlockSpec(tuple(size[axis] for axis in blocks.order), index)

    rows, halo = blocks.size["H"] or 1, blocks.halo
    step, last = rows // halo, pl.cdiv(height, halo) - 1
    return spec(rows, lambda h: h), {
        "below": spec(halo, lambda h: jnp.minimum((h + 1) * step, last)),
        "above": spec(halo, lambda h: jnp.maximum(h * step - 1, 0)),
    }


def _blocks(shape: tuple[int, ...], dtype: np.dtype) -> _Blocks:
    """Blocks of about 1 MiB, in the default memory layout of such images."""
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


def _order(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """The order of axes in which XLA for TPU stores images by default.

    The last axis runs along lanes: channels if they are a multiple of 128,
    otherwise columns. The axis before it runs along sublanes: the one that needs the
    least padding. Padding rounds its size up to a multiple of a power of two of at
    most 8.
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
