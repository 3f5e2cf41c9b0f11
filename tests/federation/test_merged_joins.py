"""Relations of one source that are joined with each other are asked for as one, and the answer stays the same."""

from __future__ import annotations

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tests.federation.test_bind_joins import answer, expected

FEW = "i.order_id = n.order_id AND n.text = 'note 51'"
MERGED = {
    "comma": f"SELECT o.pk, i.id, n.text FROM orders o, items i, notes n WHERE i.quantity = o.pk AND {FEW}",
    "joins": "SELECT o.pk, i.id, n.text FROM items i JOIN orders o ON i.quantity = o.pk "
    "JOIN notes n ON n.order_id = i.order_id AND n.text = 'note 51' AND n.order_id > o.pk",
    "one name twice": "SELECT o.order_id, i.order_id, n.order_id FROM orders o, items i, notes n "
    f"WHERE i.quantity = o.pk AND {FEW} ORDER BY 1, 2, 3",
    "aggregated": f"SELECT o.kind, count(*) AS c, max(i.sku) AS m FROM orders o, items i, notes n WHERE {FEW} "
    "AND i.quantity > o.pk GROUP BY o.kind HAVING count(*) > 1 ORDER BY o.kind",
    "a correlated subquery": f"SELECT o.pk, i.id FROM orders o, items i, notes n WHERE i.quantity = o.pk AND {FEW} "
    "AND EXISTS (SELECT 1 FROM orders x WHERE x.pk = i.quantity AND x.kind < n.text)",
    "nothing of it is read": f"SELECT o.pk FROM orders o, items i, notes n WHERE {FEW}",
    "a condition over all three": "SELECT o.pk, i.id FROM orders o, items i, notes n "
    f"WHERE i.quantity = o.pk AND {FEW} AND (o.pk = 3 AND n.text > 'a' OR o.pk = 4 AND i.id > 7)",
    "a computed condition": f"SELECT o.pk, i.id FROM orders o, items i, notes n WHERE i.quantity = o.pk AND {FEW} "
    "AND i.id + n.order_id > 30",
    "a window": f"SELECT o.pk, row_number() OVER (PARTITION BY i.sku ORDER BY i.id, o.pk) AS r FROM orders o, items i, "
    f"notes n WHERE i.quantity = o.pk AND {FEW}",
}
APART = {
    "a name that means two things": "SELECT o.pk, i.id FROM orders o, items i, notes n "
    f"WHERE i.quantity = o.pk AND {FEW} AND EXISTS (SELECT 1 FROM orders i WHERE i.pk = o.pk)",
    "outer": "SELECT o.pk, i.id, n.text FROM orders o JOIN items i ON i.order_id = o.order_id "
    "LEFT JOIN notes n ON n.order_id = i.order_id",
    "not joined": "SELECT o.pk, i.id FROM orders o, items i, notes n WHERE i.order_id = o.order_id "
    "AND n.order_id = o.order_id",
    "many times more": "SELECT count(*) AS c FROM orders o, items i, items j WHERE i.quantity = j.quantity "
    "AND i.order_id = o.order_id AND j.order_id = o.order_id",
}


def joined(ctx: VirtualContext, sql: str) -> list[tuple[str, ...]]:
    return [fragment.tables for fragment in ctx.planner.plan(sql).fragments if len(fragment.tables) > 1]


@pytest.mark.parametrize("sql", MERGED.values(), ids=MERGED)
def test_asked_for_as_one(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert joined(context, sql) == [("items", "notes")]
    assert answer(context, sql) == expected(plain, sql) != []


@pytest.mark.parametrize("sql", APART.values(), ids=APART)
def test_asked_for_one_by_one(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert joined(context, sql) == []
    assert answer(context, sql) == expected(plain, sql)
