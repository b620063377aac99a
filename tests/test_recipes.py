"""The recipes are short, show a picture, and link to what a reader needs next.

The build of the site runs their code.
"""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
INDEX = (RECIPES / "index.md").read_text()
PAGES = sorted(set(RECIPES.glob("*.md")) - {RECIPES / "index.md"})
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def cells(page):
    """The tags and the code of each code cell."""
    blocks = r"^```\{code-cell\}[^\n]*\n(.*?)^```$"
    for cell in re.findall(blocks, page, re.MULTILINE | re.DOTALL):
        options = re.match(r"(?:^:.*\n)*", cell, re.MULTILINE)[0]
        yield {*re.findall(r"[\w-]+", options)}, cell.removeprefix(options)


def shown_lines(page):
    code = "".join(code for tags, code in cells(page) if not tags & HIDDEN)
    return [line for line in code.splitlines() if line.strip()]


def links(page):
    return re.findall(r"\]\(([^)#]+)[^)]*\)", page)


def test_every_recipe_is_in_the_table_and_in_the_toctree():
    table, _, toctree = INDEX.partition("```{toctree}")
    names = {page.stem for page in PAGES}
    assert {link.removesuffix(".md") for link in links(table)} == names
    assert {*re.findall(r"^\w+$", toctree, re.MULTILINE)} == names


@each_page
def test_the_code_is_short(page):
    lines = shown_lines(page.read_text())
    assert "import jax_imgrad as jig" in lines
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 78  # the width of a page


@each_page
def test_there_is_a_picture(page):
    drawing = [
        code for tags, code in cells(page.read_text()) if "remove-cell" not in tags
    ]
    assert any(re.search(r"\b(im)?show\(", code) for code in drawing)


@each_page
def test_all_blocks_are_cells_to_execute(page):
    """So no stored output or picture can be out of date."""
    fences = re.findall(r"^```(.*)\n", page.read_text(), re.MULTILINE)
    assert {*fences[::2]} == {"{code-cell} ipython3"}
    assert {*fences[1::2]} == {""}
    assert "![" not in page.read_text()


@each_page
def test_what_can_go_wrong(page):
    (text,) = re.findall(
        r"## What can go wrong\n(.*?)\n## ", page.read_text(), re.DOTALL
    )
    assert 2 <= len(re.findall(r"^- \*\*", text, re.MULTILINE)) <= 4


@each_page
def test_links(page):
    found = links(page.read_text())
    assert any(re.fullmatch(r"\.\./reference/\w[\w.]*\.md", link) for link in found)
    assert any(re.fullmatch(r"\.\./\.\./notebooks/\w+\.ipynb", link) for link in found)
    others = {other.name for other in PAGES} - {page.name}
    assert others & {*found}
