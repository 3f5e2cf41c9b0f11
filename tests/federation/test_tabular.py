"""What runs first is kept in a table: only where that changes no type and no answer."""

from __future__ import annotations

import duckdb
import pytest

from tauro_nb.context import VirtualContext

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("value", "used"),
    [
        ("NULL", "coalesce(o.x, 'none')"),
        ("CASE WHEN pk > 100 THEN NULL END", "coalesce(o.x, i.sku)"),
        ("[]", "o.x || ['b']"),
        ("row(pk, kind)", "o.x IS NULL"),
        ("(pk, kind)", "o.x = (1, 'a')"),
        ("{'a': NULL}", "coalesce(o.x.a, 'b')"),
    ],
)
def test_values_that_no_table_keeps(
    context: VirtualContext, plain: duckdb.DuckDBPyConnection, value: str, used: str
) -> None:
    inner = f"SELECT pk, order_id, {value} AS x FROM orders"
    sql = f"SELECT pk, id, {used} AS y FROM ({inner}) o JOIN items i USING (order_id) ORDER BY ALL"
    answer = [tuple(row.values()) for row in context.query(sql).rows()]
    assert answer == plain.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("value", "params"),
    [
        ("$p", {"p": None}), ("max($p)", {"p": None}), ("coalesce(NULL, $p)", {"p": None}), ("$p || NULL", {"p": None}),
        ("lag($p) OVER ()", {"p": None}),
        ("list_extract([$p], 1)", {"p": None}), ("{'k': $p}.k", {"p": None}),
        ("max($p)", {"p": 3}), ("NULL", {}), ("max(NULL)", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{} o JOIN items i USING (order_id)", "{} o", "(FROM {} UNION ALL FROM {}) o"])
def test_a_null_without_a_type_stays_one(
    context: VirtualContext, plain: duckdb.DuckDBPyConnection, value: str, params: dict[str, int | None], around: str
) -> None:
    """`abs` of INTEGER is an INTEGER, of a bare NULL a BIGINT: neither a step nor a source may decide which it is."""
    for table in ("orders", "items"):
        grouped = "GROUP BY order_id" * ("max" in value)
        inner = f"(SELECT order_id, {value} AS x FROM {table} WHERE order_id < 80 {grouped})"
        sql = f"SELECT abs(o.x) AS y FROM {around.format(inner, inner)}"
        expected = plain.execute(sql, params or None).to_arrow_table()
        answer = context.query(sql, params or None).to_arrow()
        assert answer.schema.types == expected.schema.types, sql
        assert answer.num_rows == expected.num_rows > 0
