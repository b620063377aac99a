"""Where compiled programs are kept from one run of the tests to the next."""

import importlib.metadata
import os
import shutil
from pathlib import Path

LARGEST = 1 << 30  # bytes


def folder() -> str:
    """A folder for the programs of this JAX; or "", which is none.

    JAX can bound the size too, but then it looks at every file each time that it adds
    one. Here the folder is emptied at the start of a run where it has become too large.
    """
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    here = Path(above, "jax-imgrad-tests", importlib.metadata.version("jax"))
    first = "PYTEST_XDIST_WORKER" not in os.environ
    try:
        here.mkdir(parents=True, exist_ok=True)
        if first and sum(f.stat().st_size for f in here.iterdir()) > LARGEST:
            shutil.rmtree(here)
            here.mkdir()
    except (OSError, RuntimeError):  # no home, or not ours to write in
        return ""
    return str(here) if os.access(here, os.W_OK) else ""
