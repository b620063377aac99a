"""scikit-image, channel by channel: its filters smooth along all other axes."""

import numpy as np
from peers.numpy import DEVICE as DEVICE
from peers.numpy import DTYPES as DTYPES
from peers.numpy import KINDS as KINDS
from peers.numpy import get as get
from peers.numpy import put as put
from peers.numpy import ready as ready
from peers.numpy import wait as wait
from skimage import filters

PACKAGES = ("scikit-image", "scipy")


def sobel_edges(images):
    """Unscaled; theirs is divided by 4, and their "mirror" is NumPy's "reflect"."""
    out = np.empty((*images.shape, 2), images.dtype)
    for b, c in np.ndindex(images.shape[0], images.shape[-1]):
        for axis in (0, 1):
            edges = filters.sobel(images[b, ..., c], axis=axis, mode="mirror")
            np.multiply(edges, 4, out=out[b, ..., c, axis])
    return out


def gradient_magnitude(images):
    """The root of the sum of squares; theirs is that of the mean square."""
    out = np.empty_like(images)
    for b, c in np.ndindex(images.shape[0], images.shape[-1]):
        edges = filters.sobel(images[b, ..., c], mode="nearest")
        np.multiply(edges, 32**0.5, out=out[b, ..., c])
    return out


FUNCTIONS = {"sobel_edges": sobel_edges, "gradient_magnitude": gradient_magnitude}


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    return {"scikit-image": FUNCTIONS[name]} if name in FUNCTIONS else {}
