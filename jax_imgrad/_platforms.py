"""Optimization barriers that apply on some platforms only."""

from typing import Any

from jax import lax


def materialize(arrays: Any, *platforms: str) -> Any:
    """Puts the arrays behind an optimization barrier on the given platforms.

    There, XLA computes and stores the arrays before it uses them. On other platforms it
    may fuse the computation of the arrays into the loops that read them.
    """
    stored = dict.fromkeys(platforms, lax.optimization_barrier)
    return lax.platform_dependent(arrays, default=lambda arrays: arrays, **stored)
