"""What an OR over two relations says of one of them goes below where it leaves out enough."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tauro_nb.context import VirtualContext

TEXT = """SELECT count(*) AS n FROM sold, kinds WHERE sold.kind = kinds.id AND (
    (kinds.name = 'kind 1' AND sold.price BETWEEN 0 AND {0}) OR
    (kinds.name = 'kind 2' AND sold.price BETWEEN 1 AND {1}))"""


FILES = {"source_type": "filesystem", "connector_type": "parquet"}


@pytest.fixture
def ctx(tmp_path: Path) -> VirtualContext:
    """Two Parquet files, which the engine scans itself."""
    with duckdb.connect() as con:
        sold, kinds = tmp_path / "sold.parquet", tmp_path / "kinds.parquet"
        con.execute(f"COPY (SELECT i % 50 AS kind, i::DECIMAL(10, 2) AS price FROM range(1000) r(i)) TO '{sold}'")
        con.execute(f"COPY (SELECT i AS id, 'kind ' || i AS name FROM range(50) r(i)) TO '{kinds}'")
    tables = {"sold": {**FILES, "path": str(sold)}, "kinds": {**FILES, "path": str(kinds)}}
    return VirtualContext({"virtual_tables": tables})


@pytest.mark.parametrize(("bounds", "is_below"), [((20, 30), True), ((900, 990), False)])
def test_a_scan_is_spared_a_condition_that_keeps_most_rows(
    ctx: VirtualContext, bounds: tuple[int, int], is_below: bool
) -> None:
    text = TEXT.format(*bounds)
    (sold,) = (part for part in ctx.plan(text).fragments if part.tables == ("sold",))
    assert ("WHERE" in sold.tree.sql()) is is_below
    expected = sum(1 for i in range(1000) if (i % 50 == 1 and i <= bounds[0]) or (i % 50 == 2 and 1 <= i <= bounds[1]))
    assert ctx.query(text).rows() == [{"n": expected}]


def shown_plan(folder: Path, hidden_price: int) -> str:
    folder.mkdir()
    sold, kinds = folder / "sold.parquet", folder / "kinds.parquet"
    with duckdb.connect() as con:
        rows = "SELECT i % 50 AS kind, i AS price, true AS open FROM range(100) r(i)"
        con.execute(f"COPY ({rows} UNION ALL SELECT 1, {hidden_price}, false) TO '{sold}'")
        con.execute(f"COPY (SELECT i AS id, 'kind ' || i AS name FROM range(50) r(i)) TO '{kinds}'")
    tables = {"sold": {**FILES, "path": str(sold)}, "kinds": {**FILES, "path": str(kinds)}}
    policies = {"sold": {"row_level_filters": {"analyst": "open"}}}
    with VirtualContext({"virtual_tables": tables, "security_policies": policies}, "admin") as ctx:
        plan = ctx.as_principal("ana", roles=["analyst"]).plan(TEXT.format(80, 90))
    return plan.residual.sql("duckdb")


def test_what_hidden_rows_hold_does_not_decide_what_a_plan_shows(tmp_path: Path) -> None:
    assert shown_plan(tmp_path / "near", 50) == shown_plan(tmp_path / "far", 1_000_000)
