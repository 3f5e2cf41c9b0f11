"""Where the tables live: the same rows at every kind of source, and once more as a database of the analyst's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tauro_nb import VirtualContext
from tests.mariadb import MariaDBServer
from tests.security.redteam.staff import COLUMNS, EMP, OPEN_ROWS, POLICY, VIEW, VISIBLE_EMP
from tests.servers import PostgresServer
from tests.tpc.loaders import load_duckdb, load_postgres, load_sqlite

__all__ = ["ANALYST", "Site", "arrow", "build_site", "truth_database"]

ANALYST = ("ana", ["analyst"])
"""Who attacks."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """One kind of source: its catalog's context, as administrator and as analyst."""

    kind: str
    folder: Path
    config: Mapping[str, Any]
    admin: VirtualContext
    analyst: VirtualContext


def arrow(columns: Mapping[str, str], rows: Sequence[Row]) -> pa.Table:
    """Rows as Arrow, in the types DuckDB would give them."""
    with duckdb.connect() as con:
        empty = con.execute("SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items()))
        return pa.Table.from_pylist(list(rows), schema=empty.to_arrow_table().schema)


def truth_database(path: str | Path = ":memory:") -> duckdb.DuckDBPyConnection:
    """A plain DuckDB that physically holds the visible, masked rows and nothing else: no `secret`, no `vault`."""
    con = duckdb.connect(str(path))
    con.execute("SET TimeZone = 'UTC'")
    visible = {name: kind for name, kind in COLUMNS["emp"].items() if name != "secret"}
    for name, table in (
        ("emp", arrow(visible, VISIBLE_EMP)),
        ("orders", arrow(COLUMNS["orders"], OPEN_ROWS["orders"])),
    ):
        con.register("given", table)
        con.execute(f"CREATE TABLE {name} AS FROM given")
        con.unregister("given")
    con.execute(f"CREATE VIEW team AS {VIEW}")
    return con


def _files(folder: Path) -> dict[str, Path]:
    rows = {"emp": EMP, **OPEN_ROWS}
    paths = {f"phys_{name}": folder / f"phys_{name}.parquet" for name in COLUMNS}
    for name, columns in COLUMNS.items():
        pq.write_table(arrow(columns, rows[name]), paths[f"phys_{name}"])
    return paths


_MARIADB = {"VARCHAR": "TEXT", "TIMESTAMP": "DATETIME(6)"}


def _load_mariadb(server: MariaDBServer, database: str) -> None:
    rows = {"emp": EMP, **OPEN_ROWS}
    with server.connect(database) as connection, connection.cursor() as cursor:
        for name, columns in COLUMNS.items():
            body = ", ".join(f"`{column}` {_MARIADB.get(kind, kind)}" for column, kind in columns.items())
            cursor.execute(f"CREATE TABLE phys_{name} ({body})")
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO phys_{name} VALUES ({marks})", [tuple(row.values()) for row in rows[name]])


@contextlib.contextmanager
def build_site(kind: str, folder: Path, server: PostgresServer | MariaDBServer | None) -> Iterator[Site]:
    """Fill a source of a kind, and open the catalog over it."""
    files = _files(folder)
    connections: dict[str, dict[str, Any]] = {}
    tables: dict[str, dict[str, Any]] = {}
    database = server.create_database() if server is not None else ""
    if kind == "duckdb":
        load_duckdb(folder / "phys.duckdb", files)
        connections["at"] = {"type": kind, "path": str(folder / "phys.duckdb")}
    elif kind == "sqlite":
        load_sqlite(folder / "phys.sqlite", files)
        connections["at"] = {"type": kind, "path": str(folder / "phys.sqlite")}
    elif kind == "postgresql":
        assert isinstance(server, PostgresServer)
        load_postgres(server.uri(database), files)
        connections["at"] = {"type": kind, "uri": server.uri(database)}
    elif kind == "mariadb":
        assert isinstance(server, MariaDBServer)
        _load_mariadb(server, database)
        connections["at"] = {"type": "mysql", "uri": server.uri(database)}
    for name, columns in COLUMNS.items():
        where = (
            {"connector_type": "parquet", "path": str(files[f"phys_{name}"])}
            if kind == "parquet"
            else {"connector_type": connections["at"]["type"], "connection": "at", "table": f"phys_{name}"}
        )
        tables[name] = {**where, "schema": dict(columns)}
    config = {
        "connections": connections,
        "virtual_tables": {**tables, "team": {"query": VIEW}},
        "security_policies": POLICY,
    }
    try:
        with VirtualContext(config, "admin") as admin:
            name, roles = ANALYST
            yield Site(kind, folder, config, admin, admin.as_principal(name, roles=roles))
    finally:
        if server is not None:
            server.drop_database(database)
