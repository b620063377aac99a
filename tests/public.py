"""A table of calls of every public function, with what is true of each.

Tests that are parametrized by this table cover every function. `test_conventions.py`
checks that the table is complete.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jax_imgrad as jig

WAYS = ("xla", "xla_cpu")
TAKES_A_TUPLE = {"divergence", "magnitude", "orientation"}
TAKES_A_MASK = {"valid_outputs"}
TAKES_A_TUPLE = {
    *("divergence", "magnitude", "orientation", "eigenvalues", "eigenvectors"),
}
TAKES_A_FIELD = {"curl", "jacobian", "jacobian_determinant"}


@dataclasses.dataclass(frozen=True)
class Call:
    """One way to call a public function."""

    name: str
    options: dict = dataclasses.field(default_factory=dict)
    arrays: int = 1
    parameters: dict = dataclasses.field(default_factory=dict)
    """Options that may be differentiated, with values."""
    masked: bool = True
    """Whether it takes `where`."""
    ways: tuple = (None,)
    """The implementations to test."""
    degree: int | None = 1
    """Inputs multiplied by c give results multiplied by c**degree."""
    components: int = 2
    """Along the last axis, of a function that takes a vector field."""

    def __str__(self):
        """The name of a test."""
        options = [f"{k}={v}" for k, v in (self.options | self.parameters).items()]
        options += [f"{self.arrays} arrays"] * (self.arrays > 2)
        options += ["3 components"] * (self.components == 3)
        return ",".join([self.name, *options])

    @property
    def is_loss(self) -> bool:
        """Whether it returns one number per image, in at least float32."""
        return self.name.startswith("losses.") and "shift" not in self.name

    def shape(self, shape) -> tuple:
        """The shape of images, or that of a vector field instead of channels."""
        is_field = self.name in TAKES_A_FIELD
        return (*shape[:-1], self.components) if is_field else tuple(shape)

    def function(self, **options) -> Callable:
        """The call as a function of arrays only, which returns a list of arrays."""
        module = jig.losses if self.name.startswith("losses.") else jig
        function = getattr(module, self.name.removeprefix("losses."))
        options = {**self.options, **self.parameters, **options}

        def call(*arrays):
            if self.name in TAKES_A_TUPLE:
                arrays = (arrays,)
            if self.name in TAKES_A_MASK:
                arrays = (arrays[0] > 3,)
            return jax.tree.leaves(function(*arrays, **options))

        return call

    def weighted(self, arrays, **options) -> jax.Array:
        """The weighted sum of all results, with different weights."""
        total = 0
        for result in self.function(**options)(*arrays):
            dtype = "float64" if result.dtype == "float64" else "float32"
            weights = jnp.cos(jnp.arange(result.size, dtype=dtype)) + 2
            total += jnp.sum(weights.reshape(result.shape) * result.astype(dtype))
        return total


SOBEL = {"operator": "sobel", "boundary": "edge"}
BOXES = jig.Kernel(first=(-1, 1), smoothing=(1, 1))
NEIGHBORS = {"operator": "central", "one_sided": True}
stencil = functools.partial(Call, ways=WAYS)
loss = functools.partial(Call, ways=WAYS)
pair = functools.partial(loss, arrays=2)

CALLS = [
    Call("image_gradients", masked=False),
    stencil("spatial_gradient", SOBEL),
    stencil("spatial_gradient", {"operator": ("gaussian", 0.7), "boundary": "wrap"}),
    stencil("spatial_gradient", {"operator": "central", "boundary": "quadratic"}),
    stencil("spatial_gradient", {"operator": BOXES, "boundary": "reflect"}),
    stencil("spatial_gradient", NEIGHBORS, parameters={"spacing": 0.7}),
    stencil("second_derivatives"),
    stencil("smooth"),
    stencil("smooth", {"operator": BOXES, "boundary": "constant"}),
    stencil("laplacian"),
    Call("divergence", arrays=2),
    stencil("divergence", SOBEL, arrays=2),
    Call("divergence", NEIGHBORS, arrays=2, parameters={"spacing": 0.7}),
    stencil("sobel_edges", masked=False),
    stencil("gradient_magnitude"),
    stencil("gradient_magnitude", SOBEL),
    stencil("gradient_orientation", degree=0),
    stencil("gradient_orientation", SOBEL, degree=0),
    stencil("structure_tensor", degree=2),
    stencil(
        "structure_tensor",
        {"sigma": (0.5, 0.3), "truncate": 3, "window_boundary": "reflect"},
        degree=2,
    ),
    Call("absolute", masked=False),
    Call("magnitude", arrays=2, masked=False),
    Call("orientation", arrays=2, masked=False, degree=0),
    Call("eigenvalues", arrays=3, masked=False),
    Call("eigenvalues", arrays=6, masked=False),
    Call("eigenvectors", arrays=3, masked=False, degree=0),
    stencil("jacobian"),
    stencil("curl"),
    stencil("curl", {"boundary": "edge"}, components=3),
    stencil("jacobian_determinant", degree=2),
    stencil(
        "jacobian_determinant", {"displacement": True, "spacing": 100.0}, degree=None
    ),
    stencil("jacobian_determinant", {"boundary": "edge"}, degree=3, components=3),
    loss("total_variation", masked=False),
    loss("losses.total_variation"),
    loss("losses.total_variation", {"penalty": "l2"}, degree=2),
    loss("losses.total_variation", {"penalty": "huber"}, parameters={"delta": 0.7}),
    loss(
        "losses.total_variation", {"penalty": "charbonnier"}, parameters={"delta": 0.7}
    ),
    loss("losses.total_variation", {"isotropic": True}),
    loss(
        "losses.total_variation",
        {"penalty": "huber", "isotropic": True},
        parameters={"delta": 0.7},
    ),
    loss(
        "losses.total_variation",
        {"penalty": "charbonnier", "isotropic": True},
        parameters={"delta": 0.7},
    ),
    loss("losses.total_variation", {"channel_coupling": True}),
    loss(
        "losses.total_variation",
        {"penalty": "charbonnier", "channel_coupling": True},
        parameters={"delta": 0.7},
    ),
    loss(
        "losses.total_variation",
        {"boundary": "wrap", "spacing": (2.0, 0.5), "weights": (0.5, 2.0)},
    ),
    loss("losses.total_variation", {"order": 2, "isotropic": True, "weights": 0.5}),
    pair("losses.gradient_difference"),
    pair("losses.gradient_difference", {"alpha": 1.5}, degree=None),
    pair("losses.gradient_difference", {"alpha": 2}, degree=2),
    pair("losses.gradient_matching"),
    pair(
        "losses.gradient_matching",
        {"operator": "laplacian", "downsample": "gaussian", "penalty": "charbonnier"},
        parameters={"delta": 0.7},
    ),
    pair("losses.edge_aware_smoothness", parameters={"edge_weight": 0.7}, degree=None),
    pair(
        "losses.edge_aware_smoothness",
        {"penalty": "charbonnier", "edge_weighting": "gaussian", "order": 2},
        parameters={"edge_weight": 0.7, "delta": 0.3},
        degree=None,
    ),
    pair(
        "losses.edge_aware_smoothness",
        {"penalty": "charbonnier", "mean_normalized": True},
        parameters={"edge_weight": 0.7, "delta": 0.3},
        degree=None,
    ),
    pair(
        "losses.edge_aware_smoothness",
        {"order": 2, "mixed": True, "boundary": "wrap", "spacing": (2, 0.5)},
        parameters={"edge_weight": 0.7, "weights": 0.6},
        degree=None,
    ),
    loss("losses.bending_energy", degree=2),
    pair(
        "losses.gradient_magnitude_similarity",
        parameters={"constant": 0.7},
        degree=None,
    ),
    pair("losses.gradient_magnitude_similarity", {"pooling": "mean"}, degree=None),
    Call("losses.laplacian_edge", arrays=2, parameters={"delta": 0.7, "weights": 0.6}),
    Call("losses.scale_and_shift", arrays=2, degree=None),
]

OF_MASKS = [Call("valid_outputs", masked=False)]
"""Functions whose array is a mask, so that they have no derivatives."""

ONE_OF_EACH = list({call.name: call for call in reversed(CALLS)}.values())
"""The first call of each function."""


def arrays(call: Call, shape, dtype="float32", kind="normal"):
    """Inputs: "normal" numbers, "ties" with many equal neighbors, or "flat" images.

    Their mean is not near 0, as required by `mean_normalized`.
    """
    draw, shape = np.random.default_rng(0), call.shape(shape)
    make = {
        "normal": lambda: draw.normal(size=shape) + 3,
        "ties": lambda: draw.integers(0, 3, shape) + 1.0,
        "flat": lambda: np.full(shape, 0.3),
    }[kind]
    return [jnp.asarray(make().astype(jnp.dtype(dtype))) for _ in range(call.arrays)]
