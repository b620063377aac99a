"""Types of the public functions: for type checkers, at run time, and in `help()`."""

import ast
import contextlib
import functools
import importlib.util
import inspect
import itertools
import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from public import CALLS, OF_MASKS, arrays
from test_conventions import PUBLIC

import jax_imgrad as jig

SCRIPT = Path(__file__).with_name("user_script.py")
PACKAGE = Path(jig.__file__).parent

each_function = pytest.mark.parametrize("name", PUBLIC)


@pytest.fixture
def installed(require):
    """Skips a test if a checker is not installed, unless this run requires it."""

    def check(checker: str):
        if importlib.util.find_spec(checker) is None:
            require("checkers", f"{checker} is not installed")

    return check


def checked(folder, source, checker, *options):
    """The output of a strict type checker for a script in an empty folder."""
    (folder / "script.py").write_text(source)
    config = {"typeCheckingMode": "strict", "extraPaths": [str(PACKAGE.parent)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = {
        # Only the types of the package are used: its code is checked in the repository.
        "mypy": ["--strict", "--follow-imports=silent", "--no-error-summary"],
        "pyright": ["--pythonpath", sys.executable],
    }[checker]
    return subprocess.run(
        [sys.executable, "-m", checker, *command, *options, "script.py"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(PACKAGE.parent)},
    )


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_checker_accepts_what_a_user_writes(tmp_path, installed, checker):
    installed(checker)
    run = checked(tmp_path, SCRIPT.read_text(), checker)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_checker_refuses_what_is_wrong(tmp_path, installed, checker):
    installed(checker)
    wrong = [
        'operator="sobol"',
        'boundary=["edge", "mirror"]',
        "axes=1.5",
        'spacing="1"',
        'scale="unit"',
        'implementation="cuda"',
        "where=True",
    ]
    lines = [f"jig.spatial_gradient(np.ones((1, 4, 4, 1)), {one})" for one in wrong]
    source = "\n".join(["import numpy as np", "import jax_imgrad as jig", *lines])
    run = checked(tmp_path, source, checker)
    for number in range(3, 3 + len(wrong)):
        assert f"script.py:{number}:" in run.stdout, (wrong[number - 3], run.stdout)


def test_the_script_of_a_user_runs():
    run = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(jig.__version__)


def test_the_script_calls_every_function_and_names_every_type():
    source = SCRIPT.read_text()
    for name in PUBLIC:
        prefix = "" if name.startswith("losses.") else "jig."
        assert f"{prefix}{name}(" in source
    for name in jig.typing.__all__:
        assert f"typing.{name}" in source


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_annotations_hold_at_run_time(call, monkeypatch, installed):
    """For users who check them with jaxtyping and beartype."""
    installed("beartype")
    from beartype import beartype  # not installed everywhere

    *_, name = call.name.split(".")
    module = jig.losses if name != call.name else jig
    function = inspect.unwrap(PUBLIC[call.name])
    monkeypatch.setattr(
        module, name, jaxtyping.jaxtyped(function, typechecker=beartype)
    )
    given = arrays(call, (2, 5, 6, 3))
    masks = [given[0] > 3, given[0][0, :, :, :1] > 3, np.ones((), bool)]
    takes_masks = "where" in inspect.signature(function).parameters
    for options in [{}, *({"where": mask} for mask in masks if takes_masks)]:
        jax.eval_shape(call.function(**options), *given)
    with pytest.raises(jaxtyping.TypeCheckError):
        call.function()(*[[1.0]] * call.arrays)


@each_function
def test_annotations_can_be_resolved(name):
    hints = typing.get_type_hints(PUBLIC[name])
    assert hints.keys() == {*inspect.signature(PUBLIC[name]).parameters, "return"}


@each_function
def test_help_begins_readably(name):
    """Annotations are short."""
    signature = inspect.signature(PUBLIC[name])
    annotations = {p.name: p.annotation for p in signature.parameters.values()}
    annotations["return"] = signature.return_annotation
    for key, annotation in annotations.items():
        text = inspect.formatannotation(annotation)
        assert len(text) <= 60, (key, text)
        assert "Union" not in text
        assert "Literal" not in text


def test_every_public_type_has_a_docstring():
    body = ast.parse((PACKAGE / "typing.py").read_text()).body
    documented = {
        node.targets[0].id: following.value.value
        for node, following in itertools.pairwise(body)
        if isinstance(node, ast.Assign)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    assert sorted(documented) == jig.typing.__all__
    assert all(text.partition("\n")[0].endswith(".") for text in documented.values())


def literals(hint):
    """The names and numbers that a type lists, through unions and sequences."""
    if typing.get_origin(hint) is typing.Literal:
        return [*typing.get_args(hint)]
    inner = [literals(one) for one in typing.get_args(hint)]
    return [*dict.fromkeys(functools.reduce(list.__add__, inner, []))]


OPTIONS_WITH_NAMES = [
    (name, option)
    for name, function in PUBLIC.items()
    for option, hint in typing.get_type_hints(function).items()
    if literals(hint) and option != "return"
]


@pytest.mark.parametrize(("name", "option"), OPTIONS_WITH_NAMES)
def test_types_list_the_supported_values(name, option):
    """The error message for an unsupported value lists the same values."""
    (call, *_) = [call for call in [*CALLS, *OF_MASKS] if call.name == name]
    with pytest.raises(ValueError, match=f"^{option} must be ") as caught:
        call.function(**{option: "?"})(*arrays(call, (1, 4, 5, 2)))
    said = str(caught.value).partition(", got ")[0].partition("one of ")[2]
    said = said.replace(
        ", ('gaussian', sigma) or a jax_imgrad.Kernel", ", 'gaussian', 'spacing'"
    )
    assert [*ast.literal_eval(f"({said},)")] == literals(
        typing.get_type_hints(PUBLIC[name])[option]
    )


@pytest.mark.parametrize(("name", "option"), OPTIONS_WITH_NAMES)
def test_every_value_of_a_type_is_supported(name, option):
    (call, *_) = [call for call in [*CALLS, *OF_MASKS] if call.name == name]
    for value in literals(typing.get_type_hints(PUBLIC[name])[option]):
        if (option, value) == ("operator", "gaussian"):
            value = ("gaussian", 1)
        if (option, value) == ("operator", "spacing"):
            if name == "valid_outputs":
                continue  # it has no spacing
            value = ("gaussian", 1, "spacing")
        with contextlib.suppress(NotImplementedError):  # a kernel that cannot run here
            given = arrays(call, (1, 17, 18, 2))  # at an eighth, 3 to extrapolate
            jax.eval_shape(call.function(**{option: value}), *given)
