"""The alignment of a prediction with its target, by least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mesh_of, random_array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_imgrad import losses

pytestmark = pytest.mark.fast

SHAPE = (3, 5, 6, 2)


def pair(shape=SHAPE, dtype="float32"):
    return [random_array(shape, dtype, seed) for seed in (0, 1)]


def mask(shape=SHAPE):
    """A mask of random pixels, empty for the second image."""
    valid = np.random.default_rng(7).random(shape) < 0.7
    valid[1] = False
    return valid


def fitted(predictions, targets, where=None, weights=None):
    """NumPy's least squares for each image; two arrays `[B]`."""
    where = np.ones(predictions.shape, bool) if where is None else where
    weights = np.ones(predictions.shape) if weights is None else weights
    found = []
    for p, t, w, valid in zip(predictions, targets, weights, where, strict=True):
        root = np.sqrt(w[valid].astype("float64"))
        columns = np.stack([root * p[valid], root], -1)
        solution = np.linalg.lstsq(columns, root * t[valid])[0]
        found.append(solution if root.any() else [0, 0])
    return np.transpose(found)


def positive(shape=SHAPE):
    return np.random.default_rng(3).uniform(0.2, 3, shape)


def close(ours, expected, tolerance=1e-5):
    ours = [np.asarray(one).reshape(-1) for one in ours]
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("where", [None, mask()], ids=["all", "masked"])
def test_values(where):
    ours = losses.scale_and_shift(*pair(), where=where)
    assert [one.shape for one in ours] == [(3, 1, 1, 1)] * 2
    close(ours, fitted(*pair(), where))


@pytest.mark.parametrize("where", [None, mask()], ids=["all", "masked"])
def test_weighted_values(where):
    weights = positive().astype("float32")
    ours = losses.scale_and_shift(*pair(), weights=weights, where=where)
    close(ours, fitted(*pair(), where, weights))
    one_row = weights[:1, :, :1, :1]
    ours = losses.scale_and_shift(*pair(), weights=one_row, where=where)
    close(ours, fitted(*pair(), where, np.broadcast_to(one_row, SHAPE)))


def test_weights_of_one_and_zero():
    """They change nothing but rounding, and are a mask."""
    for ones in (1, np.ones(SHAPE, "float32")):
        close(losses.scale_and_shift(*pair(), weights=ones), fitted(*pair()), 2e-6)
    p, t = pair()
    wild = np.where(mask(), p, 1e30)  # a number too large to be squared
    weights = mask().astype("float32")
    close(losses.scale_and_shift(wild, t, weights=weights), fitted(p, t, mask()))
    constant = np.where(mask(), np.float32(0.1), p)
    scale, _ = losses.scale_and_shift(constant, t, weights=weights)
    np.testing.assert_array_equal(scale, 0)


@pytest.mark.parametrize("factor", [1e-37, 1e37])
def test_a_common_factor_of_the_weights_cancels(factor):
    weights = positive()
    scaled = (factor * weights).astype("float32")
    close(
        losses.scale_and_shift(*pair(), weights=scaled), fitted(*pair(), None, weights)
    )


def test_weights_of_zero_have_finite_derivatives():
    def total(p, t, weights):
        return sum(
            jnp.sum(one) for one in losses.scale_and_shift(p, t, weights=weights)
        )

    for slopes in jax.grad(total, (0, 1, 2))(*pair(), np.zeros(SHAPE, "float32")):
        np.testing.assert_array_equal(slopes, 0)


@pytest.mark.parametrize("shape", [(2, 9), (2, 4, 5), (2, 3, 4, 5, 2), (1, 1, 2, 1)])
def test_shapes(shape):
    ours = losses.scale_and_shift(*pair(shape))
    assert [one.shape for one in ours] == [(shape[0], *[1] * (len(shape) - 1))] * 2
    close(ours, fitted(*pair(shape)))


