"""What is aggregated of one source's relations is aggregated there, before it is joined; the answer stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.sources.base import Link
from tauro_nb.sources.postgresql import PostgreSQLSource
from tests.federation.test_bind_joins import answer, expected

# `orders` has two rows with one key, one with NULL and one with a key that nobody has; `quantity` has 50 values.
JOIN = "FROM items i JOIN orders o ON i.quantity = o.pk"
EARLY = {
    "sum": f"SELECT o.kind, sum(i.price) AS s {JOIN} GROUP BY o.kind",
    "count": f"SELECT o.kind, count(*) AS n, count(i.order_id) AS m {JOIN} GROUP BY o.kind",
    "bounds": f"SELECT o.kind, min(i.shipped) AS a, max(i.price) AS b {JOIN} GROUP BY o.kind",
    "of whole numbers": "SELECT o.kind, sum(i.id)::BIGINT AS s, sum(i.quantity + 1)::BIGINT AS t "
    f"{JOIN} GROUP BY o.kind",
    "in an expression": f"SELECT o.kind, 100 * sum(i.price) / count(*) AS r {JOIN} GROUP BY o.kind",
    "partners met twice": "SELECT o.day, count(*) AS n, sum(i.price) AS s FROM items i JOIN orders o "
    "ON i.quantity = o.order_id GROUP BY o.day",
    "no group": f"SELECT count(*) AS n, sum(i.price) AS s {JOIN} WHERE o.pk > 2",
    "nothing left": f"SELECT count(*) AS n, sum(i.price) AS s, max(i.id) AS m {JOIN} WHERE o.pk > 99",
    "nothing left of groups": f"SELECT o.kind, count(*) AS n {JOIN} WHERE o.pk > 99 GROUP BY o.kind",
    "some are counted": f"SELECT o.kind, count(*) FILTER (WHERE i.price > 100) AS n, "
    f"sum(i.price) FILTER (WHERE i.order_id IS NULL) AS s {JOIN} GROUP BY o.kind",
    "by case": f"SELECT o.kind, sum(CASE WHEN i.price > 500 THEN i.price ELSE 0 END) AS s {JOIN} GROUP BY o.kind",
    "having, ordered": f"SELECT o.kind, sum(i.price) AS s {JOIN} GROUP BY o.kind HAVING count(*) > 1 "
    "ORDER BY sum(i.price) DESC, o.kind",
    "grouped by both": f"SELECT o.kind, i.quantity, count(*) AS n {JOIN} GROUP BY o.kind, i.quantity",
    "grouped by an expression": f"SELECT i.quantity % 2 AS odd, count(*) AS n {JOIN} GROUP BY i.quantity % 2",
    "a condition over both": f"SELECT o.kind, sum(i.price) AS s {JOIN} AND (i.quantity > 3 OR o.kind < 'b') "
    "GROUP BY o.kind",
    "members": "SELECT i.quantity, count(*) AS n FROM items i WHERE i.quantity IN (SELECT pk FROM orders WHERE pk < 4) "
    "GROUP BY i.quantity",
    "existing": f"SELECT o.kind, count(*) AS n {JOIN} "
    "WHERE EXISTS (SELECT 1 FROM orders x WHERE x.pk = i.quantity + 1) GROUP BY o.kind",
    "sets of groups": f"SELECT o.kind, i.quantity, count(*) AS n {JOIN} GROUP BY ROLLUP (o.kind, i.quantity)",
    "joined and aggregated": "SELECT o.kind, count(*) AS c, sum(i.price) AS s FROM orders o, items i, notes n "
    "WHERE i.order_id = n.order_id AND i.quantity = o.pk GROUP BY o.kind",
    "all at one source": "SELECT i.sku, count(*) AS c FROM items i JOIN notes n ON i.order_id = n.order_id "
    "WHERE n.order_id < 900 GROUP BY i.sku ORDER BY lower(i.sku)",
}
WHOLE = {
    "different values": f"SELECT o.kind, count(DISTINCT i.sku) AS n {JOIN} GROUP BY o.kind",
    "of both sides": f"SELECT o.kind, sum(i.price * o.pk) AS s {JOIN} GROUP BY o.kind",
    "average": f"SELECT o.kind, avg(i.price) AS a {JOIN} GROUP BY o.kind",
    "text in an order of its own": f"SELECT o.kind, max(i.sku) AS m {JOIN} GROUP BY o.kind",
    "outer": "SELECT o.kind, count(i.id) AS n FROM orders o LEFT JOIN items i ON i.quantity = o.pk GROUP BY o.kind",
    "a window": f"SELECT o.kind, sum(i.price) AS s, rank() OVER (ORDER BY sum(i.price)) AS r {JOIN} GROUP BY o.kind",
    "as many groups as rows": "SELECT o.kind, i.id, count(*) AS n FROM items i JOIN orders o ON i.quantity = o.pk "
    "GROUP BY o.kind, i.id",
}
# Whose columns these are nobody has written, and what stands beside them keeps the road from writing it.
UNQUALIFIED = {
    "one relation": "SELECT count(*) AS n FROM items WHERE sku[5] = '1'",
    "a condition": f"SELECT o.kind, count(*) AS n {JOIN} WHERE i.sku[5] = '1' AND shipped > DATE '2020-02-01' "
    "GROUP BY o.kind",
    "a lambda": f"SELECT o.kind, sum(len(list_filter([quantity, 3], x -> x > 2)))::BIGINT AS n {JOIN} GROUP BY o.kind",
    "two of one source": "SELECT count(*) AS n FROM items i JOIN notes n ON i.order_id = n.order_id WHERE sku[5] = '1'",
    "existing": "SELECT count(*) AS n FROM items WHERE sku[5] = '1' AND EXISTS (SELECT 1 FROM notes n "
    "WHERE n.order_id = items.order_id)",
    "a value without a name": "SELECT (SELECT count(*) FROM notes) AS n, (SELECT max(order_id) + 1 FROM notes) AS m "
    "FROM items WHERE sku[5] = '1' AND id < 50",
    "unnested": "SELECT count(*) AS n FROM (SELECT unnest([quantity, 1]) AS q FROM items WHERE price > 10) WHERE q > 1",
    "turned": "SELECT * FROM (PIVOT (SELECT quantity % 2 AS odd, id FROM items) ON odd IN (0, 1) USING count(*) AS n)",
}


@pytest.fixture(scope="module")
def far(places: dict[str, Any]) -> Iterator[VirtualContext]:
    """The server behind a slow link, as far as the planner knows: what moves decides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLSource, "link", lambda _: Link(latency=0.005, bandwidth=25e6))
        with VirtualContext(places) as ctx:
            yield ctx


