"""Parquet, CSV and JSON files: local paths, globs, hive partitions. DuckDB reads them itself."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import SourceUnavailable, UsageError, nearest
from tauro_nb.query.literals import literal
from tauro_nb.sources.base import ColumnFacts, Keyed, Scan

if TYPE_CHECKING:
    import duckdb

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment
    from tauro_nb.sources.extension import Preparation
    from tauro_nb.sources.slots import Slots

__all__ = ["FORMATS", "FileSource"]

# connector type or extension -> (DuckDB's reader, options a table may set)
FORMATS: dict[str, tuple[str, frozenset[str]]] = {
    "parquet": ("read_parquet", frozenset({"hive_types", "union_by_name"})),
    "csv": (
        "read_csv",
        frozenset(
            {
                "delim",
                "header",
                "nullstr",
                "dateformat",
                "timestampformat",
                "quote",
                "escape",
                "skip",
                "hive_types",
                "union_by_name",
                "decimal_separator",
                "encoding",
                "all_varchar",
                "sample_size",
            }
        ),
    ),
    "json": (
        "read_json",
        frozenset({"format", "records", "hive_types", "union_by_name", "sample_size", "maximum_depth"}),
    ),
}
_EXTENSIONS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip


def file_format(table: VirtualTable) -> str:
    """The format of a table: its connector type, else the extension of its path, else Parquet."""
    if table.connector_type in FORMATS:
        return table.connector_type
    stem = Path((table.path or "").removesuffix(".gz"))
    return _EXTENSIONS.get(stem.suffix.lower(), "parquet")


class FileSource:
    """Files below a folder.

    Parameters
    ----------
    connection
        `options["path"]` is the folder that relative table paths start from; the working directory when absent.
    """

    capability = None
    untyped: ClassVar[bool] = False
    preparation: ClassVar[Preparation | None] = None
    slots: Slots | None = None
    pool_timeout: float = 0.0

    def __init__(self, connection: ConnectionSpec) -> None:
        self.connection = connection
        self._base = Path(connection.options.get("path") or ".")

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Nothing to attach: relations name their files."""

    def pattern(self, table: VirtualTable) -> str:
        """The glob of a table's files: a folder stands for all files of its format below it."""
        path = table.path or table.table_name
        if not path:
            raise UsageError(f"table `{table.name}` has no path.", hint="Give it `path:`.")
        full = self._base / Path(path).expanduser()
        if full.is_dir() or str(path).endswith("/"):
            endings = [ending for ending, kind in _EXTENSIONS.items() if kind == file_format(table)]
            found = next((e for e in endings if next(full.rglob(f"*{e}"), None)), endings[0])
            return str(Path(glob.escape(str(full))) / "**" / f"*{found}")
        return str(full)

    def paths(self, table: VirtualTable) -> list[str]:
        """The files of a table, sorted.

        Raises
        ------
        SourceUnavailable
            There is none.
        """
        # A path outside the base is absolute, and Path.glob takes relative patterns only.
        found = sorted(glob.glob(self.pattern(table), recursive=True))  # noqa: PTH207
        if not found:
            raise SourceUnavailable(
                f"table `{table.name}`: no file matches its path.", hint="Did the files move? Check `path:`."
            )
        return found

    def relation(self, table: VirtualTable) -> exp.Expr:
        """`read_parquet('...')` and its like."""
        reader, known = FORMATS[file_format(table)]
        options = dict(table.options)
        for name in options:
            if name not in known:
                raise UsageError(f"table `{table.name}`: unknown option `{name}`.{nearest(name, known)}")
        if table.partitions:
            options["hive_partitioning"] = True
        self.paths(table)
        arguments = [literal(self.pattern(table))]
        arguments += [exp.EQ(this=exp.column(name), expression=literal(value)) for name, value in options.items()]
        return exp.Table(this=exp.Anonymous(this=reader, expressions=arguments))

    def typed_relation(
        self, table: VirtualTable, relation: exp.Expr, columns: Mapping[str, str], facts: Mapping[str, ColumnFacts]
    ) -> exp.Expr:
        """The relation as it is: Parquet has types of its own."""
        return relation

    def revision(self, table: VirtualTable) -> str:
        """Names, sizes and times of all files."""
        digest = hashlib.sha256()
        for path in self.paths(table):
            try:
                stat = Path(path).stat()
            except OSError:
                raise SourceUnavailable(
                    f"table `{table.name}`: a file went away.", hint="Run the query again."
                ) from None
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """Files have DuckDB's own types."""
        return {name: ColumnFacts(kind) for name, kind in described.items()}

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """Never called with work: files have no capability beyond being scanned."""
        raise UsageError(f"files of `{self.connection.id}` are scanned by the engine.")

    def keyed(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Keyed:
        """Never called: files take no keys."""
        raise UsageError(f"files of `{self.connection.id}` take no keys.")

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """Bytes on disk, and what Parquet footers tell."""
        import pyarrow as pa

        from tauro_nb.sources.parquet_statistics import footers

        paths = self.paths(table)
        try:
            if file_format(table) == "parquet":
                return footers(paths)
            size = sum(Path(path).stat().st_size for path in paths)
        except (OSError, pa.ArrowException):
            # Whoever reads the file will say what is wrong with it; it may not even be read.
            return TableStatistics(source="files")
        return TableStatistics(size_bytes=size, source="files")

    def refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Nothing is cached."""

    def cancel(self) -> None:
        """The engine scans files; interrupting it is enough."""

    def close(self) -> None:
        """Nothing is open."""


class TextFileSource(FileSource):
    """CSV and JSON: their types are sniffed, so that a declared type may differ from the sniffed one."""

    untyped: ClassVar[bool] = True

    def typed_relation(
        self, table: VirtualTable, relation: exp.Expr, columns: Mapping[str, str], facts: Mapping[str, ColumnFacts]
    ) -> exp.Expr:
        """The reader told the declared types: sniffed first and cast then, 1.10 is the text 1.1."""
        spelled = {name.lower(): name for name in facts}
        partitions = {name.lower() for name in table.partitions}
        types = {spelled[name.lower()]: kind for name, kind in columns.items() if name.lower() not in partitions}
        if all(facts[name].type == kind for name, kind in types.items()):
            return relation
        argument = {"csv": "types", "json": "columns"}[file_format(table)]
        fields = [
            exp.PropertyEQ(this=exp.Literal.string(name), expression=exp.Literal.string(kind))
            for name, kind in types.items()
        ]
        told = relation.copy()
        told.this.append("expressions", exp.EQ(this=exp.column(argument), expression=exp.Struct(expressions=fields)))
        return told
