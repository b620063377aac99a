"""Names of earlier versions: they raise an error that says the present one."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Of options, the old values and the present ones.
VALUES = {
    "boundary": {"zero": "interior"},
    "implementation": {"xla_rows": "xla_cpu", "xla_at_once": "xla"},
}
# Elsewhere "zero" means zeros beyond the border.
_REMARKS = {"zero": "; zeros beyond the border are 'constant'"}


def hint(option: str, value: Any) -> str:
    """The present name of an old value, for the end of an error message; or nothing."""
    new = VALUES.get(option, {}).get(value) if isinstance(value, str) else None
    return f"; {value!r} is now {new!r}{_REMARKS.get(value, '')}" if new else ""


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function refuse old names of its options, `old="new"`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            for old, new in names.items():
                if old in options:
                    raise TypeError(
                        f"{function.__name__} has no option {old}; it is {new}"
                    )
            return function(*args, **options)

        return call

    return decorate
