"""Checks of arrays, and the messages of their errors."""

import operator
import os
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad.typing import Numbers

# The dtype that holds every difference of two numbers of a dtype. Signed integers
# keep theirs, as in TensorFlow. Unsigned ones would wrap around, 5 - 10 = 251, so they
# take the next signed type; for uint64 there is none.
_DIFFERENCE_DTYPE = {
    "bool": "int8",
    "uint2": "int4",
    "uint4": "int8",
    "uint8": "int16",
    "uint16": "int32",
    "uint32": "int64",
    "uint64": None,
    **{name: name for name in ("int2", "int4", "int8", "int16", "int32", "int64")},
    **{name: name for name in ("bfloat16", "float16", "float32", "float64")},
    **{name: name for name in ("complex64", "complex128")},
}
_NUMBERS = "an integer, bfloat16, float16, float32, float64 or complex"


def as_array(name: str, value: Any) -> jax.Array:
    """`value` as an array of JAX, if it is an array of JAX or NumPy, of numbers."""
    array = _as_any_array(name, value)
    if array.dtype.name not in _DIFFERENCE_DTYPE:
        is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
        draw, convert = "draw numbers with jax.random", "convert it with "
        raise TypeError(
            f"{name} must be bool, {_NUMBERS}, got {array.dtype}; "
            + (draw if is_key else f"{convert}{name}.astype('float32')")
        )
    return array


def _as_any_array(name: str, value: Any) -> jax.Array:
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, str | bytes | os.PathLike):
        raise TypeError(
            f"{name} must be an array, got {value!r}; read an image file first, for "
            "example with numpy.asarray(PIL.Image.open(path))"
        )
    if isinstance(value, np.ma.MaskedArray):
        where = f", and where=~numpy.ma.getmaskarray({name}) to a function that has it"
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array; pass "
            f"numpy.ma.getdata({name})"
            + ("" if name in ("where", "delta", "edge_weight") else where)
        )
    if not (isinstance(value, np.ndarray) or hasattr(value, "__jax_array__")):
        rows = isinstance(value, list | tuple)
        convert = "convert it with numpy.asarray, which needs rows of one length"
        raise TypeError(
            f"{name} must be an array of JAX or NumPy, got {type(value).__name__}; "
            + (convert if rows else "pass an array")
        )
    try:
        return jnp.asarray(value)
    except TypeError as error:
        raise TypeError(
            f"{name} must be an array of numbers, got one of dtype "
            f"{getattr(value, 'dtype', None)}; convert it with {name}.astype('float32')"
        ) from error


def check_image_rank(name: str, array: jax.Array, or_one: bool = False) -> None:
    """Raises ValueError unless `array` is a batch of images; or one, if that may be."""
    ranks = {3, 4} if or_one else {4}
    try:
        chex.assert_rank(array, ranks)
        is_image = array.ndim in ranks  # chex.disable_asserts() silences chex, not us
    except AssertionError:
        is_image = False
    if not is_image:
        expected = "4 axes, [batch, height, width, channels]"
        expected += ", or 3, without the batch" if or_one else ""
        raise ValueError(
            f"{name} must have {expected}, got {array.ndim} in shape "
            f"{array.shape}{_rank_remedy(name, array)}"
        )


def _rank_remedy(name: str, array: jax.Array) -> str:
    give = {
        0: "",
        1: f"give a gray row its other axes with {name}[None, None, :, None]",
        2: f"give a gray image its batch and channel axes with {name}[None, ..., None]",
        3: f"give one image its batch axis with {name}[None], or gray images their "
        f"channel axis with {name}[..., None]{_of_channels_first(name, array)}",
    }
    remedy = give.get(array.ndim, "map over more axes with jax.vmap")
    return f"; {remedy}" if remedy else ""


def _of_channels_first(name: str, array: jax.Array) -> str:
    """What to pass for one image whose first axis looks like its channels."""
    if array.ndim != 3:
        return ""
    few = array.shape[0] in (1, 3, 4) and array.shape[2] not in range(1, 5)
    moved = f"jax.numpy.moveaxis({name}, 0, -1)[None]"
    return f"; of one image [C, H, W] pass {moved}" if few else ""


