"""Shapes and dtypes for the tests of every implementation, and helpers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# The blocks of the kernels, as set in conftest.py, have 32 rows of 128 columns where
# rows lie in sublanes (which takes 8 n rows and 3 or 5 channels), else 4 rows.
SHAPES = [
    (1, 1, 1, 1),
    (2, 1, 9, 3),
    (2, 9, 1, 3),
    (1, 2, 2, 2),
    (2, 3, 5, 4),
    (1, 4, 127, 1),
    (1, 5, 128, 8),
    (1, 9, 129, 12),
    (3, 31, 6, 3),
    (9, 32, 7, 3),
    (2, 33, 8, 3),
    (3, 40, 130, 5),
    (1, 72, 257, 3),
    (2, 7, 9, 128),
    (1, 8, 3, 130),
    (0, 4, 5, 3),
    (2, 0, 5, 3),
    (2, 4, 0, 3),
    (2, 4, 5, 0),
]

FLOATS = ["bfloat16", "float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
SIGNED = ["int2", "int4", "int8", "int16", "int32", "int64"]
# Each with the dtype that holds its differences.
UNSIGNED = {
    "bool": "int8",
    "uint2": "int4",
    "uint4": "int8",
    "uint8": "int16",
    "uint16": "int32",
    "uint32": "int64",
}
DTYPES = [*FLOATS, *COMPLEX, *SIGNED, *UNSIGNED]


def random_array(shape, dtype, seed=0):
    """Random integers over the range of `dtype`, or normal numbers."""
    rng = np.random.default_rng(seed)
    dtype = jnp.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if jnp.issubdtype(dtype, jnp.integer):
        info = jnp.iinfo(dtype)
        numbers = rng.integers(int(info.min), int(info.max), shape, "int64", True)
        return numbers.astype(dtype)
    normal = rng.standard_normal(shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        normal = normal + 1j * rng.standard_normal(shape)
    return normal.astype(dtype)


of_a_cpu = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="tests the program for a CPU"
)


def mesh_of(mode, **sizes):
    """A mesh of these sizes, all axes in one mode; skips if devices are missing."""
    if jax.device_count() < math.prod(sizes.values()):
        pytest.skip(f"there are only {jax.device_count()} devices")
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), axis_types=(mode,) * len(sizes)
    )


def x64_if(*dtypes):
    """A context with 64-bit types enabled if these dtypes need them."""
    return jax.enable_x64(
        any(("64" in d and d != "complex64") or "128" in d for d in dtypes)
    )


def tolerance(dtype):
    """A relative tolerance of a few rounding errors."""
    return 4 * float(jnp.finfo(dtype).eps)
