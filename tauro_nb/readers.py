"""Readers: one virtual table, all its rows, through the road that every query takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tauro_nb.catalog.table import VirtualTable
from tauro_nb.errors import UsageError
from tauro_nb.query.predicate import select_tree
from tauro_nb.query.python_values import as_dicts

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.context import VirtualContext

__all__ = ["VirtualReader", "VirtualReaderFactory"]


class VirtualReader:
    """Reads one virtual table, whatever its source; what the principal may not see does not come.

    Made by `VirtualReaderFactory`. Nothing is connected before the first row is asked for.

    Parameters
    ----------
    table
        The table.
    context
        Whose catalog it is in; None for a private one that lives as long as a read does.
    """

    def __init__(self, table: VirtualTable, context: VirtualContext | None = None) -> None:
        self.table = table
        self._context = context

    def read(self) -> Iterator[dict[str, Any]]:
        """All rows as dictionaries, streamed.

        Raises
        ------
        TauroError
            While reading: the source, its connector or the right to read is missing.
        """
        with self._open() as context:
            for batch in context.query_parts(select_tree(self.table.name)).to_batches():
                yield from as_dicts(batch)

    def read_arrow(self) -> pa.Table:
        """All rows as a `pyarrow.Table`."""
        with self._open() as context:
            return context.query_parts(select_tree(self.table.name)).to_arrow()

    def schema(self) -> dict[str, str]:
        """Columns that may be read, with their DuckDB types; asks the source for what is not declared."""
        with self._open() as context:
            return context.visible_schema(self.table.name)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.read()

    def __repr__(self) -> str:
        kind = self.table.source_type.name if self.table.source_type is not None else "VIEW"
        return f"<VirtualReader of {self.table.name!r} ({kind})>"

    @contextmanager
    def _open(self) -> Iterator[VirtualContext]:
        if self._context is not None:
            yield self._context
            return
        from tauro_nb.context import VirtualContext

        with VirtualContext() as private:
            private.schema_registry.register_table(self.table.copy())
            yield private


class VirtualReaderFactory:
    """Makes readers.

    Parameters
    ----------
    context
        Whose catalog, sources, policies and principal to use. None reads tables as they are, without policies, over the
        connections that the environment gives (`TAURO_CONNECTION_<ID>`).

    Examples
    --------
    >>> one = VirtualTable("one", query="SELECT 1 AS a, 'x' AS b")
    >>> reader = VirtualReaderFactory(context=None).create_reader(one)
    >>> list(reader.read()), reader.schema()
    ([{'a': 1, 'b': 'x'}], {'a': 'INTEGER', 'b': 'VARCHAR'})
    """

    def __init__(self, context: VirtualContext | None = None) -> None:
        self.context = context

    def create_reader(self, table: VirtualTable | str) -> VirtualReader:
        """A reader of a table, given itself or by its name.

        Raises
        ------
        UnknownTable, AccessDenied
            The context's catalog has no such table, or it is denied.
        UsageError
            There is no catalog to look a name up in, or the catalog means something else by it.
        """
        if self.context is None:
            if not isinstance(table, VirtualTable):
                raise UsageError("without a context a reader needs the VirtualTable itself.")
            return VirtualReader(table)
        name = self.context.require_open(table if isinstance(table, str) else table.name)
        seen = self.context.get_table(name)
        if seen is None or (isinstance(table, VirtualTable) and table != seen):
            raise UsageError(
                f"the catalog's `{name}` is not the table given.", hint="Register the change with update_table()."
            )
        return VirtualReader(seen.copy(), self.context)
