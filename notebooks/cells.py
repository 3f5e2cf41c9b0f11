"""How notebooks are written: text, code, answers (shown by `make demo`), and cells that must fail."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

__all__ = ["ANSWER", "CODE", "FAILS", "TEXT", "write"]

TEXT, CODE, ANSWER, FAILS = "text", "code", "answer", "fails"


def write(name: str, cells: Iterable[tuple[str, str]]) -> None:
    """Write a notebook beside this file, without outputs, its cells numbered: nothing changes from build to build."""
    made = [_cell(number, kind, source) for number, (kind, source) in enumerate(cells)]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=made, metadata={"kernelspec": kernel}), Path(__file__).with_name(name))


def _cell(number: int, kind: str, source: str) -> nbformat.NotebookNode:
    if kind == TEXT:
        return new_markdown_cell(source, id=f"cell-{number}")
    tags = {ANSWER: ["answer"], FAILS: ["raises-exception"]}.get(kind)
    return new_code_cell(source, id=f"cell-{number}", metadata={"tags": tags} if tags else {})
