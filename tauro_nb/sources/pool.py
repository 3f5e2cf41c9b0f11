"""Connection ids to sources: made on first use, shared by all principals of a context."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tauro_nb.catalog.connections import ConnectionSpec, connection_from_environment, environment_name
from tauro_nb.errors import ConnectorMissing, SourceUnavailable, nearest
from tauro_nb.sources.base import Source
from tauro_nb.sources.files import FORMATS, file_format

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable

__all__ = ["CONNECTORS", "SourcePool"]

# Type of a connection, or format of a file -> (module, class). A connector is one file and one line here.
CONNECTORS: dict[str, tuple[str, str]] = {
    "csv": ("files", "TextFileSource"),
    "duckdb": ("duckdb_file", "DuckDBSource"),
    "files": ("files", "FileSource"),
    "json": ("files", "TextFileSource"),
    "mysql": ("mysql", "MySQLSource"),
    "parquet": ("files", "FileSource"),
    "postgresql": ("postgresql", "PostgreSQLSource"),
    "sqlite": ("sqlite", "SQLiteSource"),
}


class SourcePool:
    """The sources of one context.

    Parameters
    ----------
    connections
        By id, as configured. Ids that are missing are looked up in the environment.
    base_path
        Where relative file paths start.
    system
        Tables of the system itself by name, and who has them.
    """

    def __init__(
        self,
        connections: Mapping[str, ConnectionSpec],
        base_path: str | os.PathLike[str] = ".",
        system: Mapping[str, Source] | None = None,
    ) -> None:
        self._system = {name.casefold(): source for name, source in (system or {}).items()}
        self._connections = dict(connections)
        self._base_path = os.fspath(base_path)
        self._sources: dict[tuple[str, str], Source] = {}
        self._lock = threading.Lock()

    def connections(self) -> tuple[ConnectionSpec, ...]:
        """Every configured connection."""
        return tuple(self._connections.values())

    def is_used(self, connection_id: str) -> bool:
        """Whether something was asked of this connection."""
        return any(key[0] == connection_id for key in self._sources)

    def source(self, table: VirtualTable) -> Source:
        """The source of a table.

        Raises
        ------
        ConnectorMissing
            Nothing reads this type of source.
        SourceUnavailable
            The table names a connection that is not configured.
        """
        system = self._system.get(table.name.casefold())
        if system is not None:
            return system
        connection = self._connection(table)
        kind = file_format(table) if connection.type == "files" else connection.type
        with self._lock:
            key = (connection.id, kind)
            if key not in self._sources:
                self._sources[key] = _make(connection, kind, table.name)
            return self._sources[key]

    def _connection(self, table: VirtualTable) -> ConnectionSpec:
        wanted = table.connection_id
        if wanted and wanted in self._connections:
            return self._connections[wanted]
        found = connection_from_environment(wanted) if wanted else None
        if found is not None:
            return self._connections.setdefault(wanted, found)
        if table.path and table.connector_type in ("", "files", *FORMATS):
            return ConnectionSpec(wanted or "files", "files", {"path": self._base_path})
        if table.connector_type not in CONNECTORS:
            raise _no_connector(table.connector_type, table.name)
        raise SourceUnavailable(
            f"table `{table.name}`: connection `{wanted or '(none)'}` is not configured."
            f"{nearest(wanted, self._connections) if wanted else ''}",
            hint=f"Add it under `connections:`, or set {environment_name(wanted or 'NAME')} to its URI.",
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


def _no_connector(kind: str, table: str) -> ConnectorMissing:
    return ConnectorMissing(
        f"table `{table}`: there is no connector for `{kind or '(none)'}` yet.",
        hint=f"Connectors: {', '.join(sorted(CONNECTORS))}.",
    )


def _make(connection: ConnectionSpec, kind: str, table: str) -> Source:
    if kind not in CONNECTORS:
        raise _no_connector(kind, table)
    module, name = CONNECTORS[kind]
    made: Source = getattr(importlib.import_module(f"tauro_nb.sources.{module}"), name)(connection)
    return made