def shape_remedy(name: str, array: Numbers, fits: Callable[[tuple], bool]) -> str:
    """The first of some forms of an array whose shape fits, if there is one."""
    shape = array.shape
    forms = {
        f"{name}[..., None]": (*shape, 1),
        f"{name}[None]": (1, *shape),
        f"{name}[None, ..., None]": (1, *shape, 1),
    }
    if len(shape) == 1:
        forms[f"{name}[:, None, None]"] = (*shape, 1, 1)
        forms[f"{name}[:, None, None, None]"] = (*shape, 1, 1, 1)
    if len(shape) > 2:
        moved = (shape[0], *shape[2:], shape[1])
        forms[f"jax.numpy.moveaxis({name}, 1, -1)"] = moved
    found = [form for form, new in forms.items() if fits(new)]
    return f"; pass {found[0]}" if found else ""


def broadcasts(shape: tuple, to: tuple) -> bool:
    """Whether an array of a shape broadcasts, by NumPy's rule, to another shape."""
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(n in (1, m) for n, m in pairs)


def as_fields(name: str, value: Any, axes: Any) -> list[jax.Array]:
    """`value` as arrays of one shape and dtype, one for each of the axes."""
    count = len(as_integers("axes", axes))
    if not (isinstance(value, Sequence) and len(value) == count > 0):
        got = type(value).__name__
        if isinstance(value, Sequence):
            got += f" of {len(value)}"
        elif getattr(value, "shape", ())[:1] == (count,):
            got += f"; pass tuple({name})"
        raise TypeError(
            f"{name} must be the tuple that the gradient of an image is, one array for "
            f"each of the axes {axes}, got {got}"
        )
    arrays = [as_array(f"{name}[{i}]", part) for i, part in enumerate(value)]
    for array in arrays:
        if (array.shape, array.dtype) != (arrays[0].shape, arrays[0].dtype):
            raise ValueError(
                f"{name} must be arrays of one shape and dtype, got {arrays[0].dtype} "
                f"{arrays[0].shape} and {array.dtype} {array.shape}; pass those of one "
                "image"
            )
    return arrays


def check_real(name: str, dtype: np.dtype) -> None:
    """Raises TypeError for complex numbers."""
    if dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, got {dtype}; pass {name}.real or abs({name})"
        )


def check_has_batch(name: str, array: jax.Array) -> None:
    """Raises ValueError unless there is a batch axis and at least one more."""
    if array.ndim < 2:
        raise ValueError(
            f"{name} must have a batch axis and at least one more, got shape "
            f"{array.shape}; give one image its batch axis with {name}[None]"
        )


def as_real_images(**images: Any) -> list[jax.Array]:
    """Batches of real images of one shape, by their names."""
    arrays = {name: as_array(name, image) for name, image in images.items()}
    (first, *_) = arrays
    shape = arrays[first].shape
    for name, array in arrays.items():
        check_real(name, array.dtype)
        if array.shape != shape:
            remedy = shape_remedy(name, array, lambda new: new == shape)
            if array.ndim == len(shape) and broadcasts(array.shape, shape):
                remedy = f"; pass jax.numpy.broadcast_to({name}, {first}.shape)"
            raise ValueError(
                f"{name} must have the shape of {first}, {shape}, got "
                f"{array.shape}{remedy or '; resize or crop it first'}"
            )
    return [*arrays.values()]


def check_guide(name: str, guide: jax.Array, as_: str, field: jax.Array) -> None:
    """Raises ValueError unless the two have one shape up to the last axis."""
    pixels = field.shape[:-1]
    if guide.shape[:-1] != pixels:
        remedy = shape_remedy(name, guide, lambda new: new[:-1] == pixels)
        moves = [f"jax.numpy.moveaxis({one}, 1, -1)" for one in (as_, name)]
        moved = [(*a.shape[:1], *a.shape[2:]) for a in (field, guide)]
        if not remedy and moved[0] == guide.shape[:-1]:
            remedy = f"; channels come last: pass {moves[0]}"
        elif not remedy and moved[0] == moved[1]:
            remedy = f"; channels come last: pass {moves[0]} and {moves[1]}"
        elif not remedy and broadcasts(guide.shape[:-1], pixels):
            every = f"(*{as_}.shape[:-1], {guide.shape[-1]})"
            remedy = f"; pass jax.numpy.broadcast_to({name}, {every})"
        raise ValueError(
            f"{name} must have the shape of {as_} up to the last axis, {pixels}, got "
            f"{guide.shape[:-1]}{remedy or '; resize it first'}"
        )
    if guide.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one channel, got {guide.shape}")