def grouped(ctx: VirtualContext, sql: str) -> list[str]:
    """What sources are asked with a GROUP BY."""
    return [part.sql for part in ctx.planner.plan(sql).fragments if "GROUP BY" in part.sql]


@pytest.mark.parametrize("sql", EARLY.values(), ids=EARLY)
def test_aggregated_at_the_source(far: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert len(grouped(far, sql)) == 1
    assert answer(far, sql) == expected(plain, sql)


@pytest.mark.parametrize("sql", WHOLE.values(), ids=WHOLE)
def test_aggregated_here(far: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert grouped(far, sql) == []
    assert answer(far, sql) == expected(plain, sql) != []


@pytest.mark.parametrize("sql", UNQUALIFIED.values(), ids=UNQUALIFIED)
def test_nothing_moves_where_columns_have_no_relation(
    far: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str
) -> None:
    assert answer(far, sql) == expected(plain, sql) != []


def test_much_less_comes_over(far: VirtualContext) -> None:
    moved = {}
    for name in ("sum", "of both sides"):
        sql = {**EARLY, **WHOLE}[name]
        moved[name] = sum(part.bytes for part in far.analyze(sql).measured.fragments.values())
    assert moved["sum"] < moved["of both sides"] / 20


def test_equalities_are_followed(far: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    """`notes` never meets `items` by itself: what both are equal to is said of a file."""
    sql = (
        "SELECT o.pk, i.id FROM orders o, items i, notes n WHERE i.order_id = o.order_id AND n.order_id = o.order_id "
        "AND n.text = 'note 21'"
    )
    plan = far.plan(sql)
    assert any(len(part.tables) == 2 or (part.tables == ("items",) and part.keys) for part in plan.fragments)
    assert answer(far, sql) == expected(plain, sql) != []
