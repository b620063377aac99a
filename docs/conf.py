"""Configuration of the site. CONTRIBUTING.md has the command that builds it."""

import os
from pathlib import Path

import jax_imgrad

DOCS = Path(__file__).parent

project = "jax_imgrad"
author = "The jax_imgrad authors"
project_copyright = author
release = version = jax_imgrad.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_llms_txt",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "jupyter_execute"]
nitpicky = True
default_role = "literal"  # docstrings write `code` in single backticks

# Sphinx reads what is below docs/ alone: it gets a copy of the notebooks.
(DOCS / "notebooks").mkdir(exist_ok=True)
for notebook in (DOCS.parent / "notebooks").glob("*.ipynb"):
    text = notebook.read_text().replace("](../docs/", "](DOCS/")
    text = text.replace("](../", "](../../").replace("](DOCS/", "](../")
    (DOCS / "notebooks" / notebook.name).write_text(text)

# Pages with code cells are executed. Notebooks are shown with their stored outputs; the
# tests run them.
nb_merge_streams = True
nb_execution_mode = "force"
nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_show_tb = True
nb_output_stderr = "error"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(DOCS), os.environ.get("PYTHONPATH", "")]
)  # for pictures.py
os.environ.setdefault("JAX_PLATFORMS", "cpu")

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the section Args of a docstring says more
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Reference", "references_style"), "References"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "sphinx_book_theme"
html_title = "jax_imgrad"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_persistent": [],  # the search is in the sidebar
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}

llms_txt_summary = jax_imgrad.__doc__.strip().partition("\n\n")[0]
llms_txt_code_base_path = str(DOCS.parent)
llms_txt_code_files = [
    "+:../jax_imgrad/_tf_image.py",
    "+:../jax_imgrad/_derivatives.py",
    "+:../jax_imgrad/_features.py",
    "+:../jax_imgrad/_structure_tensor.py",
    "+:../jax_imgrad/_eigen.py",
    "+:../jax_imgrad/_vector_fields.py",
    "+:../jax_imgrad/losses/_*.py",
]


def redirect_notebooks(app, page: str, source: list[str]) -> None:
    """Makes links to ../notebooks/ lead to the copies."""
    source[0] = source[0].replace("../notebooks/", "notebooks/")


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("source-read", redirect_notebooks)
