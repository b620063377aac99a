"""Values and derivatives equal those of other libraries, also at ties.

The tests compare with recorded answers, and with the libraries themselves where they
are installed.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peer_answers import record

import jax_imgrad as jig
from jax_imgrad import losses
from jax_imgrad._penalties import charbonnier


def smoothness(image, guide):
    return [losses.edge_aware_smoothness(image[..., :1], guide).mean()]


def total_variation_of_channels(image, _):
    channels = [image[..., c : c + 1] for c in range(image.shape[-1])]
    return [jnp.stack([jig.total_variation(channel) for channel in channels], -1)]


def mean_variation_of_channels(image, _):
    along = {"axes": (1, 2), "reduction": "axis_mean"}
    of_each = jax.vmap(functools.partial(losses.total_variation, **along), -1, -1)
    return [of_each(image)]


def edges(image, other):
    """Theirs does not subtract delta."""
    loss = losses.laplacian_edge(image, other, delta=1e-3, subtract_delta=False)
    return [loss.mean()]


def gmsd(image, other):
    """Of RGB images, that of the luminance."""
    pair = [x @ LUMINANCE / record.RANGE for x in (image, other)]
    return [losses.gradient_magnitude_similarity(*pair)]


def gmsd_of_gray(image, other):
    pair = [x[..., :1] / record.RANGE for x in (image, other)]
    return [losses.gradient_magnitude_similarity(*pair)]


def variation_sums(penalty, image, _):
    return [losses.total_variation(image, penalty=penalty, reduction="sum")]


def weighted_variation(image, weights):
    loss = losses.total_variation(image, weights=weights, reduction="sum")
    return [loss.sum()]


def monai(loss, dimensions, normalize, image, _):
    """MONAI leaves out the pixels at the border, in the mean, too."""
    u = record.displacement(image, dimensions)
    axes = tuple(range(1, dimensions + 1))
    sizes = np.array(u.shape[1:-1], "float32")
    inner = np.pad(np.ones(u.shape[1:-1], "float32")[(slice(2, None),) * dimensions], 1)
    options = {"axes": axes, "weights": (inner / inner.mean())[..., None]}
    if normalize:
        u, options["spacing"] = u / np.broadcast_to(sizes, u.shape), 1 / sizes
    return [loss(u, operator="central", **options).mean()]


def diffusion(u, **options):
    options |= {"scales": 1, "penalty": "l2"}
    return losses.gradient_matching(u, jnp.zeros_like(u), **options)


LUMINANCE = np.float32([[0.299], [0.587], [0.114]])
MONAI = {"DiffusionLoss": diffusion, "BendingEnergyLoss": losses.bending_energy}


OURS = {
    "kornia inverse_depth_smoothness_loss": smoothness,
    "kornia total_variation": total_variation_of_channels,
    "kornia charbonnier_loss": lambda image, other: [charbonnier([image - other], 1.0)],
    "torchmetrics total_variation": lambda image, _: [jig.total_variation(image)],
    "torchmetrics image_gradients": lambda image, _: jig.image_gradients(image),
    "kornia total_variation, mean": mean_variation_of_channels,
    "torch laplacian_edge": edges,
    "torch weighted total variation": weighted_variation,
    "piq gmsd": gmsd,
    "piq gmsd, gray": gmsd_of_gray,
    "piq total_variation, l1": functools.partial(variation_sums, "l1"),
    "piq total_variation, l2_squared": functools.partial(variation_sums, "l2"),
    **{
        f"monai {name}{how}": functools.partial(monai, loss, *options)
        for name, loss in MONAI.items()
        for how, options in record.DISPLACEMENTS.items()
    },
}


@pytest.fixture(params=["recorded", "live"])
def answer(request):
    """The answer of a peer, by name, for one of `record.KINDS` of images."""
    if request.param == "recorded":
        return record.load
    missing = [p for p in record.PEERS if importlib.util.find_spec(p) is None]
    if missing:
        request.getfixturevalue("require")("peers", f"not installed: {missing}")
    return record.answer


def test_every_answer_is_compared():
    assert OURS.keys() == record.ANSWERS.keys()


@pytest.mark.parametrize("kind", record.KINDS)
@pytest.mark.parametrize("name", OURS)
def test_same_answers(answer, name, kind):
    values, derivatives = answer(name, kind)
    given = record.images(kind)

    def total(*pair):
        return sum((record.weights(v.shape) * v).sum() for v in OURS[name](*pair))

    # The same sums in another order differ by a few rounding errors.
    close = {"rtol": 1e-5, "atol": 1e-6}
    for ours, theirs in zip(OURS[name](*given), values, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, **close)
    for ours, theirs in zip(jax.grad(total, (0, 1))(*given), derivatives, strict=True):
        np.testing.assert_allclose(ours, theirs, **close)
