"""What one CPU computes better in another form: sums and stencils, in long rows.

XLA for CPU does not fuse the differences into their sum (openxla/xla#46351), and what
it sums itself it does not vectorize: a total variation takes 20 to 80 times as long as
reading the image. What it does well is a loop that writes an array: it vectorizes that,
and shares it out among the cores; unless it must decide, pixel by pixel, what lies
beyond a border. So all is made of loops with nothing to decide, over long rows: the
axes of an image are joined, so that each one left has differences. `[B, H, W, C]` is B
images of H rows of W*C numbers, where the next pixel is C further.

- The sum: a loop adds up 8 rows to one, all over the image; a few such loops, one on
  top of the other, leave a small part of it, which a product with ones sums. Channels
  that are coupled are read side by side, in rows that begin one number further each;
  what mixes two pixels is dropped from that small part.
- The derivative: one loop, of what flows into each pixel and what flows out. The flux
  is computed twice, for in an array of its own it would be written and read again;
  but not where it depends on several images. Of coupled channels, the weight that the
  flux is made with is stored.
- A stencil: one loop for each result, far from the border. What is near to it, a small
  part, is computed apart, and written over.

This is for one device: a slice of rows that are sharded gathers them.
"""

from jax_imgrad._backends.xla_cpu._gradients import (
    functional_and_gradient as functional_and_gradient,
)
from jax_imgrad._backends.xla_cpu._rows import why_not as why_not
from jax_imgrad._backends.xla_cpu._stencils import stencil as stencil
from jax_imgrad._backends.xla_cpu._sums import functional as functional
