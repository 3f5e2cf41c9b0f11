"""SQLite files: scanned by DuckDB's scanner, or asked in SQL through Python's own driver."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import ExecutionError, SchemaMismatch, SourceUnavailable, UsageError
from tauro_nb.query.literals import bind_literals
from tauro_nb.query.names import RAW
from tauro_nb.query.trees import every
from tauro_nb.sources import sqlite_statistics
from tauro_nb.sources.attached import AttachedSource, is_plain_scan
from tauro_nb.sources.base import ColumnFacts, Scan
from tauro_nb.sources.capability import Capability, always, family, operands
from tauro_nb.sources.extension import load_extension
from tauro_nb.sources.failures import failed, sqlite_failure
from tauro_nb.sources.guards import QUERY_NODES, by_position, given_divisor, plain_case
from tauro_nb.sources.keys import KeyForm, json_array

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment

__all__ = ["CAPABILITY", "SQLiteSource"]

_BATCH_ROWS = 16_384
_UNREADABLE = "the file is not a readable SQLite database"


def _whole_numbers(node: exp.Expr) -> bool:
    """Every part is an integer: the one kind of value that SQLite groups, sorts and joins as DuckDB does."""
    parts = [*node.expressions, *([node.this] if isinstance(node.this, exp.Expr) else [])]
    return all(family(part) == "integer" for part in parts)


def _integers_or_given_text(node: exp.Expr) -> bool:
    """Integers with integers; text with a literal, because a column may be declared to ignore case."""
    found = {family(child) for child in node.iter_expressions()}
    return found == {"integer"} or (found == {"text"} and isinstance(node.expression, exp.Literal))


def _integers_or_given_texts(node: exp.Expr) -> bool:
    """The same of `IN`."""
    given = bool(node.expressions) and all(isinstance(item, exp.Literal) for item in node.expressions)
    return family(node.this) == "integer" or (family(node.this) == "text" and given)


def _bare_union(node: exp.Expr) -> bool:
    """UNION ALL by position, of which no side is in parentheses: here they are no part of its grammar."""
    bracketed = isinstance(node.this, exp.Subquery) or isinstance(node.args["expression"], exp.Subquery)
    return by_position(node) and not node.args.get("distinct") and not bracketed


_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE)

# SQLite keeps dates as text, decimals as floats and compares text by each column's own collation.
CAPABILITY = Capability(
    "sqlite",
    {node: guard for node, guard in QUERY_NODES.items() if node not in (exp.Boolean, exp.Intersect, exp.Except)}
    | dict.fromkeys((*_COMPARISONS, exp.Between), operands("integer"))
    | dict.fromkeys((exp.EQ, exp.NEQ), _integers_or_given_text)
    | dict.fromkeys((exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif, exp.Coalesce), operands("integer"))
    | dict.fromkeys((exp.Min, exp.Max), lambda node: family(node.this) == "integer" and not node.expressions)
    | {
        exp.In: lambda node: QUERY_NODES[exp.In](node) and _integers_or_given_texts(node),
        exp.Group: lambda node: QUERY_NODES[exp.Group](node) and _whole_numbers(node),
        exp.Distinct: lambda node: not node.args.get("on") and _whole_numbers(node),
        exp.Select: lambda node: QUERY_NODES[exp.Select](node) and not node.args.get("distinct"),
        exp.Union: _bare_union,
        exp.Join: lambda node: QUERY_NODES[exp.Join](node) and node.side.upper() in ("", "LEFT"),
        exp.Case: lambda node: plain_case(node) and family(node) == "integer" and node.this is None,
        exp.If: always,
        exp.Mod: given_divisor,
        exp.Order: always,
        exp.Ordered: lambda node: family(node.this) == "integer",
    },
    masks=frozenset({"email", "phone", "ssn", "first4", "last4", "partial", "partial long", "redact"}),
    keys=KeyForm(frozenset({"integer", "text"}), json_array, most=200_000),
)


class SQLiteSource(AttachedSource):
    """A SQLite file; `options["path"]` is its path. Opened read-only."""

    capability = CAPABILITY
    untyped: ClassVar[bool] = True
    dialect = "sqlite"

    def __init__(self, connection: ConnectionSpec) -> None:
        super().__init__(connection)
        path = connection.options.get("path")
        if not path:
            raise UsageError(f"connection `{connection.id}` has no path.", hint="Give it `path: crm.sqlite`.")
        self._path = Path(str(path)).expanduser()
        self._running: set[sqlite3.Connection] = set()
        self._lock = threading.Lock()

    def _check_file(self) -> None:
        if not self._path.is_file():
            raise SourceUnavailable(f"connection `{self.connection.id}`: the database file is not there.")

    def _connect(self) -> sqlite3.Connection:
        self._check_file()
        try:
            return sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise failed(self.connection, sqlite_failure(error) or _UNREADABLE) from None

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Attach the file under `alias`."""
        self._check_file()
        load_extension(cursor, "sqlite_scanner")
        quoted = str(self._path).replace("'", "''")
        try:
            cursor.execute(f"ATTACH '{quoted}' AS \"{self.alias}\" (TYPE sqlite, READ_ONLY)")
        except duckdb.Error:
            raise failed(self.connection, _UNREADABLE) from None

    def relation(self, table: VirtualTable) -> exp.Expr:
        """The attached table; of a `query=` every column with its type, for DuckDB's `sqlite_query` gives text."""
        if not table.query:
            return super().relation(table)
        sql = self.physical(table).this.sql(self.dialect)
        selects = [
            exp.alias_(
                exp.cast(exp.column(exp.to_identifier(name, quoted=True)), kind, dialect="duckdb"), name, quoted=True
            )
            for name, kind in self._query_types(table, sql).items()
        ]
        return exp.Select(expressions=selects).from_(self.remote_relation(sql)).subquery()

    def _query_types(self, table: VirtualTable, sql: str) -> dict[str, str]:
        """Columns of a `query=`: the type of the stored column they come from, or the declared one.

        Raises
        ------
        SchemaMismatch
            A column is computed, so that SQLite knows no type, and none is declared; or the query no longer fits.
        """
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.execute(f"CREATE TEMP VIEW answer AS {sql}")
                described = connection.execute("PRAGMA table_info(answer)").fetchall()
        except sqlite3.Error as error:
            if (reason := sqlite_failure(error)) is not None:
                raise failed(self.connection, reason) from None
            raise SchemaMismatch(
                f"table `{table.name}`: its query does not fit the source.",
                hint="Is it SQLite's SQL? Was a table or column renamed?",
            ) from None
        declared = {name.casefold(): kind for name, kind in table.schema.items()}
        types = {name: _stored_type(kind) or declared.get(name.casefold(), "") for _, name, kind, *_ in described}
        unknown = [name for name, kind in types.items() if not kind and (not declared or name.casefold() in declared)]
        if unknown:
            raise SchemaMismatch(
                f"table `{table.name}`: SQLite knows no type for the computed column{'s' * (len(unknown) > 1)} "
                f"`{'`, `'.join(unknown)}`.",
                hint="Declare the table's `schema:`.",
            )
        return {name: kind for name, kind in types.items() if kind}

    def remote_relation(self, sql: str) -> exp.Expr:
        """DuckDB's `sqlite_query`, in which every column is text."""
        arguments = [exp.Literal.string(self.alias), exp.Literal.string(sql)]
        return exp.Table(this=exp.Anonymous(this="sqlite_query", expressions=arguments))

    def revision(self, table: VirtualTable) -> str:
        """The schema and its cookie, which every DDL statement changes; another file may have the same cookie."""
        try:
            with contextlib.closing(self._connect()) as connection:
                cookie = connection.execute("PRAGMA schema_version").fetchone()[0]
                schema = connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid").fetchall()
        except sqlite3.Error as error:
            raise failed(self.connection, sqlite_failure(error) or _UNREADABLE) from None
        return f"{cookie} {hashlib.sha256(repr(schema).encode()).hexdigest()}"

    def revisions(self, tables: Sequence[VirtualTable]) -> dict[str, str]:
        """All tables of the file have the same."""
        return dict.fromkeys((table.name for table in tables), self.revision(tables[0])) if tables else {}

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """Stored integers and text compare alike; other values need not have the form that is declared."""
        texts = frozenset() if table.query else self._texts(table)
        return {
            name: ColumnFacts(
                kind, exact=(kind == "BIGINT" and not table.query) or (kind == "VARCHAR" and name in texts)
            )
            for name, kind in described.items()
        }

    def _texts(self, table: VirtualTable) -> frozenset[str]:
        """Columns that make a text of every number; in others that arrive as texts `10` is `1e1`, or no text at all."""
        name = (table.table_name or table.name).rpartition(".")[2]
        try:
            with contextlib.closing(self._connect()) as connection:
                rows = connection.execute("SELECT name, type FROM pragma_table_xinfo(?)", [name]).fetchall()
        except sqlite3.Error as error:
            raise failed(self.connection, sqlite_failure(error) or _UNREADABLE) from None
        return frozenset(column for column, declared in rows if _is_text(declared))

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """Translate a fragment to SQLite's SQL; rows come as an Arrow stream."""
        sql = self.asked_sql(fragment, tables, params)
        whole = is_plain_scan(fragment.tree) and fragment.tree.args.get("where") is None
        if whole and not any(tables[name].query for name in fragment.tables):
            # DuckDB 1.5.5 fails with an internal error where it copies a plan with this scanner in it.
            return Scan(sql=sql, copyable=False)
        return self.answer(sql, fragment)

    def asked_sql(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> str:
        """A fragment in SQLite's SQL."""
        tree = self.capability.translate_masks(bind_literals(fragment.tree, params))
        for node in every(tree, exp.Table):
            if node.db == RAW:
                physical = self.physical(tables[node.name])
                physical.set("alias", node.args.get("alias"))
                node.replace(physical)
        for comparison in every(tree, exp.EQ, exp.NEQ, exp.In):
            _binary_collation(comparison)
        return tree.sql("sqlite", copy=False)

    def answer(self, sql: str, fragment: Fragment) -> Scan:
        """Rows come as an Arrow stream."""
        return Scan(sql=sql, stream=lambda: self._stream(sql, fragment))

    def _stream(self, sql: str, fragment: Fragment) -> pa.RecordBatchReader:
        import pyarrow as pa

        schema = pa.schema([(name, _arrow_type(kind)) for name, kind in fragment.schema.items()])
        return pa.RecordBatchReader.from_batches(schema, self._batches(sql, schema))

    def _batches(self, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        connection = self._connect()
        with self._lock:
            self._running.add(connection)
        try:
            cursor = connection.execute(sql)
            while rows := cursor.fetchmany(_BATCH_ROWS):
                columns = zip(*rows, strict=True)
                arrays = [_arrow_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except (sqlite3.Error, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if isinstance(error, sqlite3.Error) and (reason := sqlite_failure(error)) is not None:
                raise failed(self.connection, reason) from None
            raise ExecutionError(
                f"source `{self.connection.id}` failed.", hint="A stored value may not fit its column's type."
            ) from None
        finally:
            with self._lock:
                self._running.discard(connection)
            connection.close()

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """Indexes, and what `sqlite_stat1` says of them when someone has run ANALYZE; nothing runs it here."""
        if table.query:
            return TableStatistics(source=sqlite_statistics.SOURCE)
        try:
            with contextlib.closing(self._connect()) as connection:
                return sqlite_statistics.read(connection, (table.table_name or table.name).rpartition(".")[2])
        except sqlite3.Error:
            return TableStatistics(source=sqlite_statistics.SOURCE)

    def cancel(self) -> None:
        """Interrupt every statement that runs for us."""
        with self._lock:
            for connection in self._running:
                connection.interrupt()


def _binary_collation(node: exp.Expr) -> None:
    """A column declared NOCASE compares without case; DuckDB never does."""
    given = node.expressions or [node.expression]
    if all(isinstance(item, exp.Literal) and item.is_string for item in given):
        node.set("this", exp.Collate(this=node.this, expression=exp.Var(this="BINARY")))


# What DuckDB's scanner makes of a declared type, by a part of its name; the first that fits.
_STORED_TYPES = (
    ("INT", "BIGINT"), ("BOOL", "BIGINT"), ("CHAR", "VARCHAR"), ("CLOB", "VARCHAR"), ("TEXT", "VARCHAR"),
    ("BLOB", "BLOB"), ("REAL", "DOUBLE"), ("FLOA", "DOUBLE"), ("DOUB", "DOUBLE"), ("DEC", "DOUBLE"),
    ("NUMERIC", "DOUBLE"), ("DATETIME", "TIMESTAMP"), ("TIMESTAMP", "TIMESTAMP"), ("DATE", "DATE"),
)  # fmt: skip


def _stored_type(declared: str) -> str:
    """DuckDB's type of a stored column; empty for a computed one (`NUM` is what newer SQLite says of arithmetic)."""
    folded = declared.upper()
    return next((kind for part, kind in _STORED_TYPES if part in folded), "")


def _is_text(declared: str) -> bool:
    """Whether SQLite keeps numbers of a column of this type as texts (its "text affinity").

    >>> _is_text("VARCHAR(10)"), _is_text("STRING"), _is_text("")
    (True, False, False)
    """
    folded = declared.upper()
    return "INT" not in folded and any(part in folded for part in ("CHAR", "CLOB", "TEXT"))


def _arrow_array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """One column's values; numbers are written out where the residual reads text.

    Bytes in the column of a text fit no more than DuckDB's scanner lets them.
    """
    import pyarrow as pa

    if pa.types.is_string(kind):
        if bytes in map(type, values):
            raise pa.ArrowTypeError
        values = tuple(str(value) if isinstance(value, (int, float)) else value for value in values)
    return pa.array(values, type=kind)


def _arrow_type(kind: str) -> pa.DataType:
    """Arrow type in which Python's driver delivers a DuckDB type; the residual casts the rest from text."""
    import pyarrow as pa

    return {
        "BIGINT": pa.int64(),
        "HUGEINT": pa.int64(),
        "INTEGER": pa.int64(),
        "DOUBLE": pa.float64(),
        "BLOB": pa.binary(),
    }.get(kind, pa.string())
