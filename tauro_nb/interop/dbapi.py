"""The DB-API door (PEP 249): `tauro_nb.connect(...)` for everything that speaks to databases.

Read-only, without transactions: `commit` and `rollback` have nothing to do. Parameters are `:name` with a mapping, or
`?` with a sequence; both are bound, never pasted. Every error is both what `tauro_nb.errors` calls it and what PEP 249
calls it::

    Error
    |-- InterfaceError                 UsageError, ConfigError; a closed cursor
    `-- DatabaseError
        |-- ProgrammingError           syntax, unknown names, unbound parameters, denied access
        |-- NotSupportedError          anything but one SELECT; a connector that is missing
        |-- OperationalError           a source that is down, an interrupted query, no audit record
        `-- DataError                  the query failed on the data
"""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import functools
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Self

from tauro_nb import errors
from tauro_nb.errors import TauroError
from tauro_nb.query.cache import params_by_name
from tauro_nb.query.python_values import as_tuples

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from tauro_nb.context import VirtualContext
    from tauro_nb.query.result import Result
    from tauro_nb.security.principal import Principal

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel: Final = "2.0"
threadsafety: Final = 1
"""Threads may share the module, not a connection."""
paramstyle: Final = "named"
"""`:name` with a mapping; `?` with a sequence works as well."""

_PLAIN: Final = (str, bytes, bool, int, float, decimal.Decimal, dt.date, dt.time, NoneType)
"""Values whose type and text say all there is to know of them."""

Row = tuple[Any, ...]
Description = tuple[str, str, None, None, int | None, int | None, None]


class Warning(Exception):  # noqa: A001 - the name is PEP 249's
    """Never raised; PEP 249 wants it."""


class Error(Exception):
    """Base of all errors of this module."""


class InterfaceError(Error):
    """The call makes no sense."""


class DatabaseError(Error):
    """The query could not be answered."""


class DataError(DatabaseError):
    """The query failed on the data."""


class OperationalError(DatabaseError):
    """Something the query depends on failed."""


class IntegrityError(DatabaseError):
    """Never raised: nothing is written."""


class InternalError(DatabaseError):
    """The engine failed."""


class ProgrammingError(DatabaseError):
    """The query itself is wrong, or not allowed."""


class NotSupportedError(DatabaseError):
    """Virtual catalogs cannot do this."""


# The first match counts.
_MEANING: Final[tuple[tuple[type[TauroError], type[Error]], ...]] = (
    (errors.UnsupportedStatement, NotSupportedError),
    (errors.ConnectorMissing, NotSupportedError),
    (errors.QueryCancelled, OperationalError),
    (errors.ExecutionError, DataError),
    (errors.QueryError, ProgrammingError),
    (errors.AuditUnavailable, OperationalError),
    (errors.SecurityError, ProgrammingError),
    (errors.SourceError, OperationalError),
    (errors.ConfigError, InterfaceError),
    (errors.CatalogError, ProgrammingError),
    (errors.UsageError, InterfaceError),
    (TauroError, DatabaseError),
)


@functools.cache
def _both(kind: type[TauroError]) -> type[TauroError]:
    """A class that is `kind` for us and its counterpart for PEP 249; it keeps its name."""
    meaning = next(theirs for ours, theirs in _MEANING if issubclass(kind, ours))
    return type(kind.__name__, (kind, meaning), {"__doc__": kind.__doc__, "__module__": __name__})


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TauroError as error:
        if isinstance(error, Error):
            raise
        kind = _both(type(error))  # type: ignore[arg-type]  # mypy: a class is Hashable after all
        twin = kind.__new__(kind, *error.args)
        twin.args = error.args
        twin.__dict__.update(error.__dict__)
        raise twin from None


class _TypeObject:
    """Compares equal to the DuckDB types it stands for.

    >>> NUMBER == "DECIMAL(12,2)", STRING == "BIGINT"
    (True, False)
    """

    def __init__(self, name: str, types: str) -> None:
        self._name = name
        self._types = frozenset(types.split("|"))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, str) and other.split("(")[0] in self._types)

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return self._name


