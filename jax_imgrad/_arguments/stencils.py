"""Checks of the options of operators, and their error messages."""

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
from jax_imgrad.typing import MatchingOperator, Operator, Scale

_INTEGERS = ("int8", "int16", "int32", "int64")

# Names of boundary conditions in SciPy, PyTorch, OpenCV, scikit-image and MONAI. SciPy
# calls "symmetric" "reflect", which is not listed, as it has its own meaning here.
_BOUNDARY_ALIASES = {
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
    positive = _axes(name, array, axes)
    boundaries = _each("boundary", boundary, len(positive))
    if isinstance(spacing, jax.Array | np.ndarray) and spacing.ndim == 1:
        spacing = tuple(spacing)
    spacings = _each("spacing", spacing, len(positive))
    for one in boundaries:
        options.check_option("boundary", one, BOUNDARIES, _BOUNDARY_ALIASES)
    numbers = [options.as_number(one) for one in spacings]
    if not all(number and 1e-150 < number < 1e150 for number in numbers):
        is_negative = any(number is not None and number < 0 for number in numbers)
        flip = "; reverse an axis with jax.numpy.flip" if is_negative else ""
        raise ValueError(
            "spacing must be a positive number between 1e-150 and 1e150, or a sequence "
            f"with one per axis, got {spacing!r}{arrays.hint_if_traced(*spacings)}"
            f"{flip}"
        )
    return tuple(map(AxisSpec, positive, boundaries, map(float, numbers)))


def loss_axis_specs(
    name: str,
    array: jax.Array,
    axes: Any,
    boundary: Any = "interior",
    spacing: Any = 1.0,
    has_channels: bool = False,
) -> tuple[tuple[AxisSpec, ...], list[int]]:
    """The axes of a loss with their options, in increasing order.

    Also returns that order: the position of each in the `axes` of the caller.
    """
    arrays.as_axes(axes, name, array, has_channels)
    specs = axis_specs(name, array, axes, boundary, spacing)
    order = sorted(range(len(specs)), key=specs.__getitem__)
    return tuple(specs[i] for i in order), order


def operator_and_scale(operator: Any, scale: Any) -> tuple[Operator, Scale]:
    """Returns both; raises ValueError if either is not supported."""
    return cast(tuple[Operator, Scale], _operator_and_scale(operator, scale, NAMED))


def matching_operator_and_scale(
    operator: Any, scale: Any
) -> tuple[MatchingOperator, Scale]:
    """The same for a loss that also takes the Laplacian."""
    return _operator_and_scale(operator, scale, ("laplacian", *NAMED))


def _operator_and_scale(
    operator: Any, scale: Any, named: tuple[str, ...]
) -> tuple[MatchingOperator, Scale]:
    options.check_option("scale", scale, ("derivative", "raw"))
    if isinstance(operator, str) and operator in named:
        return cast(MatchingOperator, operator), scale
    is_sequence = isinstance(operator, tuple | list)
    if is_sequence and len(operator) == 2 and [operator[0]] == ["gaussian"]:
        return (
            "gaussian",
            as_sigma("operator=('gaussian', sigma): sigma", operator[1]),
        ), scale
    names = ", ".join(map(repr, named))
    word = operator.lower() if isinstance(operator, str) else ""
    raise ValueError(
        f"operator must be one of {names} or ('gaussian', sigma), got {operator!r}"
        + (f"; write {word!r}" if word in named else "")
    )


def as_sigma(name: str, sigma: Any) -> float:
    """Returns sigma; raises ValueError if the neighboring taps would vanish."""
    number = options.as_number(sigma)
    if number is None or number < 0.125:
        raise ValueError(
            f"{name} must be a number of at least 0.125, in pixels, got {sigma!r}"
            f"{arrays.hint_if_traced(sigma)}"
        )
    return float(number)


def check_reflection(
    name: str,
    array: jax.Array | jax.ShapeDtypeStruct,
    stencils: tuple[SeparableStencil, ...],
) -> None:
    """Raises ValueError if an axis of one pixel would have to be reflected."""
    for axis, one in {pair for stencil in stencils for pair in stencil}:
        size = array.shape[axis]
        if one.boundary == "reflect" and isinstance(size, int) and size == 1:
            raise ValueError(
                f"boundary='reflect' needs at least 2 pixels along axis {axis} of "
                f"{name}, got shape {array.shape}; use boundary='edge' or "
                "boundary='symmetric' (instead of sobel_edges, which always reflects, "
                "use spatial_gradient with operator='sobel' and scale='raw')"
            )


def result_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
) -> np.dtype:
    """The dtype to compute in and of the results: the requested one, or a default."""
    integer_taps = _has_integer_taps(stencils)
    if requested is None and not jnp.issubdtype(given, jnp.inexact):
        dtype = np.dtype("float32")
        if integer_taps:
            dtype = _smallest_integer_dtype(name, given, stencils)
    else:
        dtype = arrays.difference_dtype(name, given, requested)
    if not (integer_taps or jnp.issubdtype(dtype, jnp.inexact)):
        raise TypeError(
            "dtype must be floating or complex, because the taps are not integers, got "
            f"{dtype}; use dtype='float32', or scale='raw' and spacing=1, which make "
            "the taps of most operators integers"
        )
    check_taps(stencils, dtype)
    return dtype


