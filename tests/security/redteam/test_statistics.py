"""R16 to R21: plans, statistics, counters and sizes. How long something takes is never a test."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tauro_nb.widgets import catalog_html, catalog_text, plan_html
from tests.security.redteam.sites import Site
from tests.security.redteam.staff import VISIBLE_EMP
from tests.security.redteam.trial import Gate, Reach, Trial, canaries

EVERYWHERE = pytest.mark.parametrize(
    "kind",
    ["duckdb", "parquet", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
)


def test_r16_explaining_is_no_query(gate: Gate) -> None:
    gate.refuses(
        "EXPLAIN SELECT * FROM emp",
        "EXPLAIN ANALYZE SELECT * FROM emp",
        "EXPLAIN (FORMAT json) SELECT * FROM emp WHERE id = 2",
        "PRAGMA enable_profiling = 'json'",
        "SELECT * FROM (EXPLAIN SELECT * FROM emp)",
    )


@EVERYWHERE
def test_r17_a_plan_does_not_tell_whether_a_row_is_there(
    site_of: Callable[[str], Site], reach: Reach, kind: str
) -> None:
    """Hidden and there, hidden range, absent, absurd: the plan is the same but for the analyst's own number."""
    analyst = site_of(kind).analyst
    forms = ("big = {}", "big < {}", "big > {}", "salary = {}", "salary < {}", "big BETWEEN {} AND 9990", "grade = {}")
    for form in forms:
        shown = {
            re.sub(
                rf"\b{number}(\.0*)?\b", "N", f"{plan} {plan_html(plan)} {plan.estimated_rows} {plan.estimated_cost}"
            )
            for number in (3000, 4000, 747_747, 20_000)
            if (plan := analyst.plan(f"SELECT name FROM emp WHERE {form.format(number)}"))
        }
        assert len(shown) == 1, form
        assert canaries(shown.pop()) == []
    reach("sql", "holds")
    reach("panels", "holds")


def test_r18_statistics_are_no_tables(gate: Gate) -> None:
    gate.refuses(
        "SELECT stats(ssn) FROM emp",
        "SUMMARIZE emp",
        "SELECT * FROM (SUMMARIZE emp)",
        "DESCRIBE emp",
        "SELECT * FROM (DESCRIBE emp)",
        "SHOW TABLES",
        "SHOW emp",
        "SELECT * FROM pragma_storage_info('emp')",
        "SELECT * FROM duckdb_tables()",
        "SELECT * FROM duckdb_columns()",
        "SELECT * FROM duckdb_views()",
        "SELECT * FROM pg_stats",
        "SELECT * FROM pg_catalog.pg_stats",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM parquet_metadata('phys_emp.parquet')",
        "SELECT * FROM parquet_bloom_probe('x', 'ssn', '1')",
        "SELECT * FROM pragma_table_info('emp')",
        "SELECT * FROM query_table('emp')",
        "SELECT * FROM duckdb_approx_database_count()",
    )


@EVERYWHERE
def test_r18_what_is_shown_of_a_table_counts_visible_rows_or_none(
    site_of: Callable[[str], Site], reach: Reach, kind: str
) -> None:
    site = site_of(kind)
    site.admin.plan("SELECT * FROM emp")  # the administrator's plan asks the source how many rows there are
    analyst = site.analyst
    described = analyst.describe("emp")
    snapshot = analyst.catalog()
    (emp,) = (table for table in snapshot.tables if table.name == "emp")
    assert (emp.row_count, described.table.row_count) == (None, None)
    assert "secret" not in [column.name for column in emp.columns if column.access != "denied"]
    shown = repr(described) + catalog_html(snapshot) + catalog_text(snapshot) + repr(snapshot)
    assert canaries(shown.replace("secret", "")) == []
    assert str(site.folder) not in shown
    reach("sql", "holds")
    reach("panels", "holds")


def test_r18_completion_offers_no_columns_of_statistics(trial: Trial) -> None:
    if trial.door != "completion":
        trial.holds("SELECT count(*) AS n FROM emp")
        return
    trial.holds("SELECT * FROM pg_stats", "SELECT stats(ssn) FROM emp", "SELECT x FROM vault", "SELECT secret FROM emp")


@EVERYWHERE
def test_r19_counters_count_visible_rows(site_of: Callable[[str], Site], reach: Reach, kind: str) -> None:
    site = site_of(kind)
    result = site.analyst.query("SELECT id FROM emp WHERE upper(name) <> 'NOBODY'")
    assert len(result) == result.stats.rows == len(VISIBLE_EMP)
    seen = site.admin.monitor.statistics()[-1]
    assert (seen.rows_returned, seen.bytes_scanned) == (len(VISIBLE_EMP), result.stats.bytes)
    assert result.plan.fragments[0].estimated_rows is None
    (log,) = site.admin.audit_logs()[-1:]
    assert log.row_count == len(VISIBLE_EMP)
    reach("sql", "holds")


def test_r21_a_limit_is_no_measure(site_of: Callable[[str], Site], reach: Reach) -> None:
    """There is no cap on rows or bytes whose error would tell a size; `limit` cuts what is visible."""
    analyst = site_of("sqlite").analyst
    for limit in (0, 1, len(VISIBLE_EMP), len(VISIBLE_EMP) + 1, 10**9):
        found = analyst.query("SELECT id FROM emp ORDER BY id", limit=limit).rows()
        assert found == [{"id": row["id"]} for row in VISIBLE_EMP][:limit]
    reach("sql", "holds")
