"""Tables of the system itself: streamed from this process, past every policy but their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import UsageError
from tauro_nb.sources.base import ColumnFacts, Keyed, Scan
from tauro_nb.sources.capability import Capability

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment
    from tauro_nb.sources.extension import Preparation
    from tauro_nb.sources.slots import Slots

__all__ = ["SystemSource"]

Stream = Callable[[Sequence[str]], "pa.RecordBatchReader"]
_EMPTY: Final = "~one"


class SystemSource:
    """Hands over columns and nothing else: conditions and policies stay in the engine.

    Parameters
    ----------
    streams
        Name of a virtual table -> what reads the columns it is asked for.
    """

    # Nothing may be pushed, not even a filter: what is left is a stream of columns.
    capability: Capability | None = Capability("duckdb", {})
    untyped: ClassVar[bool] = False
    preparation: ClassVar[Preparation | None] = None
    slots: Slots | None = None
    pool_timeout: float = 0.0

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self.connection = ConnectionSpec("tauro", "tauro", {})
        self._streams = streams

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Nothing to attach."""

    def relation(self, table: VirtualTable) -> exp.Expr:
        """A relation with the table's columns and no row; rows come as a stream."""
        nulls = [exp.alias_(exp.cast(exp.null(), kind, dialect="duckdb"), name, quoted=True)
                 for name, kind in table.schema.items()]  # fmt: skip
        return exp.Select(expressions=nulls).limit(0).subquery()

    def typed_relation(
        self, table: VirtualTable, relation: exp.Expr, columns: Mapping[str, str], facts: Mapping[str, ColumnFacts]
    ) -> exp.Expr:
        """The relation as it is."""
        return relation

    def revision(self, table: VirtualTable) -> str:
        """The columns never change."""
        return ""

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """DuckDB's own types."""
        return {name: ColumnFacts(kind) for name, kind in described.items()}

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """The columns of one table, as a stream."""
        (name,) = fragment.tables
        columns = [column for column in fragment.schema if column != _EMPTY]
        return Scan(sql=name, stream=lambda: self._stream(tables[name], columns))

    def keyed(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Keyed:
        """Never called: it takes no keys."""
        raise UsageError("system tables take no keys.")

    def _stream(self, table: VirtualTable, columns: list[str]) -> pa.RecordBatchReader:
        import pyarrow as pa

        # Something must be read to count rows.
        reader = self._streams[table.name](columns or list(table.schema)[:1])
        if columns:
            return reader
        schema = pa.schema([reader.schema.field(0).with_name(_EMPTY)])
        return pa.RecordBatchReader.from_batches(schema, (batch.rename_columns([_EMPTY]) for batch in reader))

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """Nothing known, and nothing that anybody may know."""
        return TableStatistics(source="system")

    def refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Nothing is cached."""

    def cancel(self) -> None:
        """The engine reads; interrupting it is enough."""

    def close(self) -> None:
        """Nothing is held."""
