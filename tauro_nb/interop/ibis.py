"""The Ibis door: `ibis.tauro.connect(...)`, a read-only backend whose tables are the virtual tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ibis.expr.operations as ops
import ibis.expr.schema as sch
import ibis.expr.types as ir
import sqlglot.expressions as sge
from ibis.backends import NoExampleLoader, NoUrl
from ibis.backends.sql import SQLBackend
from ibis.backends.sql.compilers import DuckDBCompiler
from ibis.backends.sql.compilers.base import SQLGlotCompiler

from tauro_nb.context import VirtualContext
from tauro_nb.errors import UnsupportedStatement, UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tauro_nb.security.principal import Principal

__all__ = ["Backend", "expression_parts"]


def expression_parts(
    expr: ir.Expr, params: Mapping[ir.Scalar, Any] | None = None, limit: int | None = None
) -> tuple[sge.Expression, dict[str, pa.Table]]:
    """The tree of an expression and the in-memory tables it carries.

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
    for table in node.find(ops.DatabaseTable):
        if not isinstance(table.source, Backend):
            raise UsageError(
                f"table `{table.name}` belongs to another Ibis backend ({table.source.name}).",
                hint="Register it as a virtual table, or pass its rows with ibis.memtable().",
            )
    for udf in node.find((ops.ScalarUDF, ops.AggUDF)):
        if udf.__input_type__.name != "BUILTIN":
            raise UnsupportedStatement(f"Python function `{type(udf).__name__}` cannot run here.")
    frames = {table.name: table.data.to_pyarrow(table.schema) for table in node.find(ops.InMemoryTable)}
    return Backend.compiler.to_sqlglot(expr.as_table(), limit=limit, params=params), frames


class Backend(SQLBackend, NoUrl, NoExampleLoader):
    """A virtual catalog as an Ibis backend; made by `ibis.tauro.connect` or `VirtualContext.ibis`.

    Everything it runs goes through `VirtualContext.query`; there is no raw SQL and no way to write.
    """

    name: ClassVar[str] = "tauro"
    compiler: ClassVar[SQLGlotCompiler] = DuckDBCompiler()
    supports_temporary_tables = False
    supports_python_udfs = False

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

    def list_tables(self, *, like: str | None = None, database: tuple[str, str] | str | None = None) -> list[str]:
        """Names of the virtual tables this principal may read."""
        names = sorted(table.name for table in self._ctx.catalog().tables if table.access == "allowed")
        if database is not None:
            prefix = ".".join(database) if isinstance(database, tuple) else database
            names = [name.removeprefix(f"{prefix}.") for name in names if name.startswith(f"{prefix}.")]
        return list(self._filter_with_like(names, like))

    def get_schema(self, table_name: str, /, *, catalog: str | None = None, database: str | None = None) -> sch.Schema:
        """Columns this principal may read."""
        dotted = ".".join(part for part in (catalog, database, table_name) if part)
        columns = self._ctx.visible_schema(dotted)
        return sch.Schema({name: self.compiler.type_mapper.from_string(kind) for name, kind in columns.items()})

    def _get_schema_using_query(self, query: str) -> sch.Schema:
        plan = self._ctx.plan(query)
        return sch.Schema({name: self.compiler.type_mapper.from_string(kind) for name, kind in plan.schema.items()})

    def _register_in_memory_table(self, op: ops.InMemoryTable) -> None:
        """Nothing to register: a memtable travels with its query."""

    def _make_memtable_finalizer(self, name: str) -> Callable[..., None] | None:
        return None

    def _query(self, expr: ir.Expr, params: Any, limit: int | str | None) -> Any:
        import ibis

        rows: int | None = ibis.options.sql.default_limit if isinstance(limit, str) else limit
        return self._ctx.query_parts(*expression_parts(expr, params, rows))

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

    def _refuse(self, what: str) -> UnsupportedStatement:
        return UnsupportedStatement(f"{what} writes; a virtual catalog is read-only.")

    def create_table(self, *_: Any, **__: Any) -> ir.Table:
        """Refused."""
        raise self._refuse("create_table")

    def drop_table(self, *_: Any, **__: Any) -> None:
        """Refused."""
        raise self._refuse("drop_table")

    def create_view(self, *_: Any, **__: Any) -> ir.Table:
        """Refused."""
        raise self._refuse("create_view")

    def drop_view(self, *_: Any, **__: Any) -> None:
        """Refused."""
        raise self._refuse("drop_view")

    def insert(self, *_: Any, **__: Any) -> None:
        """Refused."""
        raise self._refuse("insert")

    def upsert(self, *_: Any, **__: Any) -> None:
        """Refused."""
        raise self._refuse("upsert")

    def truncate_table(self, *_: Any, **__: Any) -> None:
        """Refused."""
        raise self._refuse("truncate_table")

    def rename_table(self, *_: Any, **__: Any) -> None:
        """Refused."""
        raise self._refuse("rename_table")

    def raw_sql(self, query: str, **_: Any) -> Any:
        """Refused: SQL goes through `sql`, where it is bound and secured."""
        raise UnsupportedStatement("raw_sql bypasses the catalog.", hint="Use `.sql(...)`.")
