"""The fuzzed table on every kind of source: as it is, and as a principal may see it and nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pymysql

from tauro_nb import VirtualContext
from tests.leakfuzz.columns import COLUMNS, PATTERNS, VISIBLE, Column, hidden_value
from tests.leakfuzz.expressions import literal
from tests.mariadb import MariaDBServer
from tests.servers import PostgresServer

__all__ = ["BACKENDS", "FILTERS", "Backend", "Prepared", "Servers", "prepare"]

FILTERS: Mapping[str, str] = {
    "eq": "team = 'eng'",
    "in": "team IN ('eng', 'dev')",
    "range": "grade BETWEEN 10 AND 20",
    "or": "team = 'eng' OR grade BETWEEN 10 AND 20",
    "regexp": "regexp_matches(team, '^e')",
    "function": "upper(team) = 'ENG'",
    "exists": "EXISTS (SELECT 1 FROM o WHERE o.k % 500 = t.id % 500)",
    "subquery": "team IN (SELECT CASE WHEN o.k >= 0 THEN 'eng' END FROM o)",
}
"""Policy forms by the role that has them; all leave the same rows. Beside them stands `mask`, which hides values."""
_EVERY = 500
"""One row in so many is visible."""
_MASKED_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the databases are: a folder for files, and servers that somebody else starts and stops."""

    folder: Path
    postgres: PostgresServer
    mariadb: MariaDBServer


Types = Mapping[str, str]
Loader = Callable[[Servers, "Backend", str, str, int], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of source.

    Parameters
    ----------
    types
        DuckDB type -> the source's; columns of other types it does not have.
    load
        Makes the tables of one variant (`raw`, `visible`, `masked`) and gives their part of a configuration.
    rows
        How many: enough for the engine to read in parallel where it does.
    """

    name: str
    types: Types | None
    load: Loader
    rows: int

    def columns(self) -> tuple[Column, ...]:
        """The columns it has."""
        return tuple(column for column in COLUMNS if self.types is None or column.type in self.types)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One backend, loaded: contexts over everything, by barrier, and over what `FILTERS` and `mask` leave of it.

    Behind `mask` every row is seen, so that it has a smaller table.
    """

    backend: Backend
    raw: Mapping[str, VirtualContext]
    masks: Mapping[str, VirtualContext]
    visible: VirtualContext
    masked: VirtualContext


def _duckdb_rows(variant: str, columns: tuple[Column, ...], rows: int) -> str:
    """SQL (DuckDB) of the table in one variant."""
    patterns = " UNION ALL ".join(
        "SELECT " + ", ".join([f"{p} AS p", *(f"{literal(hidden_value(c, p), c.type)} AS {c.name}" for c in columns)])
        for p in (range(PATTERNS) if variant == "raw" else (VISIBLE,))
    )
    chosen = f"CASE WHEN i % {_EVERY} = 0 THEN {VISIBLE} ELSE 1 + i % {PATTERNS - 1} END"
    kept = f"WHERE i % {_EVERY} = 0" if variant == "visible" else ""
    pattern = chosen if variant == "raw" else str(VISIBLE)
    return (
        f"SELECT i AS id, CASE WHEN i % {_EVERY} = 0 THEN 'eng' ELSE 'ops' END AS team, "
        f"CASE WHEN i % {_EVERY} = 0 THEN 15 ELSE 50 END AS grade, x.* EXCLUDE (p) "
        f"FROM (SELECT * FROM range({rows}) r(i) {kept}) r JOIN ({patterns}) x ON x.p = {pattern} ORDER BY i"
    )


def _tables(connector: str, connection: str | None = None, **more: Any) -> dict[str, Any]:
    common = {"connector_type": connector, **({"connection": connection} if connection else {})}
    return {name: {**common, "table": name, **more} for name in ("t", "o")}


def _load_duckdb(servers: Servers, backend: Backend, variant: str, where: str, rows: int) -> Mapping[str, Any]:
    path = servers.folder / f"{where}.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE t AS {_duckdb_rows(variant, backend.columns(), rows)}")
        connection.execute(f"CREATE TABLE o AS SELECT i * {_EVERY} AS k FROM range(4) r(i)")
    return {"connections": {"wh": {"type": "duckdb", "path": str(path)}}, "virtual_tables": _tables("duckdb", "wh")}


def _load_parquet(servers: Servers, backend: Backend, variant: str, where: str, rows: int) -> Mapping[str, Any]:
    tables = {"t": _duckdb_rows(variant, backend.columns(), rows), "o": f"SELECT i * {_EVERY} AS k FROM range(4) r(i)"}
    with duckdb.connect() as connection:
        for name, sql in tables.items():
            path = servers.folder / f"{where}_{name}.parquet"
            connection.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20480)")
    return {
        "virtual_tables": {
            name: {"connector_type": "parquet", "path": str(servers.folder / f"{where}_{name}.parquet")}
            for name in tables
        }
    }


