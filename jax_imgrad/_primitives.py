"""How the operators differentiate: each is minus the transpose of the other.

A linear map is its own derivative, at every order, and nothing need be kept in memory
for it: all that it must say is what its transpose is. A primitive is where JAX asks for
that. JAX could find the derivative of the definition by itself, but would keep the
masks in it, at the size of the image, until they are used; and it knows neither the
derivative nor the transpose of a kernel.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jax_imgrad import _dispatch


def _linear_map(name: str) -> Primitive:
    """The map that each back end defines under this name.

    It works along `axes`, rows and columns, of arrays of one shape.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def compute(*operands: jax.Array, axes: tuple[int, int], implementation: str):
        backend = _dispatch.load(implementation)
        return jax.tree.leaves(getattr(backend, name)(*operands, axes))

    @primitive.def_impl
    def run(*operands: jax.Array, **options: Any):
        with jax.disable_jit(False):
            return jax.jit(functools.partial(primitive.bind, **options))(*operands)

    @primitive.def_effectful_abstract_eval
    def typed(*operands: Any, **options: Any):
        traced = jax.make_jaxpr(functools.partial(compute, **options))(*operands)
        return traced.out_avals, traced.effects

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **options: Any):
        with _dispatch.lowering(
            options["implementation"], ctx.module_context.platforms
        ):
            return mlir.lower_fun(compute, multiple_results=True)(
                ctx, *operands, **options
            )

    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)
    mlir.register_lowering(primitive, lower)
    return primitive


def _batch(
    primitive: Primitive,
    operands: Sequence[jax.Array],
    batched: Sequence[int | None],
    *,
    axes: tuple[int, int],
    implementation: str,
):
    """The map along the same axes, which make room for one more."""
    at, size = next(
        (axis, operand.shape[axis])
        for operand, axis in zip(operands, batched, strict=True)
        if axis is not None
    )

    def aligned(operand: jax.Array, axis: int | None) -> jax.Array:
        if axis is not None:
            return jnp.moveaxis(operand, axis, at)
        shape = (*operand.shape[:at], size, *operand.shape[at:])
        return jnp.broadcast_to(jnp.expand_dims(operand, at), shape)

    rows, columns = (axis + (axis >= at) for axis in axes)
    results = primitive.bind(
        *map(aligned, operands, batched),
        axes=(rows, columns),
        implementation=implementation,
    )
    return results, [at] * len(results)


def _is_minus_transpose_of(other: Primitive) -> Callable:
    """The rule that JAX calls to transpose a map whose transpose is minus `other`."""

    def rule(cotangents: Sequence[Any], *operands: Any, **options: Any):
        results = other.bind(*map(ad.instantiate_zeros, cotangents), **options)
        return [
            -result if ad.is_undefined_primal(operand) else None
            for result, operand in zip(results, operands, strict=True)
        ]

    return rule


image_gradients_p = _linear_map("image_gradients")
divergence_p = _linear_map("divergence")

ad.deflinear2(image_gradients_p, _is_minus_transpose_of(divergence_p))
ad.deflinear2(divergence_p, _is_minus_transpose_of(image_gradients_p))
