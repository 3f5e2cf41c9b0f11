"""What is known of a table's size and of the values in its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["ColumnStatistics", "TableStatistics"]


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One column; None means not known.

    Parameters
    ----------
    distinct_count
        Estimated number of different values.
    null_fraction
        Between 0 and 1.
    minimum, maximum
        Bounds as the source keeps them. These are data: they go to planning, never to an export or a panel.
    average_bytes
        Width of a value.
    indexed
        Whether an index finds rows by its values.
    """

    distinct_count: int | None = None
    null_fraction: float | None = None
    minimum: Any = field(default=None, repr=False)
    maximum: Any = field(default=None, repr=False)
    average_bytes: float | None = None
    indexed: bool | None = None


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """One table, as of a moment; None means not known.

    Parameters
    ----------
    row_count, size_bytes
        Estimates, as the source's own catalog has them.
    columns
        By column name.
    as_of
        When the source measured them.
    source
        Where they come from: `pg_class`, `parquet footers`, ...

    Examples
    --------
    >>> TableStatistics(row_count=1_000, size_bytes=64_000, source="parquet footers").bytes_per_row
    64.0
    """

    row_count: int | None = None
    size_bytes: int | None = None
    columns: Mapping[str, ColumnStatistics] = field(default_factory=dict)
    as_of: datetime | None = None
    source: str = ""

    @property
    def bytes_per_row(self) -> float | None:
        """Average width of a row."""
        return self.size_bytes / self.row_count if self.row_count and self.size_bytes is not None else None

    def to_mapping(self) -> dict[str, Any]:
        """What may be shown and exported: sizes and counts, no values."""
        columns = {
            name: {"distinct_count": column.distinct_count, "null_fraction": column.null_fraction}
            for name, column in self.columns.items()
        }
        as_of = self.as_of.isoformat() if self.as_of else None
        return {
            "row_count": self.row_count,
            "size_bytes": self.size_bytes,
            "columns": columns,
            "as_of": as_of,
            "source": self.source,
        }
