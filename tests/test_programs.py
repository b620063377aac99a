"""Programs for a CPU: the images that they store, and the operations they repeat.

Nothing is timed. Each bound is kept by an optimization barrier: without it, XLA stores
more, or evaluates an operation more often.
"""

import functools
import math
import re

import jax
import jax.numpy as jnp
import programs
import pytest
from cases import of_a_cpu
from public import CALLS

import jax_imgrad as jig
from jax_imgrad import losses
from jax_imgrad._backends.xla_cpu import _sums

# Earlier versions of XLA for CPU removed the barriers before they fused operations.
NEW = jax.__version_info__ >= (0, 11, 1)
barriers_hold = pytest.mark.skipif(not NEW, reason="XLA for CPU ignores barriers")
pytestmark = of_a_cpu

IMAGES, GRAY = (4, 256, 256, 3), (1, 512, 512, 1)
gradient = functools.partial(jig.spatial_gradient, boundary="edge")
SOBEL = functools.partial(gradient, operator="sobel")
SOBEL5 = functools.partial(gradient, operator="sobel5")
GAUSSIAN = functools.partial(gradient, operator=("gaussian", 1.0))
TENSOR = functools.partial(jig.structure_tensor, boundary="edge")
COUPLED = functools.partial(losses.total_variation, channel_coupling=True)


ONE_SIDED = functools.partial(jig.spatial_gradient, operator="central", one_sided=True)


def adjoint_of_one_sided(image):
    return jig.divergence((image, image), operator="central", one_sided=True)


def divergence(image):
    return jig.divergence((image, image), operator="sobel", boundary="edge")


def eigenvalues(*parts):
    return jig.eigenvalues(parts)


def eigenvectors(*parts):
    return jig.eigenvectors(parts)


def masked(image):
    return losses.total_variation(
        image, penalty="charbonnier", isotropic=True, where=image > 0
    )


def mean_of(loss):
    """The mean over the images, and its derivative in the first argument."""
    return jax.value_and_grad(lambda *images: loss(*images).mean())


def squares_of(operator):
    def loss(image):
        return sum(jnp.vdot(part, part) for part in operator(image))

    return jax.value_and_grad(loss)


def compiled(function, shape, images=1):
    image = jax.ShapeDtypeStruct(shape, "float32")
    return jax.jit(function).lower(*[image] * images).compile()


def temporaries(program, shape):
    """The size of the temporaries, in images."""
    return program.memory_analysis().temp_size_in_bytes / (4 * math.prod(shape))


def test_evaluations_are_counted_for_each_index():
    def function(image):
        there = jnp.tanh(jnp.abs(image))
        return (there + there**2)[:, 1:] - there[:, :-1] + jnp.tanh(image)[:, 1:]

    program = compiled(function, (5, 9))
    assert programs.evaluations(program, "tanh") == 5 * 8 * 3
    assert programs.evaluations(program, "abs") == 5 * 8 * 2


# The function, its input, the number of inputs, and the limit in images.
STORED = {
    "laplacian_edge": (losses.laplacian_edge, IMAGES, 2, 5.1),
    "its derivative": (mean_of(losses.laplacian_edge), IMAGES, 2, 5.1),
    "structure_tensor": (TENSOR, IMAGES, 1, 2.3),
    "divergence": (divergence, IMAGES, 1, 0.2),
    "one-sided differences": (ONE_SIDED, IMAGES, 1, 0.05),
    "their adjoint": (adjoint_of_one_sided, IMAGES, 1, 0.05),
    "eigenvalues of 2×2": (eigenvalues, GRAY, 3, 0),
    "eigenvalues of 3×3": (eigenvalues, GRAY, 6, 0.2),
    "eigenvectors of 2×2": (eigenvectors, GRAY, 3, 0.2),
    "eigenvectors of 3×3": (eigenvectors, GRAY, 6, 0.2),
    "derivative of total_variation": (mean_of(losses.total_variation), GRAY, 1, 0.05),
    "coupled": (mean_of(COUPLED), IMAGES, 1, 2),
    "coupled, by the definition": (
        mean_of(functools.partial(COUPLED, implementation="xla")),
        *(IMAGES, 1, 2.4),
    ),
}


