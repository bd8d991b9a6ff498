"""The notebook runs from its first cell to its last, and draws its picture."""

import shutil
from pathlib import Path

import pytest


def test_the_notebook_fits_a_cascade_and_draws_it(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(repo))
    (tmp_path / "bench").symlink_to(repo / "bench")
    notebook = nbformat.read(shutil.copy(repo / "examples" / "cascade.ipynb", tmp_path), as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    last = notebook.cells[-1].outputs[0]
    assert "image/png" in last.data
    assert "accepts" in notebook.cells[3].outputs[0].text
    assert not any(cell.get("outputs") for cell in nbformat.read(repo / "examples" / "cascade.ipynb", 4).cells)
