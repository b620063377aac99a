"""Records answers of kornia and torchmetrics, for tests that run without them.

Run where PyTorch, kornia and torchmetrics are installed:
python tests/peer_answers/record.py
Importing this file needs none of them.
"""

import importlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np

ARRAYS = Path(__file__).with_name("answers.npz")
NOTES = Path(__file__).with_name("answers.json")

PEERS = ("torch", "kornia", "torchmetrics")
SHAPE = (2, 6, 7, 3)  # [B, H, W, C]; the peers take [B, C, H, W]
KINDS = ("random", "with ties")


def images(kind):
    """Two images; for "ties" with few values, so that neighbors are often equal."""
    rng = np.random.default_rng(0)
    pair = rng.random((2, *SHAPE))
    pair = np.round(3 * pair) / 2 if kind == "with ties" else pair
    return [*pair.astype("float32")]


def weights(shape):
    """Weights of the sum of answers, so that each contributes differently."""
    return np.cos(np.arange(np.prod(shape), dtype="float32")).reshape(shape)


def smoothness(image, guide):
    """Monodepth's loss of the batch, for one channel, as required by kornia."""
    kornia = importlib.import_module("kornia")
    field = channels_first(image[..., :1])
    return [kornia.losses.inverse_depth_smoothness_loss(field, channels_first(guide))]


def total_variation_of_kornia(image, _):
    """The sum for each channel of each image, `[B, C]`."""
    kornia = importlib.import_module("kornia")
    return [kornia.losses.total_variation(channels_first(image))]


def charbonnier(image, other):
    """The penalty of each difference of two pixels, with delta 1."""
    kornia = importlib.import_module("kornia")
    return [kornia.losses.charbonnier_loss(image, other)]


def total_variation_of_torchmetrics(image, _):
    """The sum for each image, `[B]`."""
    metrics = importlib.import_module("torchmetrics.functional.image")
    return [metrics.total_variation(channels_first(image), reduction="none")]


def gradients(image, _):
    """(dy, dx)."""
    metrics = importlib.import_module("torchmetrics.functional.image")
    pair = metrics.image_gradients(channels_first(image))
    return [part.permute(0, 2, 3, 1) for part in pair]


def edges(image, other):
    """MPRNet's edge loss, which is in no package, with PyTorch's convolutions."""
    torch = importlib.import_module("torch")
    taps = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    kernel = torch.outer(taps, taps).expand(SHAPE[-1], 1, 5, 5)

    def smoothed(x):
        x = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
        return torch.nn.functional.conv2d(x, kernel, groups=SHAPE[-1])

    def laplacian(x):
        x = channels_first(x)
        every_second = torch.zeros_like(x)
        every_second[:, :, ::2, ::2] = 1
        return x - smoothed(4 * every_second * smoothed(x))

    residual = laplacian(image) - laplacian(other)
    return [torch.sqrt(residual**2 + 1e-3**2).mean()]


ANSWERS = {
    "kornia inverse_depth_smoothness_loss": smoothness,
    "kornia total_variation": total_variation_of_kornia,
    "kornia charbonnier_loss": charbonnier,
    "torchmetrics total_variation": total_variation_of_torchmetrics,
    "torchmetrics image_gradients": gradients,
    "torch laplacian_edge": edges,
}


def channels_first(image):
    """From [B, H, W, C] to [B, C, H, W]."""
    return image.permute(0, 3, 1, 2)


def answer(name, kind):
    """The answer of a peer, and the derivatives of its weighted sum in both images."""
    torch = importlib.import_module("torch")
    pair = [torch.tensor(image, requires_grad=True) for image in images(kind)]
    values = ANSWERS[name](*pair)
    total = sum((torch.tensor(weights(v.shape)) * v).sum() for v in values)
    derivatives = torch.autograd.grad(
        total, pair, allow_unused=True, materialize_grads=True
    )
    return [v.detach().numpy() for v in values], [d.numpy() for d in derivatives]


def record():
    """Writes the answers to the two files."""
    arrays = {}
    for name in ANSWERS:
        for kind in KINDS:
            values, derivatives = answer(name, kind)
            for i, array in enumerate([*values, *derivatives]):
                arrays[f"{name}, {kind}, {i}"] = array
    np.savez_compressed(ARRAYS, **arrays)
    versions = {peer: importlib.metadata.version(peer) for peer in PEERS}
    NOTES.write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


def load(name, kind):
    """The recorded result of `answer`."""
    start = f"{name}, {kind}, "
    with np.load(ARRAYS) as arrays:
        number = sum(key.startswith(start) for key in arrays)
        found = [arrays[f"{start}{i}"] for i in range(number)]
    return found[:-2], found[-2:]


if __name__ == "__main__":
    record()
