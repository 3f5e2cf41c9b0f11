"""Recursive queries that read a source with every turn: its answer is fetched once."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tauro_nb import VirtualContext
from tauro_nb.query.plan import whole
from tests.security.oracle import settle

COUNTED = (
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < (SELECT count(*) FROM staff)) "
    "SELECT max(n) AS m FROM r"
)
WALKED = (
    "WITH RECURSIVE r AS (SELECT id, boss FROM staff WHERE id = 100 "
    "UNION ALL SELECT s.id, s.boss FROM staff s JOIN r ON s.id = r.boss) SELECT id FROM r ORDER BY id"
)
STAFF = (
    "SELECT i AS id, i // 2 AS boss, CASE WHEN i <= 120 THEN 'Sales' ELSE 'Legal' END AS dept FROM range(1, 200) t(i)"
)
POLICY = {"staff": {"row_level_filters": {"admin": "", "analyst": "dept = 'Sales'"}}}


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite", "parquet", pytest.param("postgresql", marks=pytest.mark.postgres),
        pytest.param("mysql", marks=pytest.mark.mariadb),
    ],
)  # fmt: skip
def test_every_turn_reads_the_same_answer(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """The scanner for MySQL ended the process at the second turn, and a stream was empty."""
    server = {"postgresql": "fresh_postgres_database", "mysql": "fresh_mariadb_database"}.get(kind)
    uri = None if server is None else request.getfixturevalue(server)
    with duckdb.connect() as con:
        staff = con.execute(STAFF).to_arrow_table()
    with VirtualContext({**settle(kind, tmp_path, {"staff": staff}, uri=uri), "security_policies": POLICY}) as ctx:
        ana, admin = ctx.as_principal("ana", roles=["analyst"]), ctx.as_principal("root", roles=["admin"])
        assert ana.query(COUNTED).rows() == [{"m": 120}]
        assert admin.query(COUNTED).rows() == [{"m": 199}]
        for who in (ana, admin):
            assert [row["id"] for row in who.query(WALKED).rows()] == [1, 3, 6, 12, 25, 50, 100]
            assert bool(whole(who.plan(WALKED)).steps) == (kind != "parquet")
