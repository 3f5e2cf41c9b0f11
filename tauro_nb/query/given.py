"""Values of parameters in a tree that is being placed: sources are judged, and asked, with them.

A plan keeps the names: what it shows and what it is kept for do not depend on values. Those that a source was sent
are noted beside it (`kept`), and with others it is placed anew.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlglot import exp

from tauro_nb.query.literals import literal
from tauro_nb.query.trees import PARAMETER, every

__all__ = ["name_parameters", "shaping_parameters", "write_parameters"]

_COMPARED: Final = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In, exp.Like,
)  # fmt: skip
"""What a value may be an operand of: there a literal means what the parameter means."""
_WIDEST: Final = 2**63
_SHAPED: Final = (exp.Func, exp.Columns, exp.Bracket, exp.Dot, exp.Kwarg, exp.Pivot)
"""What may give other columns, or columns of other types, for other constants: COLUMNS(:a), round(x, :a), row[:a]."""
_SHAPELESS: Final = (
    exp.Connector, exp.Cast, exp.TryCast, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Exists, exp.RegexpLike,
    exp.RegexpFullMatch, exp.StartsWith, exp.Contains, exp.Sum, exp.Min, exp.Max, exp.Avg, exp.Count, exp.CountIf,
    exp.Abs, exp.Upper, exp.Lower, exp.Length, exp.Concat, exp.Greatest, exp.Least,
)  # fmt: skip
"""Functions whose type goes by the types of what they are given alone."""


def write_parameters(tree: exp.Expr, params: Mapping[str, Any]) -> bool:
    """Put literals where parameters are compared with something, in place; whether there were any.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT $n AS n FROM t WHERE a = $n AND b > $x", dialect="duckdb")
    >>> write_parameters(tree, {"n": 5, "x": 0.5}), tree.sql("duckdb")
    (True, 'SELECT $n AS n FROM t WHERE a = 5 AND b > $x')
    >>> name_parameters(tree).sql("duckdb")
    'SELECT $n AS n FROM t WHERE a = $n AND b > $x'
    """
    if not params:
        return False
    found = [
        node
        for node in every(tree, exp.Placeholder)
        if isinstance(node.parent, _COMPARED) and _is_plain(params[node.name])
    ]
    for node in found:
        value = literal(params[node.name])
        value.meta[PARAMETER] = node.name
        node.replace(value)
    return bool(found)


def shaping_parameters(tree: exp.Expr) -> Iterator[str]:
    """Parameters whose values, and not only their types, may decide which columns a query has, and of which types.

    >>> import sqlglot
    >>> sql = "SELECT COLUMNS($a), round(x, 1 + $b), sum(x * $c) FROM t WHERE y = $d"
    >>> tree = sqlglot.parse_one(sql, dialect="duckdb")
    >>> list(shaping_parameters(tree))
    ['a', 'b']
    """
    for node in every(tree, exp.Placeholder):
        above = node.parent
        while above is not None and not isinstance(above, exp.Query):
            if isinstance(above, _SHAPED) and not isinstance(above, _SHAPELESS):
                yield node.name
                break
            above = above.parent


def name_parameters(tree: exp.Expr) -> exp.Expr:
    """Put the parameters back where `write_parameters` wrote values, in place."""
    for node in every(tree, exp.Literal, exp.Cast, exp.Neg):
        name = (node._meta or {}).get(PARAMETER)  # noqa: SLF001 - `meta` makes a dictionary
        if name is not None:
            node.replace(exp.Placeholder(this=name))
    return tree


def _is_plain(value: Any) -> bool:
    """Whether a value is of a type that is the same as a literal and as a parameter, and that sources compare."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -_WIDEST < value < _WIDEST
    if isinstance(value, decimal.Decimal):
        return value.is_finite()
    if isinstance(value, dt.datetime):
        return value.tzinfo is None
    return isinstance(value, (str, dt.date))