STRING: Final = _TypeObject("STRING", "VARCHAR|UUID|ENUM|JSON|BIT")
BINARY: Final = _TypeObject("BINARY", "BLOB")
NUMBER: Final = _TypeObject(
    "NUMBER",
    "BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|UTINYINT|USMALLINT|UINTEGER|UBIGINT|UHUGEINT|FLOAT|DOUBLE|DECIMAL",
)
DATETIME: Final = _TypeObject(
    "DATETIME",
    "DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE|TIME WITH TIME ZONE|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP_NS|INTERVAL",
)
ROWID: Final = _TypeObject("ROWID", "")


def connect(
    catalog: VirtualContext | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    principal: str | Principal | None = None,
) -> Connection:
    """Open a virtual catalog as a PEP 249 connection.

    Parameters
    ----------
    catalog
        A context, a configuration mapping, or the path of a YAML file.
    principal
        Who asks.

    Raises
    ------
    ConfigError
        Every mistake of the configuration at once.

    Examples
    --------
    >>> connection = connect({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})
    >>> connection.cursor().execute("SELECT a + :n AS b FROM one", {"n": 1}).fetchall()
    [(2,)]
    """
    from tauro_nb.context import VirtualContext

    with _translated():
        if isinstance(catalog, VirtualContext):
            return Connection(catalog if principal is None else catalog.as_principal(principal), owned=False)
        return Connection(VirtualContext(catalog, principal), owned=True)


class Connection:
    """A context as PEP 249 wants it; made by `connect`.

    Closing it closes the catalog only if `connect` opened it.
    """

    # PEP 249, optional extension: the exceptions as attributes of the connection.
    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    dialect: Final = "tauro"

    def __init__(self, context: VirtualContext, *, owned: bool) -> None:
        self._context: VirtualContext | None = context
        self._owned = owned

    @property
    def context(self) -> VirtualContext:
        """The context behind this connection.

        Raises
        ------
        UsageError
            The connection is closed.
        """
        if self._context is None:
            with _translated():
                raise errors.UsageError("the connection is closed.", hint="Connect again.")
        return self._context

    def cursor(self) -> Cursor:
        """A cursor; any number may be open."""
        _ = self.context
        return Cursor(self)

    def execute(self, operation: str, parameters: Any = None) -> Cursor:
        """A new cursor that ran this query."""
        return self.cursor().execute(operation, parameters)

    def commit(self) -> None:
        """Nothing to commit: nothing is written."""

    def rollback(self) -> None:
        """Nothing to take back: nothing is written."""

    def close(self) -> None:
        """Close; may be called twice."""
        context, self._context = self._context, None
        if context is not None and self._owned:
            context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<Connection, closed>" if self._context is None else f"<Connection to {self._context!r}>"


