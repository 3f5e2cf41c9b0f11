from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST = 600
FOLDERS = ("tauro_nb", "magics", "widgets", "tests", "benchmarks", "notebooks")


def python_files(root: Path) -> list[Path]:
    files = {file.resolve() for folder in FOLDERS for file in (root / folder).rglob("*.py")}
    return sorted(file for file in files if ".ipynb_checkpoints" not in file.parts)


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["rules", "layout"])
def test_ruff_finds_nothing(root: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_short(root: Path) -> None:
    lengths = {file.relative_to(root): len(file.read_text().splitlines()) for file in python_files(root)}
    assert {str(file): length for file, length in lengths.items() if length > LONGEST} == {}


def test_every_ignored_warning_says_why(root: Path) -> None:
    """In pyproject.toml each entry of `filterwarnings` after `error` follows a comment."""
    lines = [line.strip() for line in (root / "pyproject.toml").read_text().splitlines()]
    start = lines.index("filterwarnings = [")
    entries = lines[start + 1 : lines.index("]", start)]
    silent = [
        entry
        for before, entry in itertools.pairwise(entries)
        if not entry.startswith("#") and not before.startswith("#")
    ]
    assert entries[0] == '"error",'
    assert silent == []
