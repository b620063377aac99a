"""Checks of the arguments of public functions, and all of their error messages.

`arrays.py` checks arrays, `options.py` options of any function, `operators.py` the taps
of the operators, and `stencils.py` their other options. `old_names.py` rejects names of
earlier versions. `Kernel`, in `_taps.py`, checks its arguments itself.
`arrays.py` checks arrays, `options.py` options of any function, `stencils.py` the
options of the operators, `grids.py` arrays of spacings. `old_names.py` rejects names of
earlier versions.
options of the operators, `vectors.py` vector fields and matrices. `old_names.py`
rejects names of earlier versions.

A message names the argument, what was expected, what was passed, and what to pass
instead. `tests/test_remedies.py` follows each of these remedies to the letter.
"""

from jax_imgrad._arguments.arrays import as_array as as_array
from jax_imgrad._arguments.arrays import as_axes as as_axes
from jax_imgrad._arguments.arrays import as_fields as as_fields
from jax_imgrad._arguments.arrays import as_mask as as_mask
from jax_imgrad._arguments.arrays import as_parts as as_parts
from jax_imgrad._arguments.arrays import as_real_images as as_real_images
from jax_imgrad._arguments.arrays import check_guide as check_guide
from jax_imgrad._arguments.arrays import check_has_batch as check_has_batch
from jax_imgrad._arguments.arrays import check_image_rank as check_image_rank
from jax_imgrad._arguments.arrays import check_real as check_real
from jax_imgrad._arguments.arrays import difference_dtype as difference_dtype
from jax_imgrad._arguments.grids import axis_specs_and_grid as axis_specs_and_grid
from jax_imgrad._arguments.grids import check_neighbors as check_neighbors
from jax_imgrad._arguments.old_names import renamed as renamed
from jax_imgrad._arguments.operators import as_sigmas as as_sigmas
from jax_imgrad._arguments.operators import check_in_pixels as check_in_pixels
from jax_imgrad._arguments.operators import matching_operator as matching_operator
from jax_imgrad._arguments.operators import operator_and_scale as operator_and_scale
from jax_imgrad._arguments.operators import window_axis_specs as window_axis_specs
from jax_imgrad._arguments.operators import (
    without_extrapolation as without_extrapolation,
)
from jax_imgrad._arguments.options import as_delta as as_delta
from jax_imgrad._arguments.options import as_integer_between as as_integer_between
from jax_imgrad._arguments.options import as_number_of_at_least as as_number_of_at_least
from jax_imgrad._arguments.options import as_parameter as as_parameter
from jax_imgrad._arguments.options import as_weights as as_weights
from jax_imgrad._arguments.options import check_axis_mean as check_axis_mean
from jax_imgrad._arguments.options import check_bool as check_bool
from jax_imgrad._arguments.options import check_first_order as check_first_order
from jax_imgrad._arguments.options import check_implementation as check_implementation
from jax_imgrad._arguments.options import check_mean_normalized as check_mean_normalized
from jax_imgrad._arguments.options import check_mixed as check_mixed
from jax_imgrad._arguments.options import check_option as check_option
from jax_imgrad._arguments.options import check_subtract_delta as check_subtract_delta
from jax_imgrad._arguments.stencils import axis_specs as axis_specs
from jax_imgrad._arguments.stencils import check_sizes as check_sizes
from jax_imgrad._arguments.stencils import check_stencils as check_stencils
from jax_imgrad._arguments.stencils import divergence_dtype as divergence_dtype
from jax_imgrad._arguments.stencils import float_dtype as float_dtype
from jax_imgrad._arguments.stencils import loss_axis_specs as loss_axis_specs
from jax_imgrad._arguments.stencils import result_dtype as result_dtype
from jax_imgrad._arguments.vectors import as_triangle as as_triangle
from jax_imgrad._arguments.vectors import as_vector_field as as_vector_field
from jax_imgrad._arguments.vectors import vector_axes as vector_axes
