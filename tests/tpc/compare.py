"""Is this the same answer? Types, rows, duplicates and order, with no more tolerance than is argued for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

__all__ = ["Answer", "answer", "difference"]

Floats = Literal["exact", "summed"]
Row = tuple[Any, ...]

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Answer:
    """What plain DuckDB says: the rows, where the sort keys are, and all rows that a LIMIT chose from."""

    table: pa.Table
    sort_keys: tuple[int, ...] = ()
    universe: pa.Table | None = None


def answer(con: duckdb.DuckDBPyConnection, text: str, params: Mapping[str, Any] | None = None) -> Answer:
    """Run `text` on plain DuckDB, with parameters if it has any.

    Where ORDER BY leaves ties and LIMIT cuts through them, more than one answer is right: the universe lets
    `difference` accept exactly those.
    """
    values = dict(params) if params else None
    table = con.execute(text, values).to_arrow_table()
    tree = sqlglot.parse_one(text, dialect="duckdb")
    universe = None
    if tree.args.get("limit") is not None and tree.args.get("order") is not None:
        unlimited = tree.copy()
        unlimited.set("limit", None)
        universe = con.execute(unlimited.sql("duckdb"), values).to_arrow_table()
    return Answer(table, _sort_keys(tree, table.column_names), universe)


def _sort_keys(tree: exp.Expr, names: Sequence[str]) -> tuple[int, ...]:
    """Positions of the leading ORDER BY terms that are output columns; the rest cannot be seen in the output."""
    order = tree.args.get("order")
    found: list[int] = []
    for ordered in order.expressions if order is not None else ():
        position = _position(ordered.this, [name.lower() for name in names])
        if position is None:
            break
        found.append(position)
    return tuple(found)


def _position(term: exp.Expr, names: list[str]) -> int | None:
    if isinstance(term, exp.Literal) and term.is_int:
        return int(term.name) - 1
    if isinstance(term, exp.Column) and names.count(term.name.lower()) == 1:
        return names.index(term.name.lower())
    return None


def difference(actual: pa.Table, expected: Answer, *, floats: Floats = "exact") -> str | None:
    """None when `actual` is the same answer, else one sentence that says what differs.

    Parameters
    ----------
    actual
        What the system under test returned.
    expected
        What plain DuckDB says.
    floats
        `exact` compares bits. `summed` allows 1e-12 relative, only for queries that add DOUBLEs up: floating addition
        is not associative, and neither engine promises an order of rows.
    """
    return (
        _columns(actual.schema, expected.table.schema)
        or _row_count(actual, expected.table)
        or _order(actual, expected, floats)
        or _multiset(actual, expected, floats)
    )


def _columns(actual: pa.Schema, expected: pa.Schema) -> str | None:
    if len(actual) != len(expected):
        return f"{len(actual)} columns {actual.names}, expected {len(expected)} {expected.names}"
    before: Counter[str] = Counter()
    for mine, theirs in zip(actual, expected, strict=True):
        # A name that comes again is numbered where rows stream, `id` and `id_1`, as DuckDB does it.
        again, name = before[theirs.name.lower()], theirs.name.lower()
        before[name] += 1
        name += f"_{again}" * (again > 0)
        # A name that DuckDB made up from the expression's text (`sum(a + b)`) is no promise to anybody.
        if _PLAIN_NAME.fullmatch(theirs.name) and mine.name.lower() != name:
            return f"column `{mine.name}`, expected `{theirs.name}`"
        if _plain(mine.type) != _plain(theirs.type):
            return f"column `{theirs.name}` has type {mine.type}, expected {theirs.type}"
    return None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The logical type: how Arrow lays out a string is not part of an answer."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _row_count(actual: pa.Table, expected: pa.Table) -> str | None:
    if actual.num_rows == expected.num_rows:
        return None
    return f"{actual.num_rows} rows, expected {expected.num_rows}; {_sample_difference(actual, expected)}"


def _sample_difference(actual: pa.Table, expected: pa.Table) -> str:
    mine, theirs = Counter(_rows(actual, "exact")), Counter(_rows(expected, "exact"))
    extra, missing = list((mine - theirs).elements())[:3], list((theirs - mine).elements())[:3]
    return f"extra {extra}, missing {missing}"


def _order(actual: pa.Table, expected: Answer, floats: Floats) -> str | None:
    """The sequence of sort keys is determined even where ties leave the rows' order open."""
    keys = list(expected.sort_keys)
    mine, theirs = (_rows(table.select(keys), floats) for table in (actual, expected.table))
    for number, (left, right) in enumerate(zip(mine, theirs, strict=True)):
        if not _close(left, right, floats):
            return f"row {number} has sort key {left}, expected {right}"
    return None


def _multiset(actual: pa.Table, expected: Answer, floats: Floats) -> str | None:
    mine, theirs = _rows(actual, floats), _rows(expected.table, floats)
    if floats == "summed" and _pairwise(mine, theirs):
        return None
    extra = Counter(mine) - Counter(theirs)
    if not extra:
        return None
    if expected.universe is not None:
        extra = Counter(mine) - Counter(_rows(expected.universe, floats))
        if not extra or (floats == "summed" and _each_found(extra, _rows(expected.universe, floats))):
            return None
    return f"same size, other rows: {_sample_difference(actual, expected.table)}"


def _rows(table: pa.Table, floats: Floats) -> list[Row]:
    """Rows as hashable tuples; in `exact` mode a float becomes its bits, so that -0.0 and NaN count."""
    columns = [[_value(value, floats) for value in column.to_pylist()] for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else [()] * table.num_rows


def _value(value: Any, floats: Floats) -> Any:
    if isinstance(value, float):
        return value.hex() if floats == "exact" or math.isnan(value) else value
    if isinstance(value, (list, dict, bytearray)):
        return repr(value)
    return value


def _pairwise(mine: list[Row], theirs: list[Row]) -> bool:
    """Equal after sorting: exact columns first, so that a last-bit difference cannot reorder rows."""
    pairs = zip(sorted(mine, key=_stable), sorted(theirs, key=_stable), strict=True)
    return all(_close(left, right, "summed") for left, right in pairs)


def _stable(row: Row) -> tuple[list[str], list[str]]:
    exact = [repr(value) for value in row if not isinstance(value, float)]
    return exact, [f"{value:.9e}" for value in row if isinstance(value, float)]


def _each_found(rows: Counter[Row], universe: list[Row]) -> bool:
    return all(any(_close(row, other, "summed") for other in universe) for row in rows)


def _close(left: Row, right: Row, floats: Floats) -> bool:
    return all(_same(a, b, floats) for a, b in zip(left, right, strict=True))


def _same(left: Any, right: Any, floats: Floats) -> bool:
    if floats == "summed" and isinstance(left, float) and isinstance(right, float):
        return left == right or abs(left - right) <= 1e-12 * max(abs(left), abs(right))
    return bool(left == right)
