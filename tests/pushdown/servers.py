"""The table of trials on the real servers, and beside each a plain DuckDB with the same values."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tauro_nb import VirtualContext
from tests.mariadb import MariaDBServer
from tests.pushdown.columns import COLUMNS, Column, rows
from tests.servers import PostgresServer

__all__ = ["on_mysql", "on_postgres", "on_sqlite"]

Opened = tuple[VirtualContext, duckdb.DuckDBPyConnection]


@contextlib.contextmanager
def on_postgres(server: PostgresServer) -> Iterator[Opened]:
    """PostgreSQL."""
    columns, name = COLUMNS["postgres"], server.create_database()
    with psycopg.connect(server.uri(name), autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t ({_definitions(columns)})".encode())
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO t VALUES ({_marks(columns, '%s')})".encode(), rows(columns))
    with _opened("postgresql", server.uri(name), columns) as opened:
        yield opened
    server.drop_database(name)


@contextlib.contextmanager
def on_mysql(server: MariaDBServer) -> Iterator[Opened]:
    """MariaDB."""
    columns, name = COLUMNS["mysql"], server.create_database()
    with server.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE t ({_definitions(columns)})")
        cursor.executemany(f"INSERT INTO t VALUES ({_marks(columns, '%s')})", rows(columns))
    with _opened("mysql", server.uri(name), columns) as opened:
        yield opened
    server.drop_database(name)


@contextlib.contextmanager
def on_sqlite(folder: Path) -> Iterator[Opened]:
    """SQLite, which is given its dates as text."""
    columns, path = COLUMNS["sqlite"], folder / "t.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE t ({_definitions(columns)})")
        written = ([str(value) if isinstance(value, dt.date) else value for value in row] for row in rows(columns))
        connection.executemany(f"INSERT INTO t VALUES ({_marks(columns, '?')})", written)
        connection.commit()
    with _opened("sqlite", {"type": "sqlite", "path": str(path)}, columns) as opened:
        yield opened


def _definitions(columns: tuple[Column, ...]) -> str:
    return ", ".join(["n integer", *(f"{column.name}_{side} {column.ddl}" for column in columns for side in "ab")])


def _marks(columns: tuple[Column, ...], mark: str) -> str:
    return ", ".join([mark] * (1 + 2 * len(columns)))


@contextlib.contextmanager
def _opened(connector: str, connection: str | Mapping[str, Any], columns: tuple[Column, ...]) -> Iterator[Opened]:
    table = {"connector_type": connector, "connection": "c", "table": "t"}
    config = {"connections": {"c": connection}, "virtual_tables": {"t": table}}
    with VirtualContext(config) as ctx, duckdb.connect(config={"threads": 1}) as plain:
        plain.execute("SET TimeZone = 'UTC'")
        number = "BIGINT" if connector == "sqlite" else "INTEGER"
        kinds = [f"n {number}", *(f"{column.name}_{side} {column.type}" for column in columns for side in "ab")]
        plain.execute(f"CREATE TABLE t ({', '.join(kinds)})")
        plain.executemany(f"INSERT INTO t VALUES ({_marks(columns, '?')})", rows(columns))
        yield ctx, plain
