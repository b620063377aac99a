"""scikit-image and SciPy.

scikit-image takes one channel at a time: its filters smooth along all other axes.
"""

import functools

import numpy as np
from peers.numpy import DEVICE as DEVICE
from peers.numpy import DTYPES as DTYPES
from peers.numpy import KINDS as KINDS
from peers.numpy import get as get
from peers.numpy import put as put
from peers.numpy import ready as ready
from peers.numpy import wait as wait
from scipy import ndimage
from skimage import filters
from work import SIGMAS

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


def gaussian_gradient(sigma, images):
    """The derivatives of a Gaussian by SciPy, whose "nearest" is NumPy's "edge"."""
    return tuple(
        ndimage.gaussian_filter(images, (0, sigma, sigma, 0), order, mode="nearest")
        for order in ((0, 1, 0, 0), (0, 0, 1, 0))
    )


FUNCTIONS = {
    "sobel_edges": ("scikit-image", sobel_edges),
    "gradient_magnitude": ("scikit-image", gradient_magnitude),
    **{
        f"spatial_gradient, sigma {sigma}": (
            "SciPy",
            functools.partial(gaussian_gradient, sigma),
        )
        for sigma in SIGMAS
    },
}


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    return dict([FUNCTIONS[name]]) if name in FUNCTIONS else {}
