"""A sample is drawn of all rows of a relation: no condition and no key of a join gets below it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tauro_nb import VirtualContext
from tests.security.oracle import settle

LOTS = "SELECT i AS id, i % 3000 AS few_id, i % 100 AS v FROM range(15000) t(i)"
FEW = "SELECT i AS id, 'k' || i % 90 AS kind FROM range(900) t(i)"
DRAWN = "lots TABLESAMPLE BERNOULLI (50%) REPEATABLE (1)"
SAMPLED = (
    f"SELECT count(*) FROM few JOIN (SELECT * FROM {DRAWN}) l ON l.few_id = few.id WHERE few.kind = 'k7'",
    f"SELECT count(*) FROM {DRAWN} WHERE few_id IN (SELECT id FROM few WHERE kind = 'k7')",
    f"WITH s AS (SELECT few_id FROM {DRAWN}) SELECT count(*) FROM s JOIN few f ON f.id = s.few_id WHERE kind = 'k8'",
    f"SELECT count(*) FROM {DRAWN} JOIN few ON lots.few_id = few.id WHERE few.kind = 'k7'",
)


@pytest.fixture
def oracle() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(f"CREATE TABLE lots AS {LOTS}")
    con.execute(f"CREATE TABLE few AS {FEW}")
    return con


def test_no_keys_are_sent_below_a_sample(tmp_path: Path, oracle: duckdb.DuckDBPyConnection) -> None:
    lots, few = (oracle.table(name).to_arrow_table() for name in ("lots", "few"))
    near = settle("sqlite", tmp_path, {"few": few}, connection="near")
    away = settle("sqlite", tmp_path, {"lots": lots}, connection="away")
    with VirtualContext({part: {**near[part], **away[part]} for part in near}) as ctx:
        plain = ctx.plan("SELECT count(*) FROM few JOIN lots l ON l.few_id = few.id WHERE few.kind = 'k7'")
        assert [len(part.keys) for part in plain.fragments if "lots" in part.tables] == [1]
        for sql in SAMPLED:
            assert not any(part.keys for part in ctx.plan(sql).fragments if "lots" in part.tables), sql
            assert [tuple(row.values()) for row in ctx.query(sql).rows()] == oracle.execute(sql).fetchall(), sql
