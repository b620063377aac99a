"""All use of JAX beyond its stable public interface.

No other file imports `jax.extend`, `jax.interpreters` or `jax.core`, or reads more than
shape and dtype from the type of an array (`jax.typeof`): a test forbids it. When a
release of JAX moves something, this is the file to change. Each docstring says what the
function is for, why the public interface does not suffice, and what could replace it.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


class Program(NamedTuple):
    """What is known about a program when a primitive in it is lowered.

    Attributes:
      platforms: that it is compiled for; several if it is exported for several.
      devices: how many it runs on, or 0 if that is unknown.
    """

    platforms: tuple[str, ...]
    devices: int


def primitive(
    name: str,
    *,
    static_names: tuple[str, ...],
    compute: Callable[..., Sequence[jax.Array]],
    result_types: Callable[..., Callable[..., Any]],
    lower: Callable[..., Callable[..., Sequence[jax.Array]]],
    batch: Callable[..., tuple[Sequence[jax.Array], Sequence[int]]],
) -> Primitive:
    """Makes a primitive whose lowering depends on the platform and number of devices.

    Why not the public interface: derivative rules of `jax.custom_jvp` and
    `jax.custom_vjp` keep the masks of an operation, each of the size of the image, as
    residuals. `jax.custom_derivatives.linear_call` has no rule for `vmap`. And
    `lax.platform_dependent` does not know the number of devices. A `linear_call` with a
    batching rule, together with a `platform_dependent` that knows the devices, would
    replace this.

    Args:
      name: of the primitive in a jaxpr.
      static_names: of its parameters, all hashable.
      compute: `compute(*operands, **parameters)` evaluates it on arrays.
      result_types: `result_types(**parameters)` returns a function of the operands,
        which is traced to find the types of the results.
      lower: `lower(program, operand_types, **parameters)` returns the function of the
        operands to compile.
      batch: `batch(operands, axes, **parameters)`, the rule for `vmap`, returns the
        results and their mapped axes.
    """
    new = Primitive(name)
    new.multiple_results = True

    def bind_or_compute(*operands: jax.Array, **parameters: Any):
        # When a compiled function gives a NaN, `jax.debug_nans` calls it again with
        # jit disabled, to find the operation that made the NaN. The operands are then
        # not traced. To bind the primitive there would compile and call this function
        # again, in an endless recursion, so it is evaluated instead.
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
    """Whether a function calls a Pallas kernel that is interpreted.

    A public context manager makes Pallas interpret kernels, but no public function
    tells whether it is active. The equation of a kernel's call in the jaxpr does.
    """
    equations = jax.make_jaxpr(function)(*operand_types).jaxpr.eqns
    return any(equation.params.get("interpret") for equation in equations)


def define_transpose(
    linear: Primitive,
    rule: Callable[..., Sequence[jax.Array | None]],
) -> None:
    """Makes a primitive linear: its JVP is the primitive itself, its transpose `rule`.

    So is its rule in `jax.experimental.jet`, for each Taylor coefficient.

    `rule(cotangents, **parameters)` takes the cotangent of each result and returns that
    of each operand, where None stands for zero. The only public form is `linear_call`,
    see `primitive`.
    """

    def transpose(cotangents: Sequence[Any], *operands: Any, **parameters: Any):
        del operands  # the primitive is linear in all of them: they have no value here
        return rule([_or_none(c) for c in cotangents], **parameters)

    ad.deflinear2(linear, transpose)
    jet.deflinear(linear)


def define_jvp(nonlinear: Primitive, rule: Callable[..., tuple[Any, Any]]) -> None:
    """Sets the JVP rule of a primitive.

    `rule(primals, tangents, **parameters)` returns the results and their tangents. In
    `tangents`, None stands for zero. `jax.custom_jvp` with `symbolic_zeros=True` is
    public, but applies to functions, not to primitives.
    """

    def jvp(primals: Any, tangents: Any, **parameters: Any):
        return rule(primals, [_or_none(t) for t in tangents], **parameters)

    ad.primitive_jvps[nonlinear] = jvp


def _or_none(value: Any) -> jax.Array | None:
    return None if type(value) is ad.Zero else value


def is_traced(value: Any) -> bool:
    """Whether a value is a tracer, so that it is unknown until the program runs.

    `jax.core.is_concrete` is not public. JAX's documentation shows
    `isinstance(value, jax.core.Tracer)`.
    """
    return isinstance(value, Tracer)


def jit_is_disabled() -> bool:
    """Whether jit is disabled, by `jax.disable_jit` or while `jax.debug_nans` searches.

    A public context manager sets this; no public function reads it.
    """
    return bool(jax.config.jax_disable_jit)


def is_explicitly_sharded(operand_type: Any) -> bool:
    """Whether the mesh of an array has explicit axes.

    The sharding in the type of an array is a new interface, whose attributes have been
    renamed between releases.
    """
    return bool(operand_type.sharding.mesh.explicit_axes)


def explicit_devices(operand_type: Any) -> int:
    """The number of devices along the explicit axes of an array's mesh."""
    mesh = operand_type.sharding.mesh
    return math.prod(mesh.shape[axis] for axis in mesh.explicit_axes)


