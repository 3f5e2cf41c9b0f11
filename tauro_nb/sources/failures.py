"""Errors by which a source says that it failed itself: what it was asked is right, and may be asked again.

One table a connector; everything else that a source answers is about what it was asked.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Final

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.errors import SourceUnavailable

__all__ = ["RIGHT", "failed", "mysql_failure", "postgresql_failure", "said_failure", "sqlite_failure"]

RIGHT: Final = "Nothing is wrong with the query: run it again once that is mended."

_SHORT: Final = "the server is short of memory, disk or connections"
_LIMIT: Final = "the server does not take so much at once"
_STOPPED: Final = "the server stopped what it was asked, as after a time limit or a deadlock"
_FILES: Final = "the server could not use its files"
_FILE_DAMAGED: Final = "the file is damaged"
_DAMAGED: Final = "the server found its data damaged"
_LOCKED: Final = "what is asked for is locked there"

# By the beginning of SQLSTATE; the first that fits.
_POSTGRESQL: Final[Mapping[str, str]] = {
    "55P03": _LOCKED, "40": _STOPPED, "53": _SHORT, "54": _LIMIT, "57": _STOPPED, "58": _FILES, "XX": _DAMAGED,
}  # fmt: skip

# How the words of such an error begin, which are all that DuckDB hands on: PostgreSQL's, SQLite's, its own of Parquet.
_SAID: Final = (
    (re.compile(r"ERROR:\s+(?:canceling statement|terminating connection|deadlock detected"
                r"|could not serialize|could not import the requested snapshot)"), _STOPPED),
    (re.compile(r"ERROR:\s+(?:out of (?:shared )?memory|temporary file size exceeds|could .*: No space left)"), _SHORT),
    (re.compile(r"ERROR:\s+(?:stack depth limit exceeded|memory exhausted)"), _LIMIT),
    (re.compile(r"ERROR:\s+could not (?:open|read|write|extend|access|stat|fsync|create|seek)\b"), _FILES),
    (re.compile(r"ERROR:\s+(?:invalid page in block|cache lookup failed|missing chunk|unexpected chunk)"), _DAMAGED),
    (re.compile(r"database disk image is malformed|file is not a database"), _FILE_DAMAGED),
    (re.compile(r"Invalid Input Error: (?:No magic bytes|File .* too small to be a Parquet"
                r"|Failed to read file .*[Dd]ecompress|Invalid string encoding found in Parquet)"), _FILE_DAMAGED),
    (re.compile(r"TProtocolException|(?:Failed to decompress|Input is invalid/unsupported) GZIP|don't know what type"
                r"|invalid TType|Out of buffer|Variable-length int"), _FILE_DAMAGED),
    (re.compile(r"database (?:table )?is locked"), "another program has the file locked"),
    (re.compile(r"disk I/O error|unable to open database file"), "the file cannot be read"),
)  # fmt: skip

# Below 1000 are the errors of the server's own file functions.
_MYSQL: Final[tuple[tuple[frozenset[int], str], ...]] = (
    (frozenset({*range(1, 1000), *range(1009, 1020), 1021, *range(1023, 1031), 1039}), _FILES),
    (frozenset({1037, 1038, 1041, 1114, 1135, 1203, 1226, 1637, 3170}), _SHORT),
    (frozenset({1116, 1117, 1118, 1153, 1436}), _LIMIT),
    (frozenset({1020, 1213, 1969, 3024}), _STOPPED),
    (frozenset({1034, 1035, 1194, 1195, 1459, 1712, 1812, 1815, 1877}), _DAMAGED),
    (frozenset({1205, 1206}), _LOCKED),
)

# By primary result code.
_SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "another program has the file locked",
    sqlite3.SQLITE_LOCKED: "another program has the file locked",
    sqlite3.SQLITE_PROTOCOL: "another program has the file locked",
    sqlite3.SQLITE_NOMEM: "there is no memory to read the file",
    sqlite3.SQLITE_FULL: "there is no room for what SQLite sorts",
    sqlite3.SQLITE_PERM: "the file cannot be read",
    sqlite3.SQLITE_IOERR: "the file cannot be read",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be read",
    sqlite3.SQLITE_READONLY: "the file cannot be read before another program has repaired it",
    sqlite3.SQLITE_CORRUPT: _FILE_DAMAGED,
    sqlite3.SQLITE_NOTADB: "the file is not a readable SQLite database",
}


def postgresql_failure(state: str | None) -> str | None:
    """What failed at a PostgreSQL, by SQLSTATE; None when what it was asked did.

    >>> postgresql_failure("58P01"), postgresql_failure("42P01")
    ('the server could not use its files', None)
    """
    return next((reason for begin, reason in _POSTGRESQL.items() if (state or "").startswith(begin)), None)


def said_failure(words: str) -> str | None:
    """What failed at a source that DuckDB's scanner read, by the words it hands on; None when they do not say so.

    Before PostgreSQL's words stands what it was asked, behind them the values that it quotes.

    >>> said_failure('Failed to execute query "SELECT 1": ERROR:  canceling statement due to statement timeout')
    'the server stopped what it was asked, as after a time limit or a deadlock'
    >>> said_failure('ERROR:  invalid input syntax for type integer: "could not open file"')
    """
    begin = max(words.find("ERROR:"), 0)
    return next((reason for said, reason in _SAID if said.match(words, begin)), None)


def mysql_failure(number: object) -> str | None:
    """What failed at a MySQL or MariaDB, by the number of its error; None when what it was asked did.

    >>> mysql_failure(28), mysql_failure(1146)
    ('the server could not use its files', None)
    """
    return next((reason for numbers, reason in _MYSQL if number in numbers), None)


def sqlite_failure(error: sqlite3.Error) -> str | None:
    """What is wrong with a SQLite file; None when what it was asked is."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _SQLITE.get(code & 0xFF)


def failed(connection: ConnectionSpec, reason: str) -> SourceUnavailable:
    """The error that says so."""
    return SourceUnavailable(f"connection `{connection.id}`: {reason}.", hint=RIGHT)
