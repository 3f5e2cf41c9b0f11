"""Errors point into the text as it was typed, also when it starts with blank lines."""

from __future__ import annotations

import pandas as pd
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import BindError, TauroError


@pytest.fixture
def ctx() -> VirtualContext:
    return VirtualContext({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})


@pytest.mark.parametrize(
    ("sql", "line", "col"),
    [
        ("\n\n  DROP TABLE x", 3, 3),
        ("\n\n SHOW TABLES", 3, 2),
        ("\n\n SELECT b\n FROM one;\n", 3, 9),
        ("-- who\nSELECT a FROM two", 2, 15),
        ("\nSELECT * FROM\n read_csv('x')", 3, 2),
        ("\nSELECT :x", 2, 9),
    ],
)
def test_positions_count_from_the_first_line_typed(ctx: VirtualContext, sql: str, line: int, col: int) -> None:
    with pytest.raises(TauroError) as caught:
        ctx.query(sql)
    assert caught.value.line == line
    assert caught.value.col in (col, col - 1)
    assert len(caught.value.excerpt()) >= 2


def test_a_value_without_a_sql_form_is_named(ctx: VirtualContext) -> None:
    with pytest.raises(BindError, match=r"a parameter of type DataFrame has no SQL form\."):
        ctx.query("SELECT :x", {"x": pd.DataFrame({"a": [1]})})
    assert ctx.query("SELECT :x AS x", {"x": 1}).rows() == [{"x": 1}]
