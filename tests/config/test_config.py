from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tauro_nb.catalog import CacheStrategy, SourceType
from tauro_nb.config import AuditConfig, load_config
from tauro_nb.errors import ConfigError

SPECIFIED = yaml.safe_load("""
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
""")


def mistakes(source: Any, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(source, env=env or {})
    return list(caught.value.mistakes)


def test_the_specified_yaml_loads() -> None:
    customers, transactions, events = load_config(SPECIFIED).tables
    assert (customers.connection_id, customers.table_name, customers.tags) == (
        "prod_db",
        "customers",
        ["pii", "production"],
    )
    assert transactions.cache_strategy is CacheStrategy.MATERIALIZED
    assert transactions.source_type is SourceType.DATA_WAREHOUSE
    assert (events.source_type, events.cache_strategy, events.connection_id) == (
        SourceType.STREAM,
        CacheStrategy.NEVER,
        "",
    )


def test_with_and_without_the_wrapper_is_the_same() -> None:
    assert load_config(SPECIFIED).tables == load_config(SPECIFIED["virtualization"]).tables


@pytest.mark.parametrize("connection", ["connection", "connection_id"])
@pytest.mark.parametrize("table", ["table", "table_name"])
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_every_spelling_of_a_table(connection: str, table: str, case: Any) -> None:
    raw = {
        "source_type": case("database"),
        "connector_type": case("postgresql"),
        connection: "prod_db",
        table: "clients",
        "cache_strategy": case("materialized"),
        "schema": {"id": "INTEGER", "amount": "decimal", "at": "TIMESTAMP", "who": "STRING"},
    }
    (loaded,) = load_config({"virtual_tables": {"customers": raw}}).tables
    assert (loaded.connection_id, loaded.table_name, loaded.connector_type) == ("prod_db", "clients", "postgresql")
    assert loaded.cache_strategy is CacheStrategy.MATERIALIZED
    assert loaded.schema == {"id": "INTEGER", "amount": "DECIMAL(18,3)", "at": "TIMESTAMP", "who": "VARCHAR"}


def test_every_mistake_at_once_each_with_its_place_and_the_nearest_name() -> None:
    found = mistakes(
        {
            "connections": {"pg": {"type": "postgress", "uri": "postgresql://h/d"}, "lite": {"type": "sqlite"}},
            "virtual_tables": {
                "customers": {"path": "c.csv", "cache_stragety": "smart", "tags": "pii"},
                "orders": {"source_type": "databse", "table": 7, "schema": {"id": "INTEGR"}, "connector_type": "csv"},
                "lost": {"description": "nowhere"},
                "twice": {"path": "a.csv", "table": "x", "table_name": "y"},
                "Customers": {"path": "d.csv"},
                "Tauro.Audit": {"path": "e.csv"},
            },
            "security_policies": {"custmers": {}, "lost": {"allowed_roles": ["a"]}},
            "principals": {"ana": {"rolls": ["analyst"]}},
            "default_access": "alow",
            "audit": {"path": "audit.jsonl", "on_failure": "ignore"},
            "virtual_table": {},
        }
    )
    assert sorted(found) == sorted(
        [
            "connections.pg.type: `postgress` is not known here. Did you mean `postgres`?",
            "connections.lite: a sqlite connection needs `path` or `uri`",
            "virtual_tables.customers.cache_stragety: unknown key. Did you mean `cache_strategy`?",
            "virtual_tables.customers.tags: expected a list, got text; put it in brackets",
            "virtual_tables.orders.source_type: `databse` is not known here. Did you mean `database`?",
            "virtual_tables.orders.table: expected text, got a whole number",
            "virtual_tables.orders.schema.id: unknown type `INTEGR`. Did you mean `INTEGER`?",
            (
                "virtual_tables.lost: says nothing of where its rows are: give `table` (or `query`) for a database, "
                "`path` for files, or `query` alone for a view"
            ),
            "virtual_tables.twice.table_name: says the same as `table`; keep one",
            "virtual_tables.Customers: the same name as `customers`; names do not depend on case",
            "virtual_tables.Tauro.Audit: names that begin with `tauro.` are the system's own",
            "security_policies.custmers: no virtual table of this name is declared. Did you mean `Customers`?",
            "principals.ana.rolls: unknown key. Did you mean `roles`?",
            "default_access: `alow` is not known here. Did you mean `allow`?",
            "audit.on_failure: `ignore` is not known here. Known: fail_operation, continue.",
            "virtual_table: unknown key. Did you mean `virtual_tables`?",
        ]
    )


def test_the_message_counts_and_lists_the_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text("virtual_tables: {a: {path: a.csv, tag: [x]}, b: 3}")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == (
        "catalog.yaml: 2 mistakes\n"
        "  - virtual_tables.a.tag: unknown key. Did you mean `tags`?\n"
        "  - virtual_tables.b: expected a mapping, got a whole number"
    )


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "a [1] b"  # a glob in the folder's own name must not become one
    (folder / "data" / "events").mkdir(parents=True)
    file = folder / "catalog.yaml"
    file.write_text(
        textwrap.dedent("""
            connections:
              lite: {type: sqlite, path: crm.db}
              memory: {type: duckdb, path: ":memory:"}
              lake: {type: files, path: lake}
              uri: sqlite:///crm.db
            virtual_tables:
              one: {path: data/one.csv}
              many: {path: "data/**/*.parquet"}
              folder: {path: data/events/, connector_type: parquet}
              far: {path: "s3://bucket/x.parquet"}
              absolute: {path: /data/x.csv}
              inside: {connection: lake, path: x.csv, connector_type: csv}
              database: {connector_type: sqlite, path: crm.db, table: t}
            audit: {path: audit.jsonl}
        """)
    )
    config = load_config(str(file))
    base, escaped = str(folder), f"{tmp_path}/a [[]1] b"
    assert {name: spec.options["path"] for name, spec in config.connections.items()} == {
        "lite": f"{base}/crm.db",
        "memory": ":memory:",
        "lake": f"{base}/lake",
        "uri": f"{base}/crm.db",
    }
    assert {table.name: table.path for table in config.tables} == {
        "one": f"{escaped}/data/one.csv",
        "many": f"{escaped}/data/**/*.parquet",
        "folder": f"{base}/data/events/",
        "far": "s3://bucket/x.parquet",
        "absolute": "/data/x.csv",
        "inside": f"{escaped}/lake/x.csv",
        "database": f"{base}/crm.db",
    }
    assert config.audit == AuditConfig(folder / "audit.jsonl")
    assert config.base_path == folder


def test_paths_of_a_mapping_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config({"virtual_tables": {"c": {"path": "c.csv"}}}).tables[0].path == f"{tmp_path}/c.csv"


def test_the_connector_follows_from_what_is_there() -> None:
    config = load_config(
        {
            "connections": {"crm": {"type": "sqlite", "path": "crm.db"}},
            "virtual_tables": {
                "a": {"path": "a.parquet"},
                "b": {"connection": "crm", "table": "b"},
                "c": {"query": "SELECT * FROM a"},
                "d": {"query": "SELECT 1", "connector_type": "view"},
                "e": {"query": "SELECT 1", "connection": "crm"},
                "f": {"query": "SELECT 1", "connector_type": "postgres", "connection": "pg"},
                "g": {"path": "crm.db", "connector_type": "sqlite", "table": "g"},
            },
        }
    )
    assert {table.name: (table.connector_type, table.source_type, table.is_view) for table in config.tables} == {
        "a": ("parquet", SourceType.FILESYSTEM, False),
        "b": ("sqlite", SourceType.DATABASE, False),
        "c": ("view", None, True),
        "d": ("view", None, True),
        "e": ("sqlite", SourceType.DATABASE, False),
        "f": ("postgresql", SourceType.DATABASE, False),
        "g": ("sqlite", SourceType.DATABASE, False),
    }


PG_TABLE = {"connector_type": "postgresql", "connection": "prod_dbb", "table": "t"}
PG = {"prod_db": "postgresql://h/d"}


def test_an_undeclared_connection_is_a_mistake_only_where_it_looks_misspelt() -> None:
    assert mistakes({"connections": PG, "virtual_tables": {"t": PG_TABLE}}) == [
        (
            "virtual_tables.t.connection_id: no such connection is declared. Did you mean `prod_db`?"
            " Or set `TAURO_CONNECTION_PROD_DBB` to its uri."
        )
    ]
    from_environment = {"TAURO_CONNECTION_PROD_DBB": "postgresql://h/e"}
    assert load_config({"connections": PG, "virtual_tables": {"t": PG_TABLE}}, env=from_environment).tables
    assert load_config({"connections": PG, "virtual_tables": {"t": {**PG_TABLE, "connection": "other"}}}, env={}).tables
    assert load_config({"virtual_tables": {"t": PG_TABLE}}, env={}).tables
    later = {**PG_TABLE, "connector_type": "snowflake"}
    assert load_config({"connections": PG, "virtual_tables": {"t": later}}, env={}).tables


def test_connections_that_cannot_be_meant() -> None:
    tables = {
        "none": {"connector_type": "postgresql", "table": "t"},
        "other": {"connector_type": "sqlite", "connection": "prod_db", "table": "t"},
    }
    assert mistakes({"connections": PG, "virtual_tables": tables}) == [
        "virtual_tables.none: a postgresql table needs its `connection`",
        "virtual_tables.other.connector_type: is sqlite, but the connection `prod_db` is postgresql",
    ]


def test_policies_that_protect_nothing() -> None:
    tables = {"customers": {"path": "c.csv", "schema": {"id": "INT", "email": "TEXT"}}}
    wrong = {"customers": {"field_policies": {"emial": {"masking_enabled": True}}}, "clients": {"allowed_roles": ["a"]}}
    assert mistakes({"virtual_tables": tables, "security_policies": wrong}) == [
        "security_policies.customers.field_policies.emial: the table declares no such column. Did you mean `email`?",
        "security_policies.clients: no virtual table of this name is declared.",
    ]
    assert load_config({"security_policies": {"clients": {"allowed_roles": ["a"]}}}).policies


def test_policies_and_principals() -> None:
    config = load_config(
        {
            "virtual_tables": {"Customers": {"path": "c.csv"}},
            "security_policies": {"customers": {"allowed_roles": ["${ROLE}"], "audit_all_access": True}},
            "principals": {
                "ana": {"roles": ["analyst"], "attributes": {"region": "${REGION:-South}", "level": 3}},
                "bob": ["admin", "analyst"],
                "eve": "admin",
                "nobody": None,
            },
            "default_access": "DENY",
        },
        env={"ROLE": "analyst"},
    )
    (policy,) = config.policies
    assert (policy.table_name, policy.allowed_roles) == ("customers", ["analyst"])
    assert {name: (p.name, set(p.roles), dict(p.attributes)) for name, p in config.principals.items()} == {
        "ana": ("ana", {"analyst"}, {"region": "South", "level": 3}),
        "bob": ("bob", {"admin", "analyst"}, {}),
        "eve": ("eve", {"admin"}, {}),
        "nobody": ("nobody", set(), {}),
    }
    assert config.default_access == "deny"


def test_nothing_is_an_empty_catalog() -> None:
    for empty in (None, {}, {"virtualization": None}, {"virtual_tables": None, "connections": None}):
        config = load_config(empty)
        assert (config.tables, config.connections, config.default_access) == ((), {}, "allow")


def test_disabled_has_no_tables_but_still_finds_mistakes() -> None:
    assert load_config({"enabled": False, "virtual_tables": {"a": {"path": "a.csv"}}}).tables == ()
    assert mistakes({"enabled": False, "virtual_tables": {"a": 1}}) == [
        "virtual_tables.a: expected a mapping, got a whole number"
    ]


def test_what_stands_beside_the_wrapper() -> None:
    assert load_config({**SPECIFIED, "pipelines": {"x": 1}}).tables
    assert mistakes({**SPECIFIED, "connections": {}}) == ["connections: stands beside `virtualization`; move it below"]
    assert mistakes({"virtualisation": {}}) == ["virtualisation: unknown key."]


@pytest.mark.parametrize(
    "source", [3, "a\nb: 1", ["x"], "postgresql://ana:s3cr3t@h/d", "no/such/file.yaml", b"x", "~nobody/c.yaml"]
)
def test_no_configuration_at_all(source: Any) -> None:
    assert len(mistakes(source)) == 1
    assert "s3cr3t" not in "".join(mistakes(source))


def test_what_the_security_room_refuses_is_a_mistake_with_its_place() -> None:
    found = mistakes({"principals": {"ana": {"roles": [""]}, "bob": {"attributes": {"a": {"b": 1}}}}})
    assert [line.partition(": ")[0] for line in found] == ["principals.ana", "principals.bob"]
