"""The notebooks run, and are committed as they ran, without local paths."""

import platform
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ABSOLUTE_PATH = re.compile(r"(?<![\w.~<)\]/])/[a-z]\w*/|[A-Z]:\\\\?\w", re.IGNORECASE)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(output):
    """The texts of an output, without its pictures."""
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return output.traceback
    return [text for kind, text in output.data.items() if kind.startswith("text/")]


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_runs(path, tmp_path, monkeypatch):
    # Use this interpreter as the kernel, whatever kernel "python3" is installed.
    write_kernel_spec(tmp_path / "kernels" / "python3")
    monkeypatch.delenv("XLA_FLAGS")  # as for a reader
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("STEPS", "100")  # of training
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()  # raises CellExecutionError at the first cell that fails
    assert notebook.metadata.language_info.version == platform.python_version()
    assert all(cell.execution_count for cell in code_cells(notebook))


@each_notebook
def test_committed_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1)), "run all cells, in order, and save"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/" in kind for o in outputs for kind in o.get("data", {}))
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", f"a warning: {output.text}"
        for text in texts(output):
            assert not ABSOLUTE_PATH.search(text), text
    assert path.stat().st_size < 1.5e6
