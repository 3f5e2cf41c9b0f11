"""Every error a user can meet, in one tree.

::

    TauroError
    |-- ConfigError (ValueError)            the catalog file is wrong; lists every mistake
    |-- CatalogError
    |   |-- UnknownTable (LookupError)      no such virtual table
    |   |-- DuplicateTable (ValueError)     the name is taken
    |   `-- SchemaMismatch (ValueError)     the declared schema does not fit the source
    |-- SourceError
    |   |-- SourceUnavailable (ConnectionError)   cannot be reached, refuses the credentials, or fails
    |   `-- ConnectorMissing (LookupError)        no connector, or its package is not installed
    |-- QueryError
    |   |-- ParseError (ValueError)         not SQL
    |   |-- UnsupportedStatement (ValueError)     SQL, but not one SELECT
    |   |-- BindError (LookupError)         unknown column, function or type mix
    |   |-- UnboundParameter (LookupError)  a :name without a value
    |   |-- ExecutionError (RuntimeError)   failed while running; nothing was returned
    |   |-- FilterRequired (ValueError)     the table is not read without a filter
    |   |-- LimitExceeded (RuntimeError)    would move, or moved, more than a limit allows
    |   `-- QueryCancelled (KeyboardInterrupt)    interrupted by the user
    |-- SecurityError
    |   |-- AccessDenied (PermissionError)  the policy says no
    |   |-- PolicyError (ValueError)        the policy itself is wrong
    |   |-- KeysetError                     the keys cannot be had: no file, wrong passphrase, destroyed
    |   |-- CipherError (ValueError)        a ciphertext does not open, or is none
    |   `-- AuditUnavailable (OSError)      no audit record, so no query
    `-- UsageError (ValueError)             a call that makes no sense
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = [
    "TOO_DEEP",
    "AccessDenied",
    "AuditUnavailable",
    "BindError",
    "CatalogError",
    "CipherError",
    "ConfigError",
    "ConnectorMissing",
    "DuplicateTable",
    "ExecutionError",
    "FilterRequired",
    "KeysetError",
    "LimitExceeded",
    "ParseError",
    "PolicyError",
    "QueryCancelled",
    "QueryError",
    "SchemaMismatch",
    "SecurityError",
    "SourceError",
    "SourceUnavailable",
    "TauroError",
    "UnboundParameter",
    "UnknownTable",
    "UnsupportedStatement",
    "UsageError",
    "nearest",
    "told",
]


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return `` Did you mean `x`?`` for the closest candidate, or an empty string.

    >>> nearest("custmers", ["customers", "orders"])
    ' Did you mean `customers`?'
    >>> nearest("zzz", ["customers"])
    ''
    """
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean `{by_folded[found[0]]}`?" if found else ""


