"""Every loss: values, derivatives, masks, transformations and errors."""

import functools
import re

import jax
import jax.numpy as jnp
import loss_oracle as oracle
import numpy as np
import optax
import pytest
from cases import mesh_of, random_array
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jax_imgrad as jig
from jax_imgrad import losses

GOLDEN = np.float32([[0, 1, 3], [2, 2, 5], [4, 0, 1]]).reshape(1, 3, 3, 1)
SHAPE = (3, 6, 7, 3)
ARRAYS = {
    "total_variation": 1,
    "gradient_difference": 2,
    "gradient_matching": 2,
    "edge_aware_smoothness": 2,
    "laplacian_edge": 2,
    "bending_energy": 1,
    "gradient_magnitude_similarity": 2,
}
WEIGHTS = np.random.default_rng(5).random((*SHAPE[:-1], 1)).astype("float32")
OPTIONS = {
    "total_variation": [
        {},
        {"penalty": "l2"},
        {"penalty": "huber"},
        {"penalty": "huber", "delta": 0.3},
        {"penalty": "charbonnier"},
        {"penalty": "charbonnier", "delta": 0.3},
        {"isotropic": True},
        {"penalty": "huber", "isotropic": True},
        {"penalty": "l2", "isotropic": True},
        {"channel_coupling": True},
        {"penalty": "charbonnier", "channel_coupling": True},
        {"axes": 1},
        {"axes": (-2, -3, -1)},
        {"boundary": "constant"},
        {"boundary": ("wrap", "constant"), "isotropic": True, "spacing": (0.5, 2.0)},
        {"boundary": "wrap", "channel_coupling": True, "weights": WEIGHTS},
        {"boundary": ("reflect", "edge"), "spacing": 0.5},
        {"spacing": (2.0, 0.5), "axes": (2, 1), "weights": (WEIGHTS, WEIGHTS[:1])},
        {"weights": WEIGHTS, "penalty": "charbonnier", "delta": 0.3},
        {"weights": WEIGHTS, "isotropic": True},
        {"weights": (0.5, WEIGHTS[0]), "reduction": "axis_mean"},
        {"reduction": "axis_mean", "axes": (1, 2, 3), "penalty": "l2"},
        {"penalty": "charbonnier", "subtract_delta": False, "delta": 0.3},
        {
            "penalty": "charbonnier",
            "subtract_delta": False,
            "isotropic": True,
            "weights": WEIGHTS,
        },
        {"order": 2},
        {"order": 2, "isotropic": True, "spacing": (0.5, 2.0), "weights": WEIGHTS},
        {"order": 2, "penalty": "huber", "boundary": "wrap"},
        {"order": 2, "reduction": "axis_mean", "boundary": ("interior", "edge")},
        {"order": 2, "channel_coupling": True, "penalty": "charbonnier"},
        {"order": 2, "boundary": ("linear", "quadratic"), "penalty": "l2"},
    ],
    "gradient_difference": [
        {},
        {"alpha": 2},
        {"alpha": 1.5},
        {"axes": (2,)},
        {"reduction": "axis_mean", "boundary": "wrap"},
    ],
    "gradient_matching": [
        {},
        {"scales": 1},
        {"scales": 2, "axes": (1,)},
        {"reduction": "batch_mean"},
        {"operator": "scharr", "downsample": "mean", "reduction": "axis_mean"},
        {"operator": "laplacian", "penalty": "huber", "delta": 0.3, "scales": 2},
    ],
    "edge_aware_smoothness": [
        {},
        {"edge_weight": 3.0},
        {"mean_normalized": True},
        {"axes": (1,), "mean_normalized": True},
        {"edge_weighting": "gaussian", "edge_weight": 0.6},
        {"penalty": "charbonnier"},
        {"penalty": "charbonnier", "delta": 0.3, "mean_normalized": True},
        {"order": 2},
        {"order": 2, "edge_weighting": "gaussian", "edge_weight": 0.6},
        {"order": 2, "penalty": "charbonnier", "delta": 0.3, "axes": (2, 1)},
        {"order": 2, "mean_normalized": True},
        {"order": 2, "penalty": "charbonnier", "mean_normalized": True},
    ],
    "laplacian_edge": [{}, {"delta": 0.3}, {"axes": (-1, 1)}, {"axes": 2}],
    "bending_energy": [
        {},
        {"step": 2, "reduction": "axis_mean"},
        {"axes": (2, 1), "spacing": (0.5, 2.0), "weights": 0.7},
        {"operator": "central", "step": 2, "reduction": "axis_mean"},
    ],
    "gradient_magnitude_similarity": [
        {},
        {"pooling": "mean", "constant": 0.3},
        {"downsampled": False, "axes": 2},
    ],
}
TABLE = [(name, options) for name, table in OPTIONS.items() for options in table]

