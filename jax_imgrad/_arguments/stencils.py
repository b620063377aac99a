"""Checks of the options of stencils, and the messages of their errors."""

import math
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jax_imgrad._arguments import arrays, options
from jax_imgrad._dtypes import accumulator
from jax_imgrad._kernels import NAMED
from jax_imgrad._stencils import BOUNDARIES, AxisSpec, SeparableStencil
from jax_imgrad.typing import Operator, Scale

_INTEGERS = ("int8", "int16", "int32", "int64")

# What the boundaries are called in SciPy, PyTorch, OpenCV, scikit-image and MONAI. Not
# here: "reflect", which is "symmetric" to SciPy.
_ELSEWHERE = {
    "nearest": "edge",
    "replicate": "edge",
    "border": "edge",
    "mirror": "reflect",
    "reflection": "reflect",
    "reflect_101": "reflect",
    "grid-mirror": "symmetric",
    "circular": "wrap",
    "periodic": "wrap",
    "grid-wrap": "wrap",
    "zeros": "constant",
    "grid-constant": "constant",
    "same": "constant",
    "valid": "interior",
}


def axis_specs(
    name: str, array: jax.Array, axes: Any, boundary: Any, spacing: Any
) -> tuple[AxisSpec, ...]:
    """The axes of `array` to differentiate along, each with its options."""
    counted = _axes(name, array, axes)
    boundaries = _each("boundary", boundary, len(counted))
    if isinstance(spacing, jax.Array | np.ndarray) and spacing.ndim == 1:
        spacing = tuple(spacing)
    spacings = _each("spacing", spacing, len(counted))
    for one in boundaries:
        options.check_option("boundary", one, BOUNDARIES, _ELSEWHERE)
    numbers = [options.as_number(one) for one in spacings]
    if not all(number and 1e-150 < number < 1e150 for number in numbers):
        raise ValueError(
            f"spacing must be a positive number, or one for each axis, got "
            f"{spacing!r}{''.join(map(options.hint_if_traced, spacings))}; reverse an "
            "axis with jax.numpy.flip"
        )
    return tuple(map(AxisSpec, counted, boundaries, map(float, numbers)))


def operator_and_scale(operator: Any, scale: Any) -> tuple[Operator, Scale]:
    """The two, if the operator is a name or a Gaussian, and the scale one of two."""
    options.check_option("scale", scale, ("derivative", "raw"))
    if isinstance(operator, str) and operator in NAMED:
        return cast(Operator, operator), scale
    if isinstance(operator, tuple | list) and [*operator[:1]] == ["gaussian"]:
        return ("gaussian", as_sigma("operator", *operator[1:])), scale
    names = ", ".join(map(repr, NAMED))
    raise ValueError(
        f"operator must be one of {names} or ('gaussian', sigma), got {operator!r}"
    )


def as_sigma(name: str, *sigma: Any) -> float:
    """The width of a Gaussian, if it reaches another pixel."""
    number = options.as_number(*sigma) if len(sigma) == 1 else None
    if number is None or number < 0.125:
        raise ValueError(
            f"{name} must have one sigma, of at least 0.125 pixels, got {sigma}"
            f"{''.join(map(options.hint_if_traced, sigma))}"
        )
    return float(number)


def check_reflection(
    name: str, array: jax.Array, stencils: tuple[SeparableStencil, ...]
) -> None:
    """Raises ValueError where a pixel alone would have to be reflected."""
    for axis, one in {pair for stencil in stencils for pair in stencil}:
        size = array.shape[axis]
        if one.boundary == "reflect" and isinstance(size, int) and size == 1:
            raise ValueError(
                f"boundary='reflect' takes at least 2 pixels along axis {axis} of "
                f"{name}, got shape {array.shape}; 'edge' and 'symmetric' take one"
            )


