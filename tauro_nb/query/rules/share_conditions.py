"""Take out of an OR what all its branches say, so that it can be joined by, or asked of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.query import Query
from tauro_nb.query.trees import IMMOVABLE, conjuncts, copied, disjuncts, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["share_conditions"]


def share_conditions(query: Query, _: Planner) -> Query:
    """`(a AND b) OR (a AND c)` becomes `a AND (b OR c)`, which is the same for NULL as well."""
    found = [node for node in every(query.tree, exp.Or) if _topmost(node)]
    if not query.pushdown or not found:
        return query
    for node in found:
        shared = _shared(node)
        if shared is not None:
            place = node.parent if isinstance(node.parent, exp.Paren) else node
            place.replace(exp.paren(shared) if isinstance(place, exp.Paren) else shared)
    return query.evolve("share_conditions", query.tree)


def _topmost(node: exp.Expr) -> bool:
    """Whether an OR is a condition of WHERE or ON by itself."""
    above = node.parent
    while isinstance(above, (exp.Paren, exp.And)):
        above = above.parent
    return isinstance(above, (exp.Where, exp.Join))


def _shared(disjunction: exp.Expr) -> exp.Expr | None:
    """The same condition with what all branches say in front; None if there is nothing.

    >>> import sqlglot
    >>> _shared(sqlglot.parse_one("(x = y AND a = 1) OR (x = y AND b = 2)")).sql()
    'x = y AND (a = 1 OR b = 2)'
    >>> _shared(sqlglot.parse_one("(x = y AND a = 1) OR x = y")).sql()
    'x = y'
    """
    branches = [[part.unnest() for part in conjuncts(branch)] for branch in disjuncts(disjunction)]
    first, *others = branches
    common = [part for part in first if all(part in branch for branch in others) and not every(part, *IMMOVABLE)]
    if not common:
        return None
    rest = [[part for part in branch if part not in common] for branch in branches]
    kept = [copied(part) for part in dict.fromkeys(common)]
    if all(rest):
        kept.append(exp.paren(exp.or_(*(exp.and_(*(copied(part) for part in branch)) for branch in rest))))
    return exp.and_(*kept)
