"""How much is read at once. Rows may be wide, and DuckDB counts a batch in rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ANSWER_ROWS", "FEED_ROWS", "portion"]

ANSWER_ROWS: Final = 8_192
"""Rows of a batch of an answer. DuckDB does not count batches in its memory limit, and of rows of a kilobyte 65,536 are
67 MB, twice: one batch is being read while another one is made."""

FEED_ROWS: Final = 4_096
"""Rows of a batch on its way into the engine. Each thread that reads feeds makes buffers, which the system's allocator
keeps when they are free; the larger they are, the more lies idle."""

_MOST_ROWS: Final = 65_536
_MOST_BYTES: Final = 8_000_000


def portion(reader: pa.RecordBatchReader) -> list[pa.RecordBatch]:
    """The next batches, 65,536 rows or 8 MB of them and at most one batch more; an empty list at the end.

    Handing work to another thread costs some 0.1 ms: a batch of narrow rows is not worth that much.

    Examples
    --------
    >>> import pyarrow as pa
    >>> number = pa.record_batch({"n": range(1_000)})
    >>> wide = pa.record_batch({"text": ["x" * 6_000] * 1_000})
    >>> reader = pa.RecordBatchReader.from_batches(number.schema, [number] * 100)
    >>> len(portion(reader)), len(portion(reader)), len(portion(reader))
    (66, 34, 0)
    >>> len(portion(pa.RecordBatchReader.from_batches(wide.schema, [wide] * 100)))
    2
    """
    batches: list[pa.RecordBatch] = []
    rows = volume = 0
    while rows < _MOST_ROWS and volume < _MOST_BYTES:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        batches.append(batch)
        rows += batch.num_rows
        volume += batch.nbytes
    return batches