# The losses, with the options that change what is computed.
KINDS = [
    *((name, {}) for name in ARRAYS),
    ("edge_aware_smoothness", {"order": 2}),
    ("gradient_matching", {"operator": "laplacian", "downsample": "gaussian"}),
]

# The losses that have `implementation`.
WAYS = {
    name: [{"implementation": way} for way in ("xla", "xla_cpu")]
    for name in ARRAYS
    if name != "laplacian_edge"
}


def short(value):
    """The id of a test; the numbers in an array would make it long."""
    return re.sub(r"array\(.*?\)", "array", str(value), flags=re.DOTALL)


every_loss = pytest.mark.parametrize("name", ARRAYS)
every_kind = pytest.mark.parametrize(("name", "options"), KINDS, ids=short)
every_option = pytest.mark.parametrize(("name", "options"), TABLE, ids=short)


def arrays(name, shape=SHAPE, dtype="float32"):
    """The arrays of a loss; a guide has another number of channels."""
    guided = name == "edge_aware_smoothness"
    shapes = [shape, (*shape[:-1], 2) if guided else shape][: ARRAYS[name]]
    given = [random_array(s, dtype, seed) for seed, s in enumerate(shapes)]
    if guided:
        given[0] = abs(given[0]) + np.ones((), given[0].dtype)
    return given


def mask(shape=SHAPE, channels=None):
    """A mask of random pixels, empty for the second image."""
    shape = (*shape[:-1], channels or shape[-1])
    valid = np.random.default_rng(7).random(shape) < 0.7
    valid[1] = False
    return valid


def has_reduction(name):
    return name != "gradient_magnitude_similarity"  # which has `pooling`


def close(ours, expected, tolerance=2e-5):
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def both(name, given, options):
    return getattr(losses, name)(*given, **options), getattr(oracle, name)(
        *given, **options
    )


# Values.


@every_option
def test_values(name, options):
    """Of valid pixels alone, and the mean: with the derivatives below."""
    reduction = {"reduction": "sum"} if has_reduction(name) else {}
    ours, expected = both(name, arrays(name), reduction | options)
    assert (ours.shape, ours.dtype) == ((3,), "float32")
    close(ours, expected)


@every_kind
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 1, 1, 1), (1, 2)),
        ((2, 1, 9, 3), (1, 2)),
        ((2, 9, 1, 2), (1, 2)),
        ((2, 4, 60, 3), (1, 2)),
        ((2, 4, 5, 6, 2), (1, 2, 3)),
        ((2, 4, 5, 6, 2), (1, 3)),
        ((2, 30, 2), (1,)),
    ],
)
def test_values_of_shapes(name, options, shape, axes):
    options = options | {"axes": axes, "where": mask(shape)}
    close(*both(name, arrays(name, shape), options))


@pytest.mark.fast
@every_loss
def test_values_of_one_channel(name):
    """With one channel, coupling changes nothing, and a guide needs no mean."""
    given, where = arrays(name, (3, 6, 7, 1)), mask((3, 6, 7, 1))

    @jax.jit
    def ours(*given):
        loss = functools.partial(getattr(losses, name), where=where)
        return [loss(*given, **options) for options in OPTIONS[name]]

    for values, options in zip(ours(*given), OPTIONS[name], strict=True):
        close(values, getattr(oracle, name)(*given, where=where, **options))


@every_loss
def test_a_mask_of_pixels_is_broadcast_to_the_channels(name):
    options = {"where": mask(channels=1)}
    close(*both(name, arrays(name), options))
    close(*both(name, arrays(name), {"where": mask()[:1, :, :1]}))


def test_golden_values():
    def tv(**options):
        return losses.total_variation(GOLDEN, reduction="sum", **options)

    assert float(tv()[0]) == 24
    close(tv(isotropic=True), [21.0777], 1e-4)
    close(losses.total_variation(GOLDEN), [24 / 9])


@every_kind
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtypes(name, options, dtype):
    loss = functools.partial(getattr(losses, name), **options)
    with jax.enable_x64(dtype == "float64"):
        given = list(map(jnp.asarray, arrays(name, dtype=jnp.dtype(dtype))))
        ours = loss(*given)
        derivative = jax.grad(lambda a: loss(a, *given[1:]).sum())(given[0])
    assert ours.dtype == ("float64" if dtype == "float64" else "float32")
    assert derivative.dtype == dtype
    expected = getattr(oracle, name)(*map(np.asarray, given), **options)
    close(ours, expected, 1e-12 if dtype == "float64" else 1e-2)


