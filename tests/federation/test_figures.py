"""Statistics come from the sources' own catalogs, and a plan's figures from them; nothing is written to a source."""

from __future__ import annotations

from typing import Any

import pytest

from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.context import VirtualContext
from tauro_nb.query.placement.cost import RATES
from tauro_nb.query.placement.knowledge import LIFETIME, Knowledge
from tauro_nb.sources.base import Link
from tests.servers import PostgresServer


def test_statistics_of_postgresql(context: VirtualContext) -> None:
    context.plan("SELECT id FROM items")
    known = context.schema_registry.get_table_statistics("items")
    assert known is not None
    assert known.row_count == 200_000
    assert known.columns["quantity"].distinct_count == 50
    assert 0.005 < (known.columns["order_id"].null_fraction or 0) < 0.02
    assert known.columns["order_id"].indexed
    assert known.columns["sku"].indexed is False
    assert {(facts.minimum, facts.maximum) for facts in known.columns.values()} == {(None, None)}, "bounds are data"


def test_statistics_of_parquet(context: VirtualContext) -> None:
    context.plan("SELECT pk FROM orders")
    known = context.schema_registry.get_table_statistics("orders")
    assert known is not None
    assert known.row_count == 6
    assert known.columns["order_id"].null_fraction == pytest.approx(1 / 6)
    assert known.columns["pk"].distinct_count == 6


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT id FROM items", (200_000, 200_000)),
        ("SELECT id FROM items WHERE quantity = 7", (3_000, 5_000)),
        ("SELECT id FROM items WHERE id < 20000", (15_000, 25_000)),
        ("SELECT quantity, count(*) AS n FROM items GROUP BY 1", (50, 50)),
        ("SELECT id FROM items LIMIT 10", (10, 10)),
        ("SELECT o.pk FROM orders o JOIN items i ON i.order_id = o.order_id", (6, 60)),
    ],
)
def test_estimated_rows(context: VirtualContext, sql: str, rows: tuple[int, int]) -> None:
    plan = context.plan(sql)
    assert rows[0] <= plan.estimated_rows <= rows[1]
    assert plan.estimated_cost > 0
    assert plan.estimated_bytes > 0


def test_a_filtered_table_has_no_figures(places: dict[str, Any]) -> None:
    policies = {"items": {"row_level_filters": {"admin": "", "analyst": "quantity = 7"}}}
    with VirtualContext({**places, "security_policies": policies}) as ctx:
        plan = ctx.as_principal("ana", roles=["analyst"]).plan(
            "SELECT i.id FROM items i JOIN orders o USING (order_id)"
        )
        assert [part.estimated_rows for part in plan.fragments if part.tables == ("items",)] == [None]
        assert plan.estimated_rows == 6


def test_a_source_is_asked_again_after_a_while(context: VirtualContext) -> None:
    time = [0.0]
    knowledge = Knowledge(context.schema_registry, clock=lambda: time[0])
    table = context.schema_registry.resolve("orders")
    context.schema_registry.delete_table("orders")
    context.schema_registry.register_table(table)
    source = context.layer.machine.pool.source(table)
    first = knowledge.of(table, source)
    assert knowledge.of(table, source) is first
    time[0] = LIFETIME
    assert knowledge.of(table, source) is not first
    mine = TableStatistics(row_count=3)
    context.schema_registry.record_statistics("orders", mine)
    assert knowledge.of(table, source) is mine, "what somebody recorded counts"


def test_a_slow_way_makes_a_source_slow() -> None:
    near, far = RATES["postgresql"], RATES["postgresql"].over(Link(latency=0.02, bandwidth=1e6))
    assert far.bandwidth == 1e6
    assert far.latency > near.latency
    assert near.over(Link(0.0, 1e12)).bandwidth == near.bandwidth


def test_nothing_is_written_to_the_server(context: VirtualContext, postgres_server: PostgresServer) -> None:
    before = len(postgres_server.log())
    context.query("SELECT count(*) AS n FROM orders o JOIN items i ON i.order_id = o.order_id").rows()
    asked = postgres_server.log()[before:].upper()
    for word in ("ANALYZE", "CHECKPOINT", "CREATE", "INSERT", "VACUUM"):
        assert word not in asked
