"""Every scalar function, cast and operator a query may use, over columns that can make it fail."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import duckdb

from tauro_nb.query.functions import allowed_functions
from tests.leakfuzz.columns import COLUMNS, PATTERNS, VISIBLE, Column, hidden_value

__all__ = ["Expression", "Screened", "enumerate_expressions", "screen", "screening_tables"]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, the columns it reads, and whether it is a condition by itself."""

    sql: str
    columns: frozenset[str]
    condition: bool = False


@dataclass(frozen=True, slots=True)
class Screened:
    """What was enumerated, what of it binds, and what fails on hidden values alone."""

    enumerated: int
    bound: int
    throwing: tuple[Expression, ...]


_TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "DECIMAL(4,0)", "DECIMAL(18,3)", "DECIMAL(38,10)", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "DATE", "TIME",
    "TIMETZ", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ", "INTERVAL", "UUID", "JSON",
    "BIT", "INTEGER[]", "INTEGER[2]", "STRUCT(a INTEGER, b INTEGER)", "MAP(VARCHAR, INTEGER)",
)  # fmt: skip
_BINARY = (
    "+", "-", "*", "/", "//", "%", "**", "^", "<<", ">>", "&", "|", "||", "<->", "<=>", "@>", "<@", "&&", "^@", "->",
    "->>",
    "~", "!~", "~~", "~~*", "~~~", "LIKE", "ILIKE", "SIMILAR TO", "GLOB", "=", "<>", "<", "<=", "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM", "AND", "OR", "IN",
)  # fmt: skip
_CONDITIONS = frozenset({
    "=", "<>", "<", "<=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "AND", "OR", "IN", "LIKE", "ILIKE", "~~",
    "SIMILAR TO", "GLOB", "~", "!~", "~~*", "~~~",
})  # fmt: skip
_CONSTANTS = (
    "3", "-1", "0", "1.5", "0.00000000000001", "1e3", "'abc'", "'12'", "'2024-01-02'", "true", "NULL",
    "DATE '2024-01-02'", "TIMESTAMP '2024-01-02 03:04:05'", "INTERVAL 1 DAY", "[1, 2]", "CAST(3 AS HUGEINT)",
)  # fmt: skip
# What stands in the other places of a call, by the type that is asked for there; the first that works is kept.
_FILLERS: dict[str, tuple[str, ...]] = {
    "VARCHAR": ("'abc'", "'a'", "'%Y-%m-%d'", "'year'", "'{\"a\": 1}'", "'$.a'", "'12'", "'UTC'", "'{}'",
    "'2024-01-02'"),
    "JSON": ("'{\"a\": 1}'",), "BLOB": ("'ab'::BLOB",), "BIT": ("'0101'::BIT",), "BOOLEAN": ("true",),
    "DATE": ("DATE '2024-01-02'",), "TIME": ("TIME '10:00:00'",), "TIMESTAMP": ("TIMESTAMP '2024-01-02 03:04:05'",),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMPTZ '2024-01-02 03:04:05+00'",), "INTERVAL": ("INTERVAL 1 DAY",),
    "UUID": ("UUID '12345678-1234-1234-1234-123456789012'",), "ANY": ("3", "'abc'", "[1, 2]"), "T": ("3", "'abc'",
    "[1, 2]"), "T[]": ("[1, 2]",),
    "ANY[]": ("[1, 2]",), "VARCHAR[]": ("['a', 'b']",), "MAP(K, V)": ("MAP {'a': 1}",),
}  # fmt: skip
_OWN = (
    "list_transform({l}, x -> x + 2147483647)", "list_filter({l}, x -> 1 // x > 0)",
    "list_reduce({l}, (x, y) -> x * y)",
    "{l}[{i8}]", "{l}[{i4}:{i8}]", "{s_txt}[{i8}]", "{s_txt}[{i8}:{i4}]", "{st}.a + 2147483647",
    "{mp}['a'] + 2147483647",
    "extract(year FROM {ts})", "{ts} AT TIME ZONE {s_zone}", "{tz} AT TIME ZONE {s_zone}",
    "{s_txt} LIKE 'a' ESCAPE {s_chr}",
    "{s_txt} ILIKE {s_re} ESCAPE {s_chr}", "CASE WHEN {b} THEN {s_num}::INT ELSE 1 // {i8} END",
    "coalesce({s_num}::INT, {i4})",
    "if({b}, {s_date}::DATE, {dt})", "nullif({s_num}::INT, {i4})", "{i4} BETWEEN {s_num} AND {s_num}",
    "{s_num} IN (1, 2)",
    "{s_num} BETWEEN 1 AND 2", "{dt} BETWEEN TIMESTAMP '2024-01-01' AND TIMESTAMP '2024-02-01'", "{m38} IN (0.5, 1.5)",
    "{h} BETWEEN 0.5 AND 1.5", "-{i8} < 0", "{s_bool}", "NOT {s_bool}", "{s_bool} IS TRUE", "{s_bool} OR {b}",
    "-{i4} = 5",
    "{i4} * {i4}", "{m} * {m}", "{i8} + {i8} > 0", "{i8} * 2 = 6", "-{i4} IS NOT NULL", "abs({i8}) + 1 > 0",
    "json_extract({s_json}, '$.a')", "{s_json}->'a'", "{s_json}->>'$.a'", "unnest([{i4}]) + 2147483647",
)  # fmt: skip
_OWN_CONDITIONS = ("BETWEEN", " IN (", " < ", " > ", "{s_bool}", " = ", "LIKE", "ILIKE", "NOT NULL")


