from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.project.honesty import mistakes

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_committed_notebooks_are_honest(path: Path) -> None:
    assert mistakes(path) == []


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
    assert NOTEBOOKS[0].name == "01_quickstart.ipynb"


def honest() -> Any:
    cells = [
        new_code_cell("1 + 1", execution_count=1, outputs=[new_output("execute_result", {"text/plain": "2"})]),
        new_code_cell(
            "1 / 0",
            execution_count=2,
            outputs=[new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])],
            metadata={"tags": ["raises-exception"]},
        ),
        new_code_cell("assert 1 + 1 == 2", execution_count=3),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def said(notebook: Any, folder: Path) -> list[str]:
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    return mistakes(path)


def test_an_honest_notebook_passes(tmp_path: Path) -> None:
    assert said(honest(), tmp_path) == []


SPOILERS: list[tuple[str, Callable[[Any], Any]]] = [
    ("larger than", lambda nb: nb.cells[0].outputs.append(new_output("stream", text="x" * 210_000))),
    ("widget state", lambda nb: nb.metadata.update(widgets={})),
    ("kernel", lambda nb: nb.metadata.kernelspec.update(name="venv")),
    ("top to bottom", lambda nb: nb.cells[0].update(execution_count=None)),
    ("top to bottom", lambda nb: nb.cells[0].update(execution_count=7)),
    ("does not end with", lambda nb: nb.cells.pop()),
    ("output is ignored", lambda nb: nb.cells[0].update(source="# NBVAL_IGNORE_OUTPUT\n1 + 1")),
    ("output is ignored", lambda nb: nb.cells[0].metadata.update(tags=["nbval-skip"])),
    ("failed without", lambda nb: nb.cells[1].metadata.update(tags=[])),
    ("did not fail", lambda nb: nb.cells[1].update(outputs=[])),
    ("absolute path", lambda nb: nb.cells[0].update(source="open('/home/ana/data.csv')")),
    ("address in memory", lambda nb: nb.cells[0].update(source="# <object at 0x7f3a12345678>")),
]


@pytest.mark.parametrize(("mistake", "spoil"), SPOILERS)
def test_what_is_not_honest_is_found(mistake: str, spoil: Callable[[Any], Any], tmp_path: Path) -> None:
    notebook = honest()
    spoil(notebook)
    found = said(notebook, tmp_path)
    assert len(found) == 1
    assert mistake in found[0]
