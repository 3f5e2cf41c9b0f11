"""Let a server's own processes share the work of what takes it long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import duckdb

from tauro_nb.engine.parallel import is_looked_up
from tauro_nb.sources.base import ParallelSource

if TYPE_CHECKING:
    from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["Helped", "helpers_pay", "may_share"]

_SAVED: Final = 0.05e-6
"""Seconds that a stored row costs less where two processes look at it: half of what looking at it takes one."""
_TURNS: Final = 4
"""Times there and back that asking for it takes."""
_SETTING: Final = 0.004
"""Seconds for asking, and for starting the processes."""


def helpers_pay(rows: float, round_trip: float) -> bool:
    """Whether a server's processes save more, of so many stored rows, than asking for them takes.

    Examples
    --------
    >>> helpers_pay(1_500_000, 0.0002), helpers_pay(1_500_000, 0.02), helpers_pay(10_000, 0.0002)
    (True, False, False)
    """
    return rows * _SAVED > _SETTING + _TURNS * round_trip


class Helped:
    """Which steps of a plan are worth it, and how these run.

    Only what a server joins or groups: rows that it merely hands over, the engine reads over several connections.
    """

    def __init__(self, plan: QueryPlan) -> None:
        sources = {source.connection.id: source for source in plan.sources.values()}
        self._sources = {
            part.id: source
            for part in plan.fragments
            if isinstance(source := sources.get(part.source), ParallelSource) and _is_long(part, source)
        }

    def source(self, fragments: Iterable[str]) -> ParallelSource | None:
        """The server that is to be asked, before a step reads these fragments, to share the work."""
        return next((self._sources[name] for name in fragments if name in self._sources), None)


def may_share(cursor: duckdb.DuckDBPyConnection, source: ParallelSource) -> bool:
    """Whether the server may share the work of what is asked in a cursor's transaction; not every one knows how.

    Where it does not, the transaction has failed.

    Raises
    ------
    duckdb.InterruptException
        It was told to stop.
    """
    try:
        source.allow_helpers(cursor)
    except duckdb.InterruptException:
        raise
    except duckdb.Error:
        return False
    return True


def _is_long(part: Fragment, source: ParallelSource) -> bool:
    return helpers_pay(part.stored_rows, source.round_trip) and not is_looked_up(part.tree)