def as_integers(name: str, value: Any) -> tuple[int, ...]:
    """One integer, or several."""
    try:
        several = tuple(value) if np.ndim(value) else (value,)
        if any(isinstance(one, bool | np.bool_) for one in several):
            raise TypeError("a bool is not an axis")
        return tuple(map(operator.index, several))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be an integer or a sequence of integers, got {value!r}"
        ) from error


def as_axes(
    axes: Any, name: str, array: jax.Array, has_channels: bool = False
) -> tuple[int, ...]:
    """Axes of `array` other than the first, counted from it, in increasing order.

    If it `has_channels`, the last axis is not among them either.
    """
    wanted = as_integers("axes", axes)
    counted = sorted(axis + array.ndim if axis < 0 else axis for axis in wanted)
    if (
        not counted
        or len({*counted}) != len(counted)
        or not all(0 < axis < array.ndim for axis in counted)
    ):
        raise ValueError(
            f"axes must be different axes of {name}, which has {array.ndim}, and not "
            f"its batch axis 0, got {axes}{_axes_remedy(name, array, has_channels)}"
        )
    if has_channels and array.ndim - 1 in counted:
        few = f"gray images [B, H, W] get channels with {name}[..., None]"
        first = f"[B, C, H, W] becomes that with jax.numpy.moveaxis({name}, 1, -1)"
        raise ValueError(
            f"axes must leave the last axis of {name}, its channels, got {axes}; rows "
            "and columns of [B, H, W, C] are axes=(-3, -2), and "
            + (few if array.ndim < 4 else first)
        )
    return tuple(counted)


def _axes_remedy(name: str, array: jax.Array, has_channels: bool) -> str:
    """What to pass for an image of fewer axes than the default `axes` ask for."""
    if array.ndim == 1:
        return f"; of one signal pass {name}[None, :, None], with axes=1"
    if array.ndim == 2:
        return f"; of a gray image pass {name}[None, ..., None], with axes=(-3, -2)"
    if array.ndim == 3:
        gray = f"pass {name}[..., None]" if has_channels else "set axes=(-2, -1)"
        return (
            f"; of one image [H, W, C] pass {name}[None], with axes=(-3, -2); of gray "
            f"images [B, H, W] {gray}{_of_channels_first(name, array)}"
        )
    return "; rows and columns of [B, H, W, C] are axes=(-3, -2)"


def as_mask(where: Any, name: str, array: jax.Array) -> jax.Array | None:
    """`where` as bools of the shape of `array`, or None for None."""
    if where is None:
        return None
    mask = as_array("where", where)
    if mask.dtype != bool:
        raise TypeError(f"where must be bool, got {mask.dtype}; write where > 0")
    if not broadcasts(mask.shape, array.shape):
        remedy = shape_remedy("where", mask, lambda new: broadcasts(new, array.shape))
        raise ValueError(
            f"where must broadcast to the shape of {name}, {array.shape}, got "
            f"{mask.shape}{remedy}"
        )
    return jnp.broadcast_to(mask, array.shape)


def difference_dtype(name: str, given: np.dtype, requested: Any) -> np.dtype:
    """The dtype to subtract in: the one requested, or one that holds a difference."""
    if requested is not None:
        return _requested_dtype(name, given, requested)
    holds = _DIFFERENCE_DTYPE[given.name]
    if holds is None or jax.dtypes.canonicalize_dtype(holds) != holds:
        raise TypeError(
            f"{name} is {given}, and no signed integer available here holds the "
            "difference of two of those; choose the dtype to subtract in, for example "
            "dtype='float32'"
        )
    return jnp.dtype(holds)


def _requested_dtype(name: str, given: np.dtype, requested: Any) -> np.dtype:
    try:
        python_number = isinstance(requested, type) and requested in (
            int,
            float,
            complex,
        )
        dtype = (
            jnp.zeros((), requested).dtype if python_number else jnp.dtype(requested)
        )
    except (TypeError, ValueError):
        dtype = np.dtype("bool")
    known = dtype.kind != "b" and dtype.name in _DIFFERENCE_DTYPE
    if not (known and dtype.isnative):
        raise TypeError(
            f"dtype must be {_NUMBERS}, got {requested!r}; 'float32' suits most images"
        )
    if given.kind == "c" and dtype.kind != "c":
        raise TypeError(
            f"dtype must be complex where {name} is, got {dtype}; pass {name}.real, "
            f"{name}.imag or abs({name})"
        )
    return dtype
