"""The choice between the ways to compute a functional, by its stencils."""

from collections.abc import Sequence

import jax

from jax_imgrad._backends import xla
from jax_imgrad._backends.xla_cpu import _gradients, _outputs, _sums
from jax_imgrad._stencils import SeparableStencil, as_differences
from jax_imgrad._types import PenaltyFunction


def functional(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> jax.Array:
    """The sum of the penalty over the pixels of each image, `[B]`."""
    if 0 in images[0].shape:
        return xla.functional(penalty, images, parameters, stencils)
    module = _outputs if as_differences(stencils) is None else _sums
    return module.functional(penalty, images, parameters, stencils)


def functional_and_gradient(
    penalty: PenaltyFunction,
    images: Sequence[jax.Array],
    parameters: Sequence[jax.Array],
    stencils: tuple[SeparableStencil, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The sum, and its derivative by each image."""
    if 0 in images[0].shape:
        return xla.functional_and_gradient(penalty, images, parameters, stencils)
    module = _outputs if as_differences(stencils) is None else _gradients
    return module.functional_and_gradient(penalty, images, parameters, stencils)
