"""What makes a committed notebook honest: it was run, top to bottom, and compares everything it shows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

LARGEST = 200 * 1024
MARKERS = re.compile(r"NBVAL_(IGNORE_OUTPUT|SKIP|RAISES_EXCEPTION)|PYTEST_VALIDATE_IGNORE_OUTPUT")
IGNORING_TAGS = {"nbval-ignore-output", "nbval-skip", "skip-execution"}
ABSOLUTE = re.compile(r"(?<![\w./:])/(?:home|root|Users|tmp|work\w*|var|private)/\w|\b[A-Z]:\\\\Users")
RANDOM = re.compile(r"\bat 0x[0-9a-f]{6,}")


def mistakes(path: Path) -> list[str]:
    """Everything that is not honest about the notebook at `path`."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        *_whole(path, notebook, cells),
        *(f"cell {n}: {text}" for n, cell in enumerate(cells, 1) for text in _cell(cell)),
    ]


def _whole(path: Path, notebook: Any, cells: list[Any]) -> Iterator[str]:
    if path.stat().st_size > LARGEST:
        yield f"larger than {LARGEST // 1024} KB"
    if "widgets" in notebook.metadata:
        yield "stores widget state"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not python3"
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        yield "was not run top to bottom in one go"
    if not cells or not _asserts(cells[-1].source):
        yield "does not end with a cell of asserts"


def _asserts(source: str) -> bool:
    try:
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))
    except SyntaxError:
        return False


def _cell(cell: Any) -> Iterator[str]:
    tags = set(cell.metadata.get("tags", ()))
    if MARKERS.search(cell.source) or tags & IGNORING_TAGS:
        yield "is skipped, or its output is ignored"
    failed = any(output.output_type == "error" for output in cell.outputs)
    if failed and "raises-exception" not in tags:
        yield "failed without the tag raises-exception"
    if not failed and "raises-exception" in tags:
        yield "has the tag raises-exception and did not fail"
    text = cell.source + json.dumps(cell.outputs, ensure_ascii=False)
    if found := ABSOLUTE.search(text):
        yield f"has an absolute path ({found[0]}...)"
    if found := RANDOM.search(text):
        yield f"shows an address in memory ({found[0]})"
