"""DuckDB database files, attached read-only. The engine's optimizer sees straight into them."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import duckdb
from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import SourceUnavailable, UsageError
from tauro_nb.sources.attached import AttachedSource, table_query

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable

__all__ = ["DuckDBSource"]


class DuckDBSource(AttachedSource):
    """A DuckDB file; `options["path"]` is its path."""

    capability = None
    untyped: ClassVar[bool] = False

    def __init__(self, connection: ConnectionSpec) -> None:
        super().__init__(connection)
        path = connection.options.get("path")
        if not path:
            raise UsageError(f"connection `{connection.id}` has no path.", hint="Give it `path: warehouse.duckdb`.")
        self._path = Path(str(path)).expanduser()

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Attach the file under `alias`; queries that still read an earlier one go on with it."""
        if not self._path.is_file():
            raise SourceUnavailable(f"connection `{self.connection.id}`: the database file is not there.")
        quoted = str(self._path).replace("'", "''")
        try:
            cursor.execute(f'DETACH DATABASE IF EXISTS "{self.alias}"')
            cursor.execute(f"ATTACH '{quoted}' AS \"{self.alias}\" (READ_ONLY)")
        except duckdb.Error:
            raise SourceUnavailable(
                f"connection `{self.connection.id}`: the file is not a readable DuckDB database.",
                hint="Is another process writing to it?",
            ) from None

    def identity(self) -> Hashable:
        """The file that has the name now, in the state it is in."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size

    def relation(self, table: VirtualTable) -> exp.Expr:
        """The attached table, or its `query=` with every name inside the attached database."""
        if not table.query:
            return super().relation(table)
        tree = table_query(table, self.dialect)
        ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        for node in tree.find_all(exp.Table):
            if isinstance(node.this, exp.Identifier) and not (node.name.lower() in ctes and not node.db):
                node.set("db", node.args.get("db") or exp.to_identifier("main", quoted=True))
                node.set("catalog", exp.to_identifier(self.alias, quoted=True))
        return tree.subquery()

    def revision(self, table: VirtualTable) -> str:
        """The file's time and size; while we hold it nobody else can write to it."""
        if not self._path.is_file():
            raise SourceUnavailable(f"connection `{self.connection.id}`: the database file is not there.")
        stat = self._path.stat()
        return f"{stat.st_mtime_ns}/{stat.st_size}"

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """Rows from DuckDB's own catalog."""
        if table.query or not self._path.is_file():
            return TableStatistics(source="duckdb")
        schema, _, name = (table.table_name or table.name).rpartition(".")
        with duckdb.connect(str(self._path), read_only=True) as connection:
            row = connection.execute(
                "SELECT estimated_size FROM duckdb_tables() WHERE table_name = ? AND schema_name = ?",
                [name, schema or "main"],
            ).fetchone()
        return TableStatistics(row_count=int(row[0]) if row else None, source="duckdb")
