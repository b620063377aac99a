"""One peer in its own process: reads requests and writes answers, as lines of JSON.

    python benchmarks/worker.py PEER... < requests > answers

`{"prepare": case}` prepares a case and answers with its rows, each computed once, with
samples of its result; `{"time": i}` answers with the time of row i in seconds.
"""

import ctypes
import gc
import importlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from work import FLOORS, VALUE, WORK, Case

# Seconds. Calls faster than FAST are timed several at a time. Calls slower than SLOW
# are not warmed up: waking threads and filling caches takes little of their time.
FAST, SLOW = 1e-3, 20e-3
FAST_ON_ACCELERATOR = 10e-3
SAMPLES = 101
STATUS = Path("/proc/self/status")


def memory(call: Callable):
    """The result of a call, and the growth of the process in bytes, or None."""
    if not STATUS.exists():
        return call(), None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # returns freed memory to the system
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _kilobytes("VmRSS")
    result = call()
    return result, 1024 * max(_kilobytes("VmHWM") - before, 0)


def _kilobytes(name: str) -> int:
    (line,) = [s for s in STATUS.read_text().splitlines() if s.startswith(name)]
    return int(line.split()[1])


def leaves(result) -> list:
    """The arrays of a result."""
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in leaves(part)]
    return [result]


def samples(array: np.ndarray) -> list[float]:
    """Some of the numbers, and the mean of their absolute values."""
    flat = np.asarray(array, np.float32).ravel()
    some = np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).astype(int)
    return [*flat[some].tolist(), float(np.abs(flat).mean(dtype=np.float64))]


def images(case: Case) -> dict[str, np.ndarray]:
    """The inputs of the tasks, by name."""
    draw = np.random.default_rng(0)
    image, other, third = (draw.random(case.shape, np.float32) for _ in range(3))
    if case.dtype == "bfloat16":
        # Equal neighbors, where derivatives may differ, are frequent with 8 bits. Even
        # beside odd numbers are never equal.
        odd = np.indices(case.shape[1:-1]).sum(0)[..., None] % 2
        image = ((2 * np.floor(128 * image) + odd) / 256).astype(np.float32)
    field, flow = (np.ascontiguousarray(image[..., :n]) for n in (1, 2))
    images = {"image": image, "other": other, "third": third}
    return {**images, "field": field, "flow": flow}


class Worker:
    """The prepared calls of some peers."""

    def __init__(self, peers: list[str]):
        """Imports the peers."""
        self.peers = [importlib.import_module(f"peers.{name}") for name in peers]
        self.rows = []

    def versions(self) -> dict[str, str]:
        """The versions of Python and the packages, and the device they compute on."""
        packages = [package for peer in self.peers for package in peer.PACKAGES]
        found = {package: importlib.metadata.version(package) for package in packages}
        python = {"Python": platform.python_version()}
        return python | found | {"on": self.peers[0].DEVICE}

    def prepare(self, fields: dict, only: list[str] | None) -> list[dict]:
        """Every row of a case, each computed once, or with the error that it raised."""
        lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
        case = Case(**(fields | lists))
        self.rows = []
        gc.collect()
        answer = []
        for peer in self.peers:
            if case.dtype in peer.DTYPES:
                answer += self._prepare(peer, case, only)
        gc.disable()
        return answer

    def _prepare(self, peer, case: Case, only: list[str] | None) -> list[dict]:
        held = {name: peer.put(a, case.dtype) for name, a in images(case).items()}
        answer = []
        for name in (*FLOORS, *case.works):
            floor = name in FLOORS
            inputs = [held[i] for i in (("image",) if floor else WORK[name].inputs)]
            kinds = [k for k in ((VALUE,) if floor else case.kinds) if k in peer.KINDS]
            functions = peer.functions(name, len(case.shape))
            for who in functions if only is None else functions.keys() & set(only):
                for kind in kinds:
                    row = {"work": name, "kind": kind, "who": who}
                    answer.append(row | self._first(peer, row, functions[who], inputs))
        return answer

    def _first(self, peer, row: dict, function, inputs: list) -> dict:
        try:
            call, temporaries = peer.ready(row["who"], function, row["kind"], inputs)
            peer.wait(call())
            on_cpu = peer.DEVICE == "cpu"
            result, peak = memory(call) if on_cpu else (call(), None)
            peer.wait(result)
            start = time.perf_counter()
            peer.wait(call())
            seconds = time.perf_counter() - start
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"[:500]}
        repeats = math.ceil((FAST if on_cpu else FAST_ON_ACCELERATOR) / seconds)
        self.rows.append((call, peer.wait, max(1, repeats), seconds < SLOW))
        return {
            "index": len(self.rows) - 1,
            "seconds": seconds,
            "peak": peak,
            "temporaries": temporaries,
            "samples": [samples(peer.get(r, inputs[0].ndim)) for r in leaves(result)],
        }

    def time(self, index: int) -> float:
        """The time of one call, after a call to warm up threads and caches."""
        call, wait, repeats, cold = self.rows[index]
        if cold:
            wait(call())
        start = time.perf_counter()
        for _ in range(repeats):
            result = None  # freed before the next one is computed
            result = call()
        wait(result)
        return (time.perf_counter() - start) / repeats


def main() -> None:
    """Handles requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the peers print must not mix with answers
    worker = Worker(sys.argv[1:])
    print(json.dumps(worker.versions()), file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        if "time" in order:
            answer = worker.time(order["time"])
        else:
            answer = worker.prepare(order["prepare"], order["only"])
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
