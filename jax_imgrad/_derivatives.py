"""Linear derivative operators for arrays of any rank, along any axes.

Each applies stencils along some of the axes; all other axes are batch axes. They share
these options, which :func:`spatial_gradient` documents in full:

- `operator`, `scale`: the taps of the stencils, and their normalization;
- `axes`: by default the rows and columns of `[..., H, W, C]`;
- `boundary`, `spacing`: the boundary condition and the pixel spacing along each axis;
- `where`: the valid pixels; an output is valid if all its taps read valid pixels;
- `dtype`, `implementation`: the dtype of the result, and the back end.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._neighbors import apply_gradient, apply_weighted_divergence, plan_of
from jax_imgrad._operators import apply_stencils, apply_sum
from jax_imgrad.typing import (
    Axes,
    Boundaries,
    GridSpacing,
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
    spacing: GridSpacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    one_sided: bool = False,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> tuple[Shaped[Array, "..."], ...]:
    r"""The first derivative along each axis, with the given operator.

    .. math::
        (\partial_a x)_i = \frac1{h_a} \sum_{k, l, \dots}
        d_k \, s_l \cdots \, x_{i + k e_a + l e_b + \dots}

    where d are the taps of a derivative along axis a, and s the taps of a smoothing
    along each of the other `axes`:

    ========================  ========================  ======================
    operator                  d, raw                    s, raw
    ========================  ========================  ======================
    `"forward"`               x[i+1] - x[i]             none
    `"backward"`              x[i] - x[i-1]             none
    `"central"`               -1 0 1                    none
    `"central5"`              1 -8 0 8 -1               none
    `"sobel"`                 -1 0 1                    1 2 1
    `"scharr"`                -1 0 1                    3 10 3
    `"prewitt"`               -1 0 1                    1 1 1
    `"sobel5"`                -1 -2 0 2 1               1 4 6 4 1
    `"sobel7"`                -1 -4 -5 0 5 4 1          1 6 15 20 15 6 1
    `"farid"`                 5 taps, see the paper     5 taps, see the paper
    `("gaussian", sigma)`     derivative of a Gaussian  Gaussian
    :class:`Kernel`           yours                     yours
    ========================  ========================  ======================

    The defaults give the numbers of :func:`image_gradients`, for any rank and axes,
    except that signed integers are promoted to a dtype that cannot wrap around. The map
    is linear: its derivative is the map itself, its adjoint (transpose) is minus the
    :func:`divergence` with the same options, and neither stores residuals.

    Args:
      x: a JAX or NumPy array of any rank. Any axis may be sharded.
      operator: a name from the table; a :class:`Kernel`; or `("gaussian", sigma)` with
        sigma in pixels, one number from 0.125 to 2500 or a sequence with one for each
        axis. In `("gaussian", sigma, "spacing")`, sigma is in units of `spacing`.
      axes: the axes to differentiate along, an integer or a sequence of integers; the
        results have the same order. All other axes are batch axes.
      boundary: the boundary condition of all axes, or a sequence with one per axis.
        `"interior"`: an output is exactly 0 if any of its taps lies beyond the border.
        The others pad as NumPy does: `"constant"` (0 0|a b c), `"edge"` (a a|a b c),
        `"reflect"` (c b|a b c), `"symmetric"` (b a|a b c), `"wrap"` (b c|a b c); or
        they extrapolate: `"linear"` by the line through the 2 pixels at the border,
        `"quadratic"` by the parabola through the 3 pixels there. With these two,
        `operator="central"` is `numpy.gradient` with `edge_order=1` and 2. With all but
        the first two, `jax.export` of an unknown size needs a constraint, "h >= 2" for
        Sobel; the error message states the size.
      spacing: h, the distance between neighboring pixels: a positive number, or a
        sequence or array with one for each axis. In a sequence, an axis may also have
        an array, JAX or NumPy, traced or not; derivatives with respect to it exist. An
        array of rank 1 holds the strictly increasing coordinates of the pixels along
        the axis, for `"forward"`, `"backward"` and `"central"` (as `numpy.gradient`)
        with `"interior"`, `"linear"` or `"quadratic"`. An array of the rank of `x`, if
        that is at least 2, broadcasts to it and holds the spacing of each pixel, which
        divides the derivative on a unit grid.
      scale: `"derivative"` normalizes the taps so that the derivative of a ramp is its
        slope. `"raw"` uses the taps of the table, as OpenCV, SciPy and TensorFlow do.
      where: mask of the valid pixels, bool, broadcast to the shape of `x`. An output is
        0 unless all pixels that its taps read are valid. Invalid pixels are masked
        before differencing, so a NaN in them reaches neither value nor derivative.
        :func:`valid_outputs` tells which outputs count.
      one_sided: for the first three operators of the table. Where one neighbor along
        the axis is invalid or, with `boundary="interior"`, beyond the border, the
        result is the slope to the other one; it is 0 if there is none, and at invalid
        pixels. Without a mask, `"central"` is then `numpy.gradient`.
      dtype: dtype of the result. Defaults to `x.dtype` for floating and complex arrays.
        Integers default to float32 or, if all taps are integers, to the smallest signed
        dtype that holds every result (uint8 gives int16; int32 may wrap if none does).
      implementation: `"xla"` is the definition, for every platform and sharding; on one
        device it reads up to 25 taps at once. `"xla_cpu"` loops over long rows, for
        shapes known at compile time that are not explicitly sharded. `"pallas_tpu"` is
        a TPU kernel for forward differences along two axes and their divergence, with
        `boundary="interior"` and spacing 1, in float32 or bfloat16. Defaults to
        `"xla_cpu"` in a program for one CPU, else to `"xla"`. An explicit choice
        never falls back: if it cannot run, NotImplementedError is raised.

    Returns:
      A tuple with one array per axis, each with the shape and sharding of `x`.

    Raises:
      ValueError: if an option has an unsupported value, an axis is out of range or
        repeated, or an axis has fewer pixels than its `boundary` needs: 2 for
        `"reflect"` and `"linear"`, 3 for `"quadratic"`.
      TypeError: if `x` is not an array, or its dtype does not support subtraction.
      NotImplementedError: if the named implementation cannot run.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> z = jnp.mgrid[0.0:5, 0.0:4, 0.0:4][0]
      >>> dz, dy, dx = jig.spatial_gradient(
      ...     z, operator="sobel", axes=(0, 1, 2), boundary="edge", spacing=(2, 1, 1)
      ... )
      >>> dz[:, 0, 0]
      Array([0.25, 0.5 , 0.5 , 0.5 , 0.25], dtype=float32)
      >>> float(abs(dy).max()), float(abs(dx).max())
      (0.0, 0.0)

      Along the meridians and the parallels of a globe, in kilometers:

      >>> lat, lon = jnp.radians(jnp.array([0.0, 30, 50, 60])), jnp.arange(5.0)
      >>> widths = 111 * jnp.cos(lat)[:, None]  # of a degree of longitude
      >>> dy, dx = jig.spatial_gradient(
      ...     jnp.broadcast_to(lon, (4, 5)), operator="central", axes=(0, 1),
      ...     boundary="linear", spacing=(6371 * lat, widths),
      ... )
      >>> jnp.round(1 / dx[:, 0])
      Array([111.,  96.,  71.,  56.], dtype=float32)

    Reference:
      H. Scharr, "Optimale Operatoren in der digitalen Bildverarbeitung", dissertation,
      Heidelberg, 2000. H. Farid, E. Simoncelli, "Differentiation of discrete
      multidimensional signals", IEEE Transactions on Image Processing 13, 2004.
    """
    array = _arguments.as_array("x", x)
    specs, grid = _arguments.axis_specs_and_grid("x", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale, specs, grid=grid)
    plan = plan_of(*kernel, specs, grid, one_sided)
    result_dtype = _arguments.result_dtype("x", array.dtype, dtype, plan.stencils, grid)
    return apply_gradient(array, plan, where, result_dtype, implementation)


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
    r"""The second derivatives for each pair of axes: `(dyy, dyx, dxx)`.

    These are the entries of the upper triangle of the Hessian matrix, row by row; for
    a volume `(dzz, dzy, dzx, dyy, dyx, dxx)`. Mixed derivatives such as dyx apply the
    taps of the first derivative along both axes. The others, such as dxx, apply 1 -2 1
    (`"central5"`: -1 16 -30 16 -1, `"sobel5"`: 1 0 -2 0 1, `"sobel7"`: 1 2 -1 -4 -1 2
    1, `"farid"`: see the paper, a Gaussian: its second derivative, a :class:`Kernel`:
    `second`). All remaining `axes` are smoothed. With
    `scale="derivative"`, dxx of x²/2 and dyx of xy are 1. The map is linear.

    Args:
      x: a JAX or NumPy array of any rank. Any axis may be sharded.
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`.
      spacing: as in :func:`spatial_gradient`, numbers only.
      scale: as in :func:`spatial_gradient`.
      where: as in :func:`spatial_gradient`.
      dtype: as in :func:`spatial_gradient`.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      A tuple with one array per pair of axes, each with the shape and sharding of `x`.

    Raises:
      ValueError, TypeError, NotImplementedError: as in :func:`spatial_gradient`.

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
    specs = _arguments.axis_specs("x", array, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale, specs, order=2)
    stencils = _stencils.second_derivatives(*kernel, specs)
    result_dtype = _arguments.result_dtype("x", array.dtype, dtype, stencils)
    return apply_stencils(array, stencils, where, result_dtype, implementation)


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

    With the default boundary condition (Neumann) it is the :func:`divergence` of the
    :func:`spatial_gradient` with its default options, and its sum over the image is 0.
    With `boundary="interior"`, the second difference along an axis is 0 at the first
    and the last pixel. The map is linear.

    Args:
      x: a JAX or NumPy array of any rank. Any axis may be sharded.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`.
      spacing: as in :func:`spatial_gradient`, numbers only.
      where: as in :func:`spatial_gradient`.
      dtype: as in :func:`spatial_gradient`.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      An array with the shape and sharding of `x`.

    Raises:
      ValueError, TypeError, NotImplementedError: as in :func:`spatial_gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> jig.laplacian(jnp.array([0.0, 0.0, 1.0, 0.0, 0.0]), axes=(0,))
      Array([ 0.,  1., -2.,  1.,  0.], dtype=float32)

    Reference:
      J. Canny, "A computational approach to edge detection", IEEE Transactions on
      Pattern Analysis and Machine Intelligence 8, 1986, compares it with the gradient.
    """
    array = _arguments.as_array("x", x)
    specs = _arguments.axis_specs("x", array, axes, boundary, spacing)
    stencils = _stencils.laplacian(specs)
    _arguments.check_sizes("x", array, stencils)
    result_dtype = _arguments.result_dtype("x", array.dtype, dtype, stencils)
    valid = _arguments.as_mask(where, "x", array)
    _arguments.check_implementation(implementation)
    return apply_sum(array, valid, stencils, result_dtype, implementation)


def divergence(
    gradients: Sequence[Shaped[Numbers, "..."]],
    *,
    operator: Operator = "forward",
    axes: Axes = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: GridSpacing = 1.0,
    scale: Scale = "derivative",
    where: Bool[Numbers, "..."] | None = None,
    one_sided: bool = False,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "..."]:
    r"""The divergence of a vector field: minus the adjoint of :func:`spatial_gradient`.

    For all images u and vector fields p, with the same options for both functions,

    .. math:: \langle \nabla u, p \rangle = - \langle u, \operatorname{div} p \rangle.

    With the default options this is

    .. math::
        (\operatorname{div} p)_{ij} = p^y_{ij} - p^y_{i-1,j} + p^x_{ij} - p^x_{i,j-1}

    where :math:`p^y` counts as 0 in the last row and before the first, and :math:`p^x`
    in the last column and before the first. Applied to the gradient of an image it is
    the Laplacian with Neumann boundary condition. The map is linear.

    Args:
      gradients: `(dy, dx)`, a tuple with one array per axis, of one shape and dtype, as
        :func:`spatial_gradient` returns it. JAX or NumPy arrays.
      operator: as in :func:`spatial_gradient`.
      axes: as in :func:`spatial_gradient`.
      boundary: as in :func:`spatial_gradient`.
      spacing: as in :func:`spatial_gradient`.
      scale: as in :func:`spatial_gradient`.
      where: mask of the valid pixels of the image. Entries of `gradients` whose taps
        read an invalid pixel are ignored; the divergence is 0 at invalid pixels.
      one_sided: as in :func:`spatial_gradient`.
      dtype: as in :func:`image_gradients`, except that integers default to float32 if
        any tap is not an integer.
      implementation: as in :func:`spatial_gradient`.

    Returns:
      An array with the shape and sharding of the arrays in `gradients`.

    Raises:
      ValueError: if arrays differ in shape or dtype, or an option value is unsupported.
      TypeError: if `gradients` is not a sequence with one array per axis, or its dtype
        does not support subtraction.
      NotImplementedError: if the named implementation cannot run.

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
    fields = _arguments.as_fields("gradients", gradients, axes)
    name, first = "gradients[0]", fields[0]
    specs, grid = _arguments.axis_specs_and_grid(name, first, axes, boundary, spacing)
    kernel = _arguments.operator_and_scale(operator, scale, specs, grid=grid)
    plan = plan_of(*kernel, specs, grid, one_sided)
    stencils = plan.stencils
    result_dtype = _arguments.divergence_dtype(name, first.dtype, dtype, stencils, grid)
    _arguments.check_sizes(name, first, stencils)
    valid = _arguments.as_mask(where, name, first)
    _arguments.check_implementation(implementation)
    return apply_weighted_divergence(fields, valid, plan, result_dtype, implementation)
