"""The formulas in NumPy."""

import functools

import numpy as np
from work import VALUE, WORK, Layout

PACKAGES = ("numpy",)
DEVICE = "cpu"
DTYPES = ("float32",)
KINDS = (VALUE,)


def put(array: np.ndarray, dtype: str) -> np.ndarray:
    """As it is."""
    return array.astype(dtype, copy=False)


def get(result: np.ndarray, ndim: int) -> np.ndarray:
    """As it is."""
    return np.asarray(result)


def functions(name: str, ndim: int) -> dict:
    """What there is to be timed for one work, by who."""
    if name not in WORK:
        return {}
    layout = Layout(tuple(range(1, ndim - 1)), ndim - 1)
    return {"NumPy": functools.partial(WORK[name].formula, np, layout)}


def wait(result) -> None:
    """It is there."""


def ready(who: str, function, kind: str, inputs: list):
    """A call without arguments; how much memory it takes, nobody says."""
    return lambda: function(*inputs), None
