"""How many rows fragments had when they ran: the next plan with the same fragment need not estimate it.

A count is what one principal's own query fetched, under the text of that query with all that policies made of it. It
is kept for that principal alone: nobody's plan depends on what somebody else's query found. Of texts only digests are
kept.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tauro_nb.query.plan import Fragment, QueryPlan
    from tauro_nb.security.principal import Principal

__all__ = ["Actuals", "misjudged"]

_MOST: Final = 4_096
_WRONG: Final = 10.0
"""So many times too few or too many rows, and a plan may be another."""
_FEW: Final = 100.0
"""Fewer rows than these are all the same to a plan."""


@dataclass(slots=True)
class Actuals:
    """Rows of fragments by principal, source and text; safe to use from several threads.

    Parameters
    ----------
    lifetime
        Seconds for which a count is taken to hold.
    clock
        Seconds, from anywhere.
    most
        How many are kept: those that were learned last.

    Examples
    --------
    >>> from tauro_nb.security.principal import Principal
    >>> ana, bo = Principal.of("ana"), Principal.of("bo")
    >>> actuals = Actuals(300.0)
    >>> actuals.learn(ana, "crm", "SELECT 1", ("customers",), 7)
    >>> actuals.of(ana, "crm", "SELECT 1"), actuals.of(bo, "crm", "SELECT 1")
    (7, None)
    """

    lifetime: float
    clock: Callable[[], float] = time.monotonic
    most: int = _MOST
    _rows: OrderedDict[Hashable, tuple[float, frozenset[str], int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def learn(
        self, principal: Principal, source: str, sql: str, tables: Iterable[str], rows: int, *, policed: bool = False
    ) -> None:
        """Note how many rows a source answered with; `policed`, for a query in which a policy stands on a table."""
        key = _key(principal, source, sql, policed)
        with self._lock:
            self._rows[key] = (self.clock(), frozenset(tables), rows)
            self._rows.move_to_end(key)
            while len(self._rows) > self.most:
                self._rows.popitem(last=False)

    def of(self, principal: Principal, source: str, sql: str, *, policed: bool = False) -> int | None:
        """Rows that the same text had for the same principal, not long ago.

        Whether a run of a `policed` query read a fragment whole, or for some keys, goes by hidden rows. So what it
        learned of any table is for such queries only, of whose plans no estimate of it is shown.
        """
        keys = [_key(principal, source, sql, kind) for kind in (policed, False)]
        with self._lock:
            known = [found for key in keys if (found := self._rows.get(key)) is not None]
        return next((rows for learned, _, rows in known if self.clock() - learned < self.lifetime), None)

    def learn_from(self, plan: QueryPlan, principal: Principal, counted: Mapping[str, int]) -> None:
        """Note what a run of a plan counted, by fragment; what is read for a policy's sake is left out."""
        for part in plan.fragments:
            if part.id in counted and part.scan is not None and not part.policy:
                rows = counted[part.id]
                self.learn(principal, part.source, part.scan.sql, part.tables, rows, policed=plan.fenced)

    def forget(self, tables: Iterable[str]) -> None:
        """Drop what is known of fragments that read one of these tables."""
        gone = frozenset(tables)
        with self._lock:
            for key in [key for key, found in self._rows.items() if gone & found[1]]:
                del self._rows[key]


def _key(principal: Principal, source: str, sql: str, policed: bool) -> Hashable:
    return policed, principal.key, source, hashlib.sha256(sql.encode()).digest()


def misjudged(part: Fragment, rows: int | None) -> bool:
    """Whether a fragment was planned for far more or far fewer rows than it had.

    >>> from tauro_nb.query.plan import Fragment
    >>> part = Fragment("f0", "crm", "query", (), None, {}, expected_rows=1_000.0)
    >>> [misjudged(part, rows) for rows in (None, 200, 10, 9_000, 11_000)]
    [False, False, False, False, True]
    """
    if rows is None or part.expected_rows is None:
        return False
    low, high = sorted((max(part.expected_rows, _FEW), max(float(rows), _FEW)))
    return high > low * _WRONG
