"""What a caller may ask of a stencil: every check of its options."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jax_imgrad import _checks
from jax_imgrad._bands import BOUNDARIES, Boundary, Product
from jax_imgrad._stencils import NAMED, Along, Operator, Scale

# One for all axes, or one for each.
Boundaries = Boundary | tuple[Boundary, ...]
Spacing = float | tuple[float, ...]

_INTEGERS = ("int8", "int16", "int32", "int64")


def along(
    name: str, array: jax.Array, axes: Any, boundary: Any, spacing: Any
) -> tuple[Along, ...]:
    """The axes of `array` to differentiate along, each with its options."""
    counted = _axes(name, array, axes)
    boundaries = _each("boundary", boundary, len(counted))
    spacings = _each("spacing", spacing, len(counted))
    for one in boundaries:
        _checks.check_option("boundary", one, BOUNDARIES)
    for one in spacings:
        if not (_checks.is_number(one) and one > 0):
            raise ValueError(
                f"spacing must be a positive number, or one for each axis, got "
                f"{spacing!r}; reverse an axis with jax.numpy.flip"
            )
    return tuple(map(Along, counted, boundaries, map(float, spacings)))


def taps(operator: Any, scale: Any) -> tuple[Operator, Scale]:
    """The two, if the operator is a name or a Gaussian, and the scale one of two."""
    _checks.check_option("scale", scale, ("derivative", "raw"))
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
    if len(sigma) != 1 or not _checks.is_number(sigma[0]) or not sigma[0] >= 0.125:
        raise ValueError(
            f"{name} must have one sigma, of at least 0.125 pixels, got {sigma}"
        )
    return float(sigma[0])


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
        _checks.difference_dtype(name, given, jnp.float32)  # says what is not a number
        return _whole(name, given, products) if whole else np.dtype("float32")
    dtype = _checks.difference_dtype(name, given, requested)
    if not (whole or jnp.issubdtype(dtype, jnp.inexact)):
        raise TypeError(
            f"dtype must be one of floats where the taps are fractions, got {dtype}; "
            "scale='raw' and spacing=1 keep those of most operators whole"
        )
    return dtype


def float_dtype(name: str, given: np.dtype, requested: DTypeLike | None) -> np.dtype:
    """The dtype requested, or that of floats, or float32 for integers."""
    floats = jnp.issubdtype(given, jnp.inexact)
    default = given if floats else jnp.dtype("float32")
    dtype = _checks.difference_dtype(name, given, requested or default)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"dtype must be one of floats here, got {dtype}")
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
    weights = [w for product in products for _, band in product for _, w in band.taps]
    return all(float(weight).is_integer() for weight in weights)


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
        hint = "; those of an image [H, W] are axes=(0, 1)" if array.ndim == 2 else ""
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
