"""EXISTS and IN over tables of one source are decided there beside other sources' tables; the answer is the same."""

from __future__ import annotations

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tests.federation.test_bind_joins import answer, expected

# What is asked of `items` at PostgreSQL beside `orders` in a file; `notes` is at PostgreSQL, too.
FEW = "i.id IN (41, 42, 800, 801, 8001)"
MOVED = {
    "EXISTS": f"SELECT o.pk, i.id FROM items i LEFT JOIN orders o ON o.order_id = i.order_id WHERE {FEW} "
    "AND EXISTS (SELECT 1 FROM notes n WHERE n.order_id = i.order_id)",
    "NOT EXISTS": f"SELECT o.pk, i.id FROM items i LEFT JOIN orders o ON o.order_id = i.order_id WHERE {FEW} "
    "AND NOT EXISTS (SELECT 1 FROM notes n WHERE n.order_id = i.order_id AND n.text = 'note 21')",
    "IN": f"SELECT o.pk, i.id FROM items i LEFT JOIN orders o ON o.order_id = i.order_id WHERE {FEW} "
    "AND i.order_id IN (SELECT n.order_id FROM notes n WHERE n.text IS NOT NULL)",
    "of an inner join": f"SELECT o.pk, i.id FROM items i, orders o WHERE o.pk < i.quantity AND {FEW} "
    "AND EXISTS (SELECT 1 FROM notes n WHERE n.order_id = i.order_id)",
}
STAYING = {
    "the null-supplied side": "SELECT o.pk, i.id FROM orders o LEFT JOIN items i ON o.order_id = i.order_id "
    "WHERE NOT EXISTS (SELECT 1 FROM notes n WHERE n.order_id = i.order_id AND n.text = 'note 41')",
    "over two relations": f"SELECT o.pk, i.id FROM items i, orders o WHERE {FEW} AND o.pk < 4 "
    "AND EXISTS (SELECT 1 FROM notes n WHERE n.order_id = i.order_id AND n.order_id > o.pk)",
    "NOT IN": f"SELECT o.pk, i.id FROM items i, orders o WHERE {FEW} AND o.pk = 1 "
    "AND i.order_id NOT IN (SELECT n.order_id FROM notes n)",
    "without a key": f"SELECT o.pk, i.id FROM items i, orders o WHERE {FEW} AND o.pk = 1 "
    "AND EXISTS (SELECT 1 FROM notes n WHERE n.order_id > i.order_id)",
    "through a join that leaves out little": f"SELECT count(*) AS n FROM items i WHERE {FEW} AND i.order_id IN "
    "(SELECT n.order_id FROM notes n JOIN items j ON j.order_id = n.order_id)",
    "another source": f"SELECT o.pk, i.id FROM items i, orders o WHERE {FEW} AND o.pk = 1 "
    "AND EXISTS (SELECT 1 FROM lite n WHERE n.order_id = i.order_id)",
}


def _together(ctx: VirtualContext, sql: str) -> bool:
    return any({"items", "notes"} <= set(part.tables) for part in ctx.plan(sql).fragments)


@pytest.mark.parametrize("sql", MOVED.values(), ids=MOVED)
def test_the_source_decides(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert _together(context, sql)
    assert answer(context, sql) == expected(plain, sql) != []


@pytest.mark.parametrize("sql", STAYING.values(), ids=STAYING)
def test_the_engine_decides(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert not _together(context, sql)
    assert answer(context, sql) == expected(plain, sql)
