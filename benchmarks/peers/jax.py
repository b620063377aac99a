"""This package, the formulas as JAX users write them, and the lower bounds."""

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
KINDS = KINDS  # all of them
TAKES_A_TUPLE = {
    *("divergence", "magnitude", "orientation", "eigenvalues", "eigenvectors"),
}


def put(array: np.ndarray, dtype: str) -> jax.Array:
    """The array on the device."""
    return jax.block_until_ready(jnp.asarray(array, dtype))


def get(result: jax.Array, ndim: int) -> np.ndarray:
    """The result as a NumPy array in float32."""
    return np.asarray(result.astype(jnp.float32))


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    if name in FLOORS:
        return {"floor": FLOORS[name]}
    layout = Layout(tuple(range(1, ndim - 1)), ndim - 1)
    found = {"naive jnp": functools.partial(WORK[name].formula, jnp, layout)}
    ours = our_function(name, layout)
    return {"ours": ours, **found} if ours else found


def wait(result) -> None:
    """Waits for a result."""
    jax.block_until_ready(result)


def our_function(name: str, layout: Layout):
    """Our function; losses are averaged over the batch, as in training."""
    work = WORK[name]
    try:
        function = operator.attrgetter(work.ours)(jig)
    except AttributeError:
        return None
    options = dict(work.options)
    if work.ours.startswith("losses.") and name != "scale_and_shift":
        options["axes"] = layout.axes

    def ours(*inputs):
        count = len(inputs) - len(work.keywords)
        named = dict(zip(work.keywords, inputs[count:], strict=True))
        is_tuple = work.ours in TAKES_A_TUPLE
        given = (inputs,) if is_tuple else inputs[:count]
        result = function(*given, **options, **named)
        loss = work.ours.endswith("total_variation") or "axes" in options
        return result.mean() if loss else result

    return ours


def ready(who: str, function, kind: str, inputs: list):
    """A call without arguments, and the size of its temporaries as reported by XLA.

    On a CPU each call is waited for: several would run concurrently.
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
    """The vector-Jacobian product in the first input, with or without the value."""
    value, transposed = jax.vjp(lambda x: function(x, *others), first)
    (gradient,) = transposed(cotangents)
    return gradient if kind == GRADIENT else (value, gradient)
