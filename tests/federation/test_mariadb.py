"""Keys are sent to MariaDB as a list; the answer is that of plain DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tests.mariadb import MariaDBServer

pytestmark = pytest.mark.mariadb

ROWS = 100_000
ITEMS = f"""
    SELECT i AS id, CASE WHEN i % 97 = 0 THEN NULL ELSE i // 4 END::BIGINT AS order_id,
           ((i % 3000) * 0.25)::DECIMAL(10,2) AS price, 'sku ' || (i % 500) AS sku
    FROM range({ROWS}) t(i)
"""
REDUCED = {
    "integer": "SELECT o.pk, i.id, i.sku FROM orders o JOIN items i ON i.order_id = o.order_id",
    "decimal": "SELECT o.pk, i.id FROM orders o LEFT JOIN items i ON i.price = o.price",
    "IN": "SELECT i.id FROM items i WHERE i.order_id IN (SELECT order_id FROM orders)",
    "grouped there": "SELECT o.pk, g.n FROM orders o JOIN "
    "(SELECT order_id, count(*) AS n FROM items GROUP BY order_id) g ON g.order_id = o.order_id",
}


@pytest.fixture(scope="module")
def shop(places: dict[str, Any], mariadb_server: MariaDBServer) -> Iterator[VirtualContext]:
    name = mariadb_server.create_database()
    columns = "id int, order_id bigint, price decimal(10,2), sku varchar(20), KEY (order_id)"
    mariadb_server.execute(f"CREATE TABLE items ({columns})", name)
    mariadb_server.execute(
        "INSERT INTO items SELECT seq, IF(seq % 97 = 0, NULL, seq DIV 4), (seq % 3000) * 0.25, "
        f"CONCAT('sku ', seq % 500) FROM seq_0_to_{ROWS - 1}",
        name,
    )
    # The server counts in the background, some time after an INSERT.
    mariadb_server.execute("ANALYZE TABLE items", name)
    config = {
        "connections": {"shop": {"type": "mysql", "uri": mariadb_server.uri(name)}},
        "virtual_tables": {
            "items": {"connector_type": "mysql", "connection": "shop", "table": "items"},
            "orders": places["virtual_tables"]["orders"],
        },
    }
    with VirtualContext(config) as ctx:
        yield ctx
    mariadb_server.drop_database(name)


@pytest.mark.parametrize("sql", REDUCED.values(), ids=REDUCED)
def test_keys_are_sent(shop: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    with plain.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE items AS {ITEMS}")
        expected = sorted(map(repr, cursor.execute(sql).fetchall()))
    result = shop.query(sql)
    assert sorted(repr(tuple(row.values())) for row in result.rows()) == expected != []
    assert result.stats.keys_shipped > 0


@pytest.mark.parametrize("key", ["1", "n", "1 DESC NULLS FIRST", "2, 1"])
def test_a_number_to_sort_by_is_no_position(shop: VirtualContext, key: str) -> None:
    """Where NULLs go is written with the value itself: ORDER BY 40 would be the fortieth column."""
    rows = shop.query(f"SELECT 40 AS n, id FROM items WHERE id < 3 ORDER BY {key}").rows()
    assert [row["n"] for row in rows] == [40] * 3


def test_text_keys_stay_here(shop: VirtualContext) -> None:
    plan = shop.plan("SELECT o.pk, i.id FROM orders o JOIN items i ON i.sku = o.sku")
    assert not any(fragment.keys for fragment in plan.fragments)


def test_statistics_come_from_its_catalog(shop: VirtualContext, mariadb_server: MariaDBServer) -> None:
    """InnoDB looks at a few pages: what it takes for the number of values may be far off, but it is what is read."""
    query = (
        "SELECT CARDINALITY FROM information_schema.STATISTICS WHERE TABLE_NAME = 'items' AND COLUMN_NAME = 'order_id'"
    )
    estimates = {count for (count,) in mariadb_server.execute(query)}
    shop.plan(REDUCED["integer"])
    known = shop.schema_registry.get_table_statistics("items")
    assert known is not None
    assert known.source == "information_schema"
    assert known.row_count == pytest.approx(ROWS, rel=0.1)
    indexed = known.columns["order_id"]
    assert indexed.indexed
    assert indexed.distinct_count in estimates
    assert known.columns["sku"].indexed is False
    assert known.columns["sku"].distinct_count is None


@pytest.mark.parametrize("hint", ["MATERIALIZED", "NOT MATERIALIZED"])
def test_a_hint_that_the_server_does_not_know(
    shop: VirtualContext, plain: duckdb.DuckDBPyConnection, hint: str
) -> None:
    sql = f"WITH w AS {hint} (SELECT a.id FROM items a JOIN items b ON a.id = b.order_id) SELECT id FROM w WHERE id < 9"
    with plain.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE items AS {ITEMS}")
        expected = sorted(cursor.execute(sql).fetchall())
    result = shop.query(sql)
    assert sorted(tuple(row.values()) for row in result.rows()) == expected
    assert "w" in str(result.plan.fragments[0].scan.sql)
