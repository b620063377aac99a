"""The sum of a penalty and its derivative, for every implementation."""

import functools

import jax
import jax.numpy as jnp
import loss_oracle as oracle
import numpy as np
import pytest
from cases import mesh_of, of_a_cpu, random_array, x64_if
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from jax_imgrad._functional import functional
from jax_imgrad._norms import absolute
from jax_imgrad._penalties import PENALTIES, Coupled, Variation
from jax_imgrad._stencils import AxisSpec, gradient

# Rows of less than 128 numbers are joined; rows of 192 are not.
CASES = [
    ((1, 1, 1, 1), (1, 2)),
    ((2, 1, 9, 3), (1, 2)),
    ((2, 9, 1, 3), (1, 2)),
    ((2, 5, 6, 1), (1, 2)),
    ((2, 5, 6, 3), (1, 2)),
    ((3, 4, 5, 64), (1, 2)),
    ((1, 40, 200, 3), (1, 2)),
    ((2, 4, 5, 7, 3), (1, 2, 3)),
    ((2, 4, 5, 7, 3), (1, 3)),
    ((2, 3, 4, 30, 5), (1, 2, 3)),  # rows of planes
    ((2, 3, 4, 50, 3), (1, 2, 3)),
    ((2, 6, 300), (1,)),
    ((2, 6, 300), (2,)),
    ((0, 4, 5, 3), (1, 2)),
    ((0, 4, 64, 3), (1, 2)),
    ((2, 0, 5, 3), (1, 2)),
    ((2, 0, 64, 3), (1, 2)),
    ((2, 4, 0, 3), (1, 2)),
    ((2, 4, 5, 0), (1, 2)),
]
SMALL = random_array((1, 3, 2, 2), "float32")
IMAGE = random_array((2, 5, 6, 3), "float32")

# The tests of the public functions cover the default, None, which picks one of these.
ways = both = pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])


def forward(axes):
    """The forward differences along the axes, on a unit grid with an open border."""
    return gradient("forward", "raw", [AxisSpec(a, "interior", 1.0) for a in axes])


def tv(image, scale=1.0, name="l1", isotropic=False, axes=(1, 2), implementation=None):
    """Total variation, `[B]`, computed by the engine directly."""
    return functional(
        Variation(name, isotropic),
        [image],
        [jnp.asarray(scale, jnp.float32)],
        stencils=forward(axes),
        implementation=implementation,
    )


def edges(differences, parameters):
    """A smooth penalty of two images, with a weight for each pixel."""
    (weight,), (p, t) = parameters, differences
    parts = [weight * jnp.square(jnp.sin(a) - b) for a, b in zip(p, t, strict=True)]
    return functools.reduce(jnp.add, parts)


def two_images(p, t, weight, implementation=None):
    return functional(
        edges, [p, t], [weight], stencils=forward((1, 2)), implementation=implementation
    )


def sliced_edges(p, t, weight):
    """The same with slices, which JAX differentiates by its own rules."""
    total = 0
    for axis in (1, 2):
        first = (slice(None),) * axis + (slice(-1),)
        dp, dt = jnp.diff(p, axis=axis), jnp.diff(t, axis=axis)
        total += (weight[first] * (jnp.sin(dp) - dt) ** 2).sum((1, 2, 3))
    return total


def sliced(rho, image, scale):
    return sum(rho(jnp.diff(image, axis=a), scale).sum((1, 2, 3)) for a in (1, 2))


def sliced_huber(image, scale):
    def rho(d, s):
        d = jnp.abs(d)
        return jnp.where(d <= s, d**2 / (2 * s), d - s / 2)

    return sliced(rho, image, scale)


