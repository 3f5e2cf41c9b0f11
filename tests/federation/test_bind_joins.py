"""The side of a join with few keys runs first, the other side's source is asked for those, the answer is the same."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError
from tests.servers import PostgresServer

REDUCED = {
    "inner": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id",
    "comma": "SELECT o.pk, i.id FROM orders o, items i WHERE i.order_id = o.order_id AND o.kind <> 'a'",
    "left, its null-supplied side": "SELECT o.pk, i.id FROM orders o LEFT JOIN items i ON i.order_id = o.order_id",
    "right, its null-supplied side": "SELECT o.pk, i.id FROM items i RIGHT JOIN orders o ON i.order_id = o.order_id",
    "a condition beside the key": "SELECT o.pk, i.id FROM orders o LEFT JOIN items i "
    "ON i.order_id = o.order_id AND i.quantity > o.pk",
    "aggregated": "SELECT o.kind, count(*) AS n, sum(i.price) AS p FROM orders o JOIN items i USING (order_id) "
    "GROUP BY 1",
    "text": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.sku = o.sku",
    "date": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.shipped = o.day",
    "decimal": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.price = o.price",
    "two keys": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id AND i.sku = o.sku",
    "grouped at the source": "SELECT o.pk, g.n FROM orders o JOIN "
    "(SELECT order_id, count(*) AS n FROM items GROUP BY order_id) g ON g.order_id = o.order_id",
    "joined at the source": "SELECT o.pk, g.id, g.text FROM orders o JOIN (SELECT i.id, i.order_id, n.text "
    "FROM items i JOIN notes n ON n.order_id = i.order_id) g ON g.order_id = o.order_id",
    "one after the other": "SELECT o.pk, i.id, n.text FROM orders o JOIN items i ON i.order_id = o.order_id "
    "JOIN notes n ON n.order_id = i.order_id",
    "from one source to the next": "SELECT o.pk, i.id, l.quantity FROM orders o "
    "JOIN items i ON i.order_id = o.order_id JOIN lite l ON l.order_id = i.order_id",
    "in every branch of an OR": "SELECT o.pk, i.id FROM orders o, items i WHERE "
    "(i.order_id = o.order_id AND o.pk = 1) OR (i.order_id = o.order_id AND i.quantity > 40)",
    "a parameter": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id WHERE o.pk < $top",
    "SQLite": "SELECT o.pk, i.id FROM orders o JOIN lite i ON i.order_id = o.order_id",
    "SQLite, text": "SELECT o.pk, i.id FROM orders o JOIN lite i ON i.sku = o.sku",
    "IN": "SELECT i.id FROM items i WHERE i.order_id IN (SELECT order_id FROM orders WHERE kind > 'a')",
    "IN, the other way": "SELECT o.pk FROM orders o WHERE o.order_id IN "
    "(SELECT order_id FROM items WHERE quantity > 40)",
    "EXISTS": "SELECT i.id FROM items i WHERE EXISTS (SELECT 1 FROM orders o WHERE o.order_id = i.order_id)",
    "EXISTS, the other way": "SELECT o.pk FROM orders o WHERE EXISTS "
    "(SELECT 1 FROM items i WHERE i.order_id = o.order_id AND i.quantity > o.pk)",
    "NOT EXISTS, the other way": "SELECT o.pk FROM orders o WHERE NOT EXISTS "
    "(SELECT 1 FROM items i WHERE i.order_id = o.order_id AND i.quantity > 40)",
    "a value for each row": "SELECT o.pk, (SELECT max(i.quantity) FROM items i WHERE i.order_id = o.order_id) AS m "
    "FROM orders o",
    "compared with a count": "SELECT o.pk FROM orders o WHERE o.pk >= "
    "(SELECT count(*) FROM items i WHERE i.order_id = o.order_id AND i.quantity < 40)",
    "a value of a join": "SELECT o.pk, (SELECT count(n.text) FROM items i JOIN notes n ON n.order_id = i.order_id "
    "WHERE i.order_id = o.order_id) AS n FROM orders o",
    "inside a CTE": "WITH c AS (SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id) "
    "SELECT a.pk, b.id FROM c a JOIN c b USING (id)",
    "IN, over a join": "SELECT i.id FROM items i WHERE i.order_id IN (SELECT o.order_id FROM orders o "
    "JOIN notes n ON n.order_id = o.order_id)",
    "having": "SELECT i.id FROM items i WHERE i.order_id IN "
    "(SELECT order_id FROM orders GROUP BY order_id HAVING count(*) > 1)",
    "a frame": "SELECT f.k, i.id FROM given f JOIN items i ON i.order_id = f.k",
}
NOT_REDUCED = {
    "left, its preserved side": "SELECT o.pk, i.id FROM items i LEFT JOIN orders o ON i.order_id = o.order_id",
    "full": "SELECT o.pk, i.id FROM items i FULL JOIN orders o ON i.order_id = o.order_id",
    "another comparison": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id < o.pk",
    "computed": "SELECT o.pk, i.id FROM orders o JOIN (SELECT id, order_id + 1 AS next FROM items) i "
    "ON i.next = o.order_id",
    "an aggregate": "SELECT o.pk, i.n FROM orders o JOIN (SELECT quantity, count(*) AS n FROM items GROUP BY 1) i "
    "ON i.n = o.order_id",
    "cut": "SELECT o.pk, i.id FROM orders o JOIN (SELECT id, order_id FROM items ORDER BY id LIMIT 50) i "
    "ON i.order_id = o.order_id",
    "a value by an OR": "SELECT o.pk, (SELECT count(*) FROM items i WHERE i.order_id = o.order_id OR i.id = o.pk) AS n "
    "FROM orders o",
    "a value of all": "SELECT o.pk, (SELECT count(*) FROM items) AS n FROM orders o",
    "NOT IN": "SELECT i.id FROM items i WHERE i.order_id NOT IN (SELECT order_id FROM orders WHERE pk < 3)",
    "NOT IN, the other way": "SELECT o.pk FROM orders o WHERE o.order_id NOT IN (SELECT order_id FROM items)",
    "NOT EXISTS": "SELECT i.id FROM items i WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.order_id = i.order_id)",
    "EXISTS of an aggregate": "SELECT o.pk FROM orders o WHERE EXISTS "
    "(SELECT count(*) FROM items i WHERE i.order_id = o.order_id)",
    "IN as a value": "SELECT o.pk, o.order_id IN (SELECT order_id FROM items) AS there FROM orders o",
    "IN beside OR": "SELECT i.id FROM items i WHERE i.quantity = 3 OR i.order_id IN (SELECT order_id FROM orders)",
    "the nearest": "SELECT o.pk, i.id FROM orders o ASOF LEFT JOIN items i ON o.order_id >= i.order_id "
    "AND o.sku = i.sku WHERE o.order_id IS NOT NULL",
    "a number as text": "SELECT o.pk, i.id FROM orders o JOIN items i ON i.sku = o.order_id::VARCHAR",
}
GIVEN = {"given": pa.table({"k": pa.array([10, 10, None, 2000, 5_000_000], type=pa.int32())})}


def answer(ctx: VirtualContext, sql: str) -> list[Any]:
    params = {"top": 5} if "$top" in sql else None
    return sorted(map(repr, (tuple(row.values()) for row in ctx.query(sql, params, frames=GIVEN).rows())))


def expected(plain: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    plain.register("given", GIVEN["given"])
    return sorted(map(repr, plain.execute(sql, {"top": 5} if "$top" in sql else None).fetchall()))


def filters(ctx: VirtualContext, sql: str) -> list[Any]:
    plan = ctx.planner.plan(sql, {"top": 5} if "$top" in sql else None, GIVEN)
    return [key for fragment in plan.fragments for key in fragment.keys]


@pytest.mark.parametrize("sql", REDUCED.values(), ids=REDUCED)
def test_keys_are_sent(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert filters(context, sql)
    assert answer(context, sql) == expected(plain, sql)
    assert answer(context, sql), "the answer is not empty"


@pytest.mark.parametrize("sql", NOT_REDUCED.values(), ids=NOT_REDUCED)
def test_no_keys_are_sent(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert not filters(context, sql)
    assert answer(context, sql) == expected(plain, sql)


def test_the_server_is_asked_for_the_keys_alone(context: VirtualContext, postgres_server: PostgresServer) -> None:
    before = len(postgres_server.log())
    result = context.query(REDUCED["inner"])
    assert len(result.rows()) > 3
    assert result.stats.keys_shipped == 4
    asked = postgres_server.log()[before:]
    assert "= ANY('{" in asked
    for key in ("10", "77", "2000", "9999999"):
        assert key in asked.partition("ANY('{")[2].partition("}")[0].split(",")
    assert "NULL" not in asked.partition("ANY('{")[2].partition("}")[0]


def test_a_relation_that_was_reduced_reduces_the_next(context: VirtualContext) -> None:
    plan = context.plan(REDUCED["from one source to the next"])
    sent = {fragment.tables: [key.step for key in fragment.keys] for fragment in plan.fragments if fragment.keys}
    assert sent == {("items",): ["r0"], ("lite",): ["r0"]}
    assert [step.tables for step in plan.steps][:2] == [("orders",), ("items",)]


def test_too_many_keys_are_not_sent(context: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    """How many a pattern keeps nobody can tell: that they are nearly all keys is seen when it has run."""
    many = {"given": pa.table({"k": pa.array(range(48_000)), "t": pa.array(["word"] * 48_000)})}
    sql = "SELECT count(*) AS n FROM given f JOIN items i ON i.order_id = f.k WHERE f.t LIKE '%o%'"
    result = context.query(sql, frames=many)
    assert result.plan.steps
    plain.register("given", many["given"])
    assert [tuple(row.values()) for row in result.rows()] == plain.execute(sql).fetchall()
    assert result.stats.keys_shipped == 0


@pytest.mark.parametrize("table", ["items", "lite"])
@pytest.mark.parametrize(
    "keys",
    [
        "SELECT k FROM given",
        "SELECT order_id::VARCHAR AS k FROM orders",
        "SELECT lpad(order_id::VARCHAR, 9, '0') AS k FROM orders",
    ],
)
def test_a_text_beside_a_number_is_what_duckdb_makes_of_it(
    context: VirtualContext, plain: duckdb.DuckDBPyConnection, table: str, keys: str
) -> None:
    given = {"given": pa.table({"k": ["10", "0077", " 2000", None]})}
    plain.register("given", given["given"])
    sql = f"SELECT o.k, i.id FROM ({keys}) o JOIN {table} i ON i.order_id = o.k"
    expected = plain.execute(sql).fetchall()
    assert sorted(tuple(row.values()) for row in context.query(sql, frames=given).rows()) == sorted(expected) != []
    days = {"given": pa.table({"k": ["2020-01-05", "2020-03-18"]})}
    plain.register("given", days["given"])
    sql = f"SELECT count(*) AS n FROM given o JOIN {table} i ON i.shipped = o.k"
    assert tuple(context.query(sql, frames=days).rows()[0].values()) == plain.execute(sql).fetchone()


@pytest.mark.parametrize("table", ["items", "lite"])
def test_a_text_that_is_no_number_fails_as_it_does_in_duckdb(context: VirtualContext, table: str) -> None:
    given = {"given": pa.table({"k": [10, 77]})}
    with pytest.raises(ExecutionError, match="converted"):
        context.query(f"SELECT i.id FROM given o JOIN {table} i ON i.sku = o.k", frames=given).rows()


def test_no_key_at_all(context: VirtualContext) -> None:
    sql = "SELECT i.id FROM orders o JOIN items i ON i.order_id = o.order_id WHERE o.pk > 99"
    assert context.query(sql).rows() == []


def test_a_plan_runs_again(context: VirtualContext) -> None:
    plan = context.plan(REDUCED["inner"])
    assert context.run(plan).rows() == context.run(plan).rows() != []


def test_the_plan_says_which_keys_go(context: VirtualContext) -> None:
    text = str(context.plan(REDUCED["inner"]))
    assert "r0  runs first  (orders)" in text
    assert "keys   order_id in the order_id of r0 (orders)" in text
