"""Ours, the formulas as JAX users write them, and the floors."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from work import BOTH, FLOORS, GRADIENT, KINDS, WORK, Layout

import jax_imgrad as jig

PACKAGES = ("jax", "jaxlib", "numpy")
DEVICE = jax.devices()[0].device_kind
DTYPES = ("float32", "bfloat16")
KINDS = KINDS  # which of them there are


def put(array: np.ndarray, dtype: str) -> jax.Array:
    """On the device."""
    return jax.block_until_ready(jnp.asarray(array, dtype))


def get(result: jax.Array, ndim: int) -> np.ndarray:
    """With channels last."""
    return np.asarray(result.astype(jnp.float32))


def functions(name: str, ndim: int) -> dict:
    """What there is to be timed for one work, by who."""
    if name in FLOORS:
        return {"floor": FLOORS[name]}
    layout = Layout(tuple(range(1, ndim - 1)), ndim - 1)
    found = {"naive jnp": functools.partial(WORK[name].formula, jnp, layout)}
    ours = our_function(name, layout)
    return {"ours": ours, **found} if ours else found


def wait(result) -> None:
    """Until it is there."""
    jax.block_until_ready(result)


def our_function(name: str, layout: Layout):
    """With the losses averaged over the batch, as one trains on them."""
    work = WORK[name]
    try:
        function = operator.attrgetter(work.ours)(jig)
    except AttributeError:
        return None
    options = dict(work.options)
    if work.ours.startswith("losses.") and name != "scale_and_shift":
        options["axes"] = layout.axes

    def ours(*inputs):
        given = (inputs,) if work.ours == "divergence" else inputs
        result = function(*given, **options)
        loss = work.ours.endswith("total_variation") or "axes" in options
        return result.mean() if loss else result

    return ours


def ready(who: str, function, kind: str, inputs: list):
    """A call without arguments, and the bytes of its temporaries as XLA says.

    An accelerator has calls waiting, where a CPU would compute several at once.
    """
    arguments = inputs
    if kind != "value":
        shapes = jax.eval_shape(function, *inputs)
        if isinstance(shapes, jax.ShapeDtypeStruct) and shapes.ndim == 0:
            transform = jax.value_and_grad if kind == BOTH else jax.grad
            function = transform(function)
        else:
            function = functools.partial(pulled_back, function, kind)
            ones = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes)
            arguments = [ones, *inputs]
    timed = jax.jit(function)
    compiled = timed.lower(*arguments).compile()
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    if DEVICE != "cpu":
        return lambda: timed(*arguments), temporaries
    return lambda: jax.block_until_ready(timed(*arguments)), temporaries


def pulled_back(function, kind, cotangents, first, *others):
    """The derivative of an operator, transposed, in the first input."""
    value, transposed = jax.vjp(lambda x: function(x, *others), first)
    (gradient,) = transposed(cotangents)
    return gradient if kind == GRADIENT else (value, gradient)
