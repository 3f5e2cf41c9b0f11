"""The committed notebook is what its builder writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nbformat


def test_the_notebook_has_the_cells_of_its_builder(root: Path) -> None:
    path = root / "notebooks" / "build_nycflights.py"
    spec = importlib.util.spec_from_file_location("build_nycflights", path)
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    committed = nbformat.read(builder.TARGET, as_version=4)
    assert [cell.source for cell in committed.cells] == [source for _, source in builder.CELLS]
