"""All that is used of JAX beyond its stable public interface.

No other file imports `jax.extend`, `jax.interpreters` or `jax.core`, or reads the types
of arrays (`jax.typeof`) for more than shape and dtype: a test forbids it. When a
release of JAX moves something, this is the file to change. Each name says what it is
for, why the public interface does not do, and what would replace it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


class Program(NamedTuple):
    """What is known of a program when a primitive in it is lowered."""

    platforms: tuple[str, ...]  # more than one in an export for several
    devices: int  # 0 where it is not known


def primitive(
    name: str,
    *,
    static_names: tuple[str, ...],
    compute: Callable[..., Sequence[jax.Array]],
    result_types: Callable[..., Callable[..., Any]],
    lower: Callable[..., Callable[..., Sequence[jax.Array]]],
    batch: Callable[..., tuple[Sequence[jax.Array], Sequence[int]]],
) -> Primitive:
    """A new operation of JAX, whose lowering depends on platform and devices.

    Why: the derivative rules of `jax.custom_jvp` and `jax.custom_vjp` keep the masks of
    an operation, at the size of the image, for the backward pass. The public
    `jax.custom_derivatives.linear_call` has no rule for `vmap`, and
    `lax.platform_dependent` does not know the number of devices. A `linear_call` that
    batches, and a `platform_dependent` that sees the devices, would replace it.

    Args:
      name: of the primitive in a jaxpr.
      static_names: of its parameters, all hashable.
      compute: `compute(*operands, **parameters)` evaluates it on arrays.
      result_types: `result_types(**parameters)` returns a function of the operands that
        is traced for the types of the results.
      lower: `lower(program, operand_types, **parameters)` returns the function of the
        operands to compile.
      batch: `batch(operands, axes, **parameters)`, the rule for `vmap`.
    """
    new = Primitive(name)
    new.multiple_results = True

    def bind_or_compute(*operands: jax.Array, **parameters: Any):
        # `jax.debug_nans` calls what gave a NaN again, without tracing, to find where.
        # Then it is evaluated; binding would compile and call it again without end.
        traced = any(is_traced(operand) for operand in operands)
        return (new.bind if traced else compute)(*operands, **parameters)

    compiled = jax.jit(bind_or_compute, static_argnames=static_names)

    @new.def_impl
    def run(*operands: jax.Array, **parameters: Any):
        with jax.disable_jit(False):
            return compiled(*operands, **parameters)

    @new.def_effectful_abstract_eval  # an interpreted kernel has effects
    def types(*operands: Any, **parameters: Any):
        traced = jax.make_jaxpr(result_types(**parameters))(*operands)
        return traced.out_avals, traced.effects

    def lowering(ctx: mlir.LoweringRuleContext, *operands: Any, **parameters: Any):
        context = ctx.module_context
        devices = getattr(context.axis_context, "num_devices", 0)
        program = Program(tuple(context.platforms), devices)
        function = lower(program, ctx.avals_in, **parameters)
        return mlir.lower_fun(function, multiple_results=True)(ctx, *operands)

    mlir.register_lowering(new, lowering)
    batching.primitive_batchers[new] = batch
    return new


def is_interpreted(function: Callable[..., Any], *operand_types: Any) -> bool:
    """Whether a function of these operands calls a Pallas kernel that is interpreted.

    Pallas has a public context to have kernels interpreted, and nothing that tells
    whether they are, but the equation of a call.
    """
    equations = jax.make_jaxpr(function)(*operand_types).jaxpr.eqns
    return any(equation.params.get("interpret") for equation in equations)


def define_transpose(
    linear: Primitive,
    rule: Callable[..., Sequence[jax.Array | None]],
) -> None:
    """Makes a primitive linear: it is its own derivative, and `rule` its transpose.

    `rule(cotangents, **parameters)` returns the cotangent of each operand, or None for
    zero; a cotangent that is zero comes as None. Public in the form of `linear_call`
    only, see `primitive`.
    """

    def transpose(cotangents: Sequence[Any], *operands: Any, **parameters: Any):
        del operands  # all of them are linear
        return rule([_or_none(c) for c in cotangents], **parameters)

    ad.deflinear2(linear, transpose)


def define_jvp(nonlinear: Primitive, rule: Callable[..., tuple[Any, Any]]) -> None:
    """Sets the derivative rule of a primitive.

    `rule(primals, tangents, **parameters)` returns the results and their tangents;
    a tangent that is zero comes as None. Public as `jax.custom_jvp` with
    `symbolic_zeros=True`, but only for functions, not for primitives.
    """

    def jvp(primals: Any, tangents: Any, **parameters: Any):
        return rule(primals, [_or_none(t) for t in tangents], **parameters)

    ad.primitive_jvps[nonlinear] = jvp


def _or_none(value: Any) -> jax.Array | None:
    return None if type(value) is ad.Zero else value


def is_traced(value: Any) -> bool:
    """Whether a value is not known before the program runs.

    `jax.core.is_concrete` is not public; `isinstance(value, jax.core.Tracer)` is what
    JAX's documentation shows.
    """
    return isinstance(value, Tracer)


def jit_is_disabled() -> bool:
    """Whether `jax.disable_jit` or `jax.debug_nans` evaluates step by step.

    There is a public context to set it, and none to read it.
    """
    return bool(jax.config.jax_disable_jit)


def is_explicitly_sharded(operand_type: Any) -> bool:
    """Whether an array lives on a mesh with explicit axes.

    The sharding in the type of an array is new, and its attributes have been renamed
    from release to release.
    """
    return bool(operand_type.sharding.mesh.explicit_axes)


def explicit_devices(operand_type: Any) -> int:
    """Over how many devices the explicit axes of an array's mesh extend."""
    mesh = operand_type.sharding.mesh
    devices = 1
    for axis in mesh.explicit_axes:
        devices *= mesh.shape[axis]
    return devices


