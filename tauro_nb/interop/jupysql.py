"""The jupysql door: `attach(ctx)`, then `%sql`, `%sqlplot` and `%sqlcmd profile` work on the virtual catalog.

`%sql connection --alias tauro` with a connection of `tauro_nb.connect` works as well; `attach` adds the dialect, so
that the SQL that jupysql writes for plots is DuckDB's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlglot.dialects.duckdb import DuckDB

from tauro_nb.errors import UsageError
from tauro_nb.interop.dbapi import Connection, connect

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.security.principal import Principal

__all__ = ["Tauro", "attach"]


class Tauro(DuckDB):
    """The SQL of a virtual catalog, for sqlglot: DuckDB's under our name. jupysql transpiles its plots to it."""


def attach(
    catalog: VirtualContext | Mapping[str, Any] | str | os.PathLike[str],
    alias: str = "tauro",
    principal: str | Principal | None = None,
) -> Connection:
    """Make a catalog the current connection of jupysql.

    Parameters
    ----------
    catalog
        A context, a configuration mapping, or the path of a YAML file.
    alias
        Its name for `%sql`.
    principal
        Who asks.

    Returns
    -------
    Connection
        The connection; jupysql closes it at the end of the session.

    Raises
    ------
    UsageError
        jupysql's extension is not loaded.
    """
    # Its telemetry is gone since 0.10.14, its switch is not: off is off.
    os.environ.setdefault("PLOOMBER_STATS_ENABLED", "false")
    from sql import _current
    from sql.connection import ConnectionManager

    try:
        magic = _current._get_sql_magic()  # noqa: SLF001 - it has no public way to ask
    except Exception as error:
        raise UsageError("jupysql is not loaded.", hint="Run `%load_ext sql` first.") from error
    connection = connect(catalog, principal)
    ConnectionManager.set(connection, displaycon=False, alias=alias, config=magic)
    # Private: the tests run against the pinned release.
    ConnectionManager.connections[alias]._dialect = "tauro"  # noqa: SLF001
    return connection