def close(ours, expected, tolerance=1e-5):
    for one, other in zip(
        jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def wide_sums(image, axes):
    """The sum of each image and its derivative, from the oracle."""
    along = [oracle.difference(oracle.wide(image), axis) for axis in axes]
    value = sum(oracle.per_image(np.abs(d)) for d in along)
    return value, oracle.minus_divergence([np.sign(d) for d in along], axes)


def weighted_sum(function, image):
    """A loss with a different derivative with respect to each sum."""
    values = function(image)
    return jnp.sum(values * jnp.arange(1, 1 + len(values), dtype=values.dtype)), values


@ways
@pytest.mark.parametrize(
    ("shape", "axes", "dtype"),
    [(*case, "float32") for case in CASES]
    + [(*case, dtype) for case in CASES[4:8] for dtype in ("bfloat16", "float64")],
)
def test_value_and_derivative(shape, axes, dtype, implementation):
    with x64_if(dtype):
        image = jnp.asarray(random_array(shape, dtype))
        ours = functools.partial(tv, axes=axes, implementation=implementation)
        loss = functools.partial(weighted_sum, ours)
        derivative, values = jax.grad(loss, has_aux=True)(image)
    value, field = wide_sums(image, axes)
    assert values.dtype == ("float64" if dtype == "float64" else "float32")
    assert derivative.dtype == dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    close(values, value, tolerance)
    weights = np.arange(1, 1 + shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    close(np.asarray(derivative, "float64"), weights * field, 1e-12)


@ways
def test_float32_with_x64_enabled(implementation):
    ours = functools.partial(tv, implementation=implementation)
    with jax.enable_x64(True):
        image = jnp.asarray(IMAGE)
        derivative = jax.grad(lambda image: ours(image).sum())(image)
        assert ours(image).dtype == derivative.dtype == "float32"
    close(derivative, wide_sums(IMAGE, (1, 2))[1])


@pytest.mark.parametrize("shape", [(1, 4, 90, 3), (2, 3, 4, 50, 3)])
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_implementations_agree(name, isotropic, shape):
    def derivatives(implementation):
        def loss(image, scale):
            axes = tuple(range(1, len(shape) - 1))
            ours = tv(image, scale, name, isotropic, axes, implementation)
            return weighted_sum(lambda _: ours, image)

        both = jax.value_and_grad(loss, (0, 1), has_aux=True)
        return both(random_array(shape, "float32"), jnp.float32(0.7))

    close(derivatives("xla_cpu"), derivatives("xla"), 3e-5)


@ways
@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (1, 4, 90, 3)])
def test_derivative_in_two_images_and_pixel_weights(shape, implementation):
    operands = [random_array(shape, "float32", seed) for seed in range(3)]

    def all_of(function):
        loss = lambda *given: weighted_sum(lambda _: function(*given), None)  # noqa: E731
        return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(*operands)

    ours = functools.partial(two_images, implementation=implementation)
    close(all_of(ours), all_of(sliced_edges), 3e-5)


@ways
def test_derivative_in_one_of_two_images(implementation):
    p, t, w = (random_array(IMAGE.shape, "float32", seed) for seed in range(3))
    ours = jax.grad(lambda t: two_images(p, t, w, implementation).sum())(t)
    close(ours, jax.grad(lambda t: sliced_edges(p, t, w).sum())(t))


@ways
def test_derivative_in_delta(implementation):
    ours = jax.jacrev(lambda s: tv(IMAGE, s, "huber", False, (1, 2), implementation))
    close(ours(0.7), jax.jacrev(lambda s: sliced_huber(IMAGE, s))(0.7))
    forward = jax.jacfwd(lambda s: tv(IMAGE, s, "huber", False, (1, 2), implementation))
    close(forward(0.7), ours(0.7))


@ways
def test_finite_differences(implementation):
    def loss(image, scale):
        return functional(
            Variation("charbonnier"),
            [image],
            [scale],
            stencils=forward((1, 2)),
            implementation=implementation,
        )

    with jax.enable_x64(True):
        given = (jnp.asarray(SMALL.astype("float64")), jnp.float64(0.7))
        check_grads(loss, given, order=2, modes=["fwd", "rev"])


@ways
def test_complex(implementation):
    image = random_array((2, 3, 4, 2), "complex64")

    def plain(image):
        return sliced(lambda d, _: jnp.abs(d), image, None).sum()

    value, derivative = jax.value_and_grad(
        lambda image: tv(image, implementation=implementation).sum()
    )(image)
    close((value, derivative), jax.value_and_grad(plain)(image))
    tangent = random_array(image.shape, "complex64", seed=1)
    ours = functools.partial(tv, implementation=implementation)
    _, along = jax.jvp(lambda image: ours(image).sum(), (image,), (tangent,))
    close(along, jax.jvp(plain, (image,), (tangent,))[1])


@ways
def test_jvp(implementation):
    tangents = (random_array(IMAGE.shape, "float32", seed=1), 0.3)
    ours = functools.partial(tv, name="huber", implementation=implementation)
    close(
        jax.jvp(ours, (IMAGE, 0.7), tangents),
        jax.jvp(sliced_huber, (IMAGE, 0.7), tangents),
    )


