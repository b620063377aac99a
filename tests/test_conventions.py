"""The house rules, as tests."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from public import CALLS

import jax_imgrad as jig

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jax_imgrad"
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = {
    f"{prefix}{name}": function
    for prefix, module in {"": jig, "losses.": jig.losses}.items()
    for name, function in vars(module).items()
    if inspect.isfunction(function)
}

# Computed in one way, which no back end has a part in.
WITHOUT_IMPLEMENTATION = {"losses.laplacian_edge", "losses.scale_and_shift"}

# A file imports only from lower layers: what an image is; how it is computed; by which
# back end; what that is to JAX; how it differentiates; what the user calls.
LAYERS = {
    "_types": 0,
    "_shift": 0,
    "_bands": 1,
    "_checks": 1,
    "_stencils": 2,
    "_masks": 2,
    "_dtypes": 0,
    "_norms": 0,
    "_penalties": 1,
    "_backends": 2,
    "_values": 2,
    "_options": 3,
    "_dispatch": 3,
    "_primitives": 4,
    "_linear": 5,
    "_functional": 5,
    "_operators": 6,
    "_derivatives": 6,
    "_features": 7,
    "losses": 7,
    "__init__": 8,
}


def layer(parts):
    return LAYERS[next((part for part in parts if part in LAYERS), "__init__")]


def imported_of_ours(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("jax_imgrad"):
            for alias in node.names:
                yield [*node.module.split("."), alias.name]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".") for a in node.names if "jax_imgrad" in a.name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports_point_down(file):
    own = file.relative_to(PACKAGE).with_suffix("").parts
    own = own[:1] if own[0] != "_backends" else ("_backends",)
    tree = ast.parse(file.read_text())
    for parts in imported_of_ours(tree):
        if own == ("_backends",) and parts[:3] == ["jax_imgrad", "_backends", "xla"]:
            continue  # a back end may use the definition
        if parts[:-2] == ["jax_imgrad", *file.relative_to(PACKAGE).parts[:-1]]:
            continue  # of one back end, in one folder
        if file == PACKAGE / "losses" / "__init__.py" and parts[1] == "losses":
            continue
        assert layer(parts[1:]) < layer(own), f"{file.name} imports {'.'.join(parts)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports_stand_at_the_top(file):
    tree = ast.parse(file.read_text())
    everywhere = [
        n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert everywhere == [
        n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_sizes(file):
    source = file.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            documented = isinstance(node.body[0], ast.Expr)
            first = node.body[1 if documented and len(node.body) > 1 else 0]
            assert node.end_lineno - first.lineno < 40, f"{node.name} is too long"


def test_the_package_has_no_logic_in_init():
    for file in PACKAGE.rglob("__init__.py"):
        body = ast.parse(file.read_text()).body
        assert all(isinstance(node, ast.Expr | ast.ImportFrom) for node in body)


def test_public_names():
    assert sorted(PUBLIC) == [
        "divergence",
        "gradient_magnitude",
        "gradient_orientation",
        "image_gradients",
        "laplacian",
        "losses.edge_aware_smoothness",
        "losses.gradient_difference",
        "losses.gradient_matching",
        "losses.laplacian_edge",
        "losses.scale_and_shift",
        "losses.total_variation",
        "second_derivatives",
        "sobel_edges",
        "spatial_gradient",
        "structure_tensor",
        "total_variation",
    ]


def test_every_function_is_called_in_the_tests_of_all_of_them():
    assert {call.name for call in CALLS} == PUBLIC.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_options_are_keywords_and_implementation_is_the_last(name):
    parameters = list(inspect.signature(PUBLIC[name]).parameters.values())
    arrays = [p for p in parameters if p.default is p.empty]
    options = parameters[len(arrays) :]
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in arrays)
    assert all(p.kind is p.KEYWORD_ONLY for p in options)
    last = next(reversed(parameters))
    assert (last.name == "implementation") == (name not in WITHOUT_IMPLEMENTATION)
    assert last.name != "implementation" or last.default is None


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings(name):
    text = inspect.getdoc(PUBLIC[name])
    sections = ["Args", "Returns", "Raises", "Example", "Reference"]
    assert re.findall(r"^(\w+):$", text, re.MULTILINE) == sections
    for parameter in inspect.signature(PUBLIC[name]).parameters:
        assert re.search(rf"^  {parameter}: ", text, re.MULTILINE)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_readme_names_each_function(name):
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def test_the_readme_has_a_picture_of_each_operator():
    readme = (ROOT / "README.md").read_text()
    for name in PUBLIC:
        if not name.endswith("total_variation") and "losses." not in name:
            picture = f"docs/operators/{name}.png"
            assert f"]({picture})" in readme
            assert (ROOT / picture).exists()


def test_american_spelling():
    british = re.compile(r"\b(colour|neighbour|centre|grey|optimis|normalis|behaviour)")
    for file in [*ROOT.glob("*.md"), *FILES, *(ROOT / "examples").glob("*.py")]:
        assert not british.search(file.read_text()), file
