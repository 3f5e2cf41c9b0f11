"""The binder asks tables where it can: they have a column that no virtual table has."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tauro_nb.query.binder import Binder
from tauro_nb.query.names import LOCAL, RAW, VISIBLE


@pytest.fixture
def binder() -> Iterator[Binder]:
    made = Binder()
    for kind in (VISIBLE, LOCAL, RAW):
        made.ensure("t", kind, {"a": "INTEGER", "b": "VARCHAR"})
    yield made
    made.close()


@pytest.mark.parametrize("kind", [VISIBLE, LOCAL, RAW])
@pytest.mark.parametrize("column", ["rowid", "ROWID", '"RowId"', "t.rowid", "max(rowid)", "COLUMNS('row.*')", "#3"])
def test_the_number_of_a_row_is_no_column(binder: Binder, kind: str, column: str) -> None:
    with pytest.raises(duckdb.Error):
        binder.describe(f'SELECT {column} FROM "{kind}".t', {})


@pytest.mark.parametrize("sql", ["SELECT * FROM {}", "SELECT t FROM {}", "FROM {} SELECT COLUMNS(*)", "FROM {}"])
def test_stars_and_whole_rows_hold_the_declared_columns(binder: Binder, sql: str) -> None:
    found = binder.describe(sql.format(f'"{VISIBLE}".t'), {})
    assert found in ({"a": "INTEGER", "b": "VARCHAR"}, {"t": "STRUCT(a INTEGER, b VARCHAR)"})


def test_a_declared_column_of_that_name_is_one(binder: Binder) -> None:
    binder.ensure("r", VISIBLE, {"rowid": "VARCHAR", "a": "DATE"})
    found = binder.describe(f'SELECT rowid, * FROM "{VISIBLE}".r WHERE rowid = $n', {"n": "x"})
    assert found == {"rowid": "VARCHAR", "rowid_1": "VARCHAR", "a": "DATE"}


def test_other_columns_take_the_place_of_the_first(binder: Binder) -> None:
    binder.ensure("t", VISIBLE, {"c": "TIME"})
    assert binder.describe(f'SELECT * FROM "{VISIBLE}".t', {}) == {"c": "TIME"}
    assert binder.describe(f"SELECT *, 'rowid' AS d FROM \"{VISIBLE}\".t", {}) == {"c": "TIME", "d": "VARCHAR"}
