"""Drop the columns of subqueries and CTEs that nobody reads, down to the leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.pushdown_projections import pushdown_projections

from tauro_nb.query.names import is_leaf
from tauro_nb.query.query import Query
from tauro_nb.query.trees import copied, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["prune_columns"]


def prune_columns(query: Query, _: Planner) -> Query:
    """Run sqlglot's projection pushdown; a query that is not qualified stays as it is."""
    if not query.qualified or not _may_drop(query.tree):
        return query
    try:
        tree = pushdown_projections(copied(query.tree))
    except SqlglotError:
        return query
    return query.evolve("prune_columns", tree)


def _may_drop(tree: exp.Expr) -> bool:
    """Whether there are inner queries; leaves were made with the columns that are read.

    Arms of a set operation share positions, and VALUES has no names to prune by.
    """
    inner = every(tree, exp.Values, exp.SetOperation, exp.Subquery, exp.CTE)
    if any(isinstance(node, (exp.Values, exp.SetOperation)) for node in inner):
        return False
    return not all(is_leaf(node.this) for node in inner)