@barriers_hold
@pytest.mark.parametrize("name", STORED)
def test_temporaries_are_few(name):
    function, shape, images, most = STORED[name]
    assert temporaries(compiled(function, shape, images), shape) <= most


def test_the_flux_of_a_masked_loss_is_not_stored():
    """It is computed twice instead. JAX 0.10 stores a part of the masks."""
    most = 1.6 if NEW else 2.5
    assert temporaries(compiled(mean_of(masked), IMAGES), IMAGES) <= most


# The number of evaluations of an operation per element of the images.
COMPUTED = {
    "a Gaussian by the definition": (
        functools.partial(GAUSSIAN, implementation="xla"),
        *(IMAGES, 1, "multiply", 2 * (9 + 9)),
    ),
    "a Gaussian of a long axis by the definition": (
        functools.partial(GAUSSIAN, boundary="reflect", implementation="xla"),
        *((1, 5000, 64, 1), 1, "select", 20),
    ),
    "the gradient in structure_tensor": (TENSOR, IMAGES, 1, "multiply", 90),
    "the weights of edges": (
        mean_of(losses.edge_aware_smoothness),
        *(GRAY, 2, "select", 18),
    ),
    "the flux of two images": (
        mean_of(losses.gradient_difference),
        *((1, 256, 256, 3), 2, "sign", 4),
    ),
}


@barriers_hold
@pytest.mark.parametrize("name", COMPUTED)
def test_operations_are_not_repeated_for_each_neighbor(name):
    function, shape, images, operation, most = COMPUTED[name]
    times = programs.evaluations(compiled(function, shape, images), operation)
    assert 0 < times / math.prod(shape) <= 1.01 * most


@barriers_hold
def test_a_loop_of_a_sum_adds_up_few_terms():
    """Loops with more terms were measured to be slower."""
    program = compiled(losses.total_variation, IMAGES)
    terms = [fusion.count("abs") for fusion in programs.fusions(program)]
    assert 0 < max(terms) <= 2 * _sums._TERMS  # a difference along each axis


@barriers_hold
def test_channels_are_split_before_they_are_weighted():
    """Otherwise the loop gathers each channel from the interleaved image."""
    program = compiled(mean_of(COUPLED), IMAGES)
    loops = [f.sizes for f in programs.fusions(program) if f.count("rsqrt")]
    (sizes,) = loops
    assert sizes[: IMAGES[-1]] == [math.prod(IMAGES[:-1])] * IMAGES[-1]


# The limits of the number of copies: of newer versions, and of JAX 0.10.
COPIED = {
    "a stencil": (SOBEL5, GRAY, 1, 0, 2),
    "its derivative": (squares_of(SOBEL), IMAGES, 1, 0, 1),
    "a weighted loss": (mean_of(losses.edge_aware_smoothness), GRAY, 2, 0, 0),
}


@pytest.mark.parametrize("name", COPIED)
def test_long_rows_are_not_copied(name):
    function, shape, images, new, old = COPIED[name]
    program = compiled(function, shape, images)
    assert program.as_text().count(" copy(") <= (new if NEW else old)


def test_a_difference_and_its_derivative_store_two_images():
    """The differences: its backward pass reads them in one loop."""
    program = compiled(squares_of(jig.image_gradients), IMAGES)
    assert temporaries(program, IMAGES) <= 2.1


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_no_padding_is_of_zero_width(call, platform):
    image = jax.ShapeDtypeStruct(call.shape((2, 12, 14, 3)), "float32")
    mask = jax.ShapeDtypeStruct(image.shape, bool)
    operands = [image] * call.arrays + [mask] * call.masked

    def function(*arrays):
        if not call.masked:
            return call.function()(*arrays)
        *arrays, where = arrays
        return call.function(where=where)(*arrays)

    traced = jax.jit(function).trace(*operands)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    for widths in re.findall(r"stablehlo\.pad .*?(low = .*?) :", text):
        assert re.search("[1-9]", widths), widths
