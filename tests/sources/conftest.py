"""Real sources with a handful of rows each."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tests.servers import PostgresServer

ORDERS = """
    CREATE TABLE orders (id integer, customer integer, amount numeric(10,2), day date, note text);
    INSERT INTO orders VALUES (1, 1, 10.50, '2024-01-01', 'it''s'), (2, 1, 4.50, '2024-02-01', NULL),
                              (3, 2, 7.00, '2024-03-01', 'x');
"""
CLIENTS = """
    CREATE TABLE clients (id INTEGER PRIMARY KEY, name TEXT, score REAL, joined DATE, active BOOLEAN);
    INSERT INTO clients VALUES (1, 'Ana', 0.1, '2024-01-01', 1), (2, 'Bob', 2.5, '2024-05-01', 0);
"""
Open = Callable[[dict[str, Any]], VirtualContext]


@pytest.fixture(scope="session")
def orders_uri(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    for statement in ORDERS.split(";")[:-1]:
        postgres_server.execute(statement, name)
    yield postgres_server.uri(name)
    postgres_server.drop_database(name)


@pytest.fixture
def clients_path(tmp_path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(tmp_path / "crm.sqlite")) as connection:
        connection.executescript(CLIENTS)
    return tmp_path / "crm.sqlite"


@pytest.fixture
def warehouse_path(tmp_path: Path) -> Path:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE TABLE facts AS SELECT i AS id, i * 2 AS v FROM range(5) t(i)")
        connection.execute("CREATE TABLE other AS SELECT 'other' AS id")
    return tmp_path / "w.duckdb"


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens contexts over tables, with whatever connections the configuration names."""
    with contextlib.ExitStack() as stack:
        yield lambda config: stack.enter_context(VirtualContext(config))
