from __future__ import annotations

import contextlib
import re

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tauro_nb.catalog.type_names import SCALARS
from tauro_nb.catalog.types import normalize

NESTED = [
    "ARRAY<STRING>", "STRUCT<a: INT>", "STRUCT<a INT, b STRING>", 'STRUCT(a INT, "b c" TEXT, "select" INT, name INT)',
    "MAP<STRING, INT64>", "MAP(VARCHAR, DECIMAL)", "INT[]", "INT[3]", "INT[][3]", "INT ARRAY", "INT ARRAY[3]",
    "ENUM('a', 'it''s')", "UNION(num INT, str VARCHAR)", "ROW(a INT)", "LIST<STRUCT<`x y`: UINT8>>",
    'STRUCT("q""q" INT, "é" INT, "1a" INT, A INT)', "DECIMAL(10)", "NUMERIC(38,10)", "VARCHAR(10)", "FLOAT(24)",
    "TIMESTAMP(0)", "TIMESTAMP(2)", "TIMESTAMP(3)", "TIMESTAMP(6)", "TIMESTAMP(9)", "TIMESTAMP(6) WITH TIME ZONE",
    "FLOAT(53)", "INT(11)", "  int  ", "time with time zone", "CHARACTER VARYING(20)", "TIMESTAMP(6) WITHOUT TIME ZONE",
    "TIMESTAMPTZ(3)",
]  # fmt: skip


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def described(con: duckdb.DuckDBPyConnection, type_text: str) -> str:
    return con.execute(f"DESCRIBE SELECT CAST(NULL AS {type_text}) AS x").fetchall()[0][1]


@pytest.mark.parametrize("spelling", [*SCALARS, *NESTED])
def test_duckdb_describes_the_canonical_text_as_itself(con: duckdb.DuckDBPyConnection, spelling: str) -> None:
    canonical = normalize(spelling)
    assert described(con, canonical) == canonical
    assert normalize(canonical) == canonical


def test_where_duckdb_accepts_a_spelling_it_means_the_same(con: duckdb.DuckDBPyConnection) -> None:
    meant: dict[str, str] = {}
    for spelling in [*SCALARS, *NESTED]:
        with contextlib.suppress(duckdb.Error):  # a spelling of another engine
            meant[spelling] = described(con, spelling)
    assert len(meant) > 90
    assert {spelling: normalize(spelling) for spelling in meant} == meant


def test_every_type_name_duckdb_has_is_understood(con: duckdb.DuckDBPyConnection) -> None:
    # `null` and `type` are no types of columns; the nested ones need arguments.
    other = {"null", "type", "array", "enum", "list", "map", "row", "struct", "union"}
    rows = con.execute("SELECT DISTINCT lower(type_name) FROM duckdb_types()").fetchall()
    names = {name for (name,) in rows} - other
    assert {name: normalize(name) for name in names} == {name: described(con, name) for name in names}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("VARCHR", "unknown type `VARCHR`. Did you mean `VARCHAR`?"),
        ("", "the type is empty"),
        ("   ", "the type is empty"),
        ("DECIMAL(39,2)", "DECIMAL(39,2): the width is between 1 and 38, the scale not above it"),
        ("DECIMAL(5,6)", "DECIMAL(5,6): the width is between 1 and 38, the scale not above it"),
        ("DATE(3)", "the type DATE does not take (3)"),
        ("INT; DROP TABLE x", "`INT; DROP TABLE x` is not a type: it breaks at `;`"),
        ("STRUCT(a INT", "`STRUCT(a INT` is not a type: it breaks at its end"),
        ("STRUCT(a INT, A INT)", "the field `A` is declared twice in STRUCT"),
        ("ENUM('a','a')", "an ENUM lists the same value twice"),
        ("INT[0]", "the size of an array is between 1 and 100000, not 0"),
        ("ARRAY<" * 40 + "INT" + ">" * 40, "the type is nested more than 24 levels deep"),
    ],
)
def test_no_type(wrong: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        normalize(wrong)


ALPHABET = st.text(alphabet="INTEGRVACHDOUBLS<>()[],:'\"` 0123456789abcé\n;", max_size=30)


@given(ALPHABET)
@settings(deadline=None)
def test_any_text_is_a_type_or_a_value_error(text: str) -> None:
    try:
        canonical = normalize(text)
    except ValueError:
        return
    assert normalize(canonical) == canonical


def types() -> st.SearchStrategy[str]:
    names = st.text(min_size=1, max_size=6).filter(lambda name: "\x00" not in name)
    quoted = names.map(lambda name: '"' + name.replace('"', '""') + '"')

    def nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        fields = st.lists(st.tuples(quoted, inner), min_size=1, max_size=3, unique_by=lambda pair: pair[0].casefold())
        return st.one_of(
            inner.map(lambda t: f"ARRAY<{t}>"),
            st.tuples(inner, st.integers(1, 9)).map(lambda p: f"{p[0]}[{p[1]}]"),
            st.tuples(inner, inner).map(lambda p: f"MAP({p[0]}, {p[1]})"),
            fields.map(lambda found: f"STRUCT({', '.join(f'{n} {t}' for n, t in found)})"),
        )

    return st.recursive(st.sampled_from(sorted(SCALARS)), nest, max_leaves=5)


@given(types())
@settings(max_examples=60, deadline=None)
def test_any_nested_type_comes_back_from_duckdb_as_we_wrote_it(con: duckdb.DuckDBPyConnection, text: str) -> None:
    canonical = normalize(text)
    assert described(con, canonical) == canonical
