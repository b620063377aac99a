"""Checks of matrices and vector fields, and their error messages."""

import itertools
from typing import Any

import jax

from jax_imgrad._arguments import arrays


def as_triangle(name: str, value: Any) -> list[jax.Array]:
    """Returns the upper triangle of a real symmetric 2×2 or 3×3 matrix, row by row."""
    shape: tuple[int, ...] = getattr(value, "shape", ())
    n = shape[-1] if shape else 0
    if n in (2, 3) and shape[-2:] == (n, n):
        pairs = itertools.combinations_with_replacement(range(n), 2)
        entries = ", ".join(f"{name}[..., {i}, {j}]" for i, j in pairs)
        raise TypeError(
            f"{name} must be a tuple of the arrays of the upper triangle of a matrix, "
            f"row by row, got an array of shape {shape}; of matrices in its last two "
            f"axes, pass ({entries})"
        )
    parts = arrays.as_parts(name, value)
    if len(parts) not in (3, 6):
        remedies = {
            1: f"; {name}[0] is its own eigenvalue",
            4: f"; of all 4 entries, pass ({name}[0], {name}[1], {name}[3])",
            9: f"; of all 9 entries, pass [{name}[i] for i in (0, 1, 2, 4, 5, 8)]",
        }
        raise ValueError(
            f"{name} must be the 3 arrays (Jyy, Jyx, Jxx) of the upper triangle of a "
            "2×2 matrix, row by row, or the 6 of a 3×3 matrix, got "
            f"{len(parts)}{remedies.get(len(parts), '')}"
        )
    arrays.check_real(f"{name}[0]", parts[0].dtype)
    return parts


def as_vector_field(name: str, value: Any) -> jax.Array:
    """Returns an array with 2 or 3 components along its last axis."""
    if isinstance(value, tuple | list):
        raise TypeError(
            f"{name} must be one array with its components along the last axis, got "
            f"{type(value).__name__}; pass jax.numpy.stack({name}, axis=-1)"
        )
    field = arrays.as_array(name, value)
    if field.ndim == 0 or field.shape[-1] not in (2, 3):
        first = [axis for axis in (0, 1) if axis < field.ndim - 1]
        moves = [
            f"jax.numpy.moveaxis({name}, {axis}, -1)"
            for axis in first
            if field.shape[axis] in (2, 3)
        ]
        remedies = [f"; for components along another axis, pass {m}" for m in moves]
        raise ValueError(
            f"{name} must have 2 or 3 components along its last axis, got shape "
            f"{field.shape}{remedies[0] if moves else ''}"
        )
    return field


def vector_axes(name: str, field: jax.Array, axes: Any) -> Any:
    """The axes to differentiate a vector field along: one for each component.

    By default they are those before the last axis, the components.
    """
    count = field.shape[-1]
    if axes is None:
        if field.ndim > count:
            return tuple(range(-1 - count, -1))
        raise ValueError(
            f"{name} must have {count} axes before its last one, whose size is the "
            f"number of components, got shape {field.shape}"
            + (f"; of 2 components, pass {name}[..., :2]" if field.ndim == 3 else "")
        )
    given = arrays.as_integers("axes", axes)
    if len(given) != count or any(axis in (-1, field.ndim - 1) for axis in given):
        default = tuple(range(-1 - count, -1))
        raise ValueError(
            f"axes must be {count} axes of {name}, one for each component, without the "
            f"last axis, along which these are, got {axes}; for the {count} axes "
            f"before it, pass axes={default}"
        )
    return axes
