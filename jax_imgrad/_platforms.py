"""What a program does on some platforms only."""

from typing import Any

from jax import lax


def materialize(arrays: Any, *platforms: str) -> Any:
    """The arrays, which XLA for these platforms stores before it computes with them.

    Others fuse what makes them with what reads them.
    """
    stored = dict.fromkeys(platforms, lax.optimization_barrier)
    return lax.platform_dependent(arrays, default=lambda arrays: arrays, **stored)
