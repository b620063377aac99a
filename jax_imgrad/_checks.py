"""What an image is: every check, and every error sentence, of the front door."""

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
    numeric = isinstance(value, np.ndarray | np.generic | bool | int | float | complex)
    if not (numeric or hasattr(value, "__jax_array__")):
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


def check_image_rank(name: str, array: jax.Array) -> None:
    """Raises ValueError unless `array` has the four axes of a batch of images."""
    try:
        chex.assert_rank(array, 4)
        is_image = array.ndim == 4  # chex.disable_asserts() silences chex, not us
    except AssertionError:
        is_image = False
    if not is_image:
        remedy = _RANK_REMEDY.get(array.ndim, "; map over more axes with jax.vmap")
        raise ValueError(
            f"{name} must have 4 axes, [batch, height, width, channels], got "
            f"{array.ndim} in shape {array.shape}{remedy.format(name=name)}"
        )


def as_pair(name: str, value: Any) -> tuple[jax.Array, jax.Array]:
    """`value` as two images of one shape and dtype: (dy, dx)."""
    if not (isinstance(value, tuple | list) and len(value) == 2):
        got = type(value).__name__
        if isinstance(value, tuple | list):
            got += f" of {len(value)}"
        raise TypeError(
            f"{name} must be the pair (dy, dx) that image_gradients returns, got {got}"
        )
    dy, dx = as_array(f"{name}[0]", value[0]), as_array(f"{name}[1]", value[1])
    check_image_rank(f"{name}[0]", dy)
    check_image_rank(f"{name}[1]", dx)
    if (dy.shape, dy.dtype) != (dx.shape, dx.dtype):
        raise ValueError(
            f"{name} must be two arrays of one shape and dtype, got {dy.dtype} "
            f"{dy.shape} and {dx.dtype} {dx.shape}; pass the two of one image"
        )
    return dy, dx


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
        dtype = jnp.dtype(requested)
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind == "b" or dtype.name not in _DIFFERENCE_DTYPE:
        raise TypeError(
            f"dtype must be {_NUMBERS}, got {requested!r}; 'float32' suits most images"
        )
    if given.kind == "c" and dtype.kind != "c":
        raise TypeError(
            f"dtype must be complex where {name} is, got {dtype}; pass {name}.real, "
            f"{name}.imag or abs({name})"
        )
    return dtype
