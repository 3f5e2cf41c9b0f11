"""Small answers of two servers far away are fetched side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from benchmarks.proxy import CountingProxy, Wire
from tauro_nb.context import VirtualContext
from tauro_nb.errors import SourceUnavailable
from tests.federation.test_cancel import WITHIN, interrupted_after
from tests.servers import PostgresServer

SQL = "SELECT count(*) AS n, sum(x.id) AS s FROM a x JOIN b y ON x.id = y.id WHERE x.k < 6 AND y.k < 5"
RIGHT = [{"n": 10_000, "s": sum(i for i in range(20_000) if i % 10 < 5)}]


@pytest.fixture
def databases(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    names = {side: postgres_server.create_database() for side in "ab"}
    for name in names.values():
        postgres_server.execute(
            "CREATE TABLE t AS SELECT i AS id, i % 10 AS k FROM generate_series(0, 19999) s(i)", name
        )
        postgres_server.execute("ANALYZE t", name)
    yield {side: postgres_server.uri(name) for side, name in names.items()}
    for name in names.values():
        postgres_server.drop_database(name)


@pytest.fixture
def far(databases: dict[str, str]) -> Iterator[VirtualContext]:
    with ExitStack() as stack:
        proxies = {side: stack.enter_context(CountingProxy(uri, Wire(delay=0.004))) for side, uri in databases.items()}
        config = {
            "connections": {side: {"type": "postgresql", "uri": proxy.uri} for side, proxy in proxies.items()},
            "virtual_tables": {side: {"connection": side, "table": "t"} for side in proxies},
        }
        ctx = stack.enter_context(VirtualContext(config))
        # Known to be far once it was asked.
        assert ctx.query(SQL).rows() == RIGHT
        yield ctx


def kept(ctx: VirtualContext) -> int:
    """Tables that the engine holds for queries."""
    with ctx.layer.machine.engine.cursor([]) as cursor:
        (found,) = cursor.execute("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'memory'").fetchall()
    return int(found[0])


@contextmanager
def locked(uri: str) -> Iterator[Any]:
    with psycopg.connect(uri) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        yield holder
        holder.rollback()


def read_since(uri: str, moment: str) -> bool:
    """Whether the scanner asked for rows there."""
    with psycopg.connect(uri, autocommit=True) as watcher:
        found = watcher.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query_start > %s::timestamptz"
            " AND application_name LIKE 'tauro_nb%%' AND query ~ '^(COPY|COMMIT|DISCARD)'",
            [moment],
        ).fetchone()
    return found is not None and found[0] > 0


def now(uri: str) -> str:
    with psycopg.connect(uri, autocommit=True) as watcher:
        found = watcher.execute("SELECT clock_timestamp()::text").fetchone()
    assert found is not None
    return str(found[0])


def waits(uri: str) -> bool:
    with psycopg.connect(uri, autocommit=True) as watcher:
        found = watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return found is not None and found[0] > 0


@pytest.mark.parametrize("held", ["a", "b"])
def test_neither_waits_for_the_other(far: VirtualContext, databases: dict[str, str], held: str) -> None:
    other = databases["b" if held == "a" else "a"]
    with locked(databases[held]):
        plan = far.plan(SQL)
        moment = now(other)

        seen = []

        def both() -> bool:
            seen.append(waits(databases[held]) and read_since(other, moment))
            return seen[-1]

        assert interrupted_after(both, lambda: far.run(plan).to_arrow()) < WITHIN
        assert seen[-1]
        assert not waits(databases[held])
    assert far.query(SQL).rows() == RIGHT
    assert kept(far) == 0


def test_what_fails_ahead_is_an_error_of_the_query(
    far: VirtualContext, databases: dict[str, str], postgres_server: PostgresServer
) -> None:
    plan = far.plan(SQL)
    with locked(databases["a"]) as holder:
        holder.execute("DROP TABLE t")
        holder.commit()
    with pytest.raises(Exception, match=r"`a`") as caught:
        far.run(plan).to_arrow()
    assert not isinstance(caught.value, SourceUnavailable)
    name = databases["a"].rpartition("/")[2]
    postgres_server.execute("CREATE TABLE t AS SELECT i AS id, i % 10 AS k FROM generate_series(0, 19999) s(i)", name)
    postgres_server.execute("ANALYZE t", name)
    assert far.query(SQL).rows() == RIGHT
    assert kept(far) == 0
