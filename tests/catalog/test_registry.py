from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest

from tauro_nb.catalog import (
    CacheStrategy,
    ColumnStatistics,
    EncryptionConfig,
    SchemaRegistry,
    SourceType,
    TableStatistics,
    VirtualTable,
)  # fmt: skip
from tauro_nb.errors import BindError, ConfigError, DuplicateTable, SchemaMismatch, UnknownTable, UsageError


@pytest.fixture
def registry() -> SchemaRegistry:
    registry = SchemaRegistry()
    registry.register_table(
        VirtualTable(
            name="customers",
            source_type=SourceType.DATABASE,
            connector_type="postgresql",
            connection_id="prod_db",
            table_name="customers",
            schema={"id": "INTEGER", "name": "VARCHAR"},
            tags=["pii", "Financial"],
        )
    )
    registry.register_table(
        VirtualTable(
            name="transactions",
            source_type=SourceType.DATA_WAREHOUSE,
            connector_type="snowflake",
            connection_id="warehouse",
            query="SELECT * FROM raw_transactions WHERE date >= '{{ start_date }}'",
            schema={"id": "INTEGER", "customer": "STRING", "amount": "DECIMAL", "date": "DATE"},
            source_tables=["raw_transactions", "CUSTOMERS"],
            cache_strategy=CacheStrategy.MATERIALIZED,
        )
    )
    return registry


def test_tables_as_the_specification_writes_them() -> None:
    assert VirtualTable(name="x", cache_strategy=CacheStrategy.NEVER).cache_ttl_seconds == 3600
    events = VirtualTable(
        name="events",
        source_type=SourceType.FILESYSTEM,
        connector_type="s3",
        path="s3://my-bucket/events/",
        schema={"event_id": "STRING", "timestamp": "TIMESTAMP", "user_id": "STRING"},
        partitions=["date"],
    )
    assert events.schema == {"event_id": "VARCHAR", "timestamp": "TIMESTAMP", "user_id": "VARCHAR"}
    summary = VirtualTable(
        name="sales_summary_daily",
        source_type=SourceType.DATABASE,
        connector_type="postgresql",
        query="SELECT DATE(order_date) AS date, SUM(amount) AS total FROM orders GROUP BY DATE(order_date)",
        cache_strategy=CacheStrategy.MATERIALIZED,
        cache_ttl_seconds=86400,
    )
    assert not summary.is_view


def test_a_wrong_table_says_everything_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        VirtualTable(" x", schema={"a": "INTEGR", "b": "INT", "B": "INT"}, cache_ttl_seconds=-1, tags="pii")  # type: ignore[arg-type]
    assert caught.value.mistakes == (
        "schema.a: unknown type `INTEGR`. Did you mean `INTEGER`?",
        "cache_ttl_seconds: expected 0 or more",
        "tags: expected a list, got text; put it in brackets",
        "name: a table's name is not empty, has no space at its ends and no invisible characters",
    )


@pytest.mark.parametrize("name", ["", "\x00", "a\nb", "a\u200b", 3, None])
def test_names_that_cannot_be_written(name: object) -> None:
    with pytest.raises(ConfigError):
        VirtualTable(name)  # type: ignore[arg-type]


def test_python_values_are_taken_as_they_are() -> None:
    marker = object()
    table = VirtualTable("t", connector_type="Mine", options={"x": marker}, query="SELECT '${HOME}'")
    assert (table.connector_type, table.options["x"], table.query) == ("mine", marker, "SELECT '${HOME}'")


def test_encryption_config_from_a_mapping() -> None:
    raw = {"path": "t.csv", "encryption_config": {"key_id": "k1", "fields": ["ssn"]}}
    assert VirtualTable.from_mapping("t", raw).encryption_config == EncryptionConfig(key_id="k1", fields=("ssn",))
    with pytest.raises(ConfigError, match=r"t\.encryption_config\.keyid: unknown key\. Did you mean `key_id`"):
        VirtualTable.from_mapping("t", {"path": "t.csv", "encryption_config": {"keyid": "k1"}})


def test_names_do_not_depend_on_case_and_are_unique(registry: SchemaRegistry) -> None:
    assert registry.get_table("CUSTOMERS") == registry.resolve("Customers")
    assert "cUSTOMERS" in registry
    assert registry.get_table("nobody") is None
    with pytest.raises(DuplicateTable, match="`customers` already"):
        registry.register_table(VirtualTable("Customers"))
    with pytest.raises(UnknownTable, match="Did you mean `customers`"):
        registry.resolve("custmers")


