"""The dtypes in which differences and their sums are computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def accumulator(dtype) -> np.dtype:
    """The dtype in which to accumulate: at least 32 bits wide.

    In float16, whose largest number is 65504, the sum over an image would overflow.
    """
    dtype = jnp.dtype(dtype)
    if dtype.itemsize >= 4:
        return dtype
    return jnp.dtype(jnp.float32 if jnp.issubdtype(dtype, jnp.inexact) else jnp.int32)


def real_dtype(dtype) -> np.dtype:
    """The dtype of the real part of numbers of this dtype."""
    dtype = jnp.dtype(dtype)
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    return jnp.finfo(dtype).dtype if is_complex else dtype


def upcast(array: jax.Array) -> jax.Array:
    """The array, cast to the dtype in which to accumulate."""
    return array.astype(accumulator(array.dtype))


def derivative_dtype(dtype) -> np.dtype:
    """The dtype of the derivative of a sum, before it meets the cotangent.

    A mean multiplies the derivative by 1/N, and loss scaling by a large number. In
    float16, the derivative could overflow before the first or underflow before the
    second, so float16 is replaced by float32. bfloat16 has the range of float32.
    """
    return jnp.dtype(jnp.float32) if dtype == jnp.float16 else jnp.dtype(dtype)


def float_of(*dtypes: np.dtype) -> np.dtype:
    """The floating or complex dtype of a loss of images of these dtypes.

    Integers count as float32.
    """
    floats = [
        d if jnp.issubdtype(d, jnp.inexact) else jnp.dtype("float32") for d in dtypes
    ]
    # The caller may have set promotion to "strict", which refuses mixed dtypes.
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, floats)


def largest_value(dtype: np.dtype) -> float:
    """The largest value of an integer dtype, and 1 for bool and floating dtypes.

    Pixels divided by it are in [0, 1].
    """
    is_integer = jnp.issubdtype(dtype, jnp.integer)
    return float(jnp.iinfo(dtype).max) if is_integer else 1.0
