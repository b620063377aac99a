"""Image gradients, and the losses made of them, for JAX.

Every function is pure, takes the arrays of JAX and NumPy, and may be transformed by
`jit`, `vmap`, `grad`, `jvp`, `linear_transpose`, `shard_map`, `export` and the others.
An image is `[B, H, W, C]`: B images, H rows, W columns, C channels. Rows come before
columns everywhere: `(dy, dx)`, `(H, W)`. Arrays are positional; every option is a
keyword, and `implementation`, the way to compute, is the last.
"""

from jax_imgrad import losses as losses
from jax_imgrad._derivatives import divergence as divergence
from jax_imgrad._derivatives import laplacian as laplacian
from jax_imgrad._derivatives import second_derivatives as second_derivatives
from jax_imgrad._derivatives import spatial_gradient as spatial_gradient
from jax_imgrad._features import gradient_magnitude as gradient_magnitude
from jax_imgrad._features import gradient_orientation as gradient_orientation
from jax_imgrad._features import structure_tensor as structure_tensor
from jax_imgrad._tf_image import image_gradients as image_gradients
from jax_imgrad._tf_image import sobel_edges as sobel_edges
from jax_imgrad._tf_image import total_variation as total_variation
