"""Where the tables live: the same rows at every kind of source, and once more as a database of the analyst's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tauro_nb import VirtualContext
from tests.mariadb import MariaDBServer
from tests.security.oracle import settle
from tests.security.redteam.staff import COLUMNS, EMP, OPEN_ROWS, POLICY, VIEW, VISIBLE_EMP
from tests.servers import PostgresServer

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
    """Rows as Arrow, in the types DuckDB would give them, with the time zone of the road."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
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


@contextlib.contextmanager
def build_site(kind: str, folder: Path, server: PostgresServer | MariaDBServer | None) -> Iterator[Site]:
    """Fill a source of a kind, under names that only the catalog knows, and open the catalog."""
    rows = {"emp": EMP, **OPEN_ROWS}
    database = server.create_database() if server is not None else ""
    uri = server.uri(database) if server is not None else None
    given = {f"phys_{name}": arrow(columns, rows[name]) for name, columns in COLUMNS.items()}
    placed = settle(kind, folder, given, uri=uri)
    tables: dict[str, Any] = {
        name: {**placed["virtual_tables"][f"phys_{name}"], "schema": dict(columns)} for name, columns in COLUMNS.items()
    }
    tables["team"] = {"query": VIEW}
    config = {"connections": placed["connections"], "virtual_tables": tables, "security_policies": POLICY}
    with VirtualContext(config, "admin") as admin:
        name, roles = ANALYST
        yield Site(kind, folder, config, admin, admin.as_principal(name, roles=roles))
