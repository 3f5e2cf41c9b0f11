"""What every connector must be able to do, and the little they share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, runtime_checkable

from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import SourceUnavailable, UsageError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment
    from tauro_nb.sources.capability import Capability
    from tauro_nb.sources.extension import Preparation
    from tauro_nb.sources.slots import Slots

__all__ = [
    "POOL_SIZE",
    "POOL_TIMEOUT",
    "ColumnFacts",
    "Keyed",
    "Link",
    "ParallelSource",
    "RemoteSource",
    "Scan",
    "Source",
    "Trouble",
    "identity",
    "revisions",
    "seconds",
    "unavailable",
    "whole_number",
]


_LONGEST: Final = 1e6
POOL_SIZE: Final = 8
"""Connections that queries may have to one server at once, if nothing else is said."""
POOL_TIMEOUT: Final = 300.0
"""Seconds that a query waits for one of them."""


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the source has it.

    Parameters
    ----------
    type
        DuckDB type in which it arrives.
    exact
        Whether comparing it at the source gives what comparing it in DuckDB gives; a source whose
        values may differ from the declared type (SQLite's numerics, PostgreSQL's `char(n)`) says no.
    """

    type: str
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Scan:
    """How the engine reads a fragment: a relation it can see, or a stream it is handed.

    At most one of `relation` and `stream` is set; with none the engine scans the table. `sql` is for display, `rows`
    what the source expects where it was asked, or what was `seen` when the same ran before. No two scans may be made of
    a stream, or of what is not `copyable`.
    """

    sql: str
    relation: exp.Expr | None = None
    stream: Callable[[], pa.RecordBatchReader] | None = None
    rows: int | None = None
    seen: bool = False
    copyable: bool = True


Keyed = Callable[[Mapping[str, "pa.Array | None"]], Scan | None]
"""Given the keys by mark: how the engine reads a fragment of those keys; None when they cannot be written."""


@dataclass(frozen=True, slots=True)
class Link:
    """The way to a source, measured: seconds to ask anything, and bytes a second."""

    latency: float
    bandwidth: float


