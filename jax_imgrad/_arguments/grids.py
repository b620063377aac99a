"""Checks of `spacing` where it may be arrays, and of what needs neighboring pixels."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad._arguments import arrays, options
from jax_imgrad._arguments.stencils import axis_specs
from jax_imgrad._differences import has_next, shift
from jax_imgrad._dtypes import accumulator, float_of, real_dtype
from jax_imgrad._jax import is_traced
from jax_imgrad._kernels import NEIGHBORING
from jax_imgrad._stencils import AxisSpec
from jax_imgrad._types import Grid, Steps, Widths
from jax_imgrad.typing import Operator


def axis_specs_and_grid(
    name: str, array: jax.Array, axes: Any, boundary: Any, spacing: Any
) -> tuple[tuple[AxisSpec, ...], Grid]:
    """The axes of `array` with their options, and the arrays in `spacing`.

    There is one entry of the grid for each axis: None for a number, which is part of
    the `AxisSpec`. The spacing of the others is 1 in there.
    """
    several = isinstance(spacing, Sequence) and not isinstance(spacing, str)
    if _rank(spacing) == 1:
        _check_length(name, array, axes, boundary, spacing)
        each = list(spacing)
    elif several:
        each = list(spacing)
    else:
        each = [spacing] * len(arrays.as_integers("axes", axes))
    is_array = [_rank(one) > 0 or is_traced(one) for one in each]
    numbers = [1.0 if i else one for i, one in zip(is_array, each, strict=True)]
    given = numbers if any(is_array) else spacing
    specs = axis_specs(name, array, axes, boundary, given)
    grid = [
        _entry(f"spacing[{i}]" if several else "spacing", one, name, array, spec.axis)
        if is_array[i]
        else None
        for i, (one, spec) in enumerate(zip(each, specs, strict=True))
    ]
    return specs, tuple(grid)


def check_neighbors(
    operator: Operator, specs: tuple[AxisSpec, ...], grid: Grid, one_sided: Any
) -> None:
    """Raises an error if an option needs another operator, or another boundary."""
    options.check_bool("one_sided", one_sided)
    names = ", ".join(map(repr, NEIGHBORING))
    is_neighboring = isinstance(operator, str) and operator in NEIGHBORING
    if one_sided and not is_neighboring:
        raise ValueError(
            f"one_sided must be False unless operator is one of {names}, got True with "
            f"operator={operator!r}; pass operator='central', or leave one_sided out"
        )
    for spec, entry in zip(specs, grid, strict=True):
        if not isinstance(entry, Steps):
            continue
        if not is_neighboring:
            raise ValueError(
                f"operator must be one of {names} with coordinates in spacing, got "
                f"{operator!r}; pass operator='central'"
            )
        if spec.boundary not in ("interior", "linear", "quadratic"):
            raise ValueError(
                "boundary must be one of 'interior', 'linear', 'quadratic' along an "
                "axis with coordinates in spacing, since there are none beyond the "
                f"border, got {spec.boundary!r}; pass boundary='linear' for one-sided "
                "differences at the border"
            )


def _rank(value: Any) -> int:
    """The rank of an array, and 0 of anything else."""
    is_array = isinstance(value, jax.Array | np.ndarray)
    return value.ndim if is_array else 0


def _check_length(
    name: str, array: jax.Array, axes: Any, boundary: Any, spacing: Any
) -> None:
    """Raises ValueError for an array of rank 1 without one number for each axis."""
    found = [spec.axis for spec in axis_specs(name, array, axes, boundary, 1.0)]
    if len(spacing) == len(found):
        return
    fits = [array.shape[axis] == len(spacing) for axis in found]
    place = fits.index(True) if any(fits) else len(found) - 1
    entries = ["spacing" if i == place else "1.0" for i in range(len(found))]
    raise ValueError(
        "spacing must be one value for all axes, or a sequence with one for each of "
        f"the {len(found)}, got an array of shape {spacing.shape}; for the coordinates "
        f"of the pixels along an axis, pass the sequence [{', '.join(entries)}]"
    )


def _entry(
    label: str, value: Any, name: str, array: jax.Array, axis: int
) -> Steps | Widths:
    """The coordinates along an axis, or the spacing of each pixel, after its checks."""
    given = arrays.as_array(label, value)
    if given.dtype.kind in "bc":
        remedy = "real" if given.dtype.kind == "c" else "astype('float32')"
        raise TypeError(
            f"{label} must be an array of real numbers, got one of {given.dtype}; pass "
            f"{label}.{remedy}"
        )
    if given.ndim == 1:
        return _steps(label, value, given, name, array, axis)
    rank_0 = given.ndim == 0
    if not rank_0 and not (
        given.ndim == array.ndim and arrays.broadcasts(given.shape, array.shape)
    ):
        raise ValueError(
            f"{label} must be a number, an array of rank 1 with the coordinates of the "
            f"{array.shape[axis]} pixels along axis {axis}, or an array of rank "
            f"{array.ndim} that broadcasts to the shape of {name}, {array.shape}, got "
            f"{given.shape}{_widths_remedy(label, given, array)}"
        )
    if not is_traced(given):
        given = np.asarray(given)
        least, most = _limits(array)
        if not ((given >= least) & (given <= most)).all():
            raise ValueError(
                f"{label} must be positive and finite, got an array with "
                f"{_extreme(given, least, most)}; pass where= for pixels without a "
                "spacing, and any positive number there"
            )
    return Widths(given.reshape((1,) * array.ndim) if rank_0 else given)


def _widths_remedy(label: str, given: jax.Array, array: jax.Array) -> str:
    """What to pass instead of spacings of too low a rank."""
    missing = array.ndim - given.ndim
    if missing > 0 and arrays.broadcasts(given.shape, array.shape):
        return f"; pass {label}[{', '.join(['None'] * missing)}]"
    return arrays.shape_remedy(
        label,
        given,
        lambda new: len(new) == array.ndim and arrays.broadcasts(new, array.shape),
    )


def _steps(
    label: str,
    value: Any,
    given: jax.Array,
    name: str,
    array: jax.Array,
    axis: int,
) -> Steps:
    """The distances between neighbors, from the coordinates along an axis."""
    size = array.shape[axis]
    if given.shape != (size,):
        raise ValueError(
            f"{label} must have one coordinate for each of the {size} pixels along "
            f"axis {axis} of {name}, got {given.shape[0]}; pass the coordinates of the "
            "pixels themselves"
        )
    shape = tuple(size if i == axis else 1 for i in range(array.ndim))
    if is_traced(given):
        # A shift, not a slice: the axis may be sharded.
        wide = given.astype(accumulator(float_of(given.dtype)))
        steps = jnp.where(has_next(wide, 0), shift(wide, 0, 1) - wide, 1)
        return Steps(steps.reshape(shape))
    # With 64 bits: float32 holds the distances, but maybe not the coordinates.
    exact = value if isinstance(value, np.ndarray) else given
    coordinates = np.asarray(exact).astype(np.float64)
    steps = np.diff(coordinates)
    least, most = _limits(array)
    if not ((steps >= least) & (steps <= most)).all():
        _raise_not_increasing(label, coordinates, steps)
    return Steps(np.append(steps, np.ones(min(1, size))).reshape(shape))


def _raise_not_increasing(
    label: str, coordinates: np.ndarray, steps: np.ndarray
) -> None:
    """Raises ValueError that says what is wrong with coordinates."""
    expected = f"{label} must be finite, strictly increasing coordinates, got"
    if not np.isfinite(coordinates).all():
        raise ValueError(f"{expected} an array with a NaN or an infinity")
    if (steps < 0).all():
        raise ValueError(
            f"{expected} decreasing ones; pass -{label}, and negate the derivative"
        )
    i = int(np.argmin(steps))
    if steps[i] < 0:
        remedy = "sort them, and the pixels along this axis with numpy.argsort of them"
    elif steps[i] == 0:
        remedy = "remove pixels whose coordinate is repeated"
    else:
        remedy = "choose another unit of length"
        i = i if steps[i] < 1 else int(np.argmax(steps))
    raise ValueError(
        f"{expected} {coordinates[i]:.9g}, {coordinates[i + 1]:.9g} at pixels {i}, "
        f"{i + 1}; {remedy}"
    )


def _limits(array: jax.Array) -> tuple[float, float]:
    """The smallest and the largest distance in the dtype of the derivative."""
    info = jnp.finfo(real_dtype(accumulator(float_of(array.dtype))))
    return float(info.tiny), float(info.max)


def _extreme(values: np.ndarray, least: float, most: float) -> str:
    if np.isnan(values).any():
        return "a NaN"
    smallest, largest = float(values.min()), float(values.max())
    if smallest < least:
        return f"a smallest value of {smallest:.3g}"
    return f"a largest value of {largest:.3g}" if largest > most else ""
