"""The pages of the reference are complete; claims of their tables are checked."""

import functools
import inspect
import re
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mesh_of
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from public import TAKES_A_MASK, TAKES_A_TUPLE
from test_conventions import PUBLIC
from test_sharding import collectives

import jax_imgrad as jig
from jax_imgrad.typing import Boundary, Implementation

pytestmark = pytest.mark.fast

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
ROWS = [
    *("order of results", "sign", "scale", "boundary", "shape", "dtype", "mask"),
    *("derivative at zero", "reduction", "sharding", "implementation"),
]
SIZES = {"B": 8, "D": 4, "H": 5, "W": 6, "C": 3, "G": 2}
OPTIONS = {name: inspect.signature(f).parameters for name, f in PUBLIC.items()}


@functools.cache
def conventions(name):
    """The table on the page of a function."""
    page = (REFERENCE / f"{name}.md").read_text()
    table = page.split(f"| convention | of `{name}` |\n|---|---|\n")[1]
    lines = table.split("\n\n")[0].splitlines()
    return dict(line.strip("| ").split(" | ", 1) for line in lines)


def functions(condition):
    """The names of the functions that meet a condition, for a test of each."""
    return pytest.mark.parametrize("name", [*filter(condition, PUBLIC)])


each_function = functions(lambda name: True)
# A mask has neither another dtype, nor a mask, nor a derivative.
each_of_numbers = functions(lambda name: name not in TAKES_A_MASK)


def code(text):
    return re.findall(r"`([^`]+)`", text)


def in_quotes(text):
    return re.findall(r'"(\w+)"', text)


def shape(letters):
    """The shape that `[B, H, W, C]` stands for; `...` is two batch axes."""
    names = letters.strip("[]").replace("...", "B, 2").split(", ")
    return tuple(SIZES.get(one) or int(one) for one in names if one)


def rules(name):
    """The shapes of the arguments and of the results, for each rule of the table."""
    for rule in conventions(name)["shape"].split("; "):
        if "→" in rule:
            yield [
                [shape(one) for one in code(side) if one.startswith("[")]
                for side in rule.split("→")
            ]


def arrays(name, seed=0):
    """Random arguments of the shapes in the table."""
    draw = np.random.default_rng(seed)
    return [jnp.asarray(draw.random(s, np.float32)) for s in next(rules(name))[0]]


def call(name, *given, **options):
    """The results of a function, as a list."""
    given = (given,) if name in TAKES_A_TUPLE else given
    given = (given[0].astype(bool),) if name in TAKES_A_MASK else given
    return jax.tree.leaves(PUBLIC[name](*given, **options))


def types(name, *given, **options):
    """The shapes and dtypes of the results, without computing them."""
    return jax.eval_shape(functools.partial(call, name, **options), *given)


def weighted(name, *given, **options):
    """A sum of all results, with different weights."""
    total = 0
    for part in call(name, *given, **options):
        total += jnp.vdot(jnp.arange(1.0, part.size + 1), part)
    return total


