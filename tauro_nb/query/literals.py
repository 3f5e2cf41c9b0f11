"""Python values as typed literal nodes: the only way a value enters a tree."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlglot import exp

from tauro_nb.errors import UsageError
from tauro_nb.query.plain import plain
from tauro_nb.query.trees import copied, every

__all__ = ["bind_literals", "is_plain_date", "literal", "used_params"]

_PLAIN_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _cast(text: str, kind: str) -> exp.Expr:
    return exp.cast(exp.Literal.string(text), kind, dialect="duckdb")


def _float(value: float) -> exp.Expr:
    if math.isfinite(value):
        return exp.cast(exp.Literal.number(repr(value)), "DOUBLE", dialect="duckdb")
    return _cast(str(value), "DOUBLE")


def _decimal(value: decimal.Decimal) -> exp.Expr:
    if not value.is_finite():
        raise UsageError(f"parameter value {value} has no SQL form.", hint="Use a float for NaN and infinity.")
    return (
        exp.Literal.number(format(value, "f")) if value >= 0 else exp.Neg(this=exp.Literal.number(format(-value, "f")))
    )


def _integer(value: int) -> exp.Expr:
    number = exp.Literal.number(str(abs(value)))
    return exp.Neg(this=number) if value < 0 else number


def _timestamp(value: dt.datetime) -> exp.Expr:
    return _cast(value.isoformat(sep=" "), "TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP")


# bool before int and datetime before date: both are subclasses.
_FORMS: tuple[tuple[type, Callable[[Any], exp.Expr]], ...] = (
    (bool, lambda value: exp.true() if value else exp.false()),
    (int, _integer),
    (float, _float),
    (decimal.Decimal, _decimal),
    (str, exp.Literal.string),
    (dt.datetime, _timestamp),
    (dt.date, lambda value: _cast(value.isoformat(), "DATE")),
    (dt.time, lambda value: _cast(value.isoformat(), "TIME")),
    (bytes, lambda value: exp.func("unhex", exp.Literal.string(value.hex()), dialect="duckdb")),
)


def literal(value: Any) -> exp.Expr:
    """Return the literal node of one Python value.

    Raises
    ------
    UsageError
        If the value's type has no SQL form.

    Examples
    --------
    >>> literal("O'Brien").sql("duckdb")
    "'O''Brien'"
    >>> literal(-3).sql("duckdb")
    '-3'
    """
    value = plain(value)
    if value is None:
        return exp.null()
    for kind, build in _FORMS:
        if isinstance(value, kind):
            return build(value)
    if isinstance(value, Sequence):
        return exp.Array(expressions=[literal(item) for item in value])
    raise UsageError(
        f"a parameter of type {type(value).__name__} has no SQL form.",
        hint="Use text, numbers, booleans, dates, times, bytes, None or lists of them.",
    )


def bind_literals(tree: exp.Expr, params: Mapping[str, Any]) -> exp.Expr:
    """Replace every named parameter of `tree` by its literal on a copy, for sources that take no parameters."""
    root = exp.Paren(this=copied(tree))
    for node in every(root, exp.Placeholder):
        node.replace(literal(params[node.name]))
    bound: exp.Expr = root.this.pop()
    return bound


def used_params(tree: exp.Expr, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that `tree` names; DuckDB refuses values nobody asks for."""
    return {node.name: params[node.name] for node in every(tree, exp.Placeholder)} if params else {}


def is_plain_date(text: str) -> bool:
    """Whether a text is a day written in the one way that every engine reads alike.

    >>> [is_plain_date(text) for text in ("2024-02-29", "2023-02-29", "2024-W01-1", "20240229")]
    [True, False, False, False]
    """
    if _PLAIN_DATE.fullmatch(text) is None:
        return False
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
