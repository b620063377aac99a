"""Code as a user writes it: every public function, with options of every type.

`test_typing.py` runs it, and checks it with type checkers in their strictest modes.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

import jax_imgrad as jig
from jax_imgrad import losses, typing


def operators(image: jax.Array, pixels: npt.NDArray[np.uint8]) -> jax.Array:
    dy, dx = jig.image_gradients(image)
    dy, dx = jig.image_gradients(pixels, dtype="float32", implementation="xla")
    flow: jax.Array = jig.divergence((dy, dx)) + jig.divergence([dy, dx])
    edges: jax.Array = jig.sobel_edges(image, dtype=np.float32)
    return flow.sum() + edges.sum() + jig.total_variation(image).sum()


def derivatives(volume: typing.Numbers) -> jax.Array:
    operator: typing.Operator = "sobel"
    gaussian: typing.Operator = ("gaussian", np.float32(1.5))
    sigma: typing.Sigma = [1.5, np.float32(1)]
    wide: typing.Operator = ("gaussian", sigma, "spacing")
    boxes = jig.Kernel(first=(-1, 1), smoothing=np.ones(2), second={-1: 1, 0: -2, 1: 1})
    scale: typing.Scale = "raw"
    edge: typing.Boundary = "edge"
    boundary: typing.Boundaries = [edge, "wrap"]
    spacing: typing.Spacing = np.array([2.0, 1.0])
    axes: typing.Axes = [1, 2]
    valid = jnp.isfinite(volume)
    dy, dx = jig.spatial_gradient(
        volume, operator=operator, axes=axes, boundary=boundary, spacing=spacing
    )
    for name in ("sobel", "scharr"):
        dy, dx = jig.spatial_gradient(volume, operator=name, scale=scale, where=valid)
    dyy, dyx, dxx = jig.second_derivatives(
        volume, operator=gaussian, axes=(np.int64(1), 2), spacing=(np.float32(2), 1)
    )
    smooth: jax.Array = jig.smooth(volume, operator=wide, axes=axes, spacing=spacing)
    dy, dx = jig.spatial_gradient(smooth, operator=boxes, axes=(1, 2))
    (dz,) = jig.spatial_gradient(volume, axes=1, spacing=2, dtype=jnp.float32)
    columns: list[typing.Parameter] = [1.0, np.arange(8.0), np.ones((1, 6, 1, 1))]
    uneven: typing.GridSpacing = columns[1:2]
    (dx,) = jig.spatial_gradient(volume, axes=2, spacing=uneven, one_sided=True)
    (dy,) = jig.spatial_gradient(volume, axes=1, spacing=columns[2:])
    known, _ = jig.valid_outputs(valid, operator="central", one_sided=True)
    dy = jnp.where(known, dy, 0)
    listed = [1, 2]
    flat: jax.Array = jig.laplacian(volume, axes=listed, where=np.ones((), bool))
    parts = jig.spatial_gradient(volume, boundary=("linear", "interior"))
    inverse: jax.Array = jig.divergence(parts, boundary=("linear", "interior"))
    return dy + dx + dyy + dyx + dxx + dz + flat + inverse


def features(image: typing.Image, sigma: typing.Number) -> jax.Array:
    implementation: typing.Implementation | None = None
    magnitude: jax.Array = jig.gradient_magnitude(image, implementation=implementation)
    angle = jig.gradient_orientation(image)
    elevation, azimuth = jig.gradient_orientation(image, axes=(1, 2, 3))
    jyy, jyx, jxx = jig.structure_tensor(
        image, sigma=[sigma, 1.0], truncate=3, window_boundary=("reflect", "edge")
    )
    dy, dx = jig.spatial_gradient(image)
    length: jax.Array = jig.magnitude((dy, dx)) + jig.magnitude([dy])
    turned = jig.orientation((dy, dx)) * jig.absolute(image) + jig.absolute(np.ones(3))
    magnitude += length * turned
    small, large = jig.eigenvalues([jyy, jyx, jxx])
    along, across = jig.eigenvectors((jyy, jyx, jxx))
    magnitude += small * along[0] + large * across[1]
    total = jnp.cos(angle) * magnitude + elevation * azimuth + jyy * jxx - jyx**2
    return total.sum()


def vector_fields(field: typing.Numbers) -> jax.Array:
    matrix: jax.Array = jig.jacobian(field, operator="sobel", spacing=(2, 1))
    turning: jax.Array = jig.curl(field, axes=(-3, -2), boundary="edge")
    stretch = jig.jacobian_determinant(field, displacement=True, dtype=np.float32)
    return matrix.sum() + turning.sum() + stretch.sum()


def one_loss(image: jax.Array, delta: typing.Parameter, axes: typing.Axes) -> jax.Array:
    penalty: typing.Penalty = "huber"
    reduction: typing.Reduction = "sum"
    each = losses.total_variation(
        image, penalty=penalty, delta=delta, axes=axes, reduction=reduction
    )
    return each.mean()


def all_losses(
    predictions: jax.Array, targets: jax.Array, weights: Sequence[float]
) -> jax.Array:
    s, b = losses.scale_and_shift(predictions, targets)
    aligned = s * predictions + b
    order: typing.Order = 2
    penalty: typing.EdgeAwarePenalty = "charbonnier"
    weighting: typing.EdgeWeighting = "gaussian"
    reduction: typing.MatchingReduction = "batch_mean"
    laplacian: typing.MatchingOperator = "laplacian"
    downsample: typing.Downsampling = "gaussian"
    confidences: typing.Weights = [1.0, np.ones((8, 1))]
    pooling: typing.Pooling = "mean"
    of_pixels: typing.PixelReduction = "mean"
    terms = (
        losses.gradient_difference(aligned, targets, alpha=2, weights=confidences),
        losses.gradient_matching(aligned, targets, scales=1, reduction=reduction),
        losses.gradient_matching(
            aligned, targets, operator=laplacian, downsample=downsample, step=2
        ),
        losses.bending_energy(predictions, step=2, spacing=(1.0, np.float32(2))),
        losses.gradient_magnitude_similarity(predictions, targets, pooling=pooling),
        losses.laplacian_edge(predictions, targets, delta=0.1, reduction=of_pixels),
        losses.edge_aware_smoothness(
            predictions,
            targets,
            order=order,
            penalty=penalty,
            edge_weight=np.ones(3),
            edge_weighting=weighting,
        ),
    )
    return sum(
        (w * t.sum() for w, t in zip(weights, terms, strict=True)), jnp.float32(0)
    )


# JAX does not annotate the type of the derivative of a function.
grad: Callable[..., Callable[..., jax.Array]] = jax.grad  # pyright: ignore


def slope_of_one_loss(image: jax.Array) -> jax.Array:
    return grad(one_loss)(image, 0.1, [1, 2])


if __name__ == "__main__":
    pixels = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    image = jnp.sin(pixels)
    print(jig.__version__, operators(image, pixels), derivatives(image).shape)
    print(features(image, 1), all_losses(image, 2 * image, [1, 1, 1, 0.5, 0.1, 1, 1]))
    print(slope_of_one_loss(image).shape, vector_fields(image[..., :2]))
