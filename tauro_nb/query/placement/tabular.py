"""What a table of the engine keeps as it is: it has no column for a bare NULL, and none for a row without names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from sqlglot import exp

from tauro_nb.query.trees import every

__all__ = ["is_tabular"]


def is_tabular(query: exp.Expr) -> bool:
    """Whether all that a query gives, or one inside of it, has the same type in a table of the engine.

    DuckDB makes INTEGER of a type that nobody knows yet, and refuses a table with `row(1, 2)` in it.

    >>> import sqlglot
    >>> texts = ("a, NULL::DATE AS b", "CASE WHEN a THEN b ELSE NULL END", "NULL AS b", "(a, b) AS c", "[] AS d")
    >>> [is_tabular(sqlglot.parse_one(f"SELECT {text} FROM t", dialect="duckdb")) for text in texts]
    [True, True, False, False, False]
    """
    return all(_is_known(item.unalias()) for select in every(query, exp.Select) for item in select.expressions)


def _is_known(value: Any) -> bool:
    if isinstance(value, (exp.Null, exp.Tuple)) or (isinstance(value, exp.Anonymous) and value.name.lower() == "row"):
        return False
    return next((judge(value) for kinds, judge in _JUDGES if isinstance(value, kinds)), True)


def _any(values: Iterable[exp.Expr]) -> bool:
    return any(map(_is_known, values))


def _parts(value: exp.Expr) -> bool:
    parts = list(value.iter_expressions())
    return bool(parts) and all(map(_is_known, parts))


def _results(case: exp.Case) -> bool:
    return _any([*(branch.args["true"] for branch in case.args["ifs"]), *filter(None, [case.args.get("default")])])


# The first that fits. Of most functions the first argument decides, if any does.
_JUDGES: Final[tuple[tuple[Any, Callable[[Any], bool]], ...]] = (
    (exp.Cast, lambda _: True),
    (exp.Case, _results),
    (exp.If, lambda node: _any(filter(None, [node.args["true"], node.args.get("false")]))),
    ((exp.Coalesce, exp.Greatest, exp.Least), lambda node: _any(node.iter_expressions())),
    ((exp.Array, exp.Struct, exp.Map, exp.ToMap), _parts),
    (exp.PropertyEQ, lambda node: _is_known(node.expression)),
    (exp.Binary, lambda _: True),
    (exp.Subquery, lambda _: True),
    ((exp.Func, exp.Paren, exp.Filter, exp.Window, exp.IgnoreNulls, exp.RespectNulls, exp.Order, exp.Bracket),
     lambda node: _is_known(node.this)),
)  # fmt: skip
