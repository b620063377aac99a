"""Published losses are one call each: values and derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import published
import pytest

from jax_imgrad.losses import gradient_difference, gradient_matching


def with_channel(*arrays):
    return [array[..., None] for array in arrays]


class Case(NamedTuple):
    """A published loss of `(p, t, mask, c)`, as a call and as its code computes it.

    c are positive numbers of the shape of p without channels.
    """

    ours: Callable
    published: Callable
    shape: tuple
    by_weights: bool = False


def midas(p, t, mask, c, **way):
    p, t, where = with_channel(p, t, mask)
    return gradient_matching(p, t, where=where, reduction="batch_mean", **way).mean()


def megadepth(p, t, mask, c, **way):
    """Square images, all of whose pixels are valid."""
    p, t = with_channel(p, t)
    options = {"scales": 5, "step": 2, "scale": "raw", "reduction": "axis_mean"}
    return gradient_matching(p, t, **options, **way).mean() / 2


def megadepth_masked(p, t, mask, c, **way):
    """The sum of each scale, divided by the number of its pairs."""
    total = 0
    for s in (1, 2, 4):
        small = [a[:, ::s, ::s] for a in (p, t, mask)]
        valid = small[2]
        v, h = valid[:, :-2] & valid[:, 2:], valid[:, :, :-2] & valid[:, :, 2:]
        p_s, t_s, where = with_channel(*small)
        options = {"scales": 1, "step": 2, "scale": "raw", "reduction": "sum"}
        loss = gradient_matching(p_s, t_s, where=where, **options, **way).sum()
        total += loss / (v.sum() + h.sum() + 1e-6)
    return total


def densedepth(p, t, mask, c, **way):
    return gradient_matching(p, t, scales=1, **way).mean()


def vggt(p, t, mask, c, **way):
    options = {"where": mask[..., None], "reduction": "batch_mean"}
    return gradient_matching(p, t, **options, **way).mean() / 4


def vggt_with_confidence(p, t, mask, c, **way):
    """A backward difference is at its second pixel, and takes the weight of it."""
    options = {"operator": "backward", "weights": c[..., None]}
    return vggt(p, t, mask, c, **options, **way)


def video_depth(p, t, mask, c, **way):
    """A difference is at its first frame; the last frame has none."""
    pairs = published.video_depth_pairs(t, mask)
    weights = np.pad(pairs, ((0, 0), (0, 1), (0, 0), (0, 0))).astype(float)
    options = {"axes": 1, "scales": 1, "weights": weights, "where": mask}
    loss = gradient_matching(p, t, reduction="sum", **options, **way)
    return loss.sum() / weights.sum()


def depth_pro(p, t, mask, c, **options):
    """Of zero-padded images at 6 scales of block means.

    A Scharr kernel divided by 16 gives twice the slope.
    """
    p, t = with_channel(p, t)
    options |= {"scales": 6, "downsample": "mean", "boundary": "constant"}
    return gradient_matching(p, t, **options).mean() / 6


def mage(*arrays, **way):
    """Twice the slope, and the mean over its two components."""
    return 2 * depth_pro(*arrays, operator="scharr", **way) / 2


def msge(*arrays, **way):
    loss = depth_pro(*arrays, operator="scharr", penalty="l2", **way)
    return 2**2 * loss / 2


def male(*arrays, **way):
    return depth_pro(*arrays, operator="laplacian", **way)


def mathieu(p, t, mask, c, **way):
    p, t = with_channel(p, t)
    return gradient_difference(p, t, alpha=2, reduction="sum", **way)[0]


def video_generation(p, t, mask, c, **way):
    p, t = with_channel(p, t)
    options = {"boundary": "constant", "reduction": "sum"}
    return gradient_difference(p, t, **options, **way).sum()


CASES = {
    "MiDaS": Case(
        midas, lambda p, t, m, c: published.midas_gradient_loss(p, t, m), (2, 11, 10)
    ),
    "MegaDepth": Case(
        megadepth,
        lambda p, t, m, c: published.megadepth_gradient_loss(p, t, 0 * m + 1),
        (2, 40, 40),
    ),
    "MegaDepth, masked": Case(
        megadepth_masked,
        lambda p, t, m, c: published.megadepth_gradient_loss(p, t, m, scales=3),
        (2, 17, 14),
    ),
    "DenseDepth": Case(
        densedepth, lambda p, t, m, c: published.densedepth_edges(p, t), (2, 5, 6, 2)
    ),
    "VGGT": Case(
        vggt, lambda p, t, m, c: published.vggt_multi_scale(p, t, m), (2, 11, 10, 3)
    ),
    # alpha = 0.2 subtracts a term of the confidence alone.
    "VGGT with confidence": Case(
        vggt_with_confidence,
        lambda p, t, m, c: published.vggt_multi_scale(p, t, m, c, alpha=0),
        (2, 11, 10, 3),
        by_weights=True,
    ),
    "Video-Depth-Anything": Case(
        video_depth,
        lambda p, t, m, c: published.video_depth_temporal(p, t, m),
        (2, 5, 6, 7),
    ),
    "MAGE": Case(mage, lambda p, t, m, c: published.mage(p, t), (2, 32, 64)),
    "MALE": Case(male, lambda p, t, m, c: published.male(p, t), (2, 32, 64)),
    "MSGE": Case(msge, lambda p, t, m, c: published.msge(p, t), (2, 32, 64)),
    "gradient difference": Case(
        mathieu,
        lambda p, t, m, c: published.gradient_difference_loss(p[0], t[0], 2),
        (1, 7, 6),
    ),
    "Adversarial_Video_Generation": Case(
        video_generation,
        lambda p, t, m, c: published.adversarial_video_generation_gdl(p, t),
        (2, 7, 6),
    ),
}


def inputs(name):
    """Prediction, target, mask of the pixels and numbers near 1."""
    shape = CASES[name].shape
    draw = np.random.default_rng(0)
    p, t = draw.normal(size=shape), draw.normal(size=shape)
    if name == "Video-Depth-Anything":
        t = t[:, :1] + 0.1 * t  # frames change little, by about the threshold
    pixels = shape[:3] if name.startswith("VGGT") else shape
    return [p, t, draw.random(pixels) < 0.8, draw.random(pixels) + 0.5]


@pytest.mark.parametrize("implementation", ["xla", "xla_cpu"])
@pytest.mark.parametrize("name", CASES)
def test_published_losses_are_one_call(name, implementation):
    """The derivatives by some numbers, by differences of the published loss.

    Nearly all terms are piecewise linear, so that a difference is exact unless a term
    changes its sign.
    """
    case, given = CASES[name], inputs(name)
    expected = case.published(*given)
    by = (0, 3) if case.by_weights else (0,)
    with jax.enable_x64(True):

        def ours(*moving):
            every = [*given]
            for i, array in zip(by, moving, strict=True):
                every[i] = array
            return case.ours(*every, implementation=implementation)

        moving = [jnp.asarray(given[i]) for i in by]
        differentiate = jax.jit(jax.value_and_grad(ours, (*range(len(by)),)))
        value, slopes = differentiate(*moving)
    np.testing.assert_allclose(value, expected, rtol=1e-7)
    assert expected > 0
    for i, slope in zip(by, slopes, strict=True):
        corners = [0, given[i].size - 1]
        places = np.random.default_rng(1).choice(given[i].size, 12, replace=False)
        for flat in [*corners, *places]:
            index = np.unravel_index(flat, given[i].shape)
            up, down = ([a.copy() for a in given] for _ in range(2))
            up[i][index] += 1e-6
            down[i][index] -= 1e-6
            change = (case.published(*up) - case.published(*down)) / 2e-6
            np.testing.assert_allclose(slope[index], change, rtol=1e-5, atol=1e-6)
