"""Joins asked for by table names and conditions: what the conditions mean, and in which order tables are joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sqlglot import exp
from sqlglot.errors import SqlglotError

from tauro_nb.conditions import parse_condition
from tauro_nb.errors import BindError, UsageError, nearest
from tauro_nb.query.trees import conjuncts

if TYPE_CHECKING:
    from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["JoinCondition", "JoinPlan", "join_order", "join_tree", "read_conditions"]

_OPERATORS: Final[Mapping[str, type[exp.Binary]]] = MappingProxyType(
    {"=": exp.EQ, "<>": exp.NEQ, ">": exp.GT, ">=": exp.GTE, "<": exp.LT, "<=": exp.LTE}
)


@dataclass(frozen=True, slots=True)
class JoinCondition:
    """One comparison of a column of one table with a column of another.

    Parameters
    ----------
    name
        What the caller calls it.
    left_table, left_column, right_table, right_column
        The columns that are compared.
    operator
        `=`, `<`, ...
    """

    name: str
    left_table: str
    left_column: str
    right_table: str
    right_column: str
    operator: str = "="

    @property
    def tables(self) -> frozenset[str]:
        """Both tables."""
        return frozenset({self.left_table, self.right_table})

    @property
    def sql(self) -> str:
        """The condition for people."""
        return f"{self.left_table}.{self.left_column} {self.operator} {self.right_table}.{self.right_column}"


@dataclass(frozen=True)
class JoinPlan:
    """How several tables are joined.

    Parameters
    ----------
    order
        Tables in the order in which they are joined: the smallest first, each connected with one before it.
    conditions
        What is compared with what.
    estimated_rows, estimated_cost
        By the statistics of the sources; by defaults where there is no catalog.
    plan
        The executable plan; None without a catalog.
    """

    order: tuple[str, ...]
    conditions: tuple[JoinCondition, ...]
    estimated_rows: int = 0
    estimated_cost: float = 0.0
    plan: QueryPlan | None = field(default=None, repr=False)

    @property
    def fragments(self) -> Mapping[str, tuple[Fragment, ...]]:
        """What each table's source is asked for; a fragment that joins several tables stands at each of them."""
        found = self.plan.fragments if self.plan is not None else ()
        return {table: tuple(part for part in found if table in part.tables) for table in self.order}


def read_conditions(tables: Sequence[str], predicates: Mapping[str, str]) -> tuple[JoinCondition, ...]:
    """Read conditions such as `a.id = b.a_id`, several of them joined by AND.

    Raises
    ------
    UsageError
        There are fewer than two tables, one stands twice, or a text is no such condition.
    BindError
        A condition names a table that is not joined.
    """
    if isinstance(tables, str) or len(tables) < 2:
        raise UsageError("a join needs at least two tables.")
    if len({table.casefold() for table in tables}) < len(tables):
        raise UsageError("a table stands twice in this join.", hint="Join it with itself through a view of its own.")
    by_name = {table.casefold(): table for table in tables}
    return tuple(
        _read_comparison(name, part, by_name)
        for name, text in predicates.items()
        for part in conjuncts(_parse(name, text))
    )


def _parse(name: str, text: object) -> exp.Expr:
    try:
        condition = parse_condition(text, "duckdb") if isinstance(text, str) else None
    except SqlglotError:
        condition = None
    if condition is None:
        raise _no_condition(name)
    return condition


def _no_condition(name: str) -> UsageError:
    return UsageError(
        f"join condition `{name}` does not compare two columns.",
        hint="Write `a.id = b.a_id`, several of them with AND.",
    )


def _read_comparison(name: str, node: exp.Expr, tables: Mapping[str, str]) -> JoinCondition:
    comparison = node.unnest()
    operator = next((sign for sign, kind in _OPERATORS.items() if type(comparison) is kind), None)
    if operator is None:
        raise _no_condition(name)
    left, right = (_read_column(name, side, tables) for side in (comparison.this, comparison.expression))
    if left[0] == right[0]:
        raise UsageError(f"join condition `{name}` compares `{left[0]}` with itself.", hint="Use a predicate for that.")
    return JoinCondition(name, *left, *right, operator=operator)


def _read_column(name: str, node: exp.Expr, tables: Mapping[str, str]) -> tuple[str, str]:
    column = node.unnest()
    parts = [part.name for part in column.parts] if isinstance(column, exp.Column) else []
    if len(parts) < 2:
        raise _no_condition(name)
    table, known = ".".join(parts[:-1]), tables.get(".".join(parts[:-1]).casefold())
    if known is None:
        raise BindError(
            f"join condition `{name}` speaks of `{table}`, which is not joined.{nearest(table, tables.values())}"
        )
    return known, parts[-1]


def join_order(
    tables: Sequence[str], conditions: Sequence[JoinCondition], rows: Mapping[str, int | None]
) -> tuple[str, ...]:
    """Smallest table first, then always the smallest that is connected; the given order where sizes are unknown.

    Raises
    ------
    UsageError
        A table is not connected with the others.
    """
    known = [count for count in rows.values() if count is not None]
    unknown = max(known, default=0) + 1
    left = sorted(tables, key=lambda table: unknown if (count := rows.get(table)) is None else count)
    order = [left.pop(0)]
    while left:
        following = next((table for table in left if _connected(table, order, conditions)), None)
        if following is None:
            raise UsageError(f"no join condition connects `{'`, `'.join(left)}` with `{'`, `'.join(order)}`.")
        left.remove(following)
        order.append(following)
    return tuple(order)


def _connected(table: str, others: Sequence[str], conditions: Sequence[JoinCondition]) -> bool:
    return any(table in condition.tables and condition.tables & set(others) for condition in conditions)


def join_tree(order: Sequence[str], conditions: Sequence[JoinCondition]) -> exp.Select:
    """`SELECT * FROM a JOIN b ON ...` with every condition at the first place where both its tables are there."""
    tree = exp.select("*").from_(_relation(order[0], 0))
    aliases = {table: f"t{number}" for number, table in enumerate(order)}
    for number, table in enumerate(order[1:], start=1):
        here = [c for c in conditions if table in c.tables and c.tables <= set(order[: number + 1])]
        tree = tree.join(_relation(table, number), on=exp.and_(*_comparisons(here, aliases)), copy=False)
    return tree


def _relation(table: str, number: int) -> exp.Table:
    return exp.table_(exp.to_identifier(table, quoted=True), alias=f"t{number}")


def _comparisons(conditions: Sequence[JoinCondition], aliases: Mapping[str, str]) -> Iterator[exp.Expr]:
    for condition in conditions:
        sides = [
            exp.column(exp.to_identifier(column, quoted=True), table=aliases[table])
            for table, column in (
                (condition.left_table, condition.left_column),
                (condition.right_table, condition.right_column),
            )
        ]
        yield _OPERATORS[condition.operator](this=sides[0], expression=sides[1])
