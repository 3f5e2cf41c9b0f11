"""The tables the suite expects, spread over Parquet files, a DuckDB file, SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg

__all__ = ["BACKENDS", "FOLDER", "PARQUET_TABLES", "TPC", "Prepared", "prepare"]

BACKENDS = ("duckdb", "tauro")
"""Names of the two that are compared."""

FOLDER = "TAURO_IBIS_SUITE_FOLDER"
"""Environment variable with the folder that `prepare` made."""

PARQUET_TABLES = ("astronauts", "awards_players", "batting", "diamonds", "functional_alltypes")
"""Tables that come as Parquet files of those names."""

# Values that the suite's tests compare with (see `ibis.backends.tests.data`).
_NESTED = """
CREATE OR REPLACE TABLE array_types (
  x BIGINT[], y VARCHAR[], z DOUBLE[], grouper VARCHAR, scalar_column DOUBLE, multi_dim BIGINT[][]
);
INSERT INTO array_types VALUES
  ([1, 2, 3], ['a', 'b', 'c'], [1.0, 2.0, 3.0], 'a', 1.0, [[], [1, 2, 3], NULL]),
  ([4, 5], ['d', 'e'], [4.0, 5.0], 'a', 2.0, []),
  ([6, NULL], ['f', NULL], [6.0, NULL], 'a', 3.0, [NULL, [], NULL]),
  ([NULL, 1, NULL], [NULL, 'a', NULL], [], 'b', 4.0, [[1], [2], [], [3, 4, 5]]),
  ([2, NULL, 3], ['b', NULL, 'c'], NULL, 'b', 5.0, NULL),
  ([4, NULL, NULL, 5], ['d', NULL, NULL, 'e'], [4.0, NULL, NULL, 5.0], 'c', 6.0, [[1, 2, 3]]);
CREATE OR REPLACE TABLE struct (abc STRUCT(a DOUBLE, b VARCHAR, c BIGINT));
INSERT INTO struct VALUES
  ({'a': 1.0, 'b': 'banana', 'c': 2}), ({'a': 2.0, 'b': 'apple', 'c': 3}), ({'a': 3.0, 'b': 'orange', 'c': 4}),
  ({'a': NULL, 'b': 'banana', 'c': 2}), ({'a': 2.0, 'b': NULL, 'c': 3}), (NULL), ({'a': 3.0, 'b': 'orange', 'c': NULL});
CREATE OR REPLACE TABLE json_t (rowid BIGINT, js JSON);
INSERT INTO json_t VALUES
  (1, '{"a": [1,2,3,4], "b": 1}'), (2, '{"a":null,"b":2}'), (3, '{"a":"foo", "c":null}'), (4, 'null'),
  (5, '[42,47,55]'), (6, '[]'), (7, '"a"'), (8, '""'), (9, '"b"'), (10, NULL), (11, 'true'), (12, 'false'),
  (13, '42'), (14, '37.37');
CREATE OR REPLACE TABLE win (g VARCHAR, x BIGINT NOT NULL, y BIGINT);
INSERT INTO win VALUES ('a', 0, 3), ('a', 1, 2), ('a', 2, 0), ('a', 3, 1), ('a', 4, 1);
CREATE OR REPLACE TABLE topk (x BIGINT);
INSERT INTO topk VALUES (1), (1), (NULL);
CREATE OR REPLACE TABLE map (idx BIGINT, kv MAP(VARCHAR, BIGINT));
INSERT INTO map VALUES (1, MAP(['a', 'b', 'c'], [1, 2, 3])), (2, MAP(['d', 'e', 'f'], [4, 5, 6]));
"""
_DUCKDB_TABLES = ("array_types", "struct", "json_t", "win", "map")

TPC = {"tpch": "dbgen(sf = 0.02)", "tpcds": "dsdgen(sf = 0.02)"}
"""Generators of the two TPC schemas; tests compare two spellings of a query over the same tables."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder that holds everything: the suite's own layout, our sources, `catalog.json`."""

    folder: Path

    @property
    def data_dir(self) -> Path:
        """What the suite calls its data folder."""
        return self.folder / "data"

    @property
    def catalog(self) -> Path:
        """Our configuration."""
        return self.folder / "catalog.json"


