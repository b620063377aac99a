"""Programs compiled for a TPU and an H100, without these devices.

Nothing is timed: the tests count kernels, bytes of temporaries and bytes moved. They
need the packages of `jax-imgrad[accelerators]`, in a separate environment.
"""

import functools
import math
import re

import jax
import jax.numpy as jnp
import programs
import pytest
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
from stencil_oracle import BOUNDARIES

import jax_imgrad as jig
from jax_imgrad import losses

H100 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 10 }
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 device_memory_size: 84978434048
  l2_cache_size: 52428800
}
"""


def topology(require, platform, **description):
    try:
        return topologies.get_topology_desc(platform=platform, **description).devices
    except Exception as error:
        require(
            "accelerators", f"there is no compiler for {platform} here: {error!r:.90}"
        )


@pytest.fixture(autouse=True, scope="module")
def no_program_cache():
    """Turns the cache off: it cannot load programs for devices that are absent."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", before)
    compilation_cache.reset_cache()


@pytest.fixture
def tpus(require):
    return topology(require, "tpu", topology_name="v5e:2x2")


@pytest.fixture
def h100(require):
    named = {"topology_name": "h100", "topology": "1x1x1"}
    return topology(require, "cuda", target_config=H100, **named)[0]


def image_gradients(image, implementation=None):
    return jig.image_gradients(image, implementation=implementation)


def divergence(image, implementation=None):
    return jig.divergence((image, image), implementation=implementation)


def loss(image, implementation=None):
    dy, dx = jig.image_gradients(image, implementation=implementation)
    return jnp.sum(dy * dy) + jnp.sum(dx * dx)


def compiled_for(device, function, shape, dtype="float32", **options):
    image = jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(device))
    return jax.jit(functools.partial(function, **options)).lower(image).compile()


def kernels(compiled):
    """The number of XLA's fusions and of calls of our kernels in a program."""
    entry = compiled.as_text().partition("ENTRY")[2]
    kinds = r"= \S.* (fusion|custom-call|copy|transpose|convert|slice|pad|select)\("
    found = re.findall(kinds, entry)
    ours = entry.count('custom_call_target="tpu_custom_call"')
    return {"XLA": len(found) - ours, "ours": ours}


def temporaries(compiled):
    """Bytes of temporaries per byte of the image."""
    memory = compiled.memory_analysis()
    return memory.temp_size_in_bytes / max(1, memory.argument_size_in_bytes)


@pytest.mark.parametrize("coupled", [False, True])
def test_images_are_summed_one_by_one_beside_their_gradient(h100, coupled):
    """One reduction over all of them would take a GPU many times as long."""

    def mean(image):
        return losses.total_variation(
            image, reduction="sum", channel_coupling=coupled
        ).mean()

    compiled = compiled_for(h100, jax.value_and_grad(mean), (64, 512, 512, 3))
    assert "f32[64]" in compiled.as_text().partition("ENTRY")[2]


