"""MySQL and MariaDB: asked in their own SQL, which DuckDB's scanner streams into the engine."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import duckdb
from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import ConnectorMissing, SchemaMismatch, SourceUnavailable, UnknownTable, UsageError
from tauro_nb.query.literals import bind_literals
from tauro_nb.sources import mysql_statistics
from tauro_nb.sources.attached import AttachedSource, measured
from tauro_nb.sources.base import (
    POOL_SIZE,
    POOL_TIMEOUT,
    ColumnFacts,
    Link,
    Scan,
    Trouble,
    seconds,
    unavailable,
    whole_number,
)
from tauro_nb.sources.extension import Preparation
from tauro_nb.sources.failures import failed, mysql_failure
from tauro_nb.sources.mysql_address import Address
from tauro_nb.sources.mysql_columns import Column, columns_of_answer
from tauro_nb.sources.mysql_sql import CAPABILITY, RawTable, translate, written
from tauro_nb.sources.slots import Slots
from tauro_nb.sources.sockets import addresses, leads_to, sever

if TYPE_CHECKING:
    import pymysql

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment

__all__ = ["CAPABILITY", "MySQLSource"]

T = TypeVar("T")
Rows = tuple[tuple[Any, ...], ...]

# Numbers of the server's errors, and what they are for us.
_REFUSED = {1044: "its user may not use this database", 1045: "the user or password is refused"}
_REFUSED |= {1049: "the database does not exist", 1040: "the server has too many connections"}
_REFUSED |= {2005: "the host is not known", 1698: "the user or password is refused", 1053: "the server is stopping"}
_NOBODY = frozenset({2002, 2003})
_OF_CLIENT = range(2000, 3000)
_TIMED_OUT = "timed out"
_FORBIDDEN = frozenset({1142, 1143, 1227, 1370})
# 1317: a KILL QUERY meant for the statement before, which had ended by itself, came to this one.
_LOST = frozenset({2006, 2013, 2055, 1053, 1927, 1317})
_BUSY: Final = 0.2
"""Seconds after which Ctrl-C does not wait any longer for the control connection to be free."""


class MySQLSource(AttachedSource):
    """A MySQL or MariaDB database; `options["uri"]` is `mysql://user:password@host/database`, or its parts.

    Every table is asked for as SQL of ours. The scanner would add conditions, sorts and groups of DuckDB's optimizer
    to a scan, and leave their text to the collation of the column.
    """

    capability = CAPABILITY
    untyped: ClassVar[bool] = False
    dialect = "mysql"
    preparation: ClassVar[Preparation | None] = Preparation(
        "mysql_scanner", (("mysql_session_time_zone", "+00:00"), ("mysql_incomplete_dates_as_nulls", "true"))
    )

    def __init__(self, connection: ConnectionSpec) -> None:
        super().__init__(connection)
        self._address = Address.of(connection)
        self.default_schema = self._address.database or None
        self._mark = f"/* tauro_nb {uuid.uuid4().hex[:12]} */ "
        self._control: pymysql.Connection[Any] | None = None
        self._known: dict[str, tuple[Column, ...]] = {}
        self._lock = threading.Lock()
        self.read_timeout = seconds(connection, "read_timeout")
        self.slots = Slots(whole_number(connection, "pool_size") or POOL_SIZE)
        self.pool_timeout = seconds(connection, "pool_timeout", POOL_TIMEOUT)
        self.round_trip = 0.0

    def _unavailable(self, error: Exception) -> SourceUnavailable:
        return unavailable(self.connection, _trouble_of(error))

    def _connect(self) -> pymysql.Connection[Any]:
        try:
            import pymysql
        except ImportError:
            raise ConnectorMissing(
                "MySQL needs the package pymysql.", hint="Run `pip install 'tauro_nb[mysql]'`."
            ) from None
        return pymysql.connect(
            **self._address.for_driver(),
            autocommit=True,
            read_timeout=self.read_timeout,
            write_timeout=self.read_timeout,
            init_command="SET SESSION TRANSACTION READ ONLY",
        )

    def _controlled(self, work: Callable[[pymysql.cursors.Cursor], T]) -> T:
        """Do something small on the control connection. One that was lost since it was last used is replaced, once.

        Raises
        ------
        SourceUnavailable
            The server is not there, does not answer, or refuses the user.
        SchemaMismatch
            It does not know a name; its own words stay here, for they quote values and physical names.
        """
        with self._lock:
            return self._replaced_once(work)

    def _replaced_once(self, work: Callable[[pymysql.cursors.Cursor], T]) -> T:
        used = self._control is not None
        try:
            return self._once(work)
        except Exception as error:  # noqa: BLE001  # the driver's classes are known once it is imported
            if (failure := self._failure(error)) is not None:
                raise failure from None
            if not used or _trouble_of(error).silent:
                raise self._unavailable(error) from None
        try:
            return self._once(work)
        except Exception as error:  # noqa: BLE001  # as above
            raise (self._failure(error) or self._unavailable(error)) from None

    def _once(self, work: Callable[[pymysql.cursors.Cursor], T]) -> T:
        try:
            if self._control is None:
                self._control = self._connect()
            started = time.perf_counter()
            with self._control.cursor() as cursor:
                answer = work(cursor)
        except BaseException as error:
            # Nobody knows what is still on its way on it, after Ctrl-C neither.
            if not isinstance(error, Exception) or self._failure(error) is None:
                self._drop_control()
            raise
        self.round_trip = min(self.round_trip or math.inf, time.perf_counter() - started)
        return answer

    def _failure(self, error: Exception) -> Exception | None:
        """What an error means when the server answers; None when the connection is lost or refused."""
        import pymysql

        if not isinstance(error, (pymysql.err.Error, OSError)):
            return error
        number = error.args[0] if error.args else None
        if number in _FORBIDDEN:
            return SourceUnavailable(f"connection `{self.connection.id}`: its user may not read this.")
        if isinstance(error, (pymysql.err.InterfaceError, OSError)):
            return None
        if (reason := mysql_failure(number)) is not None:
            return failed(self.connection, reason)
        if number in _REFUSED or number in _LOST or number in _OF_CLIENT or not isinstance(number, int):
            return None
        return SchemaMismatch(
            f"connection `{self.connection.id}`: what is asked does not fit the source.",
            hint="Was a table, a column or a type changed?",
        )

    def _drop_control(self) -> None:
        if self._control is not None and self._control.open:
            self._control.close()
        self._control = None

    def _ask(self, sql: str, values: list[Any] | None = None) -> Rows:
        """Run a small catalog query on the control connection."""

        def rows(cursor: pymysql.cursors.Cursor) -> Rows:
            cursor.execute(sql, values)
            return tuple(cursor.fetchall())

        return self._controlled(rows)

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Attach the database under `alias`, read-only."""
        quoted = self._address.for_scanner().replace("'", "''")
        try:
            cursor.execute(f"ATTACH '{quoted}' AS \"{self.alias}\" (TYPE mysql, READ_ONLY)")
        except duckdb.Error:
            # The control connection knows why, in numbers; the scanner's words hold the address.
            self._ask("SELECT 1")
            raise SourceUnavailable(f"connection `{self.connection.id}`: the connection failed.") from None

    def remote_relation(self, sql: str) -> exp.Expr:
        """`mysql_query`: the server gets `sql` as it is, behind a comment by which `cancel` finds it."""
        arguments = [exp.Literal.string(self.alias), exp.Literal.string(self._mark + sql)]
        return exp.Table(this=exp.Anonymous(this="mysql_query", expressions=arguments))

    def relation(self, table: VirtualTable) -> exp.Expr:
        """The whole table, asked for with the columns that it has now."""
        raw = self._raw(table, self._columns(table))
        relation = raw.relation.copy()
        if table.query:
            relation.set("alias", exp.TableAlias(this=exp.to_identifier("answer", quoted=True)))
        selects = [
            exp.alias_(
                column.outside(exp.column(exp.to_identifier(column.name, quoted=True))), column.name, quoted=True
            )
            for column in raw.columns.values()
        ]
        return self.remote_relation(written(exp.Select(expressions=selects).from_(relation)))

    def _raw(self, table: VirtualTable, columns: tuple[Column, ...]) -> RawTable:
        return RawTable(self.physical(table), {column.name.lower(): column for column in columns})

    def _columns(self, table: VirtualTable) -> tuple[Column, ...]:
        """Columns as the server has them now, remembered for the fragments of this plan.

        Raises
        ------
        UnknownTable
            It has no such table.
        """
        columns = self._query_columns(table) if table.query else self._table_columns(table)
        if not columns:
            raise UnknownTable(
                f"table `{table.name}`: the source has no such table.", hint="Was it dropped or renamed?"
            )
        self._known[table.name] = columns
        return columns

    def _table_columns(self, table: VirtualTable) -> tuple[Column, ...]:
        rows = self._ask(
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COLLATION_NAME, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION "
            "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            list(self._place(table)),
        )
        return tuple(Column(*row) for row in rows)

    def _query_columns(self, table: VirtualTable) -> tuple[Column, ...]:
        sql = written(exp.select("*").from_(self.physical(table).as_("answer")).limit(0))

        def columns(cursor: pymysql.cursors.Cursor) -> tuple[Column, ...]:
            cursor.execute(sql)
            # What `description` leaves out: the character set, which tells text from bytes.
            return tuple(columns_of_answer(vars(cursor)["_result"].fields))

        return self._controlled(columns)

    def _place(self, table: VirtualTable) -> tuple[str, str]:
        """Database and name of a table.

        Raises
        ------
        UsageError
            Neither the table nor the connection names a database.
        """
        schema, _, name = (table.table_name or table.name).rpartition(".")
        database = schema or self.default_schema
        if not database:
            raise UsageError(
                f"connection `{self.connection.id}` names no database.", hint="End its `uri` with `/database`."
            )
        return database, name

    def revision(self, table: VirtualTable) -> str:
        """Columns and types as the server's catalog has them now."""
        return repr(self._columns(table))

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """Exactness by the server's own type; a type that arrives as something else is none to rely on."""
        known = {column.name: column for column in self._known.get(table.name) or self._columns(table)}
        return {
            name: ColumnFacts(kind, exact=name in known and known[name].is_exact and known[name].arrives_as(kind))
            for name, kind in described.items()
        }

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """Translate a fragment to MySQL's SQL."""
        return self.answer(self.asked_sql(fragment, tables, params), fragment)

    def asked_sql(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> str:
        """A fragment in MySQL's SQL."""
        tree = bind_literals(fragment.tree, params)
        assert isinstance(tree, exp.Query)
        raw = {name: self._raw(table, self._known.get(name) or self._columns(table)) for name, table in tables.items()}
        return written(translate(tree, fragment.schema, raw))

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """What information_schema estimates; never runs ANALYZE."""
        if table.query:
            return TableStatistics(source=mysql_statistics.SOURCE)
        return mysql_statistics.read(self._ask(mysql_statistics.QUERY, list(self._place(table))))

    def link(self) -> Link | None:
        """Measured on the control connection."""
        return measured(lambda sql: self._ask(sql, []))

    def trouble(self) -> Trouble | None:
        """What a new connection meets now."""
        import pymysql

        try:
            self._connect().close()
        except (pymysql.err.Error, OSError) as error:
            return _trouble_of(error)
        return None

    def cancel(self) -> None:
        """Kill every statement of ours on the server; the engine alone would wait for its first row."""
        self._kill(self._mark.strip("/* "))

    def stop(self, mark: str) -> None:
        """Kill what one run asked."""
        self._kill(mark)

    def _kill(self, mark: str) -> None:
        free = self._lock.acquire(timeout=_BUSY)
        try:
            if free:
                self._replaced_once(partial(_kill_all, mark))
            else:
                self._kill_from_another(mark)
        finally:
            if free:
                self._lock.release()

    def _kill_from_another(self, mark: str) -> None:
        """On a connection of its own: somebody else asks something, and this cannot wait."""
        import pymysql

        try:
            with self._connect() as another, another.cursor() as cursor:
                _kill_all(mark, cursor)
        except (pymysql.err.Error, OSError) as error:
            raise self._unavailable(error) from None

    def sever(self) -> None:
        """Break the scanner's connections: those of this process to that address which are not Python's own."""
        sever(leads_to(addresses(self._address.host, self._address.port)))

    def close(self) -> None:
        """Close the control connection."""
        with self._lock:
            self._drop_control()


def _kill_all(mark: str, cursor: pymysql.cursors.Cursor) -> None:
    """Kill the statements that begin with comments, one of which holds the mark."""
    cursor.execute(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE %s AND ID <> CONNECTION_ID()",
        [f"/*%{mark}%".replace("_", "\\_")],
    )
    for (number,) in cursor.fetchall():
        cursor.execute(f"KILL QUERY {int(number)}")


def _trouble_of(error: Exception) -> Trouble:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if _TIMED_OUT in str(error):
        return Trouble("the server does not answer", silent=True)
    if number in _NOBODY or isinstance(error, OSError):
        return Trouble("nothing answers at that address", silent=True)
    return Trouble(_REFUSED.get(number) or mysql_failure(number) or "the connection failed", silent=False)
