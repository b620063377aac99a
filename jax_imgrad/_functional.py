"""The engine of the losses: the sum of a penalty of stencils, and its derivative.

For an image u with differences d_a = S_a u, where S_a are stencils, a loss is

    L(u) = sum over pixels i of penalty(d[i])

Its derivative has a closed form. Let the flux q_a[i] be the derivative of the penalty
at pixel i by d_a[i]. By the chain rule, a tangent u' gives

    L' = sum over a of <q_a, S_a u'> = sum over a of <transpose(S_a) q_a, u'>

so the derivative is the sum of the transposed stencils of the flux. For most losses,
S_a are the forward differences d_a[i] = u[i + e_a] - u[i], 0 where pixel i has no next
one. Then u'[j] occurs in L' with the flux of pixel j - e_a, and with a minus sign with
the flux of pixel j:

    dL/du[j] = sum over a of q_a[j - e_a] - q_a[j]

which is the flux that enters pixel j from its previous pixels less the flux that leaves
it: minus the divergence of the flux. At the borders, the terms of differences that do
not exist are 0. With several images, q has a component for each image and stencil.

So the sum and its derivative take one pass over the images each, or one for both. The
only residual of the backward pass is the derivative itself.

Both are computed by one primitive, `functional_p`, whose parameter `with_gradient` says
whether to compute the derivative too. Each back end computes them in its own way. If
the caller names no back end, it is chosen when the program is lowered: only then are
the platform and the number of devices known.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jax_imgrad import _backends, _jax
from jax_imgrad._dtypes import accumulator, derivative_dtype, real_dtype
from jax_imgrad._stencils import SeparableStencil, centered
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import Implementation


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array] = (),
    *,
    stencils: tuple[SeparableStencil, ...],
    implementation: Implementation | None = None,
) -> jax.Array:
    """The sum of `penalty` over the pixels of each image.

    Args:
      penalty: a pointwise function of the differences, see `_types.PenaltyFunction`. A
        `_penalties.Coupled` penalty takes a single image. The penalty is a static
        parameter of the primitive: pass an equal object on every call, or the program
        is compiled again.
      images: arrays of one shape `[B, ...]` and dtype.
      parameters: scalars or arrays of the shape of the images, in the order in which
        the penalty takes them.
      stencils: the differences that the penalty takes, along other axes than the batch
        axis 0. Forward differences along different axes, in increasing order, take the
        fastest way.
      implementation: `"xla"`, `"xla_cpu"`, or None, which takes `"xla_cpu"` on a single
        CPU device and `"xla"` elsewhere.

    Returns:
      An array `[B]`, in at least float32 or int32.
    """
    _backends.check(implementation, images[0])
    dtype = real_dtype(accumulator(images[0].dtype))
    parameters = [p.astype(dtype) if p.dtype != bool else p for p in parameters]
    (total,) = functional_p.bind(
        *_match_arrays([*images, *parameters]),
        penalty=penalty,
        count=len(images),
        # Penalties such as "l1" amplify a rounding error to a derivative of 1.
        stencils=tuple(map(centered, stencils)),
        with_gradient=False,
        implementation=implementation,
    )
    return total


def _match_arrays(operands: Sequence[jax.Array]) -> list[jax.Array]:
    """The operands, cast to a common sharding, except scalars."""
    matched = iter(_jax.match_types(*(o for o in operands if o.ndim)))
    return [next(matched) if operand.ndim else operand for operand in operands]


def _compute_by(
    backend: _backends.Backend,
    *operands: jax.Array,
    penalty: PenaltyFunction,
    count: int,
    stencils: tuple[SeparableStencil, ...],
    with_gradient: bool,
) -> list[jax.Array]:
    """The sums and, with `with_gradient`, their derivative by each of the images.

    The operands are `count` images, then the parameters of the penalty.
    """
    images, parameters = operands[:count], operands[count:]
    if not with_gradient:
        assert backend.functional is not None  # `_backends.check` has made sure
        return [backend.functional(penalty, images, parameters, stencils)]
    assert backend.functional_and_gradient is not None
    total, gradients = backend.functional_and_gradient(
        penalty, images, parameters, stencils
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

    # The sum of all operands is traced, never computed: its type has their common
    # sharding.
    def results(*operands: jax.Array) -> list[jax.Array]:
        dtype = accumulator(operands[0].dtype)
        values = functools.reduce(jnp.add, [o.astype(dtype) for o in operands]).real
        total = values.sum(tuple(range(1, values.ndim)))
        gradient = values.astype(derivative_dtype(operands[0].dtype))
        return [total, *([gradient] * count if with_gradient else [])]

    return results


def _batch(operands, mapped_axes, **options: Any):
    """The rule for `vmap`: the mapped axis is merged with the batch axis."""
    moved = _jax.move_mapped_axes(operands, mapped_axes, 0)
    shape = moved[0].shape  # [mapped, B, ...]

    def merge(operand: jax.Array, unmoved: jax.Array, axis: int | None) -> jax.Array:
        if axis is None and unmoved.ndim == 0:
            return unmoved  # a scalar for all
        if operand.ndim == 1:  # a mapped scalar, broadcast to one for each pixel
            operand = operand.reshape(-1, *[1] * (len(shape) - 1))
        operand = jnp.broadcast_to(operand, shape)
        return operand.reshape(shape[0] * shape[1], *shape[2:])

    matched = _match_arrays([*map(merge, moved, operands, mapped_axes)])
    results = functional_p.bind(*matched, **options)
    split = [r.reshape(*shape[:2], *r.shape[1:]) for r in results]
    return split, [0] * len(results)


functional_p = _jax.primitive(
    "functional",
    static_names=("penalty", "count", "stencils", "with_gradient", "implementation"),
    compute=_compute,
    result_types=_result_types,
    lower=_lower,
    batch=_batch,
)


def _jvp(primals, tangents, *, count: int, with_gradient: bool, **options: Any):
    """The JVP rule; a tangent of None is zero.

    The derivative of the sum by the images is the closed form. Its derivative by the
    parameters, and the derivatives of the closed form (second derivatives of the sum),
    are those that JAX takes of the definition.
    """
    if with_gradient:
        parameters = {"count": count, "with_gradient": True, **options}
        results = functional_p.bind(*primals, **parameters)
        return results, _jvp_of_definition(primals, tangents, **parameters)
    image_tangents, parameter_tangents = tangents[:count], tangents[count:]
    terms = []  # of the tangent of the sum
    if any(tangent is not None for tangent in image_tangents):
        total, *gradients = functional_p.bind(
            *primals, count=count, with_gradient=True, **options
        )
        terms += [
            _inner(gradient, tangent)
            for gradient, tangent in zip(gradients, image_tangents, strict=True)
            if tangent is not None
        ]
    else:
        (total,) = functional_p.bind(
            *primals, count=count, with_gradient=False, **options
        )
    if any(tangent is not None for tangent in parameter_tangents):
        terms += _jvp_of_definition(
            primals,
            [*[None] * count, *parameter_tangents],
            count=count,
            with_gradient=False,
            **options,
        )
    return [total], [functools.reduce(jnp.add, terms)]


def _jvp_of_definition(primals, tangents, *, implementation: Any, **options: Any):
    """JAX's own JVP of the definition, `"xla"`, in the operands that have a tangent."""
    del implementation
    has_tangent = [tangent is not None for tangent in tangents]

    def definition(*differentiated: jax.Array) -> list[jax.Array]:
        remaining = iter(differentiated)
        operands = [
            next(remaining) if has else primal
            for has, primal in zip(has_tangent, primals, strict=True)
        ]
        return _compute_by(_backends.BACKENDS["xla"], *operands, **options)

    _, result_tangents = jax.jvp(
        definition,
        [primal for has, primal in zip(has_tangent, primals, strict=True) if has],
        [tangent for tangent in tangents if tangent is not None],
    )
    return result_tangents


def _inner(gradient: jax.Array, tangent: jax.Array) -> jax.Array:
    """The inner product over each image, `[B]`; its real part if it is complex."""
    dtype = accumulator(gradient.dtype)
    product = gradient.astype(dtype) * tangent.astype(dtype)
    return product.real.sum(tuple(range(1, product.ndim)))


_jax.define_jvp(functional_p, _jvp)
