"""Drop the columns of subqueries and CTEs that nobody reads, down to the leaves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.pushdown_projections import pushdown_projections

from tauro_nb.query.names import is_leaf
from tauro_nb.query.query import Query
from tauro_nb.query.trees import every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["prune_columns"]


def prune_columns(query: Query, _: Planner) -> Query:
    """Run sqlglot's projection pushdown; a query that is not qualified stays as it is."""
    if not query.qualified or not _may_drop(query.tree):
        return query
    for exists in every(query.tree, exp.Exists):
        _keep_no_column(exists.this.unnest())
    # What it does not understand it refuses before it changes anything.
    with suppress(SqlglotError):
        pushdown_projections(query.tree)
    return query.evolve("prune_columns", query.tree)


def _may_drop(tree: exp.Expr) -> bool:
    """Whether there are inner queries; leaves were made with the columns that are read.

    Arms of a set operation share positions, and VALUES has no names to prune by. A QUALIFY without a window of its own
    needs one among the columns, read or not.

    >>> import sqlglot
    >>> leaf = '(SELECT _.a AS a FROM "~raw".t AS _) AS t'
    >>> texts = (f"SELECT t.a FROM {leaf}", f"SELECT s.a FROM (SELECT t.a, 1 AS b FROM {leaf}) AS s")
    >>> [_may_drop(sqlglot.parse_one(text, dialect="duckdb")) for text in texts]
    [False, True]
    """
    found = every(tree, exp.Values, exp.SetOperation, exp.Qualify, exp.Subquery, exp.CTE, exp.Exists)
    inner = [node for node in found if isinstance(node, (exp.Subquery, exp.CTE, exp.Exists))]
    if any(isinstance(node, (exp.Values, exp.SetOperation)) for node in found):
        return False
    if any(isinstance(node, exp.Qualify) and node.find(exp.Window) is None for node in found):
        return False
    return not all(is_leaf(node.this) for node in inner)


def _keep_no_column(query: exp.Expr) -> None:
    """Let EXISTS ask for a row, and not for columns of it.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT t.a, t.b FROM t WHERE t.c = 1")
    >>> _keep_no_column(tree)
    >>> tree.sql()
    'SELECT 1 AS "~one" FROM t WHERE t.c = 1'
    """
    if not isinstance(query, exp.Select) or query.args.get("distinct") or query.args.get("group") is not None:
        return
    if all(isinstance(item.unalias(), exp.Column) for item in query.expressions):
        query.set("expressions", [exp.alias_(exp.Literal.number(1), "~one", quoted=True)])
