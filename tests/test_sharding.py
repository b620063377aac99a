"""Images sharded over eight devices: values, shardings and collectives."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import mesh_of, of_a_cpu, random_array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jax_imgrad as jig

pytestmark = pytest.mark.fast

SHAPE = (8, 16, 24, 3)
SPECS = {
    "batch": P("x"),
    "rows": P(None, "x"),
    "columns": P(None, None, "x"),
    "rows and columns": P(None, "x", "y"),
    "batch and rows": P("y", "x"),
}
# Halo exchanges: one for each axis of the image that is sharded.
AXES = {"batch": 0, "rows": 1, "columns": 1, "rows and columns": 2, "batch and rows": 1}

modes = pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])
layouts = pytest.mark.parametrize("layout", SPECS)


def shard(image, layout, mode):
    mesh = mesh_of(mode, **({"x": 4, "y": 2} if "and" in layout else {"x": 8}))
    return jax.device_put(image, NamedSharding(mesh, SPECS[layout]))


def collectives(compiled):
    """The number of each kind of collective in a compiled program, and their shapes."""
    kinds = "collective-permute|all-gather|all-to-all|all-reduce|reduce-scatter"
    found = re.findall(
        rf"= \(?(\S+)\[([\d,]*)\].* ({kinds})(?:-start)?\(", compiled.as_text()
    )
    return [
        (kind, tuple(map(int, shape.split(","))) if shape else ())
        for _, shape, kind in found
    ]


def loss(image):
    return sum(jnp.sum(jnp.sin(part)) for part in jig.image_gradients(image))


@of_a_cpu
def test_there_are_several_devices():
    assert jax.device_count() >= 8


@modes
@layouts
def test_values_and_shardings(layout, mode):
    image = random_array(SHAPE, "float32")
    sharded = shard(image, layout, mode)
    for function in (jig.image_gradients, jax.jit(jig.image_gradients)):
        for ours, wide in zip(
            function(sharded), oracle.image_gradients(image), strict=True
        ):
            np.testing.assert_allclose(ours, wide, rtol=1e-6, atol=1e-6)
            assert ours.sharding.is_equivalent_to(sharded.sharding, 4)


@modes
@layouts
def test_derivative(layout, mode):
    image = random_array(SHAPE, "float32")
    sharded = shard(image, layout, mode)
    derivative = jax.jit(jax.grad(loss))(sharded)
    flow = [np.cos(part) for part in oracle.image_gradients(image)]
    np.testing.assert_allclose(derivative, -oracle.divergence(*flow), atol=1e-5)
    assert derivative.sharding.is_equivalent_to(sharded.sharding, 4)


@modes
@layouts
def test_one_exchange_for_each_sharded_axis(layout, mode):
    sharded = shard(random_array(SHAPE, "float32"), layout, mode)
    found = collectives(jax.jit(jig.image_gradients).lower(sharded).compile())
    assert [kind for kind, _ in found] == ["collective-permute"] * AXES[layout]
    # one row or column of each shard
    part = sharded.sharding.shard_shape(SHAPE)
    rows = {(part[0], 1, part[2], part[3]), (part[0], part[1], 1, part[3])}
    assert {shape for _, shape in found} <= rows


@modes
@layouts
def test_two_exchanges_in_the_derivative(layout, mode):
    sharded = shard(random_array(SHAPE, "float32"), layout, mode)
    found = collectives(jax.jit(jax.grad(loss)).lower(sharded).compile())
    assert [kind for kind, _ in found] == ["collective-permute"] * 2 * AXES[layout]


@modes
def test_shards_of_one_pixel(mode):
    image = random_array((1, 8, 5, 3), "float32")
    sharded = shard(image, "rows", mode)
    for ours, wide in zip(
        jig.image_gradients(sharded), oracle.image_gradients(image), strict=True
    ):
        np.testing.assert_allclose(ours, wide, rtol=1e-6, atol=1e-6)


@modes
@layouts
def test_vmap(layout, mode):
    image = random_array(SHAPE, "float32")
    sharded = shard(image, layout, mode)
    each = jax.jit(jax.vmap(lambda one: jig.image_gradients(one[None])))
    for ours, wide in zip(each(sharded), oracle.image_gradients(image), strict=True):
        np.testing.assert_allclose(ours[:, 0], wide, rtol=1e-6, atol=1e-6)


def test_divergence_of_a_pair_with_different_shardings():
    dy, dx = (random_array(SHAPE, "float32", seed) for seed in (0, 1))
    sharded = shard(dy, "rows", AxisType.Explicit)

    def loss(pair):
        return jnp.sum(jig.divergence(pair) ** 2)

    flow = 2 * oracle.divergence(dy, dx)
    with jax.set_mesh(sharded.sharding.mesh):
        derivative = jax.grad(loss)((sharded, jnp.asarray(dx)))
    for ours, wide in zip(derivative, oracle.image_gradients(flow), strict=True):
        np.testing.assert_allclose(ours, -wide, atol=1e-4)
    assert derivative[0].sharding.is_equivalent_to(sharded.sharding, 4)


def test_vmap_of_one_part_over_a_sharded_axis():
    dys = random_array((8, 2, 5, 6, 3), "float32")
    dx = random_array((2, 5, 6, 3), "float32", seed=1)
    mesh = mesh_of(AxisType.Explicit, x=8)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(dys, NamedSharding(mesh, P("x")))
        ours = jax.vmap(lambda dy: jig.divergence((dy, jnp.asarray(dx))))(sharded)
    wide = np.stack([oracle.divergence(dy, dx) for dy in dys])
    np.testing.assert_allclose(ours, wide, rtol=1e-5, atol=1e-5)


def test_shard_map_of_a_pair_with_one_varying_part():
    dy = random_array((8, 5, 6, 3), "float32")
    dx = random_array((1, 5, 6, 3), "float32", seed=1)
    mesh = mesh_of(AxisType.Auto, x=8)

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P("x"), P()), out_specs=P())
    def derivative(dy, dx):
        return jax.grad(lambda dx: jnp.sum(jig.divergence((dy, dx)) ** 2))(dx)

    flow = 2 * oracle.divergence(dy, np.broadcast_to(dx, dy.shape))
    wide = -oracle.image_gradients(flow)[1].sum(0, keepdims=True)
    np.testing.assert_allclose(jax.jit(derivative)(dy, dx), wide, rtol=1e-4, atol=1e-4)


def test_kernel_inside_shard_map(implementation):
    image = random_array((8, 5, 6, 3), "float32")
    sharded = shard(image, "batch", AxisType.Auto)
    gradients = functools.partial(jig.image_gradients, implementation=implementation)
    split = functools.partial(
        jax.shard_map, mesh=sharded.sharding.mesh, in_specs=P("x"), out_specs=P("x")
    )
    for ours, wide in zip(
        jax.jit(split(gradients))(sharded), oracle.image_gradients(image), strict=True
    ):
        np.testing.assert_allclose(ours, wide, rtol=1e-6, atol=1e-6)

    def derivative(image):  # the loss uses one part: the cotangent of the other is zero
        return jax.grad(lambda image: jnp.sum(jnp.sin(gradients(image)[0])))(image)

    dy, dx = oracle.image_gradients(image)
    expected = -oracle.divergence(np.cos(dy), 0 * dx)
    np.testing.assert_allclose(jax.jit(split(derivative))(sharded), expected, atol=1e-5)


@pytest.mark.parametrize("axis", ["x", None])
@pytest.mark.parametrize("devices", [2, 8])
def test_kernel_refuses_explicit_axes(devices, axis):
    """Also if they have one device, or if the image is not split."""
    mesh = mesh_of(AxisType.Explicit, x=devices)
    image = np.zeros((8, 4, 5, 3), "float32")
    sharded = jax.device_put(image, NamedSharding(mesh, P(axis)))
    with pytest.raises(NotImplementedError, match=r"call it inside jax\.shard_map"):
        jig.image_gradients(sharded, implementation="pallas_tpu")
