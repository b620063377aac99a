"""Bending energy: laws, and published forms evaluated literally in NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import loss_oracle as oracle
import numpy as np
import pytest
from cases import random_array

from jax_imgrad import losses

AXES = (-4, -3, -2)
SHAPE = (2, 6, 7, 8, 3)


def energy(field, **options):
    """In float64."""
    with jax.enable_x64(True):
        return np.asarray(losses.bending_energy(np.asarray(field, "f8"), **options))


def cropped(x, shifts=None):
    """MONAI's slices of `[B, 3, D, H, W]`: one voxel less at each side, shifted."""
    every = [slice(None), slice(None), *[slice(1, -1)] * 3]
    for axis, shift in (shifts or {}).items():
        every[axis] = slice(1 + shift, x.shape[axis] - 1 + shift)
    return x[tuple(every)]


def central(x, axis):
    """MONAI, losses/deform.py, `spatial_gradient`."""
    return (cropped(x, {axis: 1}) - cropped(x, {axis: -1})) / 2


def sizes_of(pred):
    return np.array(pred.shape[2:], float).reshape(1, -1, 1, 1, 1)


def monai_diffusion(pred, normalize=False):
    """MONAI, losses/deform.py, `DiffusionLoss`: the energy of each voxel."""
    total = 0
    for i in (2, 3, 4):
        g = central(pred, i)
        if normalize:
            g = g * (pred.shape[i] / sizes_of(pred))
        total = total + g**2
    return total


def monai_bending(pred, normalize=False):
    """MONAI 1.6.1, `BendingEnergyLoss`: the energy of each voxel."""
    total = 0
    for i in (2, 3, 4):
        second = cropped(pred, {i: 1}) - 2 * cropped(pred) + cropped(pred, {i: -1})
        if normalize:
            second = second * (pred.shape[i] ** 2 / sizes_of(pred))
        total = total + second**2
        for j in range(i + 1, 5):
            mixed = cropped(pred, {i: 1, j: 1}) - cropped(pred, {i: 1, j: -1})
            mixed -= cropped(pred, {i: -1, j: 1}) - cropped(pred, {i: -1, j: -1})
            mixed = mixed / 4
            if normalize:
                mixed = mixed * (pred.shape[i] * pred.shape[j] / sizes_of(pred))
            total = total + 2 * mixed**2
    return total


def earlier_monai_bending(pred, normalize=False):
    """MONAI before 1.6.1, `BendingEnergyLoss`: the energy of each voxel."""
    total = 0
    for i in (2, 3, 4):
        first = central(pred, i)
        if normalize:
            first = first * (pred.shape[i] / sizes_of(pred))
        for j in range(i, 5):
            second = central(first, j) * (pred.shape[j] if normalize else 1)
            total = total + (1 if i == j else 2) * second**2
    return total


def diffusion(field, **options):
    """The documented call."""
    options |= {"scales": 1, "operator": "central", "penalty": "l2"}
    return losses.gradient_matching(field, jnp.zeros_like(field), **options)


OF_MONAI = [
    (functools.partial(losses.bending_energy, operator="central"), monai_bending),
    (diffusion, monai_diffusion),
]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), OF_MONAI)
def test_monai(ours, theirs, normalize):
    """The mean over the voxels inside the border, which the weights select."""
    field = random_array(SHAPE, "float64")
    expected = theirs(np.moveaxis(field, -1, 1), normalize).mean((1, 2, 3, 4))
    inner = np.pad(np.ones((4, 5, 6, 1)), [(1, 1)] * 3 + [(0, 0)])
    options = {"axes": AXES, "weights": inner / inner.mean()}
    if normalize:
        sizes = np.array(SHAPE[1:4])
        field, options["spacing"] = field / sizes, 1 / sizes
    with jax.enable_x64(True):
        np.testing.assert_allclose(ours(field, **options), expected, 1e-12)


@pytest.mark.parametrize(("ours", "theirs"), OF_MONAI)
def test_monai_of_a_field_that_is_zero_at_the_border(ours, theirs):
    """The sum, without weights."""
    field = np.zeros(SHAPE)
    field[:, 1:-1, 1:-1, 1:-1] = random_array((2, 4, 5, 6, 3), "float64")
    expected = theirs(np.moveaxis(field, -1, 1)).sum((1, 2, 3, 4))
    with jax.enable_x64(True):
        total = ours(field, axes=AXES, reduction="sum")
    np.testing.assert_allclose(total, expected, 1e-12)


@pytest.mark.parametrize("normalize", [False, True])
def test_earlier_monai(normalize):
    """Of a field that is 0 near the border, where MONAI leaves some derivatives out."""
    field = np.zeros((2, 9, 10, 11, 3))
    field[:, 3:-3, 3:-3, 3:-3] = random_array((2, 3, 4, 5, 3), "float64")
    theirs = earlier_monai_bending(np.moveaxis(field, -1, 1), normalize)
    options = {"step": 2, "axes": AXES}
    if normalize:
        sizes = np.array(field.shape[1:4])
        field, options["spacing"] = field / sizes, 1 / sizes
    total = energy(field, reduction="sum", **options)
    assert (total > 0).all()
    np.testing.assert_allclose(total, theirs.sum((1, 2, 3, 4)), 1e-12)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_voxelmorph(penalty):
    """torch/losses.py, `Grad(penalty, loss_mult=2)`; `y_pred` is `[B, 3, D, H, W]`."""
    field = random_array(SHAPE, "float64")
    pred = np.moveaxis(field, -1, 1)
    sizes = [np.abs(np.diff(pred, axis=axis)) for axis in (2, 3, 4)]
    sizes = [s * s for s in sizes] if penalty == "l2" else sizes
    theirs = 2 * sum(s.reshape(len(s), -1).mean(-1) for s in sizes) / 3
    with jax.enable_x64(True):
        ours = losses.total_variation(
            field, penalty=penalty, reduction="axis_mean", axes=AXES
        )
    np.testing.assert_allclose(np.asarray(ours) * 2 / 3, theirs, 1e-12)


