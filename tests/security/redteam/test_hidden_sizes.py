"""R17 to R21 once more: limits, samples, sizes and names that could tell of what is behind a policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import ExecutionError, LimitExceeded, ParseError, SourceUnavailable
from tests.security.oracle import outcome, settle
from tests.security.redteam.sites import Site
from tests.security.redteam.staff import POLICY_NUMBER
from tests.security.redteam.trial import Gate, Reach, Trial
from tests.servers import PostgresServer

BETWEEN = (0, 5)
"""Hidden rows behind every visible one of the first and of the second twin."""
SALES: dict[str, Any] = {"emp": {"row_level_filters": {"admin": "", "analyst": "upper(dept) <> 'LEGAL'"}}}
ENTITLED: dict[str, Any] = {
    "emp": {"row_level_filters": {"admin": "", "analyst": "id IN (SELECT emp_id FROM ent WHERE who = {principal})"}},
    "ent": {"allowed_roles": ["admin"]},
}


def rows_of(sql: str) -> pa.Table:
    with duckdb.connect() as con:
        return con.execute(sql).to_arrow_table()


def mixed(between: int) -> dict[str, pa.Table]:
    """9,000 visible rows, with so many hidden ones behind each."""
    rows = f"""
        SELECT i AS id, 'Sales' AS dept, i % 7 AS kind, i * 10 AS place FROM range(9000) t(i)
        UNION ALL SELECT -1, 'Legal', 0, i * 10 + 1 + j FROM range(9000) t(i), range({between}) u(j)"""
    return {"emp": rows_of(f"SELECT id, dept, kind FROM ({rows}) ORDER BY place")}


def analyst(config: dict[str, Any], policies: dict[str, Any], **more: Any) -> VirtualContext:
    admin = VirtualContext({**config, "security_policies": policies, **more}, "admin")
    return admin.as_principal("ana", roles=["analyst"])


@pytest.mark.parametrize("kind", ["duckdb", "parquet", "sqlite"])
def test_r18_a_sample_does_not_go_by_where_hidden_rows_are(tmp_path: Path, reach: Reach, kind: str) -> None:
    """SYSTEM would take 2,048 stored rows at a time, and show how many of them are visible."""
    twins = [analyst(settle(kind, tmp_path / f"{number}", mixed(number)), SALES) for number in BETWEEN]
    for sql in (
        "SELECT id FROM emp TABLESAMPLE 30% REPEATABLE (4)",
        "SELECT id FROM emp TABLESAMPLE SYSTEM (30%) REPEATABLE (5)",
        "SELECT id FROM emp USING SAMPLE 30% (bernoulli, 4)",
        "SELECT count(*) AS n FROM (SELECT * FROM emp WHERE kind < 3) AS few TABLESAMPLE SYSTEM (30%) REPEATABLE (6)",
    ):
        first, second = (outcome(ctx, sql) for ctx in twins)
        assert (first.error, second.error) == ("", "")
        assert first.bag == second.bag, sql
    for sql in ("SELECT id FROM emp", "SELECT id, upper(dept) AS d FROM emp WHERE kind <> 2"):
        sizes = [[batch.num_rows for batch in ctx.query(sql).to_batches()] for ctx in twins]
        assert sizes[0] == sizes[1]
    blocks = [ctx.table("emp").sample(0.3, method="block", seed=4) for ctx in twins]
    drawn = [sorted(block.id.to_pyarrow().to_pylist()) for block in blocks]
    assert drawn[0] == drawn[1]
    assert 0 < len(drawn[0]) < 9000
    for ctx in twins:
        assert ctx.profile("emp", ["kind"], sample=50).rows == 50
        ctx.close()
    reach("sql", "holds")


def test_r18_a_reservoir_with_a_seed_is_refused(gate: Gate) -> None:
    gate.refuses(
        "SELECT id FROM emp USING SAMPLE reservoir(3 ROWS) REPEATABLE (1)",
        "SELECT id FROM emp USING SAMPLE 10% (reservoir, 1)",
        "SELECT o.id FROM orders o TABLESAMPLE RESERVOIR (3) REPEATABLE (1) JOIN emp e ON e.id = o.emp_id",
    )


def test_r18_samples_of_visible_rows(trial: Trial) -> None:
    trial.holds(
        "SELECT id FROM emp TABLESAMPLE 100%",
        "SELECT id FROM emp TABLESAMPLE SYSTEM (100 PERCENT)",
        "SELECT count(*) AS n FROM (SELECT * FROM emp USING SAMPLE 5 ROWS)",
        "SELECT count(*) AS n FROM emp e JOIN orders o ON o.emp_id = e.id USING SAMPLE 100% (bernoulli)",
        "SELECT count(*) AS n FROM emp TABLESAMPLE RESERVOIR (1000)",
    )


@pytest.fixture
def far_apart(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[list[VirtualContext]]:
    """An open table on another server than one with 40 and with 20,000 hidden rows; the planner there cannot guess."""
    made = []
    far = rows_of("SELECT i AS id, i * 7 % 20000 AS emp_id, 'row ' || i AS t FROM range(60000) t(i)")
    for hidden in (40, 20_000):
        others = f"SELECT -i, 'Legal' FROM range({hidden}) t(i)"
        emp = rows_of(f"SELECT i AS id, 'Sales' AS dept FROM range(90) t(i) UNION ALL {others}")
        names = [postgres_server.create_database() for _ in range(2)]
        near = settle("postgresql", tmp_path, {"emp": emp}, uri=postgres_server.uri(names[0]), connection="near")
        away = settle("postgresql", tmp_path, {"far": far}, uri=postgres_server.uri(names[1]), connection="away")
        for name in names:
            postgres_server.execute("ANALYZE", name)
        made.append(analyst({part: {**near[part], **away[part]} for part in near}, SALES))
    yield made
    for ctx in made:
        ctx.close()


@pytest.mark.postgres
def test_r21_an_own_limit_does_not_tell_whether_keys_are_sent(far_apart: list[VirtualContext], reach: Reach) -> None:
    """That goes by how many rows are expected behind the policy, and so by hidden ones."""
    sql = "SELECT e.id, f.t FROM emp e JOIN far f ON f.emp_id = e.id"
    for limit in ("1KB", "50KB", "1MB"):

        def within(ctx: VirtualContext, text: str, _: Any, most: str = limit) -> pa.Table:
            return ctx.query(text, max_bytes=most).to_arrow()

        first, second = (outcome(ctx, sql, by=within) for ctx in far_apart)
        assert (first.error, first.message, first.bag) == (second.error, second.message, second.bag), limit
    assert first.error == ""
    reach("sql", "holds")


@pytest.fixture
def entitled(tmp_path: Path) -> dict[str, Any]:
    """Rows of `emp` go by a table on a connection that nobody but administrators knows of."""
    emp = rows_of("SELECT i AS id, i::VARCHAR AS note FROM range(60) t(i)")
    ent = rows_of("SELECT i % 60 AS emp_id, CASE WHEN i < 20 THEN 'ana' ELSE 'zed' END AS who FROM range(20000) t(i)")
    near = settle("sqlite", tmp_path, {"emp": emp}, connection="crm")
    away = settle("sqlite", tmp_path, {"ent": ent}, connection="canary_hr")
    return {part: {**near[part], **away[part]} for part in near}


def test_r14_a_limit_names_no_connection_that_only_a_policy_reads(entitled: dict[str, Any], reach: Reach) -> None:
    asked = {
        **ENTITLED["emp"]["row_level_filters"],
        "analyst": "id IN (SELECT emp_id FROM ent WHERE upper(who) = 'ANA')",
    }
    policies = {**ENTITLED, "emp": {"row_level_filters": asked}}
    for limits in ({"max_bytes": "20KB"}, {"connections": {"canary_hr": "20KB"}}):
        with analyst(entitled, policies, limits=limits) as ana, pytest.raises(LimitExceeded) as caught:
            ana.query("SELECT id FROM emp").rows()
        assert str(caught.value).startswith("moved more than the configuration allows")
        assert "canary" not in "\n".join(caught.value._render_traceback_())
    reach("sql", "refused")


def test_r57_own_records_name_no_connection_that_only_a_policy_reads(entitled: dict[str, Any], reach: Reach) -> None:
    with analyst(entitled, ENTITLED) as ana:
        assert len(ana.query("SELECT id FROM emp").rows()) == 20
        (log,) = ana.audit_logs()
        assert (log.table_name, log.backends) == ("emp", ("crm",))
        assert "canary" not in str(log)
        auditor = ana.as_principal("admin")
        assert [log.backends for log in auditor.audit_logs(table_name="emp")] == [("canary_hr", "crm")]
    reach("sql", "holds")


@pytest.mark.postgres
def test_r14_what_fails_behind_a_policy_is_not_named(
    tmp_path: Path, postgres_server: PostgresServer, reach: Reach
) -> None:
    """A server that refuses the policy's table when it is read: planning had no reason to."""
    emp, ent = (
        rows_of("SELECT i AS id FROM range(9) t(i)"),
        rows_of("SELECT i AS emp_id, 'ana' AS who FROM range(5) t(i)"),
    )
    names = [postgres_server.create_database() for _ in range(2)]
    near = settle("postgresql", tmp_path, {"emp": emp}, uri=postgres_server.uri(names[0]), connection="crm")
    away = settle("postgresql", tmp_path, {"ent": ent}, uri=postgres_server.uri(names[1]), connection="canary_hr")
    postgres_server.execute("DROP ROLE IF EXISTS canary_reader; CREATE ROLE canary_reader LOGIN PASSWORD 'pw'")
    postgres_server.execute("GRANT SELECT ON ent TO canary_reader", names[1])
    away["connections"]["canary_hr"]["uri"] = postgres_server.uri(names[1], user="canary_reader", password="pw")
    with analyst({part: {**near[part], **away[part]} for part in near}, ENTITLED) as ana:
        assert len(ana.query("SELECT id FROM emp").rows()) == 5
        postgres_server.execute("REVOKE SELECT ON ent FROM canary_reader", names[1])
        with pytest.raises(SourceUnavailable, match="what a policy reads is not available") as caught:
            ana.query("SELECT id FROM emp").rows()
        assert "canary" not in "\n".join([repr(caught.value), *caught.value._render_traceback_()])
    reach("sql", "refused")


