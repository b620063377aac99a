"""Which back end computes: the only reader of the string `implementation`.

A name is used, or refused with the reason; it is never silently replaced.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import cast, get_args

import jax

from jax_imgrad._types import Backend, Implementation


def choose(implementation: Implementation | None, operand: jax.Array) -> Implementation:
    """The name of the back end that computes on `operand` when this one is asked for.

    None is the definition, on every platform. No kernel has been measured to be faster
    on a real device, and XLA's own is the only one that fuses with its neighbors, is
    split over devices, and lowers for every platform at once.
    """
    if implementation is None:
        return "xla"
    if implementation not in get_args(Implementation):
        names = ", ".join(map(repr, get_args(Implementation)))
        raise ValueError(
            f"implementation must be None or one of {names}, got {implementation!r}; "
            "None works everywhere"
        )
    if reason := load(implementation).why_not(jax.typeof(operand)):
        raise _refusal(implementation, reason)
    return implementation


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
    except ValueError:
        raise refusal from None


def _refusal(implementation: str, reason: str) -> NotImplementedError:
    return NotImplementedError(
        f"implementation={implementation!r} cannot be used here: {reason}; "
        "use implementation=None"
    )
