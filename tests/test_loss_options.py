"""Laws of the options that losses share: weights, spacing, boundary, reduction."""

import functools
import inspect

import jax
import jax.numpy as jnp
import loss_oracle as oracle
import numpy as np
import pytest
from cases import mesh_of, random_array
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_imgrad import losses

SHAPE = (2, 6, 7, 3)
PIXELS = (*SHAPE[:-1], 1)  # of weights that broadcast to the channels

# Losses with weights: the number of arrays, options, and whether there may be a weight
# for each axis.
WEIGHTED = [
    ("total_variation", 1, {}, True),
    ("total_variation", 1, {"penalty": "charbonnier", "delta": 0.3}, True),
    ("total_variation", 1, {"isotropic": True}, False),
    ("total_variation", 1, {"channel_coupling": True}, False),
    ("total_variation", 1, {"order": 2, "penalty": "huber"}, False),
    ("bending_energy", 1, {}, False),
    ("gradient_difference", 2, {"alpha": 1.5}, True),
    ("gradient_matching", 2, {"scales": 1}, True),
    ("gradient_matching", 2, {"scales": 2, "operator": "laplacian"}, False),
    ("edge_aware_smoothness", 2, {}, True),
    ("edge_aware_smoothness", 2, {"order": 2, "mixed": True}, True),
    ("laplacian_edge", 2, {}, False),
]
WAYS = ["xla", "xla_cpu"]

weighted = pytest.mark.parametrize(("name", "count", "options", "by_axis"), WEIGHTED)
ways = pytest.mark.parametrize("implementation", WAYS)


def images(count, shape=SHAPE, dtype="float32"):
    return [random_array(shape, dtype, seed) + 3 for seed in range(count)]


def loss(name, *arrays, **options):
    if name == "laplacian_edge":  # which has one implementation
        options = {k: v for k, v in options.items() if k != "implementation"}
    return getattr(losses, name)(*arrays, **options)


def losses_with(option):
    """The names of the losses that have an option."""
    return {
        name
        for name in losses.__all__
        if option in inspect.signature(getattr(losses, name)).parameters
    }


def test_the_tables_have_every_loss():
    assert {case[0] for case in WEIGHTED} == losses_with("weights") - {
        "scale_and_shift"
    }
    assert {case[0] for case in SPACED} == losses_with("spacing")
    assert {case[0] for case in PERIODIC} == losses_with("boundary")
    takes_complex = {"total_variation", "bending_energy", "edge_aware_smoothness"}
    assert {name for name, _ in COMPLEX} == takes_complex
    for name in {*losses.__all__} - takes_complex:
        pair = [array.astype("complex64") for array in images(2)]
        with pytest.raises(TypeError, match="must be real"):
            loss(name, *pair)


def value_and_gradient(name, *arrays, **options):
    """The sum over the batch of a loss, with its derivative by the first array."""

    def total(image):
        values = loss(name, image, *arrays[1:], **options)
        return values.sum(), values

    gradient, values = jax.jit(jax.grad(total, has_aux=True))(arrays[0])
    return np.asarray(values), np.asarray(gradient)


