"""What goes wrong at a server or on the way to it: one clear error, nothing left behind, and the next query works."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pymysql
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import SourceUnavailable
from tests.faults.world import PATIENCE, PHYSICAL, QUERIES, World, eventually, refused, rows
from tests.mariadb import MariaDBServer

Right = Mapping[str, list[tuple[Any, ...]]]


def cases(usual: str) -> list[str]:
    """The query that the fault is tried in; all of them for `make faults`."""
    return list(QUERIES) if "TAURO_FAULTS" in os.environ else [usual]


def recovers(world: World, ctx: VirtualContext, right: Right) -> None:
    """The way is there again: every query gives the right answer, and nothing of an earlier one still runs."""
    world.proxy.heal()
    eventually(lambda: world.running() == 0)
    for name in QUERIES:
        assert rows(ctx, name) == right[name], name


def late(name: str) -> int:
    """Bytes of a query's answers after which something happens, in the middle of them."""
    return 200_000 if name == "scan" else 3000


@pytest.mark.parametrize("name", cases("scan"))
def test_a_server_that_is_killed(world: World, right: Right, name: str) -> None:
    with world.context() as ctx:
        plan = ctx.plan(QUERIES[name])
        assert ctx.run(plan).to_arrow().num_rows == len(right[name])
        world.proxy.stall(after=late(name))
        killer = threading.Thread(target=kill_when_stalled, args=(world,))
        killer.start()
        try:
            refused(ctx, lambda: ctx.run(plan).to_arrow(), SourceUnavailable, "`far`")
            refused(ctx, lambda: rows(ctx, name), SourceUnavailable, "`far`")
        finally:
            killer.join()
            world.server.start_again()
        recovers(world, ctx, right)


def kill_when_stalled(world: World) -> None:
    eventually(lambda: world.proxy.stalled)
    world.server.crash()
    world.proxy.heal()


@pytest.mark.parametrize("name", cases("keys"))
def test_a_connection_that_is_lost_in_the_answer(world: World, right: Right, name: str) -> None:
    with world.context() as ctx:
        plan = ctx.plan(QUERIES[name])
        assert ctx.run(plan).to_arrow().num_rows == len(right[name])
        world.proxy.drop(after=late(name))
        refused(ctx, lambda: ctx.run(plan).to_arrow(), SourceUnavailable, "`far`")
        recovers(world, ctx, right)


@pytest.mark.parametrize("name", cases("keys"))
def test_connections_that_were_lost_between_queries(world: World, right: Right, name: str) -> None:
    with world.context() as ctx:
        for _ in range(3):
            assert rows(ctx, name) == right[name]
            world.proxy.drop()


@pytest.mark.parametrize("after", [None, 400])
def test_a_connection_that_is_lost_while_connecting(world: World, right: Right, after: int | None) -> None:
    with world.context() as ctx:
        if after is None:
            world.proxy.refuse()
        else:
            world.proxy.drop(after=after)
        # A connection that ends before it was open is tried no second time; what is lost later may be.
        if after is None:
            refused(ctx, lambda: rows(ctx, "scan"), SourceUnavailable, "`far`")
        recovers(world, ctx, right)


@pytest.mark.parametrize("name", cases("scan"))
def test_a_network_that_stalls_in_the_answer(world: World, right: Right, name: str) -> None:
    with world.impatient_context() as ctx:
        plan = ctx.plan(QUERIES[name])
        assert ctx.run(plan).to_arrow().num_rows == len(right[name])
        world.proxy.stall(after=late(name))
        started = time.monotonic()
        refused(ctx, lambda: ctx.run(plan).to_arrow(), SourceUnavailable, "`far`.*did not answer")
        assert time.monotonic() - started < 6 * PATIENCE
        recovers(world, ctx, right)


def test_a_network_that_stalls_before_the_question(world: World, right: Right) -> None:
    with world.impatient_context() as ctx:
        assert rows(ctx, "keys") == right["keys"]
        world.proxy.stall()
        started = time.monotonic()
        refused(ctx, lambda: rows(ctx, "keys"), SourceUnavailable, "`far`.*does not answer")
        assert time.monotonic() - started < 4 * PATIENCE
        recovers(world, ctx, right)


