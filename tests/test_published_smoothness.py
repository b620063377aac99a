"""Edge-aware smoothness and the edge loss of MPRNet against the published formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import published_smoothness as published
import pytest
from cases import mesh_of, random_array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_imgrad import losses

SHAPE = (2, 6, 7, 2)
BOTH = pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])


def arrays(dtype="float64"):
    """A field of mean 3, a guide whose differences are about 1/100, and weights."""
    field = random_array(SHAPE, dtype) + np.asarray(3, dtype)
    guide = random_array((*SHAPE[:-1], 3), "float64", 1) / 100
    return field, guide, positive(2), positive(3)


def positive(seed):
    return np.random.default_rng(seed).uniform(0.5, 2, SHAPE)


def close(ours, expected, tolerance=1e-12):
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def check(ours, oracle, given):
    """The values, and the derivatives in each argument along a random direction."""
    images = np.arange(1.0, 3)  # weights of the images, in the differentiated sum

    @jax.jit
    def derivatives(*given):
        def total(*given):
            values = ours(*given)
            return jnp.sum(images * values), values

        return jax.grad(total, tuple(range(len(given))), has_aux=True)(*given)

    with jax.enable_x64(True):
        found, values = derivatives(*given)
    close(values, oracle(*given))
    for moving, derivative in enumerate(found):
        dtype = np.asarray(given[moving]).dtype
        by = random_array(np.shape(given[moving]), dtype, seed=9)

        def at(step, moving=moving, by=by):
            moved = list(given)
            moved[moving] = given[moving] + step * by
            return np.sum(images * oracle(*moved))

        along = np.sum(np.asarray(derivative) * by).real
        close(along, (at(1e-6) - at(-1e-6)) / 2e-6, 1e-6)


def arflow(field, guide, weights, **options):
    """One loss for each axis, which has no mixed differences."""
    return sum(
        losses.edge_aware_smoothness(
            field,
            guide,
            order=2,
            mixed=True,
            edge_weight=10,
            axes=axis,
            weights=weights[axis - 1],
            **options,
        )
        for axis in (1, 2)
    )


CHARBONNIER = {"penalty": "charbonnier", "subtract_delta": False}
UFLOW = {"order": 2, "edge_weight": 150, **CHARBONNIER}
GAUSSIAN = {"edge_weighting": "gaussian"}
MIXED = {"order": 2, "mixed": True}
SPACING = {"spacing": (2, 0.5)}
smooth = losses.edge_aware_smoothness

# Ours, and the published function; with or without an epsilon.
L1 = {
    "Monodepth2": (
        functools.partial(smooth, mean_normalized=True),
        published.monodepth2,
    ),
    "ARFlow": (lambda *a, **o: arflow(*a, **o) / 2, published.arflow),
    "Yang et al.": (
        functools.partial(smooth, **MIXED, **SPACING),
        functools.partial(published.yang, **SPACING),
    ),
}
WITH_EPSILON = {
    "UFlow": (lambda *a, **o: smooth(*a, **UFLOW, **o) / 2, published.uflow),
    "UFlow, Gaussian": (
        lambda *a, **o: smooth(*a, **UFLOW, **GAUSSIAN, **o) / 2,
        functools.partial(published.uflow, gaussian=True),
    ),
    "normalized": (
        functools.partial(smooth, mean_normalized=True, **CHARBONNIER),
        published.monodepth2,
    ),
}


@BOTH
@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in L1), ("Yang et al.", "complex128")],
)
def test_published_smoothness(name, dtype, implementation):
    ours, oracle = L1[name]

    def loss(field, guide, y, x):
        return ours(field, guide, weights=[y, x], implementation=implementation)

    check(loss, lambda field, guide, *w: oracle(field, guide, w), arrays(dtype))


@BOTH
@pytest.mark.parametrize("name", WITH_EPSILON)
def test_published_smoothness_that_keeps_epsilon(name, implementation):
    ours, oracle = WITH_EPSILON[name]

    def loss(epsilon, field, guide, y, x):
        options = {"delta": epsilon, "implementation": implementation}
        return ours(field, guide, weights=[y, x], **options)

    def expected(epsilon, field, guide, *weights):
        return oracle(field, guide, weights, epsilon)

    check(loss, expected, [0.3, *arrays()])


def test_the_edge_loss_of_mprnet():
    def loss(epsilon, *given):
        *pair, weights = given
        options = {"delta": epsilon, "subtract_delta": False, "weights": weights}
        return losses.laplacian_edge(*pair, **options)

    def expected(epsilon, *given):
        return published.mprnet(*given, epsilon)

    pair = [random_array(SHAPE, "float64", seed) for seed in (0, 1)]
    check(loss, expected, [0.3, *pair, positive(2)])


@BOTH
@pytest.mark.parametrize("options", [{}, {"order": 2}, MIXED], ids=str)
def test_wrap_is_invariant_under_rolls(options, implementation):
    field, guide, y, x = arrays("float32")

    def rolled(array):
        return np.roll(array, (2, 3), (1, 2))

    def loss(field, guide, y, x, **other):
        return smooth(
            field,
            guide,
            boundary="wrap",
            weights=[y, x],
            implementation=implementation,
            **options,
            **other,
        )

    value = loss(field, guide, y, x)
    close(loss(*map(rolled, (field, guide, y, x))), value, 1e-6)
    close(loss(field, guide, y, x, reduction="mean"), value, 1e-6)
    inner = smooth(field, guide, weights=[y, x], reduction="sum", **options)
    outer = loss(field, guide, y, x, reduction="sum")
    assert (outer > 1.05 * inner).all()  # there are more differences


@pytest.mark.parametrize("options", [{}, {"order": 2}, MIXED], ids=str)
def test_constant_continues_field_and_guide_by_zeros(options):
    field, guide, y, x = arrays("float32")
    options = options | {"reduction": "sum"}
    guide = 30 * guide

    def padded(array):
        return np.pad(array, ((0, 0), (0, 2), (0, 2), (0, 0)))

    ours = smooth(field, guide, boundary="constant", weights=[y, x], **options)
    given = [padded(array) for array in (field, guide, y, x)]
    close(ours, smooth(*given[:2], weights=given[2:], **options), 1e-6)


def test_a_boundary_for_each_axis():
    field, guide, y, x = arrays("float32")

    def loss(**options):
        return smooth(field, guide, reduction="sum", **options)

    by_axis = loss(axes=2, boundary="wrap", weights=x) + loss(axes=1, weights=y)
    options = {"boundary": ("wrap", "interior"), "weights": [x, y]}
    close(loss(axes=(2, 1), **options), by_axis, 1e-6)


@pytest.mark.parametrize("options", [{}, MIXED], ids=str)
def test_one_weight_is_that_of_every_axis(options):
    field, guide, y, _ = arrays("float32")
    one = smooth(field, guide, weights=y, **options)
    np.testing.assert_array_equal(one, smooth(field, guide, weights=[y, y], **options))
    ones = smooth(field, guide, weights=np.ones(SHAPE), **options)
    np.testing.assert_array_equal(ones, smooth(field, guide, **options))


@pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])
def test_sharded_rows(mode):
    """Neither field nor guide is gathered."""
    shape = (1, 16, 6, 2)
    given = [random_array(shape, "float32", seed) for seed in range(2)]
    given += [np.abs(random_array(shape, "float32", seed)) for seed in (2, 3)]

    def loss(field, guide, y, x):
        options = {"boundary": "wrap", "weights": [y, x], **MIXED}
        return smooth(field, guide, **options).sum()

    slopes = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    sharding = NamedSharding(mesh_of(mode, x=8), P(None, "x"))
    placed = [jax.device_put(array, sharding) for array in given]
    compiled = slopes.lower(*placed).compile()
    for ours, one in zip(
        jax.tree.leaves(compiled(*placed)), jax.tree.leaves(slopes(*given)), strict=True
    ):
        close(ours, one, 1e-5)
    assert "all-gather" not in compiled.as_text()


def test_export_with_symbolic_shapes():
    shape = jax.export.symbolic_shape("b, h, w, c")
    structs = [jax.ShapeDtypeStruct(shape, "float32")] * 3

    def loss(field, guide, weights):
        return smooth(field, guide, weights=weights, **MIXED)

    exported = jax.export.export(jax.jit(loss))(*structs)
    field, _, y, x = (a.astype("float32") for a in arrays("float32"))
    for rows in (6, 2, 1):
        given = [a[:, :rows] for a in (field, y, x)]
        close(exported.call(*given), loss(*given), 1e-6)


def test_options_of_a_lower_rank_broadcast():
    field, guide, *_ = arrays("float32")
    each = np.float32([0.5, 2])
    valid = np.arange(7)[:, None] < 5

    def loss(each):
        options = {"delta": each, "weights": each, "where": valid}
        return smooth(field, guide, **CHARBONNIER, **options)

    close(loss(each), loss(np.broadcast_to(each, SHAPE)), 1e-6)


@pytest.mark.parametrize("name", ["smooth", "laplacian_edge", "scale_and_shift"])
def test_nan_in_invalid_pixels_of_weights_reaches_nothing(name):
    """Neither the value nor a derivative, of the guide included."""
    field, other, weights, _ = arrays("float32")
    other = other[..., :2]
    valid = np.ones((*SHAPE[:-1], 1), bool)
    valid[:, 0, 1] = False
    function = {"smooth": functools.partial(smooth, **MIXED)}.get(name)
    function = function or getattr(losses, name)

    def loss(field, other, weights):
        result = function(field, other, weights=weights, where=valid)
        return sum(jnp.sum(one) for one in jax.tree.leaves(result))

    both = jax.value_and_grad(loss, (0, 1, 2))
    wild = [np.where(valid, a, np.nan).astype("f4") for a in (field, other, weights)]
    value, slopes = both(*wild)
    expected, of_finite = both(*(a.astype("f4") for a in (field, other, weights)))
    close(value, expected, 1e-6)
    for one, two in zip(slopes, of_finite, strict=True):
        close(one, two, 1e-5)
        np.testing.assert_array_equal(np.where(valid, 0, one), 0)
        assert np.any(one)


def test_a_complex_field_is_as_its_real_part():
    field, guide, *_ = arrays("float32")
    for way in ("xla", "xla_cpu"):
        ours = smooth(field.astype("complex64"), guide, implementation=way)
        assert ours.dtype == "float32"
        close(ours, smooth(field, guide), 1e-6)


def test_errors():
    field, guide, y, x = arrays("float32")

    def no(error, match, *given, function=smooth, **options):
        with pytest.raises(error, match=match):
            function(*(given or (field, guide)), **options)

    no(ValueError, "mixed must be False unless order=2.*; pass order=2$", mixed=True)
    no(TypeError, "mixed must be True or False", order=2, mixed=1)
    words = "mean_normalized must be False unless field is real, got True with complex"
    imaginary = 1j * field
    no(ValueError, words, imaginary, guide, mean_normalized=True)
    no(TypeError, "guide must be real", field, 1j * guide)
    no(ValueError, "subtract_delta must be True unless", subtract_delta=False)
    no(ValueError, "boundary must be one of", boundary="valid")
    no(ValueError, "spacing must be a positive number", spacing=0)
    no(ValueError, r"weights\[1\] must be a number of at least 0", weights=[y, -x])
    no(ValueError, "weights must be one array, or a sequence with one", weights=[y])
    for function in (losses.laplacian_edge, losses.scale_and_shift):
        pair = {"function": function}
        no(
            ValueError,
            "weights must be a number of at least 0",
            y,
            x,
            weights=-y,
            **pair,
        )
        no(ValueError, "weights must be one array", y, x, weights=[y, x], **pair)
    no(
        ValueError,
        "reduction must be one of 'mean', 'sum', got 'axis_mean'",
        *(y, x),
        function=losses.laplacian_edge,
        reduction="axis_mean",
    )
