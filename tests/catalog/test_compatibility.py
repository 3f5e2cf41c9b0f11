from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from tauro_nb.catalog.evolution import SchemaVersion, schema_changes
from tauro_nb.catalog.types import comparable, compatible, widens
from tauro_nb.catalog.validation import check_schema

# Values near every edge at which a cast starts to change them.
VALUES: dict[str, list[Any]] = {
    "TINYINT": [-128, 127], "SMALLINT": [-32768, 32767], "INTEGER": [-(2**31), 2**31 - 1],
    "BIGINT": [-(2**63), 2**63 - 1], "HUGEINT": [-(2**127), 2**127 - 1], "UTINYINT": [0, 255],
    "UINTEGER": [2**32 - 1], "UBIGINT": [2**64 - 1], "UHUGEINT": [2**128 - 1],
    "FLOAT": [1.5, 16777216.0], "DOUBLE": [0.1, 9007199254740991.0, 1.0000000001],
    "DECIMAL(4,1)": [Decimal("-999.9")], "DECIMAL(9,2)": [Decimal("9999999.99")],
    "DECIMAL(9,4)": [Decimal("99999.9999")],
    "DECIMAL(38,0)": [Decimal(10**38 - 1)],
    "DATE": [dt.date(2024, 2, 29)], "TIMESTAMP_S": ["2024-02-29 23:59:59"],
    "TIMESTAMP_MS": ["2024-02-29 23:59:59.123"], "TIMESTAMP": ["2024-02-29 23:59:59.123456"],
    "TIMESTAMP_NS": ["2024-02-29 23:59:59.123456789"], "TIMESTAMP WITH TIME ZONE": ["2024-02-29 23:59:59.123456+00"],
    "VARCHAR": ["x", "1", "2024-02-29"], "UUID": ["00000000-0000-0000-0000-000000000001"], "BOOLEAN": [True],
    "ENUM('a', 'b')": ["a", "b"], "ENUM('a', 'b', 'c')": ["a", "c"], "TIME": ["23:59:59.123456"], "BLOB": [b"x"],
}  # fmt: skip
PAIRS = [(wide, narrow) for wide in VALUES for narrow in VALUES if wide != narrow]


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'America/New_York'")
    return con


def survives(con: duckdb.DuckDBPyConnection, value: Any, origin: str, target: str) -> bool | None:
    """Whether the value comes back after a cast there and back; None if the cast fails loudly."""
    # Back through text where moments are concerned: DuckDB has no cast from milliseconds to seconds.
    there = f"CAST(v AS {target})"
    back = f"CAST({there} AS VARCHAR)" if "TIMESTAMP" in target and "TIMESTAMP" in origin else there
    sql = f"SELECT v IS NOT DISTINCT FROM CAST({back} AS {origin}) FROM (SELECT CAST(? AS {origin}) AS v)"
    try:
        return bool(con.execute(sql, [value]).fetchall()[0][0])
    except duckdb.Error:
        return None


@pytest.mark.parametrize(("wide", "narrow"), [pair for pair in PAIRS if widens(pair[1], pair[0])])
def test_what_widens_keeps_every_edge(con: duckdb.DuckDBPyConnection, wide: str, narrow: str) -> None:
    assert [survives(con, value, narrow, wide) for value in VALUES[narrow]] == [True] * len(VALUES[narrow])


# Said in the docstring of `compatible`: nanoseconds as microseconds, and what floating point is.
ROUNDED_ON_PURPOSE = {("TIMESTAMP", "TIMESTAMP_NS")} | {
    (floating, origin)
    for floating in ("FLOAT", "DOUBLE")
    for origin in VALUES
    if origin.startswith(("DECIMAL", "HUGE", "UHUGE", "BIG", "UBIG", "INT", "UINT"))
}


@pytest.mark.parametrize(("declared", "actual"), [pair for pair in PAIRS if compatible(*pair)])
def test_what_is_compatible_is_exact_or_fails_loudly(
    con: duckdb.DuckDBPyConnection, declared: str, actual: str
) -> None:
    kept = [survives(con, value, actual, declared) for value in VALUES[actual]]
    assert (declared, actual) in ROUNDED_ON_PURPOSE or False not in kept


def test_widening_is_an_order() -> None:
    for a in VALUES:
        assert widens(a, a)
        for b in VALUES:
            assert a == b or not (widens(a, b) and widens(b, a)), (a, b)
            for c in VALUES:
                assert not (widens(a, b) and widens(b, c)) or widens(a, c), (a, b, c)


