"""Masks of numbers and dates: Python and SQL agree, types are kept, no value ends a query with itself in the error."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks import Masker, choose_mask

SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def made(name: str, **options: Any) -> Masker:
    return choose_mask("v", name, options=options)


def in_duckdb(con: duckdb.DuckDBPyConnection, masker: Masker, kind: str, values: list[Any], type: pa.DataType) -> Any:
    con.register("raw", pa.table({"n": list(range(len(values))), "v": pa.array(values, type)}))
    sql = masker.compile("v", kind).sql("duckdb")
    found = con.execute(f"SELECT {sql} FROM (SELECT n, v::{kind} AS v FROM raw) ORDER BY n").fetchall()
    return [row[0] for row in found]


WHOLE = [
    made("bucket", size=10),
    made("bucket", size=7),
    made("bucket", edges=[-5, 0, 18, 65]),
    made("round", digits=-2),
]


@pytest.mark.parametrize("masker", WHOLE, ids=repr)
@SOME
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300), min_size=1))
def test_whole_numbers_agree(con: duckdb.DuckDBPyConnection, masker: Masker, values: list[int | None]) -> None:
    assert in_duckdb(con, masker, "BIGINT", values, pa.int64()) == [masker.mask(value) for value in values]


DECIMALS = [
    made("bucket", size=0.5),
    made("bucket", edges=[0, 10.25]),
    made("round", digits=1),
    made("round", digits=-1),
]


@pytest.mark.parametrize("masker", DECIMALS, ids=repr)
@SOME
@given(values=st.lists(st.none() | st.decimals("-99999999.99", "99999999.99", places=2), min_size=1))
def test_decimals_agree(con: duckdb.DuckDBPyConnection, masker: Masker, values: list[Decimal | None]) -> None:
    found = in_duckdb(con, masker, "DECIMAL(15,2)", values, pa.decimal128(15, 2))
    assert found == [masker.mask(value) for value in values]


FLOATS = [made("bucket", size=10), made("bucket", size=0.25), made("bucket", edges=[0, 2.5]), made("round", digits=-1),
          made("round", digits=0), made("round", digits=2)]  # fmt: skip


@pytest.mark.parametrize("masker", FLOATS, ids=repr)
@SOME
@given(values=st.lists(st.none() | st.floats() | st.floats(-1e4, 1e4), min_size=1))
def test_floats_agree(con: duckdb.DuckDBPyConnection, masker: Masker, values: list[float | None]) -> None:
    assert in_duckdb(con, masker, "DOUBLE", values, pa.float64()) == [masker.mask(value) for value in values]


@pytest.mark.parametrize("unit", ["year", "quarter", "month", "week"])
@SOME
@given(values=st.lists(st.none() | st.dates(), min_size=1))
def test_dates_agree(con: duckdb.DuckDBPyConnection, unit: str, values: list[date | None]) -> None:
    masker = made("date_trunc", unit=unit)
    assert in_duckdb(con, masker, "DATE", values, pa.date32()) == [masker.mask(value) for value in values]


@pytest.mark.parametrize("unit", ["year", "quarter", "month", "week", "day", "hour"])
@SOME
@given(values=st.lists(st.none() | st.datetimes(), min_size=1))
def test_moments_agree(con: duckdb.DuckDBPyConnection, unit: str, values: list[datetime | None]) -> None:
    masker = made("date_trunc", unit=unit)
    for kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        found = in_duckdb(con, masker, kind, values, pa.timestamp("us"))
        plain = [value.replace(tzinfo=None) if value is not None and value.tzinfo else value for value in found]
        assert plain == [masker.mask(value) for value in values]


ENDS = {
    "TINYINT": ["-128", "127"],
    "SMALLINT": ["-32768", "32767"],
    "INTEGER": ["-2147483648", "2147483647"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807"],
    "HUGEINT": ["-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"],
    "UTINYINT": ["0", "255"],
    "UBIGINT": ["0", "18446744073709551615"],
    "UHUGEINT": ["0", "340282366920938463463374607431768211455"],
    "DECIMAL(4,1)": ["-999.9", "999.9"],
    "DECIMAL(18,3)": ["-999999999999999.999", "999999999999999.999"],
    "DECIMAL(38,0)": ["-" + "9" * 38, "9" * 38],
    "DECIMAL(38,10)": ["-" + "9" * 28 + "." + "9" * 10, "9" * 28 + "." + "9" * 10],
    "FLOAT": ["-3.4e38", "3.4e38", "nan", "inf", "-inf"],
    "DOUBLE": ["-1.7e308", "1.7e308", "nan", "inf", "-inf", "5e-324"],
    "DATE": ["5877642-06-25 (BC)", "5881580-07-10", "infinity", "-infinity", "0001-01-01", "9999-12-31"],
    "TIMESTAMP": ["290309-12-22 (BC) 00:00:00", "294247-01-10 04:00:54.775806", "infinity", "0001-01-01 00:00:00"],
    "TIMESTAMP_S": ["290309-12-22 (BC) 00:00:00", "294247-01-10 04:00:54"],
    "TIMESTAMP_NS": ["1677-09-22 00:00:00", "2262-04-11 23:47:16.854775806"],
    "TIMESTAMP WITH TIME ZONE": ["290309-12-22 (BC) 00:00:00+00", "294247-01-10 04:00:54.775806+00", "infinity"],
}
COARSE = [
    ("bucket", {"size": 100}), ("bucket", {"edges": [0, 100]}), ("round", {"digits": -2}), ("round", {"digits": -1}),
    ("date_trunc", {"unit": "year"}), ("date_trunc", {"unit": "week"}), ("default", {}), ("random", {}), ("null", {}),
]  # fmt: skip


@pytest.mark.parametrize("kind", ENDS)
def test_the_ends_of_every_type_neither_fail_nor_show(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    # As the engine is, wherever a policy hides values: the optimizer would compute with the least and the greatest.
    con.execute("SET disabled_optimizers = 'statistics_propagation'")
    con.execute(f"CREATE TABLE t (v {kind})")
    for value in ENDS[kind]:
        con.execute(f"INSERT INTO t VALUES ('{value}'::{kind})")
    for name, options in COARSE:
        sql = made(name, **options).compile("v", kind).sql("duckdb")
        assert con.execute(f"DESCRIBE SELECT {sql} AS m FROM t").fetchall()[0][1] == kind
        shown = con.execute(f"SELECT v::VARCHAR, ({sql})::VARCHAR FROM t").fetchall()
        assert len(shown) == len(ENDS[kind])
        whole_already = {"0", "5e-324", "0001-01-01", "0001-01-01 00:00:00"}
        assert not [v for v, m in shown if v == m and v not in whole_already and name != "random"], (name, options)


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("date_trunc", {"unit": "day"}, "DATE"),
        ("round", {"digits": 0}, "BIGINT"),
        ("round", {"digits": 2}, "DECIMAL(10,2)"),
        ("bucket", {"size": 0.5}, "INTEGER"),
        ("bucket", {"size": 0.001}, "DECIMAL(10,2)"),
        ("random", {"low": 1, "high": 9}, "DATE"),
        ("random", {"low": date(2020, 1, 1), "high": date(2021, 1, 1)}, "BIGINT"),
    ],
)
def test_what_would_hide_nothing_or_cannot_fit_is_refused(name: str, options: dict[str, Any], kind: str) -> None:
    with pytest.raises(PolicyError, match=f"the mask `{name}`"):
        made(name, **options).compile("v", kind)


def test_random_is_new_for_every_row_and_in_its_range(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE t AS SELECT 5 AS n, 'x' AS s, DATE '2000-02-03' AS d FROM range(500)")
    trees = [
        made("random", low=20, high=30).compile("n", "INTEGER"),
        made("random").compile("s", "VARCHAR"),
        made("random", low="1990-01-01", high="1991-01-01").compile("d", "DATE"),
    ]
    rows = con.execute(f"SELECT {', '.join(tree.sql('duckdb') for tree in trees)} FROM t").fetchall()
    numbers, texts, dates = zip(*rows, strict=True)
    assert set(numbers) == set(range(20, 30))
    assert len(set(texts)) == 500
    assert {len(text) for text in texts} == {12}
    assert min(dates) >= date(1990, 1, 1)
    assert max(dates) < date(1991, 1, 1)
    assert len(set(dates)) > 100
    assert not any(list(tree.find_all(exp.Column)) for tree in trees), "the column is not even read"


def test_random_values_of_one_row() -> None:
    assert 20 <= made("random", low=20, high=30).mask(5) < 30
    assert isinstance(made("random").mask(True), bool)
    assert isinstance(made("random").mask(Decimal("1.5")), Decimal)
    assert 1970 <= made("random").mask(date(2024, 1, 1)).year <= 2020
    assert made("random").mask(datetime(2024, 1, 1, tzinfo=UTC)).tzinfo is None
    assert made("random").mask(b"bytes") is None


def test_values_of_other_kinds_are_hidden() -> None:
    for name, options in (("bucket", {"size": 10}), ("round", {"digits": -1}), ("date_trunc", {"unit": "year"})):
        masker = made(name, **options)
        assert [masker.mask(value) for value in ("12", b"12", True, None)] == [None] * 4
    assert made("bucket", size=10).mask(math.nan) is None
    assert made("round", digits=1).mask(math.inf) is None