def test_registering_the_same_again_changes_nothing(registry: SchemaRegistry) -> None:
    before = registry.version
    registry.register_table(registry.resolve("customers").copy())
    assert registry.version == before


def test_what_was_registered_is_not_changed_from_outside() -> None:
    registry, table = SchemaRegistry(), VirtualTable("t", schema={"id": "INT"}, tags=["a"], options={"x": {"y": 1}})
    registry.register_table(table)
    table.schema["more"] = "INT"
    table.tags.append("b")
    table.name = "other"
    kept = registry.resolve("t")
    assert (kept.name, kept.schema, kept.tags) == ("t", {"id": "INTEGER"}, ["a"])


def test_list_by_every_filter(registry: SchemaRegistry) -> None:
    def names(**filters: object) -> list[str]:
        return [table.name for table in registry.list_tables(**filters)]  # type: ignore[arg-type]

    assert names() == ["customers", "transactions"]
    assert names(source_type=SourceType.DATABASE) == ["customers"]
    assert names(source_type="data_warehouse") == ["transactions"]
    assert names(connector_type="postgres") == ["customers"]
    assert names(tag="financial") == ["customers"]
    assert names(tag="financial", source_type=SourceType.STREAM) == []
    with pytest.raises(UsageError, match="Did you mean `database`"):
        names(source_type="databse")


def test_version_counts_definitions_only(registry: SchemaRegistry) -> None:
    seen = [registry.version]
    registry.record_statistics("customers", TableStatistics(row_count=3))
    registry.add_lineage_edge("customers", "query 1")
    assert registry.version == seen[0]
    registry.update_table(VirtualTable("customers", description="changed"))
    seen.append(registry.version)
    registry.delete_table("customers")
    seen.append(registry.version)
    registry.register_table(VirtualTable("customers"))
    seen.append(registry.version)
    assert seen == sorted(set(seen))


def test_delete_forgets_statistics_and_keeps_history(registry: SchemaRegistry) -> None:
    registry.record_statistics("customers", TableStatistics(row_count=3))
    registry.delete_table("CUSTOMERS")
    assert registry.get_table("customers") is None
    with pytest.raises(UnknownTable):
        registry.delete_table("customers")
    registry.register_table(VirtualTable("customers", schema={"id": "BIGINT"}))
    assert registry.get_table_statistics("customers") is None
    assert [version.number for version in registry.schema_versions("customers")] == [1, 2]


def test_schema_versions_say_what_broke(registry: SchemaRegistry) -> None:
    changes = registry.update_table(
        VirtualTable("customers", schema={"id": "BIGINT", "name": "INTEGER", "email": "TEXT"})
    )
    assert [(str(change), change.breaking) for change in changes] == [
        ("id widened (INTEGER -> BIGINT)", False),
        ("name narrowed (VARCHAR -> INTEGER)", True),
        ("email added (VARCHAR)", False),
    ]
    registry.update_table(VirtualTable("customers", schema={"id": "BIGINT", "email": "TEXT"}))
    versions = registry.schema_versions("Customers")
    assert [(version.number, version.breaking) for version in versions] == [(1, False), (2, True), (3, True)]
    assert dict(versions[0].schema) == {"id": "INTEGER", "name": "VARCHAR"}
    registry.update_table(VirtualTable("customers", schema={"id": "BIGINT", "email": "TEXT"}, description="words"))
    assert len(registry.schema_versions("customers")) == 3


def test_a_breaking_change_can_be_refused_and_then_nothing_happens(registry: SchemaRegistry) -> None:
    before, version = registry.resolve("customers"), registry.version
    with pytest.raises(SchemaMismatch, match=r"name dropped \(VARCHAR\)"):
        registry.update_table(VirtualTable("customers", schema={"id": "INTEGER"}), allow_breaking=False)
    assert (registry.resolve("customers"), registry.version) == (before, version)
    wider = VirtualTable("customers", schema={"id": "BIGINT", "name": "TEXT"})
    assert len(registry.update_table(wider, allow_breaking=False)) == 1
    with pytest.raises(UnknownTable):
        registry.update_table(VirtualTable("nobody"))


