"""Plots the time per pixel against the size of the image."""

import itertools
import math
from collections.abc import Collection
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from work import BOTH, CORE, FLOORS, VALUE


def plot(results: dict, path: Path) -> None:
    """Writes the picture of all implementations."""
    figure = sizes(results)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def sizes(
    results: dict,
    who: Collection[str] = (),
    figsize: tuple[float, float] = (13, 9),
    legend: str = "outside right upper",
) -> Figure:
    """For each core task, one panel for the value and one for value and gradient.

    Args:
      results: the contents of results.json.
      who: the implementations to draw, beside the lower bounds; by default all.
      figsize: in inches.
      legend: where to put it.
    """
    cases = [case for case in results["cases"] if is_square(case)]
    names = [
        f"{row['work']}, {row['who']}" if row["who"].startswith("floor") else row["who"]
        for case in cases
        for row in case["rows"]
    ]
    names = [name for name in dict.fromkeys(names) if "floor, oldest" not in name]
    styles = dict(zip(names, map(style, names, itertools.count()), strict=True))
    if who:
        names = [name for name in names if name in who or "floor" in name]
    figure, axes = plt.subplots(
        2, 2, figsize=figsize, sharex=True, layout="constrained"
    )
    panels = itertools.product(CORE, (VALUE, BOTH))
    for axis, (work, kind) in zip(axes.T.flat, panels, strict=True):
        for name in names:
            axis.plot(*line(cases, name, work, kind), label=name, **styles[name])
        widths = [case["shape"][1] for case in cases]
        axis.set(
            title=f"{work}: {kind}", ylabel="ns / pixel", xscale="log", yscale="log"
        )
        axis.set_xticks(widths, [f"{n}²" for n in widths])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc=legend, ncols=4 if "center" in legend else 1)
    return figure


def is_square(case: dict) -> bool:
    """Whether a case is one square gray image."""
    batch, height, *rest = case["shape"]
    return batch == 1 and rest == [height, 1]


def line(cases: list, name: str, work: str, kind: str) -> tuple[list, list]:
    """Image widths and nanoseconds per pixel of one implementation of a task."""
    floor, _, who = name.rpartition(", floor") if "floor" in name else ("", "", name)
    wanted = (floor, VALUE, "floor") if floor else (work, kind, who)
    points = [
        (case["shape"][1], 1e9 * row["seconds"][1] / math.prod(case["shape"]))
        for case in cases
        for row in case["rows"]
        if (row["work"], row["kind"], row["who"]) == wanted and "error" not in row
    ]
    return [x for x, _ in points], [y for _, y in points]


def style(name: str, number: int) -> dict:
    """A wide red line for this package, gray lines for the lower bounds."""
    if "floor" in name:
        dashes = dict(zip(FLOORS, (":", "--", "-."), strict=True))
        return {"color": "gray", "linestyle": dashes[name.split(",")[0]]}
    if name.startswith("ours"):
        return {
            "color": "red",
            "linestyle": "-" if name == "ours" else "--",
            "linewidth": 3,
        }
    color = plt.get_cmap("tab20").colors[number % 20]
    return {"color": color, "linewidth": 1.3, "marker": "."}
