"""The notebook runs from a clone, as it stands, without a network."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the development dependencies are not installed")
nbclient = pytest.importorskip("nbclient", reason="the development dependencies are not installed")
pytest.importorskip("ipykernel", reason="the development dependencies are not installed")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
CHEAP = {"ANALYSED_PX": 336, "NANO_PX": (160, 96)}  # every cell runs, on pictures of half the size


def said(cell: Any) -> str:
    """All text that a cell put out."""
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
    )


def made_cheap(notebook: Any) -> None:
    """Set the notebook's parameters, as papermill would: after its own values, those of a quick run."""
    (at,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    for name in CHEAP:
        assert f"{name} = " in notebook.cells[at].source, "a parameter that the notebook no longer has"
    source = "\n".join(f"{name} = {value}" for name, value in CHEAP.items())
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(source))


def test_no_output_is_kept():
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert NOTEBOOK.stat().st_size < 20_000


@pytest.mark.long
def test_it_runs_from_a_clone(tmp_path: Path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copytree(ROOT / "examples" / "collision", tmp_path / "examples" / "collision")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "TMPDIR": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "error,ignore:IProgress not found",  # tqdm's, where ipywidgets is not installed
    }
    notebook = nbformat.read(NOTEBOOK, 4)
    made_cheap(notebook)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    told = "\n".join(map(said, cells))
    assert "red thing stays" in told
    assert "Warning" not in told
    assert "of the run before: segment, scene, reason, regions, quadmask" in told
    assert "intact: it carries Content Credentials" in told
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    painted = find_spec("diffusers") is not None
    assert ("painted in" if painted else "needs the extra void") in told
    assert len(pictures) >= 2 + painted
    assert not (folder / "quickstart.ipynb").exists() and not list(folder.iterdir())
    (results,) = tmp_path.glob("aftermath-*")
    assert (results / "out.mp4").stat().st_size > 10_000
