"""`tauro.audit`: the log as a virtual table, for auditors, through the road every query takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tauro_nb import Principal, VirtualContext, VirtualTable
from tauro_nb.errors import AccessDenied, DuplicateTable, PolicyError, UsageError
from tauro_nb.security import TableSecurityPolicy
from tauro_nb.security.audit.table import AUDIT_COLUMNS, AUDIT_TABLE, audit_reader
from tauro_nb.widgets import catalog_html, catalog_text

TABLES = {"numbers": {"query": "SELECT i AS a, i % 3 AS b FROM range(5) t(i)"}}


@pytest.fixture(params=["in memory", "in files", "in rotated files"])
def ctx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VirtualContext]:
    audit: dict[str, Any] = {} if request.param == "in memory" else {"path": str(tmp_path / "audit.jsonl")}
    if request.param == "in rotated files":
        audit["rotate_bytes"] = 4096
    with VirtualContext({"virtual_tables": TABLES, "audit": audit}, "tess") as made:
        yield made.as_principal("tess", roles=["auditor"])


def asked(ctx: VirtualContext, who: str | Principal, times: int = 1) -> None:
    door = ctx.as_principal(who)
    for _ in range(times):
        door.query("SELECT a FROM numbers WHERE b = 1").rows()


def test_sql(ctx: VirtualContext) -> None:
    asked(ctx, "ana", 12)
    with pytest.raises(AccessDenied):
        ctx.as_principal("ana").query("SELECT * FROM tauro.audit")
    rows = ctx.query(
        "SELECT principal, status, count(*) AS n, sum(row_count) AS r, min(projected) AS p, any_value(error_class) "
        "AS e FROM tauro.audit WHERE event IN ('query', 'deny') AND principal <> 'tess' GROUP BY ALL ORDER BY status"
    ).rows()
    assert rows == [
        {"principal": "ana", "status": "DENIED", "n": 1, "r": 0, "p": [], "e": "AccessDenied"},
        {"principal": "ana", "status": "SUCCESS", "n": 12, "r": 24, "p": ["a"], "e": None},
    ]
    assert ctx.query("SELECT count(*) AS n FROM tauro.audit").rows()[0]["n"] >= 14
    assert ctx.query('SELECT 1 AS one FROM "tauro.audit" LIMIT 1').rows() == [{"one": 1}]
    newest = ctx.query("SELECT * FROM tauro.audit ORDER BY sequence DESC LIMIT 1").to_arrow()
    assert newest.column_names == list(AUDIT_COLUMNS)
    assert newest["table_name"].to_pylist() == [AUDIT_TABLE]
    trail = ctx.layer.audit_trail
    if trail.settings.rotate_bytes == 4096:
        assert trail.path is not None
        assert len(list(trail.path.parent.glob("audit.jsonl.0*"))) > 2


def test_ibis(ctx: VirtualContext) -> None:
    import ibis

    asked(ctx, "ana", 3)
    con = ibis.tauro.connect(ctx)
    table = con.table(AUDIT_TABLE)
    assert table.schema()["recorded_at"].is_timestamp()
    assert table.schema()["field_names"].is_array()
    mine = table.filter(table.principal == "ana", table.filtered.contains("b"))
    assert mine.count().to_pyarrow().as_py() == 3
    assert mine.recorded_at.max().to_pyarrow().as_py() > mine.recorded_at.min().to_pyarrow().as_py()


def test_reading_it_leaves_a_record_itself(ctx: VirtualContext) -> None:
    first = ctx.query("SELECT table_name, status FROM tauro.audit WHERE table_name = 'tauro.audit'").rows()
    assert first == [{"table_name": AUDIT_TABLE, "status": "STARTED"}]
    (log,) = ctx.audit_logs(table_name=AUDIT_TABLE)
    assert (log.principal, log.status, log.row_count) == ("tess", "SUCCESS", 1)
    assert log.column_roles == {"table_name": ("projected", "filtered"), "status": ("projected",)}


def test_every_other_event_has_a_row(ctx: VirtualContext) -> None:
    ctx.verify_audit()
    ctx.export_audit()
    rows = ctx.query("SELECT event, principal, facts FROM tauro.audit WHERE facts IS NOT NULL ORDER BY sequence").rows()
    assert [(row["event"], row["principal"]) for row in rows] == [("audit.verify", "tess"), ("export", "tess")]
    assert json.loads(rows[1]["facts"]) == {"format": "jsonl", "records": 0}


def test_an_auditor_with_a_tenant_sees_that_tenant_s_records(ctx: VirtualContext) -> None:
    asked(ctx, "ana")
    asked(ctx, Principal("bob", {"bob"}, tenant="acme"), 2)
    acme = ctx.as_principal("tom", roles=["auditor"], tenant="acme")
    sql = (
        "SELECT principal, tenant, count(*) AS n FROM tauro.audit WHERE table_name = 'numbers' GROUP BY ALL ORDER BY 1"
    )
    assert acme.query(sql).rows() == [{"principal": "bob", "tenant": "acme", "n": 2}]
    assert [row["principal"] for row in ctx.query(sql).rows()] == ["ana", "bob"]
    other = ctx.as_principal("tim", roles=["auditor"], tenant="other")
    assert other.query(sql).rows() == []


def test_it_is_in_the_catalog_of_auditors_only(ctx: VirtualContext) -> None:
    ana = ctx.as_principal("ana")
    assert AUDIT_TABLE in {table.name for table in ctx.catalog().tables}
    assert AUDIT_TABLE in ctx.ibis().list_tables()
    assert "audit" in catalog_text(ctx.catalog())
    for shown in (catalog_text(ana.catalog()), catalog_html(ana.catalog()), str(ana.ibis().list_tables()),
                  str(ana.ibis().list_databases()), repr(ana.catalog().sources)):  # fmt: skip
        assert "audit" not in shown
    assert ana.get_table(AUDIT_TABLE) is None
    for door in (ana.describe, ana.profile, ana.statistics, ana.table, ana.visible_schema, ana.read_table):
        with pytest.raises(AccessDenied):
            door(AUDIT_TABLE)
    assert ctx.profile(AUDIT_TABLE, ["principal", "roles"])["principal"].distinct >= 1


def test_nobody_takes_its_name_or_its_policy(ctx: VirtualContext) -> None:
    layer = ctx.layer
    with pytest.raises(DuplicateTable):
        layer.schema_registry.register_table(VirtualTable("Tauro.Audit", query="SELECT 1 AS a"))
    for change in (
        lambda: layer.schema_registry.update_table(VirtualTable(AUDIT_TABLE, query="SELECT 1 AS a")),
        lambda: layer.schema_registry.delete_table(AUDIT_TABLE),
    ):
        with pytest.raises(UsageError):
            change()
    for policy in (
        lambda: layer.security.register_policy(TableSecurityPolicy("TAURO.audit")),
        lambda: layer.security.remove_policy(AUDIT_TABLE),
    ):
        with pytest.raises(PolicyError):
            policy()
    with pytest.raises(AccessDenied):
        ctx.as_principal("ana").query("SELECT * FROM tauro.audit")
    assert AUDIT_TABLE not in layer.schema_registry.names()
    assert AUDIT_TABLE not in layer.schema_registry.export_catalog()["tables"]


def test_without_readers_it_is_for_nobody() -> None:
    with VirtualContext({"virtual_tables": TABLES, "audit": {"readers": []}}) as ctx, pytest.raises(AccessDenied):
        ctx.query("SELECT * FROM tauro.audit")


def test_a_query_that_never_ended_comes_last_and_a_result_without_an_intent_not_at_all() -> None:
    def record(event: str, seq: int, query: str, **more: Any) -> dict[str, Any]:
        return {"event": event, "seq": seq, "query": query, "principal": "ana", **more}

    objects = [{"name": "t"}, {"name": "u"}]
    records = [
        record("query.result", 1, "lost", outcome="SUCCESS"),
        record("query.intent", 2, "open", objects=objects, outcome="STARTED"),
        record("query.intent", 3, "done", objects=objects, outcome="STARTED"),
        record("query.result", 4, "done", outcome="FAILED", error="ExecutionError", rows=0),
    ]
    rows = (
        audit_reader(records, ["sequence", "table_name", "status", "error_class", "row_count"]).read_all().to_pylist()
    )
    assert [tuple(row.values()) for row in rows] == [
        (3, "t", "FAILED", "ExecutionError", 0), (3, "u", "FAILED", "ExecutionError", 0),
        (2, "t", "STARTED", None, None), (2, "u", "STARTED", None, None),
    ]  # fmt: skip
