"""What WITH names and nobody reads is not asked of any source, and is authorized all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied
from tauro_nb.query.plan import whole

UNREAD = (
    "WITH w AS (SELECT string_agg('a', ',' ORDER BY 'a') AS s FROM people) SELECT count(*) AS n FROM orders",
    "WITH w AS MATERIALIZED (SELECT CAST(name AS INTEGER) AS s FROM people) SELECT count(*) AS n FROM orders",
    "WITH w AS (FROM people), v AS (FROM w) SELECT count(*) AS n FROM orders",
    "WITH RECURSIVE w AS (SELECT id FROM people UNION ALL SELECT id + 1 FROM w) SELECT count(*) AS n FROM orders",
    "WITH w AS (FROM people) SELECT count(*) AS n FROM (WITH v AS (FROM people) SELECT * FROM orders)",
)
READ = (
    'WITH w AS (SELECT id FROM people), "V" AS (FROM w) SELECT count(*) AS n FROM v',
    "WITH w AS (SELECT id FROM people) SELECT count(*) AS n FROM orders WHERE person_id IN (FROM w)",
    "WITH w AS (SELECT id FROM people) SELECT count(*) AS n FROM (WITH w AS (FROM w) FROM w)",
    "WITH w AS (SELECT id FROM people) SELECT (SELECT count(W) FROM W) AS n",
    "WITH w AS (SELECT id FROM people), v AS (SELECT 1) SELECT count(*) AS n FROM orders WHERE EXISTS (FROM w)",
)


@pytest.fixture
def plain(admin: VirtualContext, tmp_path: Path) -> Any:
    with duckdb.connect() as connection:
        for name in ("people", "orders"):
            pq.write_table(admin.query(f"FROM {name}").to_arrow(), tmp_path / f"{name}.parquet")
            connection.execute(f"CREATE TABLE {name} AS FROM '{tmp_path / name}.parquet'")
        yield connection


@pytest.mark.parametrize("sql", [*UNREAD, *READ])
def test_what_nobody_reads_is_not_asked_for(admin: VirtualContext, plain: Any, sql: str) -> None:
    assert [(row["n"],) for row in admin.query(sql).rows()] == plain.execute(sql).fetchall()
    asked = {table for part in whole(admin.plan(sql)).fragments for table in part.tables}
    assert ("people" in asked) == (sql in READ)


def test_it_is_authorized(admin: VirtualContext) -> None:
    with pytest.raises(AccessDenied, match="`people`"):
        admin.as_principal("eve", roles=["none"]).query(UNREAD[2])
