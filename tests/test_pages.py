"""The documentation: its code is run, and its figures are the measured ones."""

import inspect
import json
import math
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jax_imgrad as jig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHAPES = (ROOT / "docs" / "shapes.md").read_text()
SPEED = (ROOT / "docs" / "speed.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PAGES = [page for page in PAGES if "_build" not in page.parts]
H200 = (ROOT / "docs" / "accelerators.md").read_text()
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())
H200_RESULTS = json.loads((ROOT / "docs" / "h200" / "results.json").read_text())

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT).with_suffix(""))
)


def rows(page, header):
    """The rows of cells of the table with this header."""
    table = page.split(header)[1].split("\n\n")[0]
    lines = table.splitlines()[2:]  # after the header and the line below it
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("word", ["quickstart", "pytest"])
def test_the_commands_that_ci_takes_from_the_readme(word):
    assert len(re.findall(rf"^pip install .*{word}", README, re.MULTILINE)) == 1


@each_page
def test_every_block_of_python_is_a_doctest(page):
    """Each is run: pytest collects `>>>` on all pages."""
    blocks = re.findall(r"^( *)```python\n(.*?)```", page.read_text(), re.M | re.S)
    for _, block in blocks:
        assert block.lstrip(" ").startswith(">>> ")


@each_page
def test_links_are_not_broken(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


def test_the_gallery_has_every_operator_boundary_and_penalty():
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    for name in jig.__all__:
        if inspect.isfunction(getattr(jig, name)) and name != "total_variation":
            assert f"jig.{name}(" in gallery
    for name in ("Operator", "Boundary", "Penalty"):
        assert f"get_args(jig.typing.{name})" in gallery


# For each shape in the table, one image of which the array consists.
IMAGE = np.random.default_rng(0).random((5, 6, 3), np.float32)
SIZES = {"B": 2, "H": 5, "W": 6, "C": 3, "D": 4, "T": 4}


CALLS = rows(SHAPES, "\n| array `x` | derivatives |")


def test_the_page_on_shapes_has_the_calls_of_the_readme():
    for name, shape, *calls in rows(README, "\n| array `x` | shape |"):
        assert [f"{name} {shape}", *calls] in CALLS


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row[0])
def test_the_calls_for_each_shape(row):
    """Each call gives the gradient of every image; along a volume's depth it is 0."""
    what, derivatives, loss = row
    letters = re.findall(r"\w", what.split("[")[1])
    image = IMAGE if "C" in letters else IMAGE[..., 0]
    channels_first = letters[-2:] == ["H", "W"] and "C" in letters
    if channels_first:
        image = np.moveaxis(image, -1, 0)
    new = [axis for axis, name in enumerate(letters) if name in "BDT"]
    image = np.expand_dims(image, new)
    x = np.broadcast_to(image, [SIZES[name] for name in letters])
    scope = {"jig": jig, "x": x}

    *along_depth, dy, dx = eval(derivatives.strip("`"), scope)
    assert len(along_depth) == ("D" in letters)
    assert all(not part.any() for part in along_depth)
    expected_dy, expected_dx = jig.image_gradients(IMAGE[None])
    for ours, expected in [(dy, expected_dy), (dx, expected_dx)]:
        expected = expected[0] if "C" in letters else expected[0, ..., 0]
        if channels_first:
            expected = jnp.moveaxis(expected, -1, 0)
        np.testing.assert_array_equal(
            ours, jnp.broadcast_to(jnp.expand_dims(expected, new), x.shape)
        )

    channels = IMAGE if "C" in letters else IMAGE[..., :1]
    batch = SIZES["B"] if "B" in letters else 1
    expected = jnp.broadcast_to(jig.losses.total_variation(channels[None]), (batch,))
    np.testing.assert_allclose(eval(loss.strip("`"), scope), expected, rtol=1e-6)


def times(shape, work, kind="value", results=RESULTS):
    """Milliseconds by implementation, as recorded by the benchmark."""
    cases = [c for c in results["cases"] if c["dtype"] == "float32"]
    (case,) = [c for c in cases if c["shape"] == shape]
    return {
        row["who"]: 1e3 * row["seconds"][1]
        for row in case["rows"]
        if (row["work"], row["kind"]) == (work, kind) and "error" not in row
    }


def rounded(ms):
    """The number with two significant digits, and at most two decimals."""
    return f"{ms:.{2 if ms < 1 else 1 if ms < 10 else 0}f}"


