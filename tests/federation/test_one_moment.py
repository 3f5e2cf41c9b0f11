"""What a query reads of one PostgreSQL is of one moment, however many statements it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.engine.moments import read_twice
from tauro_nb.errors import SourceUnavailable
from tauro_nb.query.plan import whole
from tests.federation.test_parallel import ours, until
from tests.servers import PostgresServer

GIVEN = {"given": pa.table({"k": pa.array(range(0, 40_000, 4), type=pa.int64())})}
# DuckDB's distance between texts is no function of PostgreSQL's, so that each table comes by itself.
APART = "levenshtein({0}.k::VARCHAR, '0') = 0"
SMALL = f"SELECT a.v, b.v AS w FROM a JOIN b ON a.k = b.k WHERE {APART.format('a')} AND {APART.format('b')}"
KEYED = f"SELECT a.v, b.v AS w FROM given g JOIN b ON b.k = g.k JOIN a ON a.k = b.k WHERE {APART.format('a')}"
TABLES = (
    "CREATE TABLE a AS SELECT i AS k, 0 AS v FROM generate_series(0, 5) i",
    "CREATE TABLE b AS SELECT i::bigint AS k, 0 AS v, repeat('x', 80) AS note FROM generate_series(0, 199999) i",
    "CREATE INDEX ON b (k)",
    "ANALYZE",
)


@pytest.fixture(scope="module")
def uri(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    for statement in TABLES:
        postgres_server.execute(statement, name)
    yield postgres_server.uri(name)
    postgres_server.drop_database(name)


@contextmanager
def context(uri: str, **options: int) -> Iterator[VirtualContext]:
    tables = {name: {"connection": "pg", "table": name} for name in ("a", "b")}
    connection = {"type": "postgresql", "uri": uri, **options}
    with VirtualContext({"connections": {"pg": connection}, "virtual_tables": tables}) as ctx:
        yield ctx


@contextmanager
def changing(uri: str) -> Iterator[None]:
    """Somebody who changes both tables together, again and again."""
    stop = threading.Event()

    def change() -> None:
        with psycopg.connect(uri) as connection:
            while not stop.is_set():
                connection.execute("UPDATE a SET v = v + 1 WHERE k = 0")
                connection.execute("UPDATE b SET v = v + 1 WHERE k = 0")
                connection.commit()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(("sql", "frames"), [(SMALL, {}), (KEYED, GIVEN)], ids=["settled", "keys"])
def test_all_statements_see_one_moment(uri: str, sql: str, frames: dict[str, pa.Table]) -> None:
    with context(uri) as ctx, changing(uri):
        assert list(read_twice(whole(ctx.query(sql, frames=frames).plan))) == ["pg"]
        rows = [row for _ in range(25) for row in ctx.query(sql, frames=frames).rows()]
    assert len(rows) == 25
    assert [row for row in rows if row["v"] != row["w"]] == []
    # They are of different moments, one from the other.
    assert len({row["v"] for row in rows}) > 1


def test_a_server_that_is_asked_once_holds_nothing(uri: str) -> None:
    with context(uri) as ctx:
        plan = whole(ctx.query("SELECT b.v FROM given g JOIN b ON b.k = g.k", frames=GIVEN).plan)
        assert plan.steps
        assert read_twice(plan) == {}


def test_nobody_holds_a_moment_longer_than_it_takes_to_begin(uri: str) -> None:
    with context(uri) as ctx:
        result = ctx.query(KEYED.replace("a.k = b.k", "a.k <= b.k"), frames=GIVEN)
        batches = iter(result.to_batches())
        assert next(batches).num_rows
        exporting = "query LIKE '%pg_export_snapshot%' AND state LIKE 'idle in transaction%'"
        assert (list(read_twice(whole(result.plan))), ours(uri, exporting)) == (["pg"], [])
        del result, batches
        until(lambda: ours(uri, "state <> 'idle'") == [])


def test_with_one_connection_it_is_read_all_the_same(uri: str) -> None:
    with context(uri, pool_size=1) as ctx:
        assert [row["v"] == row["w"] for row in ctx.query(SMALL).rows()] == [True]


def test_a_server_without_snapshots_is_read_all_the_same(postgres_server: PostgresServer) -> None:
    name = postgres_server.create_database()
    for statement in (*TABLES, "REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM public"):
        postgres_server.execute(statement, name)
    postgres_server.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'", name)
    postgres_server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain", name)
    address = postgres_server.uri(name)
    try:
        with psycopg.connect(address) as connection:
            info = connection.info
            there = f"postgresql://plain:plain@{info.host}:{info.port}/{name}"
        with context(there) as ctx:
            assert [row["v"] == row["w"] for row in ctx.query(SMALL).rows()] == [True]
            assert ctx.query(KEYED, frames=GIVEN).rows() == [{"v": 0, "w": 0}]
    finally:
        postgres_server.drop_database(name)
        postgres_server.execute("DROP ROLE plain")


def test_slots_are_given_back(uri: str) -> None:
    with context(uri, pool_size=2, pool_timeout=1) as ctx:
        for _ in range(5):
            assert len(ctx.query(SMALL).rows()) == 1
        held = iter(ctx.query("SELECT k FROM b").to_batches())
        next(held)
        with pytest.raises(SourceUnavailable, match="busy"):
            ctx.query(SMALL)
        del held
        assert len(ctx.query(SMALL).rows()) == 1
