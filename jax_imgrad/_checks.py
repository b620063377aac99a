"""What an image is: every check, and every error sentence, of the front door."""

import functools
import math
import operator
import os
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

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

_RANK_REMEDY = {
    0: "",
    1: "",
    2: "; give a gray image its batch and channel axes with {name}[None, ..., None]",
    3: "; give one image its batch axis with {name}[None], or gray images their "
    "channel axis with {name}[..., None]",
}


def as_array(name: str, value: Any) -> jax.Array:
    """`value` as an array of JAX, if it is an array of JAX or NumPy."""
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, str | bytes | os.PathLike):
        raise TypeError(
            f"{name} must be an array, got {value!r}; read an image file first, for "
            "example with numpy.asarray(PIL.Image.open(path))"
        )
    if not (isinstance(value, np.ndarray) or hasattr(value, "__jax_array__")):
        raise TypeError(
            f"{name} must be an array of JAX or NumPy, got {type(value).__name__}; "
            "convert it with numpy.asarray, which needs rows of one length"
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
        remedy = _RANK_REMEDY.get(array.ndim, "; map over more axes with jax.vmap")
        raise ValueError(
            f"{name} must have {expected}, got {array.ndim} in shape "
            f"{array.shape}{remedy.format(name=name)}"
        )


def as_fields(name: str, value: Any, axes: Any) -> list[jax.Array]:
    """`value` as arrays of one shape and dtype, one for each of the axes."""
    count = len(as_integers("axes", axes))
    if not (isinstance(value, tuple | list) and len(value) == count > 0):
        got = type(value).__name__
        if isinstance(value, tuple | list):
            got += f" of {len(value)}"
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


def check_option(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises ValueError unless `value` is one of the choices."""
    if value not in choices:
        names = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {names}, got {value!r}")


def is_number(value: Any) -> bool:
    """Whether it is a finite real number of Python or NumPy."""
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and math.isfinite(value)


def check_at_least(name: str, value: Any, least: int, whole: bool = False) -> None:
    """Raises ValueError unless `value` is a number of at least `least`."""
    fits = is_number(value) and value >= least
    if not fits or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {kind} of at least {least}, got {value!r}")


def check_parameter(name: str, value: Any, or_zero: bool = False) -> None:
    """Raises ValueError for a number that is not positive; an array may be traced."""
    if isinstance(value, jax.Array | np.ndarray):
        return
    if not (is_number(value) and (value > 0 or (or_zero and value == 0))):
        kind = "at least 0" if or_zero else "positive"
        raise ValueError(f"{name} must be a number, {kind}, or an array, got {value!r}")


def check_real(name: str, dtype: np.dtype) -> None:
    """Raises TypeError for complex numbers."""
    if dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, got {dtype}; pass {name}.real or abs({name})"
        )


def as_real_images(**images: Any) -> list[jax.Array]:
    """Batches of images of one shape, as floats of one dtype; by their names."""
    arrays = {name: as_array(name, image) for name, image in images.items()}
    for name, array in arrays.items():
        check_real(name, array.dtype)
        difference_dtype(name, array.dtype, jnp.float32)  # says what is not a number
        if array.ndim < 2:
            raise ValueError(
                f"{name} must have a batch axis and at least one more, got shape "
                f"{array.shape}; give one image its batch axis with {name}[None]"
            )
    (first, *_) = arrays
    for name, array in arrays.items():
        if array.shape != arrays[first].shape:
            raise ValueError(
                f"{name} must have the shape of {first}, {arrays[first].shape}, got "
                f"{array.shape}; broadcast it first"
            )
    floats = [a.dtype for a in arrays.values() if jnp.issubdtype(a.dtype, jnp.floating)]
    with jax.numpy_dtype_promotion("standard"):  # of a loss, not of the user's
        dtype = functools.reduce(jnp.promote_types, floats or [jnp.dtype("float32")])
    return [array.astype(dtype) for array in arrays.values()]


def check_same_but_last(name: str, array: jax.Array, as_: str, other: jax.Array):
    """Raises ValueError unless the two have one shape up to the last axis."""
    if array.shape[:-1] != other.shape[:-1]:
        raise ValueError(
            f"{name} must have the shape of {as_} up to the last axis, "
            f"{other.shape[:-1]}, got {array.shape[:-1]}; resize it first"
        )


def as_integers(name: str, value: Any) -> tuple[int, ...]:
    """One integer, or several."""
    try:
        return tuple(map(operator.index, value if np.ndim(value) else (value,)))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be an integer or a tuple of them, got {value!r}"
        ) from error


def as_axes(axes: Any, name: str, array: jax.Array) -> tuple[int, ...]:
    """Axes of `array` other than the first, counted from it, in increasing order."""
    wanted = as_integers("axes", axes)
    counted = sorted(axis + array.ndim if axis < 0 else axis for axis in wanted)
    if (
        not counted
        or len({*counted}) != len(counted)
        or not all(0 < axis < array.ndim for axis in counted)
    ):
        few = f"; give one image its batch axis with {name}[None]"
        raise ValueError(
            f"axes must be different axes of {name}, which has {array.ndim}, and not "
            f"its batch axis 0, got {axes}{few if array.ndim < 4 else ''}"
        )
    return tuple(counted)


def as_mask(where: Any, name: str, array: jax.Array) -> jax.Array | None:
    """`where` as bools of the shape of `array`, or None for None."""
    if where is None:
        return None
    mask = as_array("where", where)
    if mask.dtype != bool:
        raise TypeError(f"where must be bool, got {mask.dtype}; write where > 0")
    try:
        return jnp.broadcast_to(mask, array.shape)
    except ValueError as error:
        raise ValueError(
            f"where must broadcast to the shape of {name}, {array.shape}, got "
            f"{mask.shape}; a mask of pixels takes a channel axis with where[..., None]"
        ) from error


def difference_dtype(name: str, given: np.dtype, requested: Any) -> np.dtype:
    """The dtype to subtract in: the one requested, or one that holds a difference."""
    if given.name not in _DIFFERENCE_DTYPE:
        raise TypeError(
            f"{name} must be bool, {_NUMBERS}, got {given}; convert it with "
            f"{name}.astype('float32')"
        )
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
        python_number = requested in (int, float, complex)
        dtype = (
            jnp.zeros((), requested).dtype if python_number else jnp.dtype(requested)
        )
    except TypeError:
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
