"""implementation=None works everywhere; a name never falls back to another."""

import functools
import subprocess
import sys
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mesh_of, of_a_cpu
from jax.sharding import AxisType

import jax_imgrad as jig
from jax_imgrad import _backends
from jax_imgrad.typing import Implementation

pytestmark = pytest.mark.fast

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def lowered(platform, implementation, dtype="float32"):
    image = jax.ShapeDtypeStruct((2, 16, 24, 3), dtype)

    def both(image):
        pair = jig.image_gradients(image, implementation=implementation)
        return jig.divergence(pair, implementation=implementation)

    traced = jax.jit(both).trace(image)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("implementation", [None, "xla"])
def test_the_definition_lowers_everywhere(platform, implementation):
    assert "custom_call" not in lowered(platform, implementation)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_kernel_asked_for_is_in_the_program(dtype):
    program = lowered("tpu", "pallas_tpu", dtype)
    assert program.count("stablehlo.custom_call @tpu_custom_call") == 2
    assert 'kernel_name = "image_gradients_pallas_tpu"' in program
    assert 'kernel_name = "divergence_pallas_tpu"' in program


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm"])
def test_the_kernel_is_refused_elsewhere(platform):
    sentence = (
        "implementation='pallas_tpu' cannot be used here: it computes on tpu only, and "
        f"this is compiled for {platform}; use implementation=None"
    )
    with pytest.raises(NotImplementedError, match=f"^{sentence}"):
        lowered(platform, "pallas_tpu")


def test_the_kernel_is_refused_in_an_export_for_several_platforms():
    gradients = jax.jit(lambda x: jig.image_gradients(x, implementation="pallas_tpu"))
    image = jax.ShapeDtypeStruct((1, 8, 8, 3), "float32")
    with pytest.raises(NotImplementedError, match="cannot be used here"):
        jax.export.export(gradients, platforms=["cpu", "tpu"])(image)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((1, 4, 4, 1), "float16"), "it computes in float32 and bfloat16 only"),
        (np.zeros((1, 4, 4, 1), "int32"), "it computes in float32 and bfloat16 only"),
        (
            np.zeros((1, 8, 70000, 3), "float32"),
            "blocks of whole rows of 70000 columns",
        ),
        (
            np.zeros((1, 8, 5000, 128), "float32"),
            "blocks of whole rows of 5000 columns",
        ),
    ],
)
def test_the_kernel_is_refused_with_the_reason(image, reason):
    sentence = f"^implementation='pallas_tpu' cannot be used here: {reason}"
    with pytest.raises(NotImplementedError, match=sentence):
        jig.image_gradients(image, implementation="pallas_tpu")


@pytest.mark.parametrize(
    ("shape", "widest"),  # for blocks of 2 MiB, padded to whole registers
    [
        ((1, 8, 0, 3), 1 << 16),  # 8 rows in float32
        ((2, 5, 0, 3), 1 << 16),  # one row, padded to 8 by the batch
        ((1, 5, 0, 4), 1 << 16),  # one row of 4 channels, padded to 8
        ((1, 8, 0, 128), 1 << 12),  # one row of 128 channels
    ],
)
def test_the_widest_rows_of_a_kernel(shape, widest):
    def lowered(width):
        batch, height, _, channels = shape
        image = jax.ShapeDtypeStruct((batch, height, width, channels), "float32")
        gradients = functools.partial(jig.image_gradients, implementation="pallas_tpu")
        traced = jax.jit(gradients).trace(image)
        return traced.lower(lowering_platforms=("tpu",)).as_text()

    assert "tpu_custom_call" in lowered(widest)
    with pytest.raises(NotImplementedError, match="blocks of whole rows of"):
        lowered(widest + 1)


def test_the_kernel_is_refused_where_vmap_makes_blocks_too_wide():
    each = jax.vmap(
        lambda x: jig.image_gradients(x, implementation="pallas_tpu"), in_axes=4
    )
    image = jax.ShapeDtypeStruct((1, 8, 16000, 3, 128), "float32")
    with pytest.raises(NotImplementedError, match="under vmap: blocks of whole rows"):
        jax.eval_shape(each, image)


def test_the_kernel_is_refused_for_unknown_sizes():
    gradients = jax.jit(lambda x: jig.image_gradients(x, implementation="pallas_tpu"))
    shape = jax.export.symbolic_shape("b, h, w, 3")
    with pytest.raises(NotImplementedError, match="a shape of known numbers"):
        jax.export.export(gradients, platforms=["tpu"])(
            jax.ShapeDtypeStruct(shape, "float32")
        )


