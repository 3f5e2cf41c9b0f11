"""A result that nobody reads to its end: nothing reads on, neither at the server nor in a thread of this process."""

from __future__ import annotations

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
SLOW = "SELECT 1 AS id, 'slow' AS text FROM pg_sleep(4)"
SLOW_THERE = "SELECT 1 AS id, 'slow' AS text FROM (SELECT sleep(2) AS s) t"
WITHIN = 1.0


def _wait_for(working: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not working():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _drop(ctx: VirtualContext, max_bytes: str | None, working: Callable[..., bool], beside: str) -> float:
    """Seconds from dropping a result until the server stopped working on it, while it works on something else."""
    batches = iter(ctx.query("SELECT * FROM long", max_bytes=max_bytes).to_batches())
    assert next(batches).num_rows > 0
    assert working()
    assert working(beside)
    started = time.monotonic()
    del batches
    while working() and time.monotonic() - started < 20:
        time.sleep(0.02)
    return time.monotonic() - started


def _asked_beside(ctx: VirtualContext) -> tuple[threading.Thread, list[Any]]:
    """Another query of the same context on the same connection, that takes seconds."""
    found: list[Any] = []

    def ask() -> None:
        found.append(ctx.query("SELECT id, text FROM slow").rows())

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, found


@LIMITS
@pytest.mark.usefixtures("without_collector")
def test_the_server_stops_at_once_and_others_go_on(places: dict[str, Any], max_bytes: str | None) -> None:
    tables = {"long": {"connection": "pg", "query": HUGE}, "slow": {"connection": "pg", "query": SLOW}}
    with psycopg.connect(places["connections"]["pg"]["uri"], autocommit=True) as watcher:

        def working(word: str = "generate_series") -> bool:
            found = watcher.execute(
                "SELECT 1 FROM pg_stat_activity WHERE position(%s IN lower(query)) > 0 AND state = 'active' "
                "AND pid <> pg_backend_pid()",
                [word],
            )
            return found.fetchone() is not None

        with VirtualContext({**config(places), "virtual_tables": tables}) as ctx:
            ctx.plan("SELECT id, text FROM slow")
            ctx.plan("SELECT * FROM long")
            thread, found = _asked_beside(ctx)
            _wait_for(lambda: working("pg_sleep"))
            assert _drop(ctx, max_bytes, working, "pg_sleep") < WITHIN
            thread.join()
            assert found == [[{"id": 1, "text": "slow"}]]
            # Its connection is free again, and works.
            assert ctx.query("SELECT id FROM long LIMIT 1").rows() == [{"id": 1}]


@pytest.mark.mariadb
@LIMITS
@pytest.mark.usefixtures("without_collector")
def test_the_same_of_mariadb(mariadb_server: MariaDBServer, max_bytes: str | None) -> None:
    huge = "SELECT seq AS id, repeat('x', 200) AS text FROM seq_1_to_20000000"
    tables = {"long": {"connection": "maria", "query": huge}, "slow": {"connection": "maria", "query": SLOW_THERE}}
    connections = {"maria": {"type": "mysql", "uri": mariadb_server.uri()}}

    def working(word: str = "seq_1_to_20000000") -> bool:
        asked = "SELECT INFO FROM information_schema.PROCESSLIST WHERE INFO LIKE %s AND ID <> CONNECTION_ID()"
        return bool(mariadb_server.execute(asked, values=[f"%{word}%"]))

    with VirtualContext({"connections": connections, "virtual_tables": tables}) as ctx:
        ctx.plan("SELECT id, text FROM slow")
        ctx.plan("SELECT * FROM long")
        thread, found = _asked_beside(ctx)
        _wait_for(lambda: working("sleep("))
        assert _drop(ctx, max_bytes, working, "sleep(") < WITHIN
        thread.join()
        assert found == [[{"id": 1, "text": "slow"}]]
        assert ctx.query("SELECT id FROM long LIMIT 1").rows() == [{"id": 1}]
