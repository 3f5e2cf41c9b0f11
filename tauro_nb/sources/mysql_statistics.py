"""What information_schema knows of a table of MySQL or MariaDB: rows, size, and values of what an index begins with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics

__all__ = ["QUERY", "SOURCE", "read"]

SOURCE: Final = "information_schema"

# One row a column. An index over the first letters of a column does not count: it finds more than one value.
QUERY: Final = """
SELECT max(t.TABLE_ROWS), max(t.DATA_LENGTH + t.INDEX_LENGTH), c.COLUMN_NAME, max(s.CARDINALITY), count(s.INDEX_NAME)
FROM information_schema.TABLES t
JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME
LEFT JOIN information_schema.STATISTICS s ON s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME
     AND s.COLUMN_NAME = c.COLUMN_NAME AND s.SEQ_IN_INDEX = 1 AND s.SUB_PART IS NULL
WHERE t.TABLE_SCHEMA = %s AND t.TABLE_NAME = %s
GROUP BY c.COLUMN_NAME
"""


def read(rows: Iterable[tuple[Any, ...]]) -> TableStatistics:
    """Statistics from the rows of `QUERY`.

    >>> read([(100, 16384, "id", 98, 1), (100, 16384, "note", None, 0)]).columns["id"].distinct_count
    98
    """
    count, size, columns = None, None, {}
    for count, size, name, distinct, indexes in rows:  # noqa: B007 - the last row's count all
        columns[str(name)] = ColumnStatistics(
            distinct_count=None if distinct is None else max(int(distinct), 1), indexed=int(indexes) > 0
        )
    return TableStatistics(
        row_count=None if count is None else int(count),
        size_bytes=None if size is None else int(size),
        columns=columns,
        source=SOURCE,
    )