@every_loss
def test_integers_are_converted_to_float32(name):
    given = [np.abs(10 * a).astype("uint8") for a in arrays(name)]
    ours, expected = both(name, given, {})
    assert ours.dtype == "float32"
    close(ours, expected)


@pytest.mark.parametrize("name", [name for name in ARRAYS if ARRAYS[name] == 2])
def test_two_dtypes_are_promoted(name):
    """In either order; integers are promoted to the floating dtype."""
    given = arrays(name)
    for dtypes in [
        ("float32", "int32"),
        ("float32", "float16"),
        ("bfloat16", "float16"),
    ]:
        for two in (dtypes, dtypes[::-1]):
            pair = [
                (np.round(a) if d == "int32" else a).astype(jnp.dtype(d))
                for a, d in zip(given, two, strict=True)
            ]
            close(*both(name, pair, {}))


@every_loss
@pytest.mark.parametrize("masked", [False, True])
def test_an_image_does_not_depend_on_the_others(name, masked):
    options = {"where": mask() if masked else None}
    once = getattr(losses, name)(*arrays(name), **options)
    if masked:
        options["where"] = np.concatenate([options["where"]] * 2)
    twice = [np.concatenate([a] * 2) for a in arrays(name)]
    close(getattr(losses, name)(*twice, **options), np.concatenate([once] * 2))


def test_the_mean_is_independent_of_the_resolution():
    rows = np.linspace(0, 1, 201, dtype="float32")[:, None, None]
    ramp = np.broadcast_to(rows, (201, 30, 1))
    one = losses.total_variation(ramp[None]) * 200
    close(losses.total_variation(np.concatenate([ramp] * 2, 1)[None]) * 200, one)


# Derivatives.


@pytest.mark.parametrize(
    ("name", "options", "way"),
    [(name, options, way) for name, options in TABLE for way in WAYS.get(name, [{}])],
    ids=short,
)
def test_values_and_derivatives_of_valid_pixels(name, options, way):
    """Image by image along a random direction, by central differences."""
    options = options | {"where": mask()}
    weights = np.arange(1.0, 4)  # of the images, in the differentiated sum

    @jax.jit
    def derivatives(*given):
        def total(*given):
            values = getattr(losses, name)(*given, **options, **way)
            return jnp.sum(weights * values), values

        return jax.grad(total, tuple(range(len(given))), has_aux=True)(*given)

    with jax.enable_x64(True):
        given = arrays(name, dtype="float64")
        found, values = derivatives(*given)
    close(values, getattr(oracle, name)(*given, **options), 1e-12)
    assert np.asarray(values)[1] == 0
    for moving, derivative in enumerate(found):
        by = random_array(given[moving].shape, "float64", seed=9)

        def at(step, moving=moving, by=by):
            moved = list(given)
            moved[moving] = given[moving] + step * by
            return getattr(oracle, name)(*moved, **options)

        along = np.sum(np.asarray(derivative) * by, (1, 2, 3)) / weights
        close(along, (at(1e-6) - at(-1e-6)) / 2e-6, 1e-6)


