"""API reference: signatures and enum members."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import tauro_nb
from tauro_nb import FederationEngine, SchemaRegistry, SecurityEnforcer, VirtualTable

SIGNATURES: dict[Callable[..., Any], str] = {
    VirtualTable: "name source_type connector_type connection_id query table_name path schema partitions source_tables "
    "transformation cache_strategy cache_ttl_seconds encryption_config access_control description tags",
    SchemaRegistry.register_table: "self table",
    SchemaRegistry.get_table: "self name",
    SchemaRegistry.list_tables: "self source_type connector_type tag",
    SchemaRegistry.get_lineage: "self table_name",
    SchemaRegistry.export_catalog: "self format",
    FederationEngine.plan_query: "self table_name predicates projection limit supports_pushdown",
    FederationEngine.execute_query: "self plan executor_func query_id",
    FederationEngine.plan_federated_join: "self tables join_predicates",
    SecurityEnforcer.register_policy: "self policy",
    SecurityEnforcer.validate_access: "self principal table_name field_names",
    SecurityEnforcer.apply_row_level_security: "self table_name principal rows",
    SecurityEnforcer.apply_field_masking: "self table_name principal rows",
    SecurityEnforcer.audit_access: "self principal table_name field_names row_count status denial_reason",
    SecurityEnforcer.export_audit_trail: "self format",
}
ENUMS = {
    "SourceType": "DATABASE FILESYSTEM API STREAM DATA_WAREHOUSE",
    "CacheStrategy": "NEVER ALWAYS SMART PERIODIC MATERIALIZED",
    "ExecutionStrategy": "DIRECT CACHE MATERIALIZED STREAM DISTRIBUTED",
    "PredicateOperator": "EQ NEQ GT GTE LT LTE IN NOT_IN LIKE IS_NULL IS_NOT_NULL",
    "AccessLevel": "UNRESTRICTED MASKED ENCRYPTED RESTRICTED",
    "Operation": "SELECT INSERT UPDATE DELETE EXPORT",
}
NAMES = (
    "AccessLevel CacheStrategy EmailMasker EncryptionConfig ExecutionStrategy FederationEngine FieldSecurityPolicy "
    "JoinPlan Operation PhoneMasker Predicate PredicateOperator QueryPlan QueryStatistics SSNMasker SchemaRegistry "
    "SecurityEnforcer SourceType TableSecurityPolicy VirtualContext VirtualDataLayer VirtualReaderFactory VirtualTable"
)


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_parameters_come_in_this_order(function: Callable[..., Any]) -> None:
    """Further parameters may follow, with defaults."""
    parameters = list(inspect.signature(function).parameters.values())
    expected = SIGNATURES[function].split()
    assert [parameter.name for parameter in parameters[: len(expected)]] == expected
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters[len(expected) :])


@pytest.mark.parametrize("name", ENUMS)
def test_enums_have_exactly_these_members(name: str) -> None:
    assert [member.name for member in getattr(tauro_nb, name)] == ENUMS[name].split()


@pytest.mark.parametrize("name", NAMES.split())
def test_names_are_public(name: str) -> None:
    assert name in tauro_nb.__all__
    assert inspect.isclass(getattr(tauro_nb, name))