@ways
def test_hessian(implementation):
    ours = functools.partial(tv, name="charbonnier", implementation=implementation)

    def plain(image, scale):
        return sliced(lambda d, s: jnp.sqrt(d**2 + s**2) - s, image, scale)

    def second(function, outer, inner):
        total = lambda image: function(image, jnp.float32(0.7)).sum()  # noqa: E731
        return outer(inner(total))(SMALL)

    expected = second(plain, jax.jacfwd, jax.jacrev)
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            close(second(ours, outer, inner), expected)


@ways
@pytest.mark.parametrize("axis", range(5))
def test_vmap_over_any_axis(axis, implementation):
    images = random_array((3, 2, 5, 6, 2), "float32")
    ours = functools.partial(tv, implementation=implementation)
    mapped = np.moveaxis(images, 0, axis)
    expected = [wide_sums(image, (1, 2)) for image in images]
    close(jax.vmap(ours, axis)(mapped), np.stack([value for value, _ in expected]))
    derivative = jax.grad(lambda image: ours(image).sum())
    close(
        jax.vmap(derivative, axis, axis)(mapped),
        np.stack([field for _, field in expected], axis),
    )


@ways
def test_vmap_over_delta(implementation):
    scales = np.float32([0.3, 0.7, 1.1])
    images = random_array((3, *IMAGE.shape), "float32")

    def both_derivatives(function):
        loss = lambda image, scale: function(image, scale).sum()  # noqa: E731
        return jax.value_and_grad(loss, (0, 1))

    ours = both_derivatives(
        functools.partial(tv, name="huber", implementation=implementation)
    )
    plain = both_derivatives(sliced_huber)
    each = [plain(IMAGE, scale) for scale in scales]
    close(jax.vmap(ours, (None, 0))(IMAGE, scales), stack(each))
    each = [plain(image, scale) for image, scale in zip(images, scales, strict=True)]
    close(jax.vmap(ours)(images, scales), stack(each))
    close(jax.vmap(ours, (3, 0))(np.moveaxis(images, 0, 3), scales), stack(each))


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@ways
def test_vmap_over_pixel_weights(implementation):
    p, t = (random_array(IMAGE.shape, "float32", seed) for seed in range(2))
    weights = random_array((3, *IMAGE.shape), "float32")
    ours = functools.partial(two_images, implementation=implementation)
    each = [sliced_edges(p, t, weight) for weight in weights]
    moved = np.moveaxis(weights, 0, 3)
    close(jax.vmap(ours, (None, None, 3))(p, t, moved), np.stack(each))


@ways
def test_vmap_nested(implementation):
    images = random_array((2, 3, *IMAGE.shape), "float32")
    ours = jax.vmap(jax.vmap(functools.partial(tv, implementation=implementation)))
    flat, _ = wide_sums(images.reshape(12, 5, 6, 3), (1, 2))
    close(ours(images), flat.reshape(2, 3, 2))


@ways
def test_checkpoint_and_scan(implementation):
    def loss(image):
        return tv(image, 0.7, "huber", False, (1, 2), implementation).sum()

    def step(image, _):
        return image - 0.1 * jax.grad(jax.checkpoint(loss))(image), None

    def descend(image):
        return jax.lax.scan(step, image, length=2)[0]

    plain = jax.grad(lambda image: sliced_huber(image, 0.7).sum())
    expected = IMAGE - 0.1 * plain(IMAGE)
    expected = expected - 0.1 * plain(expected)
    close(descend(jnp.asarray(IMAGE)), expected)
    close(jax.jit(descend)(IMAGE), expected)


@ways
def test_debug_nans_checking_leaks_and_no_jit(implementation):
    derivative = jax.grad(lambda i: tv(i, implementation=implementation).sum())
    expected = wide_sums(IMAGE, (1, 2))[1]
    with jax.debug_nans(True), jax.checking_leaks():
        close(derivative(IMAGE), expected)
    with jax.disable_jit():
        close(derivative(IMAGE), expected)


