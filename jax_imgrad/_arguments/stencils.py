"""Checks of axes, boundaries, spacings and dtypes of stencils, and their messages."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jax_imgrad._arguments import arrays, options
from jax_imgrad._boundaries import LEAST_SIZES
from jax_imgrad._dtypes import accumulator
from jax_imgrad._stencils import BOUNDARIES, AxisSpec, SeparableStencil, largest_row
from jax_imgrad._types import Grid
from jax_imgrad.typing import Boundary

_INTEGERS = ("int8", "int16", "int32", "int64")

# Names of boundary conditions in SciPy, PyTorch, OpenCV, scikit-image, MONAI and
# PyWavelets. SciPy calls "symmetric" "reflect", which is not listed, as it has its own
# meaning here.
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
    "smooth": "linear",
    "extrapolate": "linear",
}


def axis_specs(
    name: str, array: jax.Array, axes: Any, boundary: Any, spacing: Any
) -> tuple[AxisSpec, ...]:
    """The axes of `array` to differentiate along, each with its options."""
    positive = _axes(name, array, axes)
    boundaries = boundaries_of("boundary", boundary, len(positive))
    if isinstance(spacing, jax.Array | np.ndarray) and spacing.ndim == 1:
        spacing = tuple(spacing)
    spacings = each("spacing", spacing, len(positive))
    numbers = [options.as_number(one) for one in spacings]
    if not all(number and 1e-150 < number < 1e150 for number in numbers):
        is_negative = any(number is not None and number < 0 for number in numbers)
        hint = "; reverse an axis with jax.numpy.flip" if is_negative else ""
        if any(getattr(one, "ndim", 0) for one in spacings):
            hint = (
                "; coordinates and arrays of spacings are options of spatial_gradient: "
                "apply it to its results for second derivatives, to each component of "
                "a vector field, and add up penalties of its results for a loss"
            )
        raise ValueError(
            "spacing must be a positive number between 1e-150 and 1e150, or a sequence "
            f"with one per axis, got {spacing!r}{arrays.hint_if_traced(*spacings)}"
            f"{hint}"
        )
    return tuple(map(AxisSpec, positive, boundaries, map(float, numbers)))


def boundaries_of(name: str, boundary: Any, count: int) -> tuple[Boundary, ...]:
    """Returns a boundary condition for each axis."""
    several = each(name, boundary, count)
    for one in several:
        options.check_option(name, one, BOUNDARIES, _BOUNDARY_ALIASES)
    return several


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


def check_sizes(
    name: str,
    array: jax.Array | jax.ShapeDtypeStruct,
    stencils: tuple[SeparableStencil, ...],
    option: str = "boundary",
) -> None:
    """Raises ValueError if an axis is too short for its boundary condition."""
    for axis, one in {pair for stencil in stencils for pair in stencil}:
        size, least = array.shape[axis], LEAST_SIZES.get(one.boundary, 0)
        if isinstance(size, int) and 0 < size < least:
            instead = ["edge", "symmetric"] if size == 1 else ["linear", "edge"]
            remedy = " or ".join(f"{option}={other!r}" for other in instead)
            if one.boundary == "reflect":
                remedy += (
                    " (instead of sobel_edges, which always reflects, use "
                    "spatial_gradient with operator='sobel' and scale='raw')"
                )
            raise ValueError(
                f"{option}={one.boundary!r} needs at least {least} pixels along axis "
                f"{axis} of {name}, got shape {array.shape}; use {remedy}"
            )


def result_dtype(
    name: str,
    given: np.dtype,
    requested: DTypeLike | None,
    stencils: tuple[SeparableStencil, ...],
    grid: Grid = (),
) -> np.dtype:
    """The dtype to compute in and of the results: the requested one, or a default."""
    integer_taps = _has_integer_taps(stencils, grid)
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
    check_sizes(name, array, stencils)
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
    grid: Grid = (),
) -> np.dtype:
    """The dtype of a divergence: that of integers, if the taps are integers too."""
    integers = not jnp.issubdtype(given, jnp.inexact)
    if requested is None and integers and _has_integer_taps(stencils, grid):
        return arrays.difference_dtype(name, given, None)
    return result_dtype(name, given, requested, stencils, grid)


def _has_integer_taps(stencils: tuple[SeparableStencil, ...], grid: Grid) -> bool:
    is_uniform = all(entry is None for entry in grid)
    return is_uniform and all(float(w).is_integer() for w in _weights(stencils))


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
    # The weights of a derivative add up to 0, so a result is largest where the positive
    # weights, half of their absolute sum, meet the largest pixels and the others the
    # smallest. At the border, an extrapolation has larger weights than the taps.
    gains = [
        math.prod(largest_row(one) for _, one in stencil) / 2 for stencil in stencils
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


def each(name: str, value: Any, count: int) -> tuple[Any, ...]:
    """Returns one value for each axis."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,) * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value for all axes, or a sequence with one for each "
            f"of the {count}, got {value!r}"
        )
    return tuple(value)
