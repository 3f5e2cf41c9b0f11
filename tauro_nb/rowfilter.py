"""Predicates over rows that come from a function: the same road as any query, over one frame after the other."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.errors import ExecutionError, UsageError
from tauro_nb.query.predicate import Predicate, select_tree

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.context import VirtualContext
    from tauro_nb.query.plan import QueryPlan

__all__ = ["RowFilter"]

Row = Mapping[str, Any]

_BATCH_ROWS: Final = 16_384
_FRAME: Final = "rows"
_NUMBER: Final = "row number"


class RowFilter:
    """Keeps the rows that satisfy predicates, in their order and as the very same objects.

    Columns that predicates speak of become Arrow, batch by batch, and are asked for like any frame: through a context
    of its own with an empty catalog. The other columns are not looked at.

    Examples
    --------
    >>> rows = [{"id": 1, "city": "Quito"}, {"id": 2, "city": None}]
    >>> list(RowFilter().apply(rows, [Predicate("city", "is null")]))
    [{'id': 2, 'city': None}]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: VirtualContext | None = None
        self._plans: dict[tuple[Any, ...], QueryPlan] = {}

    def apply(
        self, rows: Iterable[Row], checked: Sequence[Predicate] = (), required: Sequence[Predicate] = ()
    ) -> Generator[Row]:
        """The rows for which all predicates hold.

        Parameters
        ----------
        rows
            Mappings of column to value.
        checked
            Predicates that whoever made the rows applied already: skipped where their column is not there.
        required
            Predicates that nobody applied yet.

        Raises
        ------
        ExecutionError
            A required predicate's column is not there, or only in some rows.
        """
        source = iter(rows)
        while batch := list(itertools.islice(source, _BATCH_ROWS)):
            present = [predicate for predicate in checked if _has_column(batch, predicate.field)]
            for predicate in required:
                if not _has_column(batch, predicate.field):
                    raise ExecutionError(
                        f"the rows have no column `{predicate.field}`, which a predicate needs.",
                        hint="Let the executor return it, or apply the predicate itself.",
                    )
            predicates = (*present, *required)
            yield from self._matching(batch, predicates) if predicates else batch

    def close(self) -> None:
        """Close the private context; the next use opens a new one."""
        with self._lock:
            if self._context is not None:
                self._context.close()
                self._context = None
                self._plans.clear()

    def _matching(self, batch: Sequence[Row], predicates: tuple[Predicate, ...]) -> Iterator[Row]:
        import pyarrow as pa

        names = {_spelling(batch[0], predicate.field): predicate for predicate in reversed(predicates)}
        columns = {name: _column(name, [row[name] for row in batch], given) for name, given in names.items()}
        frame = pa.table({**columns, _NUMBER: pa.array(range(len(batch)), type=pa.int64())})
        plan = self._plan(predicates, frame)
        result = self._private().run(plan, frames={_FRAME: frame})
        numbers = result.to_arrow().column(0).to_pylist()
        # Threads may hand rows back in any order.
        return (batch[number] for number in sorted(numbers))

    def _plan(self, predicates: tuple[Predicate, ...], frame: pa.Table) -> QueryPlan:
        key = (tuple(predicate.to_sql() for predicate in predicates), frame.schema)
        if key not in self._plans:
            tree = select_tree(_FRAME, predicates, [_NUMBER])
            self._plans[key] = self._private().plan_parts(tree, {_FRAME: frame})
        return self._plans[key]

    def _private(self) -> VirtualContext:
        from tauro_nb.context import VirtualContext

        # One for all threads: a plan runs only where it was made.
        with self._lock:
            if self._context is None:
                self._context = VirtualContext()
            return self._context


def _spelling(row: Row, field: str) -> str:
    """The key of a row that means a column, in whatever case."""
    if field in row:
        return field
    return next((key for key in row if key.casefold() == field.casefold()), field)


def _has_column(batch: Sequence[Row], field: str) -> bool:
    if not all(isinstance(row, Mapping) for row in batch):
        raise UsageError("an executor gives rows as mappings of column to value.")
    name = next((key for row in batch if (key := _spelling(row, field)) in row), field)
    having = sum(name in row for row in batch)
    if having not in (0, len(batch)):
        raise ExecutionError(f"only some rows have the column `{field}`, which a predicate needs.")
    return bool(having)


def _column(name: str, values: list[Any], predicate: Predicate) -> pa.Array:
    import pyarrow as pa

    from tauro_nb.security.rows import arrow_array

    array = arrow_array(values)
    if array is None:
        raise ExecutionError(f"the values of `{name}` have no common type, so no predicate can judge them.")
    if not pa.types.is_null(array.type):
        return array
    # Nothing but NULL has no type of its own: it gets that of what it is compared with.
    given = arrow_array(list(predicate.value) if isinstance(predicate.value, tuple) else [predicate.value])
    return array.cast(pa.string() if given is None or pa.types.is_null(given.type) else given.type)
