"""The oracle: the same statement, asked of a database that physically holds only what one person may see.

    world = settle("postgresql", folder, {"people": people}, uri=uri)     # the raw rows, at a real source
    oracle = Oracle(folder, {"people": people}, {"people": "SELECT id, '***' AS email FROM people WHERE id < 3"})
    with VirtualContext({**world, "security_policies": {...}}) as ctx:
        oracle.check(ctx.as_principal("ana", roles=["analyst"]), "SELECT count(*) FROM people")

What may be seen is written by the test as plain SQL over the raw rows; plain DuckDB computes it, nothing of the
product's security does. `check` compares rows, columns and their types, or the class of the error, and that the error
says nothing of what is hidden. `by=` gives the statement through another door.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, BindError, TauroError, UnknownTable
from tests.tpc.loaders import load_duckdb, load_postgres, load_sqlite

__all__ = ["KINDS", "Door", "Oracle", "Outcome", "outcome", "settle"]

KINDS = ("duckdb", "parquet", "sqlite", "postgresql", "mysql")
"""Kinds of sources that `settle` can fill."""
_ABSENT = frozenset({BindError.__name__, UnknownTable.__name__})

Door = Callable[[VirtualContext, str, Any], pa.Table]
"""Gives a statement and its parameters to a context in some way, and returns the whole answer."""


def by_query(ctx: VirtualContext, sql: str, params: Any = None) -> pa.Table:
    """The plainest door."""
    return ctx.query(sql, params).to_arrow()


@dataclass(frozen=True)
class Outcome:
    """What a statement came to.

    Parameters
    ----------
    columns
        Name and Arrow type of each column of the answer.
    rows
        The rows as tuples, in the order they came.
    error
        Class name of the error; empty when there was an answer.
    message
        The error in full, with its hint and its place.
    """

    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    error: str = ""
    message: str = ""

    @property
    def bag(self) -> Counter[tuple[Any, ...]]:
        """The rows without their order."""
        return Counter(self.rows)


def outcome(ctx: VirtualContext, sql: str, params: Any = None, by: Door = by_query) -> Outcome:
    """Ask, and take down the answer or the error. An error that is not one of the project's is a finding: it passes."""
    try:
        answer = by(ctx, sql, params)
    except TauroError as error:
        return Outcome(error=type(error).__name__, message="\n".join([str(error), *error._render_traceback_()]))
    kinds = tuple((column.name, str(column.type)) for column in answer.schema)
    columns = [answer.column(number).to_pylist() for number in range(answer.num_columns)]
    listed = zip(*columns, strict=True) if columns else iter(() for _ in range(answer.num_rows))
    return Outcome(kinds, tuple(tuple(map(_hashable, row)) for row in listed))


def _hashable(value: Any) -> Any:
    """Values that can be counted: lists and structs as tuples, every NaN alike, 1 and 1.0 and True apart."""
    if isinstance(value, Mapping):
        return tuple((name, _hashable(item)) for name, item in value.items())
    if isinstance(value, list):
        return ("list", *map(_hashable, value))
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return (type(value).__name__, value) if isinstance(value, (bool, int, float)) else value