def test_no_pixels():
    close(losses.scale_and_shift(*pair((2, 0, 3, 1))), np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_dtypes(dtype):
    with jax.enable_x64(dtype == "float64"):
        given = [jnp.asarray(a) for a in pair(dtype=jnp.dtype(dtype))]
        ours = losses.scale_and_shift(*given)
        wide = [np.asarray(a, "float64") for a in given]
    assert {one.dtype for one in ours} == {
        jnp.dtype("float64" if dtype == "float64" else "float32")
    }
    close(ours, fitted(*wide), 1e-12 if dtype == "float64" else 1e-5)


def test_a_small_contrast_far_from_zero():
    """Normal equations that are not centered would lose all digits here."""
    p, _ = pair()
    p = 1000 + 0.1 * p
    t = 2 * p.astype("float64") - 1990
    scale, _ = losses.scale_and_shift(p, t.astype("float32"))
    np.testing.assert_allclose(scale, np.full((3, 1, 1, 1), 2), rtol=1e-3)


@pytest.mark.parametrize("where", [None, mask()], ids=["all", "masked"])
@pytest.mark.parametrize("constant", [0.1, 0.3, 1e6, -7.7])
def test_a_constant_prediction(constant, where):
    _, t = pair()
    p = np.full(SHAPE, constant, "float32")
    scale, shift = losses.scale_and_shift(p, t, where=where)
    np.testing.assert_array_equal(scale, 0)
    valid = np.ones(SHAPE, bool) if where is None else where
    means = [a[v].mean() if v.any() else 0 for a, v in zip(t, valid, strict=True)]
    close([shift], [means])


def test_a_constant_target():
    p, _ = pair()
    scale, shift = losses.scale_and_shift(p, np.full(SHAPE, 0.3, "float32"))
    np.testing.assert_array_equal(scale, 0)
    np.testing.assert_array_equal(shift, np.float32(0.3))


def aligned_error(predictions, targets, where=None):
    scale, shift = losses.scale_and_shift(predictions, targets, where=where)
    residual = scale * predictions + shift - targets
    residual = residual if where is None else jnp.where(where, residual, 0)
    return jnp.sum(residual**2)


@pytest.mark.parametrize("where", [None, mask()], ids=["all", "masked"])
@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives(where, weighted):
    """In both images, and in the weights alone."""
    with jax.enable_x64(True):
        given, by = pair(dtype="float64"), pair(dtype="float64")[::-1]
        if weighted:
            given, by = [*given, positive()], [0, 0, by[0]]

        def along(step):
            return [g + step * b for g, b in zip(given, by, strict=True)]

        def ours(step):
            p, t, *w = along(step)
            weights = {"weights": w[0]} if w else {}
            found = losses.scale_and_shift(p, t, where=where, **weights)
            return jnp.stack([one.reshape(-1) for one in found])

        zero = jnp.float64(0)
        derivatives = jax.jacrev(ours)(zero), jax.jacfwd(ours)(zero)
    moved = [along(step) for step in (1e-6, -1e-6)]
    up, down = (fitted(p, t, where, *w) for p, t, *w in moved)
    for derivative in derivatives:
        close(derivative, (up - down) / 2e-6, 1e-6)


@pytest.mark.parametrize("where", [None, mask()], ids=["all", "masked"])
def test_derivatives_at_a_constant_are_finite(where):
    p = np.full((2, 2, 3, 1), 0.3, "float32")
    t = pair(p.shape)[1]
    where = None if where is None else where[:2, :2, :3, :1]

    def scale(p):
        return losses.scale_and_shift(p, t, where=where)[0].sum()

    np.testing.assert_array_equal(jax.grad(scale)(p), 0 * p)
    for moving in (0, 1):
        assert np.isfinite(jax.grad(aligned_error, moving)(p, t, where)).all()
        assert np.isfinite(jax.hessian(aligned_error, moving)(p, t, where)).all()


def test_invalid_pixels_have_no_influence():
    p, t = pair()
    valid = mask()
    wild = np.where(valid, p, np.nan), np.where(valid, t, np.inf)
    close(losses.scale_and_shift(*wild, where=valid), fitted(p, t, valid))
    for moving in (0, 1):

        def shifts(p, t):
            scale, shift = losses.scale_and_shift(p, t, where=valid)
            return jnp.sum(scale * shift)

        derivative = jax.grad(shifts, moving)(*wild)
        np.testing.assert_array_equal(np.where(valid, 0, derivative), 0)
        np.testing.assert_allclose(
            derivative, jax.grad(shifts, moving)(p, t), rtol=1e-5, atol=1e-6
        )


def test_vmap():
    each = jax.vmap(lambda p, t: losses.scale_and_shift(p[None], t[None]))
    ours = each(*pair())
    assert ours[0].shape == (3, 1, 1, 1, 1)
    close(ours, fitted(*pair()))


@pytest.mark.parametrize("mode", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("spec", [P("x"), P(None, "x")], ids=["batch", "rows"])
def test_sharded_images(spec, mode):
    mesh = mesh_of(mode, x=8)
    given, valid = pair((8, 16, 6, 3)), mask((8, 16, 6, 3))
    placed = [jax.device_put(a, NamedSharding(mesh, spec)) for a in (*given, valid)]
    aligned = jax.jit(lambda p, t, v: losses.scale_and_shift(p, t, where=v))
    compiled = aligned.lower(*placed).compile()
    close(compiled(*placed), fitted(*given, valid))
    assert "all-gather" not in compiled.as_text()


def test_export_with_symbolic_shapes():
    shape = jax.export.symbolic_shape("b, h, w, c")
    struct = jax.ShapeDtypeStruct(shape, "float32")
    exported = jax.export.export(jax.jit(losses.scale_and_shift))(struct, struct)
    close(exported.call(*pair()), fitted(*pair()))


def test_gradient_matching_after_alignment():
    p, _ = pair()
    t = (3 * p - 2).astype("float32")
    scale, shift = losses.scale_and_shift(p, t)
    close([losses.gradient_matching(scale * p + shift, t)], np.zeros((1, 3)))
    assert losses.gradient_matching(p, t).min() > 1


def test_errors():
    one = np.ones((1, 4, 5, 3), "float32")
    with pytest.raises(ValueError, match="targets must have the shape of predictions"):
        losses.scale_and_shift(one, one[:, :3])
    with pytest.raises(TypeError, match="where must be bool, got float32"):
        losses.scale_and_shift(one, one, where=one)
    with pytest.raises(TypeError, match="predictions must be an array, got 'photo'"):
        losses.scale_and_shift("photo", one)
