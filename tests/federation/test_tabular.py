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