class Oracle:
    """A catalog without any policy, over a DuckDB file with one person's view of the data in it, as real tables.

    Parameters
    ----------
    folder
        An existing folder; the file gets a name of its own.
    raw
        Table -> all rows there are.
    seen
        Table -> DuckDB SQL over the raw tables that says what the person may see of it: rows and columns, masked. A
        table that is left out does not exist for that person.
    catalog
        More `virtual_tables`, views above all, as in the configuration under test.
    secrets
        Texts that no error may contain, besides the hidden values, which are known.
    """

    def __init__(
        self,
        folder: Path,
        raw: Mapping[str, pa.Table],
        seen: Mapping[str, str],
        *,
        catalog: Mapping[str, Any] | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        path = folder / f"oracle{len(list(folder.glob('oracle*.duckdb')))}.duckdb"
        with duckdb.connect(str(path)) as made:
            made.execute("SET TimeZone = 'UTC'")
            for name, rows in raw.items():
                made.register(name, rows)
            made.execute("CREATE SCHEMA seen")
            for name, sql in seen.items():
                made.execute(f'CREATE TABLE seen."{name}" AS {sql}')
            shown = [text for name in seen for text in _texts(made.execute(f'FROM seen."{name}"').to_arrow_table())]
        hidden = {text for rows in raw.values() for text in _texts(rows)} - set(shown)
        self.secrets = (*secrets, *sorted(hidden))
        tables = {name: {"connector_type": "duckdb", "connection": "at", "table": f"seen.{name}"} for name in seen}
        self.context = VirtualContext(
            {
                "connections": {"at": {"type": "duckdb", "path": str(path)}},
                "virtual_tables": {**tables, **(catalog or {})},
            }
        )

    def ask(self, sql: str, params: Any = None, by: Door = by_query) -> Outcome:
        """What the statement comes to here."""
        return outcome(self.context, sql, params, by)

    def check(
        self, ctx: VirtualContext, sql: str, params: Any = None, *, ordered: bool = False, by: Door = by_query
    ) -> Outcome:
        """Ask both; return what the context under test said, if it is what the oracle says.

        A column or table that is denied does not exist for the oracle: there AccessDenied stands for BindError and
        UnknownTable.

        Parameters
        ----------
        ordered
            Compare the rows in their order.
        """
        expected, found = self.ask(sql, params, by), outcome(ctx, sql, params, by)
        errors = (expected.error, found.error)
        if not (errors[1] == AccessDenied.__name__ and errors[0] in _ABSENT):
            assert errors[1] == errors[0], f"{sql}\n{found.message or found.rows[:5]}\n{expected.message}"
        leaked = [secret for secret in self.secrets if secret in found.message and secret not in f"{sql} {params}"]
        assert not leaked, f"{sql}\n{found.message}"
        assert found.columns == expected.columns, sql
        assert not ordered or found.rows == expected.rows, sql
        missing, extra = expected.bag - found.bag, found.bag - expected.bag
        assert (missing, extra) == (Counter(), Counter()), sql
        return found

    def close(self) -> None:
        """Close the database."""
        self.context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _texts(table: pa.Table) -> Iterable[str]:
    """Values long enough to be recognized in a message, as DuckDB and Python write them."""
    values = {value for column in table.columns for value in column.to_pylist() if value is not None}
    return [text for text in map(str, values) if len(text) >= 4 and text not in ("True", "False")]


def settle(
    kind: str, folder: Path, tables: Mapping[str, pa.Table], *, uri: str | None = None, connection: str = "at"
) -> dict[str, Any]:
    """Put tables at a real source; returns the `connections` and `virtual_tables` of a catalog over them.

    Parameters
    ----------
    kind
        One of `KINDS`.
    folder
        Where files go.
    uri
        The database of a server: a fresh one, for tables of the same names are replaced.
    connection
        Name of the connection: a catalog can be put together from several calls.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.parquet" for name in tables}
    for name, rows in tables.items():
        pq.write_table(rows, paths[name])
    if kind == "parquet":
        listed = {name: {"connector_type": "parquet", "path": str(path)} for name, path in paths.items()}
        return {"connections": {}, "virtual_tables": listed}
    file = folder / f"{connection}.{kind}"
    if kind == "duckdb":
        load_duckdb(file, paths)
    elif kind == "sqlite":
        load_sqlite(file, paths)
    else:
        assert uri is not None, f"{kind} needs the URI of a server"
        load_postgres(uri, paths) if kind == "postgresql" else _load_mysql(uri, paths)
    where = {"type": kind, "uri": uri} if uri is not None else {"type": kind, "path": str(file)}
    listed = {name: {"connector_type": kind, "connection": connection, "table": name} for name in tables}
    return {"connections": {connection: where}, "virtual_tables": listed}


_MYSQL = {
    "SMALLINT": "smallint", "INTEGER": "int", "BIGINT": "bigint", "DOUBLE": "double", "BOOLEAN": "boolean",
    "DATE": "date", "TIMESTAMP": "datetime(6)", "VARCHAR": "varchar(500) COLLATE utf8mb4_bin",
}  # fmt: skip


def _load_mysql(uri: str, paths: Mapping[str, Path]) -> None:
    parts = urlsplit(uri)
    server = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        charset="utf8mb4",
    )
    with server, duckdb.connect() as con, server.cursor() as cursor:
        for name, path in paths.items():
            kinds = {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM '{path}'").fetchall()}
            body = ", ".join(f"`{column}` {_MYSQL.get(kind, kind.lower())}" for column, kind in kinds.items())
            cursor.execute(f"DROP TABLE IF EXISTS `{name}`")
            cursor.execute(f"CREATE TABLE `{name}` ({body})")
            rows = con.execute(f"FROM '{path}'").fetchall()
            cursor.executemany(f"INSERT INTO `{name}` VALUES ({', '.join(['%s'] * len(kinds))})", rows)
        server.commit()
