"""Checks of the options of stencils, and the messages of their errors."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jax_imgrad import _checks, _values
from jax_imgrad._bands import BOUNDARIES, Boundary, Product
from jax_imgrad._dtypes import accumulator
from jax_imgrad._stencils import NAMED, Along, Operator, Scale

# One for all axes, or one for each.
Boundaries = Boundary | tuple[Boundary, ...]
Spacing = float | tuple[float, ...]

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


def along(
    name: str, array: jax.Array, axes: Any, boundary: Any, spacing: Any
) -> tuple[Along, ...]:
    """The axes of `array` to differentiate along, each with its options."""
    counted = _axes(name, array, axes)
    boundaries = _each("boundary", boundary, len(counted))
    if isinstance(spacing, jax.Array | np.ndarray) and spacing.ndim == 1:
        spacing = tuple(spacing)
    spacings = _each("spacing", spacing, len(counted))
    for one in boundaries:
        _values.check_option("boundary", one, BOUNDARIES, _ELSEWHERE)
    numbers = [_values.as_number(one) for one in spacings]
    if not all(number and 1e-150 < number < 1e150 for number in numbers):
        raise ValueError(
            f"spacing must be a positive number, or one for each axis, got "
            f"{spacing!r}{''.join(map(_values.hint_if_traced, spacings))}; reverse an "
            "axis with jax.numpy.flip"
        )
    return tuple(map(Along, counted, boundaries, map(float, numbers)))


def taps(operator: Any, scale: Any) -> tuple[Operator, Scale]:
    """The two, if the operator is a name or a Gaussian, and the scale one of two."""
    _values.check_option("scale", scale, ("derivative", "raw"))
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
    number = _values.as_number(*sigma) if len(sigma) == 1 else None
    if number is None or number < 0.125:
        raise ValueError(
            f"{name} must have one sigma, of at least 0.125 pixels, got {sigma}"
            f"{''.join(map(_values.hint_if_traced, sigma))}"
        )
    return float(number)


def check_reflection(
    name: str, array: jax.Array, products: tuple[Product, ...]
) -> None:
    """Raises ValueError where a pixel alone would have to be reflected."""
    for axis, band in {pair for product in products for pair in product}:
        size = array.shape[axis]
        if band.boundary == "reflect" and isinstance(size, int) and size == 1:
            raise ValueError(
                f"boundary='reflect' takes at least 2 pixels along axis {axis} of "
                f"{name}, got shape {array.shape}; 'edge' and 'symmetric' take one"
            )


def result_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    products: tuple[Product, ...],
) -> np.dtype:
    """The dtype to compute in: one that holds the results."""
    whole = _are_whole(products)
    if requested is None and not jnp.issubdtype(given, jnp.inexact):
        dtype = _whole(name, given, products) if whole else np.dtype("float32")
    else:
        dtype = _checks.difference_dtype(name, given, requested)
    if not (whole or jnp.issubdtype(dtype, jnp.inexact)):
        raise TypeError(
            f"dtype must be one of floats where the taps are fractions, got {dtype}; "
            "scale='raw' and spacing=1 keep those of most operators whole"
        )
    check_taps(products, dtype)
    return dtype


def check_taps(products: tuple[Product, ...], dtype: np.dtype) -> None:
    """Raises ValueError where a spacing makes a tap 0 or infinite in floats."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return
    limits = jnp.finfo(accumulator(jax.dtypes.canonicalize_dtype(dtype)))
    for weight in _weights(products):
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
    products: tuple[Product, ...],
) -> np.dtype:
    """The dtype requested, or that of floats, or float32 for integers."""
    floats = jnp.issubdtype(given, jnp.inexact)
    default = given if floats else jnp.dtype("float32")
    requested = default if requested is None else requested
    dtype = _checks.difference_dtype(name, given, requested)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"dtype must be one of floats here, got {dtype}")
    check_taps(products, dtype)
    return dtype


def divergence_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    products: tuple[Product, ...],
) -> np.dtype:
    """The dtype to compute a divergence in: integers keep theirs where they may."""
    integers = not jnp.issubdtype(given, jnp.inexact)
    if requested is None and integers and _are_whole(products):
        return _checks.difference_dtype(name, given, None)
    return result_dtype(name, given, requested, products)


def _are_whole(products: tuple[Product, ...]) -> bool:
    return all(float(weight).is_integer() for weight in _weights(products))


def _weights(products: tuple[Product, ...]) -> list[float]:
    return [w for product in products for _, band in product for _, w in band.taps]


def _whole(name: str, given: np.dtype, products: tuple[Product, ...]) -> np.dtype:
    """The smallest signed integers that hold the sum of all results."""
    held = _checks.difference_dtype(name, given, None)
    limits = (
        (0, 1) if given.kind == "b" else (jnp.iinfo(given).min, jnp.iinfo(given).max)
    )
    # The weights of a derivative add up to 0, so half of them meet the largest pixels.
    gains = [
        math.prod(sum(abs(w) for _, w in band.taps) for _, band in product) / 2
        for product in products
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
    wanted = _checks.as_integers("axes", axes)
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
    if not isinstance(value, tuple | list):
        return (value,) * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one for all axes, or one for each of the {count}, got "
            f"{value!r}"
        )
    return tuple(value)
