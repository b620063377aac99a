"""Options of `gradient_matching` and `gradient_difference`, and their laws."""

import functools

import jax
import jax.numpy as jnp
import loss_oracle as oracle
import numpy as np
import pytest
from cases import mesh_of
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jax_imgrad as jig
from jax_imgrad import losses

SHAPE = (2, 7, 10, 2)
both_ways = pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])


def pair(shape=SHAPE):
    draw = np.random.default_rng(0)
    return [draw.normal(size=shape) for _ in range(2)]


def mask(shape=SHAPE):
    """Random pixels, with a part of the first image in which none is valid."""
    valid = np.random.default_rng(1).random(shape) < 0.8
    valid[0, :4, :4] = False
    return valid


def weight(seed=2, shape=SHAPE):
    return np.random.default_rng(seed).random(shape) + 0.1


# Each value of an option occurs with a mask and without, with weights and without, and
# beside several values of the other options.
MATCHING = [
    {"operator": "scharr", "downsample": "mean", "penalty": "l2"},
    {"operator": "scharr", "downsample": "gaussian", "weights": weight(), "masked": 1},
    {"operator": "laplacian", "downsample": "gaussian", "masked": 1},
    {"operator": "laplacian", "step": 2, "penalty": "huber", "weights": weight()},
    {
        **{"operator": "laplacian", "downsample": "mean", "scale": "raw", "step": 2},
        **{"boundary": "constant", "penalty": "l2", "masked": 1},
    },
    {
        **{"operator": "laplacian", "penalty": "charbonnier", "subtract_delta": False},
        **{"delta": 0.3, "weights": weight(), "reduction": "batch_mean", "masked": 1},
    },
    {"operator": "central", "step": 2, "scale": "raw", "reduction": "axis_mean"},
    {
        **{"operator": "central", "boundary": "wrap", "spacing": (2, 0.5), "masked": 1},
        **{"penalty": "charbonnier", "delta": 0.3, "subtract_delta": False},
        **{"weights": [weight(2), weight(3)], "reduction": "axis_mean"},
    },
    {
        **{"operator": "backward", "boundary": "linear", "weights": weight()},
        **{"reduction": "batch_mean"},
    },
    {
        **{"downsample": "mean", "weights": [weight(2), weight(3)], "masked": 1},
        **{"operator": "central", "boundary": "linear"},
    },
    {"downsample": "gaussian", "weights": weight(2, (10, 1)), "boundary": "wrap"},
    {"downsample": "mean", "penalty": "huber", "delta": weight(4, (7, 10, 1))},
    {"scale": "raw", "step": 2, "masked": 1, "reduction": "axis_mean"},
    {"operator": "sobel", "scale": "raw", "boundary": "constant", "axes": (2, 1)},
    {"downsample": "gaussian", "axes": 2, "scales": 5, "masked": 1},
    {"downsample": "mean", "axes": (1, 2, 3), "scales": 5, "weights": weight()},
]
DIFFERENCE = [
    {"spacing": (2, 0.5), "boundary": "wrap", "alpha": 2, "masked": 1},
    {"weights": [weight(2), weight(3)], "reduction": "axis_mean", "masked": 1},
    {"weights": weight(2, (10, 1)), "boundary": "constant", "spacing": 3},
    {
        **{"reduction": "axis_mean", "axes": (2, 1), "spacing": (2, 0.5)},
        "boundary": "quadratic",
    },
]
COMBINATIONS = [
    *(("gradient_matching", {"scales": 3, **options}) for options in MATCHING),
    *(("gradient_difference", options) for options in DIFFERENCE),
]


def name_of(options):
    return ",".join(
        f"{k}={v if np.ndim(v) == 0 else '...'}" for k, v in options.items()
    )


