"""What is tried of each node class: expressions of SQL over pairs of columns, made from the columns' families."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.pushdown.columns import Column

__all__ = ["Trial", "trials"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One query over the table `t`.

    Parameters
    ----------
    row
        What is tried, of which operands: the unit that counts as proven or refused.
    sql
        The query, in DuckDB's dialect.
    value
        The expression that it computes for every row by itself, so that rows it fails for can be told; or empty.
    """

    row: str
    sql: str
    value: str = ""


_COMPARISONS = {"=": "EQ", "<>": "NEQ", "<": "LT", "<=": "LTE", ">": "GT", ">=": "GTE"}
_NULL_SAFE = {"IS DISTINCT FROM": "NullSafeNEQ", "IS NOT DISTINCT FROM": "NullSafeEQ"}
_ARITHMETIC = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "//": "IntDiv", "%": "Mod"}
_NUMBERS = ("integer", "unsigned", "decimal", "float")
_EXACT_NUMBERS = ("integer", "unsigned", "decimal")
_PATTERNS = ("a%", "%b", "%a%", "a_b", "_", "%", "", "a\\%", "A%", "é%", "a  %", "%é%", "日%", "it''s", "[a]%")
_GIVEN = {
    "integer": ("0", "-1", "32767", "2147483647", "3000000000", "9223372036854775807", "2.5", "'7'"),
    "unsigned": ("0", "7", "4294967295", "18446744073709551615", "-1"),
    "decimal": ("0", "2.5", "-0.50", "1", "0.005", "99999999.99", "123456789012345678901234567.5"),
    "float": ("0", "0.1", "-2.5", "1e30", "'nan'"),
    "text": ("''", "'a'", "'A'", "'a '", "'é'", "'a%'", "'a\\b'", "'it''s'", "'🙂'", "'ss'"),
    "date": ("DATE '2024-02-29'", "'1970-01-01'", "DATE '0001-01-01'", "TIMESTAMP '2024-02-29 00:00:00'"),
    "timestamp": ("TIMESTAMP '2024-02-29 00:00:00'", "'2024-02-29 00:00:00.000001'", "DATE '2024-02-29'"),
    "boolean": ("TRUE", "FALSE", "NULL"),
    "opaque": ("NULL", "'a '"),
}
_UNARY = {
    "Neg": ("-{x}", _NUMBERS),
    "Abs": ("abs({x})", _NUMBERS),
    "Sign": ("sign({x})", _NUMBERS),
    "Floor": ("floor({x})", _NUMBERS),
    "Ceil": ("ceil({x})", _NUMBERS),
    "Round": ("round({x}, 1)", _NUMBERS),
    "Cast to BIGINT": ("CAST({x} AS BIGINT)", (*_NUMBERS, "boolean", "text")),
    "Cast to DOUBLE": ("CAST({x} AS DOUBLE)", _NUMBERS),
    "Cast to DECIMAL": ("CAST({x} AS DECIMAL(38,2))", _NUMBERS),
    "Cast to VARCHAR": ("CAST({x} AS VARCHAR)", (*_NUMBERS, "date", "timestamp", "boolean")),
    "Cast to DATE": ("CAST({x} AS DATE)", ("timestamp", "date")),
    "Cast to TIMESTAMP": ("CAST({x} AS TIMESTAMP)", ("timestamp", "date")),
    "Year": ("year({x})", ("date", "timestamp")),
    "Month": ("month({x})", ("date", "timestamp")),
    "Day": ("day({x})", ("date", "timestamp")),
    "Extract year": ("extract(year FROM {x})", ("date", "timestamp")),
    "Extract month": ("extract(month FROM {x})", ("date", "timestamp")),
    "Extract day": ("extract(day FROM {x})", ("date", "timestamp")),
    "Extract hour": ("extract(hour FROM {x})", ("timestamp",)),
    "Extract second": ("extract(second FROM {x})", ("timestamp",)),
    "Extract week": ("extract(week FROM {x})", ("date", "timestamp")),
    "TimestampTrunc year": ("date_trunc('year', {x})", ("date", "timestamp")),
    "TimestampTrunc month": ("date_trunc('month', {x})", ("date", "timestamp")),
    "TimestampTrunc day": ("date_trunc('day', {x})", ("date", "timestamp")),
    "TimestampTrunc week": ("date_trunc('week', {x})", ("date", "timestamp")),
    "Lower": ("lower({x})", ("text",)),
    "Upper": ("upper({x})", ("text",)),
    "Length": ("length({x})", ("text",)),
    "Trim": ("trim({x})", ("text",)),
    "Substring": ("substring({x}, 1, 2)", ("text",)),
    "Substring from 2": ("substring({x}, 2, 3)", ("text",)),
    "Substring from 0": ("substring({x}, 0, 2)", ("text",)),
    "Substring to the end": ("substring({x}, 3)", ("text",)),
    "Left": ("left({x}, 2)", ("text",)),
    "StartsWith": ("starts_with({x}, 'a')", ("text",)),
    "ILike": ("{x} ILIKE 'a%'", ("text",)),
    "Like escape": ("{x} LIKE 'a!%' ESCAPE '!'", ("text",)),
    "Replace": ("replace({x}, 'a', 'b')", ("text",)),
}
_CONDITIONS = {
    "And": "{p} AND {q}",
    "Or": "{p} OR {q}",
    "Not": "NOT ({p} AND {q})",
    "Paren": "({p} OR {q}) AND {p}",
    "Is null of a condition": "({p} OR {q}) IS NULL",
    "Case": "CASE WHEN {p} THEN 1 WHEN {q} THEN 2 ELSE 3 END",
    "Case without else": "CASE WHEN {p} THEN 1 END",
    "EQ of conditions": "({p}) = ({q})",
}