class Cursor:
    """Runs queries of one connection, one after the other.

    A query has run to its end when `execute` returns: its errors come from there, and its audit record is complete.

    Parameters
    ----------
    connection
        Whose catalog.

    Attributes
    ----------
    arraysize
        Rows that `fetchmany` returns when it is not told.
    rowcount
        Always -1, as PEP 249 allows: nothing is changed.
    """

    rowcount: Final = -1

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self._closed = False
        self._asked: tuple[str, Any] | None = None
        self._signature: Hashable | None = None
        self._result: Result | None = None
        self._rows: Iterator[Row] = iter(())
        self._touched = self._whole = self._again = False

    @property
    def description(self) -> list[Description] | None:
        """Name and type of each column; None before the first query."""
        if self._result is None:
            return None
        types = list((self._result.plan.schema or {}).values())
        fields = list(self._result.schema)
        if len(types) != len(fields):
            # PIVOT: its columns are known by the answer only.
            known = self.connection.context.planner.frame_columns(self._result.schema.empty_table())
            types = list(known.values())
        return [
            (field.name, kind, None, None, *_precision(field.type), None)
            for field, kind in zip(fields, types, strict=True)
        ]

    def execute(self, operation: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Cursor:
        """Run one SELECT.

        The same query again, while its rows were fetched but its table was not, is put off: `arrow`, `df` and `pl`
        then take the result that is there (this is how jupysql asks for a frame), and fetching rows runs it anew. With
        other values or under other policies it is another query.

        Parameters
        ----------
        operation
            DuckDB-dialect SQL over virtual tables.
        parameters
            A mapping for `:name`, a sequence for `?`.
        """
        self._open()
        with _translated():
            signature = _signature(operation, parameters, self.connection.context)
        if self._result is not None and signature is not None and signature == self._signature and not self._whole:
            self._again = self._touched
        else:
            self._run((operation, parameters), signature)
        return self

    def _run(self, asked: tuple[str, Any], signature: Hashable | None) -> None:
        self._result, self._rows = None, iter(())
        operation, parameters = asked
        with _translated():
            result = self.connection.context.query(operation, parameters)
            table = result.to_arrow()
        # A mapping or list may be another by the time the query is run again.
        self._asked, self._signature = (operation, copy.copy(parameters)), signature
        self._result, self._rows = result, _rows(table)
        self._touched = self._whole = self._again = False

    def executemany(self, operation: str, seq_of_parameters: Sequence[Any]) -> None:
        """Refused: PEP 249 has no way to return the rows of several queries."""
        with _translated():
            raise errors.UnsupportedStatement(
                "executemany is for writing; a virtual catalog is read-only.", hint="Call execute once for each."
            )

    def fetchone(self) -> Row | None:
        """The next row, or None after the last."""
        return next(self._fetching(), None)

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next `size` rows, or fewer at the end."""
        rows = self._fetching()
        return [row for _, row in zip(range(self.arraysize if size is None else size), rows, strict=False)]

    def fetchall(self) -> list[Row]:
        """The rest of the rows."""
        return list(self._fetching())

    def __iter__(self) -> Iterator[Row]:
        return self._fetching()

    def _fetching(self) -> Iterator[Row]:
        self._answer()
        if self._again:
            assert self._asked is not None
            self._run(self._asked, self._signature)
        self._touched = True
        return self._rows

    def _take(self, convert: Callable[[Result], Any]) -> Any:
        result = self._answer()
        self._whole, self._again = True, False
        with _translated():
            return convert(result)

    def arrow(self) -> pa.Table:
        """The whole result as an Arrow table."""
        table: pa.Table = self._take(lambda result: result.to_arrow())
        return table

    def df(self) -> pd.DataFrame:
        """The whole result as a pandas DataFrame."""
        frame: pd.DataFrame = self._take(lambda result: result.to_pandas())
        return frame

    def pl(self) -> pl.DataFrame:
        """The whole result as a polars DataFrame."""
        frame: pl.DataFrame = self._take(lambda result: result.to_polars())
        return frame

    def _open(self) -> None:
        if self._closed:
            with _translated():
                raise errors.UsageError("the cursor is closed.", hint="Ask the connection for another.")
        _ = self.connection.context

    def _answer(self) -> Result:
        self._open()
        if self._result is None:
            with _translated():
                raise errors.UsageError("no results to fetch.", hint="Run execute first.")
        return self._result

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Does nothing, as PEP 249 allows."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing, as PEP 249 allows."""

    def close(self) -> None:
        """Drop the result; may be called twice."""
        self._closed, self._result, self._rows = True, None, iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _signature(operation: str, parameters: Any, context: VirtualContext) -> Hashable | None:
    """What makes two queries the same: text, values with their types, policies; None where nobody can tell."""
    if not isinstance(parameters, (Mapping, Sequence, NoneType)):
        return None
    values = params_by_name(parameters)
    if not all(isinstance(value, _PLAIN) for value in values.values()):
        return None
    given = tuple((name, type(value), repr(value)) for name, value in values.items())
    return operation, type(parameters), given, context.layer.security.version()


def _rows(table: pa.Table) -> Iterator[Row]:
    """Rows as tuples, batch by batch; two columns may share a name."""
    for batch in table.to_batches():
        with _translated():
            rows = as_tuples(batch)
        yield from rows


def _precision(kind: pa.DataType) -> tuple[int | None, int | None]:
    return getattr(kind, "precision", None), getattr(kind, "scale", None)