TPU_SHAPES = [
    *[(2, 37, 130, c) for c in (1, 2, 3, 4, 7, 8, 12, 16, 64, 127, 128)],
    (16, 512, 512, 3),
    (4, 1024, 1024, 16),
    (8, 256, 256, 128),
    (1, 2048, 2048, 1),
    (16, 300, 500, 3),
    (1, 1000, 1000, 3),
    (2, 1, 130, 3),
    (2, 37, 1, 3),
    (1, 1, 1, 1),
    (1, 100, 32768, 3),
    (1, 64, 4096, 128),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", TPU_SHAPES)
@pytest.mark.parametrize("function", [image_gradients, divergence])
def test_the_kernel_compiles_without_temporaries(tpus, function, shape, dtype):
    compiled = compiled_for(
        tpus[0], function, shape, dtype, implementation="pallas_tpu"
    )
    assert kernels(compiled)["ours"] == 1
    assert temporaries(compiled) <= 0.01


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_derivatives_of_the_kernel_compile(tpus, dtype):
    shape, kernel = (2, 64, 256, 3), {"implementation": "pallas_tpu"}
    derivative = functools.partial(jax.grad(loss), **kernel)
    compiled = compiled_for(tpus[0], derivative, shape, dtype)
    assert kernels(compiled)["ours"] == 2  # forward, and the divergence backward
    along = functools.partial(jax.jvp, derivative)
    second = compiled_for(
        tpus[0], lambda image: along((image,), (image,))[1], shape, dtype
    )
    assert kernels(second)["ours"] == 2
    each = jax.vmap(functools.partial(image_gradients, **kernel), in_axes=2)
    mapped = compiled_for(tpus[0], each, (2, 8, 3, 256, 3), dtype)
    assert kernels(mapped)["ours"] == 1


def test_the_kernel_is_not_split_by_xla(tpus):
    mesh = jax.sharding.Mesh(tpus, ("x",), axis_types=(AxisType.Auto,))
    image = jax.ShapeDtypeStruct(
        (8, 64, 256, 3), "float32", sharding=NamedSharding(mesh, P("x"))
    )
    kernel = functools.partial(image_gradients, implementation="pallas_tpu")
    with pytest.raises(
        NotImplementedError, match="cannot be automatically partitioned"
    ):
        jax.jit(kernel).lower(image).compile()
    split = jax.shard_map(kernel, mesh=mesh, in_specs=P("x"), out_specs=P("x"))
    compiled = jax.jit(split).lower(image).compile()
    assert kernels(compiled)["ours"] == 1
    assert "collective-permute" not in compiled.as_text()


@pytest.mark.parametrize("shape", [(16, 512, 512, 3), (4, 1024, 1024, 16)])
@pytest.mark.parametrize("function", [image_gradients, divergence])
def test_the_definition_on_a_tpu(tpus, function, shape):
    compiled = compiled_for(tpus[0], function, shape)
    assert kernels(compiled) == {"XLA": 1, "ours": 0}
    assert temporaries(compiled) == 0


def test_the_derivative_of_the_definition_on_a_tpu(tpus):
    """Transposed by JAX's own rules, it would need temporaries of two images."""

    def pullback(dy):
        return jax.linear_transpose(jig.image_gradients, dy)((dy, dy))[0]

    compiled = compiled_for(tpus[0], pullback, (4, 1024, 1024, 16))
    assert kernels(compiled) == {"XLA": 1, "ours": 0}
    assert temporaries(compiled) == 0


@pytest.mark.parametrize("axis", [1, 2])
def test_the_definition_over_tpus(tpus, axis):
    mesh = jax.sharding.Mesh(tpus, ("x",), axis_types=(AxisType.Auto,))
    spec = P(*[None] * axis, "x")
    image = jax.ShapeDtypeStruct(
        (8, 64, 256, 3), "float32", sharding=NamedSharding(mesh, spec)
    )
    program = jax.jit(jig.image_gradients).lower(image).compile().as_text()
    assert len(re.findall(r" collective-permute(?:-start)?\(", program)) == 1
    assert "all-gather" not in program
    assert "all-to-all" not in program


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
@pytest.mark.parametrize(
    "shape", [(16, 512, 512, 3), (4, 1024, 1024, 16), (2, 1080, 1920, 3), (1, 9, 7, 1)]
)
@pytest.mark.parametrize("function", [image_gradients, divergence])
def test_one_kernel_and_the_least_bytes_on_an_h100(h100, function, shape, dtype):
    """There is no hand-written kernel for a GPU because XLA's is minimal."""
    compiled = compiled_for(h100, function, shape, dtype)
    assert kernels(compiled) == {"XLA": 1, "ours": 0}
    memory = compiled.memory_analysis()
    width = (
        jnp.dtype(dtype).itemsize,
        jnp.dtype(dtype if dtype != "uint8" else "int16").itemsize,
    )
    outputs = 2 if function is image_gradients else 1
    assert memory.argument_size_in_bytes == math.prod(shape) * width[0]
    assert memory.output_size_in_bytes == pytest.approx(
        math.prod(shape) * width[1] * outputs, abs=64
    )
    assert memory.temp_size_in_bytes <= 64


def test_the_derivative_on_an_h100(h100):
    def pullback(dy):
        return jax.linear_transpose(jig.image_gradients, dy)((dy, dy))[0]

    compiled = compiled_for(h100, pullback, (16, 512, 512, 3))
    assert kernels(compiled) == {"XLA": 1, "ours": 0}
    assert compiled.memory_analysis().temp_size_in_bytes <= 64


SHAPE = (4, 512, 512, 16)
SMALL_STENCILS = {
    **{
        f"sobel, {boundary}": functools.partial(
            jig.spatial_gradient, operator="sobel", boundary=boundary
        )
        for boundary in BOUNDARIES
        if boundary not in ("wrap", "quadratic")
    },
    "central": functools.partial(jig.spatial_gradient, operator="central"),
    "laplacian": jig.laplacian,
    "second_derivatives": jig.second_derivatives,
    "gradient_magnitude": functools.partial(jig.gradient_magnitude, operator="scharr"),
    "gradient_orientation": jig.gradient_orientation,
    "divergence": lambda image: jig.divergence((image, image), operator="sobel"),
}


@pytest.mark.parametrize("name", SMALL_STENCILS)
def test_a_small_stencil_stores_nothing(h100, tpus, name):
    for device, most in ((h100, 1), (tpus[0], 2)):
        compiled = compiled_for(device, SMALL_STENCILS[name], SHAPE)
        assert kernels(compiled)["XLA"] <= most
        assert compiled.memory_analysis().temp_size_in_bytes <= 2**16


def test_sobel_edges_is_one_kernel_on_an_h100(h100):
    """On a TPU both derivatives are stored before they are stacked."""
    compiled = compiled_for(h100, jig.sobel_edges, SHAPE)
    assert kernels(compiled) == {"XLA": 1, "ours": 0}
    assert compiled.memory_analysis().temp_size_in_bytes <= 64


@pytest.mark.parametrize("operator", ["sobel5", "farid", ("gaussian", 1.0)], ids=str)
def test_a_large_stencil_stores_one_image_between_its_axes(h100, operator):
    gradient = functools.partial(
        jig.spatial_gradient, operator=operator, boundary="edge"
    )
    compiled = compiled_for(h100, gradient, SHAPE)
    assert kernels(compiled) == {"XLA": 3, "ours": 0}
    assert temporaries(compiled) <= 1.01


@pytest.mark.parametrize("penalty", ["l1", "l2", "huber", "charbonnier"])
def test_a_loss_and_its_derivative_store_nothing(h100, tpus, penalty):
    def loss(image):
        return losses.total_variation(image, penalty=penalty).sum()

    for function in (loss, jax.value_and_grad(loss)):
        for device in (h100, tpus[0]):
            compiled = compiled_for(device, function, SHAPE)
            assert kernels(compiled)["XLA"] <= 3
            assert temporaries(compiled) <= 0.01


@pytest.mark.parametrize("penalty", ["l1", "charbonnier"])
def test_coupled_channels_store_one_weight_per_pixel(h100, tpus, penalty):
    def loss(image):
        return losses.total_variation(
            image, penalty=penalty, channel_coupling=True
        ).sum()

    image = (16, 512, 512, 3)
    for device, most in ((h100, 5), (tpus[0], 9)):
        value = compiled_for(device, loss, image)
        assert kernels(value)["XLA"] <= 4
        assert temporaries(value) <= 0.01
        both = compiled_for(device, jax.value_and_grad(loss), image)
        assert kernels(both)["XLA"] <= most
        assert temporaries(both) <= 0.45


def test_the_weight_of_coupled_channels_is_computed_once_per_pixel(h100):
    """It is not computed again for each channel."""

    def loss(image):
        return losses.total_variation(image, channel_coupling=True).mean()

    image = (4, 256, 256, 8)
    both = compiled_for(h100, jax.value_and_grad(loss), image)
    assert 0 < programs.evaluations(both, "rsqrt") <= math.prod(image[:-1])
