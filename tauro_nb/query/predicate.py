"""Conditions as values: a column, an operator, and what to compare with. No text, so nothing to inject into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

from tauro_nb.errors import UsageError, nearest
from tauro_nb.query.literals import literal
from tauro_nb.query.trees import conjuncts

__all__ = ["Predicate", "PredicateOperator", "pushed", "select_tree"]


class PredicateOperator(Enum):
    """How a column is compared; members are found by value or name, whatever the case.

    >>> PredicateOperator("gte"), PredicateOperator("is null")
    (<PredicateOperator.GTE: '>='>, <PredicateOperator.IS_NULL: 'IS NULL'>)
    """

    EQ = "="
    NEQ = "<>"
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="
    IN = "IN"
    NOT_IN = "NOT IN"
    LIKE = "LIKE"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"

    @classmethod
    def _missing_(cls, value: object) -> PredicateOperator | None:
        if not isinstance(value, str):
            return None
        folded = value.strip().upper()
        return _SPELLINGS.get(folded) or cls.__members__.get(folded.replace(" ", "_"))


_SPELLINGS: Final[Mapping[str, PredicateOperator]] = MappingProxyType(
    {"==": PredicateOperator.EQ, "!=": PredicateOperator.NEQ} | {member.value: member for member in PredicateOperator}
)
_BINARY: Final[Mapping[PredicateOperator, type[exp.Binary]]] = MappingProxyType(
    {
        PredicateOperator.EQ: exp.EQ,
        PredicateOperator.NEQ: exp.NEQ,
        PredicateOperator.GT: exp.GT,
        PredicateOperator.GTE: exp.GTE,
        PredicateOperator.LT: exp.LT,
        PredicateOperator.LTE: exp.LTE,
        PredicateOperator.LIKE: exp.Like,
    }
)
_LISTS: Final = frozenset({PredicateOperator.IN, PredicateOperator.NOT_IN})
_NULLS: Final = frozenset({PredicateOperator.IS_NULL, PredicateOperator.IS_NOT_NULL})


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition on one column. Its value becomes a typed literal of the query's tree, never a piece of SQL.

    Parameters
    ----------
    field
        Column of the table that is queried.
    operator
        How to compare; text such as `"="` or `"not in"` is fine.
    value
        What to compare with: a list for `IN` and `NOT IN`, nothing for `IS NULL` and `IS NOT NULL`.

    Raises
    ------
    UsageError
        The value does not go with the operator, or a comparison with None asks for what never holds.

    Examples
    --------
    >>> Predicate("status", PredicateOperator.EQ, "it's active").to_sql()
    "status = 'it''s active'"
    >>> Predicate("id", "not in", [1, 2]).to_sql()
    'NOT id IN (1, 2)'
    """

    field: str
    operator: PredicateOperator
    value: Any = None

    def __post_init__(self) -> None:
        name: object = self.field
        if not isinstance(name, str) or not name:
            raise UsageError("a predicate names its column by a text that is not empty.")
        try:
            operator = PredicateOperator(self.operator)
        except ValueError:
            known = [member.name for member in PredicateOperator]
            hint = nearest(self.operator, known) if isinstance(self.operator, str) else ""
            raise UsageError(
                f"`{self.field}`: this is no PredicateOperator.{hint}", hint=f"One of {', '.join(known)}."
            ) from None
        object.__setattr__(self, "operator", operator)
        if operator in _LISTS:
            object.__setattr__(self, "value", self._list_value())
        elif operator in _NULLS:
            if self.value is not None:
                raise UsageError(f"`{self.field}`: {operator.value} takes no value.")
        elif self.value is None:
            raise UsageError(f"`{self.field}`: nothing is {operator.value} NULL.", hint="Use IS_NULL or IS_NOT_NULL.")
        elif operator is PredicateOperator.LIKE and not isinstance(self.value, str):
            raise UsageError(f"`{self.field}`: LIKE takes a text.")
        self.condition()

    def _list_value(self) -> tuple[Any, ...]:
        if isinstance(self.value, (str, bytes, Mapping)) or not isinstance(self.value, Iterable):
            raise UsageError(f"`{self.field}`: {self.operator.value} takes a list of values.")
        values = tuple(self.value)
        if any(value is None for value in values):
            raise UsageError(
                f"`{self.field}`: {self.operator.value} does not find NULL.", hint="Use IS_NULL or IS_NOT_NULL."
            )
        return values

    def condition(self) -> exp.Expr:
        """The condition as a tree over the unqualified column."""
        column = exp.column(exp.to_identifier(self.field, quoted=True))
        if self.operator in _BINARY:
            return _BINARY[self.operator](this=column, expression=literal(self.value))
        if self.operator in _NULLS:
            test: exp.Expr = exp.Is(this=column, expression=exp.null())
        elif self.value:
            test = exp.In(this=column, expressions=[literal(value) for value in self.value])
        else:
            test = exp.false()
        negated = self.operator in (PredicateOperator.NOT_IN, PredicateOperator.IS_NOT_NULL)
        return exp.Not(this=test) if negated else test

    def to_sql(self) -> str:
        """The condition in DuckDB's SQL, for people; queries are built from its tree."""
        condition = self.condition()
        for column in condition.find_all(exp.Column):
            column.set("this", exp.to_identifier(self.field))
        return condition.sql("duckdb")


def select_tree(
    name: str, predicates: Sequence[Predicate] = (), projection: Sequence[str] | None = None, limit: int | None = None
) -> exp.Select:
    """`SELECT projection FROM name WHERE predicates LIMIT limit`, as a tree.

    >>> select_tree("crm.customers", [Predicate("id", "=", 1)], ["id", "first name"], 5).sql("duckdb")
    'SELECT "id", "first name" FROM "crm.customers" WHERE "id" = 1 LIMIT 5'
    """
    if isinstance(projection, str) or (projection is not None and not projection):
        raise UsageError("a projection is a list of column names, or None for all of them.")
    whole: object = limit
    if whole is not None and (not isinstance(whole, int) or isinstance(whole, bool) or whole < 0):
        raise UsageError("a limit is a whole number, 0 or more, or None.")
    columns: list[exp.Expr] = [exp.column(exp.to_identifier(column, quoted=True)) for column in projection or ()]
    tree = exp.Select(expressions=columns or [exp.Star()]).from_(exp.table_(exp.to_identifier(name, quoted=True)))
    for predicate in predicates:
        if not isinstance(predicate, Predicate):
            raise UsageError(f"predicates are Predicate objects, not {type(predicate).__name__}.")
        tree = tree.where(predicate.condition(), copy=False)
    return tree if limit is None else tree.limit(limit, copy=False)


def pushed(predicates: Iterable[Predicate], asked: Iterable[exp.Expr]) -> tuple[Predicate, ...]:
    """Those predicates that the sources apply, by the WHERE clauses of what they are `asked`."""
    applied = {_plain(part) for tree in asked for where in tree.find_all(exp.Where) for part in conjuncts(where.this)}
    return tuple(predicate for predicate in predicates if _plain(predicate.condition()) in applied)


def _plain(condition: exp.Expr) -> str:
    """A condition without relations, letter case of names, types of literals and parentheses."""

    def strip(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return exp.column(exp.to_identifier(node.name.lower(), quoted=True))
        if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
            return node.this
        return node.unnest() if isinstance(node, exp.Paren) else node

    return condition.copy().transform(strip).sql("duckdb")
