"""Strict settings of JAX, eight CPU devices, and fixtures."""

import os
from typing import get_args

import program_cache

# Before JAX is imported: eight CPU devices to shard over, and no search for others. The
# TPU compiler is told which TPU to compile for, and that none is attached. The CPU
# compiler fuses loops as usual, but does not optimize their machine code.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "XLA_PYTHON_CLIENT_PREALLOCATE", "false"
)  # several processes share a GPU
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("TPU_WORKER_ID", "0")
os.environ.setdefault(
    "ALLOW_MULTIPLE_LIBTPU_LOAD", "1"
)  # pytest-xdist runs several processes
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
        os.environ.get("XLA_FLAGS", ""),  # the last value of a flag counts
    ]
)
# Most of the time of the tests is spent on compiling small programs: keep them.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", program_cache.folder())
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis
import jax
import pytest
from jax.experimental.pallas import tpu as pltpu

from jax_imgrad import _blocks, _toeplitz
from jax_imgrad._backends import pallas_tpu
from jax_imgrad._backends.xla_cpu import _gradients, _sums
from jax_imgrad.typing import Implementation

# Scripts that record the answers of other libraries; they contain no tests.
collect_ignore_glob = ["*/record.py"]

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The same examples in every run. A failing example is not shrunk: each try compiles.
hypothesis.settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    report_multiple_bugs=False,
)
hypothesis.settings.load_profile("suite")

# Small blocks, so that small images have several of them, and short programs.
pallas_tpu._BLOCK_BYTES = 1 << 14
SUMS = {"_FEW": 64, "_TERMS": 3, "_LOOPS": 2}
SHIPPED_SUMS = {name: getattr(_sums, name) for name in SUMS}
vars(_sums).update(SUMS)
_gradients._LARGE = 64
_blocks._BLOCK = 16
_toeplitz._PART = 256


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
    """The parameters of sums on a CPU as shipped, without the changes for tests."""
    for name, value in SHIPPED_SUMS.items():
        monkeypatch.setattr(_sums, name, value)


@pytest.fixture
def empty_caches():
    """Clears JAX's caches around a test that changes how programs are made."""
    jax.clear_caches()
    yield
    jax.clear_caches()


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
    """Each implementation; kernels are interpreted, on memory full of NaN."""
    if request.param != "pallas_tpu":
        yield request.param
        return
    if jax.default_backend() != "cpu":
        pytest.skip("kernels are interpreted on a CPU")
    poisoned = pltpu.InterpretParams(uninitialized_memory="nan")
    with pltpu.force_tpu_interpret_mode(poisoned):
        yield request.param
    jax.effects_barrier()  # a kernel that still runs needs the state
    pltpu.reset_tpu_interpret_mode_state()