def test_r36_what_looking_around_hands_over_is_a_copy_without_policies(site_of: Any, reach: Reach) -> None:
    """A decision, a table, the version of the policies: none says what a policy does, none is the original."""
    site: Site = site_of("sqlite")
    analyst = site.analyst
    decision = analyst.decision("emp")
    assert "secret" not in decision.columns
    texts = [str(decision), str(decision.row_filter), str([column.expression for column in decision.columns.values()])]
    assert not any(str(POLICY_NUMBER) in text or "Sales" in text for text in texts)
    assert decision.columns["ssn"].mask == "ssn"
    columns = site.config["virtual_tables"]["emp"]["schema"]
    whole = site.admin.security.decide("emp", columns, analyst.principal)
    assert str(POLICY_NUMBER) in str(whole.row_filter)
    table = analyst.get_table("orders")
    assert table is not None
    assert (table.table_name, table.path, table.options) == (None, None, {})
    table.table_name = "phys_vault"
    assert analyst.query("SELECT count(*) AS n FROM orders").rows() == [{"n": 40}]
    assert (analyst.policy_version, analyst.explain_access(None, "emp").policy_version) == ("", "")
    assert site.admin.policy_version not in repr(analyst.posture())
    reach("sql", "holds")


def test_r18_the_size_of_a_table_tells_nothing_of_a_closed_column(tmp_path: Path, reach: Reach) -> None:
    closed = {"emp": {"field_policies": {"secret": {"access_level": "restricted", "allowed_roles": ["admin"]}}}}
    found = []
    for length in (1, 500):
        rows = rows_of(f"SELECT i AS id, repeat('s', {length}) || i AS secret FROM range(5000) t(i)")
        ctx = analyst(settle("parquet", tmp_path / f"{length}", {"emp": rows}), closed)
        told, listed = ctx.statistics("emp"), ctx.schema_registry.get_table_statistics("emp")
        assert listed is not None
        found.append((told.row_count, told.size_bytes, listed.size_bytes, str(ctx.plan("SELECT * FROM emp"))))
        ctx.close()
    assert found[0] == found[1]
    assert found[0][:3] == (5000, None, None)
    reach("sql", "holds")


def test_r14_a_query_that_is_nested_too_deeply_is_refused_and_recorded(site_of: Any, reach: Reach) -> None:
    site: Site = site_of("duckdb")
    before = len(site.analyst.audit_logs())
    with pytest.raises(ParseError, match="nested too deeply"):
        site.analyst.query(f"SELECT {'(' * 600}id{')' * 600} FROM emp")
    with pytest.raises(ExecutionError, match="nested too deeply"):
        site.analyst.query(f"SELECT {'+'.join(['id'] * 900)} AS n FROM emp")
    assert [log.status for log in site.analyst.audit_logs()[before:]] == ["FAILED", "FAILED"]
    reach("sql", "refused")
