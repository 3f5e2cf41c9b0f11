"""The way to a PostgreSQL server: its address, a connection for small questions, and what to do when it is lost."""

from __future__ import annotations

import math
import random
import threading
import time
import uuid
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.errors import ConnectorMissing, SchemaMismatch, SourceUnavailable, UsageError
from tauro_nb.sources.base import Trouble, seconds
from tauro_nb.sources.failures import failed, postgresql_failure
from tauro_nb.sources.sockets import marked, sever

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgreSQLControl", "trouble_of"]

T = TypeVar("T")

_SILENT: Final = "the server does not answer"
_NOBODY: Final = "nothing answers at that address"

# Words of libpq and of the server, and what they mean; the first that fits.
_REASONS: Final = (
    ("password authentication failed", "the user or password is refused"),
    ("no password supplied", "a password is needed"),
    ("too many", "the server has too many connections"),
    ("connection slots are reserved", "the server has too many connections"),
    ("does not exist", "the database or user does not exist"),
    ("starting up", "the server is starting or stopping"),
    ("shutting down", "the server is starting or stopping"),
    ("connection refused", _NOBODY),
    ("unsupported startup parameter", "a pooler before the server does not pass on settings of a session"),
    ("timeout", _SILENT),
)

# Our option -> libpq's, where they are not the same.
_NAMES: Final = {"database": "dbname", "username": "user"}
_PASSED: Final = (
    "host hostaddr port user username password database dbname passfile service sslmode sslcert sslkey sslrootcert "
    "sslpassword connect_timeout keepalives target_session_attrs"
).split()

_USUAL: Final = "-c search_path=pg_catalog -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex"
"""Settings of our sessions. A function or operator that somebody made in another schema of the path would be taken for
the server's own where its types fit better, or where the path begins with it; values that come as text would be written
otherwise."""
_FIXED: Final = "-c standard_conforming_strings=on -c transform_null_equals=off"
"""Settings that the meaning of what is asked hangs on: an address cannot change them."""

_BUSY: Final = 0.2
"""Seconds after which Ctrl-C does not wait any longer for the connection to be free."""


def trouble_of(error: Exception) -> Trouble:
    """What libpq's words, or the scanner's, say of the way to the server."""
    text = str(error).lower()
    reason = next((reason for sign, reason in _REASONS if sign in text), "the connection failed")
    return Trouble(reason, silent=reason in (_SILENT, _NOBODY))


def _failure(error: psycopg.Error) -> str | None:
    """What failed at a server that goes on; one that ends the connection (57P01 to 57P05) is asked once more."""
    state = error.sqlstate
    return None if (state or "").startswith("57P") else postgresql_failure(state)


def _may_go_away(error: psycopg.Error) -> bool:
    """Whether the same may be answered in a moment: the connection was lost, or others were in the way (class 40)."""
    return _failure(error) is None or (error.sqlstate or "").startswith("40")


