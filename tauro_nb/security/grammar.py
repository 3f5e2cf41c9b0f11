"""What a row filter may be made of: an allow-list of tree nodes and functions.

Everything that is not listed is refused: windows, lambdas, parameters, table functions, `getenv`, `current_setting`,
`query`, `random` and whatever a later parser may learn to read. A subquery (EXISTS, IN, or a single value) is one
SELECT over tables by name; aggregates stand in subqueries only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlglot import exp

from tauro_nb.errors import nearest

__all__ = ["COMPARISONS", "refuse_strangers"]

COMPARISONS: tuple[type[exp.Expr], ...] = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ,
)  # fmt: skip

_STRUCTURE: frozenset[type[exp.Expr]] = frozenset({
    *COMPARISONS,
    exp.And, exp.Or, exp.Not, exp.Paren, exp.Xor,
    exp.In, exp.Between, exp.Is, exp.Like, exp.ILike, exp.Escape, exp.SimilarTo, exp.Glob,
    exp.Null, exp.Boolean, exp.Literal, exp.Column, exp.Identifier, exp.Interval, exp.Var,
    exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe,
    exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam,
})  # fmt: skip

_FUNCTIONS: frozenset[type[exp.Expr]] = frozenset({
    exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least,
    exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Left, exp.Right, exp.Substring, exp.Concat, exp.Replace,
    exp.StartsWith, exp.EndsWith, exp.Contains, exp.StrPosition, exp.RegexpLike, exp.RegexpReplace, exp.SplitPart,
    exp.Reverse,
    exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Sign,
    exp.CurrentDate, exp.CurrentTimestamp, exp.DateTrunc, exp.TimestampTrunc, exp.DateDiff, exp.Extract,
    exp.DateAdd, exp.DateSub, exp.TsOrDsToDate, exp.Year, exp.Month, exp.Day, exp.Quarter, exp.Week, exp.DayOfWeek,
    exp.DayOfMonth, exp.DayOfYear, exp.Hour, exp.Minute, exp.Second, exp.LastDay, exp.Date,
})  # fmt: skip

# What makes a subquery, and may stand nowhere else.
_QUERY: frozenset[type[exp.Expr]] = frozenset({
    exp.From, exp.Join, exp.Table, exp.TableAlias, exp.Alias, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered,
    exp.Limit, exp.Distinct, exp.Star,
    exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr,
})  # fmt: skip


def _is_value(node: exp.Expr) -> bool:
    """A subquery that gives values to an expression: it has no name and is no relation."""
    return _only(node, "this") and not isinstance(node.parent, (exp.From, exp.Join, exp.Subquery))


def _is_star(node: exp.Expr) -> bool:
    """The star of `count(*)`, or of `EXISTS (SELECT * ...)`."""
    around = node.parent
    exists = isinstance(around, exp.Select) and isinstance(around.parent, exp.Exists) and len(around.expressions) == 1
    return _only(node) and (isinstance(around, exp.Count) or exists)


def _only(node: exp.Expr, *keys: str) -> bool:
    return all(key in keys for key, value in node.args.items() if value)


# Nodes whose every clause must be on the list as well.
_FORMS: Mapping[type[exp.Expr], Callable[[exp.Expr], bool]] = MappingProxyType({
    exp.Select: lambda node: isinstance(node.parent, (exp.Exists, exp.Subquery)) and bool(node.args.get("from_"))
    and _only(node, "expressions", "from_", "joins", "where", "group", "having", "order", "limit", "distinct"),
    exp.Subquery: _is_value,
    exp.Exists: lambda node: isinstance(node.this, exp.Select),
    exp.Table: lambda node: isinstance(node.this, exp.Identifier) and _only(node, "this", "db", "alias"),
    exp.TableAlias: lambda node: _only(node, "this"),
    exp.Join: lambda node: _only(node, "this", "on", "kind", "side") and isinstance(node.this, exp.Table)
    and str(node.args.get("kind") or "").upper() in ("", "INNER", "CROSS", "OUTER"),
    exp.From: lambda node: isinstance(node.this, exp.Table),
    exp.Group: lambda node: _only(node, "expressions"),
    exp.Limit: lambda node: _only(node, "expression") and isinstance(node.expression, exp.Literal),
    exp.Distinct: lambda node: _only(node, "expressions"),
    exp.Star: _is_star,
})  # fmt: skip

# Functions that the parser has no class for.
_NAMES = frozenset({"NOW", "TODAY", "CURRENT_DATE", "ISFINITE", "HOUR", "MINUTE", "SECOND", "LTRIM", "RTRIM", "STRLEN"})
_KNOWN = frozenset(_NAMES | {name for kind in _FUNCTIONS if issubclass(kind, exp.Func) for name in kind.sql_names()})


def refuse_strangers(tree: exp.Expr) -> None:
    """Check every node of a row filter against the allow-list.

    Raises
    ------
    ValueError
        A node is not on it; the message names the function or construct.

    Examples
    --------
    >>> import sqlglot
    >>> refuse_strangers(sqlglot.parse_one("lower(a) = 'x' AND b IN (1, 2)", read="duckdb"))
    >>> refuse_strangers(sqlglot.parse_one("getenv('HOME') = a", read="duckdb"))
    Traceback (most recent call last):
    ...
    ValueError: uses GETENV, which a policy may not
    >>> refuse_strangers(sqlglot.parse_one("lowr(a) = 'x'", read="duckdb"))
    Traceback (most recent call last):
    ...
    ValueError: uses LOWR, which a policy may not. Did you mean `LOWER`?
    """
    for node in tree.walk():
        kind = type(node)
        form = _FORMS.get(kind)
        if form is not None and not form(node):
            raise ValueError(f"uses a form of {_label(node)} that a policy may not")
        if kind in _STRUCTURE or kind in _FUNCTIONS or (form is not None and kind not in _QUERY):
            continue
        if kind in _QUERY and node.find_ancestor(exp.Select) is not None:
            continue
        if isinstance(node, exp.Anonymous) and node.name.upper() in _NAMES:
            continue
        near = nearest(node.name, _KNOWN) if isinstance(node, exp.Anonymous) else ""
        raise ValueError(f"uses {_label(node)}, which a policy may not{near and '.' + near}")


def _label(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return node.name.upper()
    return node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
