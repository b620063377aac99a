"""How long it all takes, against what bounds it and against what users write.

    pip install -e ".[bench]" && python benchmarks/run.py [--quick]

One interleaved run: every row of a table is timed in turn, again and again, so that
what else the machine does falls on all of them alike. Times are medians, with the
spread from the first to the third quartile. The floors are `R`, to read the image once
(jnp.sum), `C1`, to read and write it (x * 2), and `C2`, to write two (x + 1, x * 2).
Writes results.json and results.md.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import jax_imgrad as jig
from jax_imgrad import losses

SHAPES = [
    (1, 64, 64, 3),
    (1, 512, 512, 3),
    (16, 512, 512, 3),
    (1, 2048, 2048, 1),
    (64, 64, 64, 3),
    (4, 256, 256, 64),
    (1, 256, 256, 256, 1),
]


def naive_gradients(x):
    """As users write it."""
    dy = jnp.pad(x[:, 1:] - x[:, :-1], ((0, 0), (0, 1), (0, 0), (0, 0)))
    dx = jnp.pad(x[:, :, 1:] - x[:, :, :-1], ((0, 0), (0, 0), (0, 1), (0, 0)))
    return dy, dx


def naive_variation(x, power=abs):
    """As users write it, with the derivative of JAX, which is wrong at ties."""
    along = range(1, x.ndim - 1)
    return sum(jnp.sum(power(jnp.diff(x, axis=axis))) for axis in along)


def numpy_variation(x):
    """The same in NumPy."""
    along = range(1, x.ndim - 1)
    return sum(np.abs(np.diff(x, axis=axis)).sum() for axis in along)


def rows(shape: tuple[int, ...]) -> dict[str, Callable]:
    """What is timed on an image of this shape, by name."""
    axes = tuple(range(1, len(shape) - 1))

    def variation(x, **options):
        return losses.total_variation(x, axes=axes, reduction="sum", **options).sum()

    timed = {
        "R: sum(x)": jnp.sum,
        "C1: x * 2": lambda x: x * 2,
        "C2: x + 1, x * 2": lambda x: (x + 1, x * 2),
        "variation l1: naive": naive_variation,
        "variation l1: ours": variation,
        "variation l2: naive": lambda x: naive_variation(x, jnp.square),
        "variation l2: ours": lambda x: variation(x, penalty="l2"),
        "variation Huber: ours": lambda x: variation(x, penalty="huber"),
        "variation isotropic: ours": lambda x: variation(x, isotropic=True),
        "variation l1, value and gradient: naive": jax.value_and_grad(naive_variation),
        "variation l1, value and gradient: ours": jax.value_and_grad(variation),
        "variation isotropic, value and gradient: ours": jax.value_and_grad(
            lambda x: variation(x, isotropic=True)
        ),
    }
    if len(shape) == 4:
        timed["image_gradients: naive"] = naive_gradients
        timed["image_gradients: ours"] = jig.image_gradients
        timed["divergence: ours"] = lambda x: jig.divergence((x, x))
    timed = {name: jax.jit(function) for name, function in timed.items()}
    return {**timed, "variation l1: NumPy": numpy_variation}


def measure(shape: tuple[int, ...], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each row: the first, second and third quartile."""
    image = np.random.default_rng(0).random(shape, "float32")
    operands = {True: image, False: jnp.asarray(image)}
    timed = rows(shape)
    seconds = {name: [] for name in timed}
    for _ in tqdm(range(rounds + 1), desc=str(shape)):
        for name, function in timed.items():
            start = time.perf_counter()
            jax.block_until_ready(function(operands["NumPy" in name]))
            seconds[name].append(time.perf_counter() - start)
    return {
        name: [1000 * float(q) for q in np.quantile(taken[1:], [0.25, 0.5, 0.75])]
        for name, taken in seconds.items()
    }


def table(shape: tuple[int, ...], result: dict[str, list[float]]) -> str:
    """Markdown, with each time as a multiple of the floors."""
    floors = {name[:2].strip(":"): result[name][1] for name in list(result)[:3]}
    lines = [
        f"### {'×'.join(map(str, shape))}, float32\n",
        "| what | ms | quartiles | × R | × C1 | × C2 |",
        "|---|---|---|---|---|---|",
    ]
    for name, (low, middle, high) in result.items():
        ratios = " | ".join(f"{middle / floors[f]:.2f}" for f in ("R", "C1", "C2"))
        lines.append(f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {ratios} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures every shape, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks"))
    parser.add_argument("--quick", action="store_true", help="two rounds, small images")
    arguments = parser.parse_args()
    shapes = SHAPES[:2] if arguments.quick else SHAPES
    results = {shape: measure(shape, 2 if arguments.quick else 15) for shape in shapes}
    machine = {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    report = {"machine": machine, "ms": {str(s): r for s, r in results.items()}}
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    text = f"Medians in one interleaved run; {facts}.\n\n"
    text += "\n".join(table(shape, result) for shape, result in results.items())
    (arguments.output / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.output / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