def result_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
) -> np.dtype:
    """The dtype to compute in: one that holds the results."""
    whole = _are_whole(stencils)
    if requested is None and not jnp.issubdtype(given, jnp.inexact):
        dtype = _whole(name, given, stencils) if whole else np.dtype("float32")
    else:
        dtype = arrays.difference_dtype(name, given, requested)
    if not (whole or jnp.issubdtype(dtype, jnp.inexact)):
        raise TypeError(
            f"dtype must be one of floats where the taps are fractions, got {dtype}; "
            "scale='raw' and spacing=1 keep those of most operators whole"
        )
    check_taps(stencils, dtype)
    return dtype


def check_taps(stencils: tuple[SeparableStencil, ...], dtype: np.dtype) -> None:
    """Raises ValueError where a spacing makes a tap 0 or infinite in floats."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return
    limits = jnp.finfo(accumulator(jax.dtypes.canonicalize_dtype(dtype)))
    for weight in _weights(stencils):
        if weight and not float(limits.tiny) <= abs(weight) <= float(limits.max):
            raise ValueError(
                f"spacing must be such that the taps, divided by it or by its square, "
                f"are in the range of {limits.dtype}, got a tap of {weight}; change "
                "the unit of length"
            )


def float_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
) -> np.dtype:
    """The dtype requested, or that of floats, or float32 for integers."""
    floats = jnp.issubdtype(given, jnp.inexact)
    default = given if floats else jnp.dtype("float32")
    requested = default if requested is None else requested
    dtype = arrays.difference_dtype(name, given, requested)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"dtype must be one of floats here, got {dtype}")
    check_taps(stencils, dtype)
    return dtype


def divergence_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
) -> np.dtype:
    """The dtype to compute a divergence in: integers keep theirs where they may."""
    integers = not jnp.issubdtype(given, jnp.inexact)
    if requested is None and integers and _are_whole(stencils):
        return arrays.difference_dtype(name, given, None)
    return result_dtype(name, given, requested, stencils)


def _are_whole(stencils: tuple[SeparableStencil, ...]) -> bool:
    return all(float(weight).is_integer() for weight in _weights(stencils))


def _weights(stencils: tuple[SeparableStencil, ...]) -> list[float]:
    return [w for stencil in stencils for _, one in stencil for _, w in one.taps]


def _whole(
    name: str, given: np.dtype, stencils: tuple[SeparableStencil, ...]
) -> np.dtype:
    """The smallest signed integers that hold the sum of all results."""
    held = arrays.difference_dtype(name, given, None)
    limits = (
        (0, 1) if given.kind == "b" else (jnp.iinfo(given).min, jnp.iinfo(given).max)
    )
    # The weights of a derivative add up to 0, so half of them meet the largest pixels.
    gains = [
        math.prod(sum(abs(w) for _, w in one.taps) for _, one in stencil) / 2
        for stencil in stencils
    ]
    largest = sum(gains) * (int(limits[1]) - int(limits[0]))
    for wider in map(np.dtype, _INTEGERS):
        exists = jax.dtypes.canonicalize_dtype(wider) == wider
        holds = largest <= jnp.iinfo(wider).max and wider.itemsize >= held.itemsize
        if exists and holds:
            return wider
    return held


def _axes(name: str, array: jax.Array, axes: Any) -> tuple[int, ...]:
    """Different axes of `array`, in the order given, counted from its first."""
    wanted = arrays.as_integers("axes", axes)
    counted = tuple(a + array.ndim if a < 0 else a for a in wanted)
    if (
        not counted
        or len({*counted}) != len(counted)
        or not all(0 <= a < array.ndim for a in counted)
    ):
        hints = {
            1: "; that of a signal is axes=0",
            2: "; those of an image [H, W] are axes=(0, 1)",
        }
        hint = hints.get(array.ndim, "")
        raise ValueError(
            f"{name} has {array.ndim} axes, and axes must be different ones of them, "
            f"got {axes}{hint}"
        )
    return counted


def _each(name: str, value: Any, count: int) -> tuple[Any, ...]:
    """A value for each axis."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,) * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one for all axes, or one for each of the {count}, got "
            f"{value!r}"
        )
    return tuple(value)
