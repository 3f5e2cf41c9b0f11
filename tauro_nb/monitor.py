"""What queries took: per query, per table, in all."""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

__all__ = ["QueryMonitor", "QueryStatistics"]

_KEPT = 10_000


@dataclass(slots=True)
class QueryStatistics:
    """Figures of one query; times in milliseconds, sizes in Arrow bytes. Final once its rows are read."""

    query_id: str
    table_name: str
    execution_time_ms: float
    rows_returned: int
    bytes_scanned: int = 0
    plan_time_ms: float = 0.0
    cache_hit: bool = False
    status: str = "SUCCESS"
    tables: tuple[str, ...] = ()
    principal: str = ""
    tenant: str | None = None
    timestamp: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class QueryMonitor:
    """The last queries of a context, safe for threads.

    Examples
    --------
    >>> monitor = QueryMonitor()
    >>> monitor.record(QueryStatistics("q1", "customers", 12.0, 3))
    >>> monitor.get_optimization_metrics()["total_queries"]
    1
    """

    def __init__(self) -> None:
        self._statistics: OrderedDict[str, QueryStatistics] = OrderedDict()
        self._lock = threading.Lock()
        self._total = 0

    def record(self, statistics: QueryStatistics) -> None:
        """Remember one query; the oldest of more than 10,000 is forgotten."""
        with self._lock:
            self._total += 1
            self._statistics[statistics.query_id] = statistics
            if len(self._statistics) > _KEPT:
                self._statistics.popitem(last=False)

    def of(self, principal: str, tenant: str | None = None) -> QueryMonitor:
        """The monitor as one principal may read it: the own queries, now and later. What is recorded goes to this one.

        A namesake of another tenant is somebody else.

        Examples
        --------
        >>> monitor = QueryMonitor()
        >>> ana = monitor.of("ana")
        >>> monitor.record(QueryStatistics("q1", "payroll", 12.0, 3, principal="root"))
        >>> ana.statistics(), ana.get_optimization_metrics()["total_queries"]
        ((), 0)
        """
        return _OwnQueries(self, principal, tenant)

    def total(self) -> int:
        """Queries since the beginning, those that are forgotten among them."""
        return self._total

    def statistics(self) -> tuple[QueryStatistics, ...]:
        """Every remembered query, oldest first."""
        with self._lock:
            return tuple(self._statistics.values())

    def get_optimization_metrics(self) -> dict[str, Any]:
        """Totals and averages; zero where nothing ran yet."""
        kept = self.statistics()
        count = len(kept)
        times = sorted(item.execution_time_ms for item in kept)
        return {
            "total_queries": self.total(),
            "failed_queries": sum(item.status != "SUCCESS" for item in kept),
            "cache_hits": sum(item.cache_hit for item in kept),
            "cache_hit_rate": sum(item.cache_hit for item in kept) / count if count else 0.0,
            "avg_execution_time_ms": sum(times) / count if count else 0.0,
            "median_execution_time_ms": times[count // 2] if count else 0.0,
            "max_execution_time_ms": times[-1] if count else 0.0,
            "avg_plan_time_ms": sum(item.plan_time_ms for item in kept) / count if count else 0.0,
            "total_rows_returned": sum(item.rows_returned for item in kept),
            "times_by_table": self.times_by_table(),
        }

    def times_by_table(self) -> dict[str, dict[str, float]]:
        """Count, minimum, average and maximum time of the queries that read each table."""
        by_table: dict[str, list[float]] = {}
        for item in self.statistics():
            for name in item.tables or (item.table_name,):
                by_table.setdefault(name, []).append(item.execution_time_ms)
        return {
            name: {"queries": len(times), "min_ms": min(times), "avg_ms": sum(times) / len(times), "max_ms": max(times)}
            for name, times in sorted(by_table.items())
        }


class _OwnQueries(QueryMonitor):
    """One principal's queries of a monitor."""

    def __init__(self, whole: QueryMonitor, principal: str, tenant: str | None) -> None:
        super().__init__()
        self._whole = whole
        self._own = principal, tenant

    def record(self, statistics: QueryStatistics) -> None:
        self._whole.record(statistics)

    def total(self) -> int:
        return len(self.statistics())

    def statistics(self) -> tuple[QueryStatistics, ...]:
        return tuple(item for item in self._whole.statistics() if (item.principal, item.tenant) == self._own)
