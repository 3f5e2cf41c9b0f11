"""When a run may start: once each of its servers has as many connections free as it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tauro_nb.engine.moments import read_twice
from tauro_nb.errors import SourceUnavailable

if TYPE_CHECKING:
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.sources.slots import Slots

__all__ = ["Turns"]


class Turns:
    """The slots of one run.

    A run reads on one connection to a server, and has another one hold the moment where it reads in several
    transactions. Where it is counted, each fragment is read on a cursor of its own. If there are more of them than the
    server has slots, they are read one after the other, and kept until they are joined.

    Parameters
    ----------
    plan
        What runs.
    counted
        Whether what arrives is counted.
    """

    def __init__(self, plan: QueryPlan, *, counted: bool) -> None:
        fragments = (
            Counter(part.source for part in plan.fragments) if counted else Counter(dict.fromkeys(read_twice(plan), 2))
        )
        limited = {source.connection.id: source for source in plan.sources.values() if source.slots is not None}
        crowded = {name for name, source in limited.items() if fragments[name] > source.slots.size}
        self.settled: Final = frozenset(part.id for part in plan.fragments if counted and part.source in crowded)
        """Fragments that are read to their end before the next."""
        # All runs take in one order, so that no two wait for each other: connection, its slots, seconds, how many.
        self.wanted: Final[list[tuple[str, Slots, float, int]]] = [
            (name, source.slots, source.pool_timeout, 1 if name in crowded else max(fragments[name], 1))
            for name, source in sorted(limited.items())
        ]
        self._taken: list[tuple[Slots, int]] = []

    def take_free(self) -> bool:
        """Take all slots if nobody has to be waited for."""
        for _, slots, _, number in self.wanted:
            if not slots.take(number, patience=0.0):
                self.give()
                return False
            self._taken.append((slots, number))
        return True

    def take(self, stopped: Callable[[], bool]) -> None:
        """Wait until all slots are taken.

        Raises
        ------
        SourceUnavailable
            For too long others had them.
        QueryCancelled
            `stopped` says so.
        """
        for name, slots, patience, number in self.wanted:
            if not slots.take(number, patience, stopped):
                raise SourceUnavailable(
                    f"all connections that `{name}` may have are busy; nothing was returned.",
                    hint="Run the query again, close results that are not read to their end, or raise `pool_size`.",
                )
            self._taken.append((slots, number))

    def give(self) -> None:
        """Give back what was taken; may be called twice."""
        while self._taken:
            slots, number = self._taken.pop()
            slots.give(number)
