"""Connection ids to sources: made on first use, shared by all principals of a context."""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tauro_nb.errors import ConnectorMissing, SourceUnavailable, nearest
from tauro_nb.sources.base import Connection, Source

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable

__all__ = ["CONNECTORS", "SourcePool"]

# connector or connection type -> (module, class). A connector is one file and one line here.
CONNECTORS: dict[str, tuple[str, str]] = {
    "csv": ("files", "TextFileSource"),
    "duckdb": ("duckdb_file", "DuckDBSource"),
    "files": ("files", "FileSource"),
    "filesystem": ("files", "FileSource"),
    "json": ("files", "TextFileSource"),
    "local": ("files", "FileSource"),
    "parquet": ("files", "FileSource"),
    "postgres": ("postgresql", "PostgreSQLSource"),
    "postgresql": ("postgresql", "PostgreSQLSource"),
    "sqlite": ("sqlite", "SQLiteSource"),
}
_FILE_TYPES = frozenset({"csv", "files", "filesystem", "json", "local", "parquet"})
_URI_TYPES = {"postgres": "postgresql", "postgresql": "postgresql", "sqlite": "sqlite", "duckdb": "duckdb", "file": "files"}


def environment_connection(connection_id: str) -> Connection | None:
    """The connection that `TAURO_CONNECTION_<ID>` describes by a URI, if it is set."""
    name = "TAURO_CONNECTION_" + re.sub(r"\W", "_", connection_id).upper()
    uri = os.environ.get(name)
    if not uri:
        return None
    scheme = uri.partition(":")[0].lower()
    kind = _URI_TYPES.get(scheme)
    if kind is None:
        raise ConnectorMissing(f"{name}: no connector for `{scheme}:`.{nearest(scheme, _URI_TYPES)}")
    if kind == "postgresql":
        return Connection(connection_id, kind, {"uri": uri})
    return Connection(connection_id, kind, {"path": uri.partition("://")[2] or uri.partition(":")[2]})


class SourcePool:
    """The sources of one context.

    Parameters
    ----------
    connections
        By id, as configured. Ids that are missing are looked up in the environment.
    base_path
        Where relative file paths start.
    """

    def __init__(self, connections: Mapping[str, Connection], base_path: str | os.PathLike[str] = ".") -> None:
        self._connections = dict(connections)
        self._base_path = os.fspath(base_path)
        self._sources: dict[tuple[str, str], Source] = {}
        self._lock = threading.Lock()

    def connections(self) -> tuple[Connection, ...]:
        """Every configured connection."""
        return tuple(self._connections.values())

    def status(self, connection_id: str) -> str:
        """`connected` once a source was made for it, else `idle`."""
        return "connected" if any(key[0] == connection_id for key in self._sources) else "idle"

    def source(self, table: VirtualTable) -> Source:
        """The source of a table.

        Raises
        ------
        ConnectorMissing
            Nothing reads this type of source.
        SourceUnavailable
            The table names a connection that is not configured.
        """
        connection = self._connection(table)
        kind = table.connector_type if connection.type in _FILE_TYPES else connection.type
        if connection.type in _FILE_TYPES and kind not in _FILE_TYPES:
            kind = connection.type
        with self._lock:
            key = (connection.id, kind)
            if key not in self._sources:
                self._sources[key] = _make(connection, kind, table.name)
            return self._sources[key]

    def _connection(self, table: VirtualTable) -> Connection:
        wanted = table.connection_id
        if wanted and wanted in self._connections:
            return self._connections[wanted]
        found = environment_connection(wanted) if wanted else None
        if found is not None:
            return self._connections.setdefault(wanted, found)
        if table.connector_type in _FILE_TYPES or (not wanted and table.path):
            return Connection(wanted or "files", "files", {"path": self._base_path})
        if table.connector_type not in CONNECTORS:
            raise ConnectorMissing(
                f"table `{table.name}`: there is no connector for `{table.connector_type}` yet.",
                hint=f"Connectors: {', '.join(sorted(CONNECTORS))}.",
            )
        raise SourceUnavailable(
            f"table `{table.name}`: connection `{wanted or '(none)'}` is not configured."
            f"{nearest(wanted, self._connections) if wanted else ''}",
            hint="Add it under `connections:`, or set TAURO_CONNECTION_"
            + re.sub(r"\W", "_", wanted or "NAME").upper()
            + " to its URI.",
        )

    def sources(self) -> tuple[Source, ...]:
        """Every source made so far."""
        return tuple(self._sources.values())

    def close(self) -> None:
        """Close every source."""
        with self._lock:
            for source in self._sources.values():
                source.close()
            self._sources.clear()


def _make(connection: Connection, kind: str, table: str) -> Source:
    if kind not in CONNECTORS:
        raise ConnectorMissing(
            f"table `{table}`: there is no connector for `{kind}` yet.{nearest(kind, CONNECTORS)}",
            hint=f"Connectors: {', '.join(sorted(CONNECTORS))}.",
        )
    module, name = CONNECTORS[kind]
    made: Source = getattr(importlib.import_module(f"tauro_nb.sources.{module}"), name)(connection)
    return made
