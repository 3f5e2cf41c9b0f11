"""Queries share the connections that a server gives them: they queue, and none waits for what another waits with."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ConfigError, QueryCancelled, SourceUnavailable, TauroError, UsageError
from tauro_nb.sources.slots import Slots
from tests.mariadb import MariaDBServer
from tests.servers import PostgresServer

TABLES = 5
ROWS = 4_000
# No source is given a join on this, and so the query reads each table by itself.
SQL = "SELECT count(*) AS n, sum(t0.id + t4.id)::BIGINT AS s FROM t0 " + " ".join(
    f"JOIN t{number} ON md5(t{number}.name) = md5(t0.name)" for number in range(1, TABLES)
)
RIGHT = [{"n": ROWS, "s": ROWS * (ROWS + 1)}]

Count = Callable[[], int]
Place = tuple[dict[str, Any], Count]


@pytest.fixture(scope="module")
def postgresql(postgres_server: PostgresServer) -> Iterator[Place]:
    name = postgres_server.create_database()
    for number in range(TABLES):
        rows = f"SELECT i AS id, 'name ' || i AS name FROM generate_series(1, {ROWS}) t(i)"
        postgres_server.execute(f"CREATE TABLE t{number} AS {rows}", name)
    postgres_server.execute("ANALYZE", name)
    uri = postgres_server.uri(name)
    with psycopg.connect(postgres_server.uri(), autocommit=True) as watching:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        yield {"type": "postgresql", "uri": uri}, lambda: watching.execute(count, [name]).fetchall()[0][0]
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def mariadb(mariadb_server: MariaDBServer) -> Iterator[Place]:
    name = mariadb_server.create_database()
    for number in range(TABLES):
        rows = f"SELECT seq AS id, concat('name ', seq) AS name FROM seq_1_to_{ROWS}"
        mariadb_server.execute(f"CREATE TABLE t{number} AS {rows}", name)
    with mariadb_server.connect() as watching:

        def connections() -> int:
            with watching.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM information_schema.PROCESSLIST WHERE DB = %s", [name])
                found: int = (cursor.fetchone() or (0,))[0]
                return found

        yield {"type": "mysql", "uri": mariadb_server.uri(name)}, connections
    mariadb_server.drop_database(name)


@contextlib.contextmanager
def _context(place: Place, limits: dict[str, Any] | None = None, **options: Any) -> Iterator[VirtualContext]:
    table = {"connector_type": place[0]["type"], "connection": "there"}
    config = {
        "connections": {"there": {**place[0], **options}},
        "virtual_tables": {f"t{number}": {**table, "table": f"t{number}"} for number in range(TABLES)},
        **({} if limits is None else {"limits": limits}),
    }
    with VirtualContext(config) as ctx:
        yield ctx


def _ask_at_once(ctx: VirtualContext, count: Count, people: int) -> int:
    """Let so many ask at the same time; the most connections that were seen."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(ctx.query(SQL).rows())
        except TauroError as error:
            found.append(str(error))

    asking, most = [threading.Thread(target=ask) for _ in range(people)], 0
    for thread in asking:
        thread.start()
    while any(thread.is_alive() for thread in asking):
        most = max(most, count())
        time.sleep(0.01)
    assert Counter(map(repr, found)) == {repr(RIGHT): people}
    return most


CASES = [(1, None), (1, {"max_bytes": "1GB"}), (2, {"max_bytes": "1GB"}), (8, {"max_bytes": "1GB"})]


@pytest.mark.parametrize(("size", "limits"), CASES)
def test_more_fragments_and_people_than_connections(
    postgresql: Place, size: int, limits: dict[str, Any] | None
) -> None:
    with _context(postgresql, limits, pool_size=size, read_timeout=2) as ctx:
        assert len(ctx.plan(SQL).fragments) == TABLES
        # One more is for small questions to the server's catalog.
        assert _ask_at_once(ctx, postgresql[1], 16) <= size + 1


@pytest.mark.mariadb
@pytest.mark.parametrize(("size", "limits"), [(1, None), (2, {"max_bytes": "1GB"})])
def test_the_same_of_mariadb(mariadb: Place, size: int, limits: dict[str, Any] | None) -> None:
    with _context(mariadb, limits, pool_size=size) as ctx:
        assert _ask_at_once(ctx, mariadb[1], 8) <= size + 1


def test_eight_without_being_told(postgresql: Place) -> None:
    with _context(postgresql) as ctx:
        assert _ask_at_once(ctx, postgresql[1], 16) <= 8 + 1


def test_what_is_counted_one_after_the_other_is_counted_right(postgresql: Place) -> None:
    with _context(postgresql, pool_size=1) as ctx:
        measured = ctx.analyze(SQL).measured
        assert measured is not None
        assert {part: traffic.rows for part, traffic in measured.fragments.items()} == {
            f"f{number}": ROWS for number in range(TABLES)
        }


def test_a_result_that_is_left_open_is_waited_for_so_long(postgresql: Place) -> None:
    with _context(postgresql, pool_size=1, pool_timeout=0.5) as ctx:
        open_one = ctx.query("SELECT * FROM t0").to_batches()
        open_one.read_next_batch()
        with pytest.raises(SourceUnavailable, match="all connections that `there` may have are busy"):
            ctx.query("SELECT count(*) AS n FROM t1").rows()
        open_one.close()
        del open_one
        assert ctx.query("SELECT count(*) AS n FROM t1").rows() == [{"n": ROWS}]


def test_first_come_first_served() -> None:
    slots, order = Slots(2), []
    assert slots.take(2, patience=0.0)

    def work(number: int) -> None:
        slots.take(number, patience=10.0)
        order.append(number)

    waiting = []
    for number in (2, 1):
        waiting.append(threading.Thread(target=work, args=(number,)))
        waiting[-1].start()
        time.sleep(0.05)
    slots.give(1)
    time.sleep(0.2)
    assert order == [], "the second, who needs less, does not overtake"
    slots.give(1)
    waiting[0].join()
    assert order == [2]
    slots.give(2)
    waiting[1].join()
    assert order == [2, 1]


def test_who_waits_can_be_stopped() -> None:
    slots = Slots(1)
    assert slots.take(1, patience=0.0)
    with pytest.raises(QueryCancelled):
        slots.take(1, patience=10.0, stopped=lambda: True)
    slots.give(1)
    assert slots.take(1, patience=0.0), "a place in the queue is not kept"


def test_a_pool_has_room(postgresql: Place) -> None:
    with pytest.raises((UsageError, ConfigError), match="pool_size"), _context(postgresql, pool_size=0) as ctx:
        ctx.query("SELECT count(*) AS n FROM t0").rows()
