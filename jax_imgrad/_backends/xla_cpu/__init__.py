"""A back end for a single CPU device: branch-free loops over long rows.

Why not the definition: XLA for CPU does not fuse the differences into their sum
(openxla/xla#46351), and it does not vectorize a reduction. With the definition, a total
variation takes 20 to 80 times as long as reading the image. XLA for CPU is good at one
thing, a loop that writes an array: it vectorizes the loop and distributes it over the
cores, unless the loop body branches on whether a pixel is at a border.

Why long rows: only the innermost loop is vectorized, so it should be long, but images
often have 3 channels or 1. So an axis without differences is merged with the axis
before it, up to the batch. An array `[B, H, W, C]` becomes B images of H rows of W*C
numbers, in which the next pixel along W is C numbers further on: a stride of C. Every
axis that remains, except the batch, has differences.

- The sum (`_sums.py`): a loop adds 8 slices of the penalties, each of every 32nd row,
  into one array. Four such loops, each adding to the result of the one before, cover
  all rows, and leave a small array that is summed by a product with ones. Coupled
  channels are read as C windows of the same rows, each starting one number after the
  one before. Only every C-th number then belongs to a pixel. The others mix two pixels,
  and are dropped from the small array.
- The derivative (`_gradients.py`): one loop computes the flux that enters each pixel
  and the flux that leaves it. Each flux is computed twice: to store it in an array, and
  read it again, would be slower. The flux is stored only if it depends on several
  images. For coupled channels, the weight of the flux is stored.
- A stencil (`_stencils.py`): one loop per result computes the interior. The outputs
  near a border, a small part, are computed separately and written over it.
- Other stencils than forward differences (`_outputs.py`): their outputs are stored, and
  so is the flux.
- Squares that overflow or underflow (`_range.py`): sums assume that none does, and are
  checked; derivatives are computed from rescaled differences.

It is for one device, since slicing rows that are sharded gathers them.
"""

from jax_imgrad._backends.xla_cpu._functionals import functional as functional
from jax_imgrad._backends.xla_cpu._functionals import (
    functional_and_gradient as functional_and_gradient,
)
from jax_imgrad._backends.xla_cpu._rows import why_not as why_not
from jax_imgrad._backends.xla_cpu._stencils import stencil as stencil
