"""The benchmark runs with `--quick`; its checks, page and picture are right."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import report
import run
from environments import MissingError, Worker
from public import TAKES_A_MASK
from test_conventions import PUBLIC
from work import CASES, FLOORS, KINDS, QUICK, WORK, Case

RUN = Path(run.__file__)
CASE = {"shape": [1, 512, 512, 3], "dtype": "float32", "rounds": 7}


def row(who, work="variation, l1", kind="value", ms=1.0, **others):
    seconds = [0.9e-3 * ms, 1e-3 * ms, 1.1e-3 * ms]
    return {"work": work, "kind": kind, "who": who, "seconds": seconds, **others}


def floors(*ms):
    return [row("floor", name, ms=m) for name, m in zip(FLOORS, ms, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, RUN, "--quick", "--output"]
    result = subprocess.run([*command, folder], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def test_every_case_has_a_time_for_each_work_by_us_and_by_the_formula(folder):
    results = json.loads((folder / "results.json").read_text())
    assert results["versions"]["jax"]["jax"]
    assert set(results["missing"]) == {"jax_oldest", "numpy", "tensorflow", "torch"}
    for case, measured in zip(QUICK, results["cases"], strict=True):
        assert (measured["shape"], measured["dtype"]) == ([*case.shape], case.dtype)
        assert measured["rounds"] == 2
        found = {(r["work"], r["kind"], r["who"]) for r in measured["rows"]}
        assert found >= {(floor, "value", "floor") for floor in FLOORS}
        for work in case.works:
            who = {"ours", "naive jnp"} if WORK[work].ours in PUBLIC else {"naive jnp"}
            assert found >= {(work, k, w) for k in case.kinds for w in who}
        for r in measured["rows"]:
            low, middle, high = r["seconds"]
            assert 0 < low <= middle <= high < 1
            assert r["temporaries"] >= 0


def test_page(folder):
    page = (folder / "benchmarks.md").read_text()
    assert "**missing** torch: not asked for" in page
    for case in QUICK:
        section = page.split(f"\n## {case}\n")[1].split("\n## ")[0]
        times, memory = section.split("Memory")
        for table in (times, memory):
            lines = [s for s in table.splitlines() if s.startswith("|")]
            assert len({line.count("|") for line in lines}) == 1
            rows = [f"| {work}: {kind} " for work in case.works for kind in case.kinds]
            assert [line[: line.index("|", 1)] for line in lines[2:]] == rows


def test_picture(folder):
    picture = plt.imread(folder / "benchmark_sizes.png")
    red = (picture[..., 0] > 0.9) & (picture[..., 1:3] < 0.1).all(-1)
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    for top, left in [(0, 0), (0, width), (height, 0), (height, width)]:
        panel = red[top : top + height, left : left + width]
        assert panel.any(0).sum() > width / 3, "a line of ours goes through each panel"


def test_workers_of_another_version_or_device_are_missing(monkeypatch):
    with pytest.raises(MissingError, match="another version than the installed one"):
        Worker("jax_oldest", installed=True)

    class Elsewhere:
        def __init__(self, name, installed):
            self.versions = {"on": {"jax": "cpu", "torch": "a GPU"}[name]}

        def close(self):
            pass

    monkeypatch.setattr(run, "Worker", Elsewhere)
    workers, missing = run.start(["jax", "torch"], installed=True)
    assert list(workers) == ["jax"]
    assert missing["torch"] == "it computes on a GPU, but JAX on cpu"


def test_every_public_function_is_measured():
    # Masks have no derivatives, which the benchmark measures too.
    assert {work.ours for work in WORK.values()} >= set(PUBLIC) - TAKES_A_MASK
    assert set(WORK) == set().union(*(case.works for case in CASES))
    assert set(KINDS) == set().union(*(case.kinds for case in CASES))


def test_rows_that_we_lose_are_marked():
    rows = [row("ours", ms=2), row("naive jnp", ms=4), row("NumPy", ms=1)]
    case = CASE | {"rows": [*floors(1, 1, 2), *rows]}
    assert "| 1×512×512×3, float32 | variation, l1: value | 2 | NumPy 1 |" in (
        report.lost([case])
    )
    line = "| 2 ± 0.2 | 4 ± 0.4 | **1 ± 0.1** | **2.00, lost** | 2.00 | 2.00 | 1.00 |"
    assert f"| variation, l1: value {line}" in report.section(case)
    won = CASE | {"rows": [*floors(1, 1, 2), *rows[:2]]}
    assert "variation" not in report.lost([won])
    assert "| **2 ± 0.2** | 4 ± 0.4 | 0.50 |" in report.section(won)


def test_targets_use_the_lower_bounds_of_the_same_jax():
    oldest = [r | {"who": "floor, oldest jax"} for r in floors(10, 10, 10)]
    both = "value and gradient"
    rows = [
        row("ours", ms=3),
        row("ours, oldest jax", ms=3),
        row("ours", kind=both, ms=7),
        row("ours", "image_gradients", ms=2.3),
    ]
    case = CASE | {"rows": [*floors(1, 2, 2), *oldest, *rows]}
    page = report.targets([case])
    assert "| variation, l1: value | 2 R | **1.50** | 0.15 |" in page
    assert f"| variation, l1: {both} | 1.5 C1 + 2 R | **1.40** |  |" in page
    assert "| image_gradients: value | 1.15 C2 | 1.00 |  |" in page
    small = case | {"shape": [1, 64, 64, 3]}
    assert "variation" not in report.targets([small])


def test_inexact_sums_of_many_pixels_are_reported():
    case = Case((1, 1000, 1000, 1), ("variation, l1",))
    rows = [
        row("ours", worker="jax", samples=[[10.0, 10.0]]),
        row("NumPy", worker="numpy", samples=[[10.0, 10.0]]),
        row("PyTorch", worker="torch", samples=[[9.0, 9.0]]),
    ]
    run.check(case, rows)
    results = {"machine": {}, "versions": {}, "missing": {}}
    page = report.facts(results | {"cases": [CASE | {"rows": rows}]})
    assert page == (
        "- \n- **inexact** PyTorch, variation, l1, value, 1×512×512×3, float32: "
        "the sum is off by 10.0%\n"
    )
    rows[2] = row("PyTorch", worker="torch", samples=[[1.0, 1.0]])
    rows[0]["samples"] = rows[1]["samples"] = [[10.0, 10.0]]
    with pytest.raises(SystemExit, match="PyTorch differs"):
        run.check(case, rows)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"samples": [[1.0, 2.002]]}, None),
        ({"samples": [[1.0, 2.01]]}, "by NumPy differs from that by ours"),
        ({"samples": [[1.0, float("nan")]]}, "by NumPy differs"),
        ({"samples": [[1.0]]}, "another shape"),
        ({"samples": [[1.0, 2.0], [0.0]]}, "another shape"),
        ({"error": "ValueError: no"}, None),
        ({"error": "ValueError: no", "worker": "jax"}, "fails: ValueError: no"),
    ],
)
def test_wrong_rows_stop_the_benchmark(other, message):
    case = Case((2, 3, 4, 1), ("variation, l1",))
    first = row("ours", worker="jax", samples=[[1.0, 2.0]])
    rows = [first, row("NumPy", worker="numpy") | other]
    if message is None:
        run.check(case, rows)
        return
    with pytest.raises(SystemExit, match=message):
        run.check(case, rows)
