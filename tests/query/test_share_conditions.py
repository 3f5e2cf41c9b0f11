"""What all branches of an OR say stands before it, and rows stay the same, NULL or not."""

from __future__ import annotations

import itertools

import duckdb
import pyarrow as pa
import pytest

from tauro_nb.context import VirtualContext

TRUTHS = list(itertools.product((True, False, None), repeat=3))
CONDITIONS = {
    "(a AND b) OR (a AND c)": True,
    "(a AND b) OR a": True,
    "a AND ((b AND c) OR (c AND b))": True,
    "(b OR (a AND c)) OR (a AND b)": False,
    "NOT ((a AND b) OR (a AND c))": False,
    "(a AND b) OR c": False,
}


@pytest.mark.parametrize(("condition", "is_shared"), CONDITIONS.items(), ids=CONDITIONS)
def test_the_same_rows(condition: str, is_shared: bool) -> None:
    truths = pa.table({name: [row[place] for row in TRUTHS] for place, name in enumerate("abc")})
    sql = f"SELECT a, b, c FROM truths WHERE {condition}"
    with VirtualContext({}) as ctx, duckdb.connect() as plain:
        result = ctx.query(sql, frames={"truths": truths})
        assert ("share_conditions" in [rule.name for rule in result.plan.rules]) == is_shared
        plain.register("truths", truths)
        expected = plain.execute(sql).fetchall()
        assert sorted(map(repr, (tuple(row.values()) for row in result.rows()))) == sorted(map(repr, expected))
