"""The calls on the page "Which loss?" have the values of the published losses."""

import functools

import jax
import jax.numpy as jnp
import loss_oracle
import numpy as np
import published
import published_smoothness
import pytest
from test_bending_energy import monai_bending
from test_gradient_magnitude_similarity import piq
from test_pages import ROOT, rows

from jax_imgrad import losses

PAGE = (ROOT / "docs" / "which_loss.md").read_text()
CALLS = {
    source: call.partition("`, see")[0].strip("`")
    for _, source, call, _ in rows(PAGE, "\n| task | published loss |")
}
LOSSES = {name: getattr(losses, name) for name in losses.__all__}
SHAPE, VOLUME = (2, 32, 32, 3), (2, 9, 10, 11, 3)
SPACING = (2.5, 1.0, 0.6)


def arrays():
    """In float64. The volume is 0 near its border, where MONAI leaves voxels out."""
    draw = np.random.default_rng(0)
    given = {name: draw.normal(size=SHAPE) for name in "ptu"}
    given["u"] += 3
    given["t"][0, 1:] = (
        given["t"][0, :1] + 0.1 * given["t"][0, 1:]
    )  # frames change little
    given["photograph"] = draw.random(SHAPE) / 50
    given["valid"] = draw.random((*SHAPE[:3], 1)) < 0.9
    given["c"] = draw.random((*SHAPE[:3], 1)) + 0.5
    given["volume"] = np.zeros(VOLUME)
    given["volume"][:, 4:5, 4:6, 4:7] = draw.normal(size=(2, 1, 2, 3, 3))
    given["w_y"], given["w_x"] = keras_weights(given["t"])
    pairs = published.video_depth_pairs(given["t"], whole(given["valid"]))
    given["w"] = np.pad(1.0 * pairs, ((0, 0), (0, 1), (0, 0), (0, 0)))
    return given


def whole(mask):
    return np.broadcast_to(mask, SHAPE)


def planes(image):
    """`[B, H, W, C]` as images `[B * C, H, W]` of published code with one channel."""
    return np.moveaxis(np.broadcast_to(image, SHAPE), -1, 1).reshape(-1, *SHAPE[1:3])


def image_gradients(image):
    """TensorFlow's, with zeros in the last row and the last column."""
    dy, dx = np.zeros_like(image), np.zeros_like(image)
    dy[:, :-1], dx[:, :, :-1] = np.diff(image, axis=1), np.diff(image, axis=2)
    return dy, dx


def differences(image):
    """Along each axis but the first and the last."""
    return [np.diff(image, axis=axis) for axis in range(1, image.ndim - 1)]


def keras_weights(t):
    """depth_estimation.py, `calculate_loss`: scalars that grow with the target's."""
    return [np.exp(np.mean(np.abs(d))) for d in image_gradients(t)]


def keras(p, t, **_):
    (dy, dx), (w_y, w_x) = image_gradients(p), keras_weights(t)
    return np.mean(np.abs(w_x * dx)) + np.mean(np.abs(w_y * dy))


def tensorf(u, **_):
    """`TVLoss`, of `[B, C, H, W]`, with its weight 1."""
    x = np.moveaxis(u, -1, 1)
    batch, c, h, w = x.shape
    h_tv = np.power(x[:, :, 1:, :] - x[:, :, : h - 1, :], 2).sum()
    w_tv = np.power(x[:, :, :, 1:] - x[:, :, :, : w - 1], 2).sum()
    return 2 * (h_tv / (c * (h - 1) * w) + w_tv / (c * h * (w - 1))) / batch


def directvoxgo(volume, **_):
    """The sum of smooth L1 along each axis, divided by 6, for each grid."""
    sizes = [np.abs(d) for d in differences(volume)]
    return sum(np.where(s < 1, s**2 / 2, s - 0.5).sum() for s in sizes) / 6 / 2


def voxelmorph(volume, **_):
    return 2 * sum(np.mean(d * d) for d in differences(volume)) / 3


def monai_diffusion(volume, **_):
    """`DiffusionLoss`; the mean is over all voxels, as the field is 0 at the border."""
    total = sum((d**2).sum() for d in central(volume))
    return total / volume.size


def central(volume):
    for axis in (1, 2, 3):
        ends = [np.delete(volume, some, axis) for some in ((0, 1), (-1, -2))]
        yield (ends[0] - ends[1]) / 2


def monai_bending_energy(volume, **_):
    return monai_bending(np.moveaxis(volume, -1, 1)).sum() / volume.size


def rueckert(volume, **_):
    """The mean over the voxels of the sum over the components."""
    total, spacing = 0, dict(zip((1, 2, 3), SPACING, strict=True))
    for a in (1, 2, 3):
        for b in (1, 2, 3):
            second = np.diff(np.diff(volume, axis=a), axis=b)
            total += ((second / spacing[a] / spacing[b]) ** 2).sum()
    return total / np.prod(volume.shape[:-1])


def monodepth(u, photograph, **_):
    total = 0
    for d, guide in zip(differences(u), differences(photograph), strict=True):
        total += np.mean(np.abs(d) * np.exp(-np.mean(np.abs(guide), 3, keepdims=True)))
    return total


