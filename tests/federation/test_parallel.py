"""Many keys are shared out over several connections to a server, which see one moment of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.proxy import CountingProxy, Wire
from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError, SourceUnavailable, TauroError
from tests.federation.test_ahead import kept
from tests.federation.test_cancel import WITHIN, interrupted_after
from tests.servers import PostgresServer

# Enough for two connections also where the machine is busy and answers late; with more processors there are more.
KEYS = [*range(0, 144_000, 12), None, 36, 36, 700_000]
GIVEN = {"given": pa.table({"k": pa.array(KEYS, type=pa.int64())})}
SQL = "SELECT g.k, n.pk, n.moment, n.note FROM given g JOIN numbers n ON n.id = g.k"
RIGHT = sorted((k, pk) for k in KEYS if k is not None and k < 150_000 for pk in (2 * k, 2 * k + 1))
LAST = 143_988
FAILING = "SELECT g.k, n.whole, n.note FROM given g JOIN numbers n ON n.id = g.k"
TABLE = (
    "CREATE TABLE numbers (pk int, id int, name text, price numeric(12,2), note text, moment int)",
    # Computing it fails for one row.
    f"ALTER TABLE numbers ADD COLUMN whole int GENERATED ALWAYS AS (1 / (id - {LAST})) VIRTUAL",
    "INSERT INTO numbers "  # noqa: ISC004
    "SELECT i, i / 2, 'text ' || (i / 2), i * 0.25, repeat('x', 100), 0 FROM generate_series(0, 299999) i",
    "CREATE INDEX ON numbers (id)",
    "ANALYZE",
)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    for statement in (*TABLE, f"ALTER DATABASE \"{name}\" SET log_statement = 'all'"):
        postgres_server.execute(statement, name)
    yield postgres_server.uri(name)
    postgres_server.drop_database(name)


@contextmanager
def context(uri: str, direct: str | None = None, **options: Any) -> Iterator[VirtualContext]:
    """A context, of which no connection is left; `direct` is the way to the server when `uri` is a long one."""
    tables = {"numbers": {"connection": "pg", "table": "numbers"}}
    config = {"connections": {"pg": {"type": "postgresql", "uri": uri, **options}}, "virtual_tables": tables}
    with VirtualContext(config) as ctx:
        yield ctx
        assert kept(ctx) == 0
    # Every connection is given back, and closed.
    deadline = time.monotonic() + 10
    while ours(direct or uri, "true") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ours(direct or uri, "true") == []


@pytest.fixture
def ctx(database: str) -> Iterator[VirtualContext]:
    with context(database) as made:
        yield made


def answer(ctx: VirtualContext, sql: str = SQL, given: dict[str, Any] = GIVEN) -> list[tuple[Any, ...]]:
    found = ctx.query(sql, frames=given).to_arrow()
    return sorted(zip(*(found[name].to_pylist() for name in found.column_names[:2]), strict=True))


def ours(uri: str, condition: str) -> list[int]:
    """Server processes of the engine's connections."""
    with psycopg.connect(uri, autocommit=True) as watcher:
        found = watcher.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            f" AND application_name LIKE 'tauro_nb%' AND {condition}".encode()
        ).fetchall()
    return [row[0] for row in found]


def waiting(uri: str) -> list[int]:
    return ours(uri, "wait_event_type = 'Lock'")