def prepare(parquet: Path, folder: Path, postgres_uri: str, *, with_tpc: bool = True) -> Prepared:
    """Make the tables of both backends below `folder`, from the Parquet files in `parquet`."""
    prepared = Prepared(folder)
    (folder / "schema").mkdir(parents=True)
    # Where DuckDB's own test configuration looks for statements that make the remaining tables.
    (folder / "schema" / "duckdb.sql").write_text(_NESTED, encoding="utf-8")
    prepared.data_dir.mkdir()
    (prepared.data_dir / "parquet").symlink_to(parquet.resolve())
    warehouse = folder / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(_NESTED)
        if with_tpc:
            _export_tpc(connection, prepared.data_dir)
    _load_sqlite(folder / "crm.sqlite", parquet)
    _load_postgres(postgres_uri, parquet)
    prepared.catalog.write_text(json.dumps(_catalog(prepared, postgres_uri), indent=1), encoding="utf-8")
    return prepared


def _export_tpc(connection: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
    """Generate the TPC tables and store them where the suite looks for them."""
    from tauro_nb.sources.extension import load_extension

    for suite, generate in TPC.items():
        load_extension(connection, suite)
        connection.execute(f"CREATE SCHEMA {suite}")
        connection.execute(f"USE {suite}")
        connection.execute(f"CALL {generate}")
        folder = data_dir / suite / "parquet"
        folder.mkdir(parents=True)
        names = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [suite]).fetchall()
        for (name,) in names:
            connection.execute(f"COPY {name} TO '{folder / name}.parquet'")
        connection.execute("USE main")


def _rows(parquet: Path, table: str) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
    relation = duckdb.read_parquet(str(parquet / f"{table}.parquet"))
    kinds = [str(kind) for kind in relation.types]
    return list(zip(relation.columns, kinds, strict=True)), relation.fetchall()


def _load_sqlite(path: Path, parquet: Path) -> None:
    with sqlite3.connect(path) as connection:
        for table in ("awards_players", "batting"):
            columns, rows = _rows(parquet, table)
            inner = ", ".join(f'"{name}" {kind}' for name, kind in columns)
            connection.execute(f"CREATE TABLE {table} ({inner})")
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)
    connection.close()


def _load_postgres(uri: str, parquet: Path) -> None:
    kinds = {"DOUBLE": "double precision", "VARCHAR": "text"}
    with psycopg.connect(uri) as connection, connection.cursor() as cursor:
        for table in ("astronauts", "diamonds"):
            columns, rows = _rows(parquet, table)
            inner = ", ".join(f'"{name}" {kinds.get(kind, kind.lower())}' for name, kind in columns)
            cursor.execute(f"CREATE TABLE {table} ({inner})".encode())
            with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        cursor.execute(b"CREATE TABLE topk (x bigint); INSERT INTO topk VALUES (1), (1), (NULL)")


def _catalog(prepared: Prepared, postgres_uri: str) -> dict[str, Any]:
    tables: dict[str, dict[str, Any]] = {
        "functional_alltypes": _file(prepared.data_dir / "parquet" / "functional_alltypes.parquet"),
        "awards_players": {"connection": "crm"},
        "batting": {"connection": "crm"},
        "astronauts": {"connection": "census"},
        "diamonds": {"connection": "census"},
        "topk": {"connection": "census"},
    }
    tables |= {name: {"connection": "warehouse"} for name in _DUCKDB_TABLES}
    for suite in TPC:
        for path in sorted((prepared.data_dir / suite / "parquet").glob("*.parquet")):
            tables[f"{suite}.{path.stem}"] = _file(path)
    connections = {
        "crm": {"type": "sqlite", "path": str(prepared.folder / "crm.sqlite")},
        "warehouse": {"type": "duckdb", "path": str(prepared.folder / "warehouse.duckdb")},
        "census": {"type": "postgresql", "uri": postgres_uri},
    }
    for name, table in tables.items():
        if "connection" in table:
            table["connector_type"] = connections[table["connection"]]["type"]
            table["table"] = name
    return {"connections": connections, "virtual_tables": tables}


def _file(path: Path) -> dict[str, Any]:
    return {"connector_type": "parquet", "path": str(path)}
