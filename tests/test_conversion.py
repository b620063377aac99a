"""The tables in docs/from/: our expressions give the results of other libraries."""

import importlib.util
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operator_answers import record, rows, table

import jax_imgrad as jig

ROWS = [(name, row) for name, library in rows.LIBRARIES.items() for row in library.rows]
each_library = pytest.mark.parametrize("name", rows.LIBRARIES)
OURS = {"jig": jig, "jax": jax, "jnp": jnp, **table.arrays()}


def assert_equal(ours, theirs):
    """Compares results by name, at every pixel."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        limit = 1e-12 if expected.dtype == "float64" else 1e-6
        close = {"rtol": limit, "atol": limit}
        assert ours[name].dtype == expected.dtype
        assert ours[name].shape == expected.shape
        np.testing.assert_allclose(ours[name], expected, **close)
        assert np.abs(expected).max() > 0.1, "the results are not just zeros"


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[row.theirs for _, row in ROWS])
def test_ours_equal_theirs(name, row):
    ours = record.evaluate(row.ours, dict(OURS))
    assert_equal(ours, record.load(name)[1][row.theirs])


@each_library
def test_the_recorded_answers_are_those_of_the_rows(name):
    asked = [row.theirs for row in rows.LIBRARIES[name].rows]
    assert list(record.load(name)[1]) == asked


@each_library
def test_installed_libraries_give_the_recorded_answers(name):
    library = rows.LIBRARIES[name]
    if importlib.util.find_spec(library.package) is None:
        pytest.skip(f"{library.title} is not installed; see its recorded answers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside of the libraries
        names = record.scope(library)
        for row in library.rows:
            answers = record.evaluate(row.theirs, names)
            assert_equal(answers, record.load(name)[1][row.theirs])


@pytest.mark.parametrize(
    "row",
    [row for row in rows.LIBRARIES["numpy"].rows if "edge_order" not in row.theirs],
    ids=lambda row: row.theirs,
)
def test_jax_numpy_gives_the_answers_of_numpy(row):
    """But `jax.numpy.gradient` has no `edge_order`."""
    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(array) for name, array in table.arrays().items()}
        answers = record.evaluate(row.theirs, {"np": jnp, **arrays})
    assert_equal(answers, record.load("numpy")[1][row.theirs])


PAGES = sorted(record.PAGES.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_are_written_from_the_rows(page):
    text = page.read_text(encoding="utf-8")
    assert text == record.with_tables(text)


def test_the_lines_of_the_first_page_are_those_of_the_tables():
    every = [row for library in rows.LIBRARIES.values() for row in library.rows]
    index = (record.PAGES / "index.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| .* \| (\[.*) \| `(.*)` \|$", index, re.MULTILINE)
    assert len(lines) == len(PAGES) - 1
    for _, line in lines:
        named = {re.sub(r"\bimages?\b", name, line) for name in table.arrays()}
        assert any(row.ours in named for row in every), line


def test_every_library_has_a_table():
    names = [m[1] for page in PAGES for m in record.TABLE.finditer(page.read_text())]
    assert sorted(names) == sorted([*rows.LIBRARIES, "boundaries"])
