"""Mark what one run asks of servers, so that its statements can be told from those of others, and stopped alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.query.trees import copied, every

if TYPE_CHECKING:
    from tauro_nb.query.plan import Fragment, QueryPlan
    from tauro_nb.sources.base import Scan

__all__ = ["marked", "marked_plan"]

_ASKING: Final = frozenset({"postgres_query", "mysql_query"})
"""Functions of the engine that hand a server its second argument as it is."""


def marked(tree: exp.Expr, mark: str) -> exp.Expr:
    """The tree in which whatever a server is asked in its own SQL begins with a comment.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT * FROM postgres_query('crm', 'SELECT 1')", dialect="duckdb")
    >>> marked(tree, "m").sql("duckdb")
    "SELECT * FROM POSTGRES_QUERY('crm', '/* m */ SELECT 1')"
    """
    if not any(node.name in _ASKING for node in every(tree, exp.Anonymous)):
        return tree
    twin = copied(tree)
    for node in every(twin, exp.Anonymous):
        if node.name in _ASKING:
            place, asked = node.expressions
            node.set("expressions", [place, exp.Literal.string(f"/* {mark} */ {asked.name}")])
    return twin


def marked_plan(plan: QueryPlan, mark: str) -> QueryPlan:
    """The plan, marked wherever it asks a server."""
    return replace(
        plan,
        residual=marked(plan.residual, mark),
        steps=tuple(replace(step, tree=marked(step.tree, mark)) for step in plan.steps),
        fragments=tuple(_marked_fragment(part, mark) for part in plan.fragments),
    )


def _marked_fragment(part: Fragment, mark: str) -> Fragment:
    if not part.keys:
        return part
    unkeyed = None if part.unkeyed is None else marked(part.unkeyed, mark)
    return replace(part, unkeyed=unkeyed, keyed=partial(_keyed, part.keyed, mark))


def _keyed(ask: Callable[[Any], Scan | None], mark: str, keys: Any) -> Scan | None:
    scan = ask(keys)
    return scan if scan is None or scan.relation is None else replace(scan, relation=marked(scan.relation, mark))