def is_whole_along(array: jax.Array, axes: Sequence[int]) -> bool:
    """Whether none of these axes of an array is explicitly sharded."""
    spec = jax.typeof(array).sharding.spec
    return all(spec[axis] is None for axis in axes)


def with_automatic_sharding(
    function: Callable[..., jax.Array], like: jax.Array
) -> Callable[..., jax.Array]:
    """The function, its insides sharded by the compiler.

    The result has one axis, sharded as the first one of `like`. `jax.sharding.
    auto_axes` is public; the sharding that it takes is made from that in a type.
    """
    sharding = jax.typeof(like).sharding
    automatic: Any = jax.sharding.auto_axes(
        function,
        axes=sharding.mesh.explicit_axes,
        out_sharding=sharding.update(spec=jax.P(sharding.spec[0])),
    )
    return automatic


def result_like(shape: tuple[int, ...], array: jax.Array) -> jax.ShapeDtypeStruct:
    """The type of a kernel's result, which varies over devices as an array does.

    Pallas asks for it inside a `jax.shard_map`, in an argument that is not documented.
    """
    return jax.ShapeDtypeStruct(
        shape, array.dtype, manual_axis_type=jax.typeof(array).manual_axis_type
    )


def match_types(*operands: jax.Array) -> list[jax.Array]:
    """Arrays of one shape, cast to a common sharding and varying-axes type.

    What `+` does to its operands must be done to those of a primitive before it, or the
    derivative by one of them would come back sharded as another. `lax.pcast` and
    `jax.reshard` are public, and the types that they are to make are not.
    """
    types = {(t.sharding, t.manual_axis_type) for t in map(jax.typeof, operands)}
    if len(types) == 1:
        return list(operands)

    def total(*terms: jax.Array) -> jax.Array:
        return functools.reduce(jnp.add, [term.astype(jnp.float32) for term in terms])

    common: Any = jax.make_jaxpr(total)(*operands).out_avals[0]
    matched = []
    for operand in operands:
        own = jax.typeof(operand)
        varying = common.manual_axis_type.varying - own.manual_axis_type.varying
        if varying:
            operand = lax.pcast(operand, tuple(varying), to="varying")
        if jax.typeof(operand).sharding != common.sharding:
            operand = jax.reshard(operand, common.sharding)
        matched.append(operand)
    return matched


def move_mapped_axes(
    operands: Sequence[jax.Array], axes: Sequence[int | None], to: int
) -> list[jax.Array]:
    """The operands of a rule for `vmap`, with the axis that is mapped over at `to`.

    Operands that do not have it are repeated along a new one.
    """
    size = next(
        operand.shape[axis]
        for operand, axis in zip(operands, axes, strict=True)
        if axis is not None
    )

    def moved(operand: jax.Array, axis: int | None) -> jax.Array:
        if axis is not None:
            return jnp.moveaxis(operand, axis, to)
        shape = (*operand.shape[:to], size, *operand.shape[to:])
        return jnp.broadcast_to(jnp.expand_dims(operand, to), shape)

    return list(map(moved, operands, axes))
