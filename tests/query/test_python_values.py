"""Values that Arrow holds and Python does not: one error for whoever wants Python's, the rows for everybody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.errors import ExecutionError, SchemaMismatch
from tauro_nb.interop import dbapi
from tauro_nb.query.result import Result

CATALOG = {"virtual_tables": {"bills": {"query": "SELECT 1 AS id, DATE '10000-01-01' AS due"}}}
WAYS: dict[str, Callable[[Result], object]] = {"rows": lambda result: result.rows(), "iteration": list}


@pytest.fixture
def ctx() -> Iterator[VirtualContext]:
    with VirtualContext(CATALOG, "admin") as ctx:
        yield ctx


@pytest.mark.parametrize("way", WAYS)
def test_a_date_after_the_year_9999_is_an_error_that_names_the_column_and_the_cure(
    ctx: VirtualContext, way: str
) -> None:
    with pytest.raises(ExecutionError, match=r"a value of `due` \(date32\[day\]\)") as caught:
        WAYS[way](ctx.query("SELECT id, due FROM bills"))
    assert "to_arrow()" in str(caught.value)
    assert "10000" not in str(caught.value)


def test_a_struct_with_two_fields_of_one_name_is_one_too(ctx: VirtualContext) -> None:
    with pytest.raises(ExecutionError, match="a value of `parts`"):
        ctx.query("SELECT row(id, 2) AS parts FROM bills").rows()


def test_the_rows_are_there_as_arrow_as_text_and_to_look_at(ctx: VirtualContext) -> None:
    result = ctx.query("SELECT due, row(id, 2) AS parts, CAST(due AS VARCHAR) AS said FROM bills")
    assert result.to_arrow().num_rows == 1
    assert result.to_arrow()["said"].to_pylist() == ["10000-01-01"]
    assert "10000-01-01" in repr(result)
    assert "struct" in result._repr_html_()


def test_a_table_with_such_a_struct_is_refused_by_the_column() -> None:
    odd = {"virtual_tables": {"odd": {"query": "SELECT row(1, 2) AS parts"}}}
    with (
        VirtualContext(odd, "admin") as ctx,
        pytest.raises(SchemaMismatch, match=r"`parts` STRUCT\(INTEGER, INTEGER\)"),
    ):
        ctx.query("SELECT 1 AS x FROM odd")


def test_db_api_calls_it_a_data_error() -> None:
    with tauro_nb.connect(CATALOG, principal="admin") as connection:
        cursor = connection.cursor().execute("SELECT due FROM bills")
        with pytest.raises(dbapi.DataError, match="`due`"):
            cursor.fetchall()