def is_unsharded_along(array: jax.Array, axes: Sequence[int]) -> bool:
    """Whether none of the given axes of an array is explicitly sharded."""
    spec = jax.typeof(array).sharding.spec
    return all(spec[axis] is None for axis in axes)


def on_each_shard(
    function: Callable[[jax.Array], jax.Array], array: jax.Array
) -> jax.Array:
    """A function of an array, applied to each of its shards by itself.

    The array is explicitly sharded; the result has its shape and sharding.
    `jax.shard_map` is public, but the mesh and the spec of the array are not.
    """
    sharding = jax.typeof(array).sharding
    return jax.shard_map(
        function, mesh=sharding.mesh, in_specs=sharding.spec, out_specs=sharding.spec
    )(array)


def with_automatic_sharding(
    function: Callable[..., jax.Array], like: jax.Array
) -> Callable[..., jax.Array]:
    """The function, with the sharding inside it left to the compiler.

    The function must return an array of rank 1; it is sharded as the first axis of
    `like`. `jax.sharding.auto_axes` is public, but the sharding that it takes is made
    from the type of `like`, which is not.
    """
    sharding = jax.typeof(like).sharding
    automatic: Any = jax.sharding.auto_axes(
        function,
        axes=sharding.mesh.explicit_axes,
        out_sharding=sharding.update(spec=jax.P(sharding.spec[0])),
    )
    return automatic


def result_like(shape: tuple[int, ...], array: jax.Array) -> jax.ShapeDtypeStruct:
    """The type of a kernel's result, with the dtype and varying axes of an array.

    Inside `jax.shard_map`, Pallas requires the varying axes (the mesh axes along which
    the values differ between devices), in an argument that is not documented.
    """
    return jax.ShapeDtypeStruct(
        shape, array.dtype, manual_axis_type=jax.typeof(array).manual_axis_type
    )


def match_types(*operands: jax.Array) -> list[jax.Array]:
    """Casts arrays of one shape to a common sharding and varying-axes type.

    `+` does this to its operands. For the operands of a primitive it must be done
    before the primitive is bound. Otherwise the cotangent of one operand would have the
    sharding of another. `lax.pcast` and `jax.reshard` are public, but the types to
    which they cast are not.
    """
    types = {(t.sharding, t.manual_axis_type) for t in map(jax.typeof, operands)}
    if len(types) == 1:
        return list(operands)

    # The common type is that of the sum, which is traced but never computed.
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
    """The operands of a batching rule, with the mapped axis moved to position `to`.

    Operands without a mapped axis are broadcast along a new one.
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
