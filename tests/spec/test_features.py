"""Features: registry, federation, security, caching."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

import pytest

from tauro_nb import (
    AccessLevel,
    CacheStrategy,
    EmailMasker,
    FederationEngine,
    FieldSecurityPolicy,
    PhoneMasker,
    Predicate,
    PredicateOperator,
    SecurityEnforcer,
    SSNMasker,
    TableSecurityPolicy,
    VirtualContext,
    VirtualDataLayer,
    VirtualTable,
)


def test_registry(virtual_layer: VirtualDataLayer, customers: VirtualTable) -> None:
    registry = virtual_layer.schema_registry
    registry.register_table(customers)
    registry.register_table(VirtualTable("transactions", query="SELECT id FROM customers", tags=["financial"]))
    assert [table.name for table in registry.list_tables(tag="financial")] == ["transactions"]
    lineage = registry.get_lineage("transactions")
    assert lineage["upstream"] == ["customers"]
    assert lineage["downstream"] == []
    catalog = registry.export_catalog(format="json")
    assert json.loads(json.dumps(catalog)) == catalog


def test_plan_without_a_context() -> None:
    federation = FederationEngine()
    predicates = [
        Predicate("status", PredicateOperator.EQ, "active"),
        Predicate("created_date", PredicateOperator.GTE, "2024-01-01"),
    ]
    plan = federation.plan_query(
        table_name="customers",
        predicates=predicates,
        projection=["id", "name", "email"],
        limit=10000,
        supports_pushdown=True,
    )
    assert plan.estimated_rows == 300  # a tenth of 10,000 for `=`, three tenths of that for `>=`
    assert plan.estimated_bytes == 300 * 3 * 8
    assert plan.estimated_cost == 300.0
    assert plan.execution_strategy.value == "direct"
    assert [p.to_sql() for p in plan.pushdown_predicates] == ["status = 'active'", "created_date >= '2024-01-01'"]


@pytest.mark.postgres
def test_plan_with_a_context(ctx: VirtualContext) -> None:
    """The source is asked for both conditions: text that is compared with a date is a date."""
    ctx.schema_registry.update_table(
        VirtualTable("customers", connector_type="postgresql", connection_id="prod_db", table_name="customers")
    )
    predicates = [
        Predicate("status", PredicateOperator.EQ, "active"),
        Predicate("created_date", PredicateOperator.GTE, "2024-01-01"),
    ]
    plan = FederationEngine(ctx).plan_query("customers", predicates, ["id"], 10000, True)
    assert plan.pushdown_predicates == tuple(predicates)
    assert "2024-01-01" in plan.fragments[0].sql
    kept = FederationEngine(ctx).plan_query("customers", predicates, ["id"], supports_pushdown=False)
    assert (kept.pushdown_predicates, kept.residual_predicates) == ((), tuple(predicates))
    assert "2024-01-01" not in kept.fragments[0].sql
    ids = [sorted(row["id"] for row in FederationEngine(ctx).execute_query(p)[0]) for p in (plan, kept)]
    assert ids == [[1, 3], [1, 3]]


def test_encrypted_fields_are_closed_to_other_roles() -> None:
    policy = TableSecurityPolicy(table_name="customers")
    enforcer = SecurityEnforcer()
    enforcer.register_policy(policy)
    policy.field_policies["ssn"] = FieldSecurityPolicy(
        field_name="ssn", access_level=AccessLevel.ENCRYPTED, encryption_enabled=True, allowed_roles=["hr", "admin"]
    )
    assert enforcer.validate_access("hr", "customers", ["ssn"])
    assert not enforcer.validate_access("analyst", "customers", ["ssn"])
    assert enforcer.validate_access("analyst", "customers", ["name"])


def test_row_filters_change_after_registration() -> None:
    policy = TableSecurityPolicy(table_name="customers")
    enforcer = SecurityEnforcer()
    enforcer.register_policy(policy)
    policy.row_level_filters = {
        "analyst": "department = 'Sales'",
        "manager": "manager_id = {principal}",
        "admin": "",
    }
    rows = [
        {"id": 1, "department": "Sales", "manager_id": "manager"},
        {"id": 2, "department": "Legal", "manager_id": "manager"},
        {"id": 3, "department": "Sales", "manager_id": "mia"},
    ]

    def seen(principal: str) -> list[int]:
        return [row["id"] for row in enforcer.apply_row_level_security("customers", principal, rows)]

    assert {who: seen(who) for who in ("analyst", "manager", "admin")} == {
        "analyst": [1, 3],
        "manager": [1, 2],
        "admin": [1, 2, 3],
    }


def test_masking_strategies() -> None:
    masking_strategies = {"email": EmailMasker(), "phone": PhoneMasker(), "ssn": SSNMasker()}
    assert masking_strategies["email"].mask("alan@example.com") == "a***n@example.com"
    assert masking_strategies["phone"].mask("+1 555 123 1234") == "****1234"
    assert masking_strategies["ssn"].mask("123-45-5678") == "***-**-5678"


def test_audit_logging() -> None:
    enforcer = SecurityEnforcer()
    enforcer.audit_access(
        principal="john.doe",
        table_name="customers",
        field_names=["email", "name"],
        row_count=1500,
        status="SUCCESS",
    )
    start, end = datetime(2024, 1, 1), datetime(2024, 12, 31)  # noqa: DTZ001 (without a zone they are UTC)
    assert enforcer.get_audit_logs("customers", start_time=start, end_time=end) == []
    (log,) = enforcer.get_audit_logs(table_name="customers", start_time=start)
    assert (log.principal, tuple(log.field_names), log.row_count) == ("john.doe", ("email", "name"), 1500)
    json_trail = enforcer.export_audit_trail(format="json")
    csv_trail = enforcer.export_audit_trail(format="csv")
    assert [entry["principal"] for entry in json.loads(json_trail)] == ["john.doe"]
    assert [entry["principal"] for entry in csv.DictReader(io.StringIO(csv_trail))] == ["john.doe"]


def test_cache_strategies_and_metrics() -> None:
    table = VirtualTable(name="sales_summary", cache_strategy=CacheStrategy.SMART, cache_ttl_seconds=3600)
    events = VirtualTable(name="real_time_events", cache_strategy=CacheStrategy.NEVER)
    assert (table.cache_strategy.value, events.cache_strategy.value) == ("smart", "never")
    metrics = FederationEngine().query_optimizer.get_optimization_metrics()
    assert f"{metrics['cache_hit_rate']:.1%}" == "0.0%"
    assert f"{metrics['avg_execution_time_ms']:.1f}ms" == "0.0ms"