@of_a_cpu
def test_a_refusal_is_not_remembered():
    """A kernel refused on a CPU runs there when interpreted, and vice versa."""
    from jax.experimental.pallas import tpu as pltpu

    image = jnp.ones((1, 4, 4, 1))
    for _ in range(2):
        with pytest.raises(NotImplementedError, match="compiled for cpu"):
            jig.image_gradients(image, implementation="pallas_tpu")
        with pltpu.force_tpu_interpret_mode():
            jig.image_gradients(image, implementation="pallas_tpu")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_stencils_of_one_device(platform):
    def gradient(image, implementation=None):
        return jig.spatial_gradient(
            image, operator="sobel", implementation=implementation
        )

    def lowered(device_count, implementation=None):
        mesh = mesh_of(AxisType.Auto, x=device_count)
        sharding = jax.NamedSharding(mesh, jax.P("x"))
        image = jax.ShapeDtypeStruct((8, 16, 24, 3), "float32", sharding=sharding)
        traced = jax.jit(gradient, static_argnums=1).trace(image, implementation)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    fastest = "xla_cpu" if platform == "cpu" else "xla"
    assert lowered(1) == lowered(1, fastest)
    assert lowered(8) == lowered(8, "xla")
    # On one device, each tap shifts the image itself, not a shifted image.
    assert lowered(1, "xla") != lowered(8, "xla").replace("num_partitions = 8", "")
    assert lowered(1, "xla") != lowered(1, "xla_cpu")


def test_the_registry_has_every_name():
    assert tuple(_backends.BACKENDS) == get_args(Implementation)


def test_a_back_end_without_losses_is_refused():
    sentence = (
        "implementation='pallas_tpu' cannot be used here: losses are computed by 'xla' "
        "or 'xla_cpu'; use implementation=None"
    )
    with pytest.raises(NotImplementedError, match=f"^{sentence}"):
        jig.total_variation(jnp.zeros((1, 4, 4, 1)), implementation="pallas_tpu")


OTHER_MAPS = {
    "another operator": {"operator": "central"},
    "another boundary": {"boundary": "edge"},
    "another boundary along one axis": {"boundary": ("interior", "edge")},
    "a spacing": {"spacing": 2.0},
    "one axis": {"axes": (1,)},
    "three axes": {"axes": (1, 2, 3)},
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_kernel_is_called_for_an_empty_image(platform):
    gradients = jax.jit(lambda x: jig.image_gradients(x, implementation="pallas_tpu"))
    traced = gradients.trace(jax.ShapeDtypeStruct((0, 4, 4, 1), "float32"))
    assert "custom_call" not in traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("options", OTHER_MAPS.values(), ids=OTHER_MAPS)
def test_the_kernel_names_the_stencils_that_it_computes(options):
    image = jnp.zeros((2, 5, 6, 3))
    options |= {"implementation": "pallas_tpu"}
    sentence = "its kernels compute forward differences along two axes with boundary="
    with pytest.raises(NotImplementedError, match=sentence):
        jig.spatial_gradient(image, **options)
    pair = [image] * len(options.get("axes", (1, 2)))
    with pytest.raises(NotImplementedError, match=sentence):
        jig.divergence(pair, **options)


@of_a_cpu
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((7, 5), (0, 1)), ((7, 5), (1, 0)), ((3, 7, 5), (-2, -1)), ((2, 7, 3, 5), (1, 3))],
)
def test_the_kernel_in_any_rank(shape, axes):
    from jax.experimental.pallas import tpu as pltpu

    image = jnp.asarray(np.random.default_rng(0).random(shape, "float32"))

    def both(image, implementation):
        options = {"axes": axes, "implementation": implementation}
        parts = jig.spatial_gradient(image, **options)
        return *parts, jig.divergence(parts, **options)

    with pltpu.force_tpu_interpret_mode(
        pltpu.InterpretParams(uninitialized_memory="nan")
    ):
        ours = both(image, "pallas_tpu")
        slope = jax.grad(lambda x: jnp.sum(both(x, "pallas_tpu")[0] ** 2))(image)
    for one, other in zip(ours, both(image, "xla"), strict=True):
        np.testing.assert_array_equal(one, other)
    expected = jax.grad(lambda x: jnp.sum(both(x, "xla")[0] ** 2))(image)
    np.testing.assert_allclose(slope, expected, 1e-6)


@of_a_cpu
def test_a_fault_of_a_kernel_is_not_a_refusal(monkeypatch):
    """An error in a kernel is raised unchanged, on a TPU and when interpreted."""
    from jax.experimental.pallas import tpu as pltpu

    from jax_imgrad._backends import pallas_tpu

    def faulty(*refs, sign, last_row, columns):
        raise ValueError("a fault of the kernel")

    monkeypatch.setattr(pallas_tpu, "_image_gradients_kernel", faulty)
    image = jnp.ones((1, 5, 9, 1))  # a shape of its own, so that it is compiled here
    with pytest.raises(ValueError, match="a fault of the kernel"):
        lowered("tpu", "pallas_tpu")
    with (
        pltpu.force_tpu_interpret_mode(),
        pytest.raises(ValueError, match="a fault of the kernel"),
    ):
        jig.image_gradients(image, implementation="pallas_tpu")


def test_pallas_is_imported_lazily():
    code = (
        "import sys, jax_imgrad\n"
        "assert 'jax_imgrad._backends.pallas_tpu' not in sys.modules\n"
        "assert 'jax.experimental.pallas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
