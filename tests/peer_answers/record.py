"""Records answers of other libraries and their losses, for tests that run without them.

Run where requirements.txt beside this file is installed, and piq without what it
requires:
python tests/peer_answers/record.py
Importing this file needs none of that.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import numpy as np

ARRAYS = Path(__file__).with_name("answers.npz")
NOTES = Path(__file__).with_name("answers.json")

PEERS = ("torch", "kornia", "torchmetrics", "monai", "piq")
SHAPE = (2, 6, 7, 3)  # [B, H, W, C]; the peers take [B, C, H, W]
KINDS = ("random", "with ties")
# How many dimensions displacements have, and whether MONAI normalizes their losses.
DISPLACEMENTS = {"": (2, False), ", 3-D": (3, False), ", normalized": (3, True)}
RANGE = 2  # of the images: their values are between 0 and 2


def images(kind):
    """Two images; for "ties" with few values, so that neighbors are often equal."""
    rng = np.random.default_rng(0)
    pair = rng.random((2, *SHAPE))
    pair = np.round(3 * pair) / 2 if kind == "with ties" else pair
    return [*pair.astype("float32")]


def weights(shape):
    """Weights of the sum of answers, so that each contributes differently."""
    return np.cos(np.arange(np.prod(shape), dtype="float32")).reshape(shape)


def module(name):
    """The module of that name; of piq, two functions, without what imports torchvision.

    The wheel of torchvision loads beside one build of PyTorch only.
    """
    if name != "piq":
        return importlib.import_module(name)
    if name not in sys.modules:
        piq = importlib.util.module_from_spec(importlib.util.find_spec(name))
        sys.modules[name] = piq
        piq.__version__ = importlib.metadata.version(name)
        piq.gmsd = importlib.import_module("piq.gmsd").gmsd
        piq.total_variation = importlib.import_module("piq.tv").total_variation
    return sys.modules[name]


def smoothness(image, guide):
    """Monodepth's loss of the batch, for one channel, as required by kornia."""
    kornia = importlib.import_module("kornia")
    field = channels_first(image[..., :1])
    return [kornia.losses.inverse_depth_smoothness_loss(field, channels_first(guide))]


def total_variation_of_kornia(image, _):
    """The sum for each channel of each image, `[B, C]`."""
    kornia = importlib.import_module("kornia")
    return [kornia.losses.total_variation(channels_first(image))]


def mean_variation_of_kornia(image, _):
    """The mean along each axis, added, for each channel of each image, `[B, C]`."""
    kornia = importlib.import_module("kornia")
    return [kornia.losses.total_variation(channels_first(image), reduction="mean")]


def charbonnier(image, other):
    """The penalty of each difference of two pixels, with delta 1."""
    kornia = importlib.import_module("kornia")
    return [kornia.losses.charbonnier_loss(image, other)]


def total_variation_of_torchmetrics(image, _):
    """The sum for each image, `[B]`."""
    metrics = importlib.import_module("torchmetrics.functional.image")
    return [metrics.total_variation(channels_first(image), reduction="none")]


def total_variation_of_piq(norm, image, _):
    """The sum for each image, `[B]`."""
    images = channels_first(image)
    return [module("piq").total_variation(images, reduction="none", norm_type=norm)]


def gmsd(image, other):
    """For each image, `[B]`; of three channels, that of the luminance."""
    pair = channels_first(image), channels_first(other)
    return [module("piq").gmsd(*pair, reduction="none", data_range=RANGE)]


def gmsd_of_gray(image, other):
    """For each image, `[B]`."""
    return gmsd(image[..., :1], other[..., :1])


def monai(loss, dimensions, normalize, image, _):
    """The mean over the batch, the components and the pixels inside the border."""
    losses = importlib.import_module("monai.losses")
    field = displacement(image, dimensions).movedim(-1, 1)
    return [getattr(losses, loss)(normalize=normalize)(field)]


def displacement(image, dimensions):
    """The image as displacements `[B, H, W, 2]`, or `[B, D, H, W, 3]`."""
    return image[..., :2] if dimensions == 2 else image.reshape(1, 3, 4, 7, 3)


def weighted_variation(image, weight):
    """That of BasicSR, `WeightedTVLoss` with "sum": the weight of the first pixel."""
    along_y = weight[:, :-1] * (image[:, :-1] - image[:, 1:]).abs()
    along_x = weight[:, :, :-1] * (image[:, :, :-1] - image[:, :, 1:]).abs()
    return [along_y.sum() + along_x.sum()]


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
    "kornia total_variation, mean": mean_variation_of_kornia,
    "kornia charbonnier_loss": charbonnier,
    "torchmetrics total_variation": total_variation_of_torchmetrics,
    "torchmetrics image_gradients": gradients,
    "torch laplacian_edge": edges,
    "torch weighted total variation": weighted_variation,
    "piq gmsd": gmsd,
    "piq gmsd, gray": gmsd_of_gray,
    "piq total_variation, l1": functools.partial(total_variation_of_piq, "l1"),
    "piq total_variation, l2_squared": functools.partial(
        total_variation_of_piq, "l2_squared"
    ),
    **{
        f"monai {loss}{how}": functools.partial(monai, loss, *options)
        for loss in ("DiffusionLoss", "BendingEnergyLoss")
        for how, options in DISPLACEMENTS.items()
    },
}


def channels_first(image):
    """From [B, H, W, C] to [B, C, H, W]."""
    return image.permute(0, 3, 1, 2)


def answer(name, kind):
    """The answer of a peer, and the derivatives of its weighted sum in both images."""
    torch = importlib.import_module("torch")
    pair = [torch.tensor(image, requires_grad=True) for image in images(kind)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside of the libraries
        values = ANSWERS[name](*pair)
    total = sum((torch.tensor(weights(v.shape)) * v).sum() for v in values)
    derivatives = torch.autograd.grad(
        total, pair, allow_unused=True, materialize_grads=True
    )
    return [v.detach().numpy() for v in values], [d.numpy() for d in derivatives]


def version(peer):
    """Without the build, as in 2.13.0+cpu."""
    return importlib.metadata.version(peer).partition("+")[0]


def record():
    """Writes the answers to the two files."""
    arrays = {}
    for name in ANSWERS:
        for kind in KINDS:
            values, derivatives = answer(name, kind)
            for i, array in enumerate([*values, *derivatives]):
                arrays[f"{name}, {kind}, {i}"] = array
    np.savez_compressed(ARRAYS, **arrays)
    versions = {peer: version(peer) for peer in PEERS}
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
