"""Published losses in NumPy with 64 bits, step by step as their code computes them.

Each function is named after its source, takes the layout of its source, and imports
nothing of jax_imgrad. Index ranges, masks and divisors are those of the code.
"""

import numpy as np


def midas_gradient_loss(p, t, mask, scales=4):
    """MiDaS, `GradientLoss` with "batch-based" reduction; `[B, H, W]`.

    Video-Depth-Anything has the same loss of its frames.
    """
    total = 0.0
    for k in range(scales):
        s = 2**k
        m = mask[:, ::s, ::s]
        d = m * (p[:, ::s, ::s] - t[:, ::s, ::s])
        x = np.abs(d[:, :, 1:] - d[:, :, :-1]) * (m[:, :, 1:] * m[:, :, :-1])
        y = np.abs(d[:, 1:, :] - d[:, :-1, :]) * (m[:, 1:, :] * m[:, :-1, :])
        divisor = m.sum()
        if divisor:
            total += (x.sum() + y.sum()) / divisor
    return total


def megadepth_gradient_loss(p, t, mask, scales=5):
    """MegaDepth, as `JointLoss` of Mannequin Challenge; `[B, H, W]`, logarithms."""
    total = 0.0
    for _ in range(scales):
        d = p - t
        v_mask = mask[:, :-2, :] * mask[:, 2:, :]
        h_mask = mask[:, :, :-2] * mask[:, :, 2:]
        v = np.abs(d[:, :-2, :] - d[:, 2:, :]) * v_mask
        h = np.abs(d[:, :, :-2] - d[:, :, 2:]) * h_mask
        total += (v.sum() + h.sum()) / (v_mask.sum() + h_mask.sum() + 1e-6)
        p, t, mask = (array[:, ::2, ::2] for array in (p, t, mask))
    return total


def densedepth_edges(p, t):
    """DenseDepth, `l_edges`, of `tf.image.image_gradients`; `[B, H, W, C]`."""

    def image_gradients(image):
        dy, dx = np.zeros_like(image), np.zeros_like(image)
        dy[:, :-1] = image[:, 1:] - image[:, :-1]
        dx[:, :, :-1] = image[:, :, 1:] - image[:, :, :-1]
        return dy, dx

    (dy_t, dx_t), (dy_p, dx_p) = image_gradients(t), image_gradients(p)
    return np.mean(np.abs(dy_p - dy_t) + np.abs(dx_p - dx_t))


def vggt_gradient_loss(p, t, mask, conf=None, gamma=1.0, alpha=0.2):
    """VGGT, `gradient_loss`; `[B, H, W, C]`, mask and conf `[B, H, W]`."""
    m = np.broadcast_to(mask[..., None], p.shape)
    if m.sum() == 0:
        return 0.0
    d = m * (p - t)
    x = np.abs(d[:, :, 1:] - d[:, :, :-1]) * (m[:, :, 1:] * m[:, :, :-1])
    y = np.abs(d[:, 1:] - d[:, :-1]) * (m[:, 1:] * m[:, :-1])
    x, y = np.minimum(x, 100), np.minimum(y, 100)
    if conf is not None:
        cx, cy = conf[:, :, 1:, None], conf[:, 1:, :, None]
        x = gamma * x * cx - alpha * np.log(cx)
        y = gamma * y * cy - alpha * np.log(cy)
    return (x.sum() + y.sum()) / m.sum()


def vggt_multi_scale(p, t, mask, conf=None, scales=4, **options):
    """VGGT, `gradient_loss_multi_scale_wrapper`: the mean over scales."""
    total = 0.0
    for k in range(scales):
        s = 2**k
        c = None if conf is None else conf[:, ::s, ::s]
        total += vggt_gradient_loss(
            *(p[:, ::s, ::s], t[:, ::s, ::s], mask[:, ::s, ::s], c), **options
        )
    return total / scales


def video_depth_pairs(t, mask, threshold=0.05):
    """Which pairs of frames Video-Depth-Anything compares; `[B, T, H, W]`."""
    highest = np.where(mask, t, -np.inf).max((2, 3))
    lowest = np.where(mask, t, np.inf).min((2, 3))
    limit = (highest - lowest) * threshold
    change = np.abs(t[:, 1:] - t[:, :-1])
    return mask[:, 1:] * mask[:, :-1] * (change < limit[:, 1:, None, None])


def video_depth_temporal(p, t, mask, threshold=0.05):
    """Video-Depth-Anything, temporal loss with one scale and without trimming."""
    pairs = video_depth_pairs(t, mask, threshold)
    dp, dt = p[:, 1:] - p[:, :-1], t[:, 1:] - t[:, :-1]
    return np.abs(dp - dt)[pairs].sum() / pairs.sum()


def convolve_same(image, kernel):
    """The cross-correlation of `[B, H, W]` with a 3×3 kernel, padded with zeros."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    h, w = image.shape[1:]
    return sum(
        kernel[i][j] * padded[:, i : i + h, j : j + w]
        for i in range(3)
        for j in range(3)
    )


SCHARR_X = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 16
LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def depth_pro(p, t, kernels, exponent, scales=6):
    """Depth Pro, equation 2: the mean over scales of the mean over pixels; `[B, H, W]`.

    The paper does not say how the border is padded (here with zeros), how scales are
    blurred (here by means over blocks), or whether the components of the gradient count
    as separate pixels (here they do).
    """
    total = 0.0
    for j in range(scales):
        s = 2**j
        blocks = [a.reshape(len(a), a.shape[1] // s, s, -1, s) for a in (p, t)]
        small_p, small_t = (a.mean((2, 4)) for a in blocks)
        errors = [
            np.abs(convolve_same(small_p, k) - convolve_same(small_t, k)) ** exponent
            for k in kernels
        ]
        total += np.mean(errors)
    return total / scales


def mage(p, t):
    return depth_pro(p, t, [SCHARR_X, SCHARR_X.T], 1)


def male(p, t):
    return depth_pro(p, t, [LAPLACE], 1)


def msge(p, t):
    return depth_pro(p, t, [SCHARR_X, SCHARR_X.T], 2)


def gradient_difference_loss(p, t, alpha):
    """Mathieu et al., equation 6: `Y` is t, `Y^` is p, for one image `[H, W]`."""
    total = 0.0
    for i in range(p.shape[0]):
        for j in range(p.shape[1]):
            if i > 0:
                of_t, of_p = abs(t[i, j] - t[i - 1, j]), abs(p[i, j] - p[i - 1, j])
                total += abs(of_t - of_p) ** alpha
            if j > 0:
                of_t, of_p = abs(t[i, j - 1] - t[i, j]), abs(p[i, j - 1] - p[i, j])
                total += abs(of_t - of_p) ** alpha
    return total


def adversarial_video_generation_gdl(p, t, alpha=1):
    """Adversarial_Video_Generation, `gdl_loss`; padded with zeros, `[B, H, W]`."""

    def differences(image):
        padded = np.pad(image, ((0, 0), (0, 1), (0, 1)))
        x = np.abs(padded[:, :-1, 1:] - padded[:, :-1, :-1])
        y = np.abs(padded[:, :-1, :-1] - padded[:, 1:, :-1])
        return x, y

    pairs = zip(differences(t), differences(p), strict=True)
    return sum((np.abs(a - b) ** alpha).sum() for a, b in pairs)
