"""Which back end computes: the only reader of the string `implementation`.

A name is used, or refused with the reason; it is never silently replaced.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import Any, cast, get_args

import jax
from jax.interpreters import mlir

from jax_imgrad._types import Backend, Implementation


def choose(
    implementation: Implementation | None, operation: str, operand: jax.Array
) -> Implementation | None:
    """The implementation asked for, if it has the operation and takes the operand."""
    if implementation is None:
        return None
    check_implementation(implementation)
    backend = load(implementation)
    if not hasattr(backend, operation):
        names = " or ".join(map(repr, having(operation)))
        raise _refusal(implementation, f"this is computed by {names}")
    if reason := backend.why_not(jax.typeof(operand)):
        raise _refusal(implementation, reason)
    return implementation


def check_implementation(implementation: Any) -> None:
    """Raises ValueError unless it is None or a name of an implementation."""
    names = get_args(Implementation)
    if implementation is None or (
        isinstance(implementation, str) and implementation in names
    ):
        return
    raise ValueError(
        f"implementation must be None or one of {', '.join(map(repr, names))}, got "
        f"{implementation!r}; None works everywhere"
    )


def fastest(operation: str, operand: Any, context: mlir.ModuleContext) -> str:
    """What None stands for, in a program for these platforms and devices.

    The definition. No kernel has been measured to be faster on a real device, and XLA's
    own is the only one that fuses with its neighbors, is split over devices, and lowers
    for every platform at once. But one device need not exchange rows with others. On a
    CPU loops over long rows are then best, for sums and for stencils; elsewhere
    stencils that read an image at all taps at once. Of several devices, those would
    gather the image, and these exchange its rows often.
    """
    if getattr(context.axis_context, "num_devices", 0) == 1:
        on_cpu = tuple(context.platforms) == ("cpu",)
        name = "xla_cpu" if on_cpu else "xla_at_once"
        backend = load(name)
        if hasattr(backend, operation) and backend.why_not(operand) is None:
            return name
    return "xla"


def having(operation: str) -> list[Implementation]:
    """The names of the back ends that can compute an operation."""
    return [name for name in get_args(Implementation) if hasattr(load(name), operation)]


def load(implementation: str) -> Backend:
    """The back end of that name."""
    # Loaded when first asked for: importing Pallas takes a tenth of a second.
    module = importlib.import_module(f"jax_imgrad._backends.{implementation}")
    return cast(Backend, module)


@contextlib.contextmanager
def lowering(implementation: str, platforms: Sequence[str]) -> Iterator[None]:
    """Refuses to compile a back end for platforms on which it does not compute."""
    only = load(implementation).PLATFORM
    if only is None or tuple(platforms) == (only,):
        yield
        return
    these = " or ".join(platforms)
    refusal = _refusal(
        implementation, f"it computes on {only} only, and this is compiled for {these}"
    )
    if tuple(platforms) != ("cpu",):
        raise refusal
    try:
        yield  # Pallas may have been told to interpret its kernels, as in the tests
    except ValueError as error:
        raise refusal from error


def _refusal(implementation: str, reason: str) -> NotImplementedError:
    return NotImplementedError(
        f"implementation={implementation!r} cannot be used here: {reason}; "
        "use implementation=None"
    )
