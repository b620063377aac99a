"""What an operation is to JAX: a primitive, which each back end computes in its way.

A primitive is where JAX asks what the derivative and the transpose of an operation are,
and how to batch it; and its `lower` is called when the platform and the number of
devices are known, which is the time to choose a back end, and to refuse one.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from jax_imgrad import _dispatch


def primitive(
    name: str, call: Callable, like: Callable, batch: Callable, options: tuple[str, ...]
) -> Primitive:
    """A primitive for the operation that back ends define under this name.

    Args:
      name: of the function of the back ends.
      call: `call(function, *operands, **options)` calls it.
      like: `like(*operands, **options)` has results of the same types, and is traced
        sooner than the definition.
      batch: `batch(primitive, operands, axes, **options)`, the rule for `vmap`.
      options: their names; `implementation` is one of them.
    """
    new = Primitive(name)
    new.multiple_results = True

    def compute(*operands: jax.Array, implementation: str | None, **options: Any):
        backend = _dispatch.load(implementation or "xla")
        return jax.tree.leaves(call(getattr(backend, name), *operands, **options))

    bind_or_compute = functools.partial(_bind_or_compute, new.bind, compute)
    compiled = jax.jit(bind_or_compute, static_argnames=options)

    @new.def_impl
    def run(*operands: jax.Array, **options: Any):
        with jax.disable_jit(False):
            return compiled(*operands, **options)

    @new.def_effectful_abstract_eval
    def typed(*operands: Any, **options: Any):
        alike = functools.partial(compute, **options)
        chosen = options.pop("implementation")
        # A kernel, which is for one platform, has effects where it is interpreted.
        if chosen is None or _dispatch.load(chosen).PLATFORM is None:
            alike = functools.partial(like, **options)
        traced = jax.make_jaxpr(alike)(*operands)
        return traced.out_avals, traced.effects

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **options: Any):
        chosen = options["implementation"] or _dispatch.fastest(
            name, ctx.avals_in[0], ctx.module_context
        )
        options |= {"implementation": chosen}
        with _dispatch.lowering(chosen, ctx.module_context.platforms):
            return mlir.lower_fun(compute, multiple_results=True)(
                ctx, *operands, **options
            )

    mlir.register_lowering(new, lower)
    batching.primitive_batchers[new] = functools.partial(batch, new)
    return new


def _bind_or_compute(bind: Callable, compute: Callable, *operands, **options: Any):
    """Binds what is traced, to be compiled, and computes the rest without that.

    `jax.debug_nans` calls again, without tracing, what gave a NaN, to find where. What
    is compiled each time would be called again without end.
    """
    traced = any(isinstance(operand, Tracer) for operand in operands)
    return (bind if traced else compute)(*operands, **options)


def of_one_type(*operands: jax.Array) -> list[jax.Array]:
    """Arrays of one shape, sharded over devices alike, as their sum would be.

    What `+` does to its operands must be done to those of a primitive before it, lest
    the derivative by one of them come back sharded as another.
    """
    types = {(t.sharding, t.manual_axis_type) for t in map(jax.typeof, operands)}
    if len(types) == 1:
        return list(operands)

    def total(*terms: jax.Array) -> jax.Array:
        return functools.reduce(jnp.add, [term.astype(jnp.float32) for term in terms])

    whole: Any = jax.make_jaxpr(total)(*operands).out_avals[0]
    alike = []
    for operand in operands:
        own = jax.typeof(operand)
        varying = whole.manual_axis_type.varying - own.manual_axis_type.varying
        if varying:
            operand = lax.pcast(operand, tuple(varying), to="varying")
        if jax.typeof(operand).sharding != whole.sharding:
            operand = jax.reshard(operand, whole.sharding)
        alike.append(operand)
    return alike


def batched_shape(
    operands: Sequence[jax.Array], axes: Sequence[int | None]
) -> tuple[int, int]:
    """The first axis that is mapped over, and its size."""
    return next(
        (axis, operand.shape[axis])
        for operand, axis in zip(operands, axes, strict=True)
        if axis is not None
    )


def align(operand: jax.Array, axis: int | None, at: int, size: int) -> jax.Array:
    """`operand` with the axis that is mapped over at `at`; a new one if it has none."""
    if axis is not None:
        return jnp.moveaxis(operand, axis, at)
    shape = (*operand.shape[:at], size, *operand.shape[at:])
    return jnp.broadcast_to(jnp.expand_dims(operand, at), shape)