@both_ways
@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*one, id=f"{one[0]}-{name_of(one[1])}") for one in COMBINATIONS],
)
def test_options_together(name, options, implementation):
    """Values, and derivatives by the images, weights and delta along a direction."""
    options = dict(options)
    given, valid = pair(), None
    if options.pop("masked", False):
        valid = options["where"] = mask()
    varied = {k: options[k] for k in ("weights", "delta") if np.ndim(options.get(k))}
    arguments = (given, varied)
    draw = np.random.default_rng(9)
    direction = jax.tree.map(lambda a: draw.normal(size=a.shape), arguments)
    of_images = np.arange(1.0, 3)

    def ours(arguments):
        given, varied = arguments
        loss = functools.partial(getattr(losses, name), implementation=implementation)
        values = loss(*given, **options | varied)
        return (of_images * values).sum(), values

    def expected(step):
        moved = jax.tree.map(lambda a, by: a + step * by, arguments, direction)
        return getattr(oracle, name)(*moved[0], **options | moved[1])

    with jax.enable_x64(True):
        wild = arguments
        if valid is not None:
            wild = jax.tree.map(
                lambda a: np.where(valid, a, np.nan) if a.shape == SHAPE else a,
                arguments,
            )
        wild = jax.tree.map(jnp.asarray, wild)
        (_, values), slopes = jax.jit(jax.value_and_grad(ours, has_aux=True))(wild)
    np.testing.assert_allclose(values, expected(0), rtol=1e-12)
    products = jax.tree.map(lambda a, b: np.vdot(a, b), slopes, direction)
    along = sum(jax.tree.leaves(products))
    change = (of_images * (expected(1e-7) - expected(-1e-7))).sum() / 2e-7
    np.testing.assert_allclose(along, change, rtol=1e-6)


def test_a_laplacian_is_that_of_the_operator():
    """At the border, and with a mask, as `jax_imgrad.laplacian` defines it."""
    p, t = pair()
    options = {"boundary": ("interior", "edge"), "spacing": (2, 3)}
    for valid in (None, mask()):
        outputs = jig.laplacian(p - t, where=valid, **options)
        added = {"scales": 1, "operator": "laplacian", "reduction": "sum"}
        loss = losses.gradient_matching(p, t, where=valid, **options, **added)
        np.testing.assert_allclose(loss, abs(outputs).sum((1, 2, 3)), rtol=1e-5)


KINDS = [
    ("gradient_matching", {}),
    ("gradient_matching", {"operator": "central", "downsample": "mean"}),
    ("gradient_matching", {"operator": "laplacian", "downsample": "gaussian"}),
    ("gradient_difference", {}),
]
of_kinds = pytest.mark.parametrize(("name", "options"), KINDS, ids=str)


@of_kinds
@both_ways
def test_weights_of_zero_are_a_mask_in_the_sum(name, options, implementation):
    """Of pairs, where the pixel that has the weight is the one to mask."""
    valid = mask()
    options = options | {"reduction": "sum", "implementation": implementation}
    options |= {"scales": 1} if name == "gradient_matching" else {}
    loss = functools.partial(getattr(losses, name), *pair(), **options)
    with_weights = loss(where=valid, weights=1.0 * (np.arange(10) < 5)[:, None])
    first = valid & (np.arange(10) < 5)[:, None]
    if options.get("operator", "forward") == "forward":
        # The last of the pixels with weight has a neighbor, which a mask would drop.
        rows = loss(where=first, axes=1) + loss(where=first, axes=2)
        column = [a[:, :, 4:6] for a in (*pair(), valid)]
        between = getattr(losses, name)(*column[:2], where=column[2], axes=2, **options)
        np.testing.assert_allclose(with_weights, rows + between, rtol=1e-5)
    np.testing.assert_array_equal(loss(where=valid, weights=0.0), 0)


def test_scales_beyond_one_pixel():
    """A pixel is its own average, however often: nothing underflows."""
    p, t = pair((1, 2, 3, 1))
    options = {"downsample": "mean", "boundary": "constant", "penalty": "l2"}
    ours = [
        losses.gradient_matching(p, t, scales=k, **options, reduction="sum")
        for k in (2, 3, 31)
    ]
    each = 2 * np.mean(p - t) ** 2  # to the next pixel along both axes, which is 0
    np.testing.assert_allclose(ours[1] - ours[0], each, rtol=1e-4)
    np.testing.assert_allclose(ours[2] - ours[0], 29 * each, rtol=1e-4)


