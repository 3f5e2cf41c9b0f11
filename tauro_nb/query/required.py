"""Tables that are too large to be read whole say which columns a query must filter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.errors import FilterRequired
from tauro_nb.query.names import RAW, leaf_kind
from tauro_nb.query.secrecy import below_policy, is_policy
from tauro_nb.query.trees import conjuncts, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner
    from tauro_nb.query.query import Query

__all__ = ["require_filters"]

_BOUNDS = (exp.EQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In)


def require_filters(query: Query, planner: Planner) -> Query:
    """Refuse a query that reads a table without a condition on any of its required columns that reaches the source.

    What counts stands in the leaf: it is leak-proof where a policy stands, and compares the bare column with constants.
    A policy's own conditions do not count, so that a refusal tells nothing of them; what a policy reads for itself
    is not judged.

    Raises
    ------
    FilterRequired
        Naming the table, its columns and the cure.
    """
    if not any(entry.table.required_filters for entry in planner.entries):
        return query
    for table in every(query.tree, exp.Table):
        if leaf_kind(table) != RAW or below_policy(table):
            continue
        entry = planner.raw(table.name)
        wanted = {column.lower() for column in entry.table.required_filters}
        if wanted and not wanted & set(_bounded(table)):
            visible = {column.lower() for column in entry.decision.visible_columns}
            columns = [column for column in entry.table.required_filters if column.lower() in visible]
            raise _refusal(entry.table.name, columns)
    return query


def _bounded(table: exp.Table) -> Iterable[str]:
    """Columns that the user's own conditions in a leaf compare with constants."""
    select = table.parent_select
    where = select.args.get("where") if select is not None else None
    for part in conjuncts(where.this) if where is not None else ():
        if isinstance(part, _BOUNDS) and not is_policy(part) and not every(part, exp.Query):
            columns = every(part, exp.Column)
            sides = [side.unnest() for side in (part.this, part.args.get("expression")) if side is not None]
            if len(columns) == 1 and any(side is columns[0] for side in sides):
                yield columns[0].name.lower()


def _refusal(table: str, columns: list[str]) -> FilterRequired:
    if not columns:
        hint = "None of the columns it may be filtered by is open to you; ask whoever keeps the catalog."
        return FilterRequired(f"`{table}` is not read without a filter.", table=table, hint=hint)
    named = " or ".join(f"`{column}`" for column in columns)
    return FilterRequired(
        f"`{table}` is not read whole: no condition on {named} reaches its source.",
        table=table,
        hint=f"Compare {named} itself with constants (=, <, >, BETWEEN, IN), beside AND: "
        f"`WHERE {columns[0]} >= ...`. A condition on a computed or masked value does not count.",
    )
