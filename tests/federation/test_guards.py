"""What can throw sees no rows that its author kept from it: by CASE, by a filter below it, by the rows of a join."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tests.security.oracle import settle

NOTES = """
    SELECT i AS id, CASE WHEN i % 3 = 0 THEN 'number' ELSE 'word' END AS kind,
           CASE WHEN i % 3 = 0 THEN '' || i ELSE 'word ' || i END AS v
    FROM range(3_000) t(i)
"""
WANTED = "SELECT i * 30 AS id, i AS rank FROM range(20) t(i)"
NUMBER = "CASE WHEN n.kind = 'number' THEN CAST(n.v AS INTEGER) END"
NUMBERS = "(SELECT id, CAST(v AS INTEGER) AS x FROM notes WHERE kind = 'number')"
QUERIES = (
    f"SELECT n.id, {NUMBER} AS x FROM notes n WHERE n.id < 90",
    f"SELECT n.id FROM notes n WHERE {NUMBER} < 90",
    f"SELECT w.rank, {NUMBER} AS x FROM wanted w JOIN notes n ON n.id = w.id",
    f"SELECT w.rank, n.id FROM wanted w JOIN notes n ON {NUMBER} = w.id",
    f"SELECT w.rank, sum({NUMBER}) AS x FROM wanted w JOIN notes n ON n.id = w.id GROUP BY w.rank",
    f"SELECT n.kind, max({NUMBER}) AS x FROM notes n GROUP BY n.kind HAVING max({NUMBER}) > 5 OR n.kind = 'word'",
    f"SELECT w.rank FROM wanted w WHERE w.id IN (SELECT {NUMBER} FROM notes n)",
    "SELECT max(CAST(n.v AS INTEGER)) AS x FROM (SELECT v FROM notes WHERE kind = 'number') n",
    f"SELECT w.rank, n.x FROM wanted w JOIN {NUMBERS} n ON n.id = w.id",
    f"SELECT w.rank FROM wanted w JOIN {NUMBERS} n ON n.x = w.id",
    "SELECT n.id FROM notes n WHERE n.kind = 'number' AND CAST(n.v AS INTEGER) < 90",
    "SELECT w.rank, CAST(n.v AS INTEGER) AS x FROM wanted w JOIN notes n ON n.id = w.id",
)


@pytest.mark.parametrize(
    "kind",
    [
        "duckdb", "parquet", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres),
        pytest.param("mysql", marks=pytest.mark.mariadb),
    ],
)  # fmt: skip
def test_a_conversion_behind_a_guard(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    server = {"postgresql": "fresh_postgres_database", "mysql": "fresh_mariadb_database"}.get(kind)
    uri = None if server is None else request.getfixturevalue(server)
    with duckdb.connect() as plain:
        rows: dict[str, pa.Table] = {}
        for name, query in (("notes", NOTES), ("wanted", WANTED)):
            plain.execute(f"CREATE TABLE {name} AS {query}")
            rows[name] = plain.execute(f"FROM {name}").to_arrow_table()
        far = settle(kind, tmp_path / "far", {"notes": rows["notes"]}, uri=uri)
        near = settle("parquet", tmp_path / "near", {"wanted": rows["wanted"]})
        config = {
            "connections": far["connections"],
            "virtual_tables": {**far["virtual_tables"], **near["virtual_tables"]},
        }
        with VirtualContext(config) as ctx:
            for sql in QUERIES:
                ordered = f"{sql} ORDER BY ALL"
                expected = plain.execute(ordered).fetchall()
                assert expected
                assert [tuple(row.values()) for row in ctx.query(ordered).rows()] == expected, sql
