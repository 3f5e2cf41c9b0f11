"""What a row filter may be made of: an allow-list of tree nodes and functions.

Everything that is not listed is refused: subqueries, aggregates, windows, lambdas, parameters, table functions,
`getenv`, `current_setting`, `query`, `random` and whatever a later parser may learn to read.
"""

from __future__ import annotations

from sqlglot import exp

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

# Functions that the parser has no class for.
_NAMES = frozenset({"NOW", "TODAY", "CURRENT_DATE", "ISFINITE", "HOUR", "MINUTE", "SECOND", "LTRIM", "RTRIM"})


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
    ValueError: uses GETENV, which a row filter may not
    """
    for node in tree.walk():
        kind = type(node)
        if kind in _STRUCTURE or kind in _FUNCTIONS:
            continue
        if isinstance(node, exp.Anonymous) and node.name.upper() in _NAMES:
            continue
        raise ValueError(f"uses {_label(node)}, which a row filter may not")


def _label(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return node.name.upper()
    return node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
