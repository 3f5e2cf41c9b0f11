"""Put tables into real sources, by roads that share no code with the product's own readers."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from psycopg import sql

from tests.mariadb import MariaDBServer

__all__ = ["Columns", "describe", "load_duckdb", "load_mariadb", "load_postgres", "load_sqlite"]

Columns = dict[str, str]

_POSTGRES = {
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "BOOLEAN": "boolean",
}

# What a person would write in SQLite's CREATE TABLE. A DECIMAL column has NUMERIC affinity there: SQLite keeps its
# values as INTEGER or REAL, and only the schema that the virtual table declares makes decimals of them again.
_SQLITE = {
    "TINYINT": "INTEGER",
    "SMALLINT": "INTEGER",
    "INTEGER": "INTEGER",
    "BIGINT": "BIGINT",
    "FLOAT": "REAL",
    "DOUBLE": "DOUBLE",
    "VARCHAR": "TEXT",
    "DATE": "DATE",
    "TIME": "TEXT",
    "TIMESTAMP": "TIMESTAMP",
    "BOOLEAN": "BOOLEAN",
}

_MARIADB = {**_POSTGRES, "FLOAT": "float", "VARCHAR": "varchar(200)", "TIMESTAMP": "datetime(6)"}

_SQLITE_VALUES: dict[type, Any] = {Decimal: float, date: date.isoformat, datetime: lambda value: value.isoformat(" ")}


def describe(con: duckdb.DuckDBPyConnection, relation: str) -> Columns:
    """Name and DuckDB type of each column of a table or of a quoted file."""
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM {relation}").fetchall()}


def load_postgres(
    uri: str,
    paths: Mapping[str, Path],
    *,
    schema: str = "public",
    keys: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> None:
    """Create each Parquet file's table in PostgreSQL and COPY its rows in; `keys` lists columns to index."""
    con = duckdb.connect()
    with psycopg.connect(uri, autocommit=True) as server:
        server.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        for name, path in paths.items():
            table = sql.Identifier(schema, name)
            columns = describe(con, f"'{path}'")
            server.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
            server.execute(sql.SQL("CREATE TABLE {} ({})").format(table, _postgres_columns(columns)))
            _copy(server, table, path)
            for key in (keys or {}).get(name, ()):
                listed = sql.SQL(", ").join(map(sql.Identifier, key))
                server.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table, listed))
            # Our server, our tables: fresh statistics make runs repeatable.
            server.execute(sql.SQL("VACUUM (ANALYZE) {}").format(table))


def _postgres_columns(columns: Columns) -> sql.Composable:
    parts = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_postgres(kind))) for name, kind in columns.items()]
    return sql.SQL(", ").join(parts)


def _postgres(kind: str) -> str:
    return kind.replace("DECIMAL", "numeric") if kind.startswith("DECIMAL") else _POSTGRES[kind]


def _copy(server: psycopg.Connection[Any], table: sql.Identifier, source: Path) -> None:
    """COPY as CSV where every value is quoted and only NULL is not: exact for decimals and empty strings."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        text = Path(folder) / "rows.csv"
        con.execute(f"COPY (FROM '{source}') TO '{text}' (FORMAT csv, HEADER false, FORCE_QUOTE *, NULLSTR '')")
        with text.open("rb") as rows, server.cursor() as cursor, cursor.copy(statement) as copy:
            while chunk := rows.read(1 << 20):
                copy.write(chunk)


def _fetch(rows: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := rows.fetchmany(20_000):
        yield from batch


def load_sqlite(
    path: Path, paths: Mapping[str, Path], *, collations: Mapping[tuple[str, str], str] | None = None
) -> None:
    """Create each Parquet file's table in an SQLite file."""
    con = duckdb.connect()
    collations = collations or {}
    with sqlite3.connect(path) as file:
        for name, source in paths.items():
            columns = describe(con, f"'{source}'")
            body = ", ".join(
                f'"{column}" {_sqlite(kind)} COLLATE {collations.get((name, column), "BINARY")}'
                for column, kind in columns.items()
            )
            file.execute(f'DROP TABLE IF EXISTS "{name}"')
            file.execute(f'CREATE TABLE "{name}" ({body})')
            marks = ", ".join("?" * len(columns))
            rows = map(_sqlite_row, _fetch(con.execute(f"FROM '{source}'")))
            file.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
    file.close()


def _sqlite(kind: str) -> str:
    return kind if re.match(r"DECIMAL\(", kind) else _SQLITE[kind]


def _sqlite_row(row: Iterable[Any]) -> list[Any]:
    return [_SQLITE_VALUES[type(value)](value) if type(value) in _SQLITE_VALUES else value for value in row]


def load_duckdb(path: Path, paths: Mapping[str, Path]) -> None:
    """Create each Parquet file's table in a DuckDB file."""
    with duckdb.connect(str(path)) as con:
        for name, source in paths.items():
            con.execute(f"CREATE OR REPLACE TABLE \"{name}\" AS FROM '{source}'")


def load_mariadb(
    server: MariaDBServer,
    database: str,
    paths: Mapping[str, Path],
    *,
    collations: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Create each Parquet file's table in a MariaDB database; text has the server's own collation if no other."""
    collations = collations or {}
    server.execute(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    with duckdb.connect() as con, server.connect(database) as connection, connection.cursor() as cursor:
        for name, source in paths.items():
            columns = describe(con, f"'{source}'")
            body = ", ".join(
                f"`{column}` {_mariadb(kind)}{_collated(collations.get((name, column)))}"
                for column, kind in columns.items()
            )
            cursor.execute(f"CREATE OR REPLACE TABLE `{name}` ({body}) CHARACTER SET utf8mb4")
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO `{name}` VALUES ({marks})", con.execute(f"FROM '{source}'").fetchall())
            cursor.execute(f"ANALYZE TABLE `{name}`")


def _mariadb(kind: str) -> str:
    return kind.lower() if kind.startswith("DECIMAL") else _MARIADB[kind]


def _collated(collation: str | None) -> str:
    return f" COLLATE {collation}" if collation else ""
