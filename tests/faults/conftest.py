"""Servers of these tests' own, for they are killed; each behind a proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pytest

from benchmarks.proxy import CountingProxy
from tests.faults.world import ORDERS, World, answers, fill
from tests.mariadb import mariadb_is_installed, start_mariadb
from tests.servers import start_postgres


def _start(kind: str) -> Any:
    if kind == "postgresql":
        return start_postgres()
    if not mariadb_is_installed():
        pytest.skip("no MariaDB: install its server (Debian: apt-get install mariadb-server)")
    return start_mariadb()


@pytest.fixture(scope="session")
def _worlds() -> Iterator[dict[str, World]]:
    made: dict[str, World] = {}
    yield made
    for world in made.values():
        world.proxy.close()
        world.server.stop()


@pytest.fixture(scope="session")
def world_of(_worlds: dict[str, World], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A world by the kind of its server; each is started once."""

    def get(kind: str) -> World:
        if kind not in _worlds:
            folder = tmp_path_factory.mktemp(kind)
            with duckdb.connect() as made:
                made.execute(f"COPY ({ORDERS}) TO '{folder / 'orders.parquet'}'")
            server = _start(kind)
            name = fill(kind, server)
            _worlds[kind] = World(kind, server, name, CountingProxy(server.uri(name)), folder)
        _worlds[kind].proxy.heal()
        return _worlds[kind]

    return get


@pytest.fixture(params=["postgresql", "mysql"])
def world(request: pytest.FixtureRequest, world_of: Any) -> World:
    found: World = world_of(request.param)
    return found


@pytest.fixture(scope="session")
def right() -> Mapping[str, list[tuple[Any, ...]]]:
    """The right answers."""
    return answers()
