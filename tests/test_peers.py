"""Values and derivatives equal those of kornia and torchmetrics, also at ties.

The tests compare with recorded answers, and with the libraries themselves where they
are installed.
"""

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


def edges(image, other):
    """Theirs does not subtract delta."""
    return [(losses.laplacian_edge(image, other) + 1e-3).mean()]


OURS = {
    "kornia inverse_depth_smoothness_loss": smoothness,
    "kornia total_variation": total_variation_of_channels,
    "kornia charbonnier_loss": lambda image, other: [charbonnier([image - other], 1.0)],
    "torchmetrics total_variation": lambda image, _: [jig.total_variation(image)],
    "torchmetrics image_gradients": lambda image, _: jig.image_gradients(image),
    "torch laplacian_edge": edges,
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
