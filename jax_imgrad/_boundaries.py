"""Boundary conditions: what a stencil reads beyond the border of an axis.

A pixel beyond the border counts as a weighted sum of pixels of the axis. Padding copies
one pixel, or none. Extrapolation continues the polynomial through the n pixels that are
nearest to the border. With the first pixels x[0], ..., x[n - 1] at t = 0, ..., n - 1,
Lagrange's form of the polynomial is

    n = 2, "linear":     x[0] (1 - t) + x[1] t
    n = 3, "quadratic":  x[0] (t - 1) (t - 2) / 2 - x[1] t (t - 2) + x[2] t (t - 1) / 2

The pixel -k is at t = -k:

    "linear":     (1 + k) x[0] - k x[1]
    "quadratic":  (k + 1) (k + 2) / 2 x[0] - k (k + 2) x[1] + k (k + 1) / 2 x[2]

These factors are integers, since one of two consecutive numbers is even, and add up to
1: a constant image is continued by the same constant. The end of the axis is the mirror
image of its start.
"""

from jax_imgrad.typing import Boundary

# The fewest pixels that a boundary condition can continue, where one is not enough.
LEAST_SIZES: dict[Boundary, int] = {"reflect": 2, "linear": 2, "quadratic": 3}


def sources(pixel: int, size: int, boundary: Boundary) -> tuple[tuple[int, int], ...]:
    """What is read as the given pixel: pairs of a pixel of the axis and its factor.

    Empty if there is no such pixel, or if it counts as 0.
    """
    if 0 <= pixel < size:
        return ((pixel, 1),)
    if boundary in ("interior", "constant"):
        return ()
    if boundary in ("linear", "quadratic"):
        return _extrapolated(pixel, size, boundary)
    if boundary == "edge":
        return ((min(max(pixel, 0), size - 1), 1),)
    if boundary == "wrap":
        return ((pixel % size, 1),)
    # "symmetric" mirrors at the edge of the last pixel, which occurs twice; "reflect"
    # at its center. The mirrored axis is periodic.
    period = 2 * size if boundary == "symmetric" else 2 * (size - 1)
    mirrored = pixel % period
    return ((min(mirrored, period - mirrored - (boundary == "symmetric")), 1),)


def _extrapolated(
    pixel: int, size: int, boundary: Boundary
) -> tuple[tuple[int, int], ...]:
    k = max(-pixel, pixel - (size - 1))  # the distance from the border
    factors = (1 + k, -k)
    if boundary == "quadratic":
        factors = ((k + 1) * (k + 2) // 2, -k * (k + 2), k * (k + 1) // 2)
    nearest = range(size) if pixel < 0 else reversed(range(size))
    return tuple(zip(nearest, factors, strict=False))
