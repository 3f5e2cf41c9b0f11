"""Columns of every type a dialect has, with values that engines are known to differ about."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = ["COLUMNS", "ROWS", "Column", "rows"]

ROWS = 300
"""Rows of the table: every value of a column meets every value of its partner."""


@dataclass(frozen=True, slots=True)
class Column:
    """Two columns of one type, `NAME_a` and `NAME_b`, so that values meet each other.

    Parameters
    ----------
    name
        Of the pair.
    ddl
        Its type at the source.
    kind
        The family that expressions are made for; `opaque` for what conditions must leave to the engine.
    type
        What DuckDB is given instead.
    values
        What it holds, besides NULL.
    """

    name: str
    ddl: str
    kind: str
    type: str
    values: tuple[Any, ...]


def _integers(bits: int, *, signed: bool = True) -> tuple[int, ...]:
    top = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    bottom = -top - 1 if signed else 0
    near = (0, 1, 2, 3, 7, 10, 100)
    return tuple(sorted({*near, *((-value for value in near) if signed else ()), top, top - 1, bottom, bottom + 1}))


def _decimals(width: int, scale: int) -> tuple[Decimal, ...]:
    unit, top = Decimal((0, (1,), -scale)), Decimal((0, (9,) * width, -scale))
    plain = (0, 1, 2, Decimal("2.5"), Decimal("-2.5"), Decimal("0.5"), Decimal("-0.5"), 7, -7, Decimal("1.25"))
    return (*(Decimal(value).quantize(unit) for value in plain), unit, unit.copy_negate(), top, top.copy_negate())


_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 1e30, -1e30, 0.1, 16777217.0, math.inf, -math.inf, math.nan)
_REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 0.25, 1024.0, 16777216.0, math.inf, -math.inf, math.nan)
_TEXTS = (
    "", " ", "a", "A", "a ", " a", "ab", "aB", "b", "Z", "é", "e\u0301", "É", "ß", "ss", "straße", "İ", "ı", "日本",
    "🙂", "a%", "a_b", "a\\b", "\\", "%", "_", "axb", "ab%c", "10", "9", "it's", "tab\t", "\u00a0a", "a\n", "null",
    "a\u200b", "ａ", "\ufffd", "x" * 180, "x" * 180 + " ",
)  # fmt: skip
_LONG = (*_TEXTS, "y" * 5000, "y" * 4999 + "z")
_DAYS = tuple(
    map(dt.date.fromisoformat, (
        "0001-01-01", "1582-10-04", "1582-10-15", "1899-12-31", "1969-12-31", "1970-01-01", "1999-12-31", "2000-02-29",
        "2001-01-01", "2023-12-31", "2024-02-29", "2024-12-30", "9999-12-31",
    ))
)  # fmt: skip
_MOMENTS = tuple(
    map(dt.datetime.fromisoformat, (
        "0001-01-01 00:00:00", "1582-10-10 12:00:00", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00",
        "2000-02-29 12:30:45.5", "2024-02-29 00:00:00", "2024-02-29 00:00:00.000001", "2024-02-29 23:59:59.999999",
        "2024-03-10 02:30:00", "2024-03-31 01:30:00", "2024-12-31 23:59:59", "9999-12-31 23:59:59.999999",
    ))
)  # fmt: skip
_FLAGS = (True, False)


def _stored_by_mysql(value: float) -> bool:
    """Neither NaN nor infinity, and -0.0 becomes 0."""
    return math.isfinite(value) and str(value) != "-0.0"


_POSTGRES = (
    Column("s", "smallint", "integer", "SMALLINT", _integers(16)),
    Column("i", "integer", "integer", "INTEGER", _integers(32)),
    Column("l", "bigint", "integer", "BIGINT", _integers(64)),
    Column("d", "numeric(10,2)", "decimal", "DECIMAL(10,2)", _decimals(10, 2)),
    Column("e", "numeric(18,6)", "decimal", "DECIMAL(18,6)", _decimals(18, 6)),
    Column("w", "numeric(38,10)", "decimal", "DECIMAL(38,10)", _decimals(38, 10)),
    Column("r", "real", "float", "FLOAT", _REALS),
    Column("f", "double precision", "float", "DOUBLE", _FLOATS),
    Column("t", "text", "text", "VARCHAR", _LONG),
    Column("v", "varchar(200)", "text", "VARCHAR", _TEXTS),
    Column("c", 'text COLLATE "C"', "text", "VARCHAR", _LONG),
    Column("y", "date", "date", "DATE", _DAYS),
    Column("m", "timestamp", "timestamp", "TIMESTAMP", _MOMENTS),
    Column("b", "boolean", "boolean", "BOOLEAN", _FLAGS),
    Column("p", "char(4)", "opaque", "VARCHAR", ("a", "A", "ab", "")),
    Column("u", "numeric", "opaque", "DOUBLE", (Decimal("0.1"), Decimal(3), Decimal("-2.5"))),
)
_MYSQL = (
    Column("s", "smallint", "integer", "SMALLINT", _integers(16)),
    Column("i", "int", "integer", "INTEGER", _integers(32)),
    Column("l", "bigint", "integer", "BIGINT", _integers(64)),
    Column("h", "int unsigned", "unsigned", "UINTEGER", _integers(32, signed=False)),
    Column("g", "bigint unsigned", "unsigned", "UBIGINT", _integers(64, signed=False)),
    Column("d", "decimal(10,2)", "decimal", "DECIMAL(10,2)", _decimals(10, 2)),
    Column("e", "decimal(18,6)", "decimal", "DECIMAL(18,6)", _decimals(18, 6)),
    Column("w", "decimal(38,10)", "decimal", "DECIMAL(38,10)", _decimals(38, 10)),
    Column("r", "float", "float", "FLOAT", tuple(filter(_stored_by_mysql, _REALS))),
    Column("f", "double", "float", "DOUBLE", tuple(filter(_stored_by_mysql, _FLOATS))),
    Column("t", "text", "opaque", "VARCHAR", _LONG),
    Column("v", "varchar(200) COLLATE utf8mb4_general_ci", "text", "VARCHAR", _TEXTS),
    Column("c", "varchar(200) COLLATE utf8mb4_bin", "text", "VARCHAR", _TEXTS),
    Column("y", "date", "date", "DATE", _DAYS),
    Column("m", "datetime(6)", "timestamp", "TIMESTAMP", _MOMENTS),
    Column("b", "boolean", "boolean", "BOOLEAN", _FLAGS),
)
_SQLITE = (
    Column("i", "INTEGER", "integer", "BIGINT", _integers(32)),
    Column("l", "BIGINT", "integer", "BIGINT", _integers(64)),
    # It stores NaN as NULL and -0.0 as 0.
    Column("f", "DOUBLE", "opaque", "DOUBLE", (0.0, *(value for value in _FLOATS if value and not math.isnan(value)))),
    Column("t", "TEXT", "text", "VARCHAR", _LONG),
    Column("v", "VARCHAR(200) COLLATE NOCASE", "text", "VARCHAR", _TEXTS),
    Column("c", "TEXT COLLATE RTRIM", "text", "VARCHAR", _TEXTS),
    Column("y", "DATE", "opaque", "DATE", _DAYS),
    Column("m", "TIMESTAMP", "opaque", "TIMESTAMP", _MOMENTS),
)
COLUMNS: Mapping[str, tuple[Column, ...]] = {"postgres": _POSTGRES, "mysql": _MYSQL, "sqlite": _SQLITE}
"""By sqlglot's name of the dialect."""


def rows(columns: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    """The table: a number, and for each pair of columns two values, of which every tenth is NULL."""
    return [
        (number, *(value for column in columns for value in _pair(column.values, number)))
        for number in range(ROWS)
    ]  # fmt: skip


def _pair(values: tuple[Any, ...], number: int) -> tuple[Any, Any]:
    """Every value beside every other, as far as the rows reach; the rows go round the values at different speeds."""
    size = len(values) + 1
    both = (*values, None)
    turn = number // size
    return both[number % size], both[(number + turn) % size]
