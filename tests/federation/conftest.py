"""Large tables at sources that can be asked, small ones in files, and the same data in one plain DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.sources.extension import load_extension
from tests.servers import PostgresServer

ITEMS = """
    SELECT i AS id, CASE WHEN i % 97 = 0 THEN NULL ELSE i // 4 END::BIGINT AS order_id, (i % 50)::INTEGER AS quantity,
           'sku ' || (i % 500) AS sku, DATE '2020-01-01' + (i % 1000)::INTEGER AS shipped,
           ((i % 3000) * 0.25)::DECIMAL(10,2) AS price
    FROM range(200_000) t(i)
"""
NOTES = """
    SELECT i // 2 AS order_id, CASE WHEN i % 5 = 0 THEN NULL ELSE 'note ' || i END AS text
    FROM range(100_000) t(i)
"""
# Duplicates, NULL and a key nobody has; text that a careless array would break on.
ORDERS = """
    SELECT * FROM (VALUES
        (1, 10, 'sku 40', DATE '2020-01-05', 1.25, 'a'), (2, 10, 'sku 41', DATE '2020-01-06', 2.50, 'b'),
        (3, NULL, NULL, NULL, NULL, 'c'), (4, 2000, '{sku "4''2\\}', DATE '2021-02-03', 700.25, 'd'),
        (5, 9_999_999, 'nobody', DATE '1999-12-31', -1, 'e'), (6, 77, 'sku 77', DATE '2020-03-18', 77, 'f')
    ) t(pk, order_id, sku, day, price, kind)
"""


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[dict[str, Any]]:
    """Connections and tables: `items` and `notes` in PostgreSQL, `orders` in Parquet, `lite` as `items` in SQLite."""
    folder: Path = tmp_path_factory.mktemp("federation")
    name = postgres_server.create_database()
    uri = postgres_server.uri(name)
    with duckdb.connect() as made:
        load_extension(made, "postgres_scanner")
        load_extension(made, "sqlite_scanner")
        made.execute(f"COPY ({ORDERS}) TO '{folder / 'orders.parquet'}'")
        made.execute(f"ATTACH '{uri}' AS pg (TYPE postgres)")
        made.execute(f"ATTACH '{folder / 'lite.sqlite'}' AS lite (TYPE sqlite)")
        for place in ("pg.public.items", "lite.items"):
            made.execute(f"CREATE TABLE {place} AS {ITEMS}")
        made.execute(f"CREATE TABLE pg.public.notes AS {NOTES}")
    postgres_server.execute("CREATE INDEX ON items (order_id)", name)
    postgres_server.execute("CREATE INDEX ON notes (order_id)", name)
    postgres_server.execute("ANALYZE", name)
    postgres_server.execute(f"ALTER DATABASE \"{name}\" SET log_statement = 'all'")
    yield {
        "connections": {
            "pg": {"type": "postgresql", "uri": uri},
            "lite": {"type": "sqlite", "path": str(folder / "lite.sqlite")},
        },
        "virtual_tables": {
            "items": {"connector_type": "postgresql", "connection": "pg", "table": "items"},
            "notes": {"connector_type": "postgresql", "connection": "pg", "table": "notes"},
            "lite": {"connector_type": "sqlite", "connection": "lite", "table": "items"},
            "orders": {"connector_type": "parquet", "path": str(folder / "orders.parquet")},
        },
    }
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def context(places: dict[str, Any]) -> Iterator[VirtualContext]:
    with VirtualContext(places) as ctx:
        yield ctx


@pytest.fixture(scope="session")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    """The same rows in plain DuckDB, which says what is right."""
    with duckdb.connect() as connection:
        for name, query in (("items", ITEMS), ("lite", ITEMS), ("notes", NOTES), ("orders", ORDERS)):
            connection.execute(f"CREATE TABLE {name} AS {query}")
        yield connection
