"""The back ends: a table of the ways to compute, and the choice of one.

Each computes the same operations from the same arguments. `xla.py` is the definition.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax

from jax_imgrad._backends import xla, xla_cpu
from jax_imgrad._jax import Program
from jax_imgrad._stencils import Maps
from jax_imgrad._types import PenaltyFunction
from jax_imgrad.typing import Implementation


class StencilOperation(Protocol):
    """For each row of `maps`, the sum of its stencils applied to the images.

    The images have one shape and one dtype, which can hold the results. The results are
    arrays of their own, or `stacked` in one, along a last axis.
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
        axes: tuple[int, ...],
    ) -> jax.Array: ...


class GradientOperation(Protocol):
    """The same sum, and its derivative by each of the images."""

    def __call__(
        self,
        penalty: PenaltyFunction,
        images: Sequence[jax.Array],
        parameters: Sequence[jax.Array],
        axes: tuple[int, ...],
    ) -> tuple[jax.Array, list[jax.Array]]: ...


class WhyNot(Protocol):
    """Why a back end cannot compute, or None if it can.

    Args:
      operand: the type of the first image.
      maps: of a stencil operation; None for the others.
      stacked: of a stencil operation.
    """

    def __call__(
        self, operand: jax.Array, maps: Maps | None, stacked: bool
    ) -> str | None: ...


class Backend(NamedTuple):
    """One way to compute."""

    why_not: WhyNot
    stencil: StencilOperation
    functional: FunctionalOperation | None = None
    functional_and_gradient: GradientOperation | None = None
    platform: str | None = None  # the only one that it computes on, or None


def _pallas_tpu_why_not(operand, maps, stacked):
    from jax_imgrad._backends import pallas_tpu

    return pallas_tpu.why_not(operand, maps, stacked)


def _pallas_tpu_stencil(images, maps, stacked):
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
    # Imported when first asked for: to import Pallas takes a tenth of a second.
    "pallas_tpu": Backend(_pallas_tpu_why_not, _pallas_tpu_stencil, platform="tpu"),
}

# On one device, the definition reads an image at all taps at once.
_XLA_ON_ONE_DEVICE = BACKENDS["xla"]._replace(stencil=xla.stencil_on_one_device)


def check(
    implementation: Implementation | None,
    operand: jax.Array,
    maps: Maps | None = None,
    stacked: bool = False,
) -> None:
    """Raises NotImplementedError where a back end asked for by name cannot compute."""
    reason = why_not(implementation, operand, maps, stacked)
    if implementation is not None and reason:
        raise _refusal(implementation, reason)


def why_not(
    implementation: Implementation | None,
    operand: jax.Array,
    maps: Maps | None = None,
    stacked: bool = False,
) -> str | None:
    """Why a back end asked for by name cannot compute, or None if it can.

    Without `maps`, whether it can compute losses.
    """
    if implementation is None:
        return None
    backend = BACKENDS[implementation]
    if maps is None and backend.functional is None:
        able = [repr(name) for name, other in BACKENDS.items() if other.functional]
        return f"losses are computed by {' or '.join(able)}"
    return backend.why_not(jax.typeof(operand), maps, stacked)


def choose(
    implementation: Implementation | None, program: Program, operand: jax.Array
) -> Backend:
    """The back end to compile, for these platforms and devices.

    By default it is the definition: XLA fuses it with its neighbors, splits it over
    devices, and lowers it for every platform. On one CPU it is `xla_cpu`, where that
    takes the operand; on several devices, its loops over long rows would gather the
    image. No kernel has been measured to be faster on a real device.
    """
    one_device = program.devices == 1
    on_cpu = program.platforms == ("cpu",)
    if implementation is None and one_device and on_cpu:
        in_rows = BACKENDS["xla_cpu"]
        if in_rows.why_not(operand, None, False) is None:
            return in_rows
    if implementation in (None, "xla"):
        return _XLA_ON_ONE_DEVICE if one_device else BACKENDS["xla"]
    backend = BACKENDS[implementation]
    # A kernel may be interpreted on a CPU, which is known once it is traced.
    if not (on_cpu or runs_on(backend, program)):
        raise wrong_platform(implementation, program)
    return backend


def runs_on(backend: Backend, program: Program) -> bool:
    """Whether a back end computes on the platforms of a program."""
    return backend.platform is None or program.platforms == (backend.platform,)


def wrong_platform(
    implementation: Implementation, program: Program
) -> NotImplementedError:
    """The error of a program for platforms on which a back end does not compute."""
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
