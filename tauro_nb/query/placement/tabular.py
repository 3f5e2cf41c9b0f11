"""What a table of the engine keeps as it is: it has no column for a bare NULL, and none for a row without names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from sqlglot import exp

from tauro_nb.query.trees import every

__all__ = ["is_tabular"]

_Known = Callable[[Any], bool]


def is_tabular(query: exp.Expr, params: Mapping[str, Any]) -> bool:
    """Whether all that a query gives, or one inside of it, has the same type in a table of the engine.

    DuckDB makes INTEGER of a type that nobody knows yet, that of a parameter which is None among them, and refuses a
    table with `row(1, 2)` in it.

    >>> import sqlglot
    >>> texts = ("a, NULL::DATE AS b", "CASE WHEN a THEN b ELSE NULL END", "NULL AS b", "(a, b) AS c", "[] AS d")
    >>> [is_tabular(sqlglot.parse_one(f"SELECT {text} FROM t", dialect="duckdb"), {}) for text in texts]
    [True, True, False, False, False]
    >>> tree = sqlglot.parse_one("SELECT max($p) AS a FROM t", dialect="duckdb")
    >>> is_tabular(tree, {"p": 1}), is_tabular(tree, {"p": None})
    (True, False)
    """
    known = partial(_is_known, params=params)
    return all(known(item.unalias()) for select in every(query, exp.Select) for item in select.expressions)


def _is_known(value: Any, params: Mapping[str, Any]) -> bool:
    if isinstance(value, (exp.Null, exp.Tuple)) or (isinstance(value, exp.Anonymous) and value.name.lower() == "row"):
        return False
    if isinstance(value, exp.Placeholder):
        return _has_type(params.get(value.name))
    known = partial(_is_known, params=params)
    return next((judge(value, known) for kinds, judge in _JUDGES if isinstance(value, kinds)), True)


def _has_type(given: Any) -> bool:
    """Whether a parameter's value says what it is one of."""
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, (list, tuple)) else None
    return given is not None if parts is None else bool(parts) and any(map(_has_type, parts))


def _any(values: Iterable[Any], known: _Known) -> bool:
    return any(known(value) for value in values if value is not None)


def _parts(value: exp.Expr, known: _Known) -> bool:
    parts = list(value.iter_expressions())
    return bool(parts) and all(map(known, parts))


def _results(case: exp.Case, known: _Known) -> bool:
    return _any([*(branch.args["true"] for branch in case.args["ifs"]), case.args.get("default")], known)


# The first that fits. Of most functions the first argument decides, if any does.
_JUDGES: Final[tuple[tuple[Any, Callable[[Any, _Known], bool]], ...]] = (
    (exp.Cast, lambda _, __: True),
    (exp.Case, _results),
    (exp.If, lambda node, known: _any((node.args["true"], node.args.get("false")), known)),
    ((exp.Coalesce, exp.Greatest, exp.Least, exp.DPipe), lambda node, known: _any(node.iter_expressions(), known)),
    ((exp.Array, exp.Struct, exp.Map, exp.ToMap), _parts),
    (exp.PropertyEQ, lambda node, known: known(node.expression)),
    (exp.Dot, lambda node, known: known(node.this)),
    (exp.Binary, lambda _, __: True),
    (exp.Subquery, lambda _, __: True),
    (exp.Anonymous, lambda node, known: all(map(known, node.expressions[:1]))),
    ((exp.Func, exp.Paren, exp.Filter, exp.Window, exp.IgnoreNulls, exp.RespectNulls, exp.Order, exp.Bracket),
     lambda node, known: known(node.this)),
)  # fmt: skip
