"""The functions of `tf.image`, value for value, on batches of images `[B, H, W, C]`."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Shaped

from jax_imgrad import _arguments, _stencils
from jax_imgrad._functional import functional
from jax_imgrad._linear import stencil
from jax_imgrad._penalties import Variation
from jax_imgrad._stencils import AxisSpec
from jax_imgrad.typing import Image, Implementation, Numbers

_AXES = (1, 2)  # of the rows and of the columns in [B, H, W, C]
_IMAGE_GRADIENTS = _stencils.gradient(
    "forward", "raw", [AxisSpec(axis, "interior", 1.0) for axis in _AXES]
)
_SOBEL_EDGES = _stencils.gradient(
    "sobel", "raw", [AxisSpec(axis, "reflect", 1.0) for axis in _AXES]
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
    array = _arguments.as_array("image", image)
    _arguments.check_image_rank("image", array)
    _arguments.check_implementation(implementation)
    subtract_in = _arguments.difference_dtype("image", array.dtype, dtype)
    return _image_gradients(array, subtract_in, implementation)


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
      dtype: as for :func:`spatial_gradient`; defaults to the dtype of floating images,
        and to int16 for 8-bit images.
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
    array = _arguments.as_array("image", image)
    _arguments.check_image_rank("image", array)
    _arguments.check_implementation(implementation)
    _arguments.check_reflection("image", array, _SOBEL_EDGES)
    held = _arguments.result_dtype("image", array.dtype, dtype, _SOBEL_EDGES)
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
    array = _arguments.as_array("images", images)
    _arguments.check_image_rank("images", array, or_one=True)
    _arguments.difference_dtype("images", array.dtype, None)
    _arguments.check_implementation(implementation)
    batch = array if array.ndim == 4 else array[None]
    total = _total_variation(batch, implementation)
    return total if array.ndim == 4 else total[0]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _image_gradients(
    image: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> tuple[jax.Array, jax.Array]:
    maps = tuple((one,) for one in _IMAGE_GRADIENTS)
    dy, dx = stencil([image.astype(dtype)], maps, implementation)
    return dy, dx


@functools.partial(jax.jit, static_argnums=(1, 2))
def _sobel_edges(
    image: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> jax.Array:
    maps = tuple((one,) for one in _SOBEL_EDGES)
    (edges,) = stencil([image.astype(dtype)], maps, implementation, stacked=True)
    return edges


@functools.partial(jax.jit, static_argnums=1)
def _total_variation(
    images: jax.Array, implementation: Implementation | None
) -> jax.Array:
    if not jnp.issubdtype(images.dtype, jnp.inexact):
        held = _arguments.difference_dtype("images", images.dtype, None)
        images = images.astype(held)
    scale = jnp.zeros((), jnp.float32)
    total = functional(
        Variation("l1"), [images], [scale], axes=_AXES, implementation=implementation
    )
    floats = jnp.issubdtype(images.dtype, jnp.floating)
    return total.astype(images.dtype) if floats else total
