"""Checks of arrays, and their error messages."""

import operator
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad._numbers import hint_if_traced
from jax_imgrad.typing import Numbers

# For each supported dtype, the dtype in which two of its numbers are subtracted. Signed
# integers keep theirs and may overflow, as in TensorFlow. Unsigned ones would wrap
# around even for small numbers, 5 - 10 = 251, so they take the next larger signed
# dtype; uint64 has none.
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
_NUMERIC = "integer, floating (bfloat16, float16, float32, float64) or complex"


def as_array(name: str, value: Any) -> jax.Array:
    """Returns `value` as a JAX array, if it is a JAX or NumPy array of numbers."""
    array = _as_any_array(name, value)
    if array.dtype.name not in _DIFFERENCE_DTYPE:
        is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
        convert = f"convert it with {name}.astype('float32')"
        raise TypeError(
            f"{name} must have a bool, {_NUMERIC} dtype, got {array.dtype}; "
            + ("pass numbers drawn with jax.random" if is_key else convert)
        )
    return array


def _as_any_array(name: str, value: Any) -> jax.Array:
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, str | bytes | os.PathLike):
        raise TypeError(
            f"{name} must be an array, got {value!r}; read the image file first, for "
            "example with numpy.asarray(PIL.Image.open(path))"
        )
    if isinstance(value, np.ma.MaskedArray):
        options = ("where", "weights", "delta", "edge_weight", "constant", "spacing")
        is_option = name.partition("[")[0] in options  # also weights[0]
        where = f", and where=~numpy.ma.getmaskarray({name})"
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array; pass "
            f"numpy.ma.getdata({name})"
            + ("" if is_option else f"{where} if the function has that option")
        )
    if not (isinstance(value, np.ndarray) or hasattr(value, "__jax_array__")):
        remedy = f"convert it with numpy.asarray({name})"
        if isinstance(value, list | tuple):
            remedy += ", which requires rows of equal length"
        raise TypeError(
            f"{name} must be a JAX or NumPy array, got {type(value).__name__}; "
            + ("pass an array" if value is None else remedy)
        )
    try:
        return jnp.asarray(value)
    except TypeError as error:
        dtype = np.dtype(getattr(value, "dtype", object))
        expected, convert_to = f"{name} must be an array of numbers", "float32"
        kinds = {"O": " (Python objects)", "U": " (strings)", "S": " (bytes)"}
        if not dtype.isnative:
            expected = f"{name} must be in the native byte order"
            convert_to = dtype.newbyteorder("=").name
        kind = kinds.get(dtype.kind, "")
        raise TypeError(
            f"{expected}, got dtype {dtype}{kind}; convert it with "
            f"{name}.astype({convert_to!r})"
        ) from error


def check_image_rank(name: str, array: jax.Array, or_one: bool = False) -> None:
    """Raises ValueError unless `array` is rank 4; `or_one` also allows rank 3."""
    import chex  # on first use: importing it takes longer than this whole package

    ranks = {3, 4} if or_one else {4}
    try:
        chex.assert_rank(array, ranks)
        is_image = array.ndim in ranks  # chex.disable_asserts() must not disable this
    except AssertionError:
        is_image = False
    if not is_image:
        expected = "rank 4, [batch, height, width, channels]"
        expected += ", or rank 3 without the batch axis" if or_one else ""
        raise ValueError(
            f"{name} must be {expected}, got rank {array.ndim} with shape "
            f"{array.shape}{_rank_remedy(name, array)}"
        )


def _rank_remedy(name: str, array: jax.Array) -> str:
    """What to pass instead of an array of another rank than `[B, H, W, C]`."""
    remedies = {
        0: "",
        1: f"for one row of gray pixels [W], pass {name}[None, None, :, None]",
        2: f"for one gray image [H, W], pass {name}[None, ..., None]",
        3: f"for one image [H, W, C], pass {name}[None]; for gray images [B, H, W], "
        f"pass {name}[..., None]{_channels_first_remedy(name, array)}",
    }
    remedy = remedies.get(array.ndim, "map over further axes with jax.vmap")
    return f"; {remedy}" if remedy else ""


def _channels_first_remedy(name: str, array: jax.Array) -> str:
    """What to pass for one image whose first axis looks like its channels."""
    if array.ndim != 3:
        return ""
    likely = array.shape[0] in (1, 3, 4) and array.shape[2] not in range(1, 5)
    moved = f"jax.numpy.moveaxis({name}, 0, -1)[None]"
    return f"; for one image [C, H, W], pass {moved}" if likely else ""


