"""`Result`: an Arrow stream that shows itself as a table and turns into what people work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import UsageError, told
from tauro_nb.html import table as html_table
from tauro_nb.query.python_values import as_dicts, converted

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from tauro_nb.query.plan import QueryPlan

__all__ = ["Result", "ResultStats"]

_DISPLAY_ROWS = 10
_CELL_WIDTH = 40


@dataclass(frozen=True, slots=True)
class ResultStats:
    """What a query took: rows, Arrow bytes, milliseconds for planning and in all.

    `keys_shipped` are the join keys that were sent to sources; not counted where a policy stands on one of the tables.
    """

    rows: int
    bytes: int
    plan_ms: float
    elapsed_ms: float
    keys_shipped: int = 0


class Result:
    """The answer to one query.

    Rows stream from the engine: `to_batches` hands them on as they come; every other method reads the
    rest and keeps it, so that it can be asked again. An error on the way leaves nothing behind.

    Parameters
    ----------
    schema, batches
        The Arrow stream.
    plan
        Gives the plan it came from, as its principal may see it.
    stats
        Called for `stats`.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        plan: Callable[[], QueryPlan],
        stats: Callable[[], ResultStats],
        display_rows: int = _DISPLAY_ROWS,
    ) -> None:
        self._schema = schema
        self._batches: Iterator[pa.RecordBatch] | None = iter(batches)
        self._table: pa.Table | None = None
        self._stats = stats
        self._plan = plan
        self.display_rows = display_rows

    @cached_property
    def plan(self) -> QueryPlan:
        """The plan it came from.

        Raises
        ------
        QueryCancelled
            The user pressed Ctrl-C while its steps were walked again.
        """
        try:
            return self._plan()
        except BaseException as error:  # noqa: BLE001 - raised below without what it was made from
            failure = told(error)
        raise failure

    @property
    def columns(self) -> list[str]:
        """Column names."""
        return list(self._schema.names)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema."""
        return self._schema

    @property
    def stats(self) -> ResultStats:
        """Figures so far; final once the rows are read."""
        return self._stats()

    def to_batches(self) -> pa.RecordBatchReader:
        """The rows as a stream; it can be read once unless they were kept by another method before."""
        import pyarrow as pa

        if self._table is not None:
            return pa.RecordBatchReader.from_batches(self._schema, self._table.to_batches())
        if self._batches is None:
            raise UsageError("the rows of this result were already streamed.", hint="Run the query again.")
        batches, self._batches = self._batches, None
        return pa.RecordBatchReader.from_batches(self._schema, batches)

    def to_arrow(self) -> pa.Table:
        """All rows as a `pyarrow.Table`."""
        import pyarrow as pa

        if self._table is None:
            if self._batches is None:
                raise UsageError("the rows of this result were already streamed.", hint="Run the query again.")
            batches, self._batches = self._batches, None
            self._table = pa.Table.from_batches(list(batches), schema=self._schema)
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a pandas DataFrame.

        Raises
        ------
        ExecutionError
            A column has a value that Python cannot hold.
        """
        table = self.to_arrow()
        frame: pd.DataFrame = converted(table, table.to_pandas)
        return frame

    def to_polars(self) -> pl.DataFrame:
        """All rows as a polars DataFrame.

        Raises
        ------
        UsageError
            polars is not installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise UsageError("polars is not installed.", hint="Run `pip install 'tauro_nb[polars]'`.") from None
        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def rows(self) -> list[dict[str, Any]]:
        """All rows as dictionaries.

        Raises
        ------
        ExecutionError
            A column has a value that Python cannot hold, as a date after the year 9999.
        """
        return as_dicts(self.to_arrow())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.to_batches():
            yield from as_dicts(batch)

    def __len__(self) -> int:
        return int(self.to_arrow().num_rows)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_batches().__arrow_c_stream__(requested_schema)

    def _footer(self) -> str:
        rows = self.to_arrow().num_rows
        shown = min(rows, self.display_rows)
        noun = "row" if rows == 1 else "rows"
        return f"{rows:,} {noun}" if shown == rows else f"showing {shown:,} of {rows:,} {noun}"

    def _cells(self) -> list[list[str]]:
        head = self.to_arrow().slice(0, self.display_rows)
        columns = [[_cell(value) for value in _values(column)] for column in head.columns]
        return [list(row) for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        names, cells = self.columns, self._cells()
        widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(names)]
        lines = ["  ".join(name.ljust(width) for name, width in zip(names, widths, strict=True)).rstrip()]
        lines.append("  ".join("-" * width for width in widths))
        lines += ["  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([*lines, self._footer()])

    def _repr_html_(self) -> str:
        head = self.to_arrow().slice(0, self.display_rows)
        columns = [_values(column) for column in head.columns]
        return str(html_table(list(zip(*columns, strict=True)), self.columns, caption=self._footer()))

    def _ipython_key_completions_(self) -> list[str]:
        return self.columns


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Values to show; what Python cannot hold (a date after the year 9999) as text, or by its type."""
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        try:
            values = column.cast(pa.string()).to_pylist()
        except pa.ArrowNotImplementedError:
            values = [f"<{column.type}>" if valid else None for valid in column.is_valid().to_pylist()]
    return values


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\n", "⏎").replace("\t", " ")
    return text if len(text) <= _CELL_WIDTH else text[: _CELL_WIDTH - 1] + "…"
