"""Published losses in NumPy with 64 bits, line by line, independent of jax_imgrad.

Fields are `[B, H, W, C]`, guides `[B, H, W, G]`. `weights` is a pair of arrays, of the
differences along y and along x, which the published code does not have. Each function
returns one number for each image.
"""

import numpy as np


def mean(array):
    return array.mean((1, 2, 3))


def along_x(image):
    return image[:, :, 1:] - image[:, :, :-1]


def along_y(image):
    return image[:, 1:] - image[:, :-1]


def edges(difference, alpha):
    return np.exp(-alpha * np.abs(difference).mean(-1, keepdims=True))


def monodepth2(field, guide, weights, epsilon=None):
    """With `epsilon`, the penalty is that of UFlow."""
    (y, x), penalty = weights, np.abs if epsilon is None else robust(epsilon)
    field = field / (field.mean((1, 2), keepdims=True) + 1e-7)
    loss_x = mean(penalty(along_x(field)) * edges(along_x(guide), 1) * x[:, :, :-1])
    loss_y = mean(penalty(along_y(field)) * edges(along_y(guide), 1) * y[:, :-1])
    return loss_x + loss_y


def robust(epsilon):
    return lambda x: (np.abs(x) ** 2 + epsilon**2) ** 0.5


def uflow(field, guide, weights, epsilon, gaussian=False):
    """Order 2; the edges are of pixels that are two apart."""
    (y, x), penalty = weights, robust(epsilon)

    def weight(difference):
        scaled = 150 * difference
        sizes = scaled**2 if gaussian else np.abs(scaled)
        return np.exp(-sizes.mean(-1, keepdims=True))

    image_x = guide[:, :, 2:] - guide[:, :, :-2]
    image_y = guide[:, 2:] - guide[:, :-2]
    field_x, field_y = along_x(along_x(field)), along_y(along_y(field))
    loss_x = mean(weight(image_x) * penalty(field_x) * x[:, :, :-2])
    loss_y = mean(weight(image_y) * penalty(field_y) * y[:, :-2])
    return (loss_x + loss_y) / 2


def arflow(field, guide, weights):
    """Order 2."""
    (y, x), dx, dy = weights, along_x(field), along_y(field)
    edges_x, edges_y = edges(along_x(guide), 10), edges(along_y(guide), 10)
    loss_x = edges_x[:, :, 1:] * np.abs(along_x(dx)) * x[:, :, :-2]
    loss_y = edges_y[:, 1:] * np.abs(along_y(dy)) * y[:, :-2]
    return mean(loss_x) / 2 + mean(loss_y) / 2


def yang(field, guide, weights, spacing=(1, 1)):
    """The four second differences of SfMLearner, with the guide of Yang et al."""
    (y, x), (h_y, h_x) = weights, spacing
    dx, dy = along_x(field) / h_x, along_y(field) / h_y
    edges_x, edges_y = edges(along_x(guide), 1), edges(along_y(guide), 1)
    dx2, dxdy = along_x(dx) / h_x, along_y(dx) / h_y
    dydx, dy2 = along_x(dy) / h_x, along_y(dy) / h_y
    return (
        mean(np.abs(dx2) * edges_x[:, :, 1:] * x[:, :, :-2])
        + mean(np.abs(dxdy) * edges_x[:, 1:] * x[:, :-1, :-1])
        + mean(np.abs(dydx) * edges_y[:, :, 1:] * y[:, :-1, :-1])
        + mean(np.abs(dy2) * edges_y[:, 1:] * y[:, :-2])
    )


def mprnet(predictions, targets, weights, epsilon):
    """The Laplacian pyramid by a 5×5 kernel, and the penalty that keeps epsilon."""
    taps = np.array([0.05, 0.25, 0.4, 0.25, 0.05])
    kernel = np.outer(taps, taps)

    def gauss(image):
        height, width = image.shape[1:3]
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), "edge")
        return sum(
            kernel[i, j] * padded[:, i : i + height, j : j + width]
            for i in range(5)
            for j in range(5)
        )

    def laplacian(image):
        subsampled = np.zeros_like(image)
        subsampled[:, ::2, ::2] = gauss(image)[:, ::2, ::2] * 4
        return image - gauss(subsampled)

    difference = laplacian(predictions) - laplacian(targets)
    return mean(np.sqrt(difference**2 + epsilon**2) * weights)
