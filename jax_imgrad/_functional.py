"""The engine of the losses: the sum of a penalty over the differences of images.

    L(u) = sum over pixels of penalty(differences of u at the pixel)

By the chain rule, L'(u) is the transpose of the differences, applied to the derivative
of the penalty, which is called the flux. The transpose of the differences is minus the
divergence, so

    L'(u) = -div flux,    flux = penalty'(differences of u)

So value and derivative are one pass over the image each, or one for both, and nothing
but the derivative, of the size of the image, is kept for the backward pass. Both are
primitives of JAX, which a back end computes in its own way. Where the caller names
none, it is chosen when the program is compiled, for the platform and the number of
devices are known only then.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jax_imgrad import _backends, _jax
from jax_imgrad._dtypes import accumulator, derivative_dtype
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import Implementation


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array] = (),
    *,
    axes: tuple[int, ...],
    implementation: Implementation | None = None,
) -> jax.Array:
    """The sum of `penalty` over the pixels of each image.

    Args:
      penalty: a pointwise function of the differences, see `_types.PenaltyFunction`; or
        `_penalties.Coupled`, of one image. It is part of the compiled program, so it
        must be one object from call to call.
      images: arrays of one shape `[B, ...]` and dtype.
      parameters: of the penalty: numbers, or arrays of the shape of the images.
      axes: along which to take differences, in increasing order, 0 not among them.
      implementation: `"xla"`, `"xla_cpu"`, or None, which is the second on one CPU.

    Returns:
      One number for each image, `[B]`, in at least float32 or int32.
    """
    _backends.check(implementation, images[0])
    dtype = accumulator(images[0].dtype)
    parameters = [p.astype(dtype) if p.dtype != bool else p for p in parameters]
    (total,) = functional_p.bind(
        *_match_arrays([*images, *parameters]),
        penalty=penalty,
        count=len(images),
        axes=axes,
        with_gradient=False,
        implementation=implementation,
    )
    return total


def _match_arrays(operands: Sequence[jax.Array]) -> list[jax.Array]:
    """The operands with one sharding, but for numbers."""
    matched = iter(_jax.match_types(*(o for o in operands if o.ndim)))
    return [next(matched) if operand.ndim else operand for operand in operands]


def _compute_by(
    backend: _backends.Backend,
    *operands: jax.Array,
    penalty: PenaltyFunction,
    count: int,
    axes: tuple[int, ...],
    with_gradient: bool,
) -> list[jax.Array]:
    """The sums, and with the gradient their derivative by each of the images.

    The operands are the images, `count` of them, and the parameters of the penalty.
    """
    images, parameters = operands[:count], operands[count:]
    if not with_gradient:
        assert backend.functional is not None  # `_backends.check` has seen to it
        return [backend.functional(penalty, images, parameters, axes)]
    assert backend.functional_and_gradient is not None
    total, gradients = backend.functional_and_gradient(
        penalty, images, parameters, axes
    )
    return [total, *gradients]


def _compute(*operands: jax.Array, implementation: Implementation | None, **options):
    backend = _backends.BACKENDS[implementation or "xla"]
    return _compute_by(backend, *operands, **options)


def _lower(
    program: _jax.Program,
    operand_types: Sequence[Any],
    *,
    implementation: Implementation | None,
    **options: Any,
):
    backend = _backends.choose(implementation, program, operand_types[0])
    return functools.partial(_compute_by, backend, **options)


def _result_types(*, count: int, with_gradient: bool, **options: Any):
    del options

    def results(*operands: jax.Array) -> list[jax.Array]:
        dtype = accumulator(operands[0].dtype)
        values = functools.reduce(jnp.add, [o.astype(dtype) for o in operands]).real
        total = values.sum(tuple(range(1, values.ndim)))
        gradient = values.astype(derivative_dtype(operands[0].dtype))
        return [total, *([gradient] * count if with_gradient else [])]

    return results


def _batch(operands, batched, **options: Any):
    """More images: the mapped axis becomes part of the batch."""
    moved = _jax.move_mapped_axes(operands, batched, 0)
    first = moved[0]

    def folded(operand: jax.Array, own: jax.Array, axis: int | None) -> jax.Array:
        if axis is None and own.ndim == 0:
            return own
        if operand.ndim == 1:  # a number for each, which becomes one for each pixel
            operand = operand.reshape(-1, *[1] * (first.ndim - 1))
        operand = jnp.broadcast_to(operand, first.shape)
        return operand.reshape(first.shape[0] * first.shape[1], *first.shape[2:])

    matched = _match_arrays([*map(folded, moved, operands, batched)])
    results = functional_p.bind(*matched, **options)
    unfolded = [r.reshape(*first.shape[:2], *r.shape[1:]) for r in results]
    return unfolded, [0] * len(results)


functional_p = _jax.primitive(
    "functional",
    static_names=("penalty", "count", "axes", "with_gradient", "implementation"),
    compute=_compute,
    result_types=_result_types,
    lower=_lower,
    batch=_batch,
)


def _jvp(primals, tangents, *, count: int, with_gradient: bool, **options: Any):
    """The derivative of the sums is known; JAX derives all others by the definition."""
    if with_gradient:
        of_gradient = {"count": count, "with_gradient": True, **options}
        results = functional_p.bind(*primals, **of_gradient)
        return results, _jvp_of_definition(primals, tangents, **of_gradient)
    by_images, by_parameters = tangents[:count], tangents[count:]
    parts = []
    if any(tangent is not None for tangent in by_images):
        total, *gradients = functional_p.bind(
            *primals, count=count, with_gradient=True, **options
        )
        parts += [
            _inner(gradient, tangent)
            for gradient, tangent in zip(gradients, by_images, strict=True)
            if tangent is not None
        ]
    else:
        (total,) = functional_p.bind(
            *primals, count=count, with_gradient=False, **options
        )
    if any(tangent is not None for tangent in by_parameters):
        parts += _jvp_of_definition(
            primals,
            [*[None] * count, *by_parameters],
            count=count,
            with_gradient=False,
            **options,
        )
    return [total], [functools.reduce(jnp.add, parts)]


def _jvp_of_definition(primals, tangents, *, implementation: Any, **options: Any):
    """JAX's own derivative of the definition, by the operands that have a tangent."""
    del implementation
    moving = [tangent is not None for tangent in tangents]

    def definition(*given: jax.Array) -> list[jax.Array]:
        rest = iter(given)
        operands = [
            next(rest) if moves else primal
            for moves, primal in zip(moving, primals, strict=True)
        ]
        return _compute_by(_backends.BACKENDS["xla"], *operands, **options)

    _, derivatives = jax.jvp(
        definition,
        [primal for moves, primal in zip(moving, primals, strict=True) if moves],
        [tangent for tangent in tangents if tangent is not None],
    )
    return derivatives


def _inner(gradient: jax.Array, tangent: jax.Array) -> jax.Array:
    """The inner product, image by image: the real part, if they are complex."""
    dtype = accumulator(gradient.dtype)
    product = gradient.astype(dtype) * tangent.astype(dtype)
    return product.real.sum(tuple(range(1, product.ndim)))


_jax.define_jvp(functional_p, _jvp)
