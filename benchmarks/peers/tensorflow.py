"""TensorFlow: eager, in a graph, and compiled by XLA."""

import functools
from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from work import BOTH, VALUE, WIDE, WORK, Layout

PACKAGES = ("tensorflow-cpu", "numpy")
DEVICE = "cpu"
DTYPES = ("float32",)
KINDS = (VALUE, BOTH)
MODES = {
    "TensorFlow": lambda function: function,
    "tf.function": tf.function,
    "TensorFlow XLA": functools.partial(tf.function, jit_compile=True),
}


def pad(x, widths, mode):
    """`numpy.pad`, for widths up to 1 if the mode is "edge"."""
    return tf.pad(x, widths, "SYMMETRIC" if mode == "edge" else mode)


XP = SimpleNamespace(
    abs=tf.abs,
    arctan2=tf.atan2,
    cos=tf.cos,
    exp=tf.exp,
    mean=tf.reduce_mean,
    pad=pad,
    reshape=tf.reshape,
    sin=tf.sin,
    sqrt=tf.sqrt,
    stack=tf.stack,
    sum=tf.reduce_sum,
    where=tf.where,
)
OWN = {
    "image_gradients": tf.image.image_gradients,
    "sobel_edges": tf.image.sobel_edges,
    "total_variation": lambda x: tf.reduce_mean(tf.image.total_variation(x)),
}


def put(array: np.ndarray, dtype: str) -> tf.Tensor:
    """The array as a tensor."""
    return tf.constant(array, dtype)


def get(result: tf.Tensor, ndim: int) -> np.ndarray:
    """The result as a NumPy array."""
    return result.numpy()


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    if name not in WORK or name in ("laplacian_edge", "smooth", *WIDE):
        return {}  # tf.pad cannot repeat the border more than once
    layout = Layout(tuple(range(1, ndim - 1)), ndim - 1)
    formula = functools.partial(WORK[name].formula, XP, layout)
    return dict.fromkeys(MODES, OWN.get(name, formula))


def wait(result) -> None:
    """Does nothing: results are ready when they are returned."""


def ready(who: str, function, kind: str, inputs: list):
    """A call without arguments; its temporaries are not known."""

    def both(first, *others):
        with tf.GradientTape() as tape:
            tape.watch(first)
            value = function(first, *others)
        return value, tape.gradient(value, first)

    timed = MODES[who](both if kind == BOTH else lambda *inputs: function(*inputs))

    def call():
        result = timed(*inputs)
        for output in tf.nest.flatten(result):
            memoryview(output)  # waits for it, without a copy
        return result

    return call, None
