"""The engine of every loss: the sum of a penalty over the differences of images.

    L(u) = sum over pixels of penalty(differences of u at the pixel)

is a *gradient functional*. Its derivative is known in closed form,

    L'(u) = -div penalty'(differences of u),

so value and derivative are one pass over the image each, or one for both, and nothing
but the derivative, of the size of the image, is kept for the backward pass. Both are
primitives of JAX: each back end computes them in its own way, and which one does, where
the caller does not say, is chosen when the program is compiled, for what platform and
how many devices is known only then.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from jax_imgrad import _dispatch
from jax_imgrad._backends import xla
from jax_imgrad._dtypes import accumulator, derivative_dtype
from jax_imgrad._primitives import align, batched_shape, of_one_type, primitive
from jax_imgrad._types import Implementation, Penalty


def functional(
    penalty: Penalty,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array] = (),
    *,
    axes: tuple[int, ...],
    implementation: Implementation | None = None,
) -> jax.Array:
    """The sum of `penalty` over the pixels of each image.

    Args:
      penalty: a pointwise function of the differences, see `_types.Penalty`; or
        `_penalties.Coupled`, of one image. It is part of the compiled program, so it
        must be one object from call to call.
      images: arrays of one shape `[B, ...]` and dtype.
      parameters: of the penalty: numbers, or arrays of the shape of the images.
      axes: along which to take differences, in increasing order, 0 not among them.
      implementation: `"xla"`, `"xla_cpu"`, or None, which is the second on one CPU.

    Returns:
      One number for each image, `[B]`, in at least float32 or int32.
    """
    chosen = _dispatch.choose(implementation, "functional", images[0])
    wide = accumulator(images[0].dtype)
    parameters = [p.astype(wide) if p.dtype != bool else p for p in parameters]
    (values,) = functional_p.bind(
        *_of_one_type([*images, *parameters]),
        penalty=penalty,
        count=len(images),
        axes=axes,
        implementation=chosen,
    )
    return values


def _primitive(name: str, fields: bool) -> Primitive:
    def call(function, *operands: jax.Array, penalty, count, axes):
        return function(penalty, operands[:count], operands[count:], axes)

    def like(*operands: jax.Array, penalty, count, axes):
        del penalty, axes
        wide = accumulator(operands[0].dtype)
        values = functools.reduce(jnp.add, [o.astype(wide) for o in operands]).real
        total = values.sum(tuple(range(1, values.ndim)))
        field = values.astype(derivative_dtype(operands[0].dtype))
        return total, *([field] * count if fields else [])

    names = ("penalty", "count", "axes", "implementation")
    return primitive(name, call, like, _batch, names)


def _batch(mapped: Primitive, operands, batched, **options: Any):
    """More images: the batch of images takes in the axis that is mapped over."""
    _, size = batched_shape(operands, batched)
    first = align(operands[0], batched[0], 0, size)

    def folded(operand: jax.Array, axis: int | None) -> jax.Array:
        if axis is None and operand.ndim == 0:
            return operand
        operand = align(operand, axis, 0, size)
        if operand.ndim == 1:  # a number for each, which becomes one for each pixel
            operand = operand.reshape(size, *[1] * (first.ndim - 1))
        operand = jnp.broadcast_to(operand, first.shape)
        return operand.reshape(size * first.shape[1], *first.shape[2:])

    all_folded = _of_one_type([*map(folded, operands, batched)])
    results = mapped.bind(*all_folded, **options)
    unfolded = [r.reshape(*first.shape[:2], *r.shape[1:]) for r in results]
    return unfolded, [0] * len(results)


def _of_one_type(operands: list[jax.Array]) -> list[jax.Array]:
    """All of them but the numbers."""
    alike = iter(of_one_type(*(operand for operand in operands if operand.ndim)))
    return [next(alike) if operand.ndim else operand for operand in operands]


functional_p = _primitive("functional", fields=False)
functional_and_field_p = _primitive("functional_and_field", fields=True)


def _jvp_of_functional(primals, tangents, *, count: int, **options: Any):
    """The field times the tangent, and what the parameters of the penalty change."""
    options["count"] = count
    moving = [type(t) is not ad.Zero for t in tangents]
    if any(moving[:count]):
        value, *fields = functional_and_field_p.bind(*primals, **options)
        parts = [
            _inner(field, t)
            for field, t, moves in zip(fields, tangents, moving, strict=False)
            if moves
        ]
    else:
        (value,), parts = functional_p.bind(*primals, **options), []
    if any(moving[count:]):
        moving[:count] = [False] * count
        parts += _jvp_of_definition("functional", primals, tangents, moving, options)
    return [value], [functools.reduce(jnp.add, parts)]


def _jvp_of_field(primals, tangents, **options: Any):
    """Of second order: the definition, differentiated by JAX."""
    results = functional_and_field_p.bind(*primals, **options)
    moving = [type(t) is not ad.Zero for t in tangents]
    name = "functional_and_field"
    return results, _jvp_of_definition(name, primals, tangents, moving, options)


def _jvp_of_definition(name: str, primals, tangents, moving, options):
    """JAX's own derivative of the definition, by the operands that are moving."""
    count = options["count"]

    def definition(*given):
        rest = iter(given)
        operands = [
            next(rest) if m else p for m, p in zip(moving, primals, strict=True)
        ]
        results = getattr(xla, name)(
            options["penalty"], operands[:count], operands[count:], options["axes"]
        )
        return jax.tree.leaves(results)

    _, along = jax.jvp(
        definition,
        [p for m, p in zip(moving, primals, strict=True) if m],
        [t for m, t in zip(moving, tangents, strict=True) if m],
    )
    return along


def _inner(field: jax.Array, tangent: jax.Array) -> jax.Array:
    """The inner product, image by image: the real part, if they are complex."""
    wide = accumulator(field.dtype)
    product = field.astype(wide) * tangent.astype(wide)
    return product.real.sum(tuple(range(1, product.ndim)))


ad.primitive_jvps[functional_p] = _jvp_of_functional
ad.primitive_jvps[functional_and_field_p] = _jvp_of_field
