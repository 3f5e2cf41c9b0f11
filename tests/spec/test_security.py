"""Security: classification, encryption, row filters, hardening."""

from __future__ import annotations

import pytest

from tauro_nb import (
    AccessLevel,
    FieldSecurityPolicy,
    SecurityEnforcer,
    SourceType,
    TableSecurityPolicy,
    VirtualContext,
    VirtualDataLayer,
    VirtualTable,
)

FILTERS = {
    "analyst": ("department = 'Sales'", [1, 2, 4]),
    "manager": ("manager_id = {principal}", []),
    "john.doe": ("manager_id = {principal}", [1, 3]),
    "regional_lead": ("region IN ('North', 'South')", [1, 2, 4]),
    "junior_analyst": ("salary < 100000", [1, 3, 4]),
    "retention_analyst": ("signup_date >= DATE_SUB(NOW(), INTERVAL 1 YEAR)", [1, 3]),
}


def test_tags_classify(virtual_layer: VirtualDataLayer) -> None:
    customers = VirtualTable(
        name="customers",
        source_type=SourceType.DATABASE,
        connector_type="postgresql",
        connection_id="prod_db",
        table_name="customers",
        tags=["pii", "confidential", "financial"],
    )
    virtual_layer.schema_registry.register_table(customers)
    assert [table.name for table in virtual_layer.schema_registry.list_tables(tag="confidential")] == ["customers"]


@pytest.mark.postgres
@pytest.mark.usefixtures("prod_db")
def test_encrypted_field_on_the_road(customers: VirtualTable) -> None:
    ssn_policy = FieldSecurityPolicy(
        field_name="ssn",
        access_level=AccessLevel.ENCRYPTED,
        encryption_enabled=True,
        allowed_roles=["hr_admin", "compliance"],
    )
    policy = TableSecurityPolicy("customers")
    customers.schema["ssn"] = "VARCHAR"
    with VirtualContext() as ctx:
        ctx.schema_registry.register_table(customers)
        ctx.security.register_policy(policy)
        policy.field_policies["ssn"] = ssn_policy
        sql = "SELECT ssn FROM customers WHERE id = 1"
        assert ctx.as_principal("hr_admin").query(sql).rows() == [{"ssn": "123-45-6789"}]
        (row,) = ctx.as_principal("analyst").query(sql).rows()
        assert row["ssn"].startswith("tnb1.")
        assert "123-45" not in row["ssn"]


@pytest.mark.postgres
@pytest.mark.usefixtures("prod_db")
@pytest.mark.parametrize("role", FILTERS)
def test_row_filters_on_the_road_and_on_lists(role: str, customers: VirtualTable) -> None:
    text, expected = FILTERS[role]
    customers.schema = {}
    policy = TableSecurityPolicy("customers")
    with VirtualContext() as ctx:
        ctx.schema_registry.register_table(customers)
        ctx.security.register_policy(policy)
        everything = ctx.query("SELECT * FROM customers").rows()
        policy.row_level_filters[role] = text
        asked = ctx.as_principal(role).query("SELECT id FROM customers ORDER BY id").rows()
        listed = ctx.security.apply_row_level_security("customers", role, everything)
    assert [row["id"] for row in asked] == expected
    assert sorted(row["id"] for row in listed) == expected


def test_hardening() -> None:
    enforcer = SecurityEnforcer()
    strict_policy = TableSecurityPolicy(
        table_name="financial_data",
        allowed_roles=["finance_admin", "auditor"],
        audit_all_access=True,
        requires_encryption=True,
        field_policies={
            "account_number": FieldSecurityPolicy(
                field_name="account_number",
                access_level=AccessLevel.ENCRYPTED,
                encryption_enabled=True,
                allowed_roles=["finance_admin"],
            ),
            "balance": FieldSecurityPolicy(
                field_name="balance",
                access_level=AccessLevel.ENCRYPTED,
                encryption_enabled=True,
                allowed_roles=["finance_admin", "auditor"],
            ),
        },
    )
    enforcer.register_policy(strict_policy)
    assert enforcer.validate_access("finance_admin", "financial_data", ["account_number", "balance"])
    assert enforcer.validate_access("auditor", "financial_data", ["balance"])
    assert not enforcer.validate_access("auditor", "financial_data", ["account_number"])
    assert not enforcer.validate_access("analyst", "financial_data", ["balance"])
    assert [log.principal for log in enforcer.get_audit_logs(status="DENIED")] == ["auditor", "analyst"]
