"""Mark what one run asks of servers, so that its statements can be told from those of others, and stopped alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from tauro_nb.query.trees import copied, every

if TYPE_CHECKING:
    from tauro_nb.query.plan import QueryPlan

__all__ = ["Written", "marked"]

_ASKING: Final = frozenset({"postgres_query", "mysql_query"})
"""Functions of the engine that hand a server its second argument as it is."""
_MOST_KEPT: Final = 50


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


class Written:
    """The SQL of a plan's trees: written by the first run, and by each given its own mark.

    Parameters
    ----------
    plan
        What runs; its trees are never changed.
    mark
        Of this run.
    """

    def __init__(self, plan: QueryPlan, mark: str) -> None:
        self._mark = mark
        # Nobody can have that in a text of their own.
        self._place, self._texts = plan.once("written", lambda: (f"tauro_nb plan {uuid.uuid4().hex}", {}))
        self._own = {id(tree): tree for tree in (plan.residual, *(step.tree for step in plan.steps))}

    def text(self, tree: exp.Expr) -> str:
        """The SQL of a tree, one of the plan's or another."""
        if id(tree) not in self._own:
            return marked(tree, self._mark).sql("duckdb")
        kept = self._texts.get(id(tree))
        if kept is None or kept[0] is not tree:
            if len(self._texts) > _MOST_KEPT:  # of a plan that was placed anew again and again
                self._texts.clear()
            kept = self._texts[id(tree)] = (tree, marked(tree, self._place).sql("duckdb"))
        text: str = kept[1]
        return text.replace(self._place, self._mark)