def close(ours, expected, tolerance=1e-5):
    for one, other in zip(
        jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@ways
@weighted
def test_weights_of_1_change_nothing(name, count, options, by_axis, implementation):
    """Bit for bit if the penalty is not rounded.

    Otherwise the compiler may contract other products and sums to one operation.
    """
    call = functools.partial(
        value_and_gradient, name, *images(count), implementation=implementation
    )
    without = call(**options)
    ones = np.ones(PIXELS, "float32")
    for weights in (ones, [ones, ones]) if by_axis else (ones,):
        with_weights = call(weights=weights, **options)
        close(with_weights, without, 1e-6)
        if name == "total_variation" and not options:
            np.testing.assert_array_equal(with_weights[0], without[0])
            np.testing.assert_array_equal(with_weights[1], without[1])


@ways
@weighted
def test_a_loss_is_linear_in_its_weights(name, count, options, by_axis, implementation):
    """For the weights w, L(w) = <w, dL/dw>, and dL/dw does not depend on w."""
    arrays = images(count)
    options = options | {"reduction": "sum", "implementation": implementation}
    one, other = (np.abs(random_array(PIXELS, "float32", seed)) for seed in (7, 8))

    @jax.jit
    def value_and_derivative(weights):
        def total(weights):
            return loss(name, *arrays, weights=weights, **options).sum()

        return jax.value_and_grad(total)(weights)

    pairs = [(one, other)] + [([one, other], [other, one])] * by_axis
    for weights, others in pairs:
        value, first = value_and_derivative(weights)
        _, second = value_and_derivative(others)
        products = jax.tree.map(lambda w, d: jnp.sum(w * d), weights, first)
        close(functools.reduce(jnp.add, jax.tree.leaves(products)), value)
        close(first, second)


# Losses of first differences, with a weight for each axis.
BY_AXIS = [case[:3] for case in WEIGHTED if case[3] and "order" not in case[2]]
by_axis = pytest.mark.parametrize(("name", "count", "options"), BY_AXIS)


@ways
@by_axis
@pytest.mark.parametrize("boundary", ["interior", "wrap", "constant"])
def test_weights_of_0_equal_a_mask_in_the_sum(
    name, count, options, boundary, implementation
):
    arrays = images(count)
    valid = np.random.default_rng(3).random(PIXELS) < 0.7
    shifted = {"constant": True, "interior": True, "wrap": False}[boundary]
    weights = []
    for axis in (1, 2):
        following = np.roll(valid, -1, axis)
        if shifted:  # of the last difference, the next pixel is beyond the border
            oracle.part(following, axis, -1)[...] = True
        weights.append((valid & following).astype("float32"))
    options = options | {
        "boundary": boundary,
        "reduction": "sum",
        "implementation": implementation,
    }
    masked = value_and_gradient(name, *arrays, where=valid, **options)
    close(value_and_gradient(name, *arrays, weights=weights, **options), masked)


@weighted
def test_weights_of_invalid_pixels_reach_nothing(name, count, options, by_axis):
    arrays, valid = images(count), np.ones(PIXELS, bool)
    valid[:, :, -1] = False  # few, since `laplacian_edge` reads four pixels around
    halves = np.full(PIXELS, 0.5, "float32")
    holes = np.where(valid, halves, np.float32(np.nan))
    options = options | {"where": valid}
    ours, expected = (
        value_and_gradient(name, *arrays, weights=weights, **options)
        for weights in (holes, halves)
    )
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_array_equal(ours[1], expected[1])

    def total(weights):
        return loss(name, *arrays, weights=weights, **options).sum()

    derivative = np.asarray(jax.grad(total)(jnp.asarray(holes)))
    assert np.isfinite(derivative).all()
    assert derivative[valid].any()
    assert not derivative[~valid].any()


@ways
@pytest.mark.parametrize("options", [{"isotropic": True}, {"channel_coupling": True}])
@pytest.mark.parametrize("powers", [(-70, 0), (-70, 40), (70, -40), (0, -100)])
def test_norms_with_weights_of_any_magnitude(options, powers, implementation):
    """Squares may leave the range of float32 although neither image nor loss does."""
    of_image, of_weights = (np.float32(2.0**power) for power in powers)
    (image,), weights = images(1), np.abs(random_array(PIXELS, "float32", 7))
    options = options | {"reduction": "sum", "implementation": implementation}
    call = functools.partial(value_and_gradient, "total_variation", **options)
    value, gradient = call(image, weights=weights)
    scaled = call(of_image * image, weights=of_weights * weights)
    close(scaled[0] / of_image / of_weights, value)
    close(scaled[1] / of_weights, gradient)


# Losses with spacing; the degree is the power of a difference in the penalty, times its
# order.
SPACED = [
    ("total_variation", 1, {}, 1),
    ("total_variation", 1, {"isotropic": True}, 1),
    ("total_variation", 1, {"channel_coupling": True}, 1),
    ("total_variation", 1, {"penalty": "l2"}, 2),
    ("total_variation", 1, {"order": 2}, 2),
    ("total_variation", 1, {"order": 2, "penalty": "l2"}, 4),
    ("bending_energy", 1, {}, 4),
    ("gradient_difference", 2, {"alpha": 2}, 2),
    ("gradient_matching", 2, {"scales": 2}, 1),
    ("gradient_matching", 2, {"scales": 2, "operator": "laplacian"}, 2),
    ("edge_aware_smoothness", 2, {}, 1),
    ("edge_aware_smoothness", 2, {"order": 2, "mixed": True}, 2),
]
spaced = pytest.mark.parametrize(("name", "count", "options", "degree"), SPACED)


@ways
@spaced
def test_a_loss_scales_with_the_spacing(name, count, options, degree, implementation):
    call = functools.partial(
        value_and_gradient, name, *images(count), implementation=implementation
    )
    for h in (0.25, 2.0):  # powers of two, so that only sums are rounded
        scaled = [part / h**degree for part in call(**options)]
        close(call(spacing=h, **options), scaled)


@ways
@spaced
def test_a_transposed_image_has_transposed_spacings(
    name, count, options, degree, implementation
):
    arrays = images(count)
    swapped = [array.swapaxes(1, 2) for array in arrays]
    options = options | {"implementation": implementation}
    value, gradient = value_and_gradient(name, *arrays, spacing=(3.0, 0.7), **options)
    other = value_and_gradient(name, *swapped, spacing=(0.7, 3.0), **options)
    close(other, (value, gradient.swapaxes(1, 2)))


# Losses with boundary conditions.
PERIODIC = [
    ("total_variation", 1, {}),
    ("total_variation", 1, {"penalty": "huber", "isotropic": True}),
    ("total_variation", 1, {"channel_coupling": True}),
    ("total_variation", 1, {"order": 2, "isotropic": True}),
    ("bending_energy", 1, {}),
    ("gradient_difference", 2, {}),
    ("gradient_matching", 2, {"scales": 1, "operator": "sobel"}),
    ("edge_aware_smoothness", 2, {}),
    ("edge_aware_smoothness", 2, {"order": 2, "mixed": True}),
]
periodic = pytest.mark.parametrize(("name", "count", "options"), PERIODIC)


@ways
@periodic
def test_periodic_losses_do_not_change_if_everything_is_shifted(
    name, count, options, implementation
):
    arrays, by = images(count), ((2, -3), (1, 2))
    options = options | {"boundary": "wrap", "implementation": implementation}
    value, gradient = value_and_gradient(name, *arrays, **options)
    shifted = [np.roll(array, *by) for array in arrays]
    other = value_and_gradient(name, *shifted, **options)
    close(other, (value, np.roll(gradient, *by)))


@ways
@periodic
def test_the_periodic_mean_is_that_of_each_axis(name, count, options, implementation):
    if options.get("isotropic") or options.get("channel_coupling"):
        options = {key: options[key] for key in options if key == "order"}
    call = functools.partial(
        value_and_gradient,
        name,
        *images(count),
        boundary="wrap",
        implementation=implementation,
        **options,
    )
    close(call(reduction="axis_mean"), call(reduction="mean"))


@ways
def test_an_axis_without_differences_adds_nothing(implementation):
    image = images(1, (2, 1, 7, 3))[0]
    call = functools.partial(
        value_and_gradient,
        "total_variation",
        image,
        reduction="axis_mean",
        implementation=implementation,
    )
    close(call(), call(axes=2))
    nothing = np.zeros(image.shape, bool)
    close(call(where=nothing), (np.zeros(2), np.zeros(image.shape)))


# Constant images, where taps, averages and their sums are rounded.

ROUNDED = [
    ("total_variation", {"order": 2, "spacing": (2.5, 0.6)}),
    ("total_variation", {"order": 2, "isotropic": True, "boundary": "edge"}),
    ("total_variation", {"isotropic": True, "spacing": (0.3, 0.7)}),
    ("edge_aware_smoothness", {"order": 2, "spacing": (2.5, 0.6)}),
    *[
        (
            "gradient_matching",
            {"operator": operator, "boundary": boundary, "spacing": h},
        )
        for operator, boundary, h in [
            ("scharr", "edge", 0.3),
            ("prewitt", "wrap", (2.5, 0.6)),
            ("sobel5", "symmetric", 0.7),
            ("farid", "interior", 1.0),
            (("gaussian", 0.8), "reflect", 0.3),
            ("laplacian", "edge", (0.3, 0.7)),
            ("backward", "interior", 0.3),
        ]
    ],
    ("gradient_matching", {"operator": "central", "step": 3, "scales": 1}),
    ("gradient_matching", {"downsample": "gaussian", "scales": 3}),
    ("gradient_matching", {"downsample": "mean", "scales": 3, "where": "some"}),
]


@ways
def test_constant_images_have_no_loss_and_no_derivative(implementation):
    constant = np.full((1, 24, 21, 2), 1000.7, "float32")
    zero, some = np.zeros_like(constant), random_array(constant.shape, "float32") < 1

    @jax.jit
    def of_all(image):
        results = []
        for name, options in ROUNDED:
            options = {"scales": 2} | options if "matching" in name else options
            options = options | ({"where": some} if "where" in options else {})
            others = [] if name == "total_variation" else [zero]

            def total(image, name=name, others=others, options=options):
                options = options | {"implementation": implementation}
                return loss(name, image, *others, **options).sum()

            results.append(jax.value_and_grad(total)(image))
        return results

    for case, (value, gradient) in zip(ROUNDED, of_all(constant), strict=True):
        assert value == 0, case
        assert not np.asarray(gradient).any(), case


def test_deltas_of_invalid_pixels_reach_nothing():
    (image,), valid = images(1), np.random.default_rng(3).random(PIXELS) < 0.7
    for penalty in ("huber", "charbonnier"):
        options = {"penalty": penalty, "where": valid}

        def total(delta, options=options):
            return losses.total_variation(image, delta=delta, **options).sum()

        halves = jnp.full(PIXELS, 0.5)
        holes = jnp.where(valid, halves, jnp.nan)
        value, derivative = jax.value_and_grad(total)(holes)
        close(value, total(halves))
        assert np.isfinite(derivative).all()
        assert not np.asarray(derivative)[~valid].any()


# Complex images.

COMPLEX = [
    ("total_variation", {}),
    ("total_variation", {"penalty": "charbonnier", "delta": 0.3}),
    ("total_variation", {"penalty": "huber", "isotropic": True}),
    ("total_variation", {"channel_coupling": True, "weights": np.ones(PIXELS, "f4")}),
    ("total_variation", {"order": 2, "penalty": "l2"}),
    ("bending_energy", {}),
    ("edge_aware_smoothness", {"penalty": "charbonnier", "delta": 0.3}),
]
GUIDE = random_array(SHAPE, "float32", 4)


def loss_of_field(name, field, **options):
    """The loss of one complex image; a guide is real."""
    guide = [GUIDE.astype(field.real.dtype)] * (name == "edge_aware_smoothness")
    return value_and_gradient(name, field, *guide, **options)


of_complex = pytest.mark.parametrize(
    ("name", "options"), COMPLEX, ids=lambda value: str(value)[:40]
)


@ways
@of_complex
def test_the_phase_of_a_complex_image_does_not_matter(name, options, implementation):
    image = random_array(SHAPE, "complex64")
    options = options | {"implementation": implementation}
    value, gradient = loss_of_field(name, image, **options)
    assert value.dtype == "float32"
    phase = np.complex64(np.exp(0.7j))
    # JAX's gradient of a real function is the conjugate of the direction of ascent.
    other = loss_of_field(name, image * phase, **options)
    close(other, (value, gradient / phase))
    real = loss_of_field(name, image.real, **options)
    close(
        loss_of_field(name, image.real * phase, **options),
        (real[0], real[1] / phase),
    )


@ways
@of_complex
def test_derivatives_of_complex_images(name, options, implementation):
    """Along real and imaginary directions, by central differences."""
    image, by = random_array(SHAPE, "complex128"), random_array(SHAPE, "complex128", 1)
    with jax.enable_x64(True):
        _, gradient = loss_of_field(
            name, image, implementation=implementation, **options
        )
        along = np.sum((np.asarray(gradient) * by).real)
    guide = [GUIDE.astype("f8")] * (name == "edge_aware_smoothness")
    up, down = (
        getattr(oracle, name)(image + step * by, *guide, **options).sum()
        for step in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(along, (up - down) / 2e-6, 1e-6)


@ways
def test_complex_ties_have_zero_derivatives(implementation):
    flat = np.full(SHAPE, 1 + 2j, "complex64")
    for name, options in COMPLEX:

        def total(image, name=name, options=options):
            guide = [GUIDE] * (name == "edge_aware_smoothness")
            options = options | {"implementation": implementation}
            return loss(name, image, *guide, **options).sum()

        first, second = jax.jvp(jax.grad(total), (flat,), (flat,))
        np.testing.assert_array_equal(first, 0 * flat)
        np.testing.assert_array_equal(second, 0 * flat)


# Charbonnier as published.


@ways
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_charbonnier_with_its_constant(isotropic, masked, implementation):
    """It adds delta for each penalty, and changes nothing else."""
    image = images(1)[0]
    valid = np.random.default_rng(3).random(PIXELS) < 0.7
    options = {
        "penalty": "charbonnier",
        "isotropic": isotropic,
        "reduction": "sum",
        "implementation": implementation,
        "where": valid if masked else None,
    }

    @functools.partial(jax.jit, static_argnums=1)
    def of(delta, subtract_delta):
        def total(image, delta):
            return losses.total_variation(
                image, delta=delta, subtract_delta=subtract_delta, **options
            ).sum()

        return jax.value_and_grad(total, (0, 1))(image, delta)

    (value, (gradient, by_delta)), (usual, (usual_gradient, usual_by_delta)) = (
        of(0.5, subtract) for subtract in (False, True)
    )
    pixels = np.broadcast_to(valid if masked else True, SHAPE)
    count = float(pixels.sum())
    if not isotropic:
        count = float(sum(oracle.pairs(pixels, axis).sum() for axis in (1, 2)))
    close(value, usual + 0.5 * count)
    close(by_delta, usual_by_delta + count)
    np.testing.assert_array_equal(gradient, usual_gradient)


# All options together.

options_of_total_variation = st.fixed_dictionaries(
    {
        "order": st.sampled_from([1, 2]),
        "penalty": st.sampled_from(["l1", "l2", "huber", "charbonnier"]),
        "delta": st.sampled_from([0.3, 2.0]),
        "isotropic": st.booleans(),
        "boundary": st.tuples(
            *[st.sampled_from(["interior", "constant", "wrap", "edge", "symmetric"])]
            * 2
        ),
        "spacing": st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 2),
        "reduction": st.sampled_from(["mean", "sum"]),
        "weights": st.sampled_from([None, 0.5]),
        "implementation": st.sampled_from(WAYS),
    }
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 2), *[st.integers(1, 5)] * 2, st.integers(1, 2)),
    options_of_total_variation,
    st.booleans(),
)
def test_any_options(shape, options, masked):
    image = random_array(shape, "float32")
    valid = np.random.default_rng(2).random(shape) < 0.8
    options["where"] = valid if masked else None
    expected = dict(options)
    del expected["implementation"]
    close(
        losses.total_variation(image, **options),
        oracle.total_variation(image, **expected),
        1e-4,
    )


