"""Strict JAX, eight devices, and every implementation on the machine at hand."""

import os
from typing import get_args

# Before JAX starts: eight CPU devices to shard over, and no search for other ones. The
# compiler for a TPU is told which one to compile for, and that there is none here. That
# for a CPU makes the loops as ever, but spends no time on optimizing each.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # for each worker
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("TPU_WORKER_ID", "0")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # a process for each worker
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
        os.environ.get("XLA_FLAGS", ""),  # the last one of a name counts
    ]
)

import jax
import pytest
from jax.experimental.pallas import tpu as pltpu

from jax_imgrad._backends import pallas_tpu
from jax_imgrad._backends.xla_cpu import _gradients, _sums
from jax_imgrad.typing import Implementation

# They record the answers of others, where these are installed, and hold no tests.
collect_ignore_glob = ["*/record.py"]

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Small blocks and few numbers, so that small images take several; and short programs.
pallas_tpu._BLOCK_BYTES = 1 << 14
SUMS = {"_FEW": 64, "_TERMS": 3, "_LOOPS": 2}
SHIPPED_SUMS = {name: getattr(_sums, name) for name in SUMS}
vars(_sums).update(SUMS)
_gradients._LARGE = 64


def pytest_addoption(parser):
    parser.addoption(
        "--require",
        action="append",
        default=[],
        choices=["accelerators", "checkers", "tensorflow", "peers"],
        help="fail, instead of skipping, the tests of this optional part",
    )


@pytest.fixture
def shipped_sums(monkeypatch):
    """The sums of a CPU as they are outside of the tests."""
    for name, value in SHIPPED_SUMS.items():
        monkeypatch.setattr(_sums, name, value)


@pytest.fixture
def require(request):
    """Skips a test whose optional part is missing, unless this run requires it."""

    def missing(part: str, reason: str):
        if part in request.config.getoption("--require"):
            pytest.fail(f"--require={part}, but {reason}")
        pytest.skip(reason)

    return missing


@pytest.fixture(params=get_args(Implementation))
def implementation(request):
    """Each one of the operators; kernels are interpreted, on memory full of NaN."""
    if request.param != "pallas_tpu":
        yield request.param
        return
    if jax.default_backend() != "cpu":
        pytest.skip("kernels are interpreted on a CPU")
    poisoned = pltpu.InterpretParams(uninitialized_memory="nan")
    with pltpu.force_tpu_interpret_mode(poisoned):
        yield request.param
    pltpu.reset_tpu_interpret_mode_state()
