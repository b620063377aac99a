"""The registry of back ends, and the choice of one.

Every back end has the operation `stencil`. Those that compute losses also have
`functional` and `functional_and_gradient`. `xla.py` defines all three.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax

from jax_imgrad._backends import xla, xla_cpu
from jax_imgrad._differences import shift_at_once
from jax_imgrad._jax import Program
from jax_imgrad._stencils import Maps, SeparableStencil
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import Implementation


class StencilOperation(Protocol):
    """For each row of `maps`, the sum of its stencils applied to the images.

    The images have one shape and one dtype, which is also that of the results. The
    results are separate arrays or, with `stacked`, one array that has them along a new
    last axis.
    """

    def __call__(
        self, images: Sequence[jax.Array], maps: Maps, stacked: bool
    ) -> list[jax.Array]: ...


class FunctionalOperation(Protocol):
    """The sum of a penalty over the pixels of each image, `[B]`.

    See `_functional.functional` for the arguments.
    """

    def __call__(
        self,
        penalty: PenaltyFunction,
        images: Sequence[jax.Array],
        parameters: Sequence[jax.Array],
        stencils: tuple[SeparableStencil, ...],
    ) -> jax.Array: ...


class GradientOperation(Protocol):
    """The same sum, and its derivative by each of the images."""

    def __call__(
        self,
        penalty: PenaltyFunction,
        images: Sequence[jax.Array],
        parameters: Sequence[jax.Array],
        stencils: tuple[SeparableStencil, ...],
    ) -> tuple[jax.Array, list[jax.Array]]: ...


class WhyNot(Protocol):
    """The reason why a back end cannot compute an operation, or None if it can.

    Args:
      operand_type: the abstract value of the first image.
      maps: the maps of a stencil operation; None for the other operations.
      stacked: whether the results of a stencil operation are stacked.
    """

    def __call__(
        self, operand_type: Any, maps: Maps | None, stacked: bool
    ) -> str | None: ...


class Backend(NamedTuple):
    """The operations of a back end.

    Attributes:
      why_not: tells whether it can compute given operands.
      stencil: the stencil operation.
      functional: the sum of a penalty, or None if it computes stencils only.
      functional_and_gradient: the sum and its derivative, or None likewise.
      platform: the only platform that it runs on, or None if it runs on all.
    """

    why_not: WhyNot
    stencil: StencilOperation
    functional: FunctionalOperation | None = None
    functional_and_gradient: GradientOperation | None = None
    platform: str | None = None


# Pallas is imported on first use: importing it takes a tenth of a second.
def _pallas_tpu_why_not(
    operand_type: Any, maps: Maps | None, stacked: bool
) -> str | None:
    from jax_imgrad._backends import pallas_tpu

    return pallas_tpu.why_not(operand_type, maps, stacked)


def _pallas_tpu_stencil(
    images: Sequence[jax.Array], maps: Maps, stacked: bool
) -> list[jax.Array]:
    from jax_imgrad._backends import pallas_tpu

    return pallas_tpu.stencil(images, maps, stacked)


BACKENDS: dict[Implementation, Backend] = {
    "xla": Backend(
        xla.why_not, xla.stencil, xla.functional, xla.functional_and_gradient
    ),
    "xla_cpu": Backend(
        xla_cpu.why_not,
        xla_cpu.stencil,
        xla_cpu.functional,
        xla_cpu.functional_and_gradient,
    ),
    "pallas_tpu": Backend(_pallas_tpu_why_not, _pallas_tpu_stencil, platform="tpu"),
}

# The form of "xla" for one device.
_XLA_ON_ONE_DEVICE = Backend(
    xla.why_not,
    functools.partial(xla.stencil, shift_by=shift_at_once),
    functools.partial(xla.functional, shift_by=shift_at_once),
    functools.partial(xla.functional_and_gradient, shift_by=shift_at_once),
)


def check(
    implementation: Implementation | None,
    operand: jax.Array,
    maps: Maps | None = None,
    stacked: bool = False,
) -> None:
    """Raises NotImplementedError if the named back end cannot compute the operation."""
    reason = why_not(implementation, operand, maps, stacked)
    if implementation is not None and reason:
        raise _refusal(implementation, reason)


def why_not(
    implementation: Implementation | None,
    operand: jax.Array,
    maps: Maps | None = None,
    stacked: bool = False,
) -> str | None:
    """The reason why the named back end cannot compute, or None if it can.

    The operation is a stencil operation if `maps` is given, otherwise a loss.
    """
    if implementation is None:
        return None
    backend = BACKENDS[implementation]
    if maps is None and backend.functional is None:
        able = [repr(name) for name, other in BACKENDS.items() if other.functional]
        return f"losses are computed by {' or '.join(able)}"
    return backend.why_not(jax.typeof(operand), maps, stacked)


def choose(
    implementation: Implementation | None, program: Program, operand_type: Any
) -> Backend:
    """The back end for a program, given its platforms and number of devices.

    The default is "xla", the definition: XLA fuses it with the operations around it,
    partitions it over devices, and compiles it for every platform. On a single CPU
    device the default is "xla_cpu" if that can compute; on several devices, its loops
    over long rows would gather a sharded image. "pallas_tpu" is never the default,
    since it has not been measured to be faster on a device.
    """
    one_device = program.devices == 1
    on_cpu = program.platforms == ("cpu",)
    if implementation is None and one_device and on_cpu:
        cpu_backend = BACKENDS["xla_cpu"]
        # It decides by the operand alone, whatever the operation.
        if cpu_backend.why_not(operand_type, None, False) is None:
            return cpu_backend
    if implementation in (None, "xla"):
        return _XLA_ON_ONE_DEVICE if one_device else BACKENDS["xla"]
    backend = BACKENDS[implementation]
    # No kernel is called for an empty image. A program for CPU is not refused yet: only
    # once the kernel is traced is it known whether Pallas interprets it.
    is_empty = 0 in operand_type.shape
    if not (is_empty or on_cpu or runs_on(backend, program)):
        raise wrong_platform(implementation, program)
    return backend


def runs_on(backend: Backend, program: Program) -> bool:
    """Whether a back end runs on the platforms of a program."""
    return backend.platform is None or program.platforms == (backend.platform,)


def wrong_platform(
    implementation: Implementation, program: Program
) -> NotImplementedError:
    """The error for a program whose platforms a back end does not run on."""
    return _refusal(
        implementation,
        f"it computes on {BACKENDS[implementation].platform} only, and this is "
        f"compiled for {' or '.join(program.platforms)}",
    )


def _refusal(implementation: str, reason: str) -> NotImplementedError:
    return NotImplementedError(
        f"implementation={implementation!r} cannot be used here: {reason}; "
        "use implementation=None"
    )