def close(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@each_function
def test_every_function_has_a_page(name):
    module, _, function = f"jax_imgrad.{name}".rpartition(".")
    page = (REFERENCE / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert f".. currentmodule:: {module}\n.. autofunction:: {function}\n" in page
    assert [*conventions(name)] == ROWS
    assert "\n## See also\n\n- [" in page


def test_the_index_has_every_page():
    index = (REFERENCE / "index.md").read_text()
    tree = index.split("```{toctree}\n:hidden:\n\n")[1].split("\n```")[0].splitlines()
    pages = {path.stem for path in REFERENCE.glob("*.md")} - {"index"}
    assert pages == {*PUBLIC, "Kernel", "operators", "losses", "typing"}
    assert sorted(tree) == sorted(pages)
    for name in PUBLIC:
        assert f"\n| [`{name}`]({name}.md) | " in index


def test_the_page_on_types_has_every_type_and_value():
    page = (REFERENCE / "typing.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert sorted(rows) == jig.typing.__all__
    for name, meaning in rows.items():
        values = get_args(getattr(jig.typing, name))
        if name == "Operator":
            names, gaussian, in_spacing, _ = values
            others = [get_args(gaussian)[0], get_args(in_spacing)[2]]
            values = [value for some in (names, *others) for value in get_args(some)]
        if all(isinstance(value, str) for value in values):
            assert in_quotes(meaning) == [*values]


@each_function
def test_names_of_the_results(name):
    names = code(conventions(name)["order of results"])[0].strip("()").split(", ")
    assert len(types(name, *arrays(name))) == len(names)


# Derivatives of 2 y + 3 x, second ones of y² + 3 x y + 5/2 x², products of the first.
NAMED = {"dy": 2, "dx": 3, "dyy": 2, "dyx": 3, "dxx": 5, "Jyy": 4, "Jyx": 6, "Jxx": 9}


@functions(lambda name: re.search("d[yx]|J", conventions(name)["order of results"]))
def test_order_of_the_results(name):
    y, x = jnp.indices((21, 21), "float32")[:, None, :, :, None]
    second = name == "second_derivatives"
    image = y**2 + 3 * x * y + 5 / 2 * x**2 if second else 2 * y + 3 * x
    row = conventions(name)["order of results"].partition(";")[0]
    expected = [NAMED[one] for one in re.findall(r"\b[dJ][yx]{1,2}\b", row)]
    ours = jnp.stack([part[0, 10, 10, 0] for part in call(name, image)]).ravel()
    scale = 8 if name == "sobel_edges" else 1
    np.testing.assert_allclose(ours, scale * jnp.asarray(expected), rtol=1e-5)


# What the table says of which arguments a loss is 0.
ZERO_FOR = {
    "a constant image": lambda image: [0 * image + 0.3],
    "a constant field": lambda field, *guide: [0 * field + 0.3, *guide],
    "equal images": lambda p, t: [p, p],
    "images that differ by a constant": lambda p, t: [p, p + 1],
}


@functions(lambda name: conventions(name)["sign"].startswith("at least 0"))
def test_signs(name):
    assert all((part >= 0).all() for part in call(name, *arrays(name)))
    for arguments in re.findall("0 for ([^;]*)", conventions(name)["sign"]):
        (ours,) = call(name, *ZERO_FOR[arguments](*arrays(name)))
        np.testing.assert_allclose(ours, 0, atol=1e-6)


@functions(lambda name: "gives `" in conventions(name)["scale"])
def test_scales_of_operators(name):
    """The last result for a ramp along the columns, or for half its square."""
    row = conventions(name)["scale"]
    image = jnp.broadcast_to(jnp.arange(13.0)[:, None], (1, 13, 13, 1))
    if "x²/2" in row:
        image = image**2 / 2
    given = [0 * image, image] if name in TAKES_A_TUPLE else [image]
    center = call(name, *given)[-1][0, 6, 6, 0].reshape(-1)[-1]
    (expected,) = re.findall(r"gives `(\d)`", row)
    np.testing.assert_allclose(center, int(expected), rtol=1e-5)


@functions(lambda name: "multiplied by c" in conventions(name)["scale"])
def test_scales_of_losses(name):
    """The result for arrays, and for the same arrays multiplied by 4."""
    row = conventions(name)["scale"]
    before = arrays(name)
    multiplied = 1 if re.search("a field|predictions multiplied", row) else len(before)
    after = [4 * one for one in before[:multiplied]] + before[multiplied:]
    options = {"delta": 4e-3} if "images and `delta`" in row else {}
    factor = 1 / 4 if "divide s" in row else 16 if "by `c²`" in row else 4
    factor = 1 if "by c do not change the result" in row else factor
    if "`constant` by c² do not change" in row:
        options, factor = {"constant": 16 * 170 / 255**2}, 1
    close(call(name, *after, **options)[:1], [factor * call(name, *before)[0]])


def test_every_table_has_a_scale_that_is_tested():
    for name in PUBLIC:
        row = conventions(name)["scale"]
        assert "gives `" in row or "multiplied by c" in row


@functions(lambda name: "boundary" in OPTIONS[name])
def test_boundaries(name):
    row, default = conventions(name)["boundary"], OPTIONS[name]["boundary"].default
    assert f'`boundary="{default}"`' in row
    assert {*in_quotes(row)} == {*get_args(Boundary)}


def differences(image, boundary, **options):
    return jnp.stack(jig.spatial_gradient(image, boundary=boundary, **options))


def means(absolute):
    """The mean over each image, added over the axes of differentiation."""
    return absolute.mean((-3, -2, -1)).sum(0)


# Functions with a fixed boundary condition, and losses, by way of an operator.
FIXED = {
    "image_gradients": lambda b, x: differences(x, b),
    "sobel_edges": lambda b, x: [
        jnp.moveaxis(differences(x, b, operator="sobel", scale="raw"), 0, -1)
    ],
    "total_variation": lambda b, x: [abs(differences(x, b)).sum((0, 2, 3, 4))],
    "losses.total_variation": lambda b, x: [means(abs(differences(x, b)))],
    "losses.gradient_difference": lambda b, p, t: [
        means(abs(abs(differences(p, b)) - abs(differences(t, b))))
    ],
    "losses.gradient_matching": lambda b, p, t: [
        sum(means(abs(differences((p - t)[:, ::k, ::k], b))) for k in (1, 2, 4, 8))
    ],
}


@functions(FIXED.__contains__)
def test_fixed_and_default_boundaries(name):
    boundary, *others = in_quotes(conventions(name)["boundary"])
    assert bool(others) == ("boundary" in OPTIONS[name])
    given = arrays(name)
    close(call(name, *given), FIXED[name](boundary, *given))


@each_function
def test_shapes(name):
    for given, expected in rules(name):
        results = types(name, *map(jnp.ones, given))
        assert [part.shape for part in results] == expected
    takes_axes = "with `axes=`" in conventions(name)["shape"]
    assert takes_axes == ("axes" in OPTIONS[name])


@each_of_numbers
def test_dtypes(name):
    row = conventions(name)["dtype"]
    pairs = re.findall(r"`(\w+)` → `(\w+)`", row)
    assert {"float32", "bfloat16", "uint8"} <= {given for given, _ in pairs}
    for given, expected in pairs:
        results = types(name, *(one.astype(given) for one in arrays(name)))
        assert {part.dtype for part in results} == {jnp.dtype(expected)}, given
    assert ("`dtype=`" in row) == ("dtype" in OPTIONS[name])
    if "complex images are refused" in row:
        with pytest.raises(TypeError, match="must be real"):
            call(name, *(one.astype("complex64") for one in arrays(name)))
    else:
        assert "complex64" in row


@each_of_numbers
def test_masks(name):
    row = conventions(name)["mask"]
    assert row.startswith("`where=`: ") == ("where" in OPTIONS[name])
    if "where" not in OPTIONS[name]:
        assert row.startswith("none")
        return
    given = arrays(name)
    valid = jnp.ones(given[0].shape, bool).at[..., 2, 3, :].set(False)
    given[0] = jnp.where(valid, given[0], jnp.nan)
    function = functools.partial(weighted, name, where=valid)
    value, slopes = jax.value_and_grad(function)(*given)
    assert np.isfinite(value)
    assert np.isfinite(slopes).all()
    if "is 0 unless" in row:
        parts = call(name, *given, where=valid)
        if name == "second_derivatives":
            del parts[1]  # dyx does not read the pixel itself
        assert not any(part[~valid].any() for part in parts)


@each_of_numbers
def test_derivatives_at_zero(name):
    """0 for a constant first argument, or the same everywhere for linear functions."""
    row, (first, *others) = conventions(name)["derivative at zero"], arrays(name)
    if row.startswith("linear: "):
        given, other = [first, *others], arrays(name, seed=1)
        both = [2 * a - b for a, b in zip(given, other, strict=True)]
        parts = zip(call(name, *given), call(name, *other), strict=True)
        close(call(name, *both), [2 * a - b for a, b in parts])
        return
    if "the derivative of their mean" in row:
        slopes = jax.grad(lambda x: sum(map(jnp.sum, call(name, x, *others))))
        both = [jax.jvp(lambda x: call(name, x, 0 * x, 0 * x), (0 * first,), (first,))]
        close(both[0][1], [first / 2] * 2)
        close([slopes(first)], [jnp.ones_like(first)])
        return
    constant = jnp.full_like(first, 0.3)
    if "0 at 0" in row:
        constant, others = 0 * first, [0 * other for other in others]
    if "equal images" in row:
        others = [constant]
    elif "residual" in row:
        others = [constant + 1]
    slopes = jax.grad(functools.partial(weighted, name))(constant, *others)
    np.testing.assert_allclose(slopes, 0, atol=1e-7)


@each_function
def test_reductions(name):
    row = conventions(name)["reduction"]
    if "reduction" in OPTIONS[name]:
        annotation = str(OPTIONS[name]["reduction"].annotation)
        default = OPTIONS[name]["reduction"].default
        others = [r for r in get_args(getattr(jig.typing, annotation)) if r != default]
        assert in_quotes(row) == [default, *others]
        assert row.startswith(f'`reduction="{default}"`: ')
    else:
        per_pixel = next(rules(name))[1][0][:4] == arrays(name)[0].shape[:4]
        assert row.startswith("none: one value for each pixel") == per_pixel


@each_function
def test_a_sharded_batch_needs_no_communication(name):
    claim = "a batch sharded over devices needs no communication"
    assert claim in conventions(name)["sharding"]
    mesh = mesh_of(AxisType.Auto, x=8)
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    given = [jax.device_put(one, sharding) for one in arrays(name)]
    compiled = jax.jit(functools.partial(call, name)).lower(*given).compile()
    assert not collectives(compiled)
    assert not any(part.sharding.is_fully_replicated for part in compiled(*given))


@each_function
def test_implementations(name):
    row = conventions(name)["implementation"]
    if "implementation" not in OPTIONS[name]:
        assert row.startswith("none")
        return

    def is_accepted(implementation):
        try:
            types(name, *arrays(name), implementation=implementation)
        except NotImplementedError:
            return False
        return True

    assert in_quotes(row) == [*filter(is_accepted, get_args(Implementation))]
