"""Checks of options: names, numbers, and parameters that may be arrays."""

import functools
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad._arguments import arrays, old_names
from jax_imgrad._jax import is_traced
from jax_imgrad._numbers import as_number, hint_if_traced
from jax_imgrad.typing import Implementation

# Other penalties have no delta: theirs is checked like these, and replaced by 0.
DEFAULT_DELTA = {"huber": 1.0, "charbonnier": 1e-3}


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


def check_axis_mean(reduction: str, combined_by: str) -> None:
    """Raises ValueError for the mean of each axis if a penalty combines the axes.

    Args:
      reduction: the reduction, one that the loss supports.
      combined_by: the option that combines them, such as "isotropic=True", or "".
    """
    if reduction == "axis_mean" and combined_by:
        raise ValueError(
            f"reduction must not be 'axis_mean' with {combined_by}, since each penalty "
            "is then of the differences along all axes together; use reduction='mean'"
        )


def check_subtract_delta(subtract_delta: Any, penalty: str) -> None:
    """Raises an error unless it is a bool, and False for Charbonnier only."""
    check_bool("subtract_delta", subtract_delta)
    if not subtract_delta and penalty != "charbonnier":
        raise ValueError(
            "subtract_delta must be True unless penalty='charbonnier', got False with "
            f"penalty={penalty!r}; leave subtract_delta out"
        )


def check_mixed(mixed: Any, order: int) -> None:
    """Raises an error unless it is a bool, and True for second differences only."""
    check_bool("mixed", mixed)
    if mixed and order != 2:
        raise ValueError(
            "mixed must be False unless order=2, since only second differences are "
            f"along two axes, got True with order={order}; pass order=2"
        )


def check_first_order(one_sided: Any, order: int) -> None:
    """Raises an error unless it is a bool, and True for first derivatives only."""
    check_bool("one_sided", one_sided)
    if one_sided and order != 1:
        raise ValueError(
            "one_sided must be False unless order=1, since second differences take "
            f"both neighbors, got True with order={order}; leave one_sided out"
        )


def check_mean_normalized(mean_normalized: Any, name: str, dtype: np.dtype) -> None:
    """Raises an error unless it is a bool, and True for real images only."""
    check_bool("mean_normalized", mean_normalized)
    if mean_normalized and dtype.kind == "c":
        raise ValueError(
            f"mean_normalized must be False unless {name} is real, got True with "
            f"{dtype}; divide {name} by a number of your choice before the call, and "
            "leave mean_normalized out"
        )


def as_number_of_at_least(
    name: str, value: Any, least: int, most: float = math.inf
) -> float:
    """Returns the number; raises ValueError unless it is within these limits."""
    number = as_number(value)
    if number is None or not least <= number <= most:
        limits = f"{least}" if most == math.inf else f"{least} and at most {most}"
        raise ValueError(
            f"{name} must be a number of at least {limits}, got "
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
    valid: jax.Array | None = None,
    checked: bool = False,
) -> jax.Array | np.ndarray:
    """Returns a number, or an array that broadcasts to `shape`, as `dtype`.

    The values of a JAX array are not checked if it is traced. Nor, unless `checked`, if
    it has more than one element: reading it would wait for the device. With `valid`,
    only the values at valid pixels are.
    """
    least = 0.0 if or_zero else float(jnp.finfo(dtype).tiny)
    kind = "number of at least 0" if or_zero else "positive number"
    expected = f"{name} must be a {kind}, or an array of such numbers"
    if shape == ():
        expected = f"{name} must be one {kind}"
    passed = value
    if not isinstance(value, jax.Array | np.ndarray):
        if as_number(value) is None:
            pass_array = isinstance(value, list | tuple) and shape != ()
            hint = f"; pass numpy.asarray({name})" if pass_array else ""
            raise ValueError(f"{expected}, got {reprlib.repr(value)}{hint}")
        value = np.asarray(value)
    with np.errstate(all="ignore"):
        given = arrays.as_array(name, value)  # checks that it is an array of numbers
    if given.dtype.kind in "bc":
        hint = f"; pass {name}.real or abs({name})"
        if given.dtype.kind == "b":
            hint = "; a mask is passed as where" if name.startswith("weights") else ""
        raise TypeError(f"{expected}, got an array of {given.dtype}{hint}")
    if shape == () and given.ndim:
        raise ValueError(f"{expected}, got an array of shape {given.shape}")
    if not arrays.broadcasts(given.shape, shape):
        fits = functools.partial(arrays.broadcasts, to=shape)
        remedy = arrays.shape_remedy(name, given, fits)
        raise ValueError(
            f"{name} must broadcast to the shape of {of}, {shape}, got "
            f"{given.shape}{remedy}"
        )
    value = value.reshape(()) if math.prod(value.shape) == 1 else value
    if value.dtype != dtype:  # with jax.debug_nans, a cast of a NaN is an error
        with np.errstate(all="ignore"):
            value = value.astype(dtype)
    skipped = isinstance(value, jax.Array) and (
        is_traced(value) or not (value.ndim == 0 or checked)
    )
    if not skipped and not _all_within(value, least, valid):
        limits = "" if or_zero else f" ({least:.2g} or more in {dtype})"
        got = _out_of_range(name, passed, least, valid, dtype)
        raise ValueError(f"{expected}{limits}, got {got}")
    return value