def test_a_server_that_never_answered(world: World, right: Right) -> None:
    with world.impatient_context() as ctx:
        world.proxy.stall()
        started = time.monotonic()
        refused(ctx, lambda: rows(ctx, "keys"), SourceUnavailable, "`far`.*does not answer")
        assert time.monotonic() - started < 4 * PATIENCE
        recovers(world, ctx, right)


def test_an_answer_that_takes_long_is_waited_for(world: World) -> None:
    rows = f"FROM {PHYSICAL} WHERE id < 60"
    slow = f"SELECT id, pg_sleep(0.05)::text AS s {rows}"
    if world.kind == "mysql":
        slow = f"SELECT id, SLEEP(0.05) AS s {rows}"
    far = {"type": world.kind, "uri": world.uri, "read_timeout": 1}
    tables = {"slow": {"connection": "far", "query": slow}}
    with VirtualContext({"connections": {"far": far}, "virtual_tables": tables}) as ctx:
        started = time.monotonic()
        assert len(ctx.query("SELECT id, s FROM slow").rows()) == 60
        assert time.monotonic() - started > 2


@contextmanager
def crowded(world: World) -> Iterator[None]:
    """Take every connection that the server gives."""
    with ExitStack() as held:
        if isinstance(world.server, MariaDBServer):
            world.server.execute("SET GLOBAL max_connections = 12")
            held.callback(_allow_again, world.server)
            connect, full = world.server.connect, pymysql.err.OperationalError
        else:
            connect, full = partial(psycopg.connect, world.server.uri()), psycopg.OperationalError
        with suppress(full):
            while True:
                held.callback(connect().close)
        yield


def _allow_again(server: MariaDBServer) -> None:
    with server.connect(user="root", password="") as root, root.cursor() as cursor:
        cursor.execute("SET GLOBAL max_connections = 200")


@pytest.mark.parametrize("used", [False, True])
def test_a_server_without_free_connections(world: World, right: Right, used: bool) -> None:
    with world.context() as ctx:
        if used:
            assert rows(ctx, "keys") == right["keys"]
            world.proxy.drop()
        with crowded(world):
            refused(ctx, lambda: rows(ctx, "scan"), SourceUnavailable, "`far`.*too many connections")
        recovers(world, ctx, right)


def test_one_of_two_servers_is_down(world_of: Any) -> None:
    here, there = world_of("postgresql"), world_of("mysql")
    connections = {
        "near": {"type": "postgresql", "uri": here.uri},
        "far": {"type": "mysql", "uri": there.uri},
    }
    tables = {**there.tables(), "same": here.tables("near")["items"]}
    sql = "SELECT count(*) AS n FROM items i JOIN same s ON s.id = i.id WHERE i.order_id % 2 = 0"
    with VirtualContext({"connections": connections, "virtual_tables": tables}) as ctx:
        (before,) = ctx.query(sql).rows()
        there.server.crash()
        try:
            failure = refused(ctx, lambda: ctx.query(sql).rows(), SourceUnavailable, "`far`")
            assert "near" not in str(failure)
            assert ctx.query("SELECT count(*) AS n FROM same").rows() == [{"n": 200_000}]
        finally:
            there.server.start_again()
        assert ctx.query(sql).rows() == [before]


def test_many_at_once_share_a_pool(world_of: Any, right: Right) -> None:
    world = world_of("postgresql")
    most: list[int] = []
    with world.context(pool_size=2) as ctx:
        asked = [threading.Thread(target=lambda: found.append(rows(ctx, "keys"))) for _ in range(8)]
        found: list[Any] = []
        for thread in asked:
            thread.start()
        while any(thread.is_alive() for thread in asked):
            most.append(world.connections())
        assert [answer == right["keys"] for answer in found] == [True] * 8
    assert max(most) <= 3


def test_a_pool_that_is_busy_for_too_long(world_of: Any) -> None:
    world = world_of("postgresql")
    with world.context(pool_size=1, pool_timeout=1) as ctx:
        plan = ctx.plan(QUERIES["aggregate"])
        batches = iter(ctx.query(QUERIES["scan"]).to_batches())
        next(batches)
        refused(
            ctx, lambda: ctx.run(plan).to_arrow(), SourceUnavailable, "all connections that `far` may have are busy"
        )
        batches.close()  # type: ignore[attr-defined]
        del batches
        assert ctx.run(plan).to_arrow().num_rows == 10