def trials(columns: Sequence[Column]) -> Iterator[Trial]:
    """Everything that is tried over these columns."""
    for column in columns:
        yield from _of_one(column)
        yield from _queries(column)
    for left, right in itertools.product(columns, columns):
        if left is right or left.kind != "opaque":
            yield from _of_two(left, right)
    yield from _logic(columns)


def _value(row: str, expression: str) -> Trial:
    # With a LIMIT it is no plain scan, which the engine would do by itself.
    return Trial(row, f"SELECT n, {expression} AS x FROM t LIMIT 100000", expression)


def _condition(row: str, expression: str) -> Iterator[Trial]:
    yield _value(row, expression)
    yield Trial(f"{row}, where", f"SELECT n FROM t WHERE {expression} LIMIT 100000", expression)
    yield Trial(f"{row}, scan", f"SELECT n FROM t WHERE {expression}", expression)


def _of_one(column: Column) -> Iterator[Trial]:
    x, kind = f"{column.name}_a", column.kind
    yield Trial(f"round trip of {column.ddl}, asked", f"SELECT n, {x} FROM t LIMIT 100000")
    yield Trial(f"round trip of {column.ddl}", f"SELECT n, {x} FROM t")
    yield from _condition(f"Is {kind}", f"{x} IS NULL")
    yield from _condition(f"Is {kind}", f"{x} IS NOT NULL")
    for name, (form, kinds) in _UNARY.items():
        if kind in kinds:
            yield _value(f"{name} {kind}", form.format(x=x))
    for given in _GIVEN[kind]:
        for sign, name in (_COMPARISONS | _NULL_SAFE).items():
            yield from _condition(f"{name} {kind}, literal", f"{x} {sign} {given}")
        yield from _condition(f"In {kind}", f"{x} IN ({given}, {_GIVEN[kind][0]})")
        yield from _condition(f"In {kind}", f"{x} NOT IN ({given}, {_GIVEN[kind][-1]})")
        yield from _condition(f"Between {kind}", f"{x} BETWEEN {_GIVEN[kind][0]} AND {given}")
        yield _value(f"Coalesce {kind}, literal", f"coalesce({x}, {given})")
        yield _value(f"Nullif {kind}, literal", f"nullif({x}, {given})")
        yield _value(f"Case {kind}", f"CASE WHEN n % 2 = 0 THEN {x} ELSE {given} END")
        yield _value(f"If {kind}", f"CASE WHEN n > 9 THEN {x} ELSE {given} END")
        yield _value(f"Case of a value {kind}", f"CASE {x} WHEN {given} THEN 1 ELSE 0 END")
        if kind in _NUMBERS and not given.startswith("'"):
            for sign, name in _ARITHMETIC.items():
                yield _value(f"{name} {kind}, literal", f"{x} {sign} {given}")
                yield _value(f"{name} literal, {kind}", f"{given} {sign} {x}")
    if kind == "text":
        for pattern in _PATTERNS:
            yield from _condition("Like text", f"{x} LIKE '{pattern}'")
            yield from _condition("Like text", f"{x} NOT LIKE '{pattern}'")


