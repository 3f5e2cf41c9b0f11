"""Ctrl-C while a source works: it stops there within a second, whatever part of the plan was running."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import QueryCancelled
from tests.mariadb import MariaDBServer

WITHIN = 1.0
STAGED = "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id"


def interrupted_after(waits: Callable[[], bool], work: Callable[[], Any]) -> float:
    """Seconds from Ctrl-C, pressed once the source is seen to work, to the error."""
    pressed: list[float] = []

    def press() -> None:
        deadline = time.monotonic() + 20
        while not waits() and time.monotonic() < deadline:
            time.sleep(0.02)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    # A browser or a kernel that earlier tests of this process started may have taken Ctrl-C for itself.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(QueryCancelled, match="every source was told to stop"):
            work()
        return time.monotonic() - pressed[0]
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def locked(places: dict[str, Any]) -> Iterator[tuple[Callable[[], None], Callable[[], bool]]]:
    """Makes every reading of `items` wait, and says whether one does."""
    uri = places["connections"]["pg"]["uri"]
    with psycopg.connect(uri) as holder, psycopg.connect(uri, autocommit=True) as watcher:

        def waits() -> bool:
            found = watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            return found is not None and found[0] > 0

        yield lambda: holder.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE") and None, waits
        holder.rollback()
        assert not waits()


@pytest.mark.parametrize("measured", [False, True])
def test_a_source_that_was_sent_keys_is_stopped(places: dict[str, Any], locked: Any, measured: bool) -> None:
    lock, waits = locked
    limits = {"limits": {"max_bytes": "1GB"}} if measured else {}
    with VirtualContext({**places, **limits}) as ctx:
        plan = ctx.plan(STAGED)
        assert plan.steps
        lock()
        assert interrupted_after(waits, lambda: ctx.run(plan).to_arrow()) < WITHIN
        assert not waits()
        assert ctx.query("SELECT count(*) AS n FROM orders").rows() == [{"n": 6}]


def test_a_statement_on_mariadb_is_killed(mariadb_server: MariaDBServer, fresh_mariadb_database: str) -> None:
    name = fresh_mariadb_database.rsplit("/", 1)[1]
    mariadb_server.execute("CREATE TABLE numbers AS SELECT seq AS n FROM seq_1_to_100", name)
    tables = {"slow": {"connection": "my", "query": "SELECT n + SLEEP(0.2) AS a FROM numbers"}}
    config = {"connections": {"my": {"type": "mysql", "uri": fresh_mariadb_database}}, "virtual_tables": tables}

    def sleeps() -> bool:
        return bool(mariadb_server.execute("SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'"))

    with VirtualContext(config) as ctx:
        plan = ctx.plan("SELECT a FROM slow")
        assert interrupted_after(sleeps, lambda: ctx.run(plan).to_arrow()) < WITHIN
        assert not sleeps()
