"""Properties of stencils, and every transformation and sharding of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stencil_oracle as oracle
from cases import random_array, tolerance, x64_if
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType
from jax.test_util import check_grads
from stencil_oracle import BOUNDARIES, EXTRAPOLATIONS, GAUSSIAN, OPERATORS
from test_sharding import collectives, shard

import jax_imgrad as jig

boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
# An asymmetric stencil, one with several taps, and one that is applied axis by axis.
# The tested properties do not depend on the taps.
kinds = pytest.mark.parametrize("operator", ["backward", "sobel5", GAUSSIAN], ids=str)
modes = pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])

choices = st.fixed_dictionaries(
    {
        "operator": st.sampled_from(OPERATORS),
        "boundary": st.tuples(*[st.sampled_from(BOUNDARIES)] * 2),
        "spacing": st.tuples(*[st.sampled_from([1.0, 0.3, 2.5])] * 2),
        "scale": st.sampled_from(["derivative", "raw"]),
        "axes": st.sampled_from([(0, 1), (1, 2), (2, 0)]),
    }
)


def inner(a, b):
    return sum(
        complex(np.vdot(np.asarray(x, "c16"), np.asarray(y, "c16")))
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.fast
@settings(max_examples=40)
@given(
    options=choices,
    dtype=st.sampled_from(["bfloat16", "float32", "float64", "complex64"]),
    masked=st.booleans(),
    one_sided=st.booleans(),
    seed=st.integers(0, 99),
)
def test_divergence_is_minus_the_adjoint(options, dtype, masked, one_sided, seed):
    if one_sided and options["operator"] in ("forward", "backward", "central"):
        options = {**options, "one_sided": True}
    shape = (9, 5, 8)
    where = np.random.default_rng(seed).random(shape) > 0.2 if masked else None
    with x64_if(dtype):
        x, *p = (random_array(shape, dtype, seed + i) for i in range(3))
        gradient = jig.spatial_gradient(x, where=where, **options)
        flow = jig.divergence(tuple(p), where=where, **options)
    left, right = inner(gradient, p), -inner([x], [flow])
    # Each side is a sum of this many rounded terms.
    size = inner(map(np.abs, map(np.asarray, gradient)), map(np.abs, p)).real
    size += inner([np.abs(x)], [np.abs(flow)]).real
    assert abs(left - right) <= tolerance(dtype) * (size + 1)


@pytest.mark.fast
@boundaries
@kinds
def test_divergence_is_minus_the_transpose_in_jax(operator, boundary):
    options = {"operator": operator, "boundary": boundary, "axes": (0, 1)}
    x, *p = (jnp.asarray(random_array((5, 6), "float32", seed)) for seed in range(3))

    def gradient(x):
        return jig.spatial_gradient(x, **options)

    (transposed,) = jax.linear_transpose(gradient, x)(tuple(p))
    np.testing.assert_array_equal(transposed, -jig.divergence(tuple(p), **options))
    (back,) = jax.linear_transpose(lambda p: jig.divergence(p, **options), tuple(p))(x)
    for one, other in zip(back, gradient(x), strict=True):
        np.testing.assert_allclose(one, -other, rtol=1e-6, atol=1e-6)


@pytest.mark.fast
@boundaries
@kinds
def test_transposing_the_image_swaps_dy_and_dx(operator, boundary):
    options = {"operator": operator, "boundary": boundary, "axes": (0, 1)}
    x = random_array((5, 7), "float32")
    dy, dx = jig.spatial_gradient(x, **options)
    dx_of_transposed, dy_of_transposed = jig.spatial_gradient(x.T, **options)
    np.testing.assert_allclose(dy, dy_of_transposed.T, atol=1e-5)
    np.testing.assert_allclose(dx, dx_of_transposed.T, atol=1e-5)


@boundaries
def test_transformations(boundary):
    options = {"operator": "sobel", "boundary": boundary}
    images = random_array((3, 2, 4, 5, 2), "float32")
    wide = [oracle.gradient(image, **options) for image in images]

    def gradient(x):
        return jig.spatial_gradient(x, **options)

    for axis in (0, 2):
        mapped = jax.vmap(gradient, in_axes=axis)(np.moveaxis(images, 0, axis))
        for ours, *theirs in zip(mapped, *wide, strict=True):
            np.testing.assert_allclose(ours, np.stack(theirs), atol=1e-5)
    _, along = jax.jvp(gradient, (images[0],), (images[1],))
    for ours, theirs in zip(along, wide[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("in_axes", [(1, None), (None, 2)])
def test_vmap_over_one_part_alone(in_axes):
    options = {"operator": "sobel", "boundary": ("edge", "wrap"), "axes": (0, 1)}
    several = random_array((3, 4, 5), "float32")
    one = random_array((4, 5), "float32", seed=1)
    given = [one if axis is None else np.moveaxis(several, 0, axis) for axis in in_axes]
    ours = jax.vmap(lambda *parts: jig.divergence(parts, **options), in_axes)(*given)
    each = [[one if axis is None else mapped for axis in in_axes] for mapped in several]
    wide = [oracle.divergence(parts, **options) for parts in each]
    np.testing.assert_allclose(ours, np.stack(wide), atol=1e-5)


def test_derivatives_to_second_order():
    x = random_array((3, 4), "float32")

    def loss(x):
        options = {"operator": "scharr", "axes": (0, 1), "boundary": "symmetric"}
        dy, dx = jig.spatial_gradient(x, **options)
        seconds = jig.second_derivatives(x, axes=(0, 1))
        flow = jig.divergence((jnp.sin(dy), dx), **options)
        return jnp.sum(dy**2 * dx) + jnp.sum(flow**2) + jnp.sum(seconds[1] ** 3)

    check_grads(loss, (x,), order=2, modes=["fwd", "rev"], rtol=0.05, atol=0.05)
    assert np.isfinite(jax.hessian(loss)(x)).all()


def test_no_residual_is_kept_for_the_backward_pass():
    def gradient(x):
        return jig.spatial_gradient(x, operator="sobel", boundary="edge")

    _, pullback = jax.vjp(gradient, random_array((1, 8, 8, 1), "float32"))
    assert not jax.tree.leaves(pullback)


@boundaries
@pytest.mark.parametrize("operator", ["sobel", ("gaussian", 0.8)], ids=str)
def test_export_with_unknown_sizes(operator, boundary):
    options = {"operator": operator, "boundary": boundary}

    def both(x):
        def gradient(x):
            return jig.spatial_gradient(x, **options)

        return gradient(x), jax.vjp(gradient, x)[1](gradient(x))

    least = 6 if operator != "sobel" else 3 if boundary == "quadratic" else 2
    constraints = [f"h >= {least}", f"w >= {least}"]
    shape = jax.export.symbolic_shape("b, h, w, c", constraints=constraints)
    exported = jax.export.export(jax.jit(both), platforms=["cpu", "cuda", "tpu"])(
        jax.ShapeDtypeStruct(shape, "float32")
    )
    for size in [(1, least, least, 1), (2, least + 1, 9, 3)]:
        image = random_array(size, "float32")
        parts, (pulled,) = exported.call(image)
        wide = oracle.gradient(image, **options)
        for ours, theirs in zip(parts, wide, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        flow = oracle.divergence(wide, **options)
        np.testing.assert_allclose(pulled, -flow, rtol=1e-5, atol=1e-5)


# The reach of the taps before and after a pixel.
REACHES = {"forward": (0, 1), "backward": (1, 0), "sobel": (1, 1), "sobel5": (2, 2)}


@boundaries
@pytest.mark.parametrize("operator", REACHES)
def test_export_names_the_smallest_size(operator, boundary):
    """The number of pixels that the taps span, or that the boundary reads."""
    before, after = REACHES[operator]
    least = before + after
    if boundary == "reflect":
        least = max(least, max(before, after) + 1)
    if boundary in EXTRAPOLATIONS:
        least = max(least, {"linear": 2, "quadratic": 3}[boundary])
    if boundary == "edge":
        least = min(least, 2)
    if boundary in ("interior", "constant"):
        least = 0
    options = {"operator": operator, "boundary": boundary, "axes": (0,)}

    def export(promised):
        shape = jax.export.symbolic_shape("n", constraints=[f"n >= {promised}"])
        gradient = jax.jit(lambda x: jig.spatial_gradient(x, **options)[0])
        return jax.export.export(gradient)(jax.ShapeDtypeStruct(shape, "float32"))

    if least > 1:  # JAX assumes at least one
        with pytest.raises(
            ValueError, match=f"must have at least {least} pixels; promise"
        ):
            export(least - 1)
    exported = export(least)
    for size in range(max(1, least), least + 3):
        x = random_array((size,), "float32")
        (wide,) = oracle.gradient(x, **options)
        np.testing.assert_allclose(exported.call(x), wide, atol=1e-5)


def test_export_of_other_operators_names_the_smallest_size():
    image = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, h, w, c"), "float32")
    for boundary in ("interior", "constant"):  # any
        jax.export.export(jax.jit(lambda x, b=boundary: jig.laplacian(x, boundary=b)))(
            image
        )
    with pytest.raises(ValueError, match=r"must have at least 2 pixels; promise that"):
        jax.export.export(jax.jit(lambda x: jig.sobel_edges(x)))(image)


SHAPE = (8, 16, 24, 3)


@modes
@pytest.mark.parametrize(
    ("layout", "boundary"),
    [("batch", "edge"), ("rows", "reflect"), ("rows", "wrap")]
    + [("rows and columns", boundary) for boundary in BOUNDARIES],
)
def test_sharded(layout, boundary, mode):
    options = {"operator": "sobel", "boundary": boundary}
    image = random_array(SHAPE, "float32")
    sharded = shard(image, layout, mode)

    def gradient(x):
        return jig.spatial_gradient(x, **options)

    parts = jax.jit(gradient)(sharded)
    expected = oracle.gradient(image, **options)
    for ours, wide in zip(parts, expected, strict=True):
        np.testing.assert_allclose(ours, wide, rtol=1e-5, atol=1e-5)
        assert ours.sharding.is_equivalent_to(sharded.sharding, 4)
    flow = jax.jit(lambda p: jig.divergence(p, **options))(parts)
    wide = oracle.divergence(expected, **options)
    np.testing.assert_allclose(flow, wide, rtol=1e-5, atol=1e-5)
    assert flow.sharding.is_equivalent_to(sharded.sharding, 4)


@modes
@pytest.mark.parametrize("boundary", ["interior", "edge", "reflect", "linear"])
def test_two_exchanges_of_a_row(boundary, mode):
    sharded = shard(random_array(SHAPE, "float32"), "rows", mode)

    def gradient(x):
        return jig.spatial_gradient(x, operator="sobel", boundary=boundary)

    compiled = jax.jit(gradient).lower(sharded).compile()
    found = collectives(compiled)
    assert {kind for kind, _ in found} == {"collective-permute"}
    assert {shape[1] for _, shape in found} == {1}
    assert len(found) == 2


def test_sharded_batch_needs_no_exchange():
    sharded = shard(random_array(SHAPE, "float32"), "batch", AxisType.Auto)
    gradient = jax.jit(lambda x: jig.spatial_gradient(x, operator="sobel7"))
    assert collectives(gradient.lower(sharded).compile()) == []
