"""Measured plans of queries that send keys from one source to another."""

from __future__ import annotations

from typing import Any

import duckdb

from tauro_nb.context import VirtualContext
from tauro_nb.widgets import plan_html

STAGED = "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id"


def test_keys_and_what_they_brought(context: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    asked, keys, brought = (
        plain.execute(f"SELECT count(*) FROM ({sql})").fetchall()[0][0]
        for sql in (
            STAGED,
            "SELECT DISTINCT order_id FROM orders WHERE order_id IS NOT NULL",
            "FROM items WHERE order_id IN (SELECT order_id FROM orders)",
        )
    )
    plan = context.analyze(STAGED)
    figures = plan.measured
    assert figures is not None
    assert (figures.rows, list(figures.keys.values())) == (asked, [keys])
    assert [part.rows for part in figures.fragments.values()] == [brought]
    text, page = str(plan), plan_html(plan)
    assert f"sent   {keys} keys" in text
    assert f"got    {brought} rows" in text
    assert "got    not counted: the engine scans it" in text
    assert f"order_id: {keys} keys sent" in page
    assert ">time<" in page


def test_a_plan_that_was_not_measured_shows_no_figures(context: VirtualContext) -> None:
    result = context.query(STAGED)
    result.to_arrow()
    assert result.plan.measured is None
    assert "Measured" not in str(result.plan)
    page = plan_html(result.plan)
    assert ">time<" not in page
    assert "runs first" in page
    assert "keys: order_id in the order_id of r0 (orders)" in page


def test_the_plan_to_compare_with_sends_no_keys(context: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    naive = context.analyze(STAGED, pushdown=False)
    rows = plain.execute("SELECT count(*) FROM items").fetchall()[0][0]
    assert naive.measured is not None
    assert [part.rows for part in naive.measured.fragments.values()] == [rows]
    assert (naive.steps, naive.measured.keys) == ((), {})
    answers = [context.run(context.plan(STAGED, pushdown=pushed)).rows() for pushed in (True, False)]
    assert len({str(sorted(map(str, answer))) for answer in answers}) == 1


def test_a_limit_leaves_answers_as_they_are(places: dict[str, Any], plain: duckdb.DuckDBPyConnection) -> None:
    queries = (
        STAGED,
        "SELECT i.sku, sum(i.price) FROM items i JOIN lite l ON l.id = i.id WHERE i.id < 500 GROUP BY i.sku ORDER BY 1",
        "WITH c AS (SELECT * FROM items WHERE id < 90) SELECT a.id FROM c a JOIN c b ON a.id = b.id + 1 ORDER BY 1",
        "SELECT o.pk FROM orders o WHERE EXISTS (SELECT 1 FROM notes n WHERE n.order_id = o.order_id) ORDER BY 1",
        "SELECT count(*), min(shipped), max(price) FROM items",
    )
    with VirtualContext({**places, "limits": {"max_bytes": "4GB"}}) as limited:
        for sql in queries:
            got = [tuple(row.values()) for row in limited.query(sql).rows()]
            assert sorted(got, key=repr) == sorted(plain.execute(sql).fetchall(), key=repr), sql
