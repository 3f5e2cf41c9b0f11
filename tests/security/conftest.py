"""Fixtures of the security room's tests."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tauro_nb.security import FieldSecurityPolicy, SecurityEnforcer, TableSecurityPolicy

COLUMNS = {
    "id": "BIGINT",
    "name": "VARCHAR",
    "email": "VARCHAR",
    "phone": "VARCHAR",
    "ssn": "VARCHAR",
    "department": "VARCHAR",
    "manager_id": "INTEGER",
    "salary": "DECIMAL(10,2)",
    "signup_date": "DATE",
}


@pytest.fixture
def columns() -> dict[str, str]:
    return dict(COLUMNS)


@pytest.fixture
def enforcer() -> SecurityEnforcer:
    return SecurityEnforcer()


@pytest.fixture
def policy() -> TableSecurityPolicy:
    """The specification's policy of `customers`, with all kinds of field rules."""
    return TableSecurityPolicy(
        "customers",
        row_level_filters={"analyst": "department = 'Sales'", "manager": "manager_id = {principal}", "admin": ""},
        field_policies={
            name: FieldSecurityPolicy(name, masking_enabled=True, allowed_roles=["admin"])
            for name in ("email", "phone", "ssn")
        },
    )


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()