# Many devices.


@pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("spec", [P("x"), P(None, "x")], ids=["batch", "rows"])
@pytest.mark.parametrize(
    "options",
    [
        {"boundary": "wrap", "spacing": (2.0, 0.5), "isotropic": True},
        {"boundary": "constant", "order": 2},
        {"reduction": "axis_mean"},
    ],
    ids=str,
)
def test_images_and_weights_are_sharded_alike(options, spec, mode):
    image = random_array((8, 16, 5, 2), "float32")
    weights = np.abs(random_array(image.shape, "float32", 7))

    @jax.jit
    def both(image, weights):
        def total(image, weights):
            return losses.total_variation(image, weights=weights, **options).sum()

        return jax.value_and_grad(total, (0, 1))(image, weights)

    sharding = NamedSharding(mesh_of(mode, x=8), spec)
    sharded = jax.device_put((image, weights), sharding)
    value, derivatives = both(*sharded)
    close((value, *derivatives), jax.tree.leaves(both(image, weights)))
    for derivative in derivatives:
        assert derivative.sharding.is_equivalent_to(sharding, 4)


# Errors.


def refused(error, match, name, *arrays, **options):
    with pytest.raises(error, match=match):
        loss(name, *arrays, **options)


@weighted
def test_wrong_weights_are_refused(name, count, options, by_axis):
    arrays = images(count)
    no = functools.partial(refused, ValueError)
    negative, missing = np.full(PIXELS, -0.5, "float32"), np.full(PIXELS, np.nan)
    for wrong in (negative, jnp.asarray(negative), missing, -1, np.inf):
        no(
            "weights must be a number of at least 0",
            name,
            *arrays,
            weights=wrong,
            **options,
        )
    no(
        "weights must broadcast to the shape of",
        name,
        *arrays,
        weights=np.ones(5),
        **options,
    )
    refused(
        TypeError,
        "array of bool; a mask is passed as where",
        name,
        *arrays,
        weights=np.ones(PIXELS, bool),
        **options,
    )
    expected = (
        "with one for each of the axes" if by_axis else "must be one array.* since"
    )
    no(f"{expected}.* a sequence of 3", name, *arrays, weights=[1, 1, 1], **options)
    if by_axis:
        no(r"weights\[1\] must be", name, *arrays, weights=[1, negative], **options)


def test_options_that_exclude_each_other_are_refused():
    (image,) = images(1)
    no = functools.partial(refused, ValueError)
    for combined in ({"isotropic": True}, {"channel_coupling": True}):
        no(
            "use reduction='mean'",
            "total_variation",
            image,
            reduction="axis_mean",
            **combined,
        )
    no(
        "subtract_delta must be True unless penalty='charbonnier'",
        "total_variation",
        image,
        subtract_delta=False,
    )
    no("order must be one of 1, 2, got 3", "total_variation", image, order=3)
    no(
        "'periodic' in other libraries is 'wrap'",
        "total_variation",
        image,
        boundary="periodic",
    )
    no("spacing must be a positive number", "total_variation", image, spacing=(1, 0))
    no("one value for all axes", "total_variation", image, spacing=(1, 2, 3))
