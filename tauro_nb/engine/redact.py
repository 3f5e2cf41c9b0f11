"""Engine errors in words that carry no value, no policy text, no physical name and no address."""

from __future__ import annotations

import duckdb

from tauro_nb.errors import ExecutionError, SourceUnavailable, TauroError
from tauro_nb.sources.failures import RIGHT, said_failure

__all__ = ["redacted"]

_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (duckdb.ConversionException, "a value could not be converted to the type asked for"),
    (duckdb.OutOfRangeException, "a number left the range of its type"),
    (duckdb.OutOfMemoryException, "the query needs more memory than the engine may use"),
    (duckdb.ConstraintException, "a constraint was violated"),
    (duckdb.InvalidInputException, "a function was given a value it does not take, or a file is not what it should be"),
    (duckdb.InvalidTypeException, "types do not fit"),
    (duckdb.TypeMismatchException, "a stored value does not have its column's type"),
    (duckdb.SyntaxException, "the query cannot be run in this form"),
    (duckdb.BinderException, "a source does not have a column that it had"),
    (duckdb.CatalogException, "a source does not have a table that the catalog names"),
    (duckdb.NotImplementedException, "the engine cannot do this"),
)

# A scan that loses its server stops the others: theirs may be the first voice, and nobody asked them to.
_LOST = (duckdb.IOException, duckdb.ConnectionException, duckdb.HTTPException, duckdb.InterruptException)

# Words of PostgreSQL's client library; the scanner hands them on in errors of any class.
_CONNECTION_LOST = ("FATAL:", "server closed the connection", "no connection to the server", "connection to server")

# The scanner's pool, when `pool_size` holds it back.
_BUSY = "onnection pool timeout"


def redacted(error: duckdb.Error, text: str, sources: tuple[str, ...]) -> TauroError:
    """The error to show for what DuckDB raised while running on data.

    DuckDB's own text quotes values (also of hidden rows), file paths and connection strings, so nothing
    of it is kept but its class.

    >>> type(redacted(duckdb.Error('Failed to prepare COPY "COPY t TO STDOUT": '), "SELECT 1", ("far",))).__name__
    'SourceUnavailable'
    """
    names = ", ".join(f"`{name}`" for name in sources)
    # The scanner ends with what the server said; one that said nothing is gone.
    gone = isinstance(error, _LOST) or str(error).rstrip().endswith('":')
    if (reason := said_failure(str(error))) is not None:
        return SourceUnavailable(
            f"a source failed while it was read ({names or 'none named'}): {reason}; nothing was returned.",
            sql=text,
            hint=RIGHT,
        )
    if "ERROR:" in str(error):
        # A server that answers is there: what it refuses is this query, not the connection.
        return _refused_by_server(str(error), text, names)
    if _BUSY in str(error):
        return SourceUnavailable(
            f"all connections that {names or 'a source'} may have are busy; nothing was returned.",
            sql=text,
            hint="Run the query again, or raise `pool_size`.",
        )
    if gone or any(sign in str(error) for sign in _CONNECTION_LOST):
        return SourceUnavailable(
            f"a source failed while it was read ({names or 'none named'}); nothing was returned.",
            sql=text,
            hint="Is it still there and unchanged? Run the query again.",
        )
    cause = next((words for kind, words in _CAUSES if isinstance(error, kind)), "the engine failed")
    code = type(error).__name__.removesuffix("Exception")
    hint = f"Look at the `table` of the virtual tables on {names}." if names and code == "Catalog" else None
    return ExecutionError(f"{cause} ({code}); nothing was returned.", sql=text, hint=hint)


def _refused_by_server(words: str, text: str, names: str) -> TauroError:
    if "permission denied" in words:
        return SourceUnavailable(f"the user of {names} may not read this there; nothing was returned.", sql=text)
    return ExecutionError(
        f"{names} could not compute this; nothing was returned.",
        sql=text,
        hint="A number may have left the range of its type, or a table changed meanwhile.",
    )
