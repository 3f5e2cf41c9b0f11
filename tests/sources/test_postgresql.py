"""PostgreSQL compares some types unlike DuckDB; what its scanner sends by itself must not be decided there."""

from __future__ import annotations

import duckdb
import psycopg
import pytest

from tauro_nb import VirtualContext

ROWS = """\
SELECT (ARRAY['A1', 'a1', 'B2', 'b2', 'C3'])[1 + i % 5] AS v, i::numeric / 3 AS w, i FROM generate_series(1, 40) r(i)
"""
QUERIES = [
    "SELECT count(*) AS n FROM odd WHERE v <= 'C3'",
    "SELECT count(*) AS n FROM odd WHERE v BETWEEN 'B2' AND 'C3'",
    "SELECT count(*) AS n FROM odd WHERE v IN ('a1', 'b2')",
    "SELECT count(*) AS n FROM odd WHERE v > 'B2' AND i < 30",
    "SELECT count(*) AS n FROM odd WHERE w = 1.0 / 3",
    "SELECT count(*) AS n FROM odd JOIN (VALUES ('B2'), ('C3')) k(v) ON odd.v = k.v",
]


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["citext", "char(4)", "text"])
def test_conditions_mean_what_they_mean_in_the_engine(postgres_uri: str, kind: str) -> None:
    with psycopg.connect(postgres_uri, autocommit=True) as server:
        server.execute("CREATE EXTENSION IF NOT EXISTS citext")
        server.execute("DROP TABLE IF EXISTS odd")
        server.execute(f"CREATE TABLE odd (v {kind}, w numeric, i int)".encode())
        server.execute(f"INSERT INTO odd {ROWS}".encode())
    config = {
        "connections": {"pg": {"type": "postgresql", "uri": postgres_uri}},
        "virtual_tables": {"odd": {"connector_type": "postgresql", "connection": "pg", "table": "odd"}},
    }
    with VirtualContext(config) as ctx, duckdb.connect() as plain:
        plain.register("sent", ctx.query("SELECT * FROM odd").to_arrow())
        plain.execute("CREATE TABLE odd AS FROM sent")
        for sql in QUERIES:
            assert ctx.query(sql).rows() == plain.sql(sql).to_arrow_table().to_pylist(), sql