@ways
@pytest.mark.parametrize(
    ("dtype", "sums"), [("bfloat16", "float32"), ("float32", "float32")]
)
def test_eval_shape(dtype, sums, implementation):
    image = jax.ShapeDtypeStruct((2, 5, 6, 3), dtype)
    ours = functools.partial(tv, implementation=implementation)
    assert jax.eval_shape(ours, image) == jax.ShapeDtypeStruct((2,), sums)
    derivative = jax.grad(lambda image: ours(image).sum())
    assert jax.eval_shape(derivative, image) == image


def test_export_with_symbolic_shapes_for_every_platform():
    exported = jax.export.export(
        jax.jit(value_and_derivative), platforms=["cpu", "cuda", "tpu"]
    )(jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, h, w, c"), "float32"))
    called = jax.export.deserialize(exported.serialize()).call
    for shape in [(1, 1, 1, 1), (2, 5, 6, 3), (1, 9, 1, 2), (1, 3, 70, 2)]:
        image = random_array(shape, "float32")
        value, field = wide_sums(image, (1, 2))
        close(called(image), (value.sum(), field))


@both
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_constant_images_have_zero_derivative(name, isotropic, implementation):
    image = np.full((1, 2, 3, 2), 0.3, "float32")

    def loss(image):
        return tv(image, 0.7, name, isotropic, (1, 2), implementation).sum()

    assert loss(image) == 0
    first, second = jax.jvp(jax.grad(loss), (image,), (np.ones_like(image),))
    np.testing.assert_array_equal(first, 0 * image)
    assert np.isfinite(second).all()  # one entry of the Hessian that is not would show
    by_scale = jax.grad(
        lambda s: tv(image, s, name, isotropic, (1, 2), implementation).sum()
    )
    assert by_scale(0.7) == 0


# Shapes and axes for coupled channels: few, and more than a CPU reads side by side.
COUPLED = [
    ((1, 1, 1, 3), (1, 2)),
    ((2, 1, 9, 3), (1, 2)),
    ((2, 9, 1, 3), (1, 2)),
    ((2, 2, 2, 4), (1, 2)),
    ((2, 5, 6, 1), (1, 2)),
    ((2, 13, 30, 3), (1, 2)),
    ((1, 40, 70, 4), (1, 2)),
    ((2, 9, 30, 5), (1, 2)),
    ((2, 40, 31, 2), (1,)),
    ((2, 5, 60, 3), (2,)),
    ((40, 30, 3), (1,)),
    ((1, 211, 3), (1,)),
    ((2, 4, 5, 7, 3), (1, 2, 3)),
    ((2, 4, 5, 17, 3), (1, 3)),
    ((2, 0, 5, 3), (1, 2)),
]


def coupled(image, scale, *masks, name="l1", axes=(1, 2), implementation=None):
    """Total variation, `[B]`, with the gradient norm over all channels."""
    return functional(
        Coupled(name),
        [image],
        [jnp.asarray(scale, jnp.float32), *masks],
        stencils=forward(axes),
        implementation=implementation,
    )


def apart(image, scale, *masks, name="l1", axes=(1, 2)):
    """The same, with the channels passed as separate images."""
    channels = [image[..., channel] for channel in range(image.shape[-1])]
    return functional(
        Variation(name, True),
        channels,
        [jnp.asarray(scale, jnp.float32), *(mask[..., 0] for mask in masks)],
        stencils=forward(axes),
        implementation="xla",
    )


def values_and_derivatives(function, image, *given):
    def loss(image, *given):
        return weighted_sum(lambda image: function(image, *given), image)

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(image, *given)


def wide_lengths(image, axes, masks=()):
    """The sum of the lengths of each image and its derivative, from the oracle."""
    along = [oracle.difference(oracle.wide(image), axis) for axis in axes]
    if masks:
        along = [np.where(mask, d, 0) for mask, d in zip(masks, along, strict=True)]
    length = np.sqrt(sum((d**2).sum(-1, keepdims=True) for d in along))
    flows = [d / np.where(length > 0, length, 1) for d in along]
    return oracle.per_image(length), oracle.minus_divergence(flows, axes)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "axes"), COUPLED)
def test_coupled_channels(shape, axes, masked):
    image = jnp.asarray(random_array(shape, "float32"))
    masks = []
    if masked:
        bits = np.random.default_rng(0).random((len(axes), *shape[:-1], 1)) > 0.2
        masks = [jnp.broadcast_to(mask, shape) for mask in bits]
    values, field = wide_lengths(image, axes, masks)
    weights = np.arange(1, 1 + shape[0])
    field *= weights.reshape(-1, *[1] * (len(shape) - 1))
    expected = (weights @ values, values), (field, 0)  # no derivative by the scale
    for way in ("xla", "xla_cpu"):
        ours = functools.partial(coupled, axes=axes, implementation=way)
        close(values_and_derivatives(ours, image, 0.7, *masks), expected, 3e-5)


