"""Checks of options: names, numbers, and parameters that may be arrays."""

import functools
import math
import reprlib
import sys
from collections.abc import Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad._arguments import arrays, old_names
from jax_imgrad._arguments.arrays import hint_if_traced
from jax_imgrad._jax import is_traced
from jax_imgrad.typing import Implementation


def check_option(
    name: str,
    value: Any,
    choices: tuple[Any, ...],
    aliases: Mapping[str, str] | None = None,
) -> None:
    """Raises ValueError unless `value` is one of the choices.

    Args:
      name: the option.
      value: what the caller passed.
      choices: the supported values, strings and integers.
      aliases: the names of these values in other libraries, for the error message.
    """
    simple = isinstance(value, str | int | np.integer) and not isinstance(value, bool)
    if simple and value in choices:
        return
    names = ", ".join(map(repr, choices))
    word = value.lower() if isinstance(value, str) else ""
    hint = hint_if_traced(value)
    if word and word in choices:
        hint = f"; write {word!r}"
    elif alias := (aliases or {}).get(word):
        hint = f"; {value!r} in other libraries is {alias!r} here"
    elif name == "reduction" and (value is None or word == "none"):
        hint = "; every reduction returns one number for each image of the batch"
    hint = old_names.hint(name, value) or hint
    raise ValueError(f"{name} must be one of {names}, got {reprlib.repr(value)}{hint}")


def check_implementation(implementation: Any) -> None:
    """Raises ValueError unless it is None or the name of a back end."""
    names = get_args(Implementation)
    if implementation is None or (
        isinstance(implementation, str) and implementation in names
    ):
        return
    hint = old_names.hint("implementation", implementation)
    raise ValueError(
        f"implementation must be None or one of {', '.join(map(repr, names))}, got "
        f"{implementation!r}{hint or '; use None, which works everywhere'}"
    )


def check_bool(name: str, value: Any) -> None:
    """Raises TypeError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"{name} must be True or False, got {reprlib.repr(value)}"
            f"{hint_if_traced(value)}"
        )


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


def as_number_of_at_least(name: str, value: Any, least: int) -> float:
    """Returns the number; raises ValueError unless it is at least `least`."""
    number = as_number(value)
    if number is None or number < least:
        raise ValueError(
            f"{name} must be a number of at least {least}, got "
            f"{reprlib.repr(value)}{hint_if_traced(value)}"
        )
    return float(number)


def as_integer_between(name: str, value: Any, least: int, most: int) -> int:
    """Returns the integer; raises ValueError unless it is within these limits."""
    number = as_number(value)
    if number is None or not least <= number <= most or number != int(number):
        raise ValueError(
            f"{name} must be an integer from {least} to {most}, got "
            f"{reprlib.repr(value)}{hint_if_traced(value)}"
        )
    return int(number)


def as_parameter(
    name: str,
    value: Any,
    dtype: np.dtype,
    of: str,
    shape: tuple[int, ...],
    or_zero: bool = False,
) -> jax.Array | np.ndarray:
    """Returns a number, or an array that broadcasts to `shape`, as `dtype`.

    The values of a JAX array are checked only if it has a single element and is not
    traced: reading a larger one would wait for the device.
    """
    least = 0.0 if or_zero else float(jnp.finfo(dtype).tiny)
    kind = "a number of at least 0" if or_zero else "a positive number"
    expected = f"{name} must be {kind}, or an array of such numbers"
    passed = value
    if not isinstance(value, jax.Array | np.ndarray):
        if as_number(value) is None:
            pass_array = isinstance(value, list | tuple)
            hint = f"; pass numpy.asarray({name})" if pass_array else ""
            raise ValueError(f"{expected}, got {reprlib.repr(value)}{hint}")
        value = np.asarray(value)
    with np.errstate(all="ignore"):
        given = arrays.as_array(name, value)  # checks that it is an array of numbers
    if given.dtype.kind in "bc":
        raise TypeError(f"{expected}, got an array of {given.dtype}")
    if not arrays.broadcasts(given.shape, shape):
        fits = functools.partial(arrays.broadcasts, to=shape)
        remedy = arrays.shape_remedy(name, given, fits)
        raise ValueError(
            f"{name} must broadcast to the shape of {of}, {shape}, got "
            f"{given.shape}{remedy}"
        )
    value = value.reshape(()) if math.prod(value.shape) == 1 else value
    with np.errstate(all="ignore"):
        value = value.astype(dtype)
    known = not (isinstance(value, jax.Array) and (value.ndim or is_traced(value)))
    if known and not np.all((np.asarray(value) >= least) & (value < np.inf)):
        limits = "" if or_zero else f" ({least:.2g} or more in {dtype})"
        raise ValueError(f"{expected}{limits}, got {reprlib.repr(passed)}")
    return value
