"""A result that nobody reads to its end: nothing reads on, neither at the server nor in a thread of this process."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.engine.gate import Gate
from tauro_nb.engine.handed import HandedStreams
from tauro_nb.errors import TauroError
from tests.mariadb import MariaDBServer

# Far more than the buffers on the way hold, so that the server still sends when the rows are dropped.
LONG = {"connection": "pg", "query": "SELECT i AS id, repeat('x', 200) AS text FROM generate_series(1, 1000000) t(i)"}
LIMITS = pytest.mark.parametrize("max_bytes", [None, "10GB"], ids=["streamed", "counted"])


def config(places: dict[str, Any]) -> dict[str, Any]:
    return {"connections": {"pg": places["connections"]["pg"]}, "virtual_tables": {"long": LONG}}


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is only let go because Python collects garbage is not let go."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@LIMITS
@pytest.mark.usefixtures("without_collector")
def test_the_server_is_left_alone(places: dict[str, Any], max_bytes: str | None) -> None:
    with psycopg.connect(places["connections"]["pg"]["uri"], autocommit=True) as watcher:

        def sending() -> bool:
            found = watcher.execute(
                "SELECT 1 FROM pg_stat_activity WHERE query ILIKE '%generate_series%' "
                "AND state <> 'idle' AND pid <> pg_backend_pid()"
            )
            return found.fetchone() is not None

        with VirtualContext(config(places)) as ctx:
            batches = iter(ctx.query("SELECT * FROM long", max_bytes=max_bytes).to_batches())
            assert next(batches).num_rows > 0
            assert sending()
            del batches
            deadline = time.monotonic() + 10
            while sending() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not sending()


ENDS: dict[str, Callable[[VirtualContext], object]] = {
    "read": lambda ctx: ctx.query("SELECT count(*) AS n FROM long", max_bytes="10GB").rows(),
    "limited": lambda ctx: ctx.query("SELECT id FROM long LIMIT 3", max_bytes="10GB").rows(),
    "dropped": lambda ctx: next(iter(ctx.query("SELECT * FROM long", max_bytes="10GB").to_batches())),
    "failed here": lambda ctx: ctx.query("SELECT CAST(text AS INTEGER) FROM long", max_bytes="10GB").rows(),
    "failed there": lambda ctx: ctx.query("SELECT id, bad FROM failing", max_bytes="10GB").rows(),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.usefixtures("without_collector")
def test_nothing_keeps_a_stream(places: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A thread of Arrow's that asks for rows while Python ends never comes back, and Arrow waits for it for ever."""
    given: list[HandedStreams] = []
    made = HandedStreams.__init__

    def noted(self: HandedStreams, gate: Gate) -> None:
        made(self, gate)
        given.append(self)

    monkeypatch.setattr(HandedStreams, "__init__", noted)
    failing = "SELECT i AS id, 1 / (i - 150000) AS bad FROM generate_series(1, 200000) t(i)"
    tables = {"long": LONG, "failing": {"connection": "pg", "query": failing}}
    with VirtualContext({**config(places), "virtual_tables": tables}) as ctx:
        failed = None
        try:
            ENDS[name](ctx)
        except TauroError as error:
            failed = error
        assert (failed is not None) == name.startswith("failed")
        assert given
        assert all(streams.wait(0.0) for streams in given)


@LIMITS
def test_python_ends_in_peace(places: dict[str, Any], max_bytes: str | None) -> None:
    program = (
        "from tauro_nb.context import VirtualContext\n"
        f"with VirtualContext({config(places)!r}) as ctx:\n"
        f"    batches = iter(ctx.query('SELECT * FROM long', max_bytes={max_bytes!r}).to_batches())\n"
        "    print(next(batches).num_rows > 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


# So much that reading the rest of it takes far longer than a second.
HUGE = "SELECT i AS id, repeat('x', 200) AS text FROM (SELECT generate_series(1, 20000000) AS i) t"
HUGE_THERE = "SELECT seq AS id, repeat('x', 200) AS text FROM seq_1_to_20000000"
BESIDE = "SELECT count(*) AS n FROM beside"
WITHIN = 1.0


def _wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _dropped_beside(
    ctx: VirtualContext,
    max_bytes: str | None,
    working: Callable[[], bool],
    lock: Callable[[], contextlib.AbstractContextManager[Callable[[], bool]]],
) -> float:
    """Seconds from dropping a result until the server stopped working on it, while another query waits for a lock."""
    right, found = ctx.query(BESIDE).rows(), []
    ctx.plan("SELECT * FROM long")
    with lock() as waits:
        thread = threading.Thread(target=lambda: found.append(ctx.query(BESIDE).rows()))
        thread.start()
        _wait_for(waits)
        batches = iter(ctx.query("SELECT * FROM long", max_bytes=max_bytes).to_batches())
        assert next(batches).num_rows > 0
        assert working()
        started = time.monotonic()
        del batches
        _wait_for(lambda: not working())
        taken = time.monotonic() - started
        assert waits()
    thread.join()
    assert found == [right]
    # Its connection is free again, and works.
    assert ctx.query("SELECT id FROM long LIMIT 1").rows() == [{"id": 1}]
    return taken


@LIMITS
@pytest.mark.usefixtures("without_collector")
def test_the_server_stops_at_once_and_others_go_on(places: dict[str, Any], max_bytes: str | None) -> None:
    tables = {
        "long": {"connection": "pg", "query": HUGE},
        "beside": {"connector_type": "postgresql", "connection": "pg", "table": "notes"},
    }
    uri = places["connections"]["pg"]["uri"]
    with psycopg.connect(uri, autocommit=True) as watcher, psycopg.connect(uri) as holder:

        def working() -> bool:
            asked = (
                "SELECT 1 FROM pg_stat_activity WHERE query ILIKE '%generate_series%' AND state = 'active' "
                "AND pid <> pg_backend_pid()"
            )
            return watcher.execute(asked).fetchone() is not None

        @contextlib.contextmanager
        def locked() -> Iterator[Callable[[], bool]]:
            holder.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
            yield lambda: watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None
            holder.rollback()

        with VirtualContext({**config(places), "virtual_tables": tables}) as ctx:
            assert _dropped_beside(ctx, max_bytes, working, locked) < WITHIN


@pytest.mark.mariadb
@LIMITS
@pytest.mark.usefixtures("without_collector")
def test_the_same_of_mariadb(mariadb_server: MariaDBServer, max_bytes: str | None) -> None:
    name = mariadb_server.create_database()
    mariadb_server.execute("CREATE TABLE beside AS SELECT seq AS id FROM seq_1_to_100", name)
    tables = {
        "long": {"connection": "maria", "query": HUGE_THERE},
        "beside": {"connector_type": "mysql", "connection": "maria", "table": "beside"},
    }
    connections = {"maria": {"type": "mysql", "uri": mariadb_server.uri(name)}}

    def runs(what: str) -> bool:
        asked = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE {what} AND ID <> CONNECTION_ID()"
        return bool(mariadb_server.execute(asked))

    @contextlib.contextmanager
    def locked() -> Iterator[Callable[[], bool]]:
        with mariadb_server.connect(name) as holder, holder.cursor() as cursor:
            cursor.execute("LOCK TABLES beside WRITE")
            yield lambda: runs("STATE LIKE '%metadata lock%'")
            cursor.execute("UNLOCK TABLES")

    with VirtualContext({"connections": connections, "virtual_tables": tables}) as ctx:
        assert _dropped_beside(ctx, max_bytes, lambda: runs("INFO LIKE '%seq_1_to_20000000%'"), locked) < WITHIN
    mariadb_server.drop_database(name)
