"""What a record says of a query: everything that decided, and none of its values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import Principal, VirtualContext
from tauro_nb.errors import AccessDenied, BindError, TauroError
from tauro_nb.security import AuditLog

SECRET, LITERAL = "secret-4711", "literal-8813"

POLICIES = {
    "people": {
        "row_level_filters": {"admin": "", "analyst": f"salary < 1000 OR note = '{SECRET}'"},
        "field_policies": {
            "email": {"masking_enabled": True, "mask": "email", "allowed_roles": ["admin"]},
            "ssn": {"access_level": "restricted", "allowed_roles": ["admin"]},
        },
    },
    "closed": {"allowed_roles": ["admin"]},
    "quiet": {"audit_all_access": False},
}


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[VirtualContext]:
    with duckdb.connect(str(tmp_path / "p.duckdb")) as made:
        made.execute(
            "CREATE TABLE people AS SELECT i AS id, 'a' || i || '@x.org' AS email, i * 10 AS salary, 'n' AS note, "
            "'1-' || i AS ssn, i % 3 AS team FROM range(9) t(i)"
        )
    made_of = {"connection": "at", "table": "people"}
    config = {
        "connections": {"at": {"type": "duckdb", "path": str(tmp_path / "p.duckdb")}},
        "virtual_tables": {
            "people": made_of,
            "closed": made_of,
            "quiet": {"query": "SELECT 1 AS a"},
            "teams": {"query": "SELECT i AS team, 'team ' || i AS name FROM range(3) t(i)"},
            "members": {"query": "SELECT t.name, p.id FROM people p JOIN teams t USING (team)"},
        },
        "security_policies": POLICIES,
        "audit": {"path": str(tmp_path / "audit.jsonl")},
    }
    with VirtualContext(config) as made:
        yield made


@pytest.fixture
def ana(ctx: VirtualContext) -> VirtualContext:
    return ctx.as_principal(Principal("ana", {"analyst"}, tenant="acme", purpose="research"))


def last(ctx: VirtualContext, table: str) -> AuditLog:
    return ctx.audit_logs(table_name=table)[-1]


def test_every_field_of_a_query(ctx: VirtualContext, ana: VirtualContext, tmp_path: Path) -> None:
    sql = f"SELECT email FROM people WHERE id > :low AND note <> '{LITERAL}' AND team <> :team"
    assert len(ana.query(sql, {"low": 2, "team": 1}).rows()) == 4
    log = last(ctx, "people")
    assert (log.event, log.status, log.row_count, log.error_class) == ("query", "SUCCESS", 4, "")
    assert (log.principal, log.roles, log.tenant, log.purpose) == ("ana", ("analyst",), "acme", "research")
    assert all((log.byte_count, log.duration_ms, log.fingerprint, log.policy_hash))
    assert log.policy_version == ctx.policy_version
    assert log.statement == "SELECT email FROM people WHERE id > $low AND note <> ? AND team <> $team"
    assert log.column_roles == {
        "email": ("projected",), "id": ("filtered",), "note": ("filtered",), "team": ("filtered",),
    }  # fmt: skip
    assert log.masked == {"email": "email"}
    assert log.row_filter == "row filter of `analyst`"
    assert log.policy_columns == ("salary",)
    assert log.backends == ("at",)
    assert set(log.params) == {"low", "team"}
    assert log.mode == "embedded"
    assert {"session", "host", "pid"} <= set(log.origin)
    written = (tmp_path / "audit.jsonl").read_text()
    assert SECRET not in written
    assert LITERAL not in written
    assert ctx.verify_audit().ok


def test_equal_values_are_equal_in_the_record_and_nothing_more(ctx: VirtualContext) -> None:
    first = "SELECT id FROM people WHERE note = 'n' AND id = 3"
    for sql, params in ((first, {}), ("SELECT id FROM people WHERE note = :n AND id = :i", {"n": "n", "i": 3})):
        ctx.query(sql, params).rows()
    literal, bound = ctx.audit_logs(table_name="people")[-2:]
    assert literal.literals == (bound.params["n"], bound.params["i"])
    assert len(set(literal.literals)) == 2
    assert all(len(value) == 16 for value in literal.literals)
    ctx.query(f"SELECT id FROM people WHERE id IN ({', '.join(map(str, range(500)))})").rows()
    many = last(ctx, "people").literals
    assert len(many) == 51
    assert many[-1].startswith("450 more: ")


def test_values_stand_in_the_order_of_their_places(ctx: VirtualContext) -> None:
    names = {"a": 3, "b": 1, "c": "n", "d": 7}
    sql = "WITH c AS (SELECT id FROM people WHERE id > {a}) SELECT id + {b} FROM c WHERE 'n' = {c} LIMIT {d}"
    ctx.query(sql.format(a=3, b=1, c="'n'", d=7)).rows()
    ctx.query(sql.format(a=":a", b=":b", c=":c", d=":d"), names).rows()
    literal, bound = ctx.audit_logs(table_name="people")[-2:]
    assert (
        literal.statement == "WITH c AS (SELECT id FROM people WHERE id > ?) SELECT id + ? FROM c WHERE ? = ? LIMIT ?"
    )
    assert literal.literals == tuple(bound.params[name] for name in ("a", "b", "c", "c", "d"))


def test_views_are_direct_and_their_tables_are_below(ctx: VirtualContext, ana: VirtualContext) -> None:
    ana.query("SELECT name FROM members WHERE id = 1").rows()
    found = {log.table_name: log for log in ctx.audit_logs()[-3:]}
    assert {name: log.base for name, log in found.items()} == {"members": False, "people": True, "teams": True}
    assert found["members"].column_roles == {"name": ("projected",), "id": ("filtered",)}
    assert found["people"].column_roles == {"id": ("projected",), "team": ("joined",)}
    assert found["people"].policy_columns == ("note", "salary")
    assert len({log.query_id for log in found.values()}) == 1


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("SELECT p.id FROM people p, people q WHERE p.team = q.id", {"id": "projected filtered joined",
                                                                     "team": "filtered joined"}),
        ("SELECT team, count(*) FROM people GROUP BY team ORDER BY max(id)", {"team": "projected grouped",
                                                                              "id": "sorted"}),
        ("SELECT id FROM (SELECT id, team FROM people) WHERE team = 1", {"id": "projected", "team": "filtered"}),
        ("WITH c AS (SELECT * FROM people) SELECT id FROM c WHERE note = 'n'", None),
        ("SELECT count(*) FROM people WHERE id IN (SELECT team FROM people)", {"id": "filtered", "team": "filtered"}),
        ("SELECT id FROM people UNION SELECT team FROM people", {"id": "projected", "team": "projected"}),
        ("SELECT count(*) FROM people", {}),
    ],
)  # fmt: skip
def test_roles_of_columns(ctx: VirtualContext, sql: str, roles: dict[str, str] | None) -> None:
    ctx.query(sql).rows()
    found = {name: " ".join(given) for name, given in last(ctx, "people").column_roles.items()}
    if roles is None:
        assert (found["id"], found["note"]) == ("projected", "filtered")
    else:
        assert found == roles


def test_refusals_and_failures_are_recorded_with_their_class(ctx: VirtualContext, ana: VirtualContext) -> None:
    for sql, error in (
        ("SELECT * FROM closed WHERE id = 7", AccessDenied),
        ("SELECT nope FROM people", BindError),
        ("SELECT no FROM nowhere", TauroError),
        ("SELEC 1", TauroError),
    ):
        with pytest.raises(error):
            ana.query(sql)
    denied, bind, nowhere, typo = ctx.audit_logs()[-4:]
    assert (denied.status, denied.error_class, denied.table_name, denied.event) == (
        "DENIED", "AccessDenied", "closed", "deny",
    )  # fmt: skip
    assert denied.statement == "SELECT * FROM closed WHERE id = ?"
    assert (bind.status, bind.error_class, bind.fingerprint != "") == ("FAILED", "BindError", True)
    assert (nowhere.error_class, typo.error_class, typo.statement) == ("UnknownTable", "ParseError", "")
    with pytest.raises(TauroError):
        ctx.query("SELECT (note || email)::INTEGER FROM people").rows()
    assert (last(ctx, "people").status, last(ctx, "people").error_class) == ("FAILED", "ExecutionError")


def test_a_refusal_says_under_which_policies(ctx: VirtualContext, ana: VirtualContext) -> None:
    before = ctx.policy_version
    for sql in ("SELECT * FROM closed", "SELECT nothing FROM people", "SELEC"):
        with pytest.raises(TauroError):
            ana.query(sql)
    policy = ctx.security.get_policy("closed")
    assert policy is not None
    policy.denied_roles = ["analyst"]
    after = ctx.policy_version
    with pytest.raises(AccessDenied):
        ana.query("SELECT * FROM closed")
    assert [log.policy_version for log in ctx.audit_logs(principal="ana")] == [before] * 3 + [after]
    assert {log.policy_version for log in ana.audit_logs()} == {""}


def test_a_policy_may_ask_for_denials_only(ctx: VirtualContext) -> None:
    before = len(ctx.audit_logs())
    assert ctx.query("SELECT a FROM quiet").rows() == [{"a": 1}]
    assert len(ctx.audit_logs()) == before
    ctx.query("SELECT a FROM quiet, people").rows()
    assert [log.table_name for log in ctx.audit_logs()[before:]] == ["people"]


def test_own_records_are_shown_without_what_only_the_policy_reads(ctx: VirtualContext, ana: VirtualContext) -> None:
    ctx.query("SELECT id FROM people").rows()
    ana.query("SELECT id FROM people").rows()
    (mine,) = ana.audit_logs()
    assert (mine.principal, mine.policy_columns, mine.policy_hash, mine.policy_version) == ("ana", (), "", "")
    assert last(ctx, "people").policy_columns == ("note", "salary")
    assert last(ctx, "people").policy_hash
    for refused in (
        lambda: ana.audit_logs(principal="admin"),
        ana.export_audit,
        ana.verify_audit,
    ):
        with pytest.raises(AccessDenied, match="auditor, admin"):
            refused()
    assert [log.status for log in ana.audit_logs(status="denied")] == ["DENIED"] * 3


def test_an_auditor_of_a_tenant_finds_its_records_only(ctx: VirtualContext, ana: VirtualContext) -> None:
    ctx.query("SELECT id FROM people").rows()
    ana.query("SELECT id FROM people").rows()
    acme = ctx.as_principal("tom", roles=["auditor"], tenant="acme")
    other = ctx.as_principal("tim", roles=["auditor"], tenant="other")
    assert {log.principal for log in acme.audit_logs()} == {"ana"}
    assert other.audit_logs() == []
    assert {log.principal for log in ctx.as_principal("tess", roles=["auditor"]).audit_logs()} == {"admin", "ana"}


def test_exports_are_recorded(ctx: VirtualContext) -> None:
    ctx.query("SELECT id FROM people").rows()
    assert len(ctx.export_audit("jsonl").splitlines()) == 1
    assert ctx.export_audit("csv", table_name="people").splitlines()[1].count("people") >= 1
    assert ctx.export_audit(end_time=datetime.now(UTC) - timedelta(hours=1)) == ""
    notes = [record for record in ctx.layer.audit_trail.events() if record["event"] == "export"]
    assert [note["facts"] for note in notes] == [
        {"format": "jsonl", "records": 1}, {"format": "csv", "records": 1}, {"format": "jsonl", "records": 0},
    ]  # fmt: skip
    assert {note["principal"] for note in notes} == {"admin"}


def test_use_of_a_key_is_recorded_with_the_query(tmp_path: Path) -> None:
    people: dict[str, Any] = {"query": "SELECT 1 AS id, 'x' AS ssn"}
    policy = {"field_policies": {"ssn": {"encryption_enabled": True, "allowed_roles": ["admin"]}}}
    config = {
        "virtual_tables": {"people": people},
        "security_policies": {"people": policy},
        "audit": {"path": str(tmp_path / "other.jsonl")},
    }
    with VirtualContext(config, "ana") as made:
        made.query("SELECT ssn FROM people").rows()
        made.query("SELECT id FROM people").rows()
        made.as_principal("admin").query("SELECT ssn FROM people").rows()
        uses = [record for record in made.layer.audit_trail.events() if record["event"] == "key.use"]
        logs = made.layer.audit_trail.records()
    assert [use["facts"] for use in uses] == [{"columns": ["people.ssn"]}]
    assert uses[0]["query"] == logs[0].query_id
    assert logs[0].masked == {"ssn": "encrypted"}
    assert json.loads((tmp_path / "other.jsonl").read_text().splitlines()[0])["event"] == "log.segment"


@pytest.mark.parametrize(
    "value",
    ["'hunter2'", "$$hunter2$$", "$tag$hunter2$tag$", "e'hunter2'", "'hunter' || '2hunter2'", "/* hunter2 */ 'x'",
     "CAST('hunter2' AS VARCHAR)", "CASE WHEN note = 'hunter2' THEN 'hunter2' ELSE note END", "['hunter2'][1]"],
)  # fmt: skip
def test_no_form_of_a_literal_is_recorded(ctx: VirtualContext, value: str, tmp_path: Path) -> None:
    ctx.query(f"SELECT id FROM people WHERE note <> {value} -- hunter2").rows()
    with pytest.raises(TauroError):
        ctx.query(f"SELECT nope FROM people WHERE note <> {value}")
    assert "hunter2" not in (tmp_path / "audit.jsonl").read_text()
    assert all(log.literals or "x" in value for log in ctx.audit_logs(status="success"))
