"""Image gradients, and losses made of image gradients, for JAX.

All functions are pure, accept JAX and NumPy arrays, and work with every transformation
of JAX: `jit`, `vmap`, `grad`, `jvp`, `linear_transpose`, `shard_map`, `export` and the
others. A batch of images has shape `[B, H, W, C]`: B images, H rows, W columns,
C channels. Rows come before columns everywhere: `(dy, dx)`, `(H, W)`. Arrays are
positional arguments, all options are keyword-only, and `implementation`, which selects
the back end, is always the last one.
"""

from jax_imgrad import losses, typing
from jax_imgrad._derivatives import (
    divergence,
    laplacian,
    second_derivatives,
    spatial_gradient,
)
from jax_imgrad._eigen import eigenvalues, eigenvectors
from jax_imgrad._features import (
    absolute,
    gradient_magnitude,
    gradient_orientation,
    magnitude,
    orientation,
)
from jax_imgrad._smooth import smooth
from jax_imgrad._structure_tensor import structure_tensor
from jax_imgrad._taps import Kernel
from jax_imgrad._tf_image import image_gradients, sobel_edges, total_variation
from jax_imgrad._validity import valid_outputs
from jax_imgrad._vector_fields import curl, jacobian, jacobian_determinant

__version__ = "0.1.0"

__all__ = [
    "Kernel",
    "absolute",
    "curl",
    "divergence",
    "eigenvalues",
    "eigenvectors",
    "gradient_magnitude",
    "gradient_orientation",
    "image_gradients",
    "jacobian",
    "jacobian_determinant",
    "laplacian",
    "losses",
    "magnitude",
    "orientation",
    "second_derivatives",
    "smooth",
    "sobel_edges",
    "spatial_gradient",
    "structure_tensor",
    "total_variation",
    "typing",
    "valid_outputs",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
