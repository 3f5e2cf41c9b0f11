"""What sources tell of the size of their tables: asked once in a while, remembered for planning."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.query.placement.cost import RATES, Rates
from tauro_nb.sources.attached import AttachedSource

if TYPE_CHECKING:
    from tauro_nb.catalog.registry import SchemaRegistry
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.sources.base import Source

__all__ = ["Knowledge"]

LIFETIME: Final = 300.0
"""Seconds for which an answer is taken to hold. An old one makes a plan slower, never wrong."""


@dataclass(slots=True)
class Knowledge:
    """Statistics of tables, shared by all principals of a context.

    The registry is given what may be shown: sizes and counts. Bounds of columns are data; they stay here. What somebody
    else recorded in the registry counts, and no source is asked.
    """

    registry: SchemaRegistry
    clock: Callable[[], float] = time.monotonic
    _told: dict[str, tuple[float, TableStatistics, TableStatistics]] = field(default_factory=dict)
    _links: dict[int, tuple[float, Source, Rates]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, table: VirtualTable, source: Source | None) -> TableStatistics:
        """What is known of a table.

        Raises
        ------
        SourceUnavailable
            Its source had to be asked, and does not answer.
        """
        with self._lock:
            recorded = self.registry.get_table_statistics(table.name)
            told = self._told.get(table.name)
            if recorded is not None and (told is None or recorded is not told[2]):
                return recorded
            if told is not None and self.clock() - told[0] < LIFETIME:
                return told[1]
        if source is None:
            return TableStatistics()
        found = source.statistics(table)
        public = replace(
            found,
            columns={name: replace(facts, minimum=None, maximum=None) for name, facts in found.columns.items()},
        )
        with self._lock:
            self.registry.record_statistics(table.name, public)
            self._told[table.name] = (self.clock(), found, public)
        return found

    def rates(self, source: Source) -> Rates:
        """What a source costs, over the way that leads to it; measured when it is first needed.

        Raises
        ------
        SourceUnavailable
            It does not answer.
        """
        known = self._links.get(id(source))
        if known is None or self.clock() - known[0] >= LIFETIME:
            link = source.link() if isinstance(source, AttachedSource) else None
            known = (self.clock(), source, RATES[source.connection.type].over(link))
            self._links[id(source)] = known
        return known[2]

    def is_old(self, name: str) -> bool:
        """Whether the source of a table would be asked again."""
        with self._lock:
            told = self._told.get(name)
            return told is not None and self.clock() - told[0] >= LIFETIME

    def forget(self, name: str) -> None:
        """Ask again next time."""
        with self._lock:
            told = self._told.get(name)
            if told is not None:
                self._told[name] = (float("-inf"), *told[1:])
