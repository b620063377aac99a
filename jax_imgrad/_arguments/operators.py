"""Checks of operators and of Gaussian windows, and their error messages."""

from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np

from jax_imgrad._arguments import options, stencils
from jax_imgrad._kernels import NAMED
from jax_imgrad._numbers import as_number, hint_if_traced
from jax_imgrad._stencils import AxisSpec
from jax_imgrad._taps import FARTHEST, Kernel
from jax_imgrad._types import Grid
from jax_imgrad.typing import Boundary, MatchingOperator, Operator, Scale

# The boundary conditions of means, which must have no negative weights.
_OF_MEANS: dict[Boundary, Boundary] = {"linear": "edge", "quadratic": "edge"}
# Those of windows, where they are not those of the derivatives.
_OF_WINDOWS: dict[Boundary, Boundary] = {"interior": "constant", **_OF_MEANS}


def operator_and_scale(
    operator: Any,
    scale: Any,
    specs: Sequence[AxisSpec],
    *,
    order: int = 1,
    axis_order: Sequence[int] | None = None,
    grid: Grid = (),
) -> tuple[Operator, Scale]:
    """Returns both; raises ValueError if either is not supported.

    Args:
      operator: what the caller passed. A Gaussian is returned with a sigma for each of
        the `specs`, in pixels.
      scale: what the caller passed.
      specs: the axes.
      order: of the derivatives for which the operator must have taps; 0 for none.
      axis_order: the position of each of the `specs` in the `axes` of the caller, if
        they are in another order.
      grid: the arrays in `spacing`, of which no sigma can be a multiple.
    """
    if _is_gaussian(operator) and len(operator) == 3 and any(grid):
        raise ValueError(
            "operator must be ('gaussian', sigma), with sigma in pixels, if spacing "
            f"has arrays, got {operator!r}; pass {tuple(operator[:2])!r}, or numbers "
            "in spacing"
        )
    checked = _operator_and_scale(operator, scale, specs, order, axis_order, NAMED)
    return cast(tuple[Operator, Scale], checked)


def matching_operator(
    operator: Any, scale: Any, specs: Sequence[AxisSpec], axis_order: Sequence[int]
) -> tuple[MatchingOperator, Scale]:
    """The operator and its scale, for a loss that also takes the Laplacian."""
    named = ("laplacian", *NAMED)
    return _operator_and_scale(operator, scale, specs, 1, axis_order, named)


def _operator_and_scale(
    operator: Any,
    scale: Any,
    specs: Sequence[AxisSpec],
    order: int,
    axis_order: Sequence[int] | None,
    named: tuple[str, ...],
) -> tuple[MatchingOperator, Scale]:
    options.check_option("scale", scale, ("derivative", "raw"))
    if isinstance(operator, Kernel):
        _check_has_taps(operator, order, len(specs))
        return operator, scale
    if isinstance(operator, str) and operator in named:
        return cast(MatchingOperator, operator), scale
    if _is_gaussian(operator):
        in_spacing = len(operator) == 3
        name = f"operator=('gaussian', sigma{', spacing' * in_spacing}): sigma"
        sigmas = as_sigmas(name, operator[1], specs, axis_order, in_spacing)
        return ("gaussian", sigmas), scale
    names = ", ".join(map(repr, named))
    word = operator.lower() if isinstance(operator, str) else ""
    raise ValueError(
        f"operator must be one of {names}, ('gaussian', sigma) or a jax_imgrad.Kernel, "
        f"got {operator!r}" + (f"; write {word!r}" if word in named else "")
    )


def check_in_pixels(operator: Any) -> None:
    """Raises ValueError for a sigma in units of a spacing that is not known."""
    if _is_gaussian(operator) and len(operator) == 3:
        raise ValueError(
            "operator must be ('gaussian', sigma), with sigma in pixels, since this "
            f"function has no spacing, got {operator!r}; divide sigma by the spacing, "
            "and leave 'spacing' out"
        )


def _is_gaussian(operator: Any) -> bool:
    """Whether it is ("gaussian", sigma) or ("gaussian", sigma, "spacing")."""
    if not isinstance(operator, tuple | list) or len(operator) not in (2, 3):
        return False
    name, _, *unit = operator
    # Arrays are not compared with names.
    words = [one if isinstance(one, str) else "" for one in (name, *unit)]
    return words == ["gaussian", "spacing"][: len(words)]


def _check_has_taps(kernel: Kernel, order: int, axes: int) -> None:
    """Raises ValueError if a kernel lacks the taps for derivatives of this order."""
    is_mixed = order == 2 and axes > 1
    for name, is_needed, example in (
        ("first", order == 1 or is_mixed, (-1, 0, 1)),
        ("second", order == 2, (1, -2, 1)),
    ):
        if is_needed and getattr(kernel, name) is None:
            raise ValueError(
                f"operator must have the taps of a {name} derivative, got {kernel}; "
                f"pass {name}= to Kernel, for example {name}={example}"
            )


def as_sigmas(
    name: str,
    sigma: Any,
    specs: Sequence[AxisSpec],
    axis_order: Sequence[int] | None = None,
    in_spacing: bool = False,
    truncate: float = 4.0,
) -> tuple[float, ...]:
    """Returns sigma for each of the axes, in pixels.

    Raises ValueError if the neighboring taps would vanish, or there would be too many.
    """
    if isinstance(sigma, jax.Array | np.ndarray) and sigma.ndim == 1:
        sigma = tuple(sigma)
    each = stencils.each(name, sigma, len(specs))
    if axis_order is not None:
        each = [each[i] for i in axis_order]
    units = [spec.spacing if in_spacing else 1.0 for spec in specs]
    numbers = list(map(as_number, each))
    most = FARTHEST / max(truncate, 1.0)
    pixels = [n and n / unit for n, unit in zip(numbers, units, strict=True)]
    if not all(n is not None and 0.125 <= n <= most for n in pixels):
        of_spacing = f", with spacing {units}" if in_spacing else ""
        raise ValueError(
            f"{name} must be a number of at least 0.125 and at most {most:g}, in "
            f"pixels, or one for each axis, got {sigma!r}{of_spacing}"
            f"{hint_if_traced(*each)}"
        )
    return tuple(map(float, pixels))


def without_extrapolation(specs: Sequence[AxisSpec]) -> tuple[AxisSpec, ...]:
    """The axes of a mean: with the nearest pixel in place of an extrapolation."""
    return tuple(
        spec._replace(boundary=_OF_MEANS.get(spec.boundary, spec.boundary))
        for spec in specs
    )


def window_axis_specs(
    specs: Sequence[AxisSpec], window_boundary: Any
) -> tuple[AxisSpec, ...]:
    """The axes of a window, with its boundary conditions.

    By default, they are those of the derivatives, but with zeros beyond the border in
    place of "interior", so that a wide window still has an output near the border, and
    with the nearest pixel in place of an extrapolation, since a mean of squares must
    have no negative weights.
    """
    if window_boundary is None:
        of_window = [_OF_WINDOWS.get(b, b) for _, b, _ in specs]
    else:
        of_window = stencils.boundaries_of(
            "window_boundary", window_boundary, len(specs)
        )
    return tuple(
        spec._replace(boundary=boundary)
        for spec, boundary in zip(specs, of_window, strict=True)
    )
