"""What a query may move, what it must filter, and what an engine may hold."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ConfigError, ExecutionError, FilterRequired, LimitExceeded, UsageError
from tauro_nb.query.measured import Measured
from tests.servers import PostgresServer

ROWS = 100_000


@pytest.fixture(scope="module")
def catalog(postgres_server: PostgresServer) -> Iterator[dict[str, Any]]:
    """`visits`, 100,000 rows in PostgreSQL; `log`, the same, is not read without a filter on `day` or `id`."""
    name = postgres_server.create_database()
    postgres_server.execute(
        f"CREATE TABLE visits AS SELECT i AS id, i % 2 AS kind, DATE '2024-01-01' + i % 1000 AS day, "
        f"'page ' || i AS page FROM generate_series(1, {ROWS}) AS t(i)",
        name,
    )
    postgres_server.execute("ANALYZE", name)
    hidden = {"admin": "", "ana": "substring(page, 1 + kind, 1) = 'a'"}
    visits = {"connection": "crm", "table": "visits"}
    yield {
        "connections": {"crm": {"type": "postgresql", "uri": postgres_server.uri(name)}},
        "virtual_tables": {"visits": visits, "log": {**visits, "required_filters": ["day", "id"]}},
        "security_policies": {
            "visits": {"row_level_filters": hidden},
        },
        "principals": {"root": ["admin"], "ana": ["ana"]},
        "security": {"default_principal": "root"},
    }
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def root(catalog: dict[str, Any]) -> Iterator[VirtualContext]:
    with VirtualContext(catalog) as context:
        yield context


def test_an_estimate_above_the_limit_is_refused_before_anything_runs(root: VirtualContext) -> None:
    before = len(root.audit_logs(status="SUCCESS"))
    with pytest.raises(LimitExceeded, match=r"would move \d\.\d MB from `crm`; the limit is 1\.0 MB\. Nothing ran\."):
        root.query("SELECT * FROM visits", max_bytes="1MB")
    assert root.audit_logs()[-1].status == "FAILED"
    assert len(root.audit_logs(status="SUCCESS")) == before


def test_what_a_source_computes_is_not_counted_against_it(root: VirtualContext) -> None:
    assert root.query("SELECT count(*) AS n FROM visits", max_bytes="1KB").rows() == [{"n": ROWS}]
    assert len(root.query("SELECT * FROM visits", limit=5, max_bytes="1KB")) == 5


@pytest.mark.parametrize(
    "sql", ["SELECT page FROM visits WHERE page || '' <> ''", "SELECT id FROM visits UNION ALL SELECT id FROM visits"]
)
def test_a_query_that_moves_more_than_expected_is_stopped(root: VirtualContext, sql: str) -> None:
    with pytest.raises(LimitExceeded, match="100 KB"):
        root.query(sql, max_bytes=100_000).to_arrow()
    assert root.audit_logs()[-1].status == "FAILED"
    assert root.query("SELECT count(*) AS n FROM visits").rows() == [{"n": ROWS}]


@pytest.mark.parametrize("limits", [{"max_bytes": "300KB"}, {"connections": {"crm": "300KB"}}])
def test_limits_of_the_configuration_hold_for_everybody(catalog: dict[str, Any], limits: dict[str, Any]) -> None:
    with VirtualContext({**catalog, "limits": limits}) as context:
        with pytest.raises(LimitExceeded):
            context.query("SELECT * FROM visits", max_bytes="1GB")
        with pytest.raises(LimitExceeded, match="moved more than 300 KB from `crm`"):
            context.as_principal("ana").query("SELECT page FROM visits").to_arrow()


def test_a_limit_of_ones_own_does_not_count_hidden_rows(root: VirtualContext) -> None:
    """Half of the rows are hidden from ana, and the engine filters them: what moves is twice what she sees."""
    ana = root.as_principal("ana")
    seen = ana.query("SELECT page FROM visits").to_arrow()
    assert len(seen) == ROWS // 2
    volume = sum(batch.nbytes for batch in ana.query("SELECT page FROM visits").to_batches())
    assert len(ana.query("SELECT page FROM visits", max_bytes=volume)) == ROWS // 2
    with pytest.raises(LimitExceeded, match="answered with more than"):
        ana.query("SELECT page FROM visits", max_bytes=volume - 1).to_arrow()


@pytest.mark.parametrize("size", ["lots", -1, 1.5, True, "5 apples"])
def test_a_limit_must_be_a_size(root: VirtualContext, size: Any) -> None:
    with pytest.raises(UsageError):
        root.query("SELECT 1 AS a", max_bytes=size)


def test_analyze_measures_each_fragment(root: VirtualContext) -> None:
    plan = root.analyze("SELECT v.id, l.page FROM visits v JOIN log l ON l.id = v.id WHERE l.id <= 50 AND v.kind = 1")
    figures = plan.measured
    assert figures is not None
    assert figures.rows == 25
    assert figures.run_ms > 0
    assert not figures.withheld
    assert sum(part.rows for part in figures.fragments.values()) >= 25
    assert f"{next(iter(figures.fragments.values())).rows:,} rows" in str(plan)


def test_analyze_withholds_what_would_count_hidden_rows(root: VirtualContext) -> None:
    plan = root.as_principal("ana").analyze("SELECT v.page FROM visits v JOIN log l ON l.id = v.id WHERE l.id <= 50")
    figures = plan.measured
    assert figures is not None
    assert figures == Measured(25, figures.bytes, figures.plan_ms, figures.run_ms, withheld=True)
    assert "withheld" in str(plan)


@pytest.mark.parametrize(
    "where",
    ["id <= 10", "id = 3", "day BETWEEN DATE '2024-01-02' AND DATE '2024-01-03'", "page LIKE 'p%' AND id IN (1, 2)"],
)
def test_a_required_filter_opens_the_table(root: VirtualContext, where: str) -> None:
    assert root.query(f"SELECT id FROM log WHERE {where}").rows()
    assert root.query("SELECT id FROM log WHERE id = :id", {"id": 7}).rows() == [{"id": 7}]


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "WHERE page = 'page 1'",
        "WHERE id + 0 = 1",
        "WHERE id = 1 OR page = 'page 2'",
        "WHERE id <> 1",
        "WHERE id IS NOT NULL",
        "WHERE id IN (SELECT id FROM visits)",
        "LIMIT 3",
    ],
)
def test_without_it_the_table_is_not_read(root: VirtualContext, tail: str) -> None:
    with pytest.raises(FilterRequired, match=r"`log` is not read whole: no condition on `day` or `id` reaches"):
        root.query(f"SELECT * FROM log {tail}")


def test_every_reading_of_the_table_needs_its_filter(root: VirtualContext) -> None:
    with pytest.raises(FilterRequired):
        root.query("SELECT a.id FROM log a LEFT JOIN log b ON a.page = b.page WHERE a.id = 1")


def test_the_filter_of_a_policy_does_not_count(catalog: dict[str, Any]) -> None:
    policies = {"log": {"row_level_filters": {"ana": "id < 5"}}}
    with VirtualContext({**catalog, "security_policies": policies}, "ana") as ana:
        with pytest.raises(FilterRequired):
            ana.query("SELECT id FROM log")
        assert len(ana.query("SELECT id FROM log WHERE id < 100")) == 4


def test_required_filters_are_columns() -> None:
    table = {"connection": "crm", "table": "visits", "schema": {"id": "int"}, "required_filters": ["idd"]}
    with pytest.raises(ConfigError, match=r"declares no column `idd`\. Did you mean `id`"):
        VirtualContext({"virtual_tables": {"log": table}})


def test_an_engine_spills_to_a_private_directory_and_removes_it(tmp_path: Path) -> None:
    config = {
        "engine": {"memory_limit": "40MB", "temp_directory": str(tmp_path / "disk")},
        "virtual_tables": {"n": {"query": "SELECT hash(i) AS a, 'text ' || i AS t FROM range(2000000) AS r(i)"}},
    }
    with VirtualContext(config) as context:
        batches = iter(context.query("SELECT * FROM n ORDER BY a").to_batches())
        next(batches)
        (private,) = (tmp_path / "disk").iterdir()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert any((private / "spilled").iterdir())
        batches.close()
    assert not any((tmp_path / "disk").iterdir())


def test_an_engine_without_room_says_so() -> None:
    config = {
        "engine": {"memory_limit": "20MB"},
        "virtual_tables": {"n": {"query": "SELECT i FROM range(3000000) AS r(i)"}},
    }
    with VirtualContext(config) as context, pytest.raises(ExecutionError, match="more memory than the engine may use"):
        context.query("SELECT list(i) AS all_of_them FROM n").rows()
