"""Numbers that a caller passes, as Python numbers; and a hint if they are traced."""

import sys
from typing import Any

import jax
import numpy as np

from jax_imgrad._jax import is_traced


def as_number(value: Any) -> Any:
    """Returns a finite real number (or rank-0 array) as a Python one, else None."""
    if isinstance(value, jax.Array | np.ndarray | np.generic) and value.ndim == 0:
        try:
            value = np.asarray(value).item()
        except (TypeError, ValueError):  # traced, or not a number
            return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if abs(value) <= sys.float_info.max else None


def hint_if_traced(*values: Any) -> str:
    """What to do if a static option is traced, for the end of an error message."""
    if not any(map(is_traced, values)):
        return ""
    return (
        ", which is traced; options are static: bind them with functools.partial, or "
        "list them in static_argnames of jax.jit"
    )
