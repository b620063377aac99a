"""What is released: metadata, links, versions and workflows agree."""

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import jax_imgrad as jig

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CITATION = (ROOT / "CITATION.cff").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, HATCH = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]
WORKFLOWS = ROOT / ".github" / "workflows"

# The address in a link or an image, in Markdown or in HTML.
ADDRESS = re.compile(
    r"""(?<=\]\()[^)\s]+ | (?<=src=")[^"]+ | (?<=href=")[^"]+ | (?<=\]:\ )\S+""",
    re.VERBOSE,
)


def readme_on_pypi():
    text = README
    for one in HATCH["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    return text.replace("$HFPR_VERSION", jig.__version__)


def test_links_of_the_readme_are_absolute_on_pypi():
    """They lead to files that exist, at the tag of the version."""
    repository = PROJECT["urls"]["Repository"]
    pages = f"{repository}/blob/v{jig.__version__}/"
    images = repository.replace("//github", "//raw.githubusercontent")
    images += f"/v{jig.__version__}/"
    here, there = ADDRESS.findall(README), ADDRESS.findall(readme_on_pypi())
    assert len(here) == len(there) > 0
    for before, after in zip(here, there, strict=True):
        if not before.startswith("https://"):
            file = Path(before.partition("#")[0])
            assert (ROOT / file).is_file(), before
            is_image = file.suffix in (".gif", ".jpg", ".png", ".svg")
            assert after == (images if is_image else pages) + before
    assert ADDRESS.sub("", README) == ADDRESS.sub("", readme_on_pypi())


def test_the_installed_readme():
    installed = importlib.metadata.distribution("jax-imgrad")
    origin = installed.read_text("direct_url.json") or ""
    if re.search('"editable": *true', origin):
        pytest.skip("an editable install keeps the README of the day it was installed")
    assert installed.metadata.get_payload() == readme_on_pypi()


def test_the_sdist_has_every_file():
    if not (ROOT / ".git").exists():
        pytest.skip("not in a clone")
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    tracked = {f"/{file.split('/')[0]}" for file in files.splitlines()}
    always = {"/.gitignore", "/LICENSE", "/pyproject.toml"}
    assert tracked - always == {*HATCH["build"]["targets"]["sdist"]["include"]}


def test_the_version_is_written_in_few_places():
    """In the package and in CITATION.cff, and in the change log once it is released."""
    (version,) = re.findall(r"^version: (.+)$", CITATION, re.MULTILINE)
    assert version == jig.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d.+)\] - (\S+)$", changes, re.MULTILINE)
    dates = re.findall(r"^date-released: (.+)$", CITATION, re.MULTILINE)
    assert released[:1] == [(version, date) for date in dates]


def test_the_citation_has_the_addresses_of_the_package():
    urls = PROJECT["urls"]
    assert f"\nurl: {urls['Documentation']}\n" in CITATION
    assert f"\nrepository-code: {urls['Repository']}\n" in CITATION


def test_the_oldest_and_the_newest_python_are_tested():
    words = " ".join(PROJECT["classifiers"])
    oldest, *_, newest = re.findall(r"Python :: (3\.\d+)", words)
    assert PROJECT["requires-python"] == f">={oldest}"
    ci = (WORKFLOWS / "ci.yml").read_text()
    assert re.findall(r"^ +(3\.\d+)$", ci, re.MULTILINE) == [oldest, newest]
    assert f"\noldest={oldest}\n" in (ROOT / ".ci" / "run").read_text()


def test_the_page_on_stability_has_the_oldest_supported_versions():
    page = (ROOT / "docs" / "stability.md").read_text()
    rows = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|", page, re.MULTILINE))
    assert PROJECT["requires-python"] == f">={rows.pop('Python')}"
    assert rows.keys() == {"JAX", "NumPy"}
    bounds = {f"{name.lower()}>={version}" for name, version in rows.items()}
    assert bounds <= {*PROJECT["dependencies"]}


def test_the_site_is_built_by_the_command_of_the_guide():
    docs = (WORKFLOWS / "docs.yml").read_text()
    (command,) = re.findall(r"run: (.*sphinx-build.*)", docs)
    assert command in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("tag", ["v1.2.0", "v1.2", "v1.2.0rc1", "v1.2.1", "vv1.2.0"])
def test_a_tag_that_is_not_the_version_is_not_published(tag, tmp_path):
    publish = (WORKFLOWS / "publish.yml").read_text()
    (command,) = re.findall(r"Refuse a tag.*\n +run: (.+)", publish)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "jax_imgrad-1.2.0.tar.gz").touch()
    environment = {"GITHUB_REF_NAME": tag}
    run = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment)
    assert (run.returncode == 0) == (tag == "v1.2.0")
