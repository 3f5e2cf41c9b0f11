"""Names in other letters than the source's: DuckDB does not tell them apart, PostgreSQL does."""

from __future__ import annotations

import duckdb
import pytest

from tauro_nb.context import VirtualContext

UNQUALIFIED = "SELECT o.pk, x.n FROM orders o, LATERAL (SELECT o.pk AS n) x WHERE o.order_id IN ({})"
WRITTEN = {
    "a column": 'SELECT n.order_id FROM notes n WHERE n."TEXT" IS NULL',
    "a relation": 'SELECT "N".order_id FROM notes n WHERE n.text IS NULL',
    "a column of a query": 'SELECT q.a FROM (SELECT n.order_id AS "A" FROM notes n WHERE n.text IS NULL) q',
    "a CTE": 'WITH "C" AS (SELECT n.order_id FROM notes n WHERE n.text IS NULL) SELECT order_id FROM c',
    "a column, not quoted": "SELECT n.Order_ID FROM notes n WHERE n.text IS NULL",
    "as it is": 'SELECT n.order_id FROM notes n WHERE n."text" IS NULL',
}


LONG = "n" * 63
"""All that PostgreSQL keeps of a name; it would take `LONG + "a"` and `LONG + "b"` for the same."""
LONGER = {
    "relations": f"SELECT n.order_id FROM notes n WHERE EXISTS "
    f"(SELECT 1 FROM orders AS {LONG}a WHERE EXISTS (SELECT 1 FROM orders AS {LONG}b "
    f"WHERE {LONG}b.pk = {LONG}a.pk + 1 AND {LONG}b.order_id = n.order_id))",
    "columns": f"SELECT {LONG}a, {LONG}b FROM (SELECT pk AS {LONG}a, order_id AS {LONG}b FROM orders) q LIMIT 99999",
    "outputs": f"SELECT pk AS {LONG}a FROM orders WHERE pk < 5",
    "letters of two bytes": f'SELECT pk AS "{"é" * 40}" FROM orders WHERE pk < 5',
}


@pytest.mark.parametrize("sql", LONGER.values(), ids=LONGER)
def test_names_that_the_server_cuts_off(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    with plain.cursor() as cursor:
        expected = cursor.execute(sql).fetchall()
    assert expected
    assert sorted(tuple(row.values()) for row in context.query(sql).rows()) == sorted(expected)


@pytest.mark.parametrize("inner", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("sql", ["{}", UNQUALIFIED], ids=["qualified", "not qualified"])
def test_other_letters(context: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str, inner: str) -> None:
    with plain.cursor() as cursor:
        expected = cursor.execute(sql.format(inner)).fetchall()
    assert expected
    found = [tuple(row.values()) for row in context.query(sql.format(inner)).rows()]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_what_is_written_alike_is_asked_whole(context: VirtualContext) -> None:
    sent = {}
    for name, inner in WRITTEN.items():
        parts = [part for part in context.plan(UNQUALIFIED.format(inner)).fragments if "notes" in part.tables]
        sent[name] = "IS NULL" in str(parts[0].scan.sql)
    # Those of the query in FROM and of the CTE are alike in themselves.
    refused = ("a column", "a relation", "a column, not quoted")
    assert sent == {name: name not in refused for name in WRITTEN}
