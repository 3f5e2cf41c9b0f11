"""Installation check, usage guide and advanced patterns."""

from __future__ import annotations

from typing import Any

import pytest

import tauro_nb as tauro
from tauro_nb import (
    CacheStrategy,
    FederationEngine,
    SecurityEnforcer,
    SourceType,
    TableSecurityPolicy,
    VirtualContext,
    VirtualDataLayer,
    VirtualReaderFactory,
    VirtualTable,
)
from tauro_nb.errors import AccessDenied, ConnectorMissing, SourceUnavailable

SNOWFLAKE = VirtualTable(
    name="transactions",
    source_type=SourceType.DATA_WAREHOUSE,
    connector_type="snowflake",
    connection_id="warehouse",
    query="SELECT * FROM raw_transactions WHERE date >= '{{ start_date }}'",
    schema={"id": "INTEGER", "amount": "DECIMAL", "date": "DATE"},
    cache_strategy=CacheStrategy.MATERIALIZED,
)
S3 = VirtualTable(
    name="events",
    source_type=SourceType.FILESYSTEM,
    connector_type="s3",
    path="s3://my-bucket/events/",
    schema={"event_id": "STRING", "timestamp": "TIMESTAMP", "user_id": "STRING"},
    partitions=["date"],
)


def test_simple_verification() -> None:
    virt_module = tauro.virtualization
    names = ("VirtualDataLayer", "SecurityEnforcer", "FederationEngine", "VirtualContext")
    assert all(getattr(virt_module, name) is getattr(tauro, name) for name in names)
    assert dir(virt_module) == tauro.__all__
    with pytest.raises(AttributeError, match="no_such_name"):
        virt_module.no_such_name  # noqa: B018


@pytest.mark.postgres
def test_context_reads_a_table(ctx: VirtualContext) -> None:
    table = ctx.get_table("customers")
    assert table is not None
    assert table.table_name == "customers"
    rows = ctx.read_table("customers", principal="analyst", apply_security=True)
    assert [list(row) for row in rows] == [["id", "name", "email"]] * 4
    with pytest.raises(AccessDenied):
        ctx.read_table("customers", principal="intern", apply_security=True)
    assert [log.status for log in ctx.audit_logs(table_name="customers")] == ["SUCCESS", "DENIED"]


@pytest.mark.postgres
@pytest.mark.usefixtures("prod_db")
def test_basic_workflow(virtual_layer: VirtualDataLayer, customers: VirtualTable) -> None:
    for table in (customers, SNOWFLAKE, S3):
        virtual_layer.schema_registry.register_table(table)
    assert len(virtual_layer.schema_registry.list_tables()) == 3

    enforcer = SecurityEnforcer()
    policy = TableSecurityPolicy(
        table_name="customers", allowed_roles=["admin", "analyst", "engineer"], audit_all_access=True
    )
    enforcer.register_policy(policy)
    assert enforcer.get_policy("customers") is policy

    factory = VirtualReaderFactory(context=None)
    reader = factory.create_reader(customers)
    data = reader.read()
    assert sorted(row["id"] for row in data) == [1, 2, 3, 4]
    assert reader.read_arrow().num_rows == 4
    assert reader.schema() == {"id": "INTEGER", "name": "VARCHAR", "email": "VARCHAR", "department": "VARCHAR"}


@pytest.mark.parametrize("table", [SNOWFLAKE, S3], ids=["snowflake", "s3"])
def test_what_has_no_connector_registers_and_says_so_when_read(table: VirtualTable) -> None:
    with VirtualContext() as ctx:
        ctx.schema_registry.register_table(table)
        for read in (
            lambda: list(VirtualReaderFactory(ctx).create_reader(table).read()),
            lambda: list(VirtualReaderFactory().create_reader(table).read()),
            lambda: ctx.query(f"SELECT * FROM {table.name}").rows(),
        ):
            with pytest.raises(ConnectorMissing, match=f"no connector for `{table.connector_type}`"):
                read()
        assert {log.status for log in ctx.audit_logs()} == {"FAILED"}


def test_multi_source_join_without_a_context() -> None:
    join_plan = FederationEngine().plan_federated_join(
        tables=["customers", "transactions"],
        join_predicates={"customers_id": "customers.id = transactions.customer_id"},
    )
    assert join_plan.estimated_cost > 0
    assert join_plan.order == ("customers", "transactions")
    (condition,) = join_plan.conditions
    assert (condition.name, condition.sql) == ("customers_id", "customers.id = transactions.customer_id")


@pytest.mark.postgres
@pytest.mark.usefixtures("prod_db")
def test_multi_source_join_on_the_road(customers: VirtualTable, tmp_path: Any) -> None:
    (tmp_path / "transactions.csv").write_text("customer_id,amount\n1,10\n1,20\n3,5\n9,1\n")
    with VirtualContext() as ctx:
        ctx.schema_registry.register_table(customers)
        ctx.schema_registry.register_table(VirtualTable("transactions", path=tmp_path / "transactions.csv"))
        federation = FederationEngine(ctx)
        join_plan = federation.plan_federated_join(
            tables=["customers", "transactions"],
            join_predicates={"customers_id": "customers.id = transactions.customer_id"},
        )
        assert {name: len(parts) for name, parts in join_plan.fragments.items()} == {"customers": 1, "transactions": 1}
        assert join_plan.plan is not None
        rows, _ = federation.execute_query(join_plan.plan)
        assert sorted((row["name"], row["amount"]) for row in rows) == [("Alan", 10), ("Alan", 20), ("Cleo", 5)]


def test_dynamic_row_level_security() -> None:
    current_user = "john.doe"
    user_department = "Sales"
    policy = TableSecurityPolicy(
        table_name="customers", row_level_filters={current_user: f"department = '{user_department}'"}
    )
    enforcer = SecurityEnforcer()
    enforcer.register_policy(policy)
    rows = [{"id": 1, "department": "Sales"}, {"id": 2, "department": "Legal"}, {"id": 3, "department": None}]
    assert enforcer.apply_row_level_security("customers", current_user, rows) == rows[:1]


@pytest.mark.postgres
@pytest.mark.usefixtures("prod_db")
def test_materialized_view(virtual_layer: VirtualDataLayer) -> None:
    """The example names no connection: it registers like that, and to be read it needs one."""
    summary_table = VirtualTable(
        name="sales_summary_daily",
        source_type=SourceType.DATABASE,
        connector_type="postgresql",
        query="""
            SELECT
                DATE(order_date) as date,
                SUM(amount) as total_sales,
                COUNT(*) as num_orders
            FROM orders
            GROUP BY DATE(order_date)
        """,
        cache_strategy=CacheStrategy.MATERIALIZED,
        cache_ttl_seconds=86400,
    )
    virtual_layer.schema_registry.register_table(summary_table)
    ctx = VirtualContext(layer=virtual_layer)
    with pytest.raises(SourceUnavailable, match=r"`sales_summary_daily`: connection `.none.` is not configured"):
        ctx.query("SELECT * FROM sales_summary_daily")
    summary_table.connection_id = "prod_db"
    virtual_layer.schema_registry.update_table(summary_table)
    rows = ctx.query("SELECT date::varchar AS date, total_sales, num_orders FROM sales_summary_daily ORDER BY date")
    assert [(row["date"], float(row["total_sales"]), row["num_orders"]) for row in rows.rows()] == [
        ("2024-01-01", 15.0, 2),
        ("2024-01-02", 7.0, 1),
    ]