@pytest.mark.parametrize("boundary", ["interior", "wrap", "constant"])
def test_boundaries(boundary):
    """By second derivatives of the padded field; "interior" has no others."""
    field = random_array((2, 5, 6, 2), "float64")
    weights = np.random.default_rng(1).random(field.shape)
    modes = {"wrap": "wrap", "constant": "constant", "interior": "constant"}
    widths, fill = [(0, 0), (1, 1), (1, 1), (0, 0)], {}
    if boundary == "interior":
        fill = {"constant_values": np.nan}
    padded = np.pad(field, widths, modes[boundary], **fill)
    u = {
        (i, j): padded[:, 1 + i : 6 + i, 1 + j : 7 + j]
        for i, j in itertools.product((-1, 0, 1), repeat=2)
    }
    dyy = (u[1, 0] - 2 * u[0, 0] + u[-1, 0]) / 2**2
    dxx = (u[0, 1] - 2 * u[0, 0] + u[0, -1]) / 3**2
    dyx = (u[1, 1] - u[1, 0] - u[0, 1] + u[0, 0]) / (2 * 3)
    squares = [weights * d**2 for d in (dyy, dyx, dyx, dxx)]
    options = {"boundary": boundary, "spacing": (2, 3), "weights": weights}
    totals = [np.nansum(s, (1, 2, 3)) for s in squares]
    np.testing.assert_allclose(
        energy(field, reduction="sum", **options), sum(totals), 1e-12
    )
    means = [np.nanmean(s, (1, 2, 3)) for s in squares]
    np.testing.assert_allclose(
        energy(field, reduction="axis_mean", **options), sum(means), 1e-12
    )


@pytest.mark.parametrize("step", [1, 2])
def test_affine_fields_have_neither_energy_nor_derivative(step):
    """Integers, so that nothing is rounded; and one pixel more has both."""
    z, y, x = np.indices(SHAPE[1:4], "float32")
    field = np.stack([3 * x - 2 * y, 5 + z, z - x], -1)[None]

    def loss(field):
        return losses.bending_energy(field, step=step, axes=AXES, spacing=0.5).sum()

    value, derivative = jax.value_and_grad(loss)(field)
    assert value == 0
    assert not derivative.any()
    bent = field.copy()
    bent[0, 3, 3, 4, 1] += 1
    assert loss(bent) > 0


def quadratic(n, extent):
    """x² + 3 x y - 2 y² at n pixels along each axis, and their distance."""
    h = extent / (n - 1)
    y, x = np.indices((n, n)) * h
    return (x**2 + 3 * x * y - 2 * y**2)[None, ..., None], h


@pytest.mark.parametrize("n", [6, 11])
def test_a_quadratic_field_has_the_same_energy_at_every_resolution(n):
    """dyy = -4, dxx = 2 and twice dyx = 3."""
    field, h = quadratic(n, extent=2.0)
    for step in (1, 2):
        ours = energy(field, spacing=h, step=step, reduction="axis_mean")
        np.testing.assert_allclose(ours, 16 + 4 + 2 * 9, 1e-10)


def test_the_mean_of_a_smooth_field_converges():
    """That of sin x sin 2 y over a period is (1 + 2 * 4 + 16) / 4."""
    errors = []
    for n in (16, 32):
        y, x = np.indices((n, n)) * (2 * np.pi / n)
        field = (np.sin(x) * np.sin(2 * y))[None, ..., None]
        ours = energy(field, spacing=2 * np.pi / n, boundary="wrap")
        errors.append(abs(ours[0] - 25 / 4))
    assert errors[0] < 1
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)  # of second order


def test_turning_the_field_changes_nothing():
    """By 90 degrees, components included; and spacing and weights with the axes."""
    field = random_array((2, 5, 7, 2), "float64")
    turned = np.rot90(field, axes=(1, 2))
    turned = np.stack([turned[..., 1], -turned[..., 0]], -1)
    for options, of_turned in [
        ({}, {}),
        ({"step": 2}, {"step": 2}),
        ({"spacing": (2, 3)}, {"spacing": (3, 2)}),
        ({"boundary": "wrap"}, {"boundary": "wrap"}),
    ]:
        np.testing.assert_allclose(
            energy(turned, **of_turned), energy(field, **options), 1e-12
        )


def test_weights_of_a_lower_rank_beside_a_mask():
    field = random_array((2, 5, 6, 2), "float32")
    valid = np.random.default_rng(0).random(field.shape) < 0.8
    options = {"weights": np.linspace(0, 2, 6)[:, None], "where": valid}
    ours = losses.bending_energy(field, **options)
    np.testing.assert_allclose(ours, oracle.bending_energy(field, **options), 1e-5)


def test_errors():
    field = np.ones((1, 5, 6, 2), "float32")
    for step in (0, 1025, 1.5, True, "1"):
        words = "^step must be an integer from 1 to 1024, got "
        with pytest.raises(ValueError, match=words):
            losses.bending_energy(field, step=step)
    with pytest.raises(ValueError, match=r"^weights must be one array, since this"):
        losses.bending_energy(field, weights=[field, field])
    with pytest.raises(ValueError, match=r"^weights must be a number of at least 0"):
        losses.bending_energy(field, weights=-field)