# With a large number these take all memory there is: they are tried with small ones.
_HUNGRY = frozenset({
    "repeat", "lpad", "rpad", "range", "generate_series", "list_resize", "array_resize", "bar", "bitstring", "space",
    "fill",
})  # fmt: skip
_SMALL = ("b", "i1", "f")


def _expression(sql: str, columns: Iterable[Column], *, condition: bool = False) -> Expression:
    return Expression(sql, frozenset(column.name for column in columns), condition)


def _representatives() -> tuple[Column, ...]:
    """One column for each type, and texts of three forms."""
    kept = {"s_txt", "s_num", "s_date"}
    return tuple(column for column in COLUMNS if not column.is_text or column.name in kept)


def _casts() -> Iterator[Expression]:
    for column, kind in itertools.product(COLUMNS, _TYPES):
        yield _expression(f"CAST({column.name} AS {kind})", (column,))


def _operators() -> Iterator[Expression]:
    for column in COLUMNS:
        for form in ("-{0}", "+{0}", "~{0}", "@{0}", "NOT {0}", "{0}!", "{0}", "{0} IS TRUE"):
            yield _expression(form.format(column.name), (column,), condition=form in ("NOT {0}", "{0}", "{0} IS TRUE"))
    few = _representatives()
    for symbol in _BINARY:
        form = "{0} IN ({1})" if symbol == "IN" else f"{{0}} {symbol} {{1}}"
        for left, right in itertools.product(few, few):
            yield _expression(form.format(left.name, right.name), (left, right), condition=symbol in _CONDITIONS)
        for column, constant in itertools.product(few, _CONSTANTS):
            yield _expression(form.format(column.name, constant), (column,), condition=symbol in _CONDITIONS)
            yield _expression(form.format(constant, column.name), (column,), condition=symbol in _CONDITIONS)
    by_name = {column.name: column for column in COLUMNS}
    for template in _OWN:
        used = [by_name[name] for name in by_name if f"{{{name}}}" in template]
        condition = any(sign in template for sign in _OWN_CONDITIONS)
        yield _expression(template.format(**{name: name for name in by_name}), used, condition=condition)


def _overloads(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, tuple[str, ...]]]:
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name), parameter_types, varargs FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'macro') ORDER BY ALL"
    ).fetchall()
    out = []
    for name, parameters, varargs in rows:
        kinds = tuple(kind or "ANY" for kind in parameters)
        wide = [kinds + (varargs,) * more for more in range(3)] if varargs else [kinds]
        if name in allowed_functions() and name.isidentifier():
            out += [(name, each) for each in wide if len(each) <= 3]
    return sorted(set(out))


def _candidates(kind: str) -> tuple[Column, ...]:
    """Columns for a place that asks for a type: its own, and texts of every form for text."""
    if kind in ("ANY", "T", "K", "V", "T[]", "ANY[]", "LIST", "STRUCT", "MAP", "ARRAY", "MAP(K, V)"):
        return _representatives()
    base = kind.partition("(")[0].removesuffix(" WITH TIME ZONE")
    exact = tuple(
        c for c in COLUMNS if c.type.partition("(")[0] == base or (c.type == "TIMESTAMPTZ" and kind.endswith("ZONE"))
    )
    related = {
        "SMALLINT": "INTEGER",
        "UINTEGER": "UBIGINT",
        "FLOAT": "REAL",
        "UTINYINT": "UBIGINT",
        "USMALLINT": "UBIGINT",
    }
    found = exact or tuple(c for c in COLUMNS if c.type == related.get(base, ""))
    # Whole numbers of every width: an implicit cast may fail before the function does.
    wider = (
        tuple(c for c in COLUMNS if c.name in ("i4", "i8", "h", "d")) if base in ("INTEGER", "BIGINT", "DOUBLE") else ()
    )
    return tuple(dict.fromkeys((*found, *wider)))