def sfmlearner(u, **_):
    """`compute_smooth_loss`."""
    dy, dx = differences(u)
    (dydy, dxdy), (dydx, dxdx) = zip(differences(dy), differences(dx), strict=True)
    return sum(np.mean(np.abs(d)) for d in (dydy, dxdy, dydx, dxdx))


def of_smoothness(name, *options, **others):
    """A loss of published_smoothness.py, without weights."""
    function = getattr(published_smoothness, name)
    ones = np.ones(SHAPE)
    return lambda u, photograph, **_: function(
        u, photograph, (ones, ones), *options, **others
    )


def of_planes(function, **options):
    return lambda p, t, **_: function(planes(p), planes(t), **options)


def vggt(p, t, valid, c=None, **_):
    """Without the logarithm of the confidences, `alpha=0`."""
    c = None if c is None else c[..., 0]
    return published.vggt_multi_scale(p, t, valid[..., 0], c, alpha=0)


def video_depth(p, t, valid, **_):
    return published.video_depth_temporal(p, t, whole(valid))


def rudin(u, **_):
    return np.sqrt(sum(d**2 for d in image_gradients(u))).mean()


def rudin_of_volumes(volume, **_):
    squares = 0
    for axis, h in zip((1, 2, 3), SPACING, strict=True):
        last = np.take(volume, [-1], axis)
        squares = squares + (np.diff(volume, axis=axis, append=last) / h) ** 2
    return np.sqrt(squares).mean()


PUBLISHED = {
    "Rudin, Osher, Fatemi 1992": rudin,
    "Papafitsoros, Schönlieb 2014": lambda u, **_: loss_oracle.total_variation(
        u, order=2, isotropic=True
    ),
    "kornia, BasicSR: the mean along each axis": lambda u, **_: sum(
        np.mean(np.abs(d)) for d in differences(u)
    ),
    "MPRNet, code": lambda p, t, **_: published_smoothness.mprnet(p, t, 1, 1e-3),
    "Mathieu et al., code": lambda p, t, **_: sum(
        np.abs(np.abs(a) - np.abs(b)).mean()
        for a, b in zip(image_gradients(p), image_gradients(t), strict=True)
    ),
    "Adversarial_Video_Generation, code": of_planes(
        published.adversarial_video_generation_gdl
    ),
    "GMSD: Xue et al. 2014": lambda p, t, **_: [
        piq(*pair)[0] for pair in zip(p[..., 0], t[..., 0], strict=True)
    ],
    "DenseDepth, paper and code": lambda p, t, **_: published.densedepth_edges(p, t),
    "Keras example, code": keras,
    "MiDaS, code": lambda p, t, valid, **_: published.midas_gradient_loss(
        planes(p), planes(t), planes(valid)
    ),
    "MegaDepth, code; square, no mask": of_planes(
        published.megadepth_gradient_loss, mask=np.ones((6, 32, 32))
    ),
    "VGGT, code": lambda p, t, valid, **_: vggt(p, t, valid),
    "VGGT, code, with confidences": vggt,
    "Video-Depth-Anything, code": video_depth,
    "Depth Pro, MAGE": of_planes(published.mage),
    "Depth Pro, MALE": of_planes(published.male),
    # The squares of Scharr's derivatives, which are half as large as his kernel's
    # divided by 16; and the sum over the components of the gradient, not the mean.
    "Depth Pro, MSGE": lambda p, t, **_: published.msge(planes(p), planes(t)) / 2,
    "Monodepth, paper and code": monodepth,
    "Monodepth2, paper and code": of_smoothness("monodepth2"),
    "SfMLearner, code": sfmlearner,
    "Yang et al. 2018, code": of_smoothness("yang"),
    "UFlow, code": of_smoothness("uflow", 1e-3),
    "ARFlow, code, Sintel": lambda u, photograph, **_: (
        monodepth(u, 10 * photograph) / 4
    ),
    "ARFlow, code, KITTI": of_smoothness("arflow"),
    "TensoRF, code": tensorf,
    "DirectVoxGO, code": directvoxgo,
    "VoxelMorph, code": voxelmorph,
    "MONAI, `DiffusionLoss`": monai_diffusion,
    "MONAI, `BendingEnergyLoss`": monai_bending_energy,
    "Rueckert et al. 1999": rueckert,
    "Rudin, Osher, Fatemi in 3 dimensions": rudin_of_volumes,
}


def test_every_call_is_compared():
    assert CALLS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("source", CALLS)
def test_calls_have_the_published_values(source):
    """The means over the batch; the pyramids of Depth Pro are padded with zeros."""
    given, scope = arrays(), dict(LOSSES)
    if source.startswith("GMSD"):
        given["p"], given["t"] = given["p"][..., :1], given["t"][..., :1]
    if source.startswith("Depth Pro"):
        scope["gradient_matching"] = functools.partial(
            losses.gradient_matching, boundary="constant"
        )
    expected = np.mean(PUBLISHED[source](**given))
    with jax.enable_x64(True):
        ours = jax.jit(lambda given: jnp.mean(eval(CALLS[source], scope | given)))(
            given
        )
    assert expected > 0
    np.testing.assert_allclose(ours, expected, rtol=1e-7)
