"""The conventions of the code, as tests."""

import ast
import importlib.metadata
import inspect
import itertools
import re
from pathlib import Path

import pytest
import test_every_function
from public import CALLS, OF_MASKS

import jax_imgrad as jig

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jax_imgrad"
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = {
    f"{prefix}{name}": function
    for prefix, module in {"": jig, "losses.": jig.losses}.items()
    for name, function in vars(module).items()
    if inspect.isfunction(function) and not name.startswith("_")
}
MODULES = {"jig": jig, "losses": jig.losses, "typing": jig.typing}

# Functions with a single implementation, which use no back end.
WITHOUT_IMPLEMENTATION = {
    *("losses.laplacian_edge", "losses.scale_and_shift"),
    *("absolute", "magnitude", "orientation", "valid_outputs"),
    *("absolute", "magnitude", "orientation", "eigenvalues", "eigenvectors"),
}

# From the lowest layer to the highest. A module imports only from lower layers than its
# own. A folder counts as one module, except that each back end counts separately.
LAYERS = [
    {"_jax", "_types", "_dtypes", "_platforms", "_norms", "_differences"},
    {"_numbers"},
    {"_taps"},
    {"typing"},
    {"_kernels", "_penalties", "_replicated", "_boundaries", "_blocks"},
    {"_stencils", "_symmetric"},
    {"_banded", "_arguments"},
    {"_toeplitz"},
    {"_backends.xla"},
    {"_backends.xla_cpu", "_backends.pallas_tpu"},
    {"_backends"},
    {"_linear", "_functional"},
    {"_masks"},
    {"_operators"},
    {"_neighbors"},
    {"_tf_image", "_derivatives", "_features", "_structure_tensor", "_smooth"}
    | {"_eigen", "_vector_fields", "_validity", "losses"},
    {"__init__"},
]


def module_of(parts):
    """The module of a dotted name, given in parts, without the package."""
    longest = ".".join(parts[:2])
    return longest if any(longest in modules for modules in LAYERS) else parts[0]


def layer(module):
    (found,) = [i for i, modules in enumerate(LAYERS) if module in modules]
    return found


