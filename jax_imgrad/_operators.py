"""The operators of `tf.image`, on batches of images; and the divergence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Shaped

from jax_imgrad import _checks, _dispatch, _options, _stencils
from jax_imgrad._bands import Product, transpose
from jax_imgrad._functional import functional
from jax_imgrad._linear import divergence_p, image_gradients_p, stencil
from jax_imgrad._masks import valid_outputs, without_invalid
from jax_imgrad._options import Boundaries, Spacing
from jax_imgrad._penalties import Variation
from jax_imgrad._primitives import of_one_type
from jax_imgrad._stencils import Along, Operator, Scale
from jax_imgrad._types import Image, Implementation, Numbers

_AXES = (1, 2)  # of the rows and of the columns in [B, H, W, C]
_IMAGE_GRADIENTS = _stencils.gradient(
    "forward", "raw", [Along(axis, "interior", 1.0) for axis in _AXES]
)
_SOBEL_EDGES = _stencils.gradient(
    "sobel", "raw", [Along(axis, "reflect", 1.0) for axis in _AXES]
)


def image_gradients(
    image: Image,
    *,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> tuple[Shaped[Array, "B H W C"], Shaped[Array, "B H W C"]]:
    r"""Differences of neighboring pixels, down the rows and along the columns.

    .. math::
        dy_{ij} = I_{i+1,j} - I_{ij}, \qquad dx_{ij} = I_{i,j+1} - I_{ij}

    in each channel of each image, with `dy` exactly zero in the last row and `dx` in
    the last column, whatever the pixels there. These are the numbers of
    `tf.image.image_gradients` (but see `dtype`), in its order: the vertical one first.

    The map is linear. Its derivative is itself, its transpose is minus the
    :func:`divergence`, and nothing is kept in memory for either. A NaN or an infinite
    pixel reaches only the differences that contain it.

    Args:
      image: the batch of images, `[B, H, W, C]`, of JAX or NumPy. Any axis may have
        size 0, 1, or one unknown as yet (`jax.export`), and may be sharded.
      dtype: the dtype in which to subtract, and of the result. By default that of
        `image`; but bool and unsigned integers, whose differences would wrap around,
        take the next signed integer that holds them all: uint8 becomes int16. There is
        none for uint64 (nor, without 64-bit types, for uint32): name one. Signed
        integers keep theirs, and may wrap around. `dtype=image.dtype` is TensorFlow's
        modular arithmetic, 5 - 10 = 251.
      implementation: None or `"xla"`, the definition, compiled by XLA for every
        platform and sharding; or `"pallas_tpu"`, a kernel for one TPU, for float32 and
        bfloat16. A name is used, or refused with the reason; never replaced.

    Returns:
      `(dy, dx)`, each with the shape and the sharding of `image`.

    Raises:
      ValueError: if `image` has not four axes, or `implementation` is unknown.
      TypeError: if `image` is not an array, or of a dtype that cannot be subtracted.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> image = jnp.arange(25.0).reshape(1, 5, 5, 1)
      >>> dy, dx = jig.image_gradients(image)
      >>> dy[0, :, :, 0]
      Array([[5., 5., 5., 5., 5.],
             [5., 5., 5., 5., 5.],
             [5., 5., 5., 5., 5.],
             [5., 5., 5., 5., 5.],
             [0., 0., 0., 0., 0.]], dtype=float32)
      >>> dx[0, :, :, 0]
      Array([[1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.]], dtype=float32)

    Reference:
      A. Chambolle, "An Algorithm for Total Variation Minimization and Applications",
      Journal of Mathematical Imaging and Vision 20, 2004, equation 2.
    """
    array = _checks.as_array("image", image)
    _checks.check_image_rank("image", array)
    _dispatch.check_implementation(implementation)
    subtract_in = _checks.difference_dtype("image", array.dtype, dtype)
    return _image_gradients(array, subtract_in, implementation)


def divergence(
    gradients: tuple[Shaped[Numbers, "..."], ...] | list[Shaped[Numbers, "..."]],
    *,
    operator: Operator = "forward",
    axes: tuple[int, ...] = (-3, -2),
    boundary: Boundaries = "interior",
    spacing: Spacing = 1.0,
    scale: Scale = "derivative",
    where: Shaped[Numbers, "..."] | None = None,
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
        return it: for each of the `axes` an array of JAX or NumPy, all of one shape and
        dtype.
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
      TypeError: if `gradients` is not a tuple of as many arrays as `axes`, or of a
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
    _dispatch.check_implementation(implementation)
    flow = _checks.as_fields("gradients", gradients, axes)
    along = _options.along("gradients[0]", flow[0], axes, boundary, spacing)
    products = _stencils.gradient(*_options.taps(operator, scale), along)
    held = _options.divergence_dtype("gradients[0]", flow[0].dtype, dtype, products)
    if products == _IMAGE_GRADIENTS and flow[0].ndim == 4 and where is None:
        return _divergence(*flow, held, implementation)
    _options.check_reflection("gradients[0]", flow[0], products)
    valid = _checks.as_mask(where, "gradients[0]", flow[0])
    return _general_divergence(flow, valid, products, held, implementation)


def sobel_edges(
    image: Image,
    *,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "B H W C 2"]:
    r"""The Sobel derivatives of an image, down the rows and along the columns.

    .. math::
        dy = \begin{pmatrix} -1 & -2 & -1 \\ 0 & 0 & 0 \\ 1 & 2 & 1 \end{pmatrix} * I,
        \qquad
        dx = \begin{pmatrix} -1 & 0 & 1 \\ -2 & 0 & 2 \\ -1 & 0 & 1 \end{pmatrix} * I

    (correlations), with the image reflected at its border: the numbers of
    `tf.image.sobel_edges`, 8 times the slope of a ramp. They are those of
    :func:`spatial_gradient` with `operator="sobel"`, `boundary="reflect"` and
    `scale="raw"`, stacked; which is faster where the parts are used one by one.

    Args:
      image: the batch of images, `[B, H, W, C]`, of JAX or NumPy, with at least two
        rows and two columns. Any axis may be sharded.
      dtype: as for :func:`spatial_gradient`: of floats by default their own, of 8-bit
        images int16.
      implementation: None, which is `"xla_cpu"` in a program for one CPU,
        `"xla_at_once"` for one other device, and `"xla"` for several; or a name.

    Returns:
      `[B, H, W, C, 2]`: dy and dx along the last axis.

    Raises:
      ValueError: if `image` has not four axes, or one row or column only.
      TypeError: if `image` is not an array, or of a dtype that cannot be subtracted.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> image = jnp.arange(12.0).reshape(1, 3, 4, 1)
      >>> edges = jig.sobel_edges(image)
      >>> edges[0, 1, :, 0, 0]
      Array([32., 32., 32., 32.], dtype=float32)
      >>> edges[0, 1, :, 0, 1]
      Array([0., 8., 8., 0.], dtype=float32)

    Reference:
      I. Sobel, G. Feldman, "A 3x3 isotropic gradient operator for image processing",
      Stanford Artificial Intelligence Project, 1968.
    """
    array = _checks.as_array("image", image)
    _checks.check_image_rank("image", array)
    _dispatch.check_implementation(implementation)
    _options.check_reflection("image", array, _SOBEL_EDGES)
    held = _options.result_dtype("image", array.dtype, dtype, _SOBEL_EDGES)
    return _sobel_edges(array, held, implementation)


def total_variation(
    images: Image | Shaped[Numbers, "H W C"],
    *,
    implementation: Implementation | None = None,
) -> Shaped[Array, "*B"]:
    r"""The sum of the absolute differences of neighboring pixels, for each image.

    .. math::
        \sum_{ijc} |I_{i+1,jc} - I_{ijc}| + |I_{i,j+1,c} - I_{ijc}|

    These are the numbers of `tf.image.total_variation`, and its derivative, 0 where two
    neighbors are equal. Sums are taken in at least float32 or int32: those of float16
    do not overflow on the way. Bytes can exceed int32 from 4 million of them on:
    convert larger images of integers to float32 first.
    `jax_imgrad.losses.total_variation` has other penalties, means, masks and volumes.

    Args:
      images: `[B, H, W, C]`, or one image `[H, W, C]`.
      implementation: None, which is `"xla_cpu"` in a program for one CPU and `"xla"`
        elsewhere; or either name.

    Returns:
      `[B]`, or a number for one image: in the dtype of `images` for floats, in float32
      or float64 for complex numbers, and in at least int32 for integers.

    Raises:
      ValueError: if `images` has not three or four axes, or `implementation` is
        unknown.
      TypeError: if `images` is not an array, or of a dtype that cannot be subtracted.
      NotImplementedError: if the implementation asked for cannot run here.

    Example:
      >>> import jax.numpy as jnp
      >>> import jax_imgrad as jig
      >>> image = jnp.array([[0.0, 1, 3], [2, 2, 5], [4, 0, 1]])[..., None]
      >>> jig.total_variation(image)
      Array(24., dtype=float32)

    Reference:
      L. Rudin, S. Osher, E. Fatemi, "Nonlinear total variation based noise removal
      algorithms", Physica D 60, 1992.
    """
    array = _checks.as_array("images", images)
    _checks.check_image_rank("images", array, or_one=True)
    _checks.difference_dtype("images", array.dtype, None)
    _dispatch.check_implementation(implementation)
    batch = array if array.ndim == 4 else array[None]
    total = _total_variation(batch, implementation)
    return total if array.ndim == 4 else total[0]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _image_gradients(
    image: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> tuple[jax.Array, jax.Array]:
    image = image.astype(dtype)
    chosen = _dispatch.choose(implementation, "image_gradients", image)
    dy, dx = image_gradients_p.bind(image, axes=_AXES, implementation=chosen)
    return dy, dx


@functools.partial(jax.jit, static_argnums=(2, 3))
def _divergence(
    dy: jax.Array, dx: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> jax.Array:
    dy, dx = dy.astype(dtype), dx.astype(dtype)
    chosen = _dispatch.choose(implementation, "divergence", dy)
    dy, dx = of_one_type(dy, dx)
    (out,) = divergence_p.bind(dy, dx, axes=_AXES, implementation=chosen)
    return out


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _general_divergence(
    flow: list[jax.Array],
    valid: jax.Array | None,
    products: tuple[Product, ...],
    dtype: np.dtype,
    implementation: Implementation | None,
) -> jax.Array:
    if valid is not None:
        counts = [valid_outputs(valid, product) for product in products]
        flow = list(map(without_invalid, flow, counts))
    flow = [part.astype(dtype) for part in flow]
    maps = (tuple(map(transpose, products)),)
    (out,) = stencil(flow, maps, implementation)
    return without_invalid(-out, valid)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _sobel_edges(
    image: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> jax.Array:
    maps = tuple((product,) for product in _SOBEL_EDGES)
    (edges,) = stencil([image.astype(dtype)], maps, implementation, stacked=True)
    return edges


@functools.partial(jax.jit, static_argnums=1)
def _total_variation(
    images: jax.Array, implementation: Implementation | None
) -> jax.Array:
    if not jnp.issubdtype(images.dtype, jnp.inexact):
        held = _checks.difference_dtype("images", images.dtype, None)
        images = images.astype(held)
    scale = jnp.zeros((), jnp.float32)
    total = functional(
        Variation("l1"), [images], [scale], axes=_AXES, implementation=implementation
    )
    floats = jnp.issubdtype(images.dtype, jnp.floating)
    return total.astype(images.dtype) if floats else total
