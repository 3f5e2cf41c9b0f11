"""A server, a proxy in front of it that loses what it is told to lose, and what must hold after every fault."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from benchmarks.proxy import CountingProxy
from tauro_nb.context import VirtualContext
from tauro_nb.errors import QueryCancelled, TauroError
from tests.mariadb import MariaDBServer
from tests.servers import PASSWORD, PostgresServer

ROWS = 200_000
PATIENCE = int(os.environ.get("TAURO_PATIENCE", "2"))
"""Seconds of `connect_timeout` and `read_timeout` where a test waits for them; elsewhere they are 10 and 30:
a busy machine may take longer than this to answer a new connection."""
PHYSICAL = "phys_items_t"
VALUE = "hidden value"
ORDERS = "SELECT i * 7 AS pk, (i * 31) % 70_000 AS order_id FROM range(300) t(i)"
_ITEM = {"id": "i", "order_id": "i / 4", "note": "'{value} of a row that is quite long, number '"}

QUERIES = {
    "scan": "SELECT * FROM items",
    "aggregate": "SELECT order_id % 10 AS k, count(*) AS n, max(note) AS m FROM items GROUP BY 1 ORDER BY 1",
    "keys": "SELECT o.pk, i.id, i.note FROM orders o JOIN items i ON i.order_id = o.order_id ORDER BY 1, 2",
}
"""Rows as they come, rows that the engine groups, and a join that sends keys first."""


@dataclass
class World:
    """One kind of server with `items` in it, seen through a proxy."""

    kind: str
    server: PostgresServer | MariaDBServer
    database: str
    proxy: CountingProxy
    folder: Path

    @property
    def uri(self) -> str:
        return self.proxy.uri

    def tables(self, connection: str = "far") -> dict[str, Any]:
        return {
            "items": {"connection": connection, "connector_type": self.kind, "table": PHYSICAL},
            "orders": {"connector_type": "parquet", "path": str(self.folder / "orders.parquet")},
        }

    def impatient_context(self) -> AbstractContextManager[VirtualContext]:
        """A context that soon gives a silent server up."""
        return self.context(connect_timeout=PATIENCE, read_timeout=PATIENCE)

    @contextmanager
    def context(self, **options: Any) -> Iterator[VirtualContext]:
        """A context over the proxy; afterwards nothing of it is left at the server."""
        far = {"type": self.kind, "uri": self.uri, **options}
        with VirtualContext({"connections": {"far": far}, "virtual_tables": self.tables()}) as ctx:
            yield ctx
            self.proxy.heal()
        eventually(lambda: self.connections() == 0)
        assert self.temporary_tables() == 0

    def connections(self) -> int:
        """Connections of ours that the server has."""
        if isinstance(self.server, MariaDBServer):
            # Its own is the one that asks.
            return len(self.server.execute("SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'tauro'")) - 1
        return self._one("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tauro_nb%'")

    def running(self) -> int:
        """Statements of ours that it works on."""
        if isinstance(self.server, MariaDBServer):
            sql = (
                "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE '%tauro\\_nb%' AND ID <> CONNECTION_ID()"
            )
            return len(self.server.execute(sql))
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tauro_nb%' AND state = 'active'"
        return self._one(sql)

    def temporary_tables(self) -> int:
        if isinstance(self.server, MariaDBServer):
            sql = "SELECT 1 FROM information_schema.INNODB_SYS_TABLES WHERE NAME LIKE 'tmp/%' OR NAME LIKE '%#sql%'"
            return len(self.server.execute(sql))
        return self._one("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")

    def _one(self, sql: str) -> int:
        assert isinstance(self.server, PostgresServer)
        with psycopg.connect(self.server.uri(self.database), autocommit=True) as connection:
            found = connection.execute(sql.encode()).fetchone()
        assert found is not None
        return int(found[0])


def eventually(holds: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until it holds; fail when it does not."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def fill(kind: str, server: PostgresServer | MariaDBServer) -> str:
    """Make a database with `items`; returns its name."""
    name = server.create_database()
    columns = ", ".join(f"{part} AS {column}" for column, part in _ITEM.items()).format(value=VALUE)
    if kind == "postgresql":
        server.execute(f"CREATE TABLE {PHYSICAL} AS SELECT {columns} FROM generate_series(0, {ROWS - 1}) s(i)", name)
    else:
        integers = columns.replace("i / 4", "i DIV 4")
        server.execute(
            f"CREATE TABLE {PHYSICAL} AS SELECT {integers} FROM (SELECT seq AS i FROM seq_0_to_{ROWS - 1}) s", name
        )
    server.execute(f"CREATE INDEX by_order ON {PHYSICAL} (order_id)", name)
    server.execute("ANALYZE" if kind == "postgresql" else f"ANALYZE TABLE {PHYSICAL}", name)
    return name


def answers() -> Mapping[str, list[tuple[Any, ...]]]:
    """What plain DuckDB says of the same rows, sorted."""
    columns = ", ".join(f"{part} AS {column}" for column, part in _ITEM.items()).format(value=VALUE)
    with duckdb.connect() as plain:
        plain.execute(f"CREATE TABLE items AS SELECT {columns.replace('i / 4', 'i // 4')} FROM range({ROWS}) t(i)")
        plain.execute(f"CREATE TABLE orders AS {ORDERS}")
        return {name: sorted(plain.execute(sql).fetchall()) for name, sql in QUERIES.items()}


def rows(ctx: VirtualContext, name: str) -> list[tuple[Any, ...]]:
    """All rows of one of the queries, sorted."""
    table = ctx.query(QUERIES[name]).to_arrow()
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def refused(ctx: VirtualContext, run: Callable[[], Any], error: type[TauroError], pattern: str) -> TauroError:
    """The one error: of this very class, without secrets or values, with one record of its own and nothing returned."""
    before = len(ctx.audit_logs())
    with pytest.raises(error, match=pattern) as caught:
        run()
    failure = caught.value
    assert type(failure) is error
    assert failure.__cause__ is None
    shown = "\n".join([str(failure), *failure._render_traceback_()])
    secrets = [PASSWORD, PHYSICAL, VALUE, "127.0.0.1", "postgresql://", "mysql://", "~raw", "SELECT id"]
    assert [secret for secret in secrets if secret in shown] == []
    records = ctx.audit_logs()[before:]
    # One for each table of the query.
    assert len({record.query_id for record in records}) == 1, records
    assert {record.status for record in records} == {"CANCELLED" if error is QueryCancelled else "FAILED"}
    assert VALUE not in json.dumps([record.to_dict() for record in records])
    return failure