class TauroError(Exception):
    """Base of all errors; knows where in the user's SQL it happened.

    Parameters
    ----------
    message
        One sentence: what, where, the cure. Never a value of the data, a secret or a physical name.
    sql
        The user's own text, if there is one.
    line, col
        1-based position in `sql`.
    hint
        A second sentence with the cure.
    table
        The virtual table it is about; the audit trail files it there.
    """

    def __init__(
        self,
        message: str,
        *,
        sql: str | None = None,
        line: int | None = None,
        col: int | None = None,
        hint: str | None = None,
        table: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sql = sql
        self.line = line
        self.col = col
        self.hint = hint
        self.table = table

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"

    def excerpt(self) -> list[str]:
        """The offending SQL line with its neighbours and a caret, or nothing."""
        if not self.sql or not self.line:
            return []
        lines = self.sql.splitlines()
        first, last = max(self.line - 2, 0), min(self.line + 1, len(lines))
        out = []
        for number in range(first, last):
            arrow = "--> " if number + 1 == self.line else "    "
            out.append(f"{arrow}{number + 1:>3} | {lines[number]}")
            if number + 1 == self.line and self.col:
                out.append(" " * 10 + " " * (self.col - 1) + "^")
        return out

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in place of Python frames."""
        excerpt = self.excerpt()
        return [f"{type(self).__name__}: {self}", *([""] if excerpt else []), *excerpt]


class ConfigError(TauroError, ValueError):
    """The configuration is wrong; `mistakes` lists all of them, each with its path."""

    def __init__(self, mistakes: Iterable[str], *, origin: str = "configuration") -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = f"{origin}: {count} mistake{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  - {mistake}" for mistake in self.mistakes)]))


class CatalogError(TauroError):
    """Something about the catalog of virtual tables."""


class UnknownTable(CatalogError, LookupError):
    """No virtual table has this name."""


class DuplicateTable(CatalogError, ValueError):
    """A virtual table of this name exists already."""


class SchemaMismatch(CatalogError, ValueError):
    """The declared schema does not fit what the source has."""


class SourceError(TauroError):
    """Something about a source."""


class SourceUnavailable(SourceError, ConnectionError):
    """The source cannot be reached, refuses the credentials, or fails over what is right to ask."""


class ConnectorMissing(SourceError, LookupError):
    """There is no connector for this type, or the package it needs is not installed."""


class QueryError(TauroError):
    """Something about one query."""


class ParseError(QueryError, ValueError):
    """The text is not SQL."""


class UnsupportedStatement(QueryError, ValueError):
    """The text is SQL, but not exactly one SELECT-like statement."""


class BindError(QueryError, LookupError):
    """A name does not resolve, or types do not fit."""


class UnboundParameter(QueryError, LookupError):
    """A parameter has no value."""


class ExecutionError(QueryError, RuntimeError):
    """The query failed while running; nothing was returned."""


class FilterRequired(QueryError, ValueError):
    """The table declares columns of which a query must filter one, and this one does not."""


class LimitExceeded(QueryError, RuntimeError):
    """The query would move, or moved, more bytes than a limit allows; nothing was returned."""


class QueryCancelled(QueryError, KeyboardInterrupt):
    """The user stopped the query; every source was told to stop."""


class SecurityError(TauroError):
    """Something about rights."""


class AccessDenied(SecurityError, PermissionError):
    """The policy says no."""


class PolicyError(SecurityError, ValueError):
    """The policy is wrong: it does not parse, bind or type-check."""


class KeysetError(SecurityError):
    """The keys cannot be had: no file, the wrong passphrase, a key that was destroyed."""


class CipherError(SecurityError, ValueError):
    """A ciphertext does not open, or is none; says which column, never the value."""


class AuditUnavailable(SecurityError, OSError):
    """The audit record could not be written, so nothing ran."""


TOO_DEEP: Final = "Write it in fewer parentheses or terms: a list behind IN, for one, is flat."

# What DuckDB makes of Ctrl-C where it works in the main thread.
_INTERRUPTED = "Query interrupted"


def told(error: BaseException) -> BaseException:
    """The error as a door lets it out: one of ours without what it was made from, any other by its class and place.

    Texts and causes of other packages quote values, hidden ones among them. Raise it outside of the `except` block, or
    Python attaches the original again.

    >>> told(OverflowError("salary 71000 is too large"))
    ExecutionError('something unforeseen happened (OverflowError); nothing was returned.')
    """
    if isinstance(error, TauroError):
        error.__cause__ = error.__context__ = None
        return error
    if isinstance(error, KeyboardInterrupt) or (type(error) is RuntimeError and str(error) == _INTERRUPTED):
        return QueryCancelled("the query was interrupted; every source was told to stop.")
    if isinstance(error, RecursionError):
        return ExecutionError("the query is nested too deeply; nothing was returned.", hint=TOO_DEEP)
    if not isinstance(error, Exception):
        return error
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "tauro_nb" in Path(frame.filename).parts]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = f"something unforeseen happened ({type(error).__name__}{place}); nothing was returned."
    return ExecutionError(message, hint="Please report it." if frames else None)


class UsageError(TauroError, ValueError):
    """A call that makes no sense; the message says which one would."""
