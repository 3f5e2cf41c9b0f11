"""A join above a LIMIT must not change which rows the LIMIT picks, which DuckDB 1.5.5 by itself does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tauro_nb.context import VirtualContext

# (i * 7919) % 20000 takes each value once among the first 20,000: 9 people meet at most 9 of 1,000 events.
EVENTS = "SELECT i AS id, (i * 7919) % 20000 AS person FROM range(200000) t(i)"
FIRST = "(SELECT person FROM events ORDER BY id LIMIT 1000)"
EXPECTED = sum(1 for i in range(1000) if (i * 7919) % 20000 < 9)


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualContext]:
    folder: Path = tmp_path_factory.mktemp("limit")
    with duckdb.connect(str(folder / "w.duckdb")) as con:
        con.execute(f"CREATE TABLE events AS {EVENTS}")
        con.execute("CREATE TABLE people AS SELECT i AS id FROM range(9) t(i)")
    config = {
        "connections": {"w": {"type": "duckdb", "path": str(folder / "w.duckdb")}},
        "virtual_tables": {
            name: {"connector_type": "duckdb", "connection": "w", "table": name} for name in ("events", "people")
        },
        "security_policies": {"people": {"row_level_filters": {"admin": "", "ana": "id >= 0"}}},
    }
    with VirtualContext(config) as context:
        yield context


@pytest.mark.parametrize("person", ["admin", "ana"])
@pytest.mark.parametrize(
    "query",
    [
        f"SELECT count(*) AS n FROM people p JOIN {FIRST} e ON e.person = p.id",
        f"SELECT count(*) AS n FROM {FIRST} e WHERE e.person IN (SELECT id FROM people)",
        f"SELECT count(*) AS n FROM {FIRST} e WHERE EXISTS (SELECT 1 FROM people p WHERE p.id = e.person)",
        f"SELECT count(e.person) AS n FROM {FIRST} e RIGHT JOIN people p ON e.person = p.id",
        f"WITH f AS {FIRST} SELECT count(*) AS n FROM people p, f WHERE f.person = p.id",
    ],
)
def test_the_same_rows_are_picked_each_time(ctx: VirtualContext, person: str, query: str) -> None:
    asked = ctx.as_principal(person)
    assert [asked.query(query).rows()[0]["n"] for _ in range(15)] == [EXPECTED] * 15


def test_plans_without_a_limit_below_a_join_keep_every_optimizer(ctx: VirtualContext) -> None:
    assert not ctx.plan("SELECT count(*) FROM people p JOIN events e ON e.person = p.id LIMIT 5").switched_off