@pytest.mark.parametrize(
    ("name", "option", "options"),
    [
        ("total_variation", "delta", {"penalty": "huber"}),
        ("total_variation", "delta", {"penalty": "charbonnier", "isotropic": True}),
        ("laplacian_edge", "delta", {}),
        ("edge_aware_smoothness", "edge_weight", {}),
        ("edge_aware_smoothness", "edge_weight", {"edge_weighting": "gaussian"}),
        ("edge_aware_smoothness", "delta", {"penalty": "charbonnier"}),
        (
            "edge_aware_smoothness",
            "delta",
            {"penalty": "charbonnier", "order": 2, "mean_normalized": True},
        ),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_derivatives_in_an_option(name, option, options, masked):
    options = options | {"where": mask() if masked else None}
    given = arrays(name)

    def at(function, value):
        return function(*given, **options, **{option: value})

    ours = functools.partial(at, getattr(losses, name))
    up, down = (at(getattr(oracle, name), 0.7 + h) for h in (1e-6, -1e-6))
    expected = (up - down) / 2e-6
    close(jax.jacrev(ours)(0.7), expected)
    if not masked:
        close(jax.jacfwd(ours)(0.7), expected)
        close(jax.vmap(ours)(np.float32([0.7, 0.7]))[1], ours(0.7))


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_directional_derivatives_are_accumulated_in_float32(dtype, implementation):
    """The products need more digits or a larger range than the dtype of the image."""
    image = random_array(SHAPE, dtype)
    direction = random_array(SHAPE, dtype, seed=1) * np.asarray(2**14, dtype)

    def loss(image):
        return losses.total_variation(
            image, reduction="sum", implementation=implementation
        )

    value, along = jax.jvp(loss, (image,), (direction,))
    assert value.dtype == along.dtype == "float32"
    signs = [np.sign(oracle.difference(oracle.wide(image), axis)) for axis in (1, 2)]
    products = oracle.minus_divergence(signs, (1, 2)) * oracle.wide(direction)
    atol = 1e-6 * np.abs(products).sum()
    np.testing.assert_allclose(along, oracle.per_image(products), rtol=0, atol=atol)


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
@pytest.mark.parametrize("options", [{"isotropic": True}, {"channel_coupling": True}])
def test_second_derivatives_of_norms_of_any_magnitude(options, implementation):
    """Those of the image s x along s v are s times those of x along v."""
    image, direction = (random_array(SHAPE, "float32", seed) for seed in (0, 1))
    options = options | {"reduction": "sum"}

    def total(image):
        loss = losses.total_variation(image, implementation=implementation, **options)
        return loss.sum()

    @jax.jit
    def second(image, direction):
        return jax.jvp(jax.grad(total), (image,), (direction,))[1]

    def at(step):
        moved = oracle.wide(image) + step * direction
        return oracle.total_variation(moved, **options).sum()

    expected = (at(1e-4) - 2 * at(0) + at(-1e-4)) / 1e-8
    for size in np.float32([1e-13, 1, 1e13]):
        found = np.vdot(second(size * image, size * direction), direction)
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [  # zeros beyond the border make differences there
        (name, options)
        for name, options in TABLE
        if "constant" not in np.atleast_1d(options.get("boundary", ""))
    ],
    ids=short,
)
def test_constant_images_have_zero_derivative(name, options):
    given = [np.full((3, 6, 7, 2), 0.3, "float32")] * ARRAYS[name]

    def loss(image):
        return getattr(losses, name)(image, *given[1:], **options).sum()

    ones = np.ones_like(given[0])
    first, second = jax.jvp(jax.grad(loss), (given[0],), (ones,))
    np.testing.assert_array_equal(first, 0 * given[0])
    assert np.isfinite(second).all()  # one entry of the Hessian that is not would show


@pytest.mark.parametrize("penalty", ["l1", "charbonnier"])
@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
def test_second_differences_of_ramps_have_zero_derivative(penalty, implementation):
    rows, columns = np.indices((6, 7), "float32")
    ramp = np.stack([3 * rows - 2 * columns, 5 - columns], -1)[None]
    _, guide = arrays("edge_aware_smoothness", ramp.shape)

    def loss(field):
        return losses.edge_aware_smoothness(
            field, guide, order=2, penalty=penalty, implementation=implementation
        ).sum()

    value, derivative = jax.value_and_grad(loss)(ramp)
    assert value == 0
    np.testing.assert_array_equal(derivative, 0 * ramp)
    bent = ramp.copy()
    bent[0, 3, 4] += 1
    assert loss(bent) > 0


# Masks.


@every_option
def test_invalid_pixels_have_no_influence(name, options):
    valid = mask(channels=1)
    given = arrays(name)
    wild = [
        np.where(valid, a, bad).astype("float32")
        for a, bad in zip(given, (np.nan, np.inf), strict=False)
    ]
    options = options | {"where": valid}

    def loss(*given):
        values = getattr(losses, name)(*given, **options)
        return values.sum(), values

    both = jax.jit(jax.value_and_grad(loss, tuple(range(len(given))), has_aux=True))
    ((_, values), of_wild), (_, of_given) = both(*wild), both(*given)
    close(values, getattr(oracle, name)(*given, **options))
    for wild_one, one in zip(of_wild, of_given, strict=True):
        close(wild_one, one)
        np.testing.assert_array_equal(np.where(valid, 0, wild_one), 0)


def test_nan_behind_the_mask_does_not_reach_the_edge_weight():
    valid = mask(channels=1)
    field, guide = arrays("edge_aware_smoothness")
    guide = np.where(valid, guide, np.nan)

    def loss(weight):
        return losses.edge_aware_smoothness(
            field, guide, edge_weight=weight, where=valid
        ).sum()

    assert np.isfinite(jax.grad(loss)(1.0))


@every_loss
def test_a_difference_of_a_valid_and_an_invalid_pixel_does_not_count(name):
    valid = np.indices((4, 4)).sum(0)[None, ..., None] % 2 == 0  # a checkerboard
    given = arrays(name, (1, 4, 4, 1))
    options = {"scales": 1} if name == "gradient_matching" else {}
    assert float(getattr(losses, name)(*given, where=valid, **options)[0]) == 0


@pytest.mark.parametrize("axes", [(1, 2), (2,)])
def test_edges_count_if_all_their_pixels_are_valid(axes):
    shape = (1, 20, 21, 2)
    given, valid = arrays("laplacian_edge", shape), np.ones(shape, bool)
    valid[0, 9, 9] = valid[0, 0, 1, 1] = False
    options = {"axes": axes, "where": valid}
    wild = [
        np.where(valid, a, bad) for a, bad in zip(given, (np.nan, np.inf), strict=True)
    ]

    def loss(*given):
        return losses.laplacian_edge(*given, **options)

    expected = oracle.laplacian_edge(*given, **options)
    assert expected > 0.1
    close(loss(*wild), expected)
    for moving in (0, 1):
        derivative = jax.grad(lambda *given: loss(*given).sum(), moving)
        close(derivative(*wild), derivative(*given))
        np.testing.assert_array_equal(np.where(valid, 0, derivative(*wild)), 0)


@pytest.mark.parametrize(("column", "edges"), [(9, range(6, 13)), (8, range(4, 13))])
def test_the_edges_that_depend_on_a_pixel(column, edges):
    """Those at even positions up to 4 pixels away, at odd ones up to 3."""
    given = arrays("laplacian_edge", (1, 20, 21, 1))
    valid = np.ones((1, 20, 21, 1), bool)
    valid[0, 9, column] = False
    total, mean = (
        losses.laplacian_edge(*given, axes=(2,), where=valid, reduction=reduction)
        for reduction in ("sum", "mean")
    )
    close(total / mean, [valid.size - len(edges)])


# Transformations.


@pytest.mark.fast
@every_kind
def test_jit_vmap_and_implementations(name, options):
    given = arrays(name)
    loss = functools.partial(getattr(losses, name), **options)
    expected = getattr(oracle, name)(*given, **options)
    close(jax.jit(loss)(*given), expected)
    for way in WAYS.get(name, [{}]):
        ours = functools.partial(loss, **way)
        close(ours(*given), expected)
        each = jax.vmap(lambda *one, ours=ours: ours(*(a[None] for a in one))[0])
        close(each(*given), expected)
        masked = jax.vmap(lambda where, ours=ours: ours(*given, where=where))
        masks = np.stack([mask(), ~mask()])
        each = [getattr(oracle, name)(*given, where=one, **options) for one in masks]
        close(masked(masks), np.stack(each))


@every_loss
def test_eval_shape(name):
    given = arrays(name)
    one = jax.ShapeDtypeStruct((3,), "float32")
    assert jax.eval_shape(getattr(losses, name), *given) == one


ON_ONE_DEVICE = {}


@every_kind
@pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    "spec",
    [P("x"), P(None, "x"), P(None, None, "x")],
    ids=["batch", "rows", "columns"],
)
def test_sharded_images(name, options, spec, mode):
    mesh = mesh_of(mode, x=8)
    shape = (8, 16, 24, 3)
    given, valid = arrays(name, shape), mask(shape)
    expected = getattr(oracle, name)(*given, where=valid, **options)

    def loss(*given, where):
        values = getattr(losses, name)(*given, where=where, **options)
        return values.sum(), values

    # Computed once for all the ways to shard.
    if (name, *options) not in ON_ONE_DEVICE:
        on_one, _ = jax.grad(loss, has_aux=True)(*given, where=valid)
        ON_ONE_DEVICE[name, *options] = on_one
    on_one = ON_ONE_DEVICE[name, *options]
    *placed, valid = (
        jax.device_put(a, NamedSharding(mesh, spec)) for a in (*given, valid)
    )
    derivative = jax.jit(jax.grad(loss, has_aux=True))
    compiled = derivative.lower(*placed, where=valid).compile()
    on_eight, values = compiled(*placed, where=valid)
    close(values, expected)
    close(on_eight, on_one)
    assert on_eight.sharding.is_equivalent_to(placed[0].sharding, 4)
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()


