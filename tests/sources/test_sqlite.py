"""DuckDB fails where it copies a plan with its SQLite scanner in it, and where a stream is scanned twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tauro_nb import VirtualContext

TWICE = "WITH w AS (SELECT (SELECT min(city) FROM visits) AS c FROM cities) SELECT a.c FROM w a JOIN w b ON a.c = b.c"


@pytest.mark.parametrize("limits", [None, {"max_bytes": "10MB"}])
@pytest.mark.parametrize("cut", ["LIMIT 5", "LIMIT 5 OFFSET 2", ""])
def test_a_with_that_is_read_twice(tmp_path: Path, cut: str, limits: dict[str, str] | None) -> None:
    path = tmp_path / "lite.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE visits (city TEXT)")
        connection.execute("CREATE TABLE cities (city TEXT)")
        connection.executemany("INSERT INTO visits VALUES (?)", [("Oslo",), ("Bonn",)])
        connection.executemany("INSERT INTO cities VALUES (?)", [("Oslo",), ("Bonn",), ("Rome",)])
    table = {"connector_type": "sqlite", "connection": "lite"}
    config = {
        "connections": {"lite": {"type": "sqlite", "path": str(path)}},
        "virtual_tables": {name: {**table, "table": name} for name in ("visits", "cities")},
        **({} if limits is None else {"limits": limits}),
    }
    with VirtualContext(config) as ctx:
        wanted = {"": 9, "LIMIT 5": 5, "LIMIT 5 OFFSET 2": 5}[cut]
        assert ctx.query(f"{TWICE} {cut}").rows() == [{"c": "Bonn"}] * wanted
