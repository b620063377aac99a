"""Measures every function, against lower bounds and against other libraries.

    pip install -e ".[bench]" && python benchmarks/run.py

Each row is a task (work.py) and an implementation: this package, the formula as users
write it, or a peer in its own process and environment (peers/). All rows are timed in
turn, round by round, one process at a time, so that other load on the machine affects
them equally. Inputs are already arrays of each framework, and every call is waited for.
Before they are timed, the results of all rows are checked against each other. A sample
is one call to warm up threads and caches, followed by as many timed calls as fill a
millisecond; on an accelerator 10 milliseconds, with one wait for all of them. Writes
benchmarks/results.json, docs/benchmarks.md and its picture.
"""

import argparse
import math
import os
import platform
import random
import sys
import time
from pathlib import Path

import numpy as np
import report
from environments import ENVIRONMENTS, HERE, MissingError, Worker
from tqdm import tqdm
from work import ACCELERATED, CASES, QUICK, Case

PAUSE = 0.002  # seconds, so that the threads of the last worker go idle
TOLERANCES = {"float32": 1e-3, "bfloat16": 3e-2}  # relative to the largest number
ROUNDS = (5, 15)  # minimum and maximum; in between, the time decides


def start(
    names: list[str], installed: bool
) -> tuple[dict[str, Worker], dict[str, str]]:
    """Starts the workers; returns those that run, and why the others do not."""
    workers, missing = {}, {n: "not asked for" for n in ENVIRONMENTS if n not in names}
    for name in names:
        try:
            worker = Worker(name, installed)
            ours, theirs = (
                w.versions["on"] for w in (workers.get("jax", worker), worker)
            )
            if ours != theirs:
                worker.close()
                raise MissingError(f"it computes on {theirs}, but JAX on {ours}")
            workers[name] = worker
        except MissingError as reason:
            missing[name] = str(reason)
            print(f"without {name}: {reason}", flush=True)
    return workers, missing


def prepare(case: Case, workers: dict[str, Worker]) -> list[dict]:
    """The rows of all workers, which prepare them concurrently; checked, not timed."""
    for worker in workers.values():
        ours = worker.environment.peers == ("jax",)
        works = case.works if ours or case.peers is None else case.peers
        fields = case._replace(works=works)._asdict()
        worker.order(prepare=fields, only=worker.environment.only)
    rows = []
    for name, worker in workers.items():
        for row in worker.answer():
            who = row["who"] + worker.environment.label
            rows.append(row | {"worker": name, "who": who})
    check(case, rows)
    return rows


def check(case: Case, rows: list[dict]) -> None:
    """Exits unless all implementations of a task agree, and ours runs.

    A peer that adds a million or more float32 numbers one after the other may give an
    inexact sum. Its relative error is recorded as `off` and reported on the page.
    """
    first = {}
    for row in rows:
        what = f"{row['work']}, {row['kind']}, of {case} by {row['who']}"
        if "error" in row:
            if row["worker"] == "jax":
                sys.exit(f"{what} fails: {row['error']}")
            continue
        got = row.pop("samples")
        who, expected = first.setdefault((row["work"], row["kind"]), (row["who"], got))
        if [len(g) for g in got] != [len(e) for e in expected]:
            sys.exit(f"{what} has another shape than that by {who}")
        for g, e in zip(map(np.array, got), map(np.array, expected), strict=True):
            worst, size = np.abs(g - e).max(initial=0), np.abs(e).max(initial=0)
            if not worst <= TOLERANCES[case.dtype] * size:
                a_sum = e.size == 2 and math.prod(case.shape) >= 1e6
                if not (a_sum and worst < 0.5 * size and row["who"] != "ours"):
                    sys.exit(f"{what} differs from that by {who}, by {worst} of {size}")
                row["off"] = float(worst / size)


def measure(
    case: Case, workers: dict[str, Worker], seconds: float, rounds=ROUNDS
) -> dict:
    """The rows of a case with their times, in as many rounds as the time allows."""
    rows = prepare(case, workers)
    timed = [row for row in rows if "error" not in row]
    taken = [[] for _ in timed]
    order = list(range(len(timed)))
    start = time.perf_counter()
    with tqdm(total=rounds[1] * len(timed), desc=str(case), mininterval=1) as bar:
        for count in range(rounds[1]):
            if count >= rounds[0] and time.perf_counter() - start > seconds:
                break
            random.Random(count).shuffle(order)
            for i in order:
                time.sleep(PAUSE)
                worker = workers[timed[i]["worker"]]
                worker.order(time=timed[i]["index"])
                taken[i].append(worker.answer())
                bar.update()
    for row, times in zip(timed, taken, strict=True):
        row["seconds"] = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    for row in rows:
        row.pop("index", None)
    return {
        "shape": list(case.shape),
        "dtype": case.dtype,
        "rounds": len(taken[0]),
        "rows": rows,
    }


def machine() -> dict:
    """The machine."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Measures every case, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [name for name in ENVIRONMENTS if name != "jax"]
    parser.add_argument("--peers", nargs="*", choices=known, default=known)
    parser.add_argument(
        "--seconds", type=float, default=180, help="of timing, approximately"
    )
    parser.add_argument("--output", type=Path, help="a folder for the results")
    parser.add_argument(
        "--installed", action="store_true", help="use the packages of this environment"
    )
    parser.add_argument("--quick", action="store_true", help="small images, no peers")
    arguments = parser.parse_args()
    if arguments.quick and arguments.output is None:
        parser.error("--quick is only a test: pass --output, a folder for its results")
    started = time.time()
    names = ["jax"] + ([] if arguments.quick else arguments.peers)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
    load = [os.getloadavg()[0]]
    workers, missing = start(names, arguments.installed)
    on_cpu = workers["jax"].versions["on"] == "cpu"
    cases, rounds = CASES if on_cpu else ACCELERATED, ROUNDS
    if arguments.quick:
        cases, rounds = QUICK, (2, 2)
    each = arguments.seconds / len(cases)
    measured = [measure(case, workers, each, rounds) for case in cases]
    results = {
        "machine": machine() | {"load before and after": [*load, os.getloadavg()[0]]},
        "minutes": round((time.time() - started) / 60, 1),
        "versions": {name: worker.versions for name, worker in workers.items()},
        "missing": missing,
        "cases": measured,
    }
    for worker in workers.values():
        worker.close()
    folder = arguments.output
    report.write(results, folder or HERE, folder or HERE.parent / "docs")


if __name__ == "__main__":
    main()
