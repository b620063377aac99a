"""Every public function under every transformation of JAX, once and quickly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mesh_of, random_array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from public import OF_MASKS, ONE_OF_EACH, arrays

pytestmark = pytest.mark.fast
each_function = pytest.mark.parametrize("call", [*ONE_OF_EACH, *OF_MASKS], ids=str)
each_of_numbers = pytest.mark.parametrize("call", ONE_OF_EACH, ids=str)

SHAPE = (8, 4, 5, 2)
LINEAR = {
    *("image_gradients", "spatial_gradient", "second_derivatives", "laplacian"),
    *("divergence", "smooth", "sobel_edges", "jacobian", "curl"),
}


def close(ours, expected, tolerance=1e-5):
    for one, other in zip(*map(jax.tree.leaves, (ours, expected)), strict=True):
        np.testing.assert_allclose(one, other, tolerance, tolerance)


def inner(a, b):
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)))


@each_function
def test_jit_vmap_and_shapes(call):
    given, function = arrays(call, SHAPE), call.function()
    expected = function(*given)
    close(jax.jit(function)(*given), expected)
    each = jax.vmap(lambda *one: function(*(a[None] for a in one)))
    close([part[:, 0] for part in each(*given)], expected)
    for struct, part in zip(jax.eval_shape(function, *given), expected, strict=True):
        assert (struct.shape, struct.dtype) == (part.shape, part.dtype)


@each_of_numbers
def test_grad_jvp_hessian_checkpoint_and_scan(call):
    gradient = jax.grad(call.weighted)

    def step(given, _):
        slopes = jax.grad(jax.checkpoint(call.weighted))(given)
        return jax.tree.map(lambda x, slope: x - 1e-2 * slope, given, slopes), None

    @jax.jit
    def all_of(given, by):
        def at(h):
            return call.weighted(jax.tree.map(lambda x, v: x + h * v, given, by))

        _, along = jax.jvp(call.weighted, (given,), (by,))
        by_reverse = inner(gradient(given), by)
        descended, _ = jax.lax.scan(step, given, length=2)
        return (at(1e-6) - at(-1e-6)) / 2e-6, along, by_reverse, descended

    with jax.enable_x64(True):
        given = arrays(call, (1, 3, 4, 1), "float64")
        by = [jnp.asarray(random_array(x.shape, "float64", 9)) for x in given]
        difference, along, by_reverse, descended = all_of(given, by)
        close([along, by_reverse], [difference] * 2)
        slow = given
        for _ in range(2):
            slow = jax.tree.map(lambda x, d: x - 1e-2 * d, slow, gradient(slow))
        close(descended, slow)
        hessian = jax.hessian(lambda x: call.weighted([x, *given[1:]]))(given[0])
        assert np.isfinite(hessian).all()
        close(hessian, hessian.transpose(4, 5, 6, 7, 0, 1, 2, 3), 1e-8)


@pytest.mark.parametrize("call", [c for c in ONE_OF_EACH if c.name in LINEAR], ids=str)
def test_linear_transpose(call):
    given = arrays(call, SHAPE)
    function = call.function()
    found = function(*given)
    other = [random_array(part.shape, "float32", 9) for part in found]
    transposed = jax.linear_transpose(function, *given)(list(map(jnp.asarray, other)))
    expected = pytest.approx(float(inner(found, other)), rel=1e-4)
    assert float(inner(list(transposed), given)) == expected


@each_function
def test_sharding_and_shard_map(call):
    given, function = arrays(call, SHAPE), call.function()
    expected = function(*given)
    for mode in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(mode, x=8)
        placed = [jax.device_put(a, NamedSharding(mesh, P("x"))) for a in given]
        for part, other in zip(jax.jit(function)(*placed), expected, strict=True):
            close(part, other)
            assert not part.sharding.is_fully_replicated
    split = jax.shard_map(function, mesh=mesh, in_specs=P("x"), out_specs=P("x"))
    close(jax.jit(split)(*placed), expected)


@each_function
def test_a_replicated_array_beside_one_that_is_sharded_by_rows(call):
    """With automatic sharding, XLA would drop the shift of a replicated argument."""
    given, takes = arrays(call, (1, 8, 5, 2)), {}
    if call.masked:
        takes["where"] = given[0] > 2

    def results(given, takes, by):
        value, slopes = jax.value_and_grad(lambda g: call.weighted(g, **takes))(given)
        of_operator = call.function(**takes)(*given)
        # What is added is sharded by rows, and so is the result.
        operators = [r + by for r in of_operator if r.ndim == 4 and r.dtype != bool]
        return value, slopes, operators

    expected = jax.jit(results)(given, takes, given[0])
    mesh = mesh_of(AxisType.Auto, x=4)
    rows, replicated = (NamedSharding(mesh, spec) for spec in (P(None, "x"), P()))
    leaves, structure = jax.tree.flatten((given, takes, given[0]))
    for sharded in {0, len(leaves) - 1}:
        shardings = [rows if i == sharded else replicated for i in range(len(leaves))]
        placed = jax.tree.unflatten(structure, map(jax.device_put, leaves, shardings))
        close(jax.jit(results)(*placed), expected)


@each_function
def test_export(call):
    function = call.function()
    shape = jax.export.symbolic_shape("b, h, w, c", constraints=["h >= 2", "w >= 2"])
    image = jax.ShapeDtypeStruct(call.shape(shape), "float32")
    exported = jax.export.export(jax.jit(function), platforms=["cpu", "cuda", "tpu"])
    stored = exported(*[image] * call.arrays).serialize()
    given = arrays(call, SHAPE)
    close(jax.export.deserialize(stored).call(*given), function(*given))