def imported_of_ours(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, *parts = name.split(".")
            if package == "jax_imgrad":
                yield module_of(parts)


def not_lower(module, source):
    """The imported modules of the same or of a higher layer."""
    imported = {*imported_of_ours(ast.parse(source))} - {module}
    return [other for other in imported if layer(other) >= layer(module)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports_point_down(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    assert not not_lower(module_of(parts), file.read_text())


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.parent.name == "losses"], ids=lambda file: file.stem
)
def test_losses_name_no_back_end(file):
    imported = imported_of_ours(ast.parse(file.read_text()))
    assert not any(module.startswith("_backends") for module in imported)


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_upward_imports_are_detected(number):
    for module in LAYERS[number]:
        for higher in LAYERS[number:]:
            for other in higher - {module, "__init__"}:
                package, _, name = f"jax_imgrad.{other}".rpartition(".")
                for source in (
                    f"from {package} import {name}",
                    f"from {package}.{name} import something",
                    f"import {package}.{name}",
                ):
                    assert not_lower(module, source) == [other], source


def test_the_guide_for_contributors_lists_the_files_by_layers():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    table = guide.split("| file | what it says |\n|---|---|\n")[1].split("\n\n")[0]
    listed = [
        re.findall(r"`(\w+)(?:\.py|/)`", row.split("|")[1])
        for row in table.splitlines()
    ]
    assert all(listed), "each row names a file"
    names = [name for row in listed for name in row]
    modules = set().union(*LAYERS)
    assert sorted(names) == sorted({module.partition(".")[0] for module in modules})
    heights = [
        max(layer(m) for m in modules if m.partition(".")[0] == name)
        for row in listed
        for name in row
    ]
    assert heights == sorted(heights, reverse=True)


REGISTRY = PACKAGE / "_backends" / "__init__.py"

# What is imported where it is first used, because to import it takes long.
LAZY = {
    REGISTRY: {"from jax_imgrad._backends import pallas_tpu"},
    PACKAGE / "_arguments" / "arrays.py": {"import chex"},
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports_are_at_the_top(file):
    tree = ast.parse(file.read_text())
    everywhere = [
        n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    below = {ast.unparse(node) for node in everywhere if node not in tree.body}
    assert below == LAZY.get(file, set())


# Modules of JAX, and attributes of its types, that may change between releases.
UNSTABLE_MODULES = ("_src", "config", "core", "experimental", "extend", "interpreters")
UNSTABLE_ATTRIBUTES = {
    *("manual_axis_type", "explicit_axes", "axis_context", "module_context", "mesh"),
    *("pcast", "reshard", "auto_axes", "spec", "vma"),
}
ALLOWED = {"_backends/pallas_tpu.py": {"jax.experimental.pallas"}}


def unstable(source):
    """The parts of JAX beyond its stable public interface that a file uses."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            if node.attr in UNSTABLE_ATTRIBUTES:
                yield node.attr
            names = [ast.unparse(node)]
        for name in names:
            package, *parts = name.split(".")
            if package == "jax" and parts and parts[0] in UNSTABLE_MODULES:
                yield name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_one_file_uses_unstable_parts_of_jax(file):
    name = str(file.relative_to(PACKAGE))
    if name != "_jax.py":
        assert {*unstable(file.read_text())} <= ALLOWED.get(name, set())


@pytest.mark.parametrize(
    "source",
    [
        "import jax.core",
        "import jax.extend.core as core",
        "from jax import core",
        "from jax.extend.core import Primitive",
        "from jax.interpreters import ad",
        "from jax._src import config",
        "import jax\njax.core.Tracer",
        "import jax\njax.config.jax_disable_jit",
        "import jax\njax.typeof(x).manual_axis_type",
        "import jax\njax.typeof(x).sharding.mesh",
        "from jax import lax\nlax.pcast(x, 'a', to='varying')",
    ],
)
def test_unstable_parts_of_jax_are_detected(source):
    assert [*unstable(source)]


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
    """It may contain imports, `__version__`, `__all__` and `__dir__`."""
    for file in {*PACKAGE.rglob("__init__.py")} - {REGISTRY}:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign):
                assert re.fullmatch(r"__\w+__", node.targets[0].id)
                ast.literal_eval(node.value)
            elif isinstance(node, ast.FunctionDef):
                assert node.name == "__dir__"
                assert isinstance(node.body[0], ast.Return)
            else:
                assert isinstance(node, ast.Expr | ast.ImportFrom)


def test_the_version_is_that_of_the_installed_package():
    assert jig.__version__ == importlib.metadata.version("jax-imgrad")


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_dir_shows_what_is_public(module):
    shown = {name for name in dir(module) if not name.startswith("__")}
    assert shown == {*module.__all__}
    assert sorted(module.__all__) == module.__all__
    imported = {}
    exec(f"from {module.__name__} import *", imported)
    assert imported.keys() - {"__builtins__"} == shown


def test_every_public_function_is_in_all_of_one_module():
    """Each has one name: there are no aliases."""
    functions = [
        getattr(module, name)
        for module in MODULES.values()
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    ]
    assert len({*functions}) == len(functions) == len(PUBLIC)
    assert {*functions} == {*PUBLIC.values()}


def test_public_names():
    assert sorted(PUBLIC) == [
        "absolute",
        "curl",
        "divergence",
        "eigenvalues",
        "eigenvectors",
        "gradient_magnitude",
        "gradient_orientation",
        "image_gradients",
        "jacobian",
        "jacobian_determinant",
        "laplacian",
        "losses.bending_energy",
        "losses.edge_aware_smoothness",
        "losses.gradient_difference",
        "losses.gradient_magnitude_similarity",
        "losses.gradient_matching",
        "losses.laplacian_edge",
        "losses.scale_and_shift",
        "losses.total_variation",
        "magnitude",
        "orientation",
        "second_derivatives",
        "smooth",
        "sobel_edges",
        "spatial_gradient",
        "structure_tensor",
        "total_variation",
        "valid_outputs",
    ]


def test_the_table_of_calls_has_every_function():
    assert {call.name for call in [*CALLS, *OF_MASKS]} == PUBLIC.keys()


def test_the_fast_tests_call_every_function():
    assert test_every_function.pytestmark == pytest.mark.fast
    called = {
        mark.args[1][i].name
        for test in vars(test_every_function).values()
        for mark in getattr(test, "pytestmark", [])
        if mark.args[0] == "call"
        for i in range(len(mark.args[1]))
    }
    assert called == PUBLIC.keys()


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


def test_american_spelling():
    british = re.compile(r"\b(colour|neighbour|centre|grey|optimis|normalis|behaviour)")
    folders = [ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md"), FILES]
    for file in [*itertools.chain(*folders), *(ROOT / "examples").glob("*.py")]:
        assert not british.search(file.read_text()), file
