"""What a source streams can be read once; DuckDB's optimizer must not make two scans of one, which finds nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError
from tauro_nb.query.plan import QueryPlan, whole


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualContext]:
    path: Path = tmp_path_factory.mktemp("once") / "s.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as con, con:
        con.execute("CREATE TABLE staff (id INTEGER, team TEXT)")
        con.executemany("INSERT INTO staff VALUES (?, ?)", [(n, "ab"[n % 2]) for n in range(20)])
    config = {
        "connections": {"at": {"type": "sqlite", "path": str(path)}},
        "virtual_tables": {"staff": {"connector_type": "sqlite", "connection": "at", "table": "staff"}},
        "security_policies": {"staff": {"row_level_filters": {"admin": "", "ana": "team = 'a'"}}},
    }
    with VirtualContext(config) as context:
        yield context.as_principal("ana")


TWICE = {
    "SELECT id, max(id) OVER (PARTITION BY team) AS x FROM staff": 10,
    "SELECT id, count(*) OVER (PARTITION BY team) AS x, sum(id) OVER () AS y FROM staff": 10,
    "WITH c AS NOT MATERIALIZED (SELECT * FROM staff) SELECT a.id FROM c a JOIN c b USING (id)": 10,
    "WITH c AS NOT MATERIALIZED (SELECT * FROM staff) SELECT count(*) FROM c UNION ALL SELECT sum(id) FROM c": 2,
}


@pytest.mark.parametrize("sql", TWICE)
def test_one_scan_stays_one(ctx: VirtualContext, sql: str) -> None:
    assert whole(ctx.plan(sql)).streams, "SQLite is asked, and streams its answer"
    assert len(ctx.query(sql)) == TWICE[sql]


@pytest.mark.parametrize("sql", list(TWICE)[::3])
def test_a_second_scan_is_an_error_and_no_empty_answer(
    ctx: VirtualContext, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QueryPlan, "switched_off", frozenset({"statistics_propagation"}))
    with pytest.raises(ExecutionError, match="twice"):
        ctx.query(sql).rows()
