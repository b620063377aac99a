"""The folder that keeps compiled programs between runs of the tests."""

import importlib.metadata
import os
import shutil
from pathlib import Path

LARGEST = 1 << 30  # bytes


def folder() -> str:
    """The folder for this version of JAX, or "" if none can be written.

    If it has grown too large, it is emptied at the start of a run. JAX can bound its
    size too, but then it examines every file whenever it writes one.
    """
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(cache_home, "jax-imgrad-tests", importlib.metadata.version("jax"))
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    try:
        path.mkdir(parents=True, exist_ok=True)
        size = 0 if is_worker else sum(f.stat().st_size for f in path.iterdir())
        if size > LARGEST:
            shutil.rmtree(path)
            path.mkdir()
    except (OSError, RuntimeError):  # no home folder, or no permission
        return ""
    return str(path) if os.access(path, os.W_OK) else ""
