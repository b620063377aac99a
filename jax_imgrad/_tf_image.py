"""Three functions of `tf.image`, value for value, for images `[B, H, W, C]`.

`image_gradients` and `sobel_edges` are special cases of `spatial_gradient`, and
`total_variation` is a special case of `losses.total_variation`.
"""

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

_AXES = (1, 2)  # rows and columns of [B, H, W, C]
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
    r"""Forward differences of neighboring pixels, vertical and horizontal.

    .. math::
        dy_{ij} = I_{i+1,j} - I_{ij}, \qquad dx_{ij} = I_{i,j+1} - I_{ij}

    dy is the pixel below minus the pixel above (vertical), dx the right pixel minus the
    left (horizontal). dy is exactly 0 in the last row and dx in the last column. A NaN
    or infinite pixel affects only the differences that contain it. The values, and the
    order (dy, dx), are those of `tf.image.image_gradients`, except for unsigned
    integers (see `dtype`).

    The map is linear: its derivative is the map itself, its adjoint (transpose) is
    minus the :func:`divergence`, and neither stores residuals.

    Channels first? `jig.spatial_gradient(x, axes=(-2, -1))` gives the same numbers.

    Args:
      image: a batch of images `[B, H, W, C]`, a JAX or NumPy array. Any axis may have
        size 0 or 1, may be sharded, and may have an unknown size in `jax.export`.
      dtype: dtype of the subtraction and of the result. Defaults to `image.dtype`,
        except that bool and unsigned integers, whose differences would wrap around,
        default to the smallest signed integer dtype that holds them: uint8 gives int16.
        No signed dtype holds the differences of uint64, nor, without `jax_enable_x64`,
        those of uint32: then `dtype` is required. Signed integers may wrap around.
        `dtype=image.dtype` gives the modular arithmetic of TensorFlow, 5 - 10 = 251 in
        uint8.
      implementation: `"xla"`, `"xla_cpu"` or `"pallas_tpu"`, as in
        :func:`spatial_gradient`. Defaults to `"xla_cpu"` in a program for one CPU, else
        to `"xla"`.

    Returns:
      `(dy, dx)`, each with the shape and sharding of `image`.

    Raises:
      ValueError: if `image` is not rank 4, or an option has an unsupported value.
      TypeError: if `image` is not an array, or its dtype does not support subtraction.
      NotImplementedError: if the named implementation cannot run.

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
    result_dtype = _arguments.difference_dtype("image", array.dtype, dtype)
    return _image_gradients(array, result_dtype, implementation)


def sobel_edges(
    image: Image,
    *,
    dtype: DTypeLike | None = None,
    implementation: Implementation | None = None,
) -> Shaped[Array, "B H W C 2"]:
    r"""The Sobel derivatives of an image, vertical and horizontal.

    .. math::
        dy = \begin{pmatrix} -1 & -2 & -1 \\ 0 & 0 & 0 \\ 1 & 2 & 1 \end{pmatrix} * I,
        \qquad
        dx = \begin{pmatrix} -1 & 0 & 1 \\ -2 & 0 & 2 \\ -1 & 0 & 1 \end{pmatrix} * I

    where * is correlation and the image is reflected at its border. dy is below minus
    above (vertical), dx is right minus left (horizontal); both are 8 times the slope of
    a ramp. The values are those of `tf.image.sobel_edges`, and of
    :func:`spatial_gradient` with `operator="sobel"`, `boundary="reflect"` and
    `scale="raw"`, stacked. If dy and dx are used separately, that function is faster.
    The map is linear.

    Args:
      image: a batch of images `[B, H, W, C]` with at least two rows and two columns,
        a JAX or NumPy array. Any axis may be sharded.
      dtype: dtype of the result. Defaults to `image.dtype` for floating and complex
        images, to int16 for 8-bit images, and to the smallest signed integer dtype that
        holds every result for other integers. Without `jax_enable_x64`, int32 stays
        int32 and may wrap around.
      implementation: `"xla"` or `"xla_cpu"`, as in :func:`spatial_gradient`. Defaults
        to `"xla_cpu"` in a program for one CPU, else to `"xla"`.

    Returns:
      `[B, H, W, C, 2]`: dy and dx along the last axis, with the sharding of `image`.

    Raises:
      ValueError: if `image` is not rank 4 or has only one row or column, or an option
        has an unsupported value.
      TypeError: if `image` is not an array, or its dtype does not support subtraction.
      NotImplementedError: if the named implementation cannot run.

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
    _arguments.check_sizes("image", array, _SOBEL_EDGES)
    result_dtype = _arguments.result_dtype("image", array.dtype, dtype, _SOBEL_EDGES)
    return _sobel_edges(array, result_dtype, implementation)


def total_variation(
    images: Image | Shaped[Numbers, "H W C"],
    *,
    implementation: Implementation | None = None,
) -> Shaped[Array, "*B"]:
    r"""The sum of absolute differences of neighboring pixels of each image.

    .. math::
        \sum_{ijc} |I_{i+1,jc} - I_{ijc}| + |I_{i,j+1,c} - I_{ijc}|

    The values are those of `tf.image.total_variation`: a sum, which grows with the
    number of pixels. In contrast, `jax_imgrad.losses.total_variation` is a mean over
    the pixels by default, and takes masks, volumes and other penalties. The derivative
    is minus the divergence of the signs of the differences, with sign(0) = 0.

    Sums are accumulated in at least float32, or int32 for integers. 8-bit images with
    more than 4 million values may overflow int32: convert them to float32 first.

    Args:
      images: a batch of images `[B, H, W, C]` or one image `[H, W, C]`, a JAX or NumPy
        array. Any axis may be sharded.
      implementation: `"xla"` or `"xla_cpu"`, as in :func:`spatial_gradient`. Defaults
        to `"xla_cpu"` in a program for one CPU, else to `"xla"`.

    Returns:
      `[B]`, or a scalar for one image. The dtype is `images.dtype` for floating images,
      float32 or float64 for complex images, and at least int32 for integers.

    Raises:
      ValueError: if `images` is not rank 3 or 4, or an option has an unsupported value.
      TypeError: if `images` is not an array, or its dtype does not support subtraction.
      NotImplementedError: if the named implementation cannot run.

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
    subtract_in = _arguments.difference_dtype("images", array.dtype, None)
    _arguments.check_implementation(implementation)
    batch = array if array.ndim == 4 else array[None]
    total = _total_variation(batch, subtract_in, implementation)
    return total if array.ndim == 4 else total[0]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _image_gradients(
    image: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> tuple[jax.Array, jax.Array]:
    maps = tuple((separable,) for separable in _IMAGE_GRADIENTS)
    dy, dx = stencil([image.astype(dtype)], maps, implementation)
    return dy, dx


@functools.partial(jax.jit, static_argnums=(1, 2))
def _sobel_edges(
    image: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> jax.Array:
    maps = tuple((separable,) for separable in _SOBEL_EDGES)
    (edges,) = stencil([image.astype(dtype)], maps, implementation, stacked=True)
    return edges


@functools.partial(jax.jit, static_argnums=(1, 2))
def _total_variation(
    images: jax.Array, dtype: np.dtype, implementation: Implementation | None
) -> jax.Array:
    images = images.astype(dtype)
    delta = jnp.zeros((), jnp.float32)  # which "l1" ignores
    total = functional(
        Variation("l1"),
        [images],
        [delta],
        stencils=_IMAGE_GRADIENTS,
        implementation=implementation,
    )
    is_floating = jnp.issubdtype(images.dtype, jnp.floating)
    return total.astype(images.dtype) if is_floating else total