def _texts(columns: tuple[Column, ...]) -> list[list[Any]]:
    """The patterns as DuckDB writes them: what other databases are given as text to read."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        selects = [
            "SELECT " + ", ".join(f"CAST({literal(hidden_value(c, p), c.type)} AS VARCHAR)" for c in columns)
            for p in range(PATTERNS)
        ]
        return [list(connection.execute(sql).fetchone() or ()) for sql in selects]


def _fill(
    execute: Callable[[str, Any], Any],
    backend: Backend,
    variant: str,
    numbers: str,
    mark: str = "%s",
    numeric: Callable[[str], Any] | None = None,
) -> None:
    """Make `t` from a table of patterns; a value that the source does not take is NULL there.

    `numeric` makes a number of its text where the source would keep the text.
    """
    assert backend.types is not None
    columns = backend.columns()
    types = [backend.types[column.type] for column in columns]
    execute(
        f"CREATE TABLE pat (p INTEGER, {', '.join(f'{c.name} {k}' for c, k in zip(columns, types, strict=True))})", None
    )
    for pattern, values in enumerate(_texts(columns)):
        execute(f"INSERT INTO pat (p) VALUES ({pattern})", None)
        for column, value in zip(columns, values, strict=True):
            given = numeric(value) if numeric is not None and column.type in ("DOUBLE", "INTEGER", "BIGINT") else value
            with contextlib.suppress(psycopg.Error, pymysql.MySQLError, sqlite3.Error):
                execute(f"UPDATE pat SET {column.name} = {mark} WHERE p = {pattern}", (given,))
    chosen = f"CASE WHEN i % {_EVERY} = 0 THEN {VISIBLE} ELSE 1 + i % {PATTERNS - 1} END"
    which = chosen if variant == "raw" else str(VISIBLE)
    visible = f"i % {_EVERY} = 0"
    names = ", ".join(f"x.{column.name}" for column in columns)
    execute(
        f"CREATE TABLE t AS SELECT i AS id, CASE WHEN {visible} THEN 'eng' ELSE 'ops' END AS team, "
        f"CASE WHEN {visible} THEN 15 ELSE 50 END AS grade, {names} FROM ({numbers}) r JOIN pat x ON x.p = {which}"
        + (f" WHERE {visible}" if variant == "visible" else ""),
        None,
    )
    execute(
        f"CREATE TABLE o AS SELECT i AS k FROM ({numbers}) r WHERE i IN (0, {_EVERY}, {_EVERY * 2}, {_EVERY * 3})", None
    )


def _load_postgres(servers: Servers, backend: Backend, variant: str, _: str, rows: int) -> Mapping[str, Any]:
    name = servers.postgres.create_database()
    with psycopg.connect(servers.postgres.uri(name), autocommit=True) as connection:
        numbers = f"SELECT CAST(g AS bigint) AS i FROM generate_series(0, {rows - 1}) g"

        def execute(sql: str, values: Any) -> None:
            connection.execute(sql.encode(), values)

        _fill(execute, backend, variant, numbers)
        connection.execute("ANALYZE t")
    tables = _tables("postgresql", "db")
    return {"connections": {"db": {"type": "postgresql", "uri": servers.postgres.uri(name)}}, "virtual_tables": tables}


def _load_mariadb(servers: Servers, backend: Backend, variant: str, _: str, rows: int) -> Mapping[str, Any]:
    name = servers.mariadb.create_database()
    with servers.mariadb.connect(name) as connection, connection.cursor() as cursor:
        numbers = f"SELECT CAST(seq AS SIGNED) AS i FROM seq_0_to_{rows - 1}"
        _fill(cursor.execute, backend, variant, numbers)
    tables = _tables("mysql", "db")
    return {"connections": {"db": {"type": "mysql", "uri": servers.mariadb.uri(name)}}, "virtual_tables": tables}


def _sqlite_number(text: str | None) -> int | float | None:
    if text is None:
        return None
    return float(text) if any(sign in text for sign in ".einf") else int(text)


def _load_sqlite(servers: Servers, backend: Backend, variant: str, where: str, rows: int) -> Mapping[str, Any]:
    path = servers.folder / f"{where}.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        numbers = (
            f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows - 1}) SELECT i FROM n"
        )

        def execute(sql: str, values: Any) -> None:
            connection.execute(sql, values or ())

        _fill(execute, backend, variant, numbers, "?", _sqlite_number)
        assert backend.types is not None
        kinds = ", ".join(f"{c.name} {backend.types[c.type]}" for c in backend.columns())
        # CREATE TABLE AS forgets what was declared.
        connection.execute(f"CREATE TABLE t2 (id INTEGER, team TEXT, grade INTEGER, {kinds})")
        connection.execute("INSERT INTO t2 SELECT * FROM t")
        connection.execute("DROP TABLE t")
        connection.execute("ALTER TABLE t2 RENAME TO t")
        connection.execute("CREATE TABLE o2 (k INTEGER)")
        connection.execute("INSERT INTO o2 SELECT k FROM o")
        connection.execute("DROP TABLE o")
        connection.execute("ALTER TABLE o2 RENAME TO o")
        connection.commit()
    return {"connections": {"db": {"type": "sqlite", "path": str(path)}}, "virtual_tables": _tables("sqlite", "db")}


_POSTGRES = {
    "BOOLEAN": "boolean", "TINYINT": "smallint", "INTEGER": "integer", "BIGINT": "bigint", "UBIGINT": "numeric(20,0)",
    "DECIMAL(18,3)": "numeric(18,3)", "DECIMAL(38,0)": "numeric(38,0)", "REAL": "real", "DOUBLE": "double precision",
    "VARCHAR": "text", "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp", "TIMESTAMPTZ": "timestamptz",
    "INTERVAL": "interval", "UUID": "uuid", "JSON": "json",
}  # fmt: skip
_MARIADB = {
    "TINYINT": "tinyint", "INTEGER": "int", "BIGINT": "bigint", "UBIGINT": "bigint unsigned", "REAL": "float",
    "DECIMAL(18,3)": "decimal(18,3)", "DECIMAL(38,0)": "decimal(37,0)", "DOUBLE": "double", "VARCHAR": "varchar(700)",
    "DATE": "date", "TIME": "time", "TIMESTAMP": "datetime(6)",
}  # fmt: skip
_SQLITE = {
    "INTEGER": "INTEGER", "BIGINT": "BIGINT", "DOUBLE": "DOUBLE", "VARCHAR": "TEXT", "DATE": "DATE",
}  # fmt: skip
_PARQUET = {
    column.type: column.type for column in COLUMNS if column.type not in ("HUGEINT", "BIT", "INTERVAL", "TIME")
}  # fmt: skip

BACKENDS: tuple[Backend, ...] = (
    Backend("DuckDB", None, _load_duckdb, 200_000),
    Backend("Parquet", _PARQUET, _load_parquet, 200_000),
    Backend("PostgreSQL", _POSTGRES, _load_postgres, 20_000),
    Backend("MariaDB", _MARIADB, _load_mariadb, 20_000),
    Backend("SQLite", _SQLITE, _load_sqlite, 20_000),
)


def _mask(column: Column) -> dict[str, Any]:
    """The harmless value, where the row is a hidden one; DuckDB has no CASE of arrays, so these are all alike."""
    when = {} if column.type.endswith("[3]") else {"when": "team <> 'eng'"}
    return {"mask": "constant", "mask_value": column.visible, **when}


def _policy(backend: Backend, barrier: str) -> dict[str, Any]:
    masks = {
        column.name: {"allowed_roles": [*FILTERS], "role_masks": {"mask": _mask(column)}}
        for column in backend.columns()
    }
    return {"barrier": barrier, "row_level_filters": {**FILTERS, "mask": ""}, "field_policies": masks}


@contextlib.contextmanager
def prepare(backend: Backend, servers: Servers, *, rows: int | None = None) -> Iterator[Prepared]:
    """Load one backend in three variants, and open contexts over them."""
    count = rows or backend.rows
    with contextlib.ExitStack() as stack:

        def opened(config: Mapping[str, Any], **more: Any) -> VirtualContext:
            return stack.enter_context(VirtualContext({**config, **more}))

        def loaded(variant: str, many: int) -> Mapping[str, Any]:
            return backend.load(servers, backend, variant, f"{backend.name}_{variant}_{many}", many)

        def fenced(config: Mapping[str, Any]) -> dict[str, VirtualContext]:
            return {
                barrier: opened(config, security_policies={"t": _policy(backend, barrier)})
                for barrier in ("leakproof", "strict")
            }

        few = min(count - 1, _MASKED_ROWS)
        yield Prepared(
            backend,
            fenced(loaded("raw", count)),
            fenced(loaded("raw", few)),
            opened(loaded("visible", count)),
            opened(loaded("masked", few)),
        )
