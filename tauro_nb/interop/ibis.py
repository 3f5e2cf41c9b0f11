"""The Ibis door: `ibis.tauro.connect(...)`, a read-only backend whose tables are the virtual tables."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ibis.expr.operations as ops
import ibis.expr.schema as sch
import ibis.expr.types as ir
import sqlglot.expressions as sge
from ibis.backends import BaseBackend, CanListCatalog, CanListDatabase, NoExampleLoader, NoUrl
from ibis.backends.sql import SQLBackend
from ibis.backends.sql.compilers import DuckDBCompiler
from ibis.backends.sql.compilers.base import SQLGlotCompiler
from ibis.common import exceptions as exc
from sqlglot import exp

from tauro_nb.context import VirtualContext
from tauro_nb.errors import BindError, UnknownTable, UnsupportedStatement, UsageError
from tauro_nb.query.parse import parse
from tauro_nb.query.trees import written

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tauro_nb.security.principal import Principal

__all__ = ["Backend", "ReadOnly", "TableNotFound", "expression_parts"]

_CATALOG = "tauro"
_DATABASE = "main"


class ReadOnly(UnsupportedStatement, exc.UnsupportedOperationError, NotImplementedError):
    """A method of Ibis that would write, load files or run raw SQL; also what Ibis raises for those."""


class TableNotFound(UnknownTable, exc.TableNotFound):
    """No such virtual table; also the error that Ibis raises for it."""


def expression_parts(
    expr: ir.Expr,
    params: Mapping[ir.Scalar, Any] | None = None,
    limit: int | None = None,
    *,
    asked_by: Principal,
) -> tuple[sge.Expression, dict[str, pa.Table]]:
    """The tree of an expression and the in-memory tables it carries, for whom it is `asked_by`.

    Raises
    ------
    UsageError
        It is not an Ibis expression, or belongs to another backend.
    UnsupportedStatement
        It calls a Python function; code cannot be checked, so it does not run next to governed data.
    """
    if not isinstance(expr, ir.Expr):
        raise UsageError(f"a query is SQL text or an Ibis expression, not {type(expr).__name__}.")
    node = expr.op()
    for udf in node.find((ops.ScalarUDF, ops.AggUDF)):
        if udf.__input_type__.name != "BUILTIN":
            raise UnsupportedStatement(f"Python function `{type(udf).__name__}` cannot run here.")
    tree = Backend.compiler.to_sqlglot(expr.as_table(), limit=limit, params=params)
    frames: dict[str, pa.Table] = {}
    for relation in node.find((ops.DatabaseTable, ops.SQLQueryResult)):
        if not isinstance(relation.source, Backend):
            what = f"table `{relation.name}`" if isinstance(relation, ops.DatabaseTable) else "a SQL text"
            raise UsageError(
                f"{what} belongs to another Ibis backend ({relation.source.name}).",
                hint="Register it as a virtual table, or pass its rows with ibis.memtable().",
            )
        # What somebody else kept of an answer is theirs.
        if relation.source.ctx.principal.key == asked_by.key:
            frames |= relation.source.frames_named_in(tree)
    frames |= {table.name: table.data.to_pyarrow(table.schema) for table in node.find(ops.InMemoryTable)}
    return tree, frames


def _refused(method: Callable[..., Any], why: str, cure: str | None = None) -> Any:
    """A method of Ibis with its signature and without its effect."""

    @functools.wraps(method, updated=())
    def refuse(*_: Any, **__: Any) -> Any:
        raise ReadOnly(f"{method.__name__} {why}.", hint=cure)

    refuse.__doc__ = f"Refused: it {why}."
    return refuse


_writes = functools.partial(_refused, why="writes; a virtual catalog is read-only")
_reads_files = functools.partial(
    _refused, why="reads files past the catalog", cure="Register them as a virtual table, or use ibis.memtable()."
)


class Backend(SQLBackend, CanListCatalog, CanListDatabase, NoUrl, NoExampleLoader):
    """A virtual catalog as an Ibis backend; made by `ibis.tauro.connect` or `VirtualContext.ibis`.

    Everything it runs goes through `VirtualContext.query`; there is no raw SQL and no way to write.
    Names with a dot, `crm.customers`, are tables of the database `crm`; the others are in `main`.
    """

    name: ClassVar[str] = "tauro"
    compiler: ClassVar[SQLGlotCompiler] = DuckDBCompiler()
    supports_temporary_tables = False
    supports_python_udfs = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cached: dict[str, pa.Table] = {}

    @classmethod
    def of(cls, ctx: VirtualContext) -> Backend:
        """The backend of a context."""
        backend = cls()
        backend.reconnect_to(ctx)
        return backend

    def reconnect_to(self, ctx: VirtualContext) -> None:
        """Serve another context."""
        self._con_args: tuple[Any, ...] = (ctx,)
        self._con_kwargs: dict[str, Any] = {}
        self._ctx = ctx

    def do_connect(
        self,
        catalog: VirtualContext | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        principal: str | Principal | None = None,
    ) -> None:
        """Open a catalog.

        Parameters
        ----------
        catalog
            A context, a configuration mapping, or the path of a YAML file.
        principal
            Who asks.
        """
        if isinstance(catalog, VirtualContext):
            self._ctx = catalog if principal is None else catalog.as_principal(principal)
        else:
            self._ctx = VirtualContext(catalog, principal)

    @property
    def db_identity(self) -> str:
        """What makes two backends one for Ibis: the same context, not one that looks the same."""
        return f"{self.name} {id(self._ctx)}"

    @property
    def ctx(self) -> VirtualContext:
        """The context behind this backend."""
        return self._ctx

    @property
    def version(self) -> str:
        """Version of tauro_nb."""
        import tauro_nb

        return tauro_nb.__version__

    def disconnect(self) -> None:
        """Close the context."""
        self._ctx.close()

    @property
    def current_catalog(self) -> str:
        """The one catalog there is."""
        return _CATALOG

    @property
    def current_database(self) -> str:
        """Where names without a dot live."""
        return _DATABASE

    def list_catalogs(self, *, like: str | None = None) -> list[str]:
        """The one catalog there is."""
        return list(self._filter_with_like([_CATALOG], like))

    def list_databases(self, *, like: str | None = None, catalog: str | None = None) -> list[str]:
        """`main`, and the parts before the last dot in the names of tables this principal may read."""
        known = {name.rpartition(".")[0] or _DATABASE for name in self._readable()}
        return list(self._filter_with_like(sorted(known | {_DATABASE}), like))

    def _readable(self) -> list[str]:
        return sorted(table.name for table in self._ctx.catalog().tables if table.access == "allowed")

    def list_tables(self, *, like: str | None = None, database: tuple[str, str] | str | None = None) -> list[str]:
        """Names this backend can read: virtual tables, memtables it has met, cached expressions.

        Parameters
        ----------
        like
            A regular expression.
        database
            Only the tables of one database, by the part of their names after its name and a dot.
        """
        names = self._readable()
        if database is None:
            names = sorted({*names, *self._cached, *(op.name for op in self._memtables)})
        else:
            wanted = database if isinstance(database, str) else ".".join(database)
            wanted = wanted.removeprefix(f"{_CATALOG}.")
            found = ((prefix or _DATABASE, name) for prefix, _, name in (name.rpartition(".") for name in names))
            names = [name for prefix, name in found if prefix == wanted]
        return list(self._filter_with_like(names, like))

    def table(self, name: str, /, *, database: tuple[str, str] | str | None = None) -> ir.Table:
        """A virtual table.

        Raises
        ------
        TableNotFound, AccessDenied
            There is no such table, or it is denied.
        """
        if database is not None:
            parts = database.split(".") if isinstance(database, str) else list(database)
            # The catalog is called like the database of the system's own tables.
            own = len(parts) == 1 and self._ctx.get_table(f"{_CATALOG}.{name}") is not None
            parts = parts[1:] if parts[0] == _CATALOG and not own else parts
            database = None if parts in ([], [_DATABASE]) else ".".join(parts)
        table: ir.Table = super().table(name, database=database)
        return table

    def sql(self, query: str, /, *, schema: Any = None, dialect: str | None = None) -> ir.Table:
        """SQL as an expression; bound at once, also when its schema is given, and again when it runs.

        Raises
        ------
        TauroError
            It is not one SELECT, or names something that does not exist or is denied.
        """
        text = self._transpile_sql(query, dialect=dialect)
        bound = self._get_schema_using_query(text)
        # Ibis reads the text once more, some operators otherwise: it gets what we read.
        table: ir.Table = super().sql(written(parse(text).tree), schema=bound if schema is None else schema)
        return table

    def get_schema(self, table_name: str, /, *, catalog: str | None = None, database: str | None = None) -> sch.Schema:
        """Columns this principal may read.

        Raises
        ------
        TableNotFound
            There is no such table; also an `ibis.common.exceptions.TableNotFound`.
        """
        if database is None and (frame := self._frame(table_name)) is not None:
            return sch.Schema.from_pyarrow(frame.schema)
        dotted = ".".join(part for part in (catalog, database, table_name) if part)
        try:
            columns = self._ctx.visible_schema(dotted)
        except UnknownTable as error:
            raise TableNotFound(error.message, hint=error.hint) from None
        return self._schema(columns)

    def _schema(self, columns: Mapping[str, str]) -> sch.Schema:
        return sch.Schema({name: self.compiler.type_mapper.from_string(kind) for name, kind in columns.items()})

    def _frame(self, name: str) -> pa.Table | None:
        """Rows that live in this process under a name the catalog does not have."""
        if self._ctx.get_table(name) is not None:
            return None
        if name in self._cached:
            return self._cached[name]
        met = next((op for op in self._memtables if op.name == name), None)
        return None if met is None else met.data.to_pyarrow(met.schema)

    def frames_named_in(self, query: str | exp.Expr) -> dict[str, pa.Table]:
        """Cached expressions and memtables that a query may name."""
        text = query if isinstance(query, str) else query.sql("duckdb")
        names = (name for name in (*self._cached, *(op.name for op in self._memtables)) if name in text)
        return {name: frame for name in names if (frame := self._frame(name)) is not None}

    def _get_schema_using_query(self, query: str | exp.Expr) -> sch.Schema:
        plan = self._ctx.plan_parts(query, self.frames_named_in(query))
        columns = plan.schema
        if isinstance(plan.tree, exp.Values):
            raise UnsupportedStatement("VALUES alone is no expression.", hint="Write SELECT * FROM (VALUES ...).")
        if not columns:
            raise UnsupportedStatement(
                "the columns of this PIVOT are not known before it runs, and an expression must have a schema.",
                hint="Pivot with `pivot_wider()`, or run the SQL with `VirtualContext.query`.",
            )
        return self._schema(columns)

    def _get_sql_string_view_schema(self, *, name: str, table: ir.Table, query: str) -> sch.Schema:
        parse(query)  # Ibis pastes the text into a larger one: it must be one SELECT of its own
        # The memtables below are known only to the expression, not yet to this backend.
        self._register_in_memory_tables(table)
        return self._get_schema_using_query(self.compiler.add_query_to_expr(name=name, table=table, query=query))

    def _register_in_memory_table(self, op: ops.InMemoryTable) -> None:
        """Nothing to do: a memtable travels with its query."""

    def _make_memtable_finalizer(self, name: str) -> Callable[..., None] | None:
        return None

    def _query(self, expr: ir.Expr, params: Any, limit: int | str | None) -> Any:
        import ibis

        self._register_in_memory_tables(expr)
        rows: Any = ibis.options.sql.default_limit if limit == "default" else limit
        tree, frames = expression_parts(expr, params, rows, asked_by=self._ctx.principal)
        if ibis.options.verbose:
            self._log(tree.sql(self.dialect))
        result = self._ctx.query_parts(tree, frames)
        expected = expr.as_table().columns
        if [name.lower() for name in result.columns] != [name.lower() for name in expected]:
            raise BindError(
                "an unbound table of this expression has other columns than the virtual table of its name.",
                hint="Take the table from the connection: con.table(name).",
            )
        return result

    def to_pyarrow_batches(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        chunk_size: int = 1_000_000,
        **_: Any,
    ) -> pa.RecordBatchReader:
        """The rows of an expression as a stream."""
        import pyarrow as pa

        result = self._query(expr, params, limit)
        schema = expr.as_table().schema().to_pyarrow()

        def batches() -> Any:
            for batch in result.to_batches():
                table = pa.Table.from_batches([batch]).rename_columns(schema.names).cast(schema)
                yield from table.to_batches(max_chunksize=chunk_size)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def to_pyarrow(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        **_: Any,
    ) -> Any:
        """The rows of an expression as an Arrow table, or its column or value."""
        from ibis.backends.duckdb.converter import DuckDBPyArrowData

        table = self._query(expr, params, limit).to_arrow()
        return expr.__pyarrow_result__(table, data_mapper=DuckDBPyArrowData)

    def execute(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        **_: Any,
    ) -> Any:
        """The rows of an expression as a pandas object, or its value."""
        import pandas as pd
        import pyarrow.types as pat
        from ibis.backends.duckdb.converter import DuckDBPandasData

        def as_objects(column: pa.ChunkedArray) -> bool:
            return bool(pat.is_nested(column.type) or pat.is_dictionary(column.type) or column.null_count)

        table = self._query(expr, params, limit).to_arrow()
        columns = {
            name: column.to_pylist() if as_objects(column) else column.to_pandas()
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        frame: pd.DataFrame = DuckDBPandasData.convert_table(pd.DataFrame(columns), expr.as_table().schema())
        return expr.__pandas_result__(frame)

    def to_parquet(
        self,
        expr: ir.Table,
        /,
        path: str | Path,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        partition_by: str | tuple[str, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the rows to a Parquet file, or with `partition_by` to a hive-partitioned folder.

        Other arguments are those of `pyarrow.parquet.ParquetWriter` or `pyarrow.dataset.write_dataset`.
        """
        if partition_by is None:
            super().to_parquet(expr, path, params=params, **kwargs)
            return
        from pyarrow import dataset

        keys = [partition_by] if isinstance(partition_by, str) else list(partition_by)
        with self.to_pyarrow_batches(expr, params=params) as reader:
            dataset.write_dataset(
                reader,
                path,
                format="parquet",
                partitioning=keys,
                partitioning_flavor="hive",
                **{"max_partitions": 65_536, **kwargs},
            )

    def to_json(self, expr: ir.Table, /, path: str | Path, **_: Any) -> None:
        """Write the rows to a file as one JSON array of objects, as DuckDB writes them."""
        tree, frames = expression_parts(expr, asked_by=self._ctx.principal)
        row = exp.to_identifier("row", quoted=True)
        rows = exp.Subquery(this=tree, alias=exp.TableAlias(this=row))
        text = exp.func("to_json", exp.Column(this=row.copy()), dialect="duckdb")
        wrapped = exp.select(exp.alias_(text, "json")).from_(rows)
        separator = "["
        with Path(path).open("w", encoding="utf-8") as file:
            for batch in self._ctx.query_parts(wrapped, frames).to_batches():
                for text in batch.column(0).to_pylist():
                    file.write(f"{separator}\n{text}")
                    separator = ","
            file.write("[]\n" if separator == "[" else "\n]\n")

    def _create_cached_table(self, name: str, expr: ir.Table) -> ir.Table:
        """`expr.cache()`: the rows this principal gets now, kept in this process."""
        self._cached[name] = self.to_pyarrow(expr)
        return ops.DatabaseTable(name, schema=expr.schema(), source=self, namespace=ops.Namespace()).to_expr()

    def _drop_cached_table(self, name: str) -> None:
        self._cached.pop(name, None)

    create_table = _writes(BaseBackend.create_table)
    drop_table = _writes(SQLBackend.drop_table)
    create_view = _writes(SQLBackend.create_view)
    drop_view = _writes(SQLBackend.drop_view)
    insert = _writes(SQLBackend.insert)
    upsert = _writes(SQLBackend.upsert)
    truncate_table = _writes(SQLBackend.truncate_table)
    rename_table = _writes(BaseBackend.rename_table)
    read_csv = _reads_files(BaseBackend.read_csv)
    read_json = _reads_files(BaseBackend.read_json)
    read_parquet = _reads_files(BaseBackend.read_parquet)
    read_delta = _reads_files(BaseBackend.read_delta)

    def raw_sql(self, query: str, **_: Any) -> Any:
        """Refused: SQL goes through `sql`, where it is bound and secured."""
        raise ReadOnly("raw_sql bypasses the catalog.", hint="Use `.sql(...)`.")