@pytest.mark.parametrize("name", ["l1", "huber", "charbonnier"])
def test_penalties_of_coupled_channels(name):
    image = jnp.asarray(random_array((2, 5, 30, 3), "float32"))
    small = image[:1, :2, :3]

    def second(function):
        return jax.hessian(lambda x: function(x, 0.7).sum())

    by_channels = functools.partial(apart, name=name)
    expected = values_and_derivatives(by_channels, image, 0.7)
    expected_second = second(by_channels)(small)
    for way in ("xla", "xla_cpu"):
        ours = functools.partial(coupled, name=name, implementation=way)
        close(values_and_derivatives(ours, image, 0.7), expected, 3e-5)
        close(second(ours)(small), expected_second, 3e-5)
        flat = second(ours)(0 * small)
        assert np.isfinite(flat).all()
        # For differences far below delta, a penalty is a multiple of the square.
        curvature = 0 if name == "l1" else 1 / 0.7
        assert flat[0, 0, 0, 0, 0, 0, 0, 0] == pytest.approx(2 * curvature)


@both
@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_coupled_channels_that_are_not_finite(what, implementation):
    image = random_array((1, 6, 30, 3), "float32")
    image[0, 2, 5, 1] = what
    ours = functools.partial(coupled, implementation=implementation)
    (_, value), derivatives = values_and_derivatives(ours, image, 0.7)
    assert not np.isfinite(value).any()
    # The pixel, its predecessors, and the pixels that share a gradient norm with them.
    bad = np.zeros((6, 30), bool)
    bad[2, 4:7] = bad[1:4, 5] = bad[1, 6] = bad[3, 4] = True
    found = ~np.isfinite(np.asarray(derivatives[0][0]))
    np.testing.assert_array_equal(found.any(-1) & ~bad, False)
    assert found[2, 5, 1]
    reference = jax.grad(lambda image: apart(image, 0.7).sum())(image)
    np.testing.assert_array_equal(found, ~np.isfinite(np.asarray(reference[0])))


@both
def test_vmap_over_coupled_channels(implementation):
    images = random_array((2, 3, 5, 30, 3), "float32")
    scales = np.float32([0.3, 0.7])
    ours = functools.partial(coupled, name="huber", implementation=implementation)
    expected = functools.partial(apart, name="huber")
    ours, expected = (
        functools.partial(values_and_derivatives, function)
        for function in (ours, expected)
    )
    each = [expected(*given) for given in zip(images, scales, strict=True)]
    close(jax.vmap(ours)(images, scales), stack(each), 3e-5)


@both
def test_equal_neighbors_beside_an_edge(implementation):
    image = np.float32([0, 0, 2, 2, 1]).reshape(1, 1, 5, 1)
    derivative = jax.grad(lambda i: tv(i, implementation=implementation).sum())(image)
    assert derivative.ravel().tolist() == [0, -1, 1, 1, -1]


@ways
@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (1, 5, 90, 3)])
def test_nan_behind_a_mask(shape, implementation):
    image = random_array(shape, "float32")
    image[:, 2, 3, 1] = np.nan
    valid = ~np.isnan(image)
    masks = [oracle.pairs(valid, axis) for axis in (1, 2)]

    def loss(image):
        return functional(
            Variation("l1"),
            [image],
            [jnp.float32(0), *map(jnp.asarray, masks)],
            stencils=forward((1, 2)),
            implementation=implementation,
        ).sum()

    along = [
        np.where(mask, oracle.difference(oracle.wide(image), axis), 0)
        for mask, axis in zip(masks, (1, 2), strict=True)
    ]
    value = sum(np.abs(d).sum() for d in along)
    field = oracle.minus_divergence([np.sign(d) for d in along], (1, 2))
    close(jax.value_and_grad(loss)(image), (value, field), 1e-4)


@ways
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_of_large_numbers_do_not_overflow(dtype, implementation):
    image = (random_array((1, 256, 256, 3), "float32") * 1000).astype(jnp.dtype(dtype))
    value, _ = wide_sums(image, (1, 2))
    close(tv(jnp.asarray(image), implementation=implementation), value, 1e-4)


