"""The sum of a penalty of any stencils, and its derivative, from stored outputs.

The differences of `_sums.py` and `_gradients.py` are computed in the loops that use
them. The outputs of stencils with more taps are computed once, by the loops of
`_stencils.py`, and stored; so is the flux.
"""

from collections.abc import Sequence

import jax
from jax import lax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla_cpu._stencils import stencil
from jax_imgrad._backends.xla_cpu._sums import sum_of
from jax_imgrad._differences import shift_at_once
from jax_imgrad._dtypes import derivative_dtype, upcast
from jax_imgrad._penalties import Coupled
from jax_imgrad._stencils import SeparableStencil, transpose
from jax_imgrad._types import PenaltyFunction


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    if isinstance(penalty, Coupled):
        return xla.functional(penalty, images, parameters, stencils, shift_at_once)
    return _sum(penalty, _outputs(images, stencils), parameters)


def functional_and_gradient(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image."""
    if isinstance(penalty, Coupled):
        return xla.functional_and_gradient(
            penalty, images, parameters, stencils, shift_at_once
        )
    outputs = _outputs(images, stencils)
    _, fluxes = xla.flux(penalty, outputs, parameters)
    # Without the barrier, XLA for CPU would compute the flux again for each tap.
    fluxes = lax.optimization_barrier(fluxes)
    maps = (tuple(transpose(separable) for separable in stencils),)
    gradients = [stencil(of_image, maps, False)[0] for of_image in fluxes]
    dtype = derivative_dtype(images[0].dtype)
    return _sum(penalty, outputs, parameters), [g.astype(dtype) for g in gradients]


def _outputs(
    images: Sequence[jax.Array], stencils: tuple[SeparableStencil, ...]
) -> list[list[jax.Array]]:
    """The stencils applied to each image, in the dtype to accumulate in."""
    # A mixed second derivative occurs twice among the stencils, and is computed once.
    different = [*dict.fromkeys(stencils)]
    maps = tuple((separable,) for separable in different)
    outputs = []
    for image in images:
        stored = lax.optimization_barrier(stencil([upcast(image)], maps, False))
        of = dict(zip(different, stored, strict=True))
        outputs.append([of[separable] for separable in stencils])
    return outputs


def _sum(
    penalty: PenaltyFunction,
    outputs: list[list[jax.Array]],
    parameters: Sequence[jax.Array],
) -> jax.Array:
    """The sum of the penalty over each image."""
    return sum_of(lambda arrays: penalty(*arrays), (outputs, list(parameters)))
