"""Rows of a large file that no key of a step meets are left out while it is scanned; the answer is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tests.servers import PostgresServer

SMALL = "SELECT i AS k, i - 2000 AS rowid FROM range(80_000) t(i)"
BIG = (
    "SELECT CASE WHEN i % 50 > 0 THEN i * 7 % 90_000 END AS k, i % 97 AS v, nullif(i % 3, 0) AS w "
    "FROM range(300_000) t(i)"
)
MORE = "SELECT i AS v FROM range(50) t(i)"
SIEVED = {
    "inner": "SELECT s.k, count(*) AS n, sum(l.v) AS v FROM small s JOIN big l ON l.k = s.k JOIN more m ON m.v = l.v "
    "WHERE s.k < 4000 GROUP BY 1",
    "a column named as the number of a row is": "SELECT s.rowid, count(*) AS n FROM small s JOIN big l ON l.k = s.k "
    "JOIN more m ON m.v = l.v WHERE s.k < 4000 GROUP BY 1",
    "the null-supplied side": "SELECT s.k, count(l.v) AS n FROM small s LEFT JOIN big l ON l.k = s.k "
    "LEFT JOIN more m ON m.v = l.v WHERE s.k < 4000 GROUP BY 1",
    "conditions besides": "SELECT s.k, count(*) AS n FROM small s JOIN big l ON l.k = s.k AND l.v > s.rowid "
    "JOIN more m ON m.v = l.v WHERE s.k < 4000 AND l.w IS NOT NULL GROUP BY 1",
}
WHOLE = {
    "the preserved side": "SELECT count(*) AS n, count(s.k) AS m FROM big l LEFT JOIN "
    "(SELECT k FROM small WHERE k < 4000) s ON l.k = s.k",
    "most keys are there": "SELECT count(*) AS n FROM small s JOIN big l ON l.k = s.k JOIN more m ON m.v = l.v "
    "WHERE s.k < 40_000",
    "two relations have one order": "SELECT count(*) AS n FROM small s JOIN big l ON l.k = s.k WHERE s.k < 4000",
    "without a partner": "SELECT count(*) AS n FROM big l WHERE NOT EXISTS "
    "(SELECT 1 FROM small s WHERE s.k = l.k AND s.k < 4000)",
}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[tuple[VirtualContext, duckdb.DuckDBPyConnection]]:
    """`small` in PostgreSQL and the others in files, and both in one plain DuckDB."""
    folder: Path = tmp_path_factory.mktemp("sieve")
    database = postgres_server.create_database()
    postgres_server.execute("CREATE TABLE small (k bigint PRIMARY KEY, rowid bigint)", database)
    postgres_server.execute("INSERT INTO small SELECT i, i - 2000 FROM generate_series(0, 79999) t(i)", database)
    postgres_server.execute("ANALYZE small", database)
    here = {
        name: {"source_type": "filesystem", "connector_type": "parquet", "path": str(folder / f"{name}.parquet")}
        for name in ("big", "more")
    }
    there = {"source_type": "database", "connector_type": "postgresql", "connection": "pg", "table": "small"}
    connections = {"pg": {"type": "postgresql", "uri": postgres_server.uri(database)}}
    with duckdb.connect() as plain:
        for name, sql in (("small", SMALL), ("big", BIG), ("more", MORE)):
            plain.execute(f"CREATE TABLE {name} AS {sql}")
            plain.execute(f"COPY {name} TO '{folder / name}.parquet'")
        ctx = VirtualContext(config={"connections": connections, "virtual_tables": {"small": there, **here}})
        yield ctx, plain
        ctx.close()


def _answers(world: tuple[VirtualContext, duckdb.DuckDBPyConnection], sql: str) -> tuple[list[Any], list[Any]]:
    ctx, plain = world
    found = [tuple(row.values()) for row in ctx.query(sql).rows()]
    return sorted(found, key=repr), sorted(plain.execute(sql).fetchall(), key=repr)


def _sieved(ctx: VirtualContext, sql: str) -> bool:
    return " SEMI JOIN " in ctx.planner.plan(sql).residual.sql("duckdb")


@pytest.mark.parametrize("sql", SIEVED.values(), ids=SIEVED)
def test_rows_without_a_partner_are_left_out(world: Any, sql: str) -> None:
    assert _sieved(world[0], sql)
    found, expected = _answers(world, sql)
    assert found == expected
    assert found, "the answer is not empty"


@pytest.mark.parametrize("sql", WHOLE.values(), ids=WHOLE)
def test_all_rows_are_read_where_they_count_or_most_have_a_partner(world: Any, sql: str) -> None:
    assert not _sieved(world[0], sql)
    found, expected = _answers(world, sql)
    assert found == expected