def _tried(function: str, kind: str) -> tuple[Column, ...]:
    found = _candidates(kind)
    if function not in _HUNGRY:
        return found
    small = tuple(column for column in COLUMNS if column.name in _SMALL)
    return (*(column for column in found if column.is_text), *small)


def _calls(connection: duckdb.DuckDBPyConnection) -> Iterator[list[Expression]]:
    """Calls of every function: groups of which the first that works on visible values is enough."""
    for name, kinds in _overloads(connection):
        for place, kind in enumerate(kinds):
            for column in _tried(name, kind):
                fillers = [_FILLERS.get(other, ("3", "1.5")) for other in (*kinds[:place], *kinds[place + 1 :])]
                yield [
                    _expression(f"{name}({', '.join((*others[:place], column.name, *others[place:]))})", (column,))
                    for others in itertools.islice(itertools.product(*fillers), 30)
                ]
        if len(kinds) == 2 and name not in _HUNGRY:
            for left, right in itertools.islice(
                itertools.product(_candidates(kinds[0])[:8], _candidates(kinds[1])[:8]), 24
            ):
                yield [_expression(f"{name}({left.name}, {right.name})", (left, right))]


def enumerate_expressions(connection: duckdb.DuckDBPyConnection) -> Iterator[list[Expression]]:
    """Groups of expressions; of each the first that answers for visible values stands for all."""
    for expression in itertools.chain(_casts(), _operators()):
        yield [expression]
    yield from _calls(connection)


def screening_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """`visible` and `hidden`: one row for each pattern."""
    for name, patterns in (("visible", (VISIBLE,)), ("hidden", range(1, PATTERNS))):
        rows = " UNION ALL ".join(f"SELECT {_row(pattern)}" for pattern in patterns)
        connection.execute(f"CREATE OR REPLACE TABLE {name} AS {rows}")


def _row(pattern: int) -> str:
    return ", ".join(f"{literal(hidden_value(c, pattern), c.type)} AS {c.name}" for c in COLUMNS)


def literal(value: str, kind: str) -> str:
    """A value as DuckDB reads it."""
    text = "NULL" if value == "NULL" else "'" + value.replace("'", "''") + "'"
    return f"CAST({text} AS {kind})"


def screen(connection: duckdb.DuckDBPyConnection, *, share: float = 1.0, seed: int = 0) -> Screened:
    """Keep what answers for visible values and fails for a hidden one.

    Parameters
    ----------
    share, seed
        Look at a random part only.
    """
    screening_tables(connection)
    chosen = random.Random(seed)
    enumerated = bound = 0
    throwing: dict[str, Expression] = {}
    alike: Counter[str] = Counter()
    for group in enumerate_expressions(connection):
        if share < 1 and chosen.random() >= share:
            continue
        unbound = 0
        for expression in group:
            enumerated += 1
            failure = _failure(connection, expression, "visible")
            unbound += isinstance(failure, duckdb.BinderException)
            if failure is None:
                bound += 1
                shape = _shape(expression)
                if alike[shape] < _MOST_ALIKE and _failure(connection, expression, "hidden") is not None:
                    throwing[expression.sql] = expression
                    alike[shape] += 1
            if failure is None or unbound == _MOST_UNBOUND:
                break
    return Screened(enumerated, bound, tuple(throwing.values()))


# Texts of so many forms stand for all in one place of one function; so many refusals of types for a whole group.
_MOST_ALIKE = 2
_MOST_UNBOUND = 3


def _shape(expression: Expression) -> str:
    """The expression with its texts made alike."""
    return re.sub(r"\bs_\w+|'[^']*'", "s", expression.sql)


def _failure(connection: duckdb.DuckDBPyConnection, expression: Expression, table: str) -> Exception | None:
    try:
        connection.execute(f"SELECT hash({expression.sql}) FROM {table}").fetchall()
    except (duckdb.Error, UnicodeDecodeError) as error:
        return error
    return None
