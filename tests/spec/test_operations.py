"""Performance, monitoring and troubleshooting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tauro_nb import (
    CacheStrategy,
    FederationEngine,
    Predicate,
    PredicateOperator,
    SecurityEnforcer,
    TableSecurityPolicy,
    TauroError,
    VirtualContext,
    VirtualDataLayer,
    VirtualTable,
)

PREDICATES = [Predicate("department", PredicateOperator.EQ, "Sales")]
ROWS = [{"id": 1, "department": "Sales"}, {"id": 2, "department": "Legal"}]


def test_cache_strategies() -> None:
    made = [
        VirtualTable(name="user_events", cache_strategy=CacheStrategy.NEVER),
        VirtualTable(name="products", cache_strategy=CacheStrategy.ALWAYS, cache_ttl_seconds=3600),
        VirtualTable(name="customers", cache_strategy=CacheStrategy.SMART, cache_ttl_seconds=3600),
        VirtualTable(name="sales_summary", cache_strategy=CacheStrategy.PERIODIC, cache_ttl_seconds=86400),
    ]
    assert [table.cache_strategy.name for table in made] == ["NEVER", "ALWAYS", "SMART", "PERIODIC"]
    assert made[-1].cache_ttl_seconds == 86400


def test_plan_analysis() -> None:
    federation = FederationEngine()
    plan = federation.plan_query("customers", PREDICATES)
    lines = [
        f"Execution Strategy: {plan.execution_strategy.value}",
        f"Estimated Cost: {plan.estimated_cost:.2f}",
        f"Estimated Rows: {plan.estimated_rows:,}",
        f"Estimated Bytes: {plan.estimated_bytes:,}",
    ]
    assert lines == [
        "Execution Strategy: direct",
        "Estimated Cost: 1000.00",
        "Estimated Rows: 1,000",
        "Estimated Bytes: 80,000",
    ]


def test_health_metrics(virtual_layer: VirtualDataLayer) -> None:
    virtual_layer.schema_registry.register_table(VirtualTable("customers"))
    virtual_layer.schema_registry.register_table(VirtualTable("vip", query="SELECT * FROM customers"))
    catalog = virtual_layer.schema_registry.export_catalog()
    assert (len(catalog["tables"]), len(catalog["lineage"])) == (2, 1)

    federation = FederationEngine()
    list(federation.execute_query(federation.plan_query("customers", PREDICATES), lambda _: ROWS)[0])
    metrics = federation.query_optimizer.get_optimization_metrics()
    assert metrics["total_queries"] == 1
    assert metrics["cache_hit_rate"] == 0.0
    assert metrics["avg_execution_time_ms"] > 0

    enforcer = SecurityEnforcer()
    enforcer.register_policy(TableSecurityPolicy("customers", allowed_roles=["admin"]))
    enforcer.validate_access("analyst", "customers")
    logs = enforcer.get_audit_logs(table_name="customers")
    denied = [log for log in logs if log.status == "DENIED"]
    assert [(log.principal, log.table_name) for log in denied] == [("analyst", "customers")]
    assert denied[0].denial_reason


def test_dashboard_queries() -> None:
    federation = FederationEngine()
    for table in ("customers", "orders", "customers"):
        list(federation.execute_query(federation.plan_query(table, PREDICATES), lambda _: ROWS)[0])
    stats_by_table: dict[str, list[float]] = {}
    for stat in federation.query_optimizer._statistics.values():
        stats_by_table.setdefault(stat.table_name, []).append(stat.execution_time_ms)
    assert {table: len(times) for table, times in stats_by_table.items()} == {"customers": 2, "orders": 1}
    assert all(min(times) > 0 for times in stats_by_table.values())

    enforcer = SecurityEnforcer()
    enforcer.audit_access("ana", "customers")
    last_24h = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=24)
    by_operation: dict[str, int] = {}
    for log in enforcer.get_audit_logs(start_time=last_24h):
        by_operation[log.operation.value] = by_operation.get(log.operation.value, 0) + 1
    assert by_operation == {"select": 1}


def test_errors_of_an_executor_reach_the_caller_and_the_metrics() -> None:
    federation = FederationEngine()
    plan = federation.plan_query("customers", PREDICATES)

    def executor(_: object) -> list[dict[str, object]]:
        raise ConnectionError("the source is away")

    results, stats = federation.execute_query(plan, executor, query_id="q1")
    with pytest.raises(ConnectionError, match="the source is away"):
        list(results)
    assert stats.status == "FAILED"
    assert federation.query_optimizer._statistics["q1"] is stats


@pytest.mark.postgres
def test_errors_of_the_road_reach_the_caller(ctx: VirtualContext) -> None:
    federation = FederationEngine(ctx)
    with pytest.raises(TauroError, match=r"unknown column `nmae`\. Did you mean `name`\?"):
        federation.plan_query("customers", [Predicate("nmae", PredicateOperator.EQ, "x")])
    with pytest.raises(TauroError, match=r"custmers.*Did you mean `customers`\?"):
        federation.plan_query("custmers", [])
    rows, stats = federation.execute_query(federation.plan_query("customers", []), query_id="q2")
    assert len(list(rows)) == 4
    assert ctx.monitor._statistics["q2"].rows_returned == stats.rows_returned == 4
    assert [log.status for log in ctx.audit_logs()] == ["FAILED", "FAILED", "SUCCESS"]


def test_policy_not_applied() -> None:
    enforcer = SecurityEnforcer()
    assert enforcer.get_policy("customers") is None
    assert enforcer.apply_row_level_security("customers", "analyst", ROWS) == ROWS
    enforcer.register_policy(TableSecurityPolicy("customers", row_level_filters={"analyst": "department = 'Sales'"}))
    policy = enforcer.get_policy("customers")
    assert policy is not None
    assert policy.row_level_filters == {"analyst": "department = 'Sales'"}
    assert enforcer.apply_row_level_security("customers", "analyst", ROWS) == ROWS[:1]
