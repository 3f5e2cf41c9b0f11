"""Predicates that may meet hidden rows: whatever a row holds, they cannot fail, and so cannot tell.

PostgreSQL calls such operators LEAKPROOF. Here a whole condition is judged, with the types of its columns: DuckDB
converts a column to the type of what it is compared with, and `name = 5` fails for the first name that is no number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import duckdb
from sqlglot import exp

from tauro_nb.errors import UsageError
from tauro_nb.query.literals import bind_literals, is_plain_date, used_params

if TYPE_CHECKING:
    from tauro_nb.query.binder import Binder

__all__ = ["is_leakproof"]

_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
# A text beside a column of one of these is converted to the column's type, once, when the query is made.
_WRITTEN: Final = frozenset(
    {"DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "UUID"}
)
_OF_DAYS: Final = frozenset({"DATE", "TIMESTAMP"})
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_NUMBER: Final = re.compile(r"(\d+)(?:\.(\d*))?")
_WIDEST: Final = 38
"""Digits of DuckDB's widest decimal."""
# Whole numbers have up to 20 digits: beside a literal of no more than this they still fit the widest decimal.
_MOST_WHOLE: Final = 20
_MOST_DIGITS: Final = 15
_NO_VALUE: Final = "~"
"""A text that no type but VARCHAR has a value for."""


@dataclass(frozen=True, slots=True)
class _Judge:
    columns: Mapping[str, str]
    binder: Binder

    def holds(self, part: exp.Expr) -> bool:
        """Whether a condition is leak-proof."""
        rule = next((rule for kinds, rule in _RULES if isinstance(part, kinds)), None)
        return rule is not None and rule(self, part)

    def all_hold(self, part: exp.Expr) -> bool:
        return all(self.holds(child) for child in part.iter_expressions())

    def is_condition(self, part: exp.Expr) -> bool:
        """A column that stands as a condition by itself; any other but a boolean one would be converted."""
        return self._kind(part) == "BOOLEAN"

    def tests(self, part: exp.Expr) -> bool:
        """`IS NULL`, `IS TRUE` and their like."""
        kind, wanted = self._kind(part.this), part.expression
        return kind is not None and (
            isinstance(wanted, exp.Null) or (isinstance(wanted, exp.Boolean) and kind == "BOOLEAN")
        )

    def compares(self, part: exp.Expr) -> bool:
        return self._compare(part.this, part.expression)

    def is_between(self, part: exp.Expr) -> bool:
        bounds = (part.args["low"], part.args["high"])
        return not part.args.get("symmetric") and all(self._compare(part.this, bound) for bound in bounds)

    def is_listed(self, part: exp.Expr) -> bool:
        computed = any(part.args.get(name) for name in ("query", "unnest", "field"))
        return (
            bool(part.expressions) and not computed and all(self._compare(part.this, item) for item in part.expressions)
        )

    def _kind(self, node: exp.Expr) -> str | None:
        return self.columns.get(node.name.lower()) if isinstance(node, exp.Column) else None

    def _compare(self, left: exp.Expr, right: exp.Expr) -> bool:
        """A column with a constant that leaves it as it is, or two columns of which neither loses a value."""
        left, right = left.unnest(), right.unnest()
        one, other = self._kind(left), self._kind(right)
        if one is not None and other is not None:
            return _meet(one, other)
        if one is None and other is not None:
            one, right = other, left
        return one is not None and self._leaves(one, right)

    def _leaves(self, kind: str, constant: exp.Expr) -> bool:
        """Whether a column of type `kind` keeps all its values when it is compared with the constant."""
        inner = constant.this if isinstance(constant, exp.Neg) else constant
        if isinstance(inner, exp.Literal) and not inner.is_string:
            return _takes_number(kind, inner.name)
        if isinstance(constant, exp.Literal):
            return kind == "VARCHAR" or (kind in _WRITTEN and self._converts(constant, kind))
        if isinstance(constant, exp.Cast):
            return self._typed(kind, constant)
        return isinstance(constant, exp.Null) or (isinstance(constant, exp.Boolean) and kind == "BOOLEAN")

    def _typed(self, kind: str, constant: exp.Cast) -> bool:
        given = constant.to.sql("duckdb").upper()
        inner = constant.this.this if isinstance(constant.this, exp.Neg) else constant.this
        if not isinstance(inner, exp.Literal):
            return False
        alike = given == kind or (given in _WHOLE and kind in _WHOLE) or (given == "DATE" and kind == "TIMESTAMP")
        return alike and self._converts(constant, kind)

    def _converts(self, constant: exp.Expr, kind: str) -> bool:
        """Whether the constant is a value of the type; one that fails would do so for the first row it meets."""
        text = constant.this if isinstance(constant, exp.Cast) else constant
        if kind in _OF_DAYS and isinstance(text, exp.Literal) and text.is_string and is_plain_date(text.this):
            return True
        try:
            self.binder.evaluate([f"CAST({constant.sql('duckdb')} AS {kind})"])
        except duckdb.Error:
            return False
        return True


