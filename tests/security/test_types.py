"""Type texts come from sources and files: they are parsed, never pasted."""

from __future__ import annotations

import duckdb
import pytest

from tauro_nb.errors import PolicyError
from tauro_nb.security.types import UNTYPED, data_type, is_integer, is_number, is_text


@pytest.mark.parametrize(
    "text",
    [
        *"TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT FLOAT DOUBLE".split(),
        *"VARCHAR BLOB BIT BOOLEAN DATE TIME TIMESTAMP TIMESTAMP_S TIMESTAMP_MS TIMESTAMP_NS INTERVAL UUID".split(),
        "JSON",
        "DECIMAL(38,10)",
        "TIMESTAMP WITH TIME ZONE",
        "TIME WITH TIME ZONE",
        "ENUM('a', 'b''c')",
        "VARCHAR[]",
        "INTEGER[3]",
        "MAP(VARCHAR, INTEGER[])",
        'STRUCT(a INTEGER, "b c" VARCHAR)',
        "UNION(a INTEGER, b VARCHAR)",
        UNTYPED,
    ],
)
def test_a_type_survives(text: str) -> None:
    written = data_type(text).sql("duckdb")
    both = duckdb.sql(f"SELECT typeof(CAST(NULL AS {written})), typeof(CAST(NULL AS {text}))").fetchall()[0]
    assert both[0] == both[1]


@pytest.mark.parametrize("text", ["", "a b c", 'x"y', "foo) FROM x", "foo; DROP TABLE x", "foo -- x", "'x'", "a.b"])
def test_what_is_not_a_type(text: str) -> None:
    with pytest.raises(PolicyError):
        data_type(text)


def test_kinds() -> None:
    assert [kind for kind in ("VARCHAR", "VARCHAR(5)", "VARCHAR[]", "BLOB", "JSON") if is_text(kind)] == [
        "VARCHAR",
        "VARCHAR(5)",
    ]
    assert [kind for kind in ("INTEGER", "INTEGER[]", "DOUBLE", "DECIMAL(5,2)") if is_integer(kind)] == ["INTEGER"]
    assert [kind for kind in ("INTEGER", "INTEGER[]", "DECIMAL(5,2)", "DATE") if is_number(kind)] == [
        "INTEGER",
        "DECIMAL(5,2)",
    ]