def as_delta(
    value: Any, penalty: str, dtype: np.dtype, of: str, shape: tuple[int, ...]
) -> jax.Array | np.ndarray:
    """Returns the delta of a penalty; by default, the usual one."""
    value = DEFAULT_DELTA.get(penalty, 1.0) if value is None else value
    delta = as_parameter("delta", value, dtype, of, shape)
    return delta if penalty in DEFAULT_DELTA else np.zeros((), dtype)


def _all_within(value: Any, least: float, valid: Any) -> bool:
    """Whether all (valid) numbers are finite and at least `least`."""
    within = (value >= least) & (value < np.inf)
    if valid is not None:
        within = jnp.broadcast_to(within, valid.shape) | ~valid
    return is_traced(within) or bool(within.all())


def _out_of_range(
    name: str, passed: Any, least: float, valid: Any, dtype: np.dtype
) -> str:
    """What is wrong with a number, or with the (valid) numbers of an array."""
    if not isinstance(passed, jax.Array | np.ndarray):
        return reprlib.repr(passed)
    numbers = np.asarray(passed).astype(np.float64)
    if numbers.size == 1:
        return str(numbers.item())
    if valid is not None:
        numbers = np.broadcast_to(numbers, valid.shape)[np.asarray(valid)]
    if np.isnan(numbers).any():
        is_weight = name.startswith("weights")
        hint = "; pass where= for pixels without a weight" if is_weight else ""
        return f"an array with a NaN{hint}"
    if numbers.min() < least:
        return f"an array with a smallest value of {numbers.min():.3g}"
    if np.isinf(numbers).any():
        return "an array with an infinite value"
    return f"an array with a value that {dtype} does not hold"


def as_weights(
    value: Any,
    dtype: np.dtype,
    of: str,
    shape: tuple[int, ...],
    valid: jax.Array | None,
    order: Sequence[int] | None,
    combined_by: str = "",
) -> list[jax.Array | np.ndarray]:
    """Returns the weights: none, one of each pixel, or one for each axis.

    Args:
      value: None, an array, or a sequence with one array for each axis.
      dtype: of the weights.
      of: the name of what has the shape.
      shape: that the weights broadcast to.
      valid: mask of the valid pixels; other weights are not checked.
      order: the order in which to return the weights of the axes; None if the loss
        takes one array only.
      combined_by: the option, such as "isotropic=True", with which it takes one array
        only, or "".
    """
    if value is None:
        return []
    as_one = functools.partial(
        as_parameter,
        dtype=dtype,
        of=of,
        shape=shape,
        or_zero=True,
        valid=valid,
        checked=True,
    )
    if not isinstance(value, list | tuple):
        return [as_one("weights", value)]
    got = (
        f"got a sequence of {len(value)}; pass one array, with the weight of each pixel"
    )
    if order is None or combined_by:
        reason = ", since this loss takes one weight for each pixel"
        if combined_by:
            reason = (
                f" with {combined_by}, since each penalty is then not of one "
                "difference along one axis"
            )
        raise ValueError(f"weights must be one array{reason}, {got}")
    if len(value) != len(order):
        several = f"{len(order)} array{'s' if len(order) > 1 else ''}"
        raise ValueError(
            "weights must be one array, or a sequence with one for each of the axes, "
            f"{got}, or {several} in the order of axes"
        )
    each = [as_one(f"weights[{i}]", one) for i, one in enumerate(value)]
    return [each[i] for i in order]
