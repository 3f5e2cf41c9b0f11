"""Configuration: YAML, dictionaries, options and their defaults."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tauro_nb import CacheStrategy, SourceType, VirtualContext, VirtualDataLayer, VirtualTable
from tauro_nb.errors import ConnectorMissing

YAML = """
virtualization:
  enabled: true
  virtual_tables:
    customers:
      source_type: database
      connector_type: postgresql
      connection: prod_db
      table_name: customers
      cache_strategy: smart
      tags:
        - pii
        - production

    transactions:
      source_type: data_warehouse
      connector_type: snowflake
      connection: warehouse
      query: "SELECT * FROM transactions"
      cache_strategy: materialized
      cache_ttl_seconds: 3600

    events:
      source_type: stream
      connector_type: kafka
      table_name: events_topic
      cache_strategy: never
"""


@pytest.mark.postgres
@pytest.mark.usefixtures("prod_db")
def test_load_from_yaml() -> None:
    virtual_layer = VirtualDataLayer.from_config(yaml.safe_load(YAML))
    tables = {table.name: table for table in virtual_layer.schema_registry.list_tables()}
    assert {name: table.source_type for name, table in tables.items()} == {
        "customers": SourceType.DATABASE,
        "transactions": SourceType.DATA_WAREHOUSE,
        "events": SourceType.STREAM,
    }
    assert tables["events"].cache_strategy is CacheStrategy.NEVER
    assert tables["customers"].tags == ["pii", "production"]
    with VirtualContext(layer=virtual_layer) as ctx:
        assert len(ctx.query("SELECT * FROM customers").rows()) == 4
        with pytest.raises(ConnectorMissing, match="kafka"):
            ctx.query("SELECT * FROM events")
        assert [table.name for table in ctx.catalog().tables] == ["customers", "transactions", "events", "tauro.audit"]


def test_dictionary_with_every_key_of_the_example() -> None:
    config: dict[str, Any] = {
        "virtual_tables": {
            "customers": {
                "source_type": "database",
                "connector_type": "postgresql",
                "connection": "prod_db",
                "table_name": "customers",
                "cache_strategy": "smart",
                "cache_ttl_seconds": 3600,
                "description": "Customer master data",
                "tags": ["pii", "production"],
                "schema": {"id": "INTEGER", "name": "VARCHAR", "email": "VARCHAR"},
            }
        }
    }
    virtual_layer = VirtualDataLayer.from_config(config)
    table = virtual_layer.schema_registry.get_table("customers")
    assert table is not None
    assert (table.connection_id, table.description) == ("prod_db", "Customer master data")
    assert VirtualContext(config=config).get_table("customers") == table


def test_defaults_of_the_options() -> None:
    table = VirtualTable("customers")
    assert (table.cache_strategy, table.cache_ttl_seconds) == (CacheStrategy.SMART, 3600)
    assert (table.partitions, table.tags) == ([], [])


@pytest.mark.parametrize("source_type", ["database", "filesystem", "api", "stream", "data_warehouse"])
@pytest.mark.parametrize("cache_strategy", ["never", "always", "smart", "periodic", "materialized"])
def test_every_option_value_loads(source_type: str, cache_strategy: str) -> None:
    made = VirtualTable.from_mapping(
        "t", {"source_type": source_type, "cache_strategy": cache_strategy, "connection_id": "c", "table": "t"}
    )
    assert made.source_type is SourceType(source_type)
    assert made.cache_strategy is CacheStrategy(cache_strategy)


@pytest.mark.parametrize("connector", ["postgresql", "mysql", "snowflake", "bigquery", "s3", "kafka"])
def test_every_connector_of_the_options_registers(connector: str, virtual_layer: VirtualDataLayer) -> None:
    virtual_layer.schema_registry.register_table(VirtualTable("t", connector_type=connector, connection_id="c"))
    assert [t.name for t in virtual_layer.schema_registry.list_tables(connector_type=connector)] == ["t"]