@every_kind
def test_a_mask_on_one_device_of_sharded_images(name, options):
    mesh = mesh_of(AxisType.Explicit, x=8)
    given, valid = arrays(name, (2, 16, 6, 3)), mask((2, 16, 6, 3))
    placed = [jax.device_put(a, NamedSharding(mesh, P(None, "x"))) for a in given]
    with jax.set_mesh(mesh):
        ours = getattr(losses, name)(*placed, where=jnp.asarray(valid), **options)
    close(ours, getattr(oracle, name)(*given, where=valid, **options))


@pytest.mark.parametrize("channels", [1, 4, 5, 8])
def test_guides_of_few_and_many_channels(channels):
    field = random_array((2, 5, 6, 1), "float32")
    guide = random_array((2, 5, 6, channels), "float32", 1)
    expected = oracle.edge_aware_smoothness(field, guide)
    close(losses.edge_aware_smoothness(field, guide), expected)
    shape = jax.export.symbolic_shape("c")
    exported = jax.export.export(jax.jit(losses.edge_aware_smoothness))(
        jax.ShapeDtypeStruct(field.shape, "float32"),
        jax.ShapeDtypeStruct((2, 5, 6, *shape), "float32"),
    )
    close(exported.call(field, guide), expected)
    if channels in (4, 8):
        mesh = mesh_of(AxisType.Explicit, x=4)
        sharding = NamedSharding(mesh, P(None, None, None, "x"))
        with jax.set_mesh(mesh):
            sharded = jax.device_put(guide, sharding)
            close(losses.edge_aware_smoothness(jnp.asarray(field), sharded), expected)


