"""OpenCV, image by image: it has no batch axis."""

import cv2
import numpy as np
from peers.numpy import DEVICE as DEVICE
from peers.numpy import DTYPES as DTYPES
from peers.numpy import KINDS as KINDS
from peers.numpy import get as get
from peers.numpy import put as put
from peers.numpy import ready as ready
from peers.numpy import wait as wait

PACKAGES = ("opencv-python-headless",)
_ORDERS = ((0, 1), (1, 0))
_DY = np.array([[0.0], [-1.0], [1.0]], np.float32)


def image_gradients(images):
    """Forward differences, with the border repeated."""
    both = [
        [cv2.filter2D(i, -1, k, borderType=cv2.BORDER_REPLICATE) for k in (_DY, _DY.T)]
        for i in images
    ]
    return tuple(
        np.stack(part).reshape(images.shape) for part in zip(*both, strict=True)
    )


def sobel(images, border):
    """Unscaled Sobel derivatives, (dy, dx)."""
    both = [
        [cv2.Sobel(i, -1, *xy, borderType=border) for xy in _ORDERS] for i in images
    ]
    return tuple(
        np.stack(part).reshape(images.shape) for part in zip(*both, strict=True)
    )


def sobel_edges(images):
    """Sobel's derivatives in one array, with boundary "reflect"."""
    return np.stack(sobel(images, cv2.BORDER_REFLECT_101), -1)


def spatial_gradient(images):
    """Sobel's derivatives, with the border repeated."""
    return sobel(images, cv2.BORDER_REPLICATE)


def gradient_magnitude(images):
    """The magnitude of the same derivatives."""
    dy, dx = (d.reshape(len(d), -1) for d in spatial_gradient(images))
    return cv2.magnitude(dx, dy).reshape(images.shape)


def laplacian(images):
    """The 5-point Laplacian, with the border repeated."""
    each = [
        cv2.Laplacian(i, -1, ksize=1, borderType=cv2.BORDER_REPLICATE) for i in images
    ]
    return np.stack(each).reshape(images.shape)


def variation(images):
    """The L1 distance of an image and itself, shifted by one pixel."""
    total = 0.0
    for i in images:
        total += cv2.norm(i[1:], i[:-1], cv2.NORM_L1)
        total += cv2.norm(i[:, 1:], i[:, :-1], cv2.NORM_L1)
    return total / len(images)


FUNCTIONS = {
    "image_gradients": image_gradients,
    "sobel_edges": sobel_edges,
    "gradient_magnitude": gradient_magnitude,
    "laplacian": laplacian,
    "spatial_gradient": spatial_gradient,
    "total_variation": variation,
    "variation, l1": variation,
}


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    return {"OpenCV": FUNCTIONS[name]} if name in FUNCTIONS and ndim == 4 else {}
