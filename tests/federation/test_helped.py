"""A server's own processes share what it joins for long; where it must not be asked for that, it joins all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError, SourceUnavailable
from tests.federation.test_parallel import in_thread, locked, until, waiting
from tests.servers import PostgresServer

KEYS = range(0, 200_000, 2)
FRAMES = {"given": pa.table({"k": pa.array(KEYS, type=pa.int64())})}
SQL = (
    "SELECT g.k, l.name, n.{} AS note FROM given g JOIN numbers n ON n.id = g.k JOIN labels l ON n.label = l.id "
    "WHERE l.name = 'label 3' ORDER BY g.k"
)
RIGHT = [{"k": k, "name": "label 3", "note": "x" * 60} for k in KEYS if k % 11 == 3]
TABLES = (
    "CREATE TABLE labels AS SELECT i AS id, 'label ' || i AS name FROM generate_series(0, 10) i",
    # Computing the last fails for one row.
    "CREATE TABLE numbers (id int, label int, note text, broken int GENERATED ALWAYS AS (1 / (id - 110003)) VIRTUAL)",
    "INSERT INTO numbers SELECT i, i % 11, repeat('x', 60) FROM generate_series(0, 199999) i",
    "ANALYZE",
)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    # A table that is small enough for a test is not worth starting processes.
    for statement in (*TABLES, f'ALTER DATABASE "{name}" SET parallel_setup_cost = 0'):
        postgres_server.execute(statement, name)
    yield name
    postgres_server.drop_database(name)


@contextmanager
def context(uri: str) -> Iterator[VirtualContext]:
    tables = {name: {"connection": "pg", "table": name} for name in ("numbers", "labels")}
    with VirtualContext({"connections": {"pg": {"type": "postgresql", "uri": uri}}, "virtual_tables": tables}) as ctx:
        yield ctx


def helpers(uri: str) -> int:
    with psycopg.connect(uri, autocommit=True) as watcher:
        found = watcher.execute(
            "SELECT sum(parallel_workers_launched) FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_what_is_joined_for_long_is_shared(postgres_server: PostgresServer, database: str) -> None:
    uri = postgres_server.uri(database)
    before = helpers(uri)
    with context(uri) as ctx:
        assert ctx.query(SQL.format("note"), frames=FRAMES).rows() == RIGHT
    until(lambda: helpers(uri) > before)


def test_an_error_leaves_nothing_behind(postgres_server: PostgresServer, database: str) -> None:
    with context(postgres_server.uri(database)) as ctx:
        for _ in range(2):
            with pytest.raises(ExecutionError):
                ctx.query(SQL.format("broken"), frames=FRAMES)
            assert ctx.query(SQL.format("note"), frames=FRAMES).rows() == RIGHT


def test_a_connection_that_is_lost_while_it_works(postgres_server: PostgresServer, database: str) -> None:
    uri = postgres_server.uri(database)
    with context(uri) as ctx:
        assert ctx.query(SQL.format("note"), frames=FRAMES).rows() == RIGHT
        with locked(uri, "labels"):
            asking, found = in_thread(lambda: ctx.query(SQL.format("note"), frames=FRAMES))
            until(lambda: waiting(uri) != [])
            for process in waiting(uri):
                postgres_server.execute(f"SELECT pg_terminate_backend({process})")
            asking.join()
        assert [type(error) for error in found] == [SourceUnavailable]
        assert ctx.query(SQL.format("note"), frames=FRAMES).rows() == RIGHT


def test_a_server_that_lets_nobody_set_anything(postgres_server: PostgresServer, database: str) -> None:
    for statement in (
        "CREATE ROLE bound LOGIN PASSWORD 'bound'",
        "GRANT SELECT ON numbers, labels TO bound",
        "REVOKE EXECUTE ON FUNCTION set_config(text, text, boolean) FROM PUBLIC",
    ):
        postgres_server.execute(statement, database)
    try:
        with context(postgres_server.uri(database, user="bound", password="bound")) as ctx:
            assert ctx.query(SQL.format("note"), frames=FRAMES).rows() == RIGHT
        assert "permission denied for function set_config" in postgres_server.log()
    finally:
        postgres_server.execute("GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO PUBLIC", database)
        postgres_server.execute("DROP OWNED BY bound; DROP ROLE bound", database)
