"""Records what the expressions of other libraries give, and writes docs/from/.

In an environment that has one or several of the libraries,

    cd tests && python -m operator_answers.record

records their results beside this file, for the tests; `record scipy` those of SciPy
alone. With --page it writes the tables of docs/from/ from the rows and the recorded
versions.
"""

import ast
import contextlib
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
from peer_answers.record import module

from . import table
from .rows import LIBRARIES, monai, opencv, scipy

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs" / "from"
TABLE = re.compile(r"(?<=<!-- table: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

BOUNDARIES = {
    "edge": "a a │ a b c",
    "reflect": "c b │ a b c",
    "symmetric": "b a │ a b c",
    "wrap": "b c │ a b c",
    "linear": "3a-2b 2a-b │ a b c",
    "quadratic": "6a-8b+3c 3a-3b+c │ a b c",
    "constant": "0 0 │ a b c",
    "interior": "the result is 0",
}
BOUNDARY_NAMES = {
    "SciPy, scikit-image": scipy.MODES,
    "OpenCV": opencv.BORDERS,
    "PyTorch, MONAI": monai.PADDING,
    "TensorFlow": {
        "reflect": "REFLECT",
        "symmetric": "SYMMETRIC",
        "constant": "CONSTANT",
    },
}
TENSORS = (
    "On the left the arrays are tensors, on the right NumPy or JAX arrays of the same "
    "layout."
)


def scope(library):
    """The names in the expressions of a library: its modules and its arrays."""
    names = {short: module(name) for short, name in library.modules.items()}
    make = eval(library.array, {"np": np, **names})
    return names | {name: make(array) for name, array in table.arrays().items()}


def in_64_bits():
    """A context in which JAX, if it is imported, has 64-bit types."""
    jax = sys.modules.get("jax")
    return jax.enable_x64(True) if jax else contextlib.nullcontext()


def evaluate(code, names):
    """The result of an expression, or the results of an assignment by their names."""
    targets, assigns, expression = code.rpartition(" = ")
    with in_64_bits():
        value = eval(expression, names)
    parts = zip(targets.split(", "), value if assigns else [value], strict=True)
    return {target: np.asarray(part) for target, part in parts}


def record(name):
    """Writes the results of a library to its file."""
    library = LIBRARIES[name]
    names = scope(library)
    asked = [row.theirs for row in library.rows]
    answers = {
        f"{i} {target}": value
        for i, code in enumerate(asked)
        for target, value in evaluate(code, names).items()
    }
    version = module(library.package).__version__
    version = version.partition("+")[0]  # without the build, as in 2.13.0+cpu
    np.savez_compressed(HERE / f"{name}.npz", version=version, asked=asked, **answers)
    print(f"recorded {len(asked)} rows of {name} {version}")


def load(name):
    """The version of a library, and its results by expression and by name."""
    with np.load(HERE / f"{name}.npz") as file:
        asked = file["asked"].tolist()
        answers = {code: {} for code in asked}
        for key in file.files:
            if key not in ("version", "asked"):
                i, target = key.split(" ")
                answers[asked[int(i)]][target] = file[key]
        return str(file["version"]), answers


def markdown(header, rows):
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def legend(library):
    """What the names in the rows of a library are."""
    code = [part.rpartition(" = ")[2] for row in library.rows for part in row[:2]]
    nodes = [node for each in code for node in ast.walk(ast.parse(each))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    modules = library.modules.items()
    known = {short: f"`{name}`" for short, name in modules if short != name}
    known |= table.LEGEND
    text = ", ".join(f"`{name}` is {known[name]}" for name in known if name in used)
    notes = [f"{text}."]
    if library.array != "np.asarray":
        notes.append(TENSORS)
    return " ".join(notes)


def library_table(name):
    """The names in the rows of a library, and its rows."""
    library = LIBRARIES[name]
    header = [f"{library.title} {load(name)[0]}", "jax_imgrad"]
    rows = [[f"`{theirs}`", f"`{ours}`"] for theirs, ours in library.rows]
    return f"{legend(library)}\n\n{markdown(header, rows)}"


def boundary_table():
    """The names of the boundary conditions in each library."""
    rows = [
        [
            f"`{boundary}`",
            picture,
            *(names.get(boundary, "") for names in BOUNDARY_NAMES.values()),
        ]
        for boundary, picture in BOUNDARIES.items()
    ]
    return markdown(["ours", "before a b c", *BOUNDARY_NAMES], rows)


def with_tables(page):
    """The text of a page, with its tables written anew."""

    def written(match):
        name, marker = match.groups()
        text = boundary_table() if name == "boundaries" else library_table(name)
        return f"{name}{marker}\n{text}\n"

    return TABLE.sub(written, page)


def main():
    """Records the libraries that are installed, or writes the tables."""
    if "--page" in sys.argv:
        for path in PAGES.glob("*.md"):
            page = path.read_text(encoding="utf-8")
            path.write_text(with_tables(page), encoding="utf-8")
        return
    for name in sys.argv[1:] or LIBRARIES:
        if importlib.util.find_spec(LIBRARIES[name].package) is not None:
            record(name)


if __name__ == "__main__":
    main()
