"""Derivatives of images of any rank: gradient, divergence, second ones, Laplacian.

Each is a linear map, a stencil along some axes, and shares these options:

- `axes`, in the order of the results, by default rows and columns of `[..., H, W, C]`;
- `boundary`, what lies beyond the border;
- `spacing`, the distance of two pixels along an axis;
- `where`, which pixels are valid: an output counts if all its taps are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._dtypes import accumulator
from jax_imgrad._linear import stencil
from jax_imgrad._masks import valid_outputs, without_invalid
from jax_imgrad._stencils import SeparableStencil, negative, transpose
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    Implementation,
    Numbers,
    Operator,
    Scale,
    Spacing,
)


def spatial_gradient(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> tuple[Shaped[Array, "..."], ...]:
    r"""The first derivative along each axis, by an operator of your choice.

    .. math::
        (\partial_a x)_i = \frac1{h_a} \sum_{k, l, \dots}
        d_k \, s_l \cdots \, x_{i + k e_a + l e_b + \dots}

    with the taps d of a derivative along axis a, and the taps s of a smoothing along
    each other one of the `axes`:

    ========================  ========================  ======================
    operator                  d, raw                    s, raw
    ========================  ========================  ======================
    `"forward"`               x[i+1] - x[i]             none
    `"backward"`              x[i] - x[i-1]             none
    `"central"`               -1 0 1                    none
    `"sobel"`                 -1 0 1                    1 2 1
    `"scharr"`                -1 0 1                    3 10 3
    `"prewitt"`               -1 0 1                    1 1 1
    `"sobel5"`                -1 -2 0 2 1               1 4 6 4 1
    `"sobel7"`                -1 -4 -5 0 5 4 1          1 6 15 20 15 6 1
    `"farid"`                 5 taps of the paper       5 taps of the paper
    `("gaussian", sigma)`     that of a Gaussian        a Gaussian
    ========================  ========================  ======================

    By default these are the numbers of :func:`image_gradients`, for any rank and axes
    (but signed integers take a wider type where they would wrap around).
    The map is linear: its derivative is itself, its transpose is minus the
    :func:`divergence` with the same options, and nothing is kept in memory for either.

    Args:
      x: an array of any rank, of JAX or NumPy. Any axis may be sharded.
      operator: one of the above.
      axes: the axes to differentiate along, an integer or a sequence of integers, in
        the order of the results. The others are batch axes.
      boundary: what lies beyond the border, in the words of NumPy: `"edge"`
        (a a|a b c), `"reflect"` (c b|a b c), `"symmetric"` (b a|a b c), `"wrap"`
        (b c|a b c), `"constant"` (0 0|a b c). Or `"interior"`: the *result* is
        exactly 0 where a tap is missing. One name for all `axes`, or a sequence of one
        for each.
      spacing: h, the distance between neighboring pixels: a positive number, or a
        sequence or an array of one for each of the `axes`.
      scale: `"derivative"`, which divides the taps so that the derivative of a ramp is
        its slope; or `"raw"`, the taps as above, as OpenCV, SciPy and TensorFlow.
      where: which pixels are valid, as bools that broadcast to `x`. A result counts if
        all pixels that it is made of are valid, and is 0 if not. What lies in others,
        NaN too, reaches neither value nor derivative.
      dtype: the dtype of the results. Defaults to `x.dtype` for floating and complex
        images; for integers to the smallest signed integer dtype that holds every
        result (uint8 gives int16) if all taps are whole numbers, else to float32.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      A tuple: for each of the `axes` in turn an array of the shape and sharding of `x`.

    Raises:
      ValueError: if an option is none of its values, an axis is not one of `x`, or
        `"reflect"` meets an axis of one pixel.
      TypeError: if `x` is not an array, or of a dtype that cannot be subtracted.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> volume = 3.0 * jnp.arange(5.0).reshape(5, 1, 1) + jnp.zeros((5, 4, 4))
      >>> dz, dy, dx = jig.spatial_gradient(
      ...     volume, operator="sobel", axes=(0, 1, 2), boundary="edge",
      ...     spacing=(2.0, 1.0, 1.0),
      ... )
      >>> dz[:, 0, 0]
      Array([0.75, 1.5 , 1.5 , 1.5 , 0.75], dtype=float32)
      >>> float(abs(dy).max()), float(abs(dx).max())
      (0.0, 0.0)

    Reference:
      H. Scharr, "Optimale Operatoren in der digitalen Bildverarbeitung", dissertation,
      Heidelberg, 2000. H. Farid, E. Simoncelli, "Differentiation of discrete
      multidimensional signals", IEEE Transactions on Image Processing 13, 2004.
    """
    array = _arguments.as_array("x", x)
    along = _arguments.axis_specs("x", array, axes, boundary, spacing)
    stencils = _stencils.gradient(
        *_arguments.operator_and_scale(operator, scale), along
    )
    held = _arguments.result_dtype("x", array.dtype, dtype, stencils)
    return derivatives(array, stencils, where, held, implementation)


def second_derivatives(
    x: Shaped[Numbers, "..."],
    *,
    operator: Operator = "central",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> tuple[Shaped[Array, "..."], ...]:
    r"""The second derivative along each pair of axes: `(dyy, dyx, dxx)`.

    These are the entries of the Hessian matrix of the image, its upper triangle row by
    row; for a volume `(dzz, dzy, dzx, dyy, dyx, dxx)`. Along an axis twice, the taps
    are 1 -2 1 for most operators (`"sobel5"`: 1 0 -2 0 1, `"sobel7"`: 1 2 -1 -4 -1 2 1,
    `"farid"`: those of the paper for the second order, a Gaussian: its second
    derivative), with smoothing along the others; along two, those of the first
    derivative along either. With `scale="derivative"` those of x²/2 and of xy are 1.

    Args:
      x: an array of any rank, of JAX or NumPy. Any axis may be sharded.
      operator: as for :func:`spatial_gradient`.
      axes: as for :func:`spatial_gradient`.
      boundary: as for :func:`spatial_gradient`.
      spacing: as for :func:`spatial_gradient`.
      scale: as for :func:`spatial_gradient`.
      where: as for :func:`spatial_gradient`.
      dtype: as for :func:`spatial_gradient`.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      A tuple: for each pair of `axes`, the second not before the first, an array of the
      shape and sharding of `x`.

    Raises:
      ValueError: as for :func:`spatial_gradient`.
      TypeError: as for :func:`spatial_gradient`.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> y, x = jnp.mgrid[0.0:5, 0.0:5]
      >>> dyy, dyx, dxx = jig.second_derivatives(x * y + 2 * x**2, axes=(0, 1))
      >>> [float(d[2, 2]) for d in (dyy, dyx, dxx)]
      [0.0, 1.0, 4.0]

    Reference:
      H. Farid, E. Simoncelli, "Differentiation of discrete multidimensional signals",
      IEEE Transactions on Image Processing 13, 2004.
    """
    array = _arguments.as_array("x", x)
    along = _arguments.axis_specs("x", array, axes, boundary, spacing)
    stencils = _stencils.second_derivatives(
        *_arguments.operator_and_scale(operator, scale), along
    )
    held = _arguments.result_dtype("x", array.dtype, dtype, stencils)
    return derivatives(array, stencils, where, held, implementation)


def laplacian(
    x: Shaped[Numbers, "..."],
    *,
    axes: Axes = (-3, -2),
    boundary: Boundaries = "edge",
    spacing: Spacing = 1.0,
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "..."]:
    r"""The sum of the second differences along the axes.

    .. math:: (\Delta x)_i = \sum_a \frac{x_{i + e_a} - 2 x_i + x_{i - e_a}}{h_a^2}

    By default it is the :func:`divergence` of the :func:`spatial_gradient`, with
    reflecting (Neumann) borders: its sum is 0. With `boundary="interior"` the
    difference along an axis is 0 where it lacks a pixel.

    Args:
      x: an array of any rank, of JAX or NumPy. Any axis may be sharded.
      axes: as for :func:`spatial_gradient`.
      boundary: as for :func:`spatial_gradient`.
      spacing: as for :func:`spatial_gradient`.
      where: as for :func:`spatial_gradient`.
      dtype: as for :func:`spatial_gradient`.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      An array of the shape and sharding of `x`.

    Raises:
      ValueError: as for :func:`spatial_gradient`.
      TypeError: as for :func:`spatial_gradient`.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> jig.laplacian(jnp.array([0.0, 0.0, 1.0, 0.0, 0.0]), axes=(0,))
      Array([ 0.,  1., -2.,  1.,  0.], dtype=float32)

    Reference:
      J. Canny, "A computational approach to edge detection", IEEE Transactions on
      Pattern Analysis and Machine Intelligence 8, 1986, sets it beside the gradient.
    """
    array = _arguments.as_array("x", x)
    stencils = _stencils.laplacian(
        _arguments.axis_specs("x", array, axes, boundary, spacing)
    )
    _arguments.check_reflection("x", array, stencils)
    held = _arguments.result_dtype("x", array.dtype, dtype, stencils)
    valid = _arguments.as_mask(where, "x", array)
    _arguments.check_implementation(implementation)
    return _sum_of_derivatives(array, valid, stencils, held, implementation)


def divergence(
    gradients: Sequence[Shaped[Numbers, "..."]],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "..."]:
    r"""Minus the transpose of :func:`spatial_gradient`: what flows out of each pixel.

    With the same options as there, for all images u and all tuples p,

    .. math:: \langle \nabla u, p \rangle = - \langle u, \operatorname{div} p \rangle.

    By default it is that of :func:`image_gradients`,

    .. math::
        (\operatorname{div} p)_{ij} =
        \begin{cases} p^y_{ij} - p^y_{i-1,j} & 0 < i < H - 1 \\
        p^y_{ij} & i = 0 \\ -p^y_{i-1,j} & i = H - 1 \end{cases}
        + \begin{cases} p^x_{ij} - p^x_{i,j-1} & 0 < j < W - 1 \\
        p^x_{ij} & j = 0 \\ -p^x_{i,j-1} & j = W - 1, \end{cases}

    and zero along an axis of one pixel. The divergence of the gradients of an image is
    then its Laplacian with reflecting (Neumann) borders. The last row of `dy` and the
    last column of `dx` do not count.

    Args:
      gradients: `(dy, dx)`, as :func:`image_gradients` and :func:`spatial_gradient`
        return it: a sequence with one array of JAX or NumPy for each of the `axes`, all
        of one shape and dtype.
      operator: as for :func:`spatial_gradient`.
      axes: as for :func:`spatial_gradient`.
      boundary: as for :func:`spatial_gradient`.
      spacing: as for :func:`spatial_gradient`.
      scale: as for :func:`spatial_gradient`.
      where: as for :func:`spatial_gradient`: the valid pixels of the image. What is in
        results of the gradient that do not count is ignored, and the divergence is 0
        where a pixel is not valid.
      dtype: as for :func:`image_gradients`; integers, where the taps are fractions, are
        taken as float32.
      implementation: as for :func:`image_gradients`; with other options than the
        default ones as for :func:`spatial_gradient`.

    Returns:
      One array with the shape and the sharding of those of `gradients`.

    Raises:
      ValueError: if the arrays have not one shape and dtype, or an option is none of
        its values.
      TypeError: if `gradients` is not a sequence of as many arrays as `axes`, or of a
        dtype that cannot be subtracted.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> image = jnp.array([0.0, 0.0, 1.0, 0.0, 0.0]).reshape(1, 1, 5, 1)
      >>> jig.divergence(jig.image_gradients(image)).ravel()
      Array([ 0.,  1., -2.,  1.,  0.], dtype=float32)

    Reference:
      A. Chambolle, "An Algorithm for Total Variation Minimization and Applications",
      Journal of Mathematical Imaging and Vision 20, 2004, equation 2.
    """
    _arguments.check_implementation(implementation)
    flow = _arguments.as_fields("gradients", gradients, axes)
    along = _arguments.axis_specs("gradients[0]", flow[0], axes, boundary, spacing)
    stencils = _stencils.gradient(
        *_arguments.operator_and_scale(operator, scale), along
    )
    held = _arguments.divergence_dtype("gradients[0]", flow[0].dtype, dtype, stencils)
    _arguments.check_reflection("gradients[0]", flow[0], stencils)
    valid = _arguments.as_mask(where, "gradients[0]", flow[0])
    return _divergence(flow, valid, stencils, held, implementation)


def derivatives(
    array: jax.Array,
    stencils: tuple[SeparableStencil, ...],
    where: jax.Array | np.ndarray | None,
    dtype: np.dtype,
    implementation: Implementation | None,
    *,
    jointly: bool = False,
) -> tuple[jax.Array, ...]:
    """What the stencils make of an image; `jointly`: where they all count, or not."""
    _arguments.check_reflection("x", array, stencils)
    valid = _arguments.as_mask(where, "x", array)
    _arguments.check_implementation(implementation)
    return _derivatives(array, valid, stencils, dtype, implementation, jointly)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _derivatives(
    array: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
    jointly: bool,
) -> tuple[jax.Array, ...]:
    image = without_invalid(array, valid).astype(dtype)
    results = stencil([image], tuple((p,) for p in stencils), implementation)
    if valid is None:
        return tuple(results)
    counts = [valid_outputs(valid, one) for one in stencils]
    if jointly:
        counts = [functools.reduce(jnp.logical_and, counts)] * len(counts)
    return tuple(jnp.where(c, r, 0) for c, r in zip(counts, results, strict=True))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _sum_of_derivatives(
    array: jax.Array,
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    # In the dtype to accumulate in, for the derivative is a sum, too.
    image = without_invalid(array, valid).astype(accumulator(dtype))
    (total,) = stencil([image] * len(stencils), (stencils,), implementation)
    total = total.astype(dtype)
    if valid is None:
        return total
    counts = [valid_outputs(valid, one) for one in stencils]
    return jnp.where(functools.reduce(jnp.logical_and, counts), total, 0)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _divergence(
    flow: list[jax.Array],
    valid: jax.Array | None,
    stencils: tuple[SeparableStencil, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    if valid is not None:
        counts = [valid_outputs(valid, one) for one in stencils]
        flow = list(map(without_invalid, flow, counts))
    maps = (tuple(negative(transpose(one)) for one in stencils),)
    (out,) = stencil([part.astype(dtype) for part in flow], maps, implementation)
    return without_invalid(out, valid)
