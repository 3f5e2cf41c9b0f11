"""From an Ibis expression to a bare tree over one quoted column, in the dialect of the engine or of a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.security.types import data_type, is_text

if TYPE_CHECKING:
    from ibis.expr.types import Column, Value

__all__ = ["compile_mask", "ibis_type", "trunk"]

_TYPES = {
    "TINYINT": "int8",
    "SMALLINT": "int16",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "UTINYINT": "uint8",
    "USMALLINT": "uint16",
    "UINTEGER": "uint32",
    # Ibis knows no wider integers; masks try them as BIGINT.
    "UBIGINT": "decimal(38, 0)",
    "HUGEINT": "decimal(38, 0)",
    "UHUGEINT": "decimal(38, 0)",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp('UTC')",
    "TIMESTAMPTZ": "timestamp('UTC')",
}


def trunk(type: str) -> str:
    """The name of a DuckDB type without its parameters; a list of anything has none.

    Examples
    --------
    >>> trunk("DECIMAL(15,2)"), trunk("integer"), trunk("INTEGER[]")
    ('DECIMAL', 'INTEGER', '')
    """
    return "" if type.rstrip().endswith("]") else type.partition("(")[0].strip().upper()


def ibis_type(type: str) -> str | None:
    """Ibis's name of a DuckDB type; None for what masks have no use for.

    Examples
    --------
    >>> ibis_type("VARCHAR"), ibis_type("DECIMAL(15,2)"), ibis_type("BIGINT"), ibis_type("BLOB")
    ('string', 'decimal(15, 2)', 'int64', None)
    """
    if is_text(type):
        return "string"
    if trunk(type) == "DECIMAL":
        precision, _, scale = type.partition("(")[2].rstrip(") ").partition(",")
        return f"decimal({int(precision or 18)}, {int(scale or (3 if not precision else 0))})"
    return _TYPES.get(trunk(type))


def compile_mask(express: Callable[[Column], Value], column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
    """Compile a mask with Ibis's compiler of a dialect, then leave only its tree over an unqualified quoted column."""
    import ibis

    table = ibis.table({"c": ibis_type(type)}, name="t")
    value = table["c"]
    whole = ibis.cases((value.isnull(), ibis.null(value.type())), else_=express(value))
    select = _compiler(dialect).to_sqlglot(table.select(masked=whole))
    tree: exp.Expr = select.selects[0].unalias().copy()
    _settle_substrings(tree)
    for node in list(tree.find_all(exp.Column)):
        node.replace(exp.column(column, quoted=True))
    if is_text(type):
        return tree
    # What Ibis computes may be wider than the column: a value that does not fit is hidden, and no error names it.
    return exp.TryCast(this=tree, to=data_type(type))


def _compiler(dialect: str) -> Any:
    from ibis.backends.sql.compilers.duckdb import DuckDBCompiler
    from ibis.backends.sql.compilers.mysql import MySQLCompiler
    from ibis.backends.sql.compilers.postgres import PostgresCompiler
    from ibis.backends.sql.compilers.sqlite import SQLiteCompiler

    compilers = {
        "duckdb": DuckDBCompiler,
        "mysql": MySQLCompiler,
        "postgres": PostgresCompiler,
        "sqlite": SQLiteCompiler,
    }
    return compilers[dialect]()


def _settle_substrings(tree: exp.Expr) -> None:
    """Drop Ibis's guard against negative starts: every start here is known to be at least zero.

    The guard (`CASE WHEN s >= 1 THEN s ELSE s + LENGTH(c) END`) would compute every position three times.
    """
    for node in list(tree.find_all(exp.Substring)):
        guard = node.args.get("start")
        if isinstance(guard, exp.If):
            guard.replace(guard.args["true"].copy())