def _of_two(left: Column, right: Column) -> Iterator[Trial]:
    x, y = f"{left.name}_a", f"{right.name}_b"
    kinds = f"{left.kind}, {right.kind}"
    numbers = left.kind in _NUMBERS and right.kind in _NUMBERS
    if not (left.kind == right.kind or numbers or {left.kind, right.kind} == {"date", "timestamp"}):
        return
    for sign, name in (_COMPARISONS | _NULL_SAFE).items():
        yield from _condition(f"{name} {kinds}", f"{x} {sign} {y}")
    yield _value(f"Between {kinds}", f"{x} BETWEEN {y} AND {right.name}_a")
    yield _value(f"Coalesce {kinds}", f"coalesce({x}, {y})")
    yield _value(f"Nullif {kinds}", f"nullif({x}, {y})")
    yield _value(f"Case {kinds}", f"CASE WHEN n > 20 THEN {x} ELSE {y} END")
    yield _value(f"Greatest {kinds}", f"greatest({x}, {y})")
    yield _value(f"Least {kinds}", f"least({x}, {y})")
    for sign, name in _ARITHMETIC.items() if numbers else ():
        yield _value(f"{name} {kinds}", f"{x} {sign} {y}")
    if left.kind == "text":
        yield _value(f"DPipe {kinds}", f"{x} || {y}")
        yield _value(f"Concat {kinds}", f"concat({x}, {y})")
        yield _value(f"Like {kinds}, no literal", f"{x} LIKE {y}")
    yield Trial(f"Join {kinds}", f"SELECT a.n, b.n AS o FROM t a JOIN t b ON a.{x} = b.{y} WHERE b.n < 40 AND a.n < 90")
    for side in ("LEFT", "RIGHT", "FULL"):
        joined = f"(SELECT * FROM t WHERE n < 60) a {side} JOIN (SELECT * FROM t WHERE n < 30) b ON a.{x} = b.{y}"
        yield Trial(f"Join {side} {kinds}", f"SELECT a.n, b.n AS o FROM {joined}")
    yield Trial(f"In {kinds}, query", f"SELECT n FROM t WHERE {x} IN (SELECT {y} FROM t WHERE n < 20)")
    yield Trial(
        f"In {kinds}, query, not", f"SELECT n FROM t WHERE {x} NOT IN (SELECT {y} FROM t WHERE {y} IS NOT NULL)"
    )
    yield Trial(
        f"Exists {kinds}", f"SELECT n FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.{y} = a.{x} AND b.n < 9)"
    )
    for operator, name in _SETS.items():
        yield Trial(f"{name} {kinds}", f"SELECT {x} AS x FROM t {operator} SELECT {y} FROM t WHERE n < 50")


_SETS = {
    "UNION": "Union", "UNION ALL": "Union all", "INTERSECT": "Intersect", "EXCEPT": "Except",
    "INTERSECT ALL": "Intersect all", "EXCEPT ALL": "Except all",
}  # fmt: skip
_AGGREGATES = {
    "Count": "count({x})", "Count distinct": "count(DISTINCT {x})", "Sum": "sum({x})", "Min": "min({x})",
    "Max": "max({x})", "Avg": "avg({x})", "Sum distinct": "sum(DISTINCT {x})",
}  # fmt: skip
_NULLS = ("", "ASC NULLS FIRST", "ASC NULLS LAST", "DESC NULLS FIRST", "DESC NULLS LAST", "DESC")