def check_stencils(
    name: str,
    array: jax.Array | jax.ShapeDtypeStruct,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
) -> None:
    """Raises ValueError if the stencils cannot be applied to an image of a loss."""
    check_reflection(name, array, stencils)
    check_taps(stencils, dtype)


def check_taps(stencils: tuple[SeparableStencil, ...], dtype: np.dtype) -> None:
    """Raises ValueError if a tap underflows or overflows because of the spacing."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return
    limits = jnp.finfo(accumulator(jax.dtypes.canonicalize_dtype(dtype)))
    for weight in _weights(stencils):
        if weight and not float(limits.tiny) <= abs(weight) <= float(limits.max):
            raise ValueError(
                "spacing must be nearer to 1: it gives a tap of the stencil the value "
                f"{weight}, outside the range of {limits.dtype}; choose another unit "
                "of length"
            )


def float_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
) -> np.dtype:
    """The requested floating or complex dtype; by default `given`, or float32."""
    floats = jnp.issubdtype(given, jnp.inexact)
    default = given if floats else jnp.dtype("float32")
    requested = default if requested is None else requested
    dtype = arrays.difference_dtype(name, given, requested)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"dtype must be floating or complex for this function, got {dtype}; use "
            "dtype='float32'"
        )
    check_taps(stencils, dtype)
    return dtype


def divergence_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
) -> np.dtype:
    """The dtype of a divergence: that of integers, if the taps are integers too."""
    integers = not jnp.issubdtype(given, jnp.inexact)
    if requested is None and integers and _has_integer_taps(stencils):
        return arrays.difference_dtype(name, given, None)
    return result_dtype(name, given, requested, stencils)


def _has_integer_taps(stencils: tuple[SeparableStencil, ...]) -> bool:
    return all(float(weight).is_integer() for weight in _weights(stencils))


def _weights(stencils: tuple[SeparableStencil, ...]) -> list[float]:
    return [w for stencil in stencils for _, one in stencil for _, w in one.taps]


def _smallest_integer_dtype(
    name: str, given: np.dtype, stencils: tuple[SeparableStencil, ...]
) -> np.dtype:
    """The smallest signed integer dtype that holds the sum of all results."""
    smallest = arrays.difference_dtype(name, given, None)
    limits = (
        (0, 1) if given.kind == "b" else (jnp.iinfo(given).min, jnp.iinfo(given).max)
    )
    # The taps of a derivative add up to 0, so a result is largest where the positive
    # taps, half of their absolute sum, meet the largest pixels and the others the
    # smallest.
    gains = [
        math.prod(sum(abs(w) for _, w in one.taps) for _, one in stencil) / 2
        for stencil in stencils
    ]
    largest = sum(gains) * (int(limits[1]) - int(limits[0]))
    for wider in map(np.dtype, _INTEGERS):
        exists = jax.dtypes.canonicalize_dtype(wider) == wider
        holds = largest <= jnp.iinfo(wider).max and wider.itemsize >= smallest.itemsize
        if exists and holds:
            return wider
    return smallest


def _axes(name: str, array: jax.Array, axes: Any) -> tuple[int, ...]:
    """Returns distinct, non-negative axes of `array`, in the given order."""
    given = arrays.as_integers("axes", axes)
    positive = tuple(a + array.ndim if a < 0 else a for a in given)
    if (
        not positive
        or len({*positive}) != len(positive)
        or not all(0 <= a < array.ndim for a in positive)
    ):
        hints = {
            1: "; for a signal, pass axes=0",
            2: "; for an image [H, W], pass axes=(0, 1)",
        }
        hint = hints.get(array.ndim, "")
        raise ValueError(
            f"axes must be distinct axes of {name}, which is rank {array.ndim}, got "
            f"{axes}{hint}"
        )
    return positive


def _each(name: str, value: Any, count: int) -> tuple[Any, ...]:
    """Returns one value for each axis."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,) * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value for all axes, or a sequence with one for each "
            f"of the {count}, got {value!r}"
        )
    return tuple(value)