def test_lineage_of_declarations_views_and_queries(registry: SchemaRegistry) -> None:
    registry.register_table(
        VirtualTable(
            "spent",
            query="WITH t AS (SELECT * FROM Transactions WHERE n > {{ n }}) SELECT * FROM t JOIN customers USING (id)",
        )
    )
    registry.add_lineage_edge("SPENT", "top 10")
    assert registry.get_lineage("Spent") == {
        "upstream": ["customers", "transactions", "raw_transactions"],
        "downstream": ["top 10"],
    }
    assert registry.get_lineage("transactions", depth=1) == {
        "upstream": ["customers", "raw_transactions"],
        "downstream": ["spent"],
    }
    assert registry.get_lineage("raw_transactions")["downstream"] == ["transactions", "spent", "top 10"]
    assert {node.name: node.kind for node in registry.lineage().nodes} == {
        "customers": "table",
        "raw_transactions": "source",
        "spent": "view",
        "top 10": "query",
        "transactions": "table",
    }
    with pytest.raises(UnknownTable, match="Did you mean `customers`"):
        registry.get_lineage("custmers")


def test_views_in_a_circle_do_not_loop() -> None:
    registry = SchemaRegistry()
    registry.register_table(VirtualTable("a", query="SELECT * FROM b"))
    registry.register_table(VirtualTable("b", query="SELECT * FROM c"))
    registry.register_table(VirtualTable("c", query="SELECT * FROM a, c"))
    assert registry.get_lineage("a") == {"upstream": ["b", "c"], "downstream": ["c", "b"]}


def test_export_is_stable_json(registry: SchemaRegistry) -> None:
    registry.record_statistics(
        "customers",
        TableStatistics(
            row_count=2,
            columns={"name": ColumnStatistics(distinct_count=2, minimum="Ada Lovelace")},
            as_of=datetime(2024, 1, 1, tzinfo=UTC),
            source="pg_class",
        ),
    )
    catalog = registry.export_catalog(format="json")
    text = json.dumps(catalog)
    assert json.loads(text) == catalog
    assert text == json.dumps(registry.export_catalog())
    assert "Lovelace" not in text  # a bound of a column is data
    assert len(catalog["tables"]) == 2
    assert catalog["lineage"] == [
        {"upstream": "customers", "downstream": "transactions", "kind": "declared"},
        {"upstream": "raw_transactions", "downstream": "transactions", "kind": "declared"},
    ]
    assert catalog["tables"]["customers"] == {
        "name": "customers",
        "source_type": "database",
        "connector_type": "postgresql",
        "connection_id": "prod_db",
        "table_name": "customers",
        "schema": {"id": "INTEGER", "name": "VARCHAR"},
        "tags": ["pii", "Financial"],
        "schema_version": 1,
        "statistics": {
            "row_count": 2,
            "size_bytes": None,
            "columns": {"name": {"distinct_count": 2, "null_fraction": None}},
            "as_of": "2024-01-01T00:00:00+00:00",
            "source": "pg_class",
        },
    }


def test_export_does_not_depend_on_the_order_of_registration(registry: SchemaRegistry) -> None:
    other = SchemaRegistry()
    for table in reversed(registry.list_tables()):
        other.register_table(table)
    assert json.dumps(other.export_catalog()) == json.dumps(registry.export_catalog())


def test_other_formats(registry: SchemaRegistry) -> None:
    assert registry.export_catalog("yaml") == registry.export_catalog("json")
    assert registry.export_catalog("dict")["tables"]["customers"] == registry.resolve("customers")
    with pytest.raises(UsageError, match="Did you mean `json`"):
        registry.export_catalog("jsn")


def test_join_compatibility(registry: SchemaRegistry) -> None:
    registry.register_table(VirtualTable("free"))
    check = registry.check_join_compatibility
    assert check("customers", "id", "transactions", "ID").compatible is True
    bad = check("customers", "id", "transactions", "customer")
    assert (bool(bad), bad.left_type, bad.right_type) == (False, "INTEGER", "VARCHAR")
    unknown = check("free", "x", "customers", "id")
    assert (bool(unknown), unknown.compatible, unknown.left_type) == (True, None, None)
    with pytest.raises(BindError, match=r"no column `nam`\. Did you mean `name`"):
        check("customers", "nam", "transactions", "id")
    with pytest.raises(UnknownTable):
        check("customers", "id", "transaction", "id")


def test_many_threads_register_and_read() -> None:
    registry, failures = SchemaRegistry(), list[BaseException]()

    def work(worker: int) -> None:
        try:
            for i in range(50):
                registry.register_table(VirtualTable(f"t{worker}_{i}", source_tables=[f"t{worker}_{i - 1}"]))
                registry.add_lineage_edge(f"t{worker}_{i}", f"q{i}")
                registry.list_tables(tag="x")
                if i % 10 == 0:
                    registry.export_catalog()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread must see it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (len(registry), registry.version) == (200, 200)