@pytest.mark.parametrize(
    ("declared", "actual", "typed", "untyped"),
    [
        ("INTEGER", "BIGINT", True, True),
        ("INTEGER", "DOUBLE", False, True),
        ("DECIMAL(10,2)", "DECIMAL(12,2)", True, True),
        ("DECIMAL(10,2)", "DECIMAL(10,4)", False, True),
        ("DECIMAL", "DOUBLE", False, True),
        ("DOUBLE", "DECIMAL(10,2)", True, True),
        ("FLOAT", "DOUBLE", False, True),
        ("DATE", "VARCHAR", False, True),
        ("DATE", "TIMESTAMP", False, True),
        ("TIMESTAMP", "DATE", True, True),
        ("TIMESTAMP", "TIMESTAMPTZ", False, True),
        ("TIMESTAMP", "TIMESTAMP_NS", True, True),
        ("TIMESTAMP_S", "TIMESTAMP", False, True),
        ("DATE", "BIGINT", False, False),
        ("BOOLEAN", "BIGINT", False, True),
        ("BOOLEAN", "VARCHAR", False, True),
        ("BLOB", "BIGINT", False, False),
        ("VARCHAR", "INTEGER", False, True),
        ("VARCHAR", "UUID", True, True),
        ("VARCHAR", "ENUM('a')", True, True),
        ("UUID", "VARCHAR", False, True),
        ("INT[]", "BIGINT[]", True, True),
        ("INT[]", "VARCHAR", False, True),
        ("INT[]", "INT[3]", True, True),
        ("INT[3]", "INT[]", False, False),
        ("INT[]", "INT", False, False),
        ("VARCHAR", "INT[]", False, False),
        ("STRUCT(a INT, b DATE)", "STRUCT(B DATE, A BIGINT)", True, True),
        ("STRUCT(a INT)", "STRUCT(a VARCHAR)", False, True),
        ("STRUCT(a INT)", "STRUCT(a INT, b INT)", False, False),
        ("MAP(TEXT, INT)", "MAP(TEXT, BIGINT)", True, True),
        ("MAP(TEXT, INT)", "JSON", False, True),
    ],
)
def test_compatible(declared: str, actual: str, typed: bool, untyped: bool) -> None:
    assert compatible(declared, actual) is typed
    assert compatible(declared, actual, untyped_source=True) is untyped


def test_comparable_is_symmetric_and_groups_types() -> None:
    for a in VALUES:
        assert comparable(a, a)
        for b in VALUES:
            assert comparable(a, b) is comparable(b, a)
    assert comparable("INT[]", "BIGINT[3]")
    assert not comparable("INT[]", "TEXT[]")
    assert not comparable("INT[]", "INT")
    assert not comparable("DATE", "TEXT")
    assert comparable("DATE", "TIMESTAMPTZ")


def test_check_schema_names_both_sides_and_ignores_columns_nobody_declared() -> None:
    actual = {"ID": "BIGINT", "email": "VARCHAR", "since": "TIMESTAMP", "other": "BLOB"}
    assert check_schema("c", {"id": "INTEGER", "email": "VARCHAR"}, actual) == []
    assert check_schema("c", {"since": "DATE", "mail": "VARCHAR", "zzz": "INTEGER"}, actual) == [
        "c.since is declared as DATE, the source has TIMESTAMP",
        "c.mail is declared, the source has no such column. Did you mean `email`?",
        "c.zzz is declared, the source has no such column",
    ]
    assert check_schema("c", {"since": "DATE"}, actual, untyped_source=True) == []
    assert check_schema("c", {}, actual) == []


def test_changes_of_schemas() -> None:
    before = {"a": "INTEGER", "B": "VARCHAR", "c": "DECIMAL(10,2)"}
    after = {"b": "VARCHAR", "a": "SMALLINT", "c": "DECIMAL(12,2)", "d": "DATE"}
    assert [(str(change), change.breaking) for change in schema_changes(before, after)] == [
        ("a narrowed (INTEGER -> SMALLINT)", True),
        ("c widened (DECIMAL(10,2) -> DECIMAL(12,2))", False),
        ("d added (DATE)", False),
    ]
    assert schema_changes(before, {}) == schema_changes({}, before) == ()
    first = SchemaVersion(1, before)
    assert first.next(dict(before)) is first
    assert (first.next({}).number, first.next({}).breaking) == (2, False)
