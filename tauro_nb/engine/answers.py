"""Keep what sources answered in tables that every cursor of an instance sees."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import duckdb
from sqlglot import exp

from tauro_nb.query.literals import used_params

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answers", "interrupt", "roll_back"]

_BATCH: Final = "arrived"


class Answers:
    """Tables of one run by name. Temporary ones would do, if more than the cursor that made one could see it.

    Examples
    --------
    >>> answers = Answers()
    >>> with duckdb.connect() as connection:
    ...     answers.put(connection.cursor(), "a", exp.to_table("range(3)"), {})
    ...     connection.execute(f"SELECT count(*) FROM {answers.table('a').sql('duckdb')}").fetchall()
    ...     answers.let_go(connection.cursor(), ["a"])
    ...     connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    3
    [(3,)]
    [(0,)]
    """

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex

    def table(self, name: str) -> exp.Table:
        """Where an answer is kept."""
        return exp.table_(exp.to_identifier(f"{self._mark} {name}", quoted=True), db="main", catalog="memory")

    def put(self, cursor: duckdb.DuckDBPyConnection, name: str, relation: exp.Expr, params: Mapping[str, Any]) -> int:
        """Read a relation into a table; the number of its rows.

        Raises
        ------
        duckdb.Error
            It cannot be read.
        """
        query = exp.select("*").from_(relation.copy())
        made = f"CREATE TABLE {self.table(name).sql('duckdb')} AS {query.sql('duckdb')}"
        filled = cursor.execute(made, used_params(query, params) or None).fetchone()
        return 0 if filled is None else int(filled[0])

    def put_batches(self, cursor: duckdb.DuckDBPyConnection, name: str, reader: pa.RecordBatchReader) -> None:
        """Read a stream into a table, one batch after the other, so that the engine may spill what it has.

        Raises
        ------
        duckdb.Error
            It cannot be read.
        """
        table = self.table(name).sql("duckdb")
        cursor.register(_BATCH, reader.schema.empty_table())
        cursor.execute(f"CREATE TABLE {table} AS FROM {_BATCH}")
        for batch in reader:
            cursor.register(_BATCH, batch)
            cursor.execute(f"INSERT INTO {table} FROM {_BATCH}")
        cursor.unregister(_BATCH)

    def let_go(self, cursor: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
        """Drop answers, and close the cursor that put them there."""
        roll_back(cursor)
        # Of a transaction that failed nothing is left, and of an instance that was closed neither.
        with contextlib.suppress(duckdb.Error), cursor:
            for name in names:
                cursor.execute(f"DROP TABLE IF EXISTS {self.table(name).sql('duckdb')}")


def roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """End a cursor's transaction if there is one.

    Closing the cursor would do that too; but when the server is lost it ends the process.
    """
    with contextlib.suppress(duckdb.Error):
        cursor.rollback()


def interrupt(cursor: duckdb.DuckDBPyConnection) -> None:
    """Stop what a cursor does, unless it is over: then it may be closed, which is no reason not to stop the others.

    >>> cursor = duckdb.connect().cursor()
    >>> cursor.close()
    >>> interrupt(cursor)
    """
    with contextlib.suppress(duckdb.ConnectionException):
        cursor.interrupt()
