"""The comparer itself: what it must notice, and what it must accept."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from tests.tpc.compare import answer, difference


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t AS FROM (VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd')) v(k, s)")
        yield con


def _said(con: duckdb.DuckDBPyConnection, asked: str, returned: str) -> str:
    return difference(con.execute(returned).to_arrow_table(), answer(con, asked)) or ""


@pytest.mark.parametrize(
    ("asked", "returned", "complaint"),
    [
        ("SELECT k FROM t", "SELECT k, s FROM t", "2 columns"),
        ("SELECT k FROM t", "SELECT k AS x FROM t", "column `x`"),
        ("SELECT k FROM t", "SELECT k::BIGINT AS k FROM t", "type int64"),
        ("SELECT 1.50 AS d", "SELECT 1.5 AS d", "type decimal128"),
        ("SELECT k FROM t", "SELECT DISTINCT k FROM t", "3 rows, expected 4"),
        ("SELECT k, s FROM t", "SELECT 2 AS k, s FROM t", "other rows"),
        ("SELECT k FROM t ORDER BY k", "SELECT k FROM t ORDER BY k DESC", "sort key"),
        ("SELECT k FROM t ORDER BY 1", "SELECT k FROM t ORDER BY 1 NULLS FIRST", "sort key"),
        ("SELECT k, s FROM t ORDER BY k LIMIT 2", "FROM (VALUES (1, 'a'), (2, 'x')) v(k, s)", "other rows"),
        ("SELECT 0.1::DOUBLE AS f", "SELECT 0.1::DOUBLE + 1e-17 * 2 AS f", "other rows"),
        ("SELECT '' AS s", "SELECT NULL::VARCHAR AS s", "other rows"),
    ],
)
def test_differences_are_noticed(con: duckdb.DuckDBPyConnection, asked: str, returned: str, complaint: str) -> None:
    assert complaint in _said(con, asked, returned)


@pytest.mark.parametrize(
    ("asked", "returned"),
    [
        ("SELECT k, s FROM t", "SELECT k, s FROM t ORDER BY s DESC"),
        ("SELECT k, s FROM t ORDER BY k", "SELECT k, s FROM t ORDER BY k, s DESC"),
        ("SELECT k, s FROM t ORDER BY k LIMIT 2", "FROM (VALUES (1, 'a'), (2, 'c')) v(k, s)"),
        ("SELECT sum(k) FROM t", "SELECT sum(k) AS total FROM t"),
        ("SELECT 'nan'::DOUBLE AS f", "SELECT 'nan'::DOUBLE AS f"),
    ],
)
def test_the_same_answer_is_accepted(con: duckdb.DuckDBPyConnection, asked: str, returned: str) -> None:
    assert not _said(con, asked, returned)


def test_summed_floats_may_differ_in_the_last_bits() -> None:
    with duckdb.connect() as con:
        expected = answer(con, "SELECT 'a' AS s, 0.1::DOUBLE AS f UNION ALL SELECT 'a', 0.2::DOUBLE")
    near = pa.table({"s": ["a", "a"], "f": [0.2, 0.1 + 2e-17]})
    far = pa.table({"s": ["a", "a"], "f": [0.2, 0.1 + 1e-11]})
    assert difference(near, expected) is not None
    assert difference(near, expected, floats="summed") is None
    assert difference(far, expected, floats="summed") is not None


def test_how_arrow_lays_out_a_string_is_no_difference() -> None:
    with duckdb.connect() as con:
        expected = answer(con, "SELECT 'a' AS s")
    for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        assert difference(pa.table({"s": pa.array(["a"]).cast(kind)}), expected) is None
