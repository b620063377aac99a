"""Stencils applied to masked arrays: what the operators of all modules share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad import _arguments
from jax_imgrad._dtypes import accumulator
from jax_imgrad._linear import stencil
from jax_imgrad._masks import jointly_valid, valid_outputs, without_invalid
from jax_imgrad._stencils import SeparableStencil, negative, transpose
from jax_imgrad.typing import Implementation


def apply_stencils(
    array: jax.Array,
    stencils: tuple[SeparableStencil, ...],
    where: jax.Array | np.ndarray | None,
    dtype: np.dtype,
    implementation: Implementation | None,
    *,
    jointly: bool = False,
) -> tuple[jax.Array, ...]:
    """Applies each stencil to an array, after the checks that all callers need.

    With `jointly`, the results are 0 wherever the output of any stencil is invalid.
    """
    _arguments.check_sizes("x", array, stencils)
    valid = _arguments.as_mask(where, "x", array)
    _arguments.check_implementation(implementation)
    return _apply_stencils(array, valid, stencils, dtype, implementation, jointly)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _apply_stencils(
    array: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
    jointly: bool,
) -> tuple[jax.Array, ...]:
    image = without_invalid(array, valid).astype(dtype)
    maps = tuple((separable,) for separable in stencils)
    results = stencil([image], maps, implementation)
    if valid is None:
        return tuple(results)
    if jointly:
        masks = [jointly_valid(valid, stencils)] * len(stencils)
    else:
        masks = [valid_outputs(valid, separable) for separable in stencils]
    return tuple(jnp.where(m, r, 0) for m, r in zip(masks, results, strict=True))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def apply_sum(
    array: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    # Upcast before the image is used several times: JAX adds the cotangents of the uses
    # in this dtype.
    image = without_invalid(array, valid).astype(accumulator(dtype))
    (total,) = stencil([image] * len(stencils), (stencils,), implementation)
    total = total.astype(dtype)
    if valid is None:
        return total
    return jnp.where(jointly_valid(valid, stencils), total, 0)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def apply_divergence(
    fields: list[jax.Array],
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    if valid is not None:
        masks = [valid_outputs(valid, separable) for separable in stencils]
        fields = list(map(without_invalid, fields, masks))
    maps = (tuple(negative(transpose(separable)) for separable in stencils),)
    (result,) = stencil([f.astype(dtype) for f in fields], maps, implementation)
    return without_invalid(result, valid)