@every_kind
def test_vmap_over_and_beside_a_sharded_axis(name, options):
    mesh = mesh_of(AxisType.Explicit, x=4, y=2)
    given = arrays(name, (4, 2, 8, 6, 3))
    sharding = NamedSharding(mesh, P("x", None, "y"))
    placed = [jax.device_put(a, sharding) for a in given]
    ours = jax.jit(jax.vmap(functools.partial(getattr(losses, name), **options)))
    each = [getattr(oracle, name)(*one, **options) for one in zip(*given, strict=True)]
    close(ours(*placed), np.stack(each))


@pytest.mark.parametrize("name", WAYS)
def test_xla_cpu_refuses_explicitly_sharded_images(name):
    mesh = mesh_of(AxisType.Explicit, x=8)
    sharding = NamedSharding(mesh, P(None, "x"))
    placed = [jax.device_put(a, sharding) for a in arrays(name, (1, 16, 6, 3))]
    with pytest.raises(NotImplementedError, match="would gather an image"):
        getattr(losses, name)(*placed, implementation="xla_cpu")


@every_kind
def test_export_with_symbolic_shapes(name, options):
    loss = functools.partial(getattr(losses, name), **options)

    def value_and_derivative(*given):
        return loss(*given), jax.grad(lambda *given: loss(*given).sum())(*given)

    least = 2 if name == "laplacian_edge" else 1
    constraints = [f"h >= {least}", f"w >= {least}"]
    shape = jax.export.symbolic_shape("b, h, w, c", constraints=constraints)
    structs = [jax.ShapeDtypeStruct(shape, "float32")] * ARRAYS[name]
    exported = jax.export.export(jax.jit(value_and_derivative))(*structs)
    for size in [(3, 12, 13, 2), (1, least, 2, 1), (2, 9, least, 3)]:
        given = [random_array(size, "float32", seed) for seed in range(ARRAYS[name])]
        value, derivative = exported.call(*given)
        close(value, getattr(oracle, name)(*given, **options))
        by = random_array(size, "float64", seed=9)

        def at(step, given=given, by=by):
            return getattr(oracle, name)(given[0] + step * by, *given[1:], **options)

        along = np.sum(np.asarray(derivative) * by)
        close(along, (at(1e-6) - at(-1e-6)).sum() / 2e-6, 1e-4)


# Errors.


def refused(error, match, name, *given, **options):
    with pytest.raises(error, match=match):
        getattr(losses, name)(*given, **options)


@every_loss
def test_errors_of_every_loss(name):
    given = arrays(name)
    first = r"(image|predictions|field)"

    def no(error, match, *given, **options):
        refused(error, match, name, *given, **options)

    if has_reduction(name):
        no(ValueError, "reduction must be one of 'mean'", *given, reduction="max")
    for axes in [(0, 1), (1, 1), (1, -3), (4,), (-5,), ()]:
        no(ValueError, f"axes must be distinct axes of {first}", *given, axes=axes)
    no(TypeError, "where must be bool, got float32", *given, where=given[0])
    no(ValueError, "where must broadcast to", *given, where=mask()[..., 0])
    for axes in ("12", (1.0, 2), None):
        no(TypeError, "axes must be an integer or a sequence", *given, axes=axes)
    one = [a[0] for a in given]
    no(ValueError, rf"for one image \[H, W, C\], pass {first}\[None\]", *one)
    if name not in ("total_variation", "bending_energy"):
        complex_ones = [a.astype("complex64") for a in given]
        no(TypeError, "must be real, got complex", *complex_ones)
    no(TypeError, f"{first} must be an array, got 'photo.png'", "photo.png", *given[1:])
    line = [np.ones(3, "float32")] * len(given)
    no(ValueError, rf"for one signal, pass {first}\[None, :, None\]", *line)


