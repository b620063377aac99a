"""The expressions of docs/conversion.md give the results of other libraries."""

import importlib
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operator_answers import record

import jax_imgrad as jig

LINES = [
    (name, row) for name, library in record.LIBRARIES.items() for row in library.rows
]


@pytest.mark.parametrize(("name", "row"), LINES, ids=[row.theirs for _, row in LINES])
def test_ours_equal_theirs(name, row):
    expected = record.load(name)[1][row.theirs]
    with jax.enable_x64(True):
        ours = np.asarray(eval(row.ours, {**record.pixels(), "jig": jig, "jnp": jnp}))
    assert ours.dtype == expected.dtype
    limit = 1e-12 if expected.dtype == "float64" else 1e-6
    np.testing.assert_allclose(ours, expected, rtol=limit, atol=limit, strict=True)
    assert np.abs(expected).max() > 0.1, "the comparison is of nonzero numbers"


@pytest.mark.parametrize("name", record.LIBRARIES)
def test_the_recorded_answers_are_those_of_the_table(name):
    asked = [row.theirs for row in record.LIBRARIES[name].rows]
    assert list(record.load(name)[1]) == asked


@pytest.mark.parametrize("name", record.LIBRARIES)
def test_installed_libraries_give_the_recorded_answers(name):
    library = record.LIBRARIES[name]
    if importlib.util.find_spec(library.version) is None:
        pytest.skip(f"{library.title} is not installed; see its recorded answers")
    names = record.named(library)
    for theirs, expected in record.load(name)[1].items():
        answer = np.asarray(eval(theirs, names))
        np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-12)


def test_the_page_is_generated_from_the_table():
    assert record.PAGE.read_text(encoding="utf-8") == record.page()
