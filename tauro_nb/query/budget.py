"""How much a query may move: refused before it runs when the estimate says more, and stopped when it moves more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.errors import LimitExceeded
from tauro_nb.text import size

if TYPE_CHECKING:
    from tauro_nb.query.limits import Limits
    from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["estimated_traffic", "require_within"]

_OTHER = ("joins", "where", "group", "having", "distinct", "qualify", "sample")
_CURE = "Ask for fewer rows or columns, or for an aggregate; or raise the limit."


def require_within(plan: QueryPlan, limits: Limits) -> None:
    """Refuse a plan whose estimate is above a limit. Where nothing is known it may run, and is stopped on its way.

    Raises
    ------
    LimitExceeded
        Naming the source, the estimate and the limit.
    """
    found = limits.exceeded(estimated_traffic(plan)) if limits else None
    if found is not None:
        names, volume, limit = found
        message = f"would move {size(volume)} from {names}; the limit is {size(limit)}."
        raise LimitExceeded(f"{message} Nothing ran.", sql=plan.sql, hint=_CURE)


def estimated_traffic(plan: QueryPlan) -> dict[str, int]:
    """Bytes expected from each source, as far as something is known of them that the asker may know."""
    traffic: dict[str, int] = {}
    for part in plan.fragments:
        volume = None if _policed(plan, part) else _expected(part)
        if volume is not None:
            traffic[part.source] = traffic.get(part.source, 0) + volume
    return traffic


def _policed(plan: QueryPlan, part: Fragment) -> bool:
    decisions = plan.decisions
    return part.policy or any(name not in decisions or decisions[name].needs_barrier for name in part.tables)


def _expected(part: Fragment) -> int | None:
    if part.scan is None or part.keys:
        return None
    rows = part.scan.rows
    if rows is None and _hands_over_all(part.tree):
        rows = part.estimated_rows
    rows = min((number for number in (rows, *_cut(part.tree)) if number is not None), default=None)
    return None if rows is None else rows * 8 * max(len(part.columns), 1)


def _hands_over_all(tree: exp.Query) -> bool:
    """Whether every row of one table comes over: then their number is known, otherwise only a bound of it."""
    if not isinstance(tree, exp.Select) or tree.find(exp.AggFunc, exp.Unnest) or any(map(tree.args.get, _OTHER)):
        return False
    from_ = tree.args.get("from_")
    read = None if from_ is None else from_.this
    return isinstance(read, exp.Table) or (isinstance(read, exp.Subquery) and _hands_over_all(read.this))


def _cut(tree: exp.Query) -> Iterator[int]:
    limit = tree.args.get("limit")
    if isinstance(limit, exp.Limit) and isinstance(limit.expression, exp.Literal) and not limit.expression.is_string:
        yield int(limit.expression.name)