class Source(Protocol):
    """A place where data lives. Connects on first use, is safe to use from several threads.

    `capability` says what may be pushed to it; None means that it only has relations the engine
    scans (files), and the engine's own optimizer pushes projections and filters into the scan.
    `preparation` is what an engine must be set to before it is locked and the source attached. Queries take `slots` of
    it, and wait `pool_timeout` seconds for them; None where nothing is shared.
    """

    connection: ConnectionSpec
    capability: Capability | None
    untyped: ClassVar[bool]
    preparation: ClassVar[Preparation | None]
    slots: Slots | None
    pool_timeout: float

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make this source's relations visible in an engine; called once for each engine."""

    def relation(self, table: VirtualTable) -> exp.Expr:
        """The relation (DuckDB dialect) that scans the whole table in an engine it is attached to."""

    def typed_relation(
        self, table: VirtualTable, relation: exp.Expr, columns: Mapping[str, str], facts: Mapping[str, ColumnFacts]
    ) -> exp.Expr:
        """The relation read with the declared types, where the reader of this source takes them."""

    def revision(self, table: VirtualTable) -> str:
        """A short text that changes when the table's columns or types may have changed; cheap."""

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """Facts of every column, given the types under which the engine sees them."""

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """Turn a fragment into something the engine can read."""

    def keyed(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Keyed:
        """The same for a fragment with marks for keys that are not known yet."""

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """What the source's own catalog knows; never makes it compute anything."""

    def refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Forget what an engine cached of this source's schema."""

    def cancel(self) -> None:
        """Stop whatever this source is running for us."""

    def close(self) -> None:
        """Let go of every connection; may be called twice."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a new connection to a source met, in words without address and secrets.

    `silent` when nothing came back: a server that refuses is there, and may well be working on what it was asked.
    """

    reason: str
    silent: bool


@runtime_checkable
class RemoteSource(Protocol):
    """A source behind a network, on which it may be lost without a word.

    `read_timeout` are the seconds of silence after which it is asked whether it is there.
    """

    connection: ConnectionSpec
    read_timeout: float

    @property
    def round_trip(self) -> float:
        """Seconds that the quickest question to it took; 0 before the first."""

    def trouble(self) -> Trouble | None:
        """Try a connection of its own, for at most the time for connecting; None when the server takes it."""

    def stop(self, mark: str) -> None:
        """Stop the statements of ours that begin with a comment of this mark, and no others."""

    def sever(self) -> None:
        """Break every connection to it, so that whoever waits for an answer stops waiting."""


@runtime_checkable
class ParallelSource(Source, Protocol):
    """A source that several connections can read as it was at one moment, and that works with several processes."""

    slots: Slots

    @property
    def round_trip(self) -> float:
        """Seconds that the quickest question to it took."""

    def export_snapshot(self, cursor: duckdb.DuckDBPyConnection) -> str:
        """The name of what a cursor's transaction sees, for as long as that lives."""

    def adopt_snapshot(self, cursor: duckdb.DuckDBPyConnection, snapshot: str) -> None:
        """Let a cursor's transaction, which has read nothing yet, see the same."""

    def allow_helpers(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """In a cursor's transaction, let the server share out the work of a statement among its own processes."""


def seconds(connection: ConnectionSpec, option: str, usual: float = 30.0) -> float:
    """A time that a connection's options give.

    Raises
    ------
    UsageError
        It is not a number above zero.

    Examples
    --------
    >>> seconds(ConnectionSpec("crm", "mysql", {"read_timeout": "5"}), "read_timeout")
    5.0
    """
    given = connection.options.get(option, usual)
    try:
        found = float(given)
    except (TypeError, ValueError):
        found = 0.0
    if not 0 < found < _LONGEST:
        raise UsageError(f"connection `{connection.id}`: `{option}` is not a number of seconds.")
    return found


def whole_number(connection: ConnectionSpec, option: str) -> int | None:
    """A number above zero that a connection's options give, or None.

    Raises
    ------
    UsageError
        It is none.

    Examples
    --------
    >>> whole_number(ConnectionSpec("crm", "postgresql", {"pool_size": 4}), "pool_size")
    4
    """
    given = connection.options.get(option)
    if given is None:
        return None
    try:
        found = int(str(given))
    except ValueError:
        found = 0
    if found < 1:
        raise UsageError(f"connection `{connection.id}`: `{option}` is not a number above zero.")
    return found


def unavailable(connection: ConnectionSpec, trouble: Trouble) -> SourceUnavailable:
    """The error that says what is wrong with the way to a source."""
    return SourceUnavailable(f"connection `{connection.id}`: {trouble.reason}.", hint="Check its `uri` and the server.")


@runtime_checkable
class _AnswersTogether(Protocol):
    """A source that tells the revisions of several tables in one round trip."""

    def revisions(self, tables: Sequence[VirtualTable]) -> dict[str, str]:
        """Revisions by name; a table that is not there is left out."""


@runtime_checkable
class _Replaceable(Protocol):
    """A source that may be another one under the same name, such as a file that a newer one took the place of."""

    def identity(self) -> Hashable:
        """Equal as long as it is the same."""


def identity(source: Source) -> Hashable:
    """What an engine has attached a source as; once it differs, the engine would go on with what is gone."""
    return source.identity() if isinstance(source, _Replaceable) else None


def revisions(source: Source, tables: Sequence[VirtualTable]) -> dict[str, str]:
    """The revisions of several tables of one source by name, in one round trip where the source can.

    Raises
    ------
    SourceUnavailable
        The source does not answer.
    """
    if isinstance(source, _AnswersTogether):
        return source.revisions(tables)
    return {table.name: source.revision(table) for table in tables}
