"""The dtypes in which differences and sums of them are computed."""

import jax
import jax.numpy as jnp
import numpy as np


def accumulator(dtype) -> np.dtype:
    """At least float32, or int32: the sum of one image of bytes overflows float16."""
    dtype = jnp.dtype(dtype)
    if dtype.itemsize >= 4:
        return dtype
    return jnp.dtype(jnp.float32 if jnp.issubdtype(dtype, jnp.inexact) else jnp.int32)


def wide(array: jax.Array) -> jax.Array:
    """The array in the dtype to accumulate in."""
    return array.astype(accumulator(array.dtype))


def derivative_dtype(dtype) -> np.dtype:
    """The dtype of the derivative of a sum, until it is multiplied by its cotangent.

    In float16 it could overflow before a mean divides it by the number of pixels, or
    underflow before a loss is scaled up. bfloat16 has the range of float32.
    """
    return jnp.dtype(jnp.float32) if dtype == jnp.float16 else jnp.dtype(dtype)
