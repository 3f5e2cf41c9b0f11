"""From an Ibis expression to a bare tree over one quoted column, in the dialect of the engine or of a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.security.types import data_type, is_text

if TYPE_CHECKING:
    from ibis.expr.types import BooleanValue, Column, IntegerValue, StringColumn, StringValue

    from tauro_nb.security.masks.base import Branches

__all__ = [
    "compile_mask",
    "compiler",
    "fits_glob",
    "head",
    "ibis_type",
    "joined",
    "position",
    "tail",
    "trunk",
    "unbroken",
]

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


def compile_mask(express: Callable[[Column], Branches], column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
    """Compile a mask with Ibis's compiler of a dialect, then leave only its tree over an unqualified quoted column.

    The branch of NULL comes last: where most values are masked alike, the first branch is the only one that is tried.
    """
    import ibis

    table = ibis.table({"c": ibis_type(type)}, name="t")
    value = table["c"]
    branches, rest = express(value)
    nothing = ibis.null(value.type())
    whole = ibis.cases(*branches, (value.isnull(), nothing), else_=nothing if rest is None else rest)
    select = compiler(dialect).to_sqlglot(table.select(masked=whole))
    tree: exp.Expr = select.selects[0].unalias().copy()
    _settle_substrings(tree)
    for length in tree.find_all(exp.Length):
        # Of characters: to MySQL's own dialect LENGTH means bytes, and what Ibis makes of it goes by what came first.
        length.set("binary", None)
    for call in list(tree.find_all(exp.Anonymous)):
        if (build := _WORDLESS.get(call.name.casefold())) is not None:
            call.replace(build(*call.expressions))
    for node in list(tree.find_all(exp.Column)):
        node.replace(_column(column, type, dialect))
    if is_text(type):
        # Texts are bytes wherever MySQL compares them for us.
        return exp.cast(tree, "BINARY", dialect="mysql") if dialect == "mysql" else tree
    # What Ibis computes may be wider than the column: a value that does not fit is hidden, and no error names it.
    return exp.TryCast(this=tree, to=data_type(type))


def fits_glob(column: StringColumn, pattern: str) -> BooleanValue:
    """`column GLOB pattern`, which Ibis has no word for; DuckDB and SQLite do."""
    import ibis

    @ibis.udf.scalar.builtin(name=_GLOB)  # type: ignore[untyped-decorator]
    def glob(text: str, pattern: str) -> bool:
        raise NotImplementedError

    found: BooleanValue = glob(column, pattern)
    return found


def unbroken(column: StringColumn, dialect: str) -> BooleanValue:
    """Whether a text holds no NUL: SQLite's functions stop there, and PostgreSQL cannot hold one at all.

    In a SQLite column of texts there can also be bytes, which are hidden like a text that is broken.
    """
    import ibis

    @ibis.udf.scalar.builtin(name="char" if dialect == "sqlite" else "chr")  # type: ignore[untyped-decorator]
    def character(number: int) -> str:
        raise NotImplementedError

    if dialect == "postgres":
        return ibis.literal(True)
    whole: BooleanValue = ~column.contains(character(0))
    return whole & (column.typeof() == "text") if dialect == "sqlite" else whole


_GLOB, _CONCAT = "tauro_glob", "tauro_concat"
# What Ibis has no word for, or would write as `||`.
_WORDLESS: Mapping[str, Callable[..., exp.Expr]] = {
    _GLOB: lambda text, pattern: exp.Glob(this=text, expression=pattern),
    _CONCAT: lambda *parts: exp.Anonymous(this="concat", expressions=list(parts)),
}


def head(column: StringColumn, dialect: str) -> StringValue:
    """The first character of texts that have one.

    At DuckDB as the character of its number, three times as fast as a substring. Other texts are there, too, when it
    calls functions for a whole dictionary: of an empty one the number is -1, which is no character's, and so no error.
    """
    import ibis

    @ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
    def unicode(text: str) -> int:
        raise NotImplementedError

    @ibis.udf.scalar.builtin(name="chr")  # type: ignore[untyped-decorator]
    def character(number: int) -> str:
        raise NotImplementedError

    found: StringValue = character(unicode(column).abs()) if dialect == "duckdb" else column.substr(0, 1)
    return found


def joined(dialect: str, *parts: StringValue) -> StringValue:
    """Three texts that are not NULL one after another: at DuckDB in one step, where `||` would copy twice."""
    import ibis

    @ibis.udf.scalar.builtin(name=_CONCAT)  # type: ignore[untyped-decorator]
    def concat(first: str, second: str, third: str) -> str:
        raise NotImplementedError

    whole: StringValue = concat(*parts) if dialect == "duckdb" else reduce(add, parts)
    return whole


def position(column: StringColumn, text: str, dialect: str) -> IntegerValue:
    """Where a text begins in one that has it, counted from 0. For MySQL Ibis would ask for bytes."""
    import ibis

    @ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
    def instr(text: str, part: str) -> int:
        raise NotImplementedError

    found: IntegerValue = instr(column, text) - 1 if dialect == "mysql" else column.find(text)
    return found


def tail(column: StringColumn, length: int, dialect: str) -> StringValue:
    """The last characters of texts that have as many.

    A negative start counts from the end, at DuckDB twice as fast as RIGHT does; Ibis would count from 0 and add 1.
    """
    found: StringValue = column.right(length) if dialect == "postgres" else column.substr(-length - 1)
    return found


def _column(name: str, type: str, dialect: str) -> exp.Expr:
    """The column, as what Ibis takes it for.

    At PostgreSQL without the collation it was made with, which may know neither LIKE nor patterns; at MySQL as
    characters, with a collation that takes none for another; moments of another
    precision as TIMESTAMP, for the engine would convert the literals they are compared with, and find one too early.
    """
    column = exp.column(name, quoted=True)
    if dialect == "postgres":
        return exp.paren(exp.Collate(this=column, expression=exp.to_identifier("C", quoted=True)), copy=False)
    if dialect == "mysql":
        unicode = exp.Cast(this=column, to=exp.DataType(this=exp.DType.CHARACTER_SET, kind=exp.Var(this="utf8mb4")))
        return exp.paren(exp.Collate(this=unicode, expression=exp.Var(this="utf8mb4_bin")), copy=False)
    if trunk(type) in ("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"):
        return exp.TryCast(this=column, to=data_type("TIMESTAMP"))
    return column


def compiler(dialect: str) -> Any:
    """Ibis's compiler of a dialect of sqlglot's."""
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
    """Drop Ibis's guard against negative starts: starts here are positions, or count from the end on purpose.

    The guard (`CASE WHEN s >= 1 THEN s ELSE s + LENGTH(c) END`) would compute every position three times.
    """
    for node in list(tree.find_all(exp.Substring)):
        guard = node.args.get("start")
        if isinstance(guard, exp.If):
            guard.replace(guard.args["true"].copy())
