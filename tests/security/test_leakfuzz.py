"""A share of the leak fuzz (`make leakfuzz` runs all of it), and the proof that it finds leaks where there are some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tauro_nb.security.decision import TableDecision
from tests.leakfuzz.backends import BACKENDS, Servers, prepare
from tests.leakfuzz.expressions import Screened, screen
from tests.leakfuzz.fuzz import Outcome, fuzz
from tests.mariadb import MariaDBServer
from tests.servers import PostgresServer

ROWS = 3_000
SHARES = {"leakproof": ("eq", "regexp", "mask"), "strict": ("function",)}
BY_NAME = {backend.name: backend for backend in BACKENDS}


@pytest.fixture(scope="module")
def screened() -> Screened:
    with duckdb.connect(config={"memory_limit": "1GB", "threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return screen(connection, share=0.012, seed=11)


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, mariadb_server: MariaDBServer
) -> Servers:
    return Servers(tmp_path_factory.mktemp("leakfuzz"), postgres_server, mariadb_server)


@pytest.mark.parametrize("name", BY_NAME)
def test_nothing_leaks(screened: Screened, servers: Servers, name: str) -> None:
    assert len(screened.throwing) >= 30
    with prepare(BY_NAME[name], servers, rows=ROWS) as prepared:
        wanted: dict[tuple[bool, str], Outcome] = {}
        for barrier, forms in SHARES.items():
            report = fuzz(prepared, screened.throwing, barrier, wanted, forms)
            assert report.expressions >= 15
            assert (report.lifted > 0) is (barrier == "leakproof")
            assert report.leaks == []


def test_the_fuzz_finds_leaks_where_there_is_no_barrier(
    screened: Screened, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TableDecision, "needs_barrier", False)
    with prepare(BY_NAME["DuckDB"], replace(servers, folder=tmp_path), rows=ROWS) as prepared:
        report = fuzz(prepared, screened.throwing, "leakproof", forms=("eq", "regexp", "function", "exists"))
    # In which order the engine tries conditions, and so how many show, is its own choice in every run.
    assert len(report.leaks) >= 5