def test_numpy_scalars_are_accepted():
    pair = arrays("gradient_matching")
    for name, options, alike in (
        ("gradient_matching", {"scales": np.int64(2)}, {"scales": 2}),
        ("gradient_difference", {"alpha": np.float32(2)}, {"alpha": 2}),
        ("gradient_difference", {"alpha": jnp.float32(2)}, {"alpha": 2}),
        ("gradient_matching", {"scales": jnp.int32(2)}, {"scales": 2}),
        ("gradient_difference", {"axes": np.int64(1)}, {"axes": 1}),
        ("gradient_difference", {"axes": np.array([1, 2])}, {"axes": (1, 2)}),
        ("laplacian_edge", {"delta": np.float32(0.5)}, {"delta": 0.5}),
    ):
        loss = getattr(losses, name)
        np.testing.assert_array_equal(loss(*pair, **options), loss(*pair, **alike))


@pytest.mark.parametrize("name", WAYS)
def test_errors_of_implementations(name):
    def no(error, match, way):
        refused(error, match, name, *arrays(name), implementation=way)

    no(ValueError, "implementation must be None or one", "cuda")
    words = "'xla' or 'xla_cpu'|its kernels compute forward differences"
    no(NotImplementedError, words, "pallas_tpu")


def test_errors_of_single_losses():
    one = np.ones((1, 4, 5, 3), "float32")
    other = np.ones((1, 4, 6, 3), "float32")
    refused(
        ValueError, "penalty must be one of 'l1'", "total_variation", one, penalty="x"
    )
    for name in ("gradient_difference", "gradient_matching", "laplacian_edge"):
        refused(ValueError, "targets must have the shape of", name, one, other)
    refused(
        ValueError, "guide must have the shape of", "edge_aware_smoothness", one, other
    )
    for scale in (0.0, -1.0, float("nan"), "big"):
        for name, *given in (("total_variation", one), ("laplacian_edge", one, one)):
            refused(
                ValueError, "delta must be a positive number", name, *given, delta=scale
            )
    edge_aware = "edge_aware_smoothness", one, one
    refused(ValueError, "delta must be", *edge_aware, delta=0)
    refused(ValueError, "edge_weight must be a number of", *edge_aware, edge_weight=-1)
    for scales in (0, 2.7, True, 32, jnp.ones(1, int)):
        refused(
            ValueError,
            "scales must be an integer from 1 to 31",
            "gradient_matching",
            one,
            one,
            scales=scales,
        )
    for alpha in (0.5, float("nan"), float("inf"), jnp.ones(1)):
        refused(
            ValueError, "alpha must be", "gradient_difference", one, one, alpha=alpha
        )
    refused(
        ValueError,
        "order must be one of 1, 2",
        "edge_aware_smoothness",
        one,
        one,
        order=3,
    )
    refused(
        ValueError,
        "penalty must be one of 'l1', 'charb",
        "edge_aware_smoothness",
        one,
        one,
        penalty="l2",
    )
    refused(
        ValueError,
        "edge_weighting must be one of 'exp",
        "edge_aware_smoothness",
        one,
        one,
        edge_weighting="x",
    )
    for scales in (0, -1):
        refused(
            ValueError, "scales must be", "gradient_matching", one, one, scales=scales
        )


# The total variation of TensorFlow.


def test_total_variation_of_one_image_and_of_several():
    images = random_array(SHAPE, "float32")
    ours = jig.total_variation(images)
    assert ours.shape == (3,)
    close(ours, oracle.total_variation(images, reduction="sum"))
    one = jig.total_variation(images[0])
    assert one.shape == ()
    close(one, ours[0])
    assert jig.total_variation(GOLDEN[0]) == 24


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_total_variation_keeps_floats(dtype):
    with jax.enable_x64(dtype == "float64"):
        image = jnp.asarray(random_array(SHAPE, dtype))
        ours = jig.total_variation(image)
    assert ours.dtype == dtype
    expected = oracle.total_variation(np.asarray(image), reduction="sum")
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(ours, "float64"), expected, rtol=4 * eps)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint16", "int32"])
def test_total_variation_of_integers_is_exact(dtype):
    image = random_array((2, 30, 40, 3), dtype)
    if dtype == "int32":
        image //= 1 << 16
    ours = jig.total_variation(image)
    assert ours.dtype == "int32"
    expected = oracle.total_variation(image.astype("int64"), reduction="sum")
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
def test_total_variation_does_not_wrap_around(implementation):
    image = np.uint8([[[200], [10], [255], [0]]])
    assert jig.total_variation(image, implementation=implementation) == 690
    image = np.int8([[[127], [-128]]])
    assert jig.total_variation(image, implementation=implementation) == 255


