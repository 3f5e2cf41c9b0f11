"""Tenants: rows, keys and audit records of one are nothing to another, whatever else two people have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tauro_nb import Principal, TableSecurityPolicy, VirtualContext
from tauro_nb.errors import AccessDenied, TauroError, UsageError

SQL = "SELECT id, email, name FROM people ORDER BY id"
RULES = {
    "people": {
        "tenant_column": "tenant",
        "field_policies": {
            "email": {"mask": "hmac", "allowed_roles": ["boss"]},
            "name": {"encryption_enabled": True, "searchable": "equality", "allowed_roles": ["boss"]},
        },
    }
}
WHO = {
    "ana": {"roles": ["analyst"], "tenant": "acme"},
    "zoe": {"roles": ["analyst"], "tenant": "zeta"},
    "aud": {"roles": ["auditor"], "tenant": "acme"},
    "all": {"roles": ["auditor"]},
}


@pytest.fixture
def shared(catalog: dict[str, Any], tmp_path: Path) -> Iterator[VirtualContext]:
    audit = {"path": str(tmp_path / "audit.jsonl")}
    with VirtualContext({**catalog, "security_policies": RULES, "principals": WHO, "audit": audit}, "ana") as ctx:
        yield ctx


def test_the_same_query_has_the_own_rows_only(shared: VirtualContext) -> None:
    for _ in range(2):
        assert [row["id"] for row in shared.query(SQL).rows()] == [1, 2]
        assert [row["id"] for row in shared.as_principal("zoe").query(SQL).rows()] == [3]
        assert [row["id"] for row in shared.as_principal("ana", tenant="zeta").query(SQL).rows()] == [3]


def test_nobody_without_a_tenant_and_no_name_of_one_that_is_sql(shared: VirtualContext) -> None:
    with pytest.raises(AccessDenied, match="has no tenant"):
        shared.as_principal("all", roles=["analyst"]).query(SQL)
    for tenant in ("x' OR '1'='1", "%", "../acme", "ACME", "acme "):
        assert len(shared.as_principal("ana", tenant=tenant).query(SQL)) == 0


def test_keys_are_the_tenants_own(shared: VirtualContext) -> None:
    """Equal values, seen from two tenants, have nothing in common: neither pseudonyms nor ciphertexts."""
    rows = [{"id": 1, "email": "ana@example.com", "name": "Ana"}]
    here = shared.security.apply_field_masking("people", shared.principal, rows)
    there = shared.security.apply_field_masking("people", shared.as_principal("zoe").principal, rows)
    again = shared.security.apply_field_masking("people", shared.principal, rows)
    assert here == again
    assert here[0]["email"] != there[0]["email"]
    assert here[0]["name"] != there[0]["name"]
    assert "Ana" not in here[0]["name"]


def test_a_ciphertext_of_one_tenant_does_not_open_for_another(catalog: dict[str, Any]) -> None:
    rule = {"encryption_enabled": True, "encrypted_at": "source", "allowed_roles": ["boss"]}
    sealing = {"people": {"field_policies": {"name": {"encryption_enabled": True, "allowed_roles": ["boss"]}}}}
    with VirtualContext({**catalog, "security_policies": sealing, "principals": WHO}, principal="ana") as ctx:
        (row,) = ctx.security.apply_field_masking("people", ctx.principal, [{"name": "Ana"}])
        ctx.security.remove_policy("people")
        ctx.security.register_policy(TableSecurityPolicy.from_mapping("people", {"field_policies": {"name": rule}}))
        boss = ctx.as_principal("bo", roles=["boss"], tenant="acme").principal
        assert ctx.security.apply_field_masking("people", boss, [row]) == [{"name": "Ana"}]
        other = ctx.as_principal("bo", roles=["boss"], tenant="zeta").principal
        with pytest.raises(TauroError) as refused:
            ctx.security.apply_field_masking("people", other, [row])
        assert "Ana" not in str(refused.value)


def test_an_auditor_with_a_tenant_sees_that_tenant(shared: VirtualContext) -> None:
    zoe = shared.as_principal("zoe")
    shared.query(SQL).rows()
    zoe.query(SQL).rows()
    with pytest.raises(TauroError):
        zoe.query("SELECT nothing FROM people")
    asked = "SELECT DISTINCT principal, tenant FROM tauro.audit WHERE table_name = 'people' ORDER BY ALL"
    own, everything = shared.as_principal("aud"), shared.as_principal("all")
    assert own.query(asked).rows() == [{"principal": "ana", "tenant": "acme"}]
    assert {log.tenant for log in own.audit_logs(table_name="people")} == {"acme"}
    assert own.audit_logs(principal="zoe") == []
    assert "zeta" not in own.export_audit()
    assert {row["tenant"] for row in everything.query(asked).rows()} == {"acme", "zeta"}
    assert {log.tenant for log in everything.audit_logs(table_name="people")} == {"acme", "zeta"}
    for curious in (shared, zoe):
        assert {log.principal for log in curious.audit_logs()} == {curious.principal.name}
        with pytest.raises(AccessDenied):
            curious.query("SELECT * FROM tauro.audit")


def test_rows_at_hand_are_filed_under_the_tenant_too(shared: VirtualContext) -> None:
    """By whichever door: an auditor of a tenant would miss them, and one of all would not know whose they were."""
    security, who = shared.security, Principal("eva", {"analyst"}, tenant="acme", purpose="audit")
    security.apply_row_level_security("people", who, [{"id": 1, "tenant": "acme"}])
    security.apply_field_masking("people", who, [{"id": 1, "email": "ana@example.com"}])
    security.audit_access(who, "people", ["id"], row_count=1)
    security.audit_access("ana", "people", ["id"], row_count=1)
    with pytest.raises(UsageError, match="0 rows or more"):
        security.audit_access("ana", "people", row_count=-1)
    security.register_policy(TableSecurityPolicy("people", allowed_roles=["boss"]))
    assert not security.validate_access(who, "people")
    with pytest.raises(AccessDenied):
        security.apply_field_masking("people", who, [{"id": 1}])
    found = shared.as_principal("aud").audit_logs()
    assert [(log.principal, log.status) for log in found] == [
        *[("eva", "SUCCESS")] * 3, ("ana", "SUCCESS"), *[("eva", "DENIED")] * 2,
    ]  # fmt: skip
    assert {log.purpose for log in found if log.principal == "eva"} == {"audit"}
    assert {log.roles for log in found} == {("analyst",)}
    assert all(log.origin["pid"] for log in found)


def test_a_simulation_is_filed_under_the_tenant_it_looked_at(shared: VirtualContext) -> None:
    admin = shared.as_principal("admin")
    admin.simulate(SQL, ["ana", "zoe"])
    filed = [(log.principal, log.acting_as, log.tenant) for log in admin.audit_logs(table_name="people")]
    assert filed == [("admin", "ana", "acme"), ("admin", "zoe", "zeta")]
    assert [log.acting_as for log in shared.as_principal("aud").audit_logs(table_name="people")] == ["ana"]


def test_who_is_renamed_into_another_tenant_keeps_nothing(shared: VirtualContext) -> None:
    plan = shared.plan(SQL)
    moved = shared.as_principal("ana", tenant="zeta")
    with pytest.raises(TauroError):
        moved.run(plan)


def test_a_namesake_of_another_tenant_is_somebody_else(shared: VirtualContext) -> None:
    here = shared.as_principal("sam", roles=["analyst"], tenant="acme")
    there = shared.as_principal("sam", roles=["analyst"], tenant="zeta")
    here.query(SQL).rows()
    assert [len(who.monitor.statistics()) for who in (here, there)] == [1, 0]
    asked = [[node for node in who.lineage().nodes if node.name.startswith("query ")] for who in (here, there)]
    assert [len(queries) for queries in asked] == [1, 0]
    there.query(SQL).rows()
    assert [len(who.monitor.statistics()) for who in (here, there)] == [1, 1]


def test_a_simulation_keeps_namesakes_apart(catalog: dict[str, Any]) -> None:
    policies = {"people": {"tenant_column": "tenant"}}
    with VirtualContext({**catalog, "security_policies": policies}, "admin") as root:
        who = [Principal("ana", tenant=tenant) for tenant in ("acme", "zeta")]
        found = root.simulate("SELECT id FROM people ORDER BY id", principals=who)
        assert [len(found[f"ana ({tenant})"]) for tenant in ("acme", "zeta")] == [2, 1]
        assert "2 rows of ana (acme) not here, 1 row only here" in str(found)
        with pytest.raises(UsageError, match=r"several: ana \(acme\), ana \(zeta\)"):
            found["ana"]