def shape_remedy(name: str, array: Numbers, fits: Callable[[tuple], bool]) -> str:
    """A hint that names a reshaped `array` whose shape `fits`, if there is one."""
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
    """Whether `shape` broadcasts to the shape `to` by NumPy's rule."""
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(n in (1, m) for n, m in pairs)


def as_fields(name: str, value: Any, axes: Any) -> list[jax.Array]:
    """Returns `value` as arrays of equal shape and dtype, one for each of the axes."""
    count = len(as_integers("axes", axes))
    if not (isinstance(value, Sequence) and len(value) == count > 0):
        got = type(value).__name__
        if isinstance(value, Sequence):
            got += f" of length {len(value)}"
        elif getattr(value, "shape", ())[:1] == (count,):
            got += f"; pass tuple({name})"
        raise TypeError(
            f"{name} must be a tuple with one array per axis, as spatial_gradient "
            f"returns it, for axes={axes}, got {got}"
        )
    return as_parts(name, value)


def as_parts(name: str, value: Any) -> list[jax.Array]:
    """Returns a sequence of one or more arrays of equal shape and dtype."""
    if not isinstance(value, Sequence) or len(value) == 0:
        got = type(value).__name__
        if isinstance(value, Sequence):
            got = f"an empty {got}"
        if getattr(value, "ndim", 0):
            last = f"tuple(jax.numpy.moveaxis({name}, -1, 0))"
            got += f"; for parts along the first axis, pass tuple({name}); "
            got += f"for parts along the last axis, pass {last}"
        raise TypeError(
            f"{name} must be a tuple of one or more arrays, such as (dy, dx), got {got}"
        )
    arrays = [as_array(f"{name}[{i}]", part) for i, part in enumerate(value)]
    for array in arrays:
        if (array.shape, array.dtype) != (arrays[0].shape, arrays[0].dtype):
            raise ValueError(
                f"{name} must be arrays of equal shape and dtype, got "
                f"{arrays[0].dtype} {arrays[0].shape} and {array.dtype} {array.shape}; "
                "pass the derivatives of one image"
            )
    return arrays


def check_real(name: str, dtype: np.dtype) -> None:
    """Raises TypeError if `dtype` is complex."""
    if dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, got {dtype}; pass {name}.real or abs({name})"
        )


def check_has_batch(name: str, array: jax.Array) -> None:
    """Raises ValueError unless `array` has a batch axis and at least one other axis."""
    if array.ndim < 2:
        raise ValueError(
            f"{name} must have a batch axis and at least one other axis, got shape "
            f"{array.shape}; for one image without a batch axis, pass {name}[None]"
        )


def as_real_images(**images: Any) -> list[jax.Array]:
    """Returns the images, given by name, as real arrays of equal shape."""
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
                f"{array.shape}{remedy or f'; resize or crop {name} first'}"
            )
    return [*arrays.values()]


def check_guide(name: str, guide: jax.Array, as_: str, field: jax.Array) -> None:
    """Raises ValueError unless the shapes are equal except for the last axis."""
    pixels = field.shape[:-1]
    if guide.shape[:-1] != pixels:
        remedy = shape_remedy(name, guide, lambda new: new[:-1] == pixels)
        moves = [f"jax.numpy.moveaxis({one}, 1, -1)" for one in (as_, name)]
        moved = [(*a.shape[:1], *a.shape[2:]) for a in (field, guide)]
        if not remedy and moved[0] == guide.shape[:-1]:
            remedy = f"; channels come last: pass {moves[0]}"
        elif not remedy and moved[0] == moved[1] and _are_channels_first(field, guide):
            remedy = f"; channels come last: pass {moves[0]} and {moves[1]}"
        elif not remedy and broadcasts(guide.shape[:-1], pixels):
            every = f"(*{as_}.shape[:-1], {guide.shape[-1]})"
            remedy = f"; pass jax.numpy.broadcast_to({name}, {every})"
        raise ValueError(
            f"{name} must have the shape of {as_} except for the last axis, {pixels}, "
            f"got {guide.shape[:-1]}{remedy or f'; resize {name} first'}"
        )
    if guide.shape[-1] == 0:
        raise ValueError(
            f"{name} must have at least 1 channel, got shape {guide.shape}"
        )


def _are_channels_first(*images: jax.Array) -> bool:
    """Whether axis 1 looks like channels in all of the images, and the last not."""
    few = range(1, 5)
    return all(
        i.ndim > 2 and i.shape[1] in few and i.shape[-1] not in few for i in images
    )


