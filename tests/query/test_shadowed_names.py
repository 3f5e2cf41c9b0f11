"""What is a column and a name of the SELECT list means what it means in DuckDB; QUALIFY keeps the window it needs."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tauro_nb import VirtualContext

ROWS = "SELECT i AS x, i % 3 AS g FROM range(6) r(i)"
JOINED = "FROM t a JOIN t b USING (x)"
TEXTS = (
    f"SELECT row_number() OVER (ORDER BY a.x DESC) AS x {JOINED} QUALIFY x > 4",
    f"SELECT row_number() OVER (ORDER BY a.x DESC) AS y {JOINED} QUALIFY x > 4",
    f"SELECT a.g AS x, row_number() OVER (ORDER BY a.x DESC) AS y {JOINED} QUALIFY x > 2",
    f"SELECT sum(a.g) AS x {JOINED} GROUP BY x HAVING x > 2",
    f"SELECT max(a.x) AS x, a.g {JOINED} GROUP BY a.g HAVING max(x) > 3",
    f"SELECT a.g AS x, x + 1 AS y {JOINED}",
    f"SELECT a.g AS x {JOINED} WHERE x > 2",
    f"SELECT a.g AS x, a.x AS y {JOINED} ORDER BY x, y",
    f"SELECT a.g AS x, a.x AS y {JOINED} ORDER BY x + 1, y",
    f"SELECT DISTINCT ON (x) -a.g AS x {JOINED} ORDER BY x",
    "SELECT count(*) AS n FROM (SELECT row_number() OVER (ORDER BY x) AS n, g FROM t QUALIFY g > 0)",
    "SELECT g FROM (SELECT row_number() OVER (ORDER BY x) AS n, g FROM t QUALIFY n > 2)",
    "SELECT g FROM (SELECT row_number() OVER (ORDER BY x) AS x, g FROM t QUALIFY x > 2)",
    "WITH w AS (SELECT min(x) OVER (PARTITION BY g) AS x, g FROM t QUALIFY x > 1) SELECT w.g FROM w JOIN t USING (g)",
    "SELECT 1 AS one WHERE EXISTS (SELECT row_number() OVER () AS n, g FROM t QUALIFY g > 1)",
)


@pytest.fixture(scope="module")
def ctx() -> Iterator[VirtualContext]:
    with VirtualContext({"virtual_tables": {"t": {"query": ROWS}}}, "admin") as ctx:
        yield ctx


@pytest.mark.parametrize("text", TEXTS)
def test_the_answer_is_that_of_plain_duckdb(ctx: VirtualContext, text: str) -> None:
    with duckdb.connect() as plain:
        plain.execute(f"CREATE TABLE t AS {ROWS}")
        wanted = plain.execute(text).to_arrow_table().to_pylist()
    found = ctx.query(text).rows()
    ordered = "ORDER BY x" in text.rpartition(")")[2] or "DISTINCT ON" in text
    assert found == wanted if ordered else sorted(map(repr, found)) == sorted(map(repr, wanted))