# The implementation chosen by None, and its memory.


def compiled(function, *given):
    return jax.jit(function).lower(*given).compile()


def value_and_derivative(image):
    return jax.value_and_grad(lambda image: tv(image).sum())(image)


def sharded(image, spec, mode):
    mesh = mesh_of(mode, x=8)
    return jax.device_put(image, NamedSharding(mesh, spec))


@pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    "spec", [P("x"), P(None, "x"), P(None, None, "x")], ids=["batch", "rows", "columns"]
)
@pytest.mark.parametrize("implementation", ["xla", None])
def test_sharded_images(spec, mode, implementation):
    host = random_array((8, 16, 24, 3), "float32")
    image = sharded(host, spec, mode)
    value, field = wide_sums(host, (1, 2))

    def loss(image):
        return weighted_sum(functools.partial(tv, implementation=implementation), image)

    program = compiled(jax.grad(loss, has_aux=True), image)
    derivative, values = program(image)
    close(values, value)
    close(derivative, np.arange(1, 9).reshape(8, 1, 1, 1) * field)
    assert derivative.sharding.is_equivalent_to(image.sharding, 4)
    text = program.as_text()
    assert "all-gather" not in text
    assert "all-to-all" not in text
    assert " while(" not in text
    assert " dot(" not in text


@of_a_cpu
@pytest.mark.parametrize("function", [tv, value_and_derivative])
def test_none_is_xla_cpu_on_one_cpu(function):
    image = jax.ShapeDtypeStruct((4, 40, 200, 3), "float32")
    with_ones = " dot("
    assert with_ones in compiled(function, image).as_text()
    text = compiled(functools.partial(tv, implementation="xla"), image).as_text()
    assert with_ones not in text


def mean_and_derivative(image):
    return jax.value_and_grad(lambda image: tv(image).mean())(image)


@pytest.mark.parametrize("function", [tv, value_and_derivative, mean_and_derivative])
def test_no_image_is_stored(shipped_sums, function):
    image = jax.ShapeDtypeStruct((4, 256, 256, 3), "float32")
    memory = compiled(function, image).memory_analysis()
    assert memory.temp_size_in_bytes < 0.05 * image.size * 4


def test_a_sum_of_many_rows(shipped_sums):
    image = random_array((1, 131, 150, 3), "float32")
    close(tv(image, implementation="xla_cpu"), wide_sums(image, (1, 2))[0])


def test_xla_cpu_refuses_sharded_images_and_symbolic_shapes():
    image = sharded(random_array((8, 4, 5, 3), "float32"), P("x"), AxisType.Explicit)
    with pytest.raises(NotImplementedError, match="would gather an image"):
        tv(image, implementation="xla_cpu")
    symbolic = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, h, w, c"), "float32")
    with pytest.raises(NotImplementedError, match="a shape of known numbers"):
        jax.eval_shape(functools.partial(tv, implementation="xla_cpu"), symbolic)


def test_penalties_at_zero():
    assert jax.grad(absolute)(0.0) == 0
    assert jax.grad(absolute)(-0.0) == 0
    assert jax.grad(absolute)(-2.0) == -1


def slopes(differences, parameters):
    """A penalty whose derivative is not 0 at 0, as the engine allows."""
    return functools.reduce(jnp.add, [parameters[0] * d for d in differences[0]])


@pytest.mark.parametrize("shape", [(2, 3, 4, 30, 5), (2, 3, 4, 5, 3)])
def test_no_flux_crosses_the_border(shape):
    image, weight = (random_array(shape, "float32", seed) for seed in (0, 1))

    def loss(image):
        return functional(
            slopes,
            [image],
            [jnp.asarray(weight)],
            stencils=forward((1, 2, 3)),
            implementation="xla",
        ).sum()

    expected = np.zeros(shape)
    for axis in (1, 2, 3):
        inner = np.delete(np.moveaxis(weight, axis, 0), -1, 0).astype("f8")
        flow = np.zeros((inner.shape[0] + 1, *inner.shape[1:]))
        flow[1:] += inner
        flow[:-1] -= inner
        expected += np.moveaxis(flow, 0, axis)
    close(jax.grad(loss)(jnp.asarray(image)), expected)