class PostgreSQLControl:
    """Small questions to one server, on one connection that is opened when it is needed; safe for threads."""

    def __init__(self, connection: ConnectionSpec) -> None:
        self._connection = connection
        self.application = f"tauro_nb {uuid.uuid4().hex[:12]}"
        self.read_timeout = seconds(connection, "read_timeout")
        # A number that no other connection of this process has by chance: by it `sever` knows ours.
        self._mark = int(self.read_timeout * 1000) + random.randrange(1, 10_000)  # noqa: S311 - no secret
        self._open: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()
        self.round_trip = 0.0

    @cached_property
    def conninfo(self) -> str:
        """What libpq connects with; holds the password.

        Raises
        ------
        ConnectorMissing
            psycopg is not installed.
        UsageError
            The `uri` is none.
        """
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError:
            raise ConnectorMissing(
                "PostgreSQL needs the package psycopg.", hint="Run `pip install 'tauro_nb[postgres]'`."
            ) from None
        options = self._connection.options
        given = {_NAMES.get(name, name): options[name] for name in _PASSED if options.get(name) is not None}
        try:
            parts = {**conninfo_to_dict(str(options.get("uri") or "")), **given}
            parts["options"] = f"{_USUAL} {parts.get('options') or ''} {_FIXED}"
            return make_conninfo(
                **{"connect_timeout": 10, **parts}, application_name=self.application, tcp_user_timeout=self._mark
            )
        except psycopg.Error:
            raise UsageError(f"connection `{self._connection.id}`: `uri` is not a PostgreSQL address.") from None

    def unavailable(self, error: Exception) -> SourceUnavailable:
        """The error that says what the driver's, or the scanner's, means."""
        reason = trouble_of(error).reason
        return SourceUnavailable(
            f"connection `{self._connection.id}`: {reason}.", hint="Check its `uri` and the server."
        )

    def ask(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        """Run a small catalog query."""
        return self.do(lambda connection: connection.execute(sql, values or None).fetchall())

    def do(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do something small. A connection that was lost since it was last used is replaced, once.

        Raises
        ------
        SourceUnavailable
            The server is not there, does not answer, or refuses the user.
        SchemaMismatch
            It does not know a name; its own words stay here, for they quote values and physical names.
        """
        import psycopg

        with self._lock:
            try:
                return self._replaced_once(work)
            except psycopg.errors.InsufficientPrivilege:
                raise SourceUnavailable(f"connection `{self._connection.id}`: its user may not read this.") from None
            except psycopg.Error as error:
                if (reason := _failure(error)) is not None:
                    raise failed(self._connection, reason) from None
                if isinstance(error, psycopg.OperationalError):
                    raise self.unavailable(error) from None
                raise SchemaMismatch(
                    f"connection `{self._connection.id}`: what is asked does not fit the source.",
                    hint="Was a table, a column or a type changed?",
                ) from None

    def _replaced_once(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        import psycopg

        used = self._open is not None and not self._open.closed
        try:
            return self._once(work)
        except psycopg.OperationalError as error:
            if not used or trouble_of(error).silent or not _may_go_away(error):
                raise
        return self._once(work)

    def _once(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        import psycopg

        if self._open is None or self._open.closed:
            self._open = self._connect()
        started = time.perf_counter()
        try:
            answer = work(self._open)
        except (psycopg.OperationalError, KeyboardInterrupt):
            # Nobody knows what is still on its way on it.
            self._drop()
            raise
        self.round_trip = min(self.round_trip or math.inf, time.perf_counter() - started)
        return answer

    def _connect(self) -> psycopg.Connection[Any]:
        from tauro_nb.sources.patient import PatientConnection

        # Nothing is prepared: a prepared statement refuses to see a column's new type.
        made = PatientConnection.connect(self.conninfo, autocommit=True, prepare_threshold=None)
        made.patience = self.read_timeout
        return made

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def trouble(self) -> Trouble | None:
        """What a new connection meets now."""
        import psycopg

        try:
            self._connect().close()
        except psycopg.Error as error:
            return trouble_of(error)
        return None

    def cancel(self, mark: str = "") -> None:
        """Cancel the statements of ours at the server that have a mark, without waiting for whoever asks something now.

        Every text has the empty mark.

        Raises
        ------
        SourceUnavailable
            The server cannot be told.
        """
        import psycopg

        free = self._lock.acquire(timeout=_BUSY)
        try:
            if free:
                self._replaced_once(partial(self._cancel_all, mark))
            else:
                with self._connect() as another:
                    self._cancel_all(mark, another)
        except psycopg.Error as error:
            raise self.unavailable(error) from None
        finally:
            if free:
                self._lock.release()

    def _cancel_all(self, mark: str, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND pid <> pg_backend_pid() AND state = 'active' "
            "AND position(%s IN query) > 0",
            [self.application, mark],
        )

    def sever(self) -> None:
        """Break every connection with our mark, the scanner's among them."""
        sever(marked(self._mark))

    def close(self) -> None:
        """Close the connection; may be called twice."""
        with self._lock:
            self._drop()