BATCH = [16, 512, 512, 3]
GRADIENT, BOTH = "gradient", "value and gradient"
FLOORS = {"read": "R", "read and write": "C1", "write two": "C2"}
FIGURES = {
    "total variation": (BATCH, "variation, l1"),
    "total variation and its gradient": (BATCH, "variation, l1", BOTH),
    "`sobel_edges`": (BATCH, "sobel_edges"),
    "`image_gradients`": (BATCH, "image_gradients"),
    "gradient of `gradient_difference`": (BATCH, "gradient_difference", GRADIENT),
    "total variation, 16×512×512×3: value": (BATCH, "variation, l1"),
    "the same: value and gradient": (BATCH, "variation, l1", BOTH),
    "total variation, 1×2048×2048×1: value": ([1, 2048, 2048, 1], "variation, l1"),
    "sum of squared differences, 256³: value": (
        [1, 256, 256, 256, 1],
        "variation, l2",
    ),
    "`image_gradients`, 16×512×512×3": (BATCH, "image_gradients"),
    "`sobel_edges`, 16×512×512×3": (BATCH, "sobel_edges"),
}


@pytest.mark.parametrize(
    "row", rows(README, "\n| | ours | plain `jnp` |"), ids=lambda row: row[0]
)
def test_the_figures_of_the_readme(row):
    assert "Milliseconds for 16×512×512×3 in float32 on two CPU cores" in README
    found = times(*FIGURES[row[0]])
    others = {w: t for w, t in found.items() if "ours" not in w and w != "naive jnp"}
    best = min(others, key=others.get, default="")
    expected = [rounded(found["ours"]), rounded(found["naive jnp"])]
    expected += [f"{rounded(others[best])} ({best})" if best else ""]
    values = [found["ours"], found["naive jnp"], others.get(best, math.inf)]
    fastest = values.index(min(values))
    number, _, who = expected[fastest].partition(" ")
    expected[fastest] = f"**{number}** {who}".strip()
    assert row[1:] == expected


@pytest.mark.parametrize(
    "row", rows(SPEED, "\n| float32 | ours |"), ids=lambda row: row[0]
)
def test_the_figures_of_the_page_on_speed(row):
    assert "On two CPU cores with JAX 0.12" in SPEED
    shape, work, *kind = FIGURES[row[0]]
    found = times(shape, work, *kind)
    who = ["ours", "naive jnp", "torch.compile", "TensorFlow XLA", "NumPy"]
    assert row[1:-1] == [rounded(found[w]) if w in found else "" for w in who]
    what, floor = row[-1].split(": ")
    assert floor == rounded(times(shape, FLOORS[what])["floor"])


@pytest.mark.parametrize(
    "row", rows(H200, "\n| function | ours | plain `jnp` | `t"), ids=lambda row: row[0]
)
def test_the_figures_of_an_h200(row):
    assert "Milliseconds for 64×512×512×3 in float32, with JAX 0.11.2" in H200
    name, _, kind = row[0].partition(", ")
    work = {"total variation": "variation, l1"}.get(name, name.strip("`"))
    shape, kind = [64, 512, 512, 3], kind or "value"
    found = times(shape, work, kind, H200_RESULTS)
    who = ["ours", "naive jnp", "torch.compile", "PyTorch"]
    assert row[1:-1] == [rounded(found[w]) for w in who]
    what, floor = row[-1].split(": ")
    found = times(shape, FLOORS[what], results=H200_RESULTS)
    assert floor == rounded(found["floor"])


def test_the_losses_on_an_h200():
    shape = [64, 512, 512, 3]
    (case,) = [
        c
        for c in H200_RESULTS["cases"]
        if (c["shape"], c["dtype"]) == (shape, "float32")
    ]
    kinds = dict.fromkeys((row["work"], row["kind"]) for row in case["rows"])
    found = {key: times(shape, *key, results=H200_RESULTS) for key in kinds}
    lost = {
        f"`{work}`, {kind}": [rounded(t["ours"]), rounded(t["naive jnp"])]
        for (work, kind), t in found.items()
        if t.get("naive jnp", math.inf) * 1.2 < t.get("ours", 0)
    }
    told = rows(H200, "\n| where `jnp` is faster |")
    assert {name: figures for name, *figures, _ in told} == lost


def test_the_pages_name_the_machine_of_the_figures():
    assert RESULTS["machine"]["cores"] == 2
    assert RESULTS["versions"]["jax"]["jax"].startswith("0.12.")
    assert H200_RESULTS["versions"]["jax"]["jax"] == "0.11.2"
