"""What `import jax_imgrad` imports, counted: a count is the same on a busy machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

LOADED = """
import json, sys
import jax, jax.numpy
before = {*sys.modules}
import jax_imgrad
print(json.dumps(sorted({*sys.modules} - before)))
"""
FIRST_CALL = """
import sys
import jax, jax.numpy as jnp
import jax_imgrad as jig
image = jnp.ones((2, 1, 3, 3, 1))
assert "chex" not in sys.modules
with jax.check_tracer_leaks():
    jax.jit(jax.vmap(jax.grad(lambda x: jig.total_variation(x).sum())))(image)
assert "chex" in sys.modules
"""


def run(code):
    """What the code prints in a new process, in which any warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    ).stdout


def test_the_import_loads_little_beyond_jax():
    known = {"jax_imgrad", *sys.stdlib_module_names}
    loaded = json.loads(run(LOADED))
    of_others = [name for name in loaded if name.partition(".")[0] not in known]
    packages = {name.partition(".")[0] for name in of_others}
    assert packages <= {"jax", "jaxtyping", "numpy"}
    assert "jax.experimental.pallas" not in loaded
    assert "jax_imgrad._backends.pallas_tpu" not in loaded
    # Most are the parts of `jax.extend`, of which `_jax.py` uses one.
    assert len(of_others) <= 45


def test_chex_may_be_imported_while_a_function_is_traced():
    run(FIRST_CALL)