def _takes_number(kind: str, digits: str) -> bool:
    """Whether a number beside a column of the type leaves every value of the column in range."""
    found = _NUMBER.fullmatch(digits)
    if found is None:
        return False
    whole, scale = len(found[1]), len(found[2] or "")
    if kind in _WHOLE or kind in _FLOATS:
        return whole + scale <= _MOST_DIGITS or (scale == 0 and whole < _MOST_WHOLE)
    if whole + scale > _MOST_DIGITS:
        return False
    if kind == "HUGEINT":
        return found[2] is None
    decimal = _DECIMAL.fullmatch(kind)
    if decimal is None:
        return False
    width, own = int(decimal[1]), int(decimal[2])
    return max(width - own, whole) + max(own, scale) <= _WIDEST


def _meet(one: str, other: str) -> bool:
    """Whether values of two types are compared without a conversion that can fail."""
    if one == other:
        return True
    first, second = _digits(one), _digits(other)
    if first is None or second is None:
        return False
    if one in _FLOATS or other in _FLOATS or (one in _WHOLE and other in _WHOLE):
        return True
    return max(first[0], second[0]) + max(first[1], second[1]) <= _WIDEST


def _digits(kind: str) -> tuple[int, int] | None:
    """Digits before and after the decimal point that values of a number type may have."""
    if kind in _WHOLE or kind in _FLOATS:
        return (_MOST_WHOLE, 0)
    decimal = _DECIMAL.fullmatch(kind)
    return None if decimal is None else (int(decimal[1]) - int(decimal[2]), int(decimal[2]))


_RULES: Final[tuple[tuple[Any, Callable[[_Judge, Any], bool]], ...]] = (
    ((exp.And, exp.Or, exp.Not, exp.Paren), _Judge.all_hold),
    ((exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE), _Judge.compares),
    (exp.Column, _Judge.is_condition),
    (exp.Is, _Judge.tests),
    (exp.Between, _Judge.is_between),
    (exp.In, _Judge.is_listed),
    ((exp.Boolean, exp.Null), lambda _, __: True),
)


def is_leakproof(
    condition: exp.Expr,
    columns: Mapping[str, str],
    params: Mapping[str, Any],
    binder: Binder,
    deciding: set[str] | None = None,
) -> bool:
    """Whether a condition cannot fail, whatever its columns hold: only comparisons that convert no column.

    Parameters
    ----------
    condition
        A condition of the user's.
    columns
        Types of the columns it may speak of, by lower-case name; of others nothing is known.
    params
        Values of parameters.
    binder
        Converts constants.
    deciding
        Takes up the parameters with another value of which, of the same form, the answer could be another.

    Examples
    --------
    >>> from sqlglot import parse_one
    >>> from tauro_nb.query.binder import Binder
    >>> types, binder = {"id": "BIGINT", "name": "VARCHAR"}, Binder()
    >>> texts = ("id BETWEEN 2 AND 5", "name = 'Ana' OR id IS NULL", "name = 5", "-id < 0", "name")
    >>> [is_leakproof(parse_one(text), types, {}, binder) for text in texts]
    [True, True, False, False, False]
    >>> deciding: set[str] = set()
    >>> is_leakproof(parse_one("day = :day"), {"day": "DATE"}, {"day": "2024-01-01"}, binder, deciding), deciding
    (True, {'day'})
    """
    judge = _Judge(columns, binder)
    try:
        used = used_params(condition, params)
        holds = judge.holds(bind_literals(condition, used) if used else condition)
    except (UsageError, KeyError):
        return False
    if holds and used and deciding is not None:
        hardest = {name: _hardest(value) for name, value in used.items()}
        if not judge.holds(bind_literals(condition, hardest)):
            deciding.update(used)
    return holds


def _hardest(value: Any) -> Any:
    """Of all values that a kept plan may be used with in place of this one, one that is leak-proof least often."""
    if isinstance(value, str):
        return _NO_VALUE
    if isinstance(value, int) and not isinstance(value, bool):
        return next((2**bits - 1 for bits in (31, 63) if -(2**bits) <= value < 2**bits), value)
    return value
