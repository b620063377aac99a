"""No intermediate result has a NaN if the final result has none.

With `jax.disable_jit` every operation runs separately, and `jax.debug_nans` raises an
error at the first one whose result has a NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public import CALLS, arrays

SHAPE = (1, 3, 4, 2)


def all_of(call, given, **options):
    """Value, gradient and a Hessian-vector product, also in the parameters."""

    def function(given, parameters):
        return call.weighted(given, **parameters, **options)

    parameters = {name: jnp.float32(v) for name, v in call.parameters.items()}
    both = jax.value_and_grad(function, (0, 1))
    x = given, parameters
    return jax.jvp(both, x, jax.tree.map(jnp.ones_like, x))


@pytest.mark.parametrize("kind", ["flat", "ties"])
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_no_nan_on_the_way(call, kind):
    given = arrays(call, SHAPE, kind=kind)
    for way in call.ways:
        options = {"implementation": way} if way else {}
        with jax.debug_nans(True), jax.disable_jit():
            found = all_of(call, given, **options)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("call", [c for c in CALLS if c.masked], ids=str)
def test_no_nan_from_masked_pixels(call, dtype):
    invalid = np.full(call.shape(SHAPE), 0.0)
    invalid[0, 1, 2], invalid[0, 0, 1], invalid[0, 2, 0] = np.nan, np.inf, -np.inf
    valid = invalid == 0
    given = [
        jnp.where(valid, a, invalid.astype(dtype)) for a in arrays(call, SHAPE, dtype)
    ]
    with jax.debug_nans(True), jax.disable_jit():
        found = all_of(call, given, where=valid)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("without_jit", [False, True])
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_nan_of_the_caller_is_found(call, without_jit):
    """JAX's own error names the first operation that returns it."""
    image, *others = arrays(call, SHAPE)
    given = [image.at[0, 1, 1, 0].set(jnp.nan), *others]
    found = pytest.raises(FloatingPointError, match="nan")
    with jax.debug_nans(True), jax.disable_jit(without_jit), found:
        call.function()(*given)