def test_total_variation_of_complex_numbers():
    image = random_array(SHAPE, "complex64")
    ours = jig.total_variation(image)
    assert ours.dtype == "float32"
    close(ours, oracle.total_variation(image, reduction="sum").real)


@pytest.mark.parametrize("rank", [0, 1, 2, 5])
def test_total_variation_refuses_other_ranks(rank):
    with pytest.raises(ValueError, match=f"rank 4.* or rank 3.* got rank {rank} with"):
        jig.total_variation(np.ones((2,) * rank, "float32"))


def test_total_variation_differentiates():
    image = random_array(SHAPE, "float32")
    signs = [np.sign(oracle.difference(oracle.wide(image), axis)) for axis in (1, 2)]
    expected = oracle.minus_divergence(signs, (1, 2))
    close(jax.grad(lambda i: jig.total_variation(i).sum())(image), expected)
    close(jax.vmap(jax.grad(jig.total_variation))(image), expected)


# Training.

PICTURES = np.stack(
    [
        np.sin(np.indices((12, 12)) / (2 + k)).sum(0)[..., None] * np.ones(3)
        for k in range(2)
    ]
).astype("float32")


def small(output):
    """A small penalty, as the losses do not determine the mean of the output."""
    return 1e-3 * jnp.mean(output**2)


def aligned_matching(output):
    scale, shift = losses.scale_and_shift(output, PICTURES)
    return losses.gradient_matching(scale * output + shift, PICTURES)


def second_order(output):
    return losses.edge_aware_smoothness(
        output, PICTURES, order=2, penalty="charbonnier", edge_weighting="gaussian"
    )


TRAINED = {
    "total_variation": losses.total_variation,
    "gradient_difference": lambda out: losses.gradient_difference(out, PICTURES),
    "gradient_matching": lambda out: losses.gradient_matching(
        out, PICTURES, reduction="batch_mean"
    ),
    "gradient_matching, aligned": aligned_matching,
    "edge_aware_smoothness": lambda out: losses.edge_aware_smoothness(
        jax.nn.sigmoid(out), PICTURES
    ),
    "edge_aware_smoothness, order 2": second_order,
    "laplacian_edge": lambda out: losses.laplacian_edge(out, PICTURES),
    "bending_energy": losses.bending_energy,
    "gradient_magnitude_similarity": lambda out: losses.gradient_magnitude_similarity(
        out, PICTURES
    ),
}


def test_every_loss_is_trained():
    assert {name.split(",")[0] for name in TRAINED} == ARRAYS.keys()


@pytest.mark.parametrize("name", TRAINED)
@jax.numpy_dtype_promotion("standard")  # required by optax
def test_a_network_trains(name):
    model = nnx.Conv(3, 3, (3, 3), rngs=nnx.Rngs(0))
    definition, parameters = nnx.split(model)
    noise = random_array(PICTURES.shape, "float32", seed=3)
    optimizer = optax.adam(1e-2)

    def loss(parameters):
        output = nnx.merge(definition, parameters)(noise)
        return TRAINED[name](output).mean() + small(output)

    @jax.jit
    def step(parameters, state):
        value, derivative = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(derivative, state)
        return optax.apply_updates(parameters, updates), state, value

    values = []
    state = optimizer.init(parameters)
    for _ in range(16):  # the aligned loss, which is invariant to scale, is slow
        parameters, state, value = step(parameters, state)
        values.append(float(value))
    assert np.isfinite(values).all()
    assert values[-1] > 0
    assert values[-1] < 0.99 * values[0]


def test_channel_coupling_excludes_the_channel_axis():
    image = np.ones((2, 3, 4, 2), "float32")
    with pytest.raises(ValueError, match="axes must not include the last axis"):
        losses.total_variation(image, channel_coupling=True, axes=(1, -1))
    empty = losses.total_variation(image[..., :0], channel_coupling=True)
    np.testing.assert_array_equal(empty, 0)
