from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = "anywidget duckdb ibis ipywidgets networkx pandas plotly polars psycopg pyarrow sql sqlglot".split()
REPORT = f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
LOAD = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
already = set(sys.modules)
shell.run_line_magic("load_ext", "tauro_nb")
"""


def loaded(code: str, root: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_loads_nothing_heavy(root: Path) -> None:
    assert loaded(f"import sys, tauro_nb\n{REPORT}", root) == []


def test_loading_the_extension_loads_nothing_heavy(root: Path) -> None:
    assert loaded(f"{LOAD}\n{REPORT}", root) == []


def test_loading_the_extension_prints_nothing(root: Path) -> None:
    assert loaded(LOAD, root) == []
