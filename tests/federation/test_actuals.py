"""What a fragment had when it ran corrects what the next plan expects of it, for the same principal alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError
from tauro_nb.query.placement.actuals import Actuals
from tauro_nb.query.plan import ASKED, SEEN, Fragment, QueryPlan, whole
from tauro_nb.security.principal import Principal
from tests.servers import PostgresServer

# Four columns that say the same: the server takes them for independent, and expects a 64th of the rows that are there.
VISITS = """
CREATE TABLE visits AS
SELECT i AS id, i AS order_id, i % 4 AS w, i % 4 AS x, i % 4 AS y, i % 4 AS z,
       CASE WHEN i < 5 THEN 'a long note' ELSE 'none' END AS note
FROM generate_series(1, 200000) t(i)
"""
ITEMS = "CREATE TABLE items AS SELECT i AS id, i AS order_id, 'sku ' || i AS sku FROM generate_series(1, 200000) t(i)"

MANY = """
SELECT count(*) AS n, max(i.sku) AS sku FROM visits v JOIN items i ON i.order_id = v.order_id
WHERE v.w = 1 AND v.x = 1 AND v.y = 1 AND v.z = 1
"""
FEW = """
SELECT count(*) AS n, max(i.sku) AS sku FROM visits v JOIN items i ON i.order_id = v.order_id
WHERE length(v.note) > 5
"""


@pytest.fixture(scope="module")
def places(postgres_server: PostgresServer) -> Iterator[dict[str, Any]]:
    """`visits` in one database, `items` with an index in another."""
    names = [postgres_server.create_database() for _ in range(2)]
    for name, statements in zip(names, ((VISITS,), (ITEMS, "CREATE INDEX ON items (order_id)")), strict=True):
        for statement in (*statements, "ANALYZE"):
            postgres_server.execute(statement, name)
    yield {
        "connections": {
            connection: {"type": "postgresql", "uri": postgres_server.uri(name)}
            for connection, name in zip(("one", "two"), names, strict=True)
        },
        "virtual_tables": {
            "visits": {"connector_type": "postgresql", "connection": "one", "table": "visits"},
            "items": {"connector_type": "postgresql", "connection": "two", "table": "items"},
        },
    }
    for name in names:
        postgres_server.drop_database(name)


@pytest.fixture
def context(places: dict[str, Any]) -> Iterator[VirtualContext]:
    """A new one: what is learned stays with it."""
    with VirtualContext(places) as ctx:
        yield ctx


def _of(plan: QueryPlan, table: str) -> Fragment:
    return next(part for part in plan.fragments if part.tables == (table,))


def test_first_binds_then_scans(context: VirtualContext) -> None:
    first = context.plan(MANY)
    assert _of(first, "items").keys
    assert _of(first, "visits").estimated_by == ASKED
    assert "rows   as the source's planner expects" in str(first)
    answer = context.query(MANY).rows()
    assert answer == [{"n": 50_000, "sku": "sku 99997"}]

    second = context.plan(MANY)
    assert second.cached, "what was asked is the same: it is placed anew, not bound and secured again"
    assert not _of(second, "items").keys
    assert (_of(second, "visits").estimated_rows, _of(second, "visits").estimated_by) == (50_000, SEEN)
    assert "rows   as many as an earlier run had" in str(second)
    assert context.query(MANY).rows() == answer


def test_first_scans_then_binds(context: VirtualContext) -> None:
    assert not _of(context.plan(FEW), "items").keys
    measured = context.analyze(FEW)
    assert measured.measured is not None
    assert not measured.measured.keys
    second = context.plan(FEW)
    assert _of(second, "items").keys
    assert (_of(second, "visits").estimated_rows, _of(second, "visits").estimated_by) == (4, SEEN)
    result = context.query(FEW)
    assert result.rows() == [{"n": 4, "sku": "sku 4"}]
    assert result.stats.keys_shipped == 4


def test_other_values_are_another_question(context: VirtualContext) -> None:
    context.query(MANY).rows()
    assert _of(context.plan(MANY.replace("sku)", "id)")), "visits").estimated_by == SEEN
    assert _of(context.plan(MANY.replace("= 1", "= 2")), "visits").estimated_by == ASKED


def test_the_answer_itself_counts(context: VirtualContext) -> None:
    sql = "SELECT id, note FROM visits WHERE length(note) > 5"
    assert (context.plan(sql).estimated_rows or 0) > 50_000
    assert len(context.query(sql).rows()) == 4
    assert context.plan(sql).estimated_rows == 4


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM visits WHERE length(note) > 3 LIMIT 10",
        "SELECT max(length(note)) OVER () AS m FROM visits WHERE length(note) > 3 LIMIT 1",
    ],
)
def test_a_part_of_the_rows_is_no_count(context: VirtualContext, sql: str) -> None:
    context.query(sql).rows()
    whole = context.plan("SELECT id FROM visits WHERE length(note) > 3")
    assert whole.fragments[0].estimated_by == "pg_class, pg_stats"


def test_what_is_dropped_teaches_nothing(context: VirtualContext) -> None:
    sql = "SELECT id, note FROM visits WHERE length(note) > 3"
    batches = context.query(sql).to_batches()
    assert batches.read_next_batch().num_rows > 0
    batches.close()
    del batches
    assert context.plan(sql).fragments[0].estimated_by == "pg_class, pg_stats"


def test_what_fails_teaches_nothing(context: VirtualContext) -> None:
    with pytest.raises(ExecutionError):
        context.query(f"{MANY} AND CAST(i.sku AS INTEGER) > 0").rows()
    assert _of(context.plan(MANY), "visits").estimated_by == ASKED


def test_rows_that_keys_left_are_not_those_of_the_table(context: VirtualContext) -> None:
    context.analyze(FEW)
    assert context.query(FEW).stats.keys_shipped == 4
    context.query(FEW).rows()
    context.layer.machine.services.plans.clear()
    assert _of(context.plan(FEW), "items").estimated_rows == 200_000


def test_nobody_learns_from_others(places: dict[str, Any]) -> None:
    people = {
        "principals": {"ana": {"roles": ["analyst"]}, "bo": {"roles": ["analyst"]}},
        "security_policies": {"visits": {"allowed_roles": ["analyst"]}, "items": {"allowed_roles": ["analyst"]}},
    }
    with VirtualContext({**places, **people}) as ctx:
        ana, bo = ctx.as_principal("ana"), ctx.as_principal("bo")
        before = str(bo.plan(MANY))
        answer = ana.query(MANY).rows()
        assert not _of(ana.plan(MANY), "items").keys
        assert str(bo.plan(MANY)) == before
        ctx.layer.machine.services.plans.clear()
        assert str(bo.plan(MANY)) == before
        assert _of(bo.plan(MANY), "visits").estimated_by == ASKED
        assert bo.query(MANY).rows() == answer


def test_a_count_below_a_row_filter_is_not_shown(places: dict[str, Any]) -> None:
    people = {
        "principals": {"ana": {"roles": ["analyst"]}},
        "security_policies": {"visits": {"row_level_filters": {"analyst": "z = 1"}}},
    }
    with VirtualContext({**places, **people}) as ctx:
        ana = ctx.as_principal("ana")
        before = str(ana.plan(MANY))
        ana.query(MANY).rows()
        after = ana.plan(MANY)
        assert str(after) == before
        part = _of(after, "visits")
        assert (part.estimated_rows, part.estimated_by, part.expected_rows) == (None, "", None)


def test_a_query_below_a_policy_teaches_no_other(places: dict[str, Any]) -> None:
    """Whether it read an open table whole, or for a few keys, went by rows that are hidden in another."""
    people = {
        "principals": {"ana": {"roles": ["analyst"]}},
        "security_policies": {"items": {"row_level_filters": {"analyst": "id < 150000"}}},
    }
    tables = {**places["virtual_tables"], "things": places["virtual_tables"]["items"]}
    opened = MANY.replace("items", "things")
    with VirtualContext({**places, "virtual_tables": tables, **people}) as ctx:
        ana = ctx.as_principal("ana")
        shown = str(ana.plan(MANY)), str(ana.plan(opened))
        ana.analyze(MANY)
        assert (str(ana.plan(MANY)), str(ana.plan(opened))) == shown
        assert _of(whole(ana.plan(MANY)), "visits").scan.seen, "the next such query knows"
        ana.query(opened).rows()
        assert _of(ana.plan(opened), "visits").estimated_by == SEEN


def test_counts_grow_old_and_are_few() -> None:
    time = [0.0]
    actuals, ana = Actuals(300.0, clock=lambda: time[0], most=3), Principal.of("ana")
    for number in range(5):
        actuals.learn(ana, "crm", f"SELECT {number}", ("t",), number)
    assert [actuals.of(ana, "crm", f"SELECT {number}") for number in range(5)] == [None, None, 2, 3, 4]
    assert actuals.of(ana, "other", "SELECT 4") is None
    assert actuals.of(Principal("ana", frozenset({"more"})), "crm", "SELECT 4") is None
    time[0] = 300.0
    assert actuals.of(ana, "crm", "SELECT 4") is None
    actuals.learn(ana, "crm", "SELECT 4", ("t",), 40)
    actuals.forget(["t"])
    assert actuals.of(ana, "crm", "SELECT 4") is None


def test_many_threads_learn() -> None:
    actuals, ana = Actuals(300.0, most=50), Principal.of("ana")
    wrong: list[int | None] = []

    def work(start: int) -> None:
        for number in range(start, start + 2_000):
            sql = f"SELECT {number % 90}"
            actuals.learn(ana, "crm", sql, ("t",), number % 90)
            found = actuals.of(ana, "crm", sql)
            wrong.extend([found] if found not in (None, number % 90) else [])
            if number % 500 == 0:
                actuals.forget(["t"])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
