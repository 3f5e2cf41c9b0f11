"""A private, locked, in-memory DuckDB: it binds policy texts and runs them over row lists, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from tauro_nb.errors import TauroError
    from tauro_nb.security.functions import EngineFunctions

__all__ = ["Sandbox"]

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "threads": "2",
}
# statistics_propagation raises errors that carry minima and maxima of columns, filtered rows included.
# GLOBAL, because cursors do not inherit the settings of the session that opened them.
_SETTINGS = (
    "SET GLOBAL TimeZone = 'UTC'",
    "SET GLOBAL disabled_optimizers = 'statistics_propagation'",
    "SET GLOBAL lock_configuration = true",
)


class Sandbox:
    """Opened on first use; each use gets its own cursor, so threads do not meet.

    Parameters
    ----------
    functions
        What masks and ciphers may call besides DuckDB's own functions.

    Examples
    --------
    >>> with Sandbox().cursor() as cursor:
    ...     cursor.execute("SELECT 1 + 1").fetchone()
    (2,)
    """

    def __init__(self, functions: EngineFunctions | None = None) -> None:
        self.functions = functions
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor of its own; what is registered on it vanishes with it."""
        with self._lock:
            if self._connection is None:
                self._connection = _open(self.functions)
            cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def failure(self, error: Exception) -> TauroError | None:
        """The error behind an engine's message, if it came from one of our functions."""
        return None if self.functions is None else self.functions.failure(str(error))

    def close(self) -> None:
        """Close it; the next use opens a new one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _open(functions: EngineFunctions | None) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:", config=_CONFIG)
    if functions is not None:
        functions.register(connection)
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection
