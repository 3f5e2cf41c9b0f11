"""Three small tables at three kinds of sources, and the same data in one plain DuckDB."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import VirtualContext

PEOPLE = [
    (1, "Ana", "ana@example.com", "Sales", "1990-05-01"),
    (2, "Bo", "bo@example.com", "Legal", "1985-01-31"),
    (3, "Çelik", None, "Sales", None),
    (4, None, "d'or@example.com", None, "2001-12-24"),
]
ORDERS = """
    SELECT i AS id, i % 5 AS person_id, (i * 1.25)::DECIMAL(9,2) AS amount, DATE '2024-01-01' + i::INT AS day
    FROM range(40) t(i)
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`people` in SQLite, `orders` in a DuckDB file, `clicks` in partitioned Parquet; `spending` is a view."""
    folder: Path = tmp_path_factory.mktemp("sources")
    with sqlite3.connect(folder / "crm.sqlite") as crm:
        crm.execute(
            "CREATE TABLE people (id INTEGER, name TEXT, email TEXT COLLATE NOCASE, department TEXT, born DATE)"
        )
        crm.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", PEOPLE)
    crm.close()
    with duckdb.connect(str(folder / "warehouse.duckdb")) as warehouse:
        warehouse.execute(f"CREATE TABLE orders AS {ORDERS}")
        clicks = "SELECT i AS id, i % 4 + 1 AS person_id, '/p' || i % 3 AS page, i % 2 AS part FROM range(60) t(i)"
        warehouse.execute(f"COPY ({clicks}) TO '{folder / 'clicks'}' (FORMAT parquet, PARTITION_BY (part))")
    return {
        "connections": {
            "crm": {"type": "sqlite", "path": str(folder / "crm.sqlite")},
            "wh": {"type": "duckdb", "path": str(folder / "warehouse.duckdb")},
        },
        "virtual_tables": {
            "people": {"connector_type": "sqlite", "connection": "crm", "table": "people"},
            "orders": {"connector_type": "duckdb", "connection": "wh", "table": "orders"},
            "clicks": {"connector_type": "parquet", "path": str(folder / "clicks"), "partitions": ["part"]},
            "spending": {
                "query": "SELECT p.name, sum(o.amount) AS total FROM people p JOIN orders o ON o.person_id = p.id "
                "GROUP BY p.name"
            },
        },
        "security_policies": {
            "people": {
                "row_level_filters": {"admin": "", "analyst": "department = 'Sales'", "own": "name = {principal}"},
                "field_policies": {
                    "email": {"masking_enabled": True, "mask": "email", "allowed_roles": ["admin"]},
                    "born": {"access_level": "restricted", "allowed_roles": ["admin"]},
                },
            }
        },
    }


@pytest.fixture(scope="session")
def layer_context(config: dict[str, Any]) -> Iterator[VirtualContext]:
    """The context of `admin`."""
    with VirtualContext(config) as ctx:
        yield ctx


@pytest.fixture
def admin(layer_context: VirtualContext) -> VirtualContext:
    """Sees everything."""
    return layer_context


@pytest.fixture
def analyst(layer_context: VirtualContext) -> VirtualContext:
    """Sees Sales, with masked addresses and without birthdays."""
    return layer_context.as_principal("ana", roles=["analyst"])


@pytest.fixture(scope="session")
def plain(config: dict[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same data in one DuckDB: what answers are measured against."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE people (id BIGINT, name VARCHAR, email VARCHAR, department VARCHAR, born DATE)"
        )
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", PEOPLE)
        connection.execute(f"CREATE TABLE orders AS {ORDERS}")
        folder = config["virtual_tables"]["clicks"]["path"]
        connection.execute(
            f"CREATE TABLE clicks AS FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        )
        connection.execute(f"CREATE VIEW spending AS {config['virtual_tables']['spending']['query']}")
        yield connection
