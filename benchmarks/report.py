"""Writes the results as JSON and Markdown, with every row that we lose marked."""

import json
import math
from pathlib import Path

from plot import plot
from work import BOTH, FLOORS, VALUE

OLDEST = ", oldest jax"
ABOUT = """\
# Benchmarks

Times are in milliseconds: median ± half the interquartile range, from one interleaved
run of `python benchmarks/run.py`. The fastest is in **bold**. "ours / best" is our time
divided by that of the fastest other implementation: above 1, **we lose**. The lower
bounds, measured with the same version of JAX: `R` reads the image once (`x.sum()`),
`C1` reads and writes it (`x * 2`), `C2` writes two images (`x + 1, x * 2`). Where a
framework has no such function, it computes the formula as its users write it. A cell is
empty if there is no derivative, or if it was not measured. Losses are averaged over the
batch. The gradient of an operator is its transpose applied to ones, with respect to the
first input. On an accelerator, several calls are enqueued before waiting for the last.
"""
MEMORY = """\
Memory in MB: the growth of the process during one call, including the results (on
Linux, on a CPU), and the temporaries of our program as reported by XLA.
"""


def write(results: dict, data: Path, docs: Path) -> None:
    """Writes the JSON file, the page and its picture."""
    (data / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (docs / "benchmarks.md").write_text(markdown(results))
    plot(results, docs / "benchmark_sizes.png")
    print(f"wrote {data / 'results.json'}, {docs / 'benchmarks.md'} and its picture")


def markdown(results: dict) -> str:
    """The page in Markdown."""
    cases = results["cases"]
    parts = [ABOUT, facts(results), targets(cases), lost(cases)]
    parts.append("![Cost against size](benchmark_sizes.png)\n")
    return "\n".join(parts + [section(case) for case in cases])


def facts(results: dict) -> str:
    """The machine, the versions, and what is missing or inexact."""
    lines = [", ".join(f"{k}: {v}" for k, v in results["machine"].items())]
    for name, versions in results["versions"].items():
        lines.append(f"{name}: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    lines += [f"**missing** {name}: {why}" for name, why in results["missing"].items()]
    for case in results["cases"]:
        for row in case["rows"]:
            what = f"{row['who']}, {row['work']}, {row['kind']}, {title(case)}"
            if "error" in row:
                lines.append(f"**missing** {what}: {row['error'].splitlines()[0]}")
            elif "off" in row:
                lines.append(f"**inexact** {what}: the sum is off by {row['off']:.1%}")
    return "\n".join(f"- {line}" for line in lines) + "\n"


def title(case: dict) -> str:
    """The heading of a case."""
    return f"{'×'.join(map(str, case['shape']))}, {case['dtype']}"


def medians(case: dict) -> dict[tuple[str, str, str], float]:
    """Median times in milliseconds, by task, kind and implementation."""
    timed = [row for row in case["rows"] if "error" not in row]
    return {(r["work"], r["kind"], r["who"]): 1e3 * r["seconds"][1] for r in timed}


def others(case: dict, work: str, kind: str) -> dict[str, float]:
    """Median times of the other implementations, without the lower bounds."""
    ours = ("ours", "ours" + OLDEST)
    found = medians(case)
    return {
        w: t
        for (a, k, w), t in found.items()
        if (a, k) == (work, kind) and w not in ours
    }


def against_best(case: dict, work: str, kind: str) -> float | None:
    """Our time divided by that of the fastest other implementation."""
    mine, best = medians(case).get((work, kind, "ours")), others(case, work, kind)
    return mine / min(best.values()) if mine and best else None


def works(case: dict) -> list[tuple[str, str]]:
    """The tasks and kinds of a case, in order, without the lower bounds."""
    pairs = [(row["work"], row["kind"]) for row in case["rows"]]
    return [pair for pair in dict.fromkeys(pairs) if pair[0] not in FLOORS]


def lost(cases: list[dict]) -> str:
    """Every row in which another implementation is faster."""
    lines = ["## Where we lose\n", *_head(["image", "what", "ours, ms", "faster"])]
    for case in cases:
        for work, kind in works(case):
            if (against_best(case, work, kind) or 0) > 1:
                mine = medians(case)[work, kind, "ours"]
                known = others(case, work, kind).items()
                faster = sorted((ms, who) for who, ms in known if ms < mine)
                told = ", ".join(f"{who} {ms:.3g}" for ms, who in faster)
                what = f"{work}: {kind}"
                lines.append(_line([title(case), what, f"{mine:.3g}", told]))
    return "\n".join(lines) + "\n"


def targets(cases: list[dict]) -> str:
    """Our times against the targets, with the newest and the oldest JAX."""
    lines = [
        "## Against the lower bounds\n",
        "Images above 1 MB; the bounds are those of the same version of JAX. A ratio "
        "**above 1** misses the target.\n",
        *_head(["image", "what", "target", "ours / target", "with the oldest JAX"]),
    ]
    for case in cases:
        wide = {"float32": 4, "bfloat16": 2}[case["dtype"]]
        if wide * math.prod(case["shape"]) > 1e6:
            for work, kind in works(case):
                both = [to_target(case, work, kind, end) for end in ("", OLDEST)]
                if both[0] is not None:
                    what = [title(case), f"{work}: {kind}", _target(work, kind)[0]]
                    lines.append(_line([*what, *map(_ratio, both)]))
    return "\n".join(lines) + "\n"


def _target(work: str, kind: str) -> tuple[str, dict[str, float]]:
    if work == "image_gradients" and kind == VALUE:
        return "1.15 C2", {"C2": 1.15}
    if "variation" in work and kind == VALUE:
        return "2 R", {"R": 2}
    if "variation" in work and kind == BOTH:
        return "1.5 C1 + 2 R", {"C1": 1.5, "R": 2}
    return "", {}


def to_target(case: dict, work: str, kind: str, end: str) -> float | None:
    """Our time divided by the target, with the newest or the oldest JAX."""
    found, sizes = medians(case), _target(work, kind)[1]
    mine = found.get((work, kind, f"ours{end}"))
    floors = [found.get((floor, VALUE, f"floor{end}")) for floor in sizes]
    if mine is None or not floors or None in floors:
        return None
    return mine / sum(s * f for s, f in zip(sizes.values(), floors, strict=True))


def section(case: dict) -> str:
    """The tables of a case."""
    found, pairs = medians(case), works(case)
    rows = {(r["work"], r["kind"], r["who"]): r for r in case["rows"]}
    people = list(dict.fromkeys(r["who"] for r in case["rows"]))
    people = [who for who in people if not who.startswith("floor")]
    floors = {name: found[name, VALUE, "floor"] for name in FLOORS}
    told = ", ".join(f"{name} = {ms:.3g} ms" for name, ms in floors.items())
    lines = _head(["what", *people, "ours / best", *(f"ours / {f}" for f in floors)])
    for work, kind in pairs:
        times = {who: found.get((work, kind, who), math.inf) for who in people}
        cells = {who: _time(rows.get((work, kind, who))) for who in people}
        fastest = min(times, key=times.get)
        cells[fastest] = f"**{cells[fastest]}**"
        ratios = [_ratio(against_best(case, work, kind), ", lost")]
        ours = times.get("ours", math.inf)
        ratios += [
            f"{ours / ms:.2f}" if ours < math.inf else "" for ms in floors.values()
        ]
        lines.append(_line([f"{work}: {kind}", *cells.values(), *ratios]))
    heading = f"## {title(case)}\n\n{told}; {case['rounds']} rounds.\n"
    return "\n".join([heading, *lines, "", MEMORY, *memory(rows, pairs, people)]) + "\n"


def memory(rows: dict, pairs: list, people: list[str]) -> list[str]:
    """The table of memory peaks and of our temporaries."""
    lines = _head(["what", *people, "our temporaries"])
    for work, kind in pairs:
        found = [rows.get((work, kind, who), {}) for who in people]
        ours = rows.get((work, kind, "ours"), {})
        cells = [r.get("peak") for r in found] + [ours.get("temporaries")]
        told = ["" if c is None else f"{c / 1e6:.1f}" for c in cells]
        lines.append(_line([f"{work}: {kind}", *told]))
    return lines


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratio(ratio: float | None, mark: str = "") -> str:
    """A ratio as text; above 1 it is marked."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio <= 1 else f"**{ratio:.2f}{mark}**"


def _time(row: dict | None) -> str:
    if row is None or "error" in row:
        return ""
    low, middle, high = (1e3 * s for s in row["seconds"])
    return f"{middle:.3g} ± {(high - low) / 2:.1g}"
