"""PyTorch, eager and compiled, and two libraries for it: kornia and torchmetrics."""

import functools
from types import SimpleNamespace

import kornia
import numpy as np
import torch
import torch._dynamo
import torchmetrics.functional.image as torchmetrics
from torch.nn import functional
from work import BOTH, VALUE, WORK, Layout

PACKAGES = ("torch", "kornia", "torchmetrics", "numpy")
ON_GPU = torch.cuda.is_available()
DEVICE = torch.cuda.get_device_name() if ON_GPU else "cpu"
DTYPES = ("float32", "bfloat16")
KINDS = (VALUE, BOTH)
# Each penalty, with and without a derivative, compiles the same formula once more.
torch._dynamo.config.recompile_limit = 64


def pad(x, widths, mode):
    """`numpy.pad` of all axes but the first two."""
    flat = [n for pair in reversed(widths[2:]) for n in pair]
    return functional.pad(x, flat, "replicate" if mode == "edge" else mode)


def apply_along_axis(convolve, axis, x, taps, mode):
    """`numpy.apply_along_axis` of a valid convolution, the only one of the formulas."""
    flipped = torch.from_numpy(taps[::-1].copy()).to(x.device, x.dtype)
    rows = x.movedim(axis, -1)
    found = functional.conv1d(rows.reshape(-1, 1, rows.shape[-1]), flipped[None, None])
    return found.reshape(*rows.shape[:-1], -1).movedim(-1, axis)


def spatial_gradient(images):
    """Unscaled; kornia returns dx first."""
    dx, dy = kornia.filters.spatial_gradient(images, normalized=False).unbind(2)
    return dy, dx


XP = SimpleNamespace(
    abs=torch.abs,
    apply_along_axis=apply_along_axis,
    arctan2=torch.arctan2,
    cos=torch.cos,
    convolve=functional.conv1d,
    exp=torch.exp,
    mean=torch.mean,
    pad=pad,
    reshape=torch.reshape,
    sin=torch.sin,
    sqrt=torch.sqrt,
    stack=torch.stack,
    sum=torch.sum,
    where=torch.where,
)


OWN = {
    "kornia": {
        "spatial_gradient": spatial_gradient,
        "gradient_magnitude": functools.partial(
            kornia.filters.sobel, normalized=False, eps=0.0
        ),
        "total_variation": lambda x: kornia.losses.total_variation(x).sum(-1).mean(),
        "variation, axis_mean": lambda x: kornia.losses.total_variation(
            x, reduction="mean"
        ).mean(),
        "edge_aware_smoothness": kornia.losses.inverse_depth_smoothness_loss,
    },
    "torchmetrics": {
        "image_gradients": torchmetrics.image_gradients,
        "total_variation": lambda x: torchmetrics.total_variation(x, "mean"),
    },
}


def put(array: np.ndarray, dtype: str) -> torch.Tensor:
    """The array on the device, with channels first."""
    first = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    device = "cuda" if ON_GPU else "cpu"
    return torch.from_numpy(first).to(device, getattr(torch, dtype))


def get(result: torch.Tensor, ndim: int) -> np.ndarray:
    """The result as a NumPy array; images of `ndim` axes with channels last."""
    array = result.detach().float().cpu().numpy()
    return np.moveaxis(array, 1, ndim - 1) if array.ndim >= ndim else array


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    if name not in WORK:
        return {}
    formula = functools.partial(
        WORK[name].formula, XP, Layout(tuple(range(2, ndim)), 1)
    )
    own = {
        who: known[name] for who, known in OWN.items() if name in known and ndim == 4
    }
    return {"PyTorch": formula, "torch.compile": formula, **own}


def wait(result) -> None:
    """Waits for a result."""
    del result
    if ON_GPU:
        torch.cuda.synchronize()


def ready(who: str, function, kind: str, inputs: list):
    """A call without arguments; its temporaries are not known."""
    if who == "torch.compile":
        function = torch.compile(function, dynamic=False)
    first, *others = inputs

    def value():
        with torch.no_grad():
            return function(first, *others)

    def both():
        out = function(wanted, *others)
        return out, torch.autograd.grad(out, wanted, ones)[0]

    if kind == VALUE:
        return value, None
    wanted = first.clone().requires_grad_()
    out = value()
    ones = (
        torch.ones_like(out)
        if torch.is_tensor(out)
        else [torch.ones_like(o) for o in out]
    )
    return both, None