class Log:
    """What the server is asked from now on."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._start = len(server.log())

    def asked(self) -> list[list[str]]:
        """The keys that each statement asks for."""
        lines = self._server.log()[self._start :].splitlines()
        found = [re.search(r"statement: COPY .*= ANY\('\{([^}]*)\}", line) for line in lines]
        return [match.group(1).split(",") for match in found if match is not None]

    def adopted(self) -> int:
        return self._server.log()[self._start :].count("SET TRANSACTION SNAPSHOT")


@contextmanager
def locked(uri: str, table: str = "numbers") -> Iterator[Any]:
    with psycopg.connect(uri) as holder:
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield holder
        holder.rollback()


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except TauroError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


SHARED = {
    "rows": SQL,
    "grouped at the source": "SELECT g.k, n.n FROM given g JOIN (SELECT id, max(note) AS n FROM numbers GROUP BY id) n "
    "ON n.id = g.k",
    "a left join": "SELECT g.k, n.pk, n.note FROM given g LEFT JOIN numbers n ON n.id = g.k",
    "decimals": "SELECT g.k, n.pk, n.note FROM (SELECT k, (k * 0.25)::DECIMAL(12,2) AS p FROM given) g JOIN numbers n "
    "ON n.price = g.p",
    "two keys": "SELECT g.k, n.pk, n.note FROM given g JOIN numbers n ON n.id = g.k AND n.pk = g.k * 2",
}


@pytest.mark.parametrize("sql", SHARED.values(), ids=SHARED)
def test_every_key_is_asked_for_once(ctx: VirtualContext, postgres_server: PostgresServer, sql: str) -> None:
    log = Log(postgres_server)
    result = ctx.query(sql, frames=GIVEN)
    found = result.to_arrow()
    asked = log.asked()
    assert len(asked) >= 2
    assert log.adopted() == len(asked) - 1
    keys = [key for part in asked for key in part]
    assert len(keys) == len(set(keys))
    assert result.stats.keys_shipped >= len(keys) == len({key for key in KEYS if key is not None})
    with VirtualContext({"virtual_tables": {}}) as plain:
        numbers = pa.table(
            {
                "pk": range(300_000),
                "id": [i // 2 for i in range(300_000)],
                "price": pa.array([i * 0.25 for i in range(300_000)]).cast(pa.decimal128(12, 2)),
                "note": ["x" * 100] * 300_000,
                "moment": [0] * 300_000,
            }
        )
        right = plain.query(sql, frames={**GIVEN, "numbers": numbers}).to_arrow()
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, right.to_pylist()))
    assert found.num_rows > len(KEYS) / 2


def test_they_are_asked_at_the_same_time(ctx: VirtualContext, database: str) -> None:
    assert answer(ctx) == RIGHT
    with locked(database):
        thread, found = in_thread(lambda: answer(ctx))
        until(lambda: len(waiting(database)) >= 2)
    thread.join()
    assert found == [RIGHT]


def test_they_see_one_moment(database: str, postgres_server: PostgresServer) -> None:
    """Over a way on which the second begins well after the first, while somebody writes without a pause."""
    many = {"given": pa.table({"k": range(0, 144_000, 4)})}
    ended = threading.Event()

    def write() -> None:
        with psycopg.connect(database, autocommit=True) as writer:
            while not ended.is_set():
                writer.execute("UPDATE numbers SET moment = moment + 1 WHERE id = 0 OR id = %s", [LAST])

    writer = threading.Thread(target=write)
    with CountingProxy(database, Wire(delay=0.004)) as proxy, context(proxy.uri, database) as ctx:
        log = Log(postgres_server)
        writer.start()
        try:
            for _ in range(3):
                found = ctx.query(SQL, frames=many).to_arrow()
                ends = found.filter(pc.is_in(found["k"], pa.array([0, LAST])))
                assert len(ends) == 4
                assert len(set(ends["moment"].to_pylist()) - {0}) == 1
        finally:
            ended.set()
            writer.join()
        assert log.adopted() >= 3


def test_a_share_that_fails_is_the_one_error(ctx: VirtualContext, database: str) -> None:
    with pytest.raises(ExecutionError, match="`pg` could not compute this") as caught:
        answer(ctx, FAILING)
    assert "division" not in str(caught.value)
    assert {record.status for record in ctx.audit_logs()[-1:]} == {"FAILED"}
    until(lambda: ours(database, "state = 'active'") == [])
    assert kept(ctx) == 0
    few = {"given": GIVEN["given"].slice(0, 11_990)}
    assert len(answer(ctx, FAILING, few)) == 23_980
    assert answer(ctx) == RIGHT


@pytest.mark.parametrize("lost", [0, 1])
def test_a_connection_that_is_lost_is_the_one_error(ctx: VirtualContext, database: str, lost: int) -> None:
    assert answer(ctx) == RIGHT
    with locked(database) as holder:
        thread, found = in_thread(lambda: answer(ctx))
        until(lambda: len(waiting(database)) >= 2)
        killed = sorted(waiting(database))[lost]
        holder.execute("SELECT pg_terminate_backend(%s)", [killed])
        until(lambda: killed not in waiting(database))
    thread.join()
    assert [type(one) for one in found] == [SourceUnavailable]
    assert "`pg`" in str(found[0])
    assert answer(ctx) == RIGHT


def test_all_are_cancelled(ctx: VirtualContext, database: str) -> None:
    assert answer(ctx) == RIGHT
    with locked(database):
        seen = interrupted_after(lambda: len(waiting(database)) >= 2, lambda: answer(ctx))
        assert seen < WITHIN
        assert waiting(database) == []
    assert answer(ctx) == RIGHT


@pytest.mark.parametrize(("size", "most"), [(1, 1), (2, 2)])
def test_a_pool_is_not_exceeded(database: str, postgres_server: PostgresServer, size: int, most: int) -> None:
    with context(database, pool_size=size, pool_timeout=10) as ctx:
        log = Log(postgres_server)
        assert answer(ctx) == RIGHT
        assert len(log.asked()) == most
        with locked(database):
            thread, found = in_thread(lambda: answer(ctx))
            until(lambda: len(waiting(database)) == most)
            time.sleep(0.3)
            assert len(waiting(database)) == most
        thread.join()
        assert found == [RIGHT]


def test_those_that_others_have_are_not_waited_for(database: str, postgres_server: PostgresServer) -> None:
    with context(database, pool_size=2, pool_timeout=10) as ctx:
        (source,) = ctx.plan("SELECT pk FROM numbers").sources.values()
        log = Log(postgres_server)
        assert source.slots.take(1, patience=0.0)
        assert answer(ctx) == RIGHT
        assert len(log.asked()) == 1
        source.slots.give(1)
        for _ in range(3):
            assert answer(ctx) == RIGHT
        assert len(log.asked()) == 1 + 3 * 2


def test_they_are_given_back_when_one_fails(database: str) -> None:
    with context(database, pool_size=2, pool_timeout=10) as ctx:
        for _ in range(2):
            with pytest.raises(ExecutionError):
                answer(ctx, FAILING)
        (source,) = ctx.plan("SELECT pk FROM numbers").sources.values()
        until(lambda: source.slots.take(2, patience=0.0))
        source.slots.give(2)


def test_a_server_that_has_no_more_connections(database: str, postgres_server: PostgresServer) -> None:
    """One for small questions, two for the scanner: its own and, for the shares, the first of two."""
    name = f"few_{database.rpartition('/')[2]}"
    postgres_server.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 3 PASSWORD 'few'")
    postgres_server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}", database.rpartition("/")[2])
    try:
        log = Log(postgres_server)
        uri = postgres_server.uri(database.rpartition("/")[2], user=name, password="few")
        with context(uri) as ctx:
            assert answer(ctx) == RIGHT
        assert len(log.asked()) == 1
        assert log.adopted() == 0
    finally:
        postgres_server.execute(f"DROP OWNED BY {name}", database.rpartition("/")[2])
        postgres_server.execute(f"DROP ROLE {name}")


def test_texts_are_not_shared_out(ctx: VirtualContext, postgres_server: PostgresServer) -> None:
    """Two of them may be equal there: rows would come with either."""
    words = {"given": pa.table({"k": [f"text {key}" for key in KEYS[:12_000]]})}
    log = Log(postgres_server)
    assert len(answer(ctx, "SELECT g.k, n.pk, n.note FROM given g JOIN numbers n ON n.name = g.k", words)) == 24_000
    assert len(log.asked()) == 1


def test_what_is_measured_is_read_one_after_the_other(ctx: VirtualContext, postgres_server: PostgresServer) -> None:
    log = Log(postgres_server)
    assert ctx.query(SQL, frames=GIVEN, max_bytes="1GB").to_arrow().num_rows == len(RIGHT)
    assert len(log.asked()) == 1
