"""Relations of one source that are joined with each other are asked for as one, and the answer stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.sources.base import Link
from tauro_nb.sources.postgresql import PostgreSQLSource
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


@pytest.fixture(scope="module")
def far(places: dict[str, Any]) -> Iterator[VirtualContext]:
    """The server behind a link of 200 Mbit/s and 5 ms, as far as the planner knows.

    How fast this machine is must not decide what is tested.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLSource, "link", lambda _: Link(latency=0.005, bandwidth=25e6))
        with VirtualContext(places) as ctx:
            yield ctx


def joined(ctx: VirtualContext, sql: str) -> list[tuple[str, ...]]:
    return [fragment.tables for fragment in ctx.planner.plan(sql).fragments if len(fragment.tables) > 1]


@pytest.mark.parametrize("sql", MERGED.values(), ids=MERGED)
def test_asked_for_as_one(far: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert joined(far, sql) == [("items", "notes")]
    assert answer(far, sql) == expected(plain, sql) != []


@pytest.mark.parametrize("sql", APART.values(), ids=APART)
def test_asked_for_one_by_one(far: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert joined(far, sql) == []
    assert answer(far, sql) == expected(plain, sql)


def test_groups_of_two_queries_have_names_of_their_own(far: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    """The inner query speaks of a relation that the outer one has joined into a group."""
    inner = "SELECT max(y.id) FROM items x JOIN items y ON x.order_id = y.order_id WHERE x.sku = i.sku AND o.pk > 0"
    sql = f"SELECT o.pk, ({inner}) AS m FROM orders o, items i, notes n WHERE i.order_id = n.order_id AND i.id = o.pk"
    assert answer(far, sql) == expected(plain, sql) != []
