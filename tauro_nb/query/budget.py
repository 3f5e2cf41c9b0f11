"""How much a query may move: refused before it runs when the estimate says more, and stopped when it moves more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tauro_nb.errors import LimitExceeded
from tauro_nb.text import size

if TYPE_CHECKING:
    from tauro_nb.query.limits import Limits
    from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["estimated_traffic", "require_within"]

_CURE = "Ask for fewer rows or columns, or for an aggregate; or raise the limit."


def require_within(plan: QueryPlan, limits: Limits, *, hidden: bool = False) -> None:
    """Refuse a plan whose estimate is above a limit. Where nothing is known it may run, and is stopped on its way.

    Parameters
    ----------
    hidden
        The asker may not know how much moves. Whether keys are sent for an open table goes by how many rows a policy
        leaves of another, so that a limit of the asker's own is held against the answer alone (`engine.meter`).

    Raises
    ------
    LimitExceeded
        Naming the source, the estimate and the limit.
    """
    found = limits.exceeded(estimated_traffic(plan), with_asked=not hidden) if limits else None
    if found is not None:
        names, volume, limit = found
        message = f"would move {size(volume)} from {names}; the limit is {size(limit)}."
        raise LimitExceeded(f"{message} Nothing ran.", sql=plan.sql, hint=_CURE)


def estimated_traffic(plan: QueryPlan) -> dict[str, int]:
    """Bytes expected from each source, as far as something is known of them that the asker may know."""
    traffic: dict[str, int] = {}
    for part in plan.fragments:
        # What the engine scans by itself does not move; keys that are not found yet make any estimate too high.
        if part.scan is not None and part.estimated_bytes is not None and not part.keys and not _policed(plan, part):
            traffic[part.source] = traffic.get(part.source, 0) + part.estimated_bytes
    return traffic


def _policed(plan: QueryPlan, part: Fragment) -> bool:
    decisions = plan.decisions
    return part.policy or any(name not in decisions or decisions[name].needs_barrier for name in part.tables)
