"""The formulas in NumPy."""

import functools

import numpy as np
from work import VALUE, WORK, Layout

PACKAGES = ("numpy",)
DEVICE = "cpu"
DTYPES = ("float32",)
KINDS = (VALUE,)


def put(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in this dtype."""
    return array.astype(dtype, copy=False)


def get(result: np.ndarray, ndim: int) -> np.ndarray:
    """The result as a NumPy array."""
    return np.asarray(result)


def functions(name: str, ndim: int) -> dict:
    """The implementations of one task, by name."""
    if name not in WORK:
        return {}
    layout = Layout(tuple(range(1, ndim - 1)), ndim - 1)
    return {"NumPy": functools.partial(WORK[name].formula, np, layout)}


def wait(result) -> None:
    """Does nothing: results are ready when they are returned."""


def ready(who: str, function, kind: str, inputs: list):
    """A call without arguments; its temporaries are not known."""
    return lambda: function(*inputs), None
