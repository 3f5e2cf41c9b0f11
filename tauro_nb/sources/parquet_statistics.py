"""What the footers of Parquet files tell of a table: rows, widths, bounds and NULLs of its columns."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["footers"]

_MOST_FILES: Final = 200
"""Of more files only as many are read, evenly chosen; the rest is taken to be like them."""
_BOUNDED: Final = (int, float, Decimal, dt.date)


@dataclass
class _Column:
    """Facts gathered over row groups; a bound is lost once a group does not tell it."""

    rows: int = 0
    nulls: int = 0
    bytes: int = 0
    low: Any = None
    high: Any = None
    dictionary: int = 0
    is_bounded: bool = True

    def add(self, chunk: Any, rows: int) -> None:
        self.rows += rows
        self.bytes += chunk.total_uncompressed_size
        if chunk.has_dictionary_page and chunk.dictionary_page_offset:
            self.dictionary = max(self.dictionary, chunk.data_page_offset - chunk.dictionary_page_offset)
        facts = chunk.statistics if chunk.is_stats_set else None
        if facts is None:
            self.is_bounded = False
            return
        self.nulls += facts.null_count or 0
        if not facts.has_min_max:
            # A group of nothing but NULL has no bounds, and moves none.
            self.is_bounded = self.is_bounded and facts.null_count == rows
            return
        low, high = _bounds(facts)
        if isinstance(low, _BOUNDED) and isinstance(high, _BOUNDED):
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
        else:
            self.is_bounded = False

    def facts(self, whole: int) -> ColumnStatistics:
        low, high = (self.low, self.high) if self.is_bounded else (None, None)
        return ColumnStatistics(
            distinct_count=_spread(low, high, whole) or _listed(self.dictionary, whole),
            null_fraction=self.nulls / self.rows if self.rows else None,
            minimum=low,
            maximum=high,
            average_bytes=self.bytes / self.rows if self.rows else None,
        )


def _bounds(facts: Any) -> tuple[Any, Any]:
    """The least and the greatest value; nothing for a date that Python has none for, such as one of the year 10,000."""
    try:
        return facts.min, facts.max
    except (OverflowError, ValueError):
        return None, None


def footers(paths: list[str]) -> TableStatistics:
    """Read footers.

    Raises
    ------
    OSError, pyarrow.ArrowException
        A file went away, or is none.
    """
    import pyarrow.parquet as pq

    step = -(-len(paths) // _MOST_FILES)
    chosen = paths[::step]
    columns: dict[str, _Column] = {}
    rows = 0
    for path in chosen:
        metadata = pq.read_metadata(path)
        rows += metadata.num_rows
        _gather(metadata, columns)
    size = sum(Path(path).stat().st_size for path in paths)
    whole = round(rows * len(paths) / len(chosen))
    return TableStatistics(
        row_count=whole,
        size_bytes=size,
        columns={name: column.facts(whole) for name, column in columns.items()},
        source="files",
    )


def _gather(metadata: pq.FileMetaData, columns: dict[str, _Column]) -> None:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for chunk in map(group.column, range(group.num_columns)):
            # Parts of lists and structures are no columns of the table.
            if "." not in chunk.path_in_schema:
                columns.setdefault(chunk.path_in_schema, _Column()).add(chunk, group.num_rows)


def _spread(low: Any, high: Any, rows: int) -> int | None:
    """Whole numbers and days have no more values than lie between their bounds."""
    if isinstance(low, int) and isinstance(high, int):
        return max(min(high - low + 1, rows), 1)
    if isinstance(low, dt.date) and isinstance(high, dt.date) and not isinstance(low, dt.datetime):
        return max(min((high - low).days + 1, rows), 1)
    return None


def _listed(dictionary: int, rows: int) -> int | None:
    """A dictionary holds every value once: about as many as it has times eight bytes, compressed as it is."""
    return max(min(dictionary // 8, rows), 1) if dictionary else None
