"""Count what arrives while a plan runs, and stop it when that is more than a limit allows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tauro_nb.errors import LimitExceeded
from tauro_nb.query.limits import Limits
from tauro_nb.query.measured import Measured, Traffic
from tauro_nb.text import size

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.query.plan import QueryPlan

__all__ = ["Meter"]


class Meter:
    """The figures of one run.

    Parameters
    ----------
    plan
        What runs.
    limits
        What it may move.
    hidden
        The asker may not know how much moves. A limit of the asker's own is then held against the answer: tried with
        one number after the other, it would count rows that a policy hides.
    """

    def __init__(self, plan: QueryPlan, limits: Limits, *, hidden: bool) -> None:
        self._plan = plan
        self._limits = limits
        self._hidden = hidden
        self._sources = {part.id: part.source for part in plan.fragments}
        self._named = {part.source for part in plan.fragments if not part.policy}
        self._traffic: dict[str, Traffic] = {}
        self._moved: dict[str, int] = {}
        self._rows = 0
        self._bytes = 0
        self._started = time.perf_counter()

    def asked(self, fragment: str) -> None:
        """A source was asked, and has not answered yet."""
        self._traffic.setdefault(fragment, Traffic())

    def counted(self, fragment: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches of a fragment on their way into the engine.

        Raises
        ------
        LimitExceeded
            With this batch too much has moved.
        """
        self.asked(fragment)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            waited = (time.perf_counter() - asked) * 1000
            rows, volume = (0, 0) if batch is None else (batch.num_rows, batch.nbytes)
            self._traffic[fragment] = self._traffic[fragment].plus(rows, volume, waited)
            if batch is None:
                return
            self._moves(fragment, volume)
            yield batch

    def _moves(self, fragment: str, volume: int) -> None:
        source = self._sources[fragment]
        self._moved[source] = self._moved.get(source, 0) + volume
        found = self._limits.exceeded(self._moved, with_asked=not self._hidden)
        if found is None:
            return
        if self._hidden and not self._moved.keys() <= self._named:
            # One of them is read for a policy's sake only: neither its name nor its limit is the asker's to know.
            raise self._stopped("moved more than the configuration allows")
        raise self._stopped(f"moved more than {size(found[2])} from {found[0]}, which is the limit")

    def answered(self, batch: pa.RecordBatch) -> None:
        """Count a batch of the answer.

        Raises
        ------
        LimitExceeded
            See `hidden`.
        """
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        asked = self._limits.asked
        if self._hidden and asked is not None and self._bytes > asked:
            raise self._stopped(f"answered with more than {size(asked)}, which is the limit")

    def so_far(self) -> tuple[int, int, dict[str, Traffic]]:
        """Rows and bytes of the answer, and what came from each source; that is withheld from who may not know it."""
        sources: dict[str, Traffic] = {}
        for fragment, came in () if self._hidden else tuple(self._traffic.items()):
            name = self._sources[fragment]
            sources[name] = sources.get(name, Traffic()).plus(came.rows, came.bytes, came.ms)
        return self._rows, self._bytes, sources

    def _stopped(self, what: str) -> LimitExceeded:
        hint = "Ask for fewer rows or columns, or for an aggregate; or raise the limit."
        return LimitExceeded(f"{what}; the query was stopped.", sql=self._plan.sql, hint=hint)

    def measured(self, shipped: Mapping[str, int], ended: float) -> Measured:
        """The figures of a run that ended then (`time.perf_counter`)."""
        run_ms = (ended - self._started) * 1000
        waited = sum(traffic.ms for traffic in self._traffic.values())
        return Measured(
            rows=self._rows,
            bytes=self._bytes,
            plan_ms=self._plan.plan_ms,
            run_ms=run_ms,
            residual_ms=max(run_ms - waited, 0.0),
            fragments=dict(self._traffic),
            keys=dict(shipped),
        )
