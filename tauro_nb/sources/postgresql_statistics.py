"""What PostgreSQL's own catalog knows of a table: rows, widths, distinct values, bounds, indexes. It is only read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics

__all__ = ["QUERY", "read"]

# One row a column. A view has no statistics; a partitioned table has those of all its parts (`inherited`). Bounds are
# asked for of numbers, dates and moments alone. A partial index finds only some rows, so it does not count.
QUERY: Final = """
SELECT CASE WHEN c.relkind IN ('r', 'p', 'm') THEN c.reltuples::bigint ELSE -1 END, pg_total_relation_size(c.oid),
       a.attname, s.n_distinct, s.null_frac, s.avg_width,
       CASE WHEN t.typcategory IN ('N', 'D') THEN (s.histogram_bounds::text::text[])[1] END,
       CASE WHEN t.typcategory IN ('N', 'D')
            THEN (s.histogram_bounds::text::text[])[array_length(s.histogram_bounds::text::text[], 1)] END,
       EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
               AND i.indkey[0] = a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
                    AND s.inherited = (c.relkind = 'p')
WHERE n.nspname = %s AND c.relname = %s
"""


def read(rows: Iterable[tuple[Any, ...]]) -> TableStatistics:
    """Statistics from the rows of `QUERY`.

    >>> read([(100, 8192, "id", -1.0, 0.0, 8, "1", "100", True)]).columns["id"].distinct_count
    100
    """
    columns = {}
    count, size = -1, None
    for count, size, name, distinct, nulls, width, low, high, indexed in rows:  # noqa: B007 - the last row's count all
        columns[name] = ColumnStatistics(
            distinct_count=_distinct(distinct, count),
            null_fraction=nulls,
            minimum=low,
            maximum=high,
            average_bytes=width,
            indexed=indexed,
        )
    return TableStatistics(
        row_count=count if count >= 0 else None, size_bytes=size, columns=columns, source="pg_class, pg_stats"
    )


def _distinct(known: float | None, rows: int) -> int | None:
    """A count; below 0 it is a share of the rows, 0 means not known."""
    if not known:
        return None
    if known > 0:
        return round(known)
    return max(round(-known * rows), 1) if rows >= 0 else None