def as_integers(name: str, value: Any) -> tuple[int, ...]:
    """Returns an integer, or a sequence of integers, as a tuple."""
    try:
        several = tuple(value) if np.ndim(value) else (value,)
        if any(isinstance(one, bool | np.bool_) for one in several):
            raise TypeError("a bool is not an axis")
        return tuple(map(operator.index, several))
    except (TypeError, ValueError) as error:
        parts = value if isinstance(value, list | tuple) else ()
        raise TypeError(
            f"{name} must be an integer or a sequence of integers, got {value!r}"
            f"{hint_if_traced(value, *parts)}"
        ) from error


def as_axes(
    axes: Any, name: str, array: jax.Array, has_channels: bool = False
) -> tuple[int, ...]:
    """Returns distinct, non-negative axes of `array`, sorted, without the batch axis.

    If the array `has_channels`, they must not include its last axis either.
    """
    given = as_integers("axes", axes)
    positive = sorted(axis + array.ndim if axis < 0 else axis for axis in given)
    if (
        not positive
        or len({*positive}) != len(positive)
        or not all(0 < axis < array.ndim for axis in positive)
    ):
        raise ValueError(
            f"axes must be distinct axes of {name}, which is rank {array.ndim}, other "
            f"than its batch axis 0, got {axes}"
            f"{_axes_remedy(name, array, has_channels)}"
        )
    if has_channels and array.ndim - 1 in positive:
        gray = f"for gray images [B, H, W], first pass {name}[..., None]"
        first = f"for images [B, C, H, W], first pass jax.numpy.moveaxis({name}, 1, -1)"
        raise ValueError(
            f"axes must not include the last axis of {name}, its channels, got {axes}; "
            "for images [B, H, W, C], pass axes=(-3, -2); "
            + (gray if array.ndim < 4 else first)
        )
    return tuple(positive)


def _axes_remedy(name: str, array: jax.Array, has_channels: bool) -> str:
    """What to pass if the rank is too low for the default `axes`, or they are wrong."""
    if array.ndim == 1:
        return f"; for one signal, pass {name}[None, :, None] with axes=1"
    if array.ndim == 2:
        return (
            f"; for one gray image [H, W], pass {name}[None, ..., None] with "
            "axes=(-3, -2)"
        )
    if array.ndim == 3:
        gray = f"{name}[..., None]" if has_channels else "axes=(-2, -1)"
        return (
            f"; for one image [H, W, C], pass {name}[None] with axes=(-3, -2); for "
            f"gray images [B, H, W], pass {gray}{_channels_first_remedy(name, array)}"
        )
    return "; for images [B, H, W, C], pass axes=(-3, -2)"


def as_mask(where: Any, name: str, array: jax.Array) -> jax.Array | None:
    """Returns `where` broadcast to the shape of `array`, or None for None."""
    if where is None:
        return None
    mask = as_array("where", where)
    if mask.dtype != bool:
        raise TypeError(
            f"where must be bool, got {mask.dtype}; pass a bool array, for example "
            "where > 0.5"
        )
    if not broadcasts(mask.shape, array.shape):
        remedy = shape_remedy("where", mask, lambda new: broadcasts(new, array.shape))
        raise ValueError(
            f"where must broadcast to the shape of {name}, {array.shape}, got "
            f"{mask.shape}{remedy}"
        )
    return jnp.broadcast_to(mask, array.shape)


def difference_dtype(name: str, given: np.dtype, requested: Any) -> np.dtype:
    """The dtype to subtract in: as requested, or one that holds all differences."""
    if requested is not None:
        return _requested_dtype(name, given, requested)
    holds = _DIFFERENCE_DTYPE[given.name]
    if holds is None or jax.dtypes.canonicalize_dtype(holds) != holds:
        # Without 64-bit types, the caller may have passed uint64.
        is_64_bit = jax.dtypes.canonicalize_dtype("uint64") == np.dtype("uint64")
        converted = given == np.dtype("uint32") and not is_64_bit
        remark = " (to which JAX also converts uint64)" if converted else ""
        raise TypeError(
            f"{name} has dtype {given}{remark}, and no signed integer dtype "
            "available here holds the difference of two such numbers; convert it with "
            f"{name}.astype('float32'), or pass dtype='float32' if the function has "
            "that option"
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
        order = " in the native byte order" if known else ""
        suitable = dtype.newbyteorder("=").name if known else "float32"
        raise TypeError(
            f"dtype must be an {_NUMERIC} dtype{order}, got {requested!r}; for example "
            f"dtype={suitable!r}"
        )
    if given.kind == "c" and dtype.kind != "c":
        raise TypeError(
            f"dtype must be complex because {name} is {given}, got {dtype}; pass "
            f"{name}.real, {name}.imag or abs({name})"
        )
    return dtype
