"""Gradients with weights for each pixel: one-sided differences, and uneven grids.

On an even grid, the derivative along an axis is one stencil. Here it is a sum of terms,
each a stencil with a weight and a mask for each of its outputs:

    d[i] = sum over the terms of weight[i] * (stencil x)[i] where mask[i], else 0

For a difference along an axis, let s+ and s- be the slopes to the next and from the
previous pixel, at distances h+ and h-. Terms select one of them where only one of the
neighbors counts, since the other is invalid or beyond the border. Where both do,

    central = (h- s+ + h+ s-) / (h- + h+)

is the derivative of the parabola through the three pixels, so it is of second order.
The derivative by x of a parabola is linear, and equal to the slope of a chord at its
middle. So s+ is the derivative at distance h+/2 after the pixel, s- that at h-/2 before
it, and the weights interpolate linearly between the two.

With boundary="linear" the slope beyond the border is that of the last two pixels. With
"quadratic" it continues linearly the slopes s1 and s2 of the two last intervals, the
last one first, whose middles are (h1 + h2)/2 apart. At the last pixel, h1/2 after the
middle of its interval, and in the middle of an interval of the same size beyond the
border, h1 after it, the derivatives are

    s1 + (s1 - s2) h1 / (h1 + h2),    s1 + 2 (s1 - s2) h1 / (h1 + h2)

The first is the central difference, the second the forward one.

The sum of the terms is linear in x, and its weights are functions of the spacing that
JAX differentiates. The adjoint is the sum of the transposed stencils of the weighted
and masked arrays.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_imgrad import _arguments, _stencils
from jax_imgrad._differences import (
    has_next,
    has_previous,
    next_pixel,
    previous_pixel,
    zero_margin,
)
from jax_imgrad._dtypes import accumulator, real_dtype
from jax_imgrad._linear import stencil
from jax_imgrad._masks import existing_outputs, valid_outputs, without_invalid
from jax_imgrad._operators import apply_divergence, apply_stencils
from jax_imgrad._stencils import AxisSpec, SeparableStencil, negative, transpose
from jax_imgrad._types import Grid, Steps, Widths
from jax_imgrad.typing import Boundary, Implementation, Operator, Scale


class Part(NamedTuple):
    """The derivative along one axis, without the arrays that it needs.

    Attributes:
      axis: of the derivative.
      operator: as the caller passed it.
      boundary: along this axis.
      stencil: of the operator.
      neighbors: the differences to the next pixel and from the previous one, scaled as
        the operator, if their terms replace the stencil.
      one_sided: whether one of them counts where the other does not.
    """

    axis: int
    operator: Operator
    boundary: Boundary
    stencil: SeparableStencil
    neighbors: tuple[SeparableStencil, ...]
    one_sided: bool


class Plan(NamedTuple):
    """How to compute a gradient: its parts, one for each axis, and the grid."""

    parts: tuple[Part, ...]
    grid: Grid

    @property
    def is_plain(self) -> bool:
        """Whether each part is its stencil, without weights."""
        is_even = all(entry is None for entry in self.grid)
        return is_even and not any(part.neighbors for part in self.parts)

    @property
    def stencils(self) -> tuple[SeparableStencil, ...]:
        """All stencils; of a plain gradient, those of its parts."""
        several = [(part.stencil, *part.neighbors) for part in self.parts]
        return tuple(one for stencils in several for one in stencils)


class Term(NamedTuple):
    """A stencil, where its outputs count (None: everywhere), and weights (None: 1)."""

    stencil: SeparableStencil
    mask: jax.Array | None
    weight: jax.Array | None = None


def plan_of(
    operator: Operator,
    scale: Scale,
    specs: tuple[AxisSpec, ...],
    grid: Grid,
    one_sided: bool,
) -> Plan:
    """How to compute the gradient, after the checks of what needs neighbors."""
    _arguments.check_neighbors(operator, specs, grid, one_sided)
    stencils = _stencils.gradient(operator, scale, specs)
    parts = []
    for spec, separable, entry in zip(specs, stencils, grid, strict=True):
        neighbors: tuple[SeparableStencil, ...] = ()
        if one_sided or isinstance(entry, Steps):
            # The taps -1 0 1 give the slope twice.
            gain = 2 if (operator, scale) == ("central", "raw") else 1
            own = spec._replace(spacing=spec.spacing / gain)
            if isinstance(entry, Steps):  # the terms of the border are separate
                own = own._replace(boundary="interior")
            neighbors = tuple(
                _stencils.gradient(one, "derivative", [own])[0]
                for one in ("forward", "backward")
            )
        parts.append(
            Part(spec.axis, operator, spec.boundary, separable, neighbors, one_sided)
        )
    return Plan(tuple(parts), grid)


def apply_gradient(
    array: jax.Array,
    plan: Plan,
    where: jax.Array | np.ndarray | None,
    dtype: np.dtype,
    implementation: Implementation | None,
    *,
    jointly: bool = False,
) -> tuple[jax.Array, ...]:
    """The gradient of an array, after the checks that all callers need.

    With `jointly`, all parts are 0 where any of them is invalid.
    """
    if plan.is_plain:
        return apply_stencils(
            array, plan.stencils, where, dtype, implementation, jointly=jointly
        )
    _arguments.check_sizes("x", array, plan.stencils)
    valid = _arguments.as_mask(where, "x", array)
    _arguments.check_implementation(implementation)
    return _gradient(
        array, valid, plan.grid, plan.parts, dtype, implementation, jointly
    )


def apply_weighted_divergence(
    fields: list[jax.Array],
    valid: jax.Array | None,
    plan: Plan,
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    """Minus the adjoint of the gradient: the divergence."""
    if plan.is_plain:
        return apply_divergence(fields, valid, plan.stencils, dtype, implementation)
    return _divergence(fields, valid, plan.grid, plan.parts, dtype, implementation)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _gradient(
    array: jax.Array,
    valid: jax.Array | None,
    grid: Grid,
    parts: tuple[Part, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
    jointly: bool,
) -> tuple[jax.Array, ...]:
    image = without_invalid(array, valid).astype(dtype).astype(accumulator(dtype))
    terms = [_terms(*pair, valid, image) for pair in zip(parts, grid, strict=True)]
    maps = tuple((term.stencil,) for some in terms for term in some)
    outputs = iter(stencil([image], maps, implementation))
    results = []
    for some, entry in zip(terms, grid, strict=True):
        weighted = [_weighted(term, next(outputs)) for term in some]
        total = functools.reduce(jnp.add, weighted)
        results.append(_divided(total, entry, _counts(some)).astype(dtype))
    if jointly and valid is not None:
        mask = joint_mask(valid, grid, parts)
        results = [jnp.where(mask, result, 0) for result in results]
    return tuple(results)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _divergence(
    fields: list[jax.Array],
    valid: jax.Array | None,
    grid: Grid,
    parts: tuple[Part, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    operands, row = [], []
    for field, part, entry in zip(fields, parts, grid, strict=True):
        terms = _terms(part, entry, valid, field)
        mask = _counts(terms)
        field = without_invalid(field, mask).astype(dtype).astype(accumulator(dtype))
        field = _divided(field, entry, mask)
        operands += [_weighted(term, field) for term in terms]
        row += [negative(transpose(term.stencil)) for term in terms]
    (result,) = stencil(operands, (tuple(row),), implementation)
    return without_invalid(result.astype(dtype), valid)


@functools.partial(jax.jit, static_argnums=2)
def joint_mask(valid: jax.Array, grid: Grid, parts: tuple[Part, ...]) -> jax.Array:
    """Where all parts that exist are valid."""
    masks = []
    for part, entry in zip(parts, grid, strict=True):
        mask = jnp.asarray(_counts(_terms(part, entry, valid, valid)))
        exists = _counts(_terms(part, entry, None, valid))
        masks.append(mask if exists is None else mask | ~exists)
    return functools.reduce(jnp.logical_and, masks)


@functools.partial(jax.jit, static_argnums=1)
def one_sided_masks(valid: jax.Array, parts: tuple[Part, ...]) -> tuple[jax.Array, ...]:
    """For each of several one-sided parts on an even grid, where it counts."""
    each = [_terms(part, None, valid, valid) for part in parts]
    return tuple(jnp.asarray(_counts(terms)) for terms in each)


def _weighted(term: Term, output: jax.Array) -> jax.Array:
    if term.weight is not None:
        # The caller may have set promotion to "strict", also for complex images.
        with jax.numpy_dtype_promotion("standard"):
            output = output * term.weight.astype(real_dtype(output.dtype))
    return without_invalid(output, term.mask)


def _divided(
    output: jax.Array, entry: Steps | Widths | None, mask: jax.Array | None
) -> jax.Array:
    """Divided by the spacing of each pixel, where the output is valid."""
    if not isinstance(entry, Widths):
        return output
    widths = jnp.asarray(entry.array).astype(real_dtype(output.dtype))
    if mask is not None:  # elsewhere the spacing may be 0 or NaN
        widths = jnp.where(mask, widths, 1)
    with jax.numpy_dtype_promotion("standard"):
        return output / widths


def _counts(terms: Sequence[Term]) -> jax.Array | None:
    """Where any of the terms counts; None for everywhere."""
    masks = [term.mask for term in terms if term.mask is not None]
    return functools.reduce(jnp.logical_or, masks) if len(masks) == len(terms) else None


def _terms(
    part: Part,
    entry: Steps | Widths | None,
    valid: jax.Array | None,
    like: jax.Array,
) -> list[Term]:
    """The terms of a part, for an image of the shape of `like`."""
    if isinstance(entry, Steps):
        return _on_coordinates(part, jnp.asarray(entry.array), valid, like)
    if not part.one_sided:
        mask = None if valid is None else valid_outputs(valid, part.stencil)
        return [Term(part.stencil, mask)]
    after, before = part.neighbors
    has_after, has_before = (_exists(one, valid, like) for one in part.neighbors)
    if part.operator == "forward":
        return [Term(after, has_after), Term(before, has_before & ~has_after)]
    if part.operator == "backward":
        return [Term(before, has_before), Term(after, has_after & ~has_before)]
    # Where both count, the stencil itself: it does not read the pixel between them.
    return [
        Term(part.stencil, has_after & has_before),
        Term(after, has_after & ~has_before),
        Term(before, has_before & ~has_after),
    ]


def _exists(
    separable: SeparableStencil, valid: jax.Array | None, like: jax.Array
) -> jax.Array:
    """Where a difference exists, and its two pixels are valid."""
    if valid is not None:
        return existing_outputs(valid, separable)
    ((axis, factor),) = separable
    return zero_margin(jnp.ones_like(like, bool), axis, factor.margin)


class _Side(NamedTuple):
    """A neighbor of each pixel along an axis: the next pixel, or the previous one.

    Attributes:
      slope: the difference between the pixel and this neighbor.
      step: the distance between them.
      exists: where there is such a neighbor.
      counts: where there is, and both are valid.
      farther: the neighbor of this neighbor, for boundary="quadratic".
    """

    slope: SeparableStencil
    step: jax.Array
    exists: jax.Array
    counts: jax.Array
    farther: "_Side | None" = None


def _on_coordinates(
    part: Part, steps: jax.Array, valid: jax.Array | None, like: jax.Array
) -> list[Term]:
    """The terms of differences on an uneven grid; see the top of this file."""
    sides = _sides(part, steps, valid, like)
    if part.operator == "central":
        both = sides[0].counts & sides[1].counts
        terms = []
        for side, other in (sides, sides[::-1]):
            alone, factor, farther = _alone(part, side, other, extrapolation=1)
            share = jnp.where(both, other.step / (side.step + other.step), factor)
            terms += [Term(side.slope, both | alone, share / side.step), *farther]
        return terms
    side, other = sides if part.operator == "forward" else sides[::-1]
    alone, factor, farther = _alone(part, other, side, extrapolation=2)
    return [
        Term(side.slope, side.counts, 1 / side.step),
        Term(other.slope, alone, factor / other.step),
        *farther,
    ]


def _alone(
    part: Part, side: _Side, other: _Side, extrapolation: int
) -> tuple[jax.Array, jax.Array | int, list[Term]]:
    """Where the slope to one side replaces that to the other one, and its factor.

    Also returns the terms of the slope farther away, for boundary="quadratic".
    `extrapolation` is twice the distance of the derivative from the middle of the last
    interval, in intervals: 1 at the last pixel, 2 in the middle of the next interval.
    """
    at_border = side.counts & ~other.exists
    alone, factor, farther = jnp.zeros_like(at_border), 1, []
    if part.boundary == "linear":
        alone = at_border
    elif part.boundary == "quadratic" and side.farther is not None:
        alone = at_border & side.farther.counts
        ratio = extrapolation * side.step / (side.step + side.farther.step)
        factor = jnp.where(alone, 1 + ratio, 1)
        farther = [Term(side.farther.slope, alone, -ratio / side.farther.step)]
    if part.one_sided:
        alone = side.counts & ~other.counts
    return alone, factor, farther


def _sides(
    part: Part, steps: jax.Array, valid: jax.Array | None, like: jax.Array
) -> tuple[_Side, _Side]:
    """The next pixel and the previous one."""
    ((axis, _),) = part.neighbors[0]
    before = _previous(steps, axis)
    sides = []
    for sign, slope, step in zip((1, -1), part.neighbors, (steps, before), strict=True):
        farther = None
        if part.boundary == "quadratic":
            taps = tuple((k + sign, weight) for k, weight in slope[0][1].taps)
            beyond = ((axis, slope[0][1]._replace(taps=taps)),)
            far_step = _next(steps, axis) if sign == 1 else _previous(before, axis)
            farther = _Side(
                beyond, far_step, jnp.ones((), bool), _exists(beyond, valid, like)
            )
        exists = (has_next if sign == 1 else has_previous)(like, axis)
        sides.append(_Side(slope, step, exists, _exists(slope, valid, like), farther))
    return sides[0], sides[1]


def _next(steps: jax.Array, axis: int) -> jax.Array:
    """The step after the next pixel, and 1 if there is no next pixel."""
    return jnp.where(has_next(steps, axis), next_pixel(steps, axis, False), 1)


def _previous(steps: jax.Array, axis: int) -> jax.Array:
    """The step before the pixel, and 1 if there is no previous pixel."""
    return jnp.where(has_previous(steps, axis), previous_pixel(steps, axis, False), 1)
