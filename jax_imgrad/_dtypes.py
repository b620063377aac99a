"""The dtypes in which differences and sums of them are computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def accumulator(dtype) -> np.dtype:
    """At least float32, or int32: the sum of one image of bytes overflows float16."""
    dtype = jnp.dtype(dtype)
    if dtype.itemsize >= 4:
        return dtype
    return jnp.dtype(jnp.float32 if jnp.issubdtype(dtype, jnp.inexact) else jnp.int32)


def upcast(array: jax.Array) -> jax.Array:
    """The array in the dtype to accumulate in."""
    return array.astype(accumulator(array.dtype))


def derivative_dtype(dtype) -> np.dtype:
    """The dtype of the derivative of a sum, until it is multiplied by its cotangent.

    In float16 it could overflow before a mean divides it by the number of pixels, or
    underflow before a loss is scaled up. bfloat16 has the range of float32.
    """
    return jnp.dtype(jnp.float32) if dtype == jnp.float16 else jnp.dtype(dtype)


def float_of(*dtypes: np.dtype) -> np.dtype:
    """The floats of a loss of images of these dtypes: integers count as float32."""
    floats = [
        d if jnp.issubdtype(d, jnp.floating) else jnp.dtype("float32") for d in dtypes
    ]
    with jax.numpy_dtype_promotion("standard"):  # of a loss, not of the user's
        return functools.reduce(jnp.promote_types, floats)