@pytest.mark.parametrize("downsample", ["mean", "gaussian"])
@pytest.mark.parametrize("spec", [P("x"), P(None, "x"), P(None, None, "x")], ids=str)
def test_explicitly_sharded_pyramids(downsample, spec):
    """Weights and delta are sharded too, or replicated."""
    shape = (4, 8, 12, 1)
    p, t = pair(shape)
    valid, many, few = mask(shape), weight(2, shape), weight(3, (12, 1))
    options = {"downsample": downsample, "scales": 3, "penalty": "huber"}
    sharding = NamedSharding(mesh_of(AxisType.Explicit, x=4), spec)

    def loss(p, t, valid, many, few):
        values = losses.gradient_matching(
            p, t, where=valid, weights=[many, few], delta=few, **options
        )
        return values.sum(), values

    arrays = [p, t, valid, many]
    placed = [jax.device_put(np.asarray(a), sharding) for a in arrays]
    slopes, values = jax.jit(jax.grad(loss, (0, 3), has_aux=True))(*placed, few)
    expected = oracle.gradient_matching(
        p, t, where=valid, weights=[many, few], delta=few, **options
    )
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    on_one, _ = jax.grad(loss, (0, 3), has_aux=True)(*map(jnp.asarray, arrays), few)
    for ours, other in zip(slopes, on_one, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("downsample", ["skip", "mean"])
def test_sharded_weights_of_images_that_are_not(downsample):
    shape = (2, 4, 8, 1)
    mesh = mesh_of(AxisType.Explicit, x=4)
    many = weight(2, (8, 1))
    options = {"downsample": downsample, "scales": 3}  # 2 pixels on 4 devices
    expected = oracle.gradient_matching(*pair(shape), weights=many, **options)
    with jax.set_mesh(mesh):
        placed = [jax.device_put(a, NamedSharding(mesh, P())) for a in pair(shape)]
        sharded = jax.device_put(many, NamedSharding(mesh, P("x")))
        ours = losses.gradient_matching(*placed, weights=sharded, **options)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_symbolic_sizes_of_pyramids():
    shape = jax.export.symbolic_shape("b, h, w, c")
    structs = [jax.ShapeDtypeStruct(shape, "float32")] * 2
    for downsample in ("mean", "gaussian"):
        options = {"downsample": downsample, "operator": "laplacian", "scales": 3}
        loss = functools.partial(losses.gradient_matching, **options)
        exported = jax.export.export(jax.jit(loss))(*structs)
        for size in [(2, 7, 10, 2), (1, 1, 2, 1)]:
            given = [a.astype("float32") for a in pair(size)]
            expected = oracle.gradient_matching(*given, **options)
            np.testing.assert_allclose(exported.call(*given), expected, rtol=1e-5)


def refused(match, name="gradient_matching", error=ValueError, **options):
    with pytest.raises(error, match=match):
        getattr(losses, name)(*pair(), **options)


@pytest.mark.parametrize("name", ["gradient_matching", "gradient_difference"])
def test_errors_of_weights(name):
    refused(r"^weights must be a number of at least 0, .* got -1", name, weights=-1)
    refused(r"^weights\[1\] must be a number", name, weights=[1.0, np.full(2, np.nan)])
    refused(r"^weights must be one array, or .* of 3; ", name, weights=[1.0] * 3)
    refused(r"^weights must broadcast to .*predictions", name, weights=np.ones(3))
    valid = mask()
    weights = np.where(valid, 1.0, np.nan)
    assert np.isfinite(
        getattr(losses, name)(*pair(), where=valid, weights=weights)
    ).all()


def test_errors_of_options_together():
    laplacian = {"operator": "laplacian"}
    words = (
        r"^reduction must not be 'axis_mean' with operator='laplacian', since .*'mean'"
    )
    refused(words, reduction="axis_mean", **laplacian)
    words = r"^weights must be one array with operator='laplacian', since .* of 2;"
    refused(words, weights=[1.0, 1], **laplacian)
    refused(r"^operator must be one of 'laplacian', 'forward", operator="laplace")
    refused(r"; write 'laplacian'$", operator="Laplacian")
    refused("^scale must be one of 'derivative', 'raw'", scale=2.0, **laplacian)
    refused("^step must be an integer from 1 to 1024, got 0", step=0)
    refused("^downsample must be one of 'skip', 'mean', 'gaussian'", downsample="max")
    refused("^penalty must be one of 'l1', 'l2', 'huber', 'charb", penalty="l3")
    refused("^subtract_delta must be True unless", subtract_delta=False)
    words = r"at least 2 pixels along axis 1 of predictions at the coarsest scale, got"
    refused(words, operator="sobel", boundary="reflect", scales=4)
    losses.gradient_matching(*pair(), operator="sobel", boundary="reflect", scales=3)