def _queries(column: Column) -> Iterator[Trial]:
    x, kind = f"{column.name}_a", column.kind
    for name, form in _AGGREGATES.items():
        # Sums of floats depend on the order of rows, which no engine promises.
        if name in ("Count", "Count distinct", "Min", "Max") or kind in _EXACT_NUMBERS:
            yield Trial(f"{name} {kind}", f"SELECT {form.format(x=x)} AS x FROM t")
            yield Trial(f"{name} {kind}, no rows", f"SELECT {form.format(x=x)} AS x, count(*) AS c FROM t WHERE n < 0")
            yield Trial(f"{name} {kind}, groups", f"SELECT n % 7 AS g, {form.format(x=x)} AS x FROM t GROUP BY 1")
            grouped = f"SELECT s.o, {form.format(x='s.x')} AS x FROM (SELECT {x} AS x, n AS o FROM t) s GROUP BY s.o"
            yield Trial(f"{name} {kind}, groups of a column", grouped)
            yield Trial(f"{name} {kind}, filter", f"SELECT {form.format(x=x)} FILTER (WHERE n > 9) AS x FROM t")
    yield Trial(f"Group {kind}", f"SELECT {x} AS x, count(*) AS c FROM t GROUP BY {x}")
    yield Trial(f"Having {kind}", f"SELECT {x} AS x, count(*) AS c FROM t GROUP BY {x} HAVING count(*) > 15")
    yield Trial(f"Distinct {kind}", f"SELECT DISTINCT {x} AS x FROM t")
    yield Trial(f"With {kind}", f"WITH s AS (SELECT n, {x} AS x FROM t) SELECT n, x FROM s LIMIT 100000")
    yield Trial(f"Subquery {kind}", f"SELECT n, (SELECT max({x}) FROM t) AS x FROM t LIMIT 100000")
    for nulls in _NULLS:
        text = f"Ordered {nulls} {kind}".replace("  ", " ")
        yield Trial(text, f"SELECT {x} AS x FROM t ORDER BY {x} {nulls}, n LIMIT 50")
        yield Trial(f"{text}, offset", f"SELECT {x} AS x FROM t ORDER BY {x} {nulls}, n LIMIT 20 OFFSET 25")


def _logic(columns: Sequence[Column]) -> Iterator[Trial]:
    """Conditions over conditions, in which NULL is neither."""
    numbers = [column.name for column in columns if column.kind == "integer"]
    flags = [column.name for column in columns if column.kind == "boolean"]
    pairs = [(f"{name}_a > 0", f"{name}_b > 0") for name in numbers[:2]] + [(f"{f}_a", f"{f}_b") for f in flags]
    for name, form in _CONDITIONS.items():
        for p, q in pairs:
            yield _value(name, form.format(p=p, q=q))
            yield Trial(f"{name}, where", f"SELECT n FROM t WHERE coalesce({form.format(p=p, q=q)}, FALSE) LIMIT 99999")
    for flag in flags:
        for test in ("", " IS TRUE", " IS NOT TRUE", " IS FALSE", " IS NOT FALSE", " = TRUE", " <> FALSE"):
            yield from _condition(f"Boolean{test}", f"{flag}_a{test}")
    yield Trial("Join CROSS", "SELECT a.n, b.n AS o FROM t a CROSS JOIN t b WHERE a.n < 12 AND b.n < 8")
    yield Trial("Count star", "SELECT count(*) AS c FROM t")
    yield Trial("Limit", "SELECT count(*) AS c FROM (SELECT n FROM t LIMIT 7) s")
    yield Trial("Offset", "SELECT n FROM t ORDER BY n OFFSET 290")
