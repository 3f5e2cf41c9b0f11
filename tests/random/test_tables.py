"""Every source holds what the Parquet files hold, read by the source's own client."""

from __future__ import annotations

import sqlite3
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tests.mariadb import MariaDBServer
from tests.random.tables import TABLES, make_tables
from tests.tpc.loaders import load_mariadb, load_postgres, load_sqlite


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_tables(tmp_path_factory.mktemp("random"), 7)


def _truth(path: Path) -> Counter[tuple[Any, ...]]:
    with duckdb.connect() as con:
        return Counter(con.execute(f"FROM '{path}'").fetchall())


@pytest.mark.postgres
def test_postgres_holds_the_same_rows(paths: dict[str, Path], postgres_uri: str) -> None:
    load_postgres(postgres_uri, paths, schema="held")
    with psycopg.connect(postgres_uri) as server:
        for name, path in paths.items():
            assert Counter(server.execute(f"SELECT * FROM held.{name}".encode()).fetchall()) == _truth(path)


@pytest.mark.mariadb
def test_mariadb_holds_the_same_rows(paths: dict[str, Path], mariadb_server: MariaDBServer) -> None:
    load_mariadb(mariadb_server, "held", paths, collations={("people", "name"): "utf8mb4_bin"})
    for name, path in paths.items():
        rows = Counter(mariadb_server.execute(f"SELECT * FROM {name}", "held"))
        assert rows == _truth(path)


def test_sqlite_holds_the_same_rows_in_its_own_types(paths: dict[str, Path], tmp_path: Path) -> None:
    load_sqlite(tmp_path / "t.sqlite", paths)
    with sqlite3.connect(tmp_path / "t.sqlite") as file:
        for name, path in paths.items():
            rows = Counter(file.execute(f"SELECT * FROM {name}").fetchall())
            assert rows == Counter(tuple(map(_as_sqlite, row)) for row in _truth(path).elements())
    file.close()


def _as_sqlite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat(*[" "] * hasattr(value, "hour")) if hasattr(value, "isoformat") else value


def test_the_same_seed_makes_the_same_rows(paths: dict[str, Path], tmp_path: Path) -> None:
    again = make_tables(tmp_path, 7)
    assert all(_truth(again[name]) == _truth(paths[name]) for name in TABLES)
