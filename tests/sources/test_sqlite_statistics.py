"""Statistics of SQLite files are what ANALYZE left in them, and their indexes; nothing is written to a file."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tauro_nb import VirtualContext

SCHEMA = """
CREATE TABLE visits (id INTEGER PRIMARY KEY, city TEXT, guest INTEGER, day INTEGER, code TEXT UNIQUE, folded TEXT);
CREATE INDEX by_city ON visits (city, day);
CREATE INDEX some_guests ON visits (guest) WHERE guest < 10;
CREATE INDEX by_folded ON visits (folded COLLATE NOCASE);
CREATE INDEX by_half ON visits (day / 2);
CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE VIEW seen AS SELECT * FROM visits;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lite.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.executescript(SCHEMA)
        rows = ((i, f"city {i % 40}", i % 500, i % 7, f"c{i}", f"F{i % 20}") for i in range(10_000))
        made.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?)", rows)
        made.executemany("INSERT INTO pairs VALUES (?, ?)", ((i % 100, i) for i in range(1_000)))
    return path


def _analyze(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("ANALYZE")


@pytest.fixture
def context(path: Path) -> Iterator[VirtualContext]:
    table = {"connector_type": "sqlite", "connection": "lite"}
    tables = {name: {**table, "table": name} for name in ("visits", "pairs", "seen")}
    with VirtualContext(
        {"connections": {"lite": {"type": "sqlite", "path": str(path)}}, "virtual_tables": tables}
    ) as ctx:
        yield ctx


def _known(context: VirtualContext, table: str) -> tuple[int | None, dict[str, tuple[int | None, bool | None]]]:
    context.plan(f"SELECT * FROM {table}")
    known = context.schema_registry.get_table_statistics(table)
    assert known is not None
    assert known.source == "sqlite_stat1"
    return known.row_count, {name: (facts.distinct_count, facts.indexed) for name, facts in known.columns.items()}


def test_what_analyze_left(path: Path, context: VirtualContext) -> None:
    _analyze(path)
    before = hashlib.sha256(path.read_bytes()).digest()
    assert _known(context, "visits") == (
        10_000,
        {
            "id": (10_000, True),
            "city": (40, True),
            "guest": (None, False),  # the index knows only some rows
            "day": (None, False),
            "code": (10_000, True),
            "folded": (None, False),  # its index takes letters for equal that are not
        },
    )
    assert _known(context, "pairs") == (1_000, {"a": (100, True), "b": (None, False)})
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["lite.sqlite"]


def test_without_analyze_indexes_are_known(context: VirtualContext) -> None:
    rows, columns = _known(context, "visits")
    assert rows is None
    assert columns["city"] == (None, True)
    assert columns["guest"] == (None, False)


def test_a_view_has_none(path: Path, context: VirtualContext) -> None:
    _analyze(path)
    assert _known(context, "seen") == (None, {})


def test_an_equality_is_estimated_by_it(path: Path, context: VirtualContext) -> None:
    _analyze(path)
    plan = context.plan("SELECT id FROM visits WHERE city = 'city 3'")
    assert plan.fragments[0].estimated_rows == 250
    assert len(context.query("SELECT id FROM visits WHERE city = 'city 3'").rows()) == 250


def test_a_count_of_other_rows_is_no_count(path: Path, context: VirtualContext) -> None:
    """A partial index alone was analyzed: it says nothing of the table."""
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("ANALYZE some_guests")
    rows, columns = _known(context, "visits")
    assert rows is None
    assert columns["id"] == (None, True)
