"""The committed notebooks are what their builders write."""

from __future__ import annotations

import runpy
from pathlib import Path

import nbformat
import pytest

BUILT = {
    "build_federation.py": "03_federation.ipynb",
    "build_nycflights.py": "02_nycflights.ipynb",
    "build_security.py": "02_security.ipynb",
}


@pytest.mark.parametrize("builder", BUILT)
def test_a_notebook_has_the_cells_of_its_builder(root: Path, monkeypatch: pytest.MonkeyPatch, builder: str) -> None:
    monkeypatch.syspath_prepend(root / "notebooks")
    cells = runpy.run_path(str(root / "notebooks" / builder))["CELLS"]
    committed = nbformat.read(root / "notebooks" / BUILT[builder], as_version=4)
    assert [cell.source for cell in committed.cells] == [source for _, source in cells]
