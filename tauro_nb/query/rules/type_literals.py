"""Give text that is compared with a date its type, as DuckDB does, so that a source can be asked the same."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlglot import exp

from tauro_nb.query.literals import is_plain_date
from tauro_nb.query.trees import PARAMETER, every

__all__ = ["type_literals"]

_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In)
_MOMENTS: Final = frozenset({exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ})
_DAY: Final = len("2024-01-01")
_MOMENT: Final = len("2024-01-01 00:00:00")


def type_literals(tree: exp.Expr) -> exp.Expr:
    """Cast text literals to the type of the date or timestamp column they are compared with, in place.

    Needs types; a text that is not plainly such a value stays as it is, and fails where it is compared.

    >>> from sqlglot import parse_one
    >>> from sqlglot.optimizer.annotate_types import annotate_types
    >>> tree = parse_one("SELECT 1 FROM t WHERE t.d >= '2024-01-01' AND t.d <> 'soon'")
    >>> type_literals(annotate_types(tree, schema={"t": {"d": "DATE"}})).sql("duckdb")
    "SELECT 1 FROM t WHERE t.d >= CAST('2024-01-01' AS DATE) AND t.d <> 'soon'"
    """
    for comparison in every(tree, *_COMPARISONS):
        kinds = {kind for part in comparison.iter_expressions() if (kind := _moment(part)) is not None}
        if len(kinds) != 1:
            continue
        kind = kinds.pop()
        for part in list(comparison.iter_expressions()):
            # A parameter is text for DuckDB, too.
            given = PARAMETER in (part._meta or {})  # noqa: SLF001 - `meta` makes a dictionary
            if isinstance(part, exp.Literal) and part.is_string and not given and _reads(part.this, kind):
                typed = exp.cast(part.copy(), kind)
                typed.type = exp.DataType(this=kind)
                part.replace(typed)
    return tree


def _moment(node: exp.Expr) -> exp.DType | None:
    kind = node.type
    return kind.this if isinstance(kind, exp.DataType) and kind.this in _MOMENTS else None


def _reads(text: str, kind: exp.DType) -> bool:
    """Whether the text is written in the one way that every engine reads alike."""
    if is_plain_date(text):
        return True
    if kind is exp.DType.DATE or len(text) != _MOMENT or not is_plain_date(text[:_DAY]):
        return False
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
