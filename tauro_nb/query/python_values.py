"""Arrow values as Python's own, or one error for those that Python has nothing for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from tauro_nb.errors import ExecutionError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["as_dicts", "as_tuples", "converted"]

T = TypeVar("T")


def converted(data: pa.Table | pa.RecordBatch, convert: Callable[[], T]) -> T:
    """What `convert` makes of `data`.

    Raises
    ------
    ExecutionError
        A column has a value that Python cannot hold: a date before the year 1 or after 9999, `infinity`, a struct with
        two fields of one name.

    Examples
    --------
    >>> import pyarrow as pa
    >>> far = pa.table({"due": pa.array([2**31 - 1], pa.int32()).cast(pa.date32())})
    >>> converted(far, far.to_pylist)
    Traceback (most recent call last):
        ...
    tauro_nb.errors.ExecutionError: Python cannot hold a value of `due` (date32[day]). Take the rows as Arrow ...
    """
    try:
        return convert()
    except (OverflowError, ValueError) as error:
        name, kind = next(_unheld(data), ("the answer", type(error).__name__))
    raise ExecutionError(
        f"Python cannot hold a value of `{name}` ({kind}).",
        hint="Take the rows as Arrow (`to_arrow()`, `to_batches()`), or select CAST(column AS VARCHAR).",
    )


def as_dicts(data: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as dictionaries.

    Raises
    ------
    ExecutionError
        As for `converted`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> as_dicts(pa.table({"a": [1, 2]}))
    [{'a': 1}, {'a': 2}]
    """
    rows: list[dict[str, Any]] = converted(data, data.to_pylist)
    return rows


def as_tuples(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Rows as tuples; two columns may share a name.

    Raises
    ------
    ExecutionError
        As for `converted`.
    """
    return zip(*converted(batch, lambda: [column.to_pylist() for column in batch.columns]), strict=True)


def _unheld(data: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, str]]:
    """Columns, with their types, that cannot be converted."""
    for field, column in zip(data.schema, data.columns, strict=True):
        try:
            column.to_pylist()
        except (OverflowError, ValueError):
            yield field.name, str(field.type)
