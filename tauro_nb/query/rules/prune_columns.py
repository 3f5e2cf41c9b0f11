"""Drop the columns of subqueries and CTEs that nobody reads, down to the leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.pushdown_projections import pushdown_projections

from tauro_nb.query.query import Query
from tauro_nb.query.trees import copied, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["prune_columns"]


def prune_columns(query: Query, _: Planner) -> Query:
    """Run sqlglot's projection pushdown; a query that is not qualified stays as it is."""
    if not query.qualified or every(query.tree, exp.Values, exp.SetOperation):
        # Arms of a set operation share positions, and VALUES has no names to prune by.
        return query
    try:
        tree = pushdown_projections(copied(query.tree))
    except SqlglotError:
        return query
    return query.evolve("prune_columns", tree)
