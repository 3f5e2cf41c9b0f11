"""What the examples live in: one PostgreSQL called `prod_db`, and warehouses that are only registered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tauro_nb import SourceType, VirtualContext, VirtualDataLayer, VirtualTable
from tests.servers import PostgresServer

CUSTOMERS = """
    CREATE TABLE customers (
        id integer PRIMARY KEY, name varchar(40), email varchar(60), department varchar(20), created_date date,
        status varchar(10), manager_id varchar(20), region varchar(10), salary integer, signup_date date, ssn char(11)
    );
    INSERT INTO customers VALUES
    (1, 'Alan', 'alan@example.com', 'Sales', '2024-02-01', 'active', 'john.doe', 'North', 90000, now(), '123-45-6789'),
    (2, 'Beth', 'bo@example.com', 'Sales', '2023-05-01', 'active', 'mia', 'South', 120000, '2015-01-01', NULL),
    (3, 'Cleo', 'cleo@example.com', 'Legal', '2024-03-01', 'active', 'john.doe', 'West', 80000, now(), '333-44-5678'),
    (4, 'Dana', NULL, 'Sales', '2024-04-01', 'left', 'mia', 'North', 70000, NULL, NULL);
    CREATE TABLE orders (id integer, customer_id integer, order_date timestamp, amount numeric(10,2));
    INSERT INTO orders VALUES
    (1, 1, '2024-01-01 10:00', 10.50), (2, 1, '2024-01-01 12:00', 4.50), (3, 2, '2024-01-02 09:00', 7.00);
"""


@pytest.fixture(scope="session")
def prod_db_uri(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    for statement in CUSTOMERS.split(";")[:-1]:
        postgres_server.execute(statement, name)
    yield postgres_server.uri(name)
    postgres_server.drop_database(name)


@pytest.fixture
def prod_db(prod_db_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The examples name a connection and never say where it leads: the environment does."""
    monkeypatch.setenv("TAURO_CONNECTION_PROD_DB", prod_db_uri)
    return prod_db_uri


@pytest.fixture
def customers() -> VirtualTable:
    return VirtualTable(
        name="customers",
        source_type=SourceType.DATABASE,
        connector_type="postgresql",
        connection_id="prod_db",
        table_name="customers",
        schema={"id": "INTEGER", "name": "VARCHAR", "email": "VARCHAR", "department": "VARCHAR"},
    )


@pytest.fixture
def virtual_layer() -> Iterator[VirtualDataLayer]:
    layer = VirtualDataLayer()
    yield layer
    layer.close()


@pytest.fixture
def config() -> dict[str, Any]:
    """The configuration of the usage guide."""
    return {
        "virtual_tables": {
            "customers": {
                "source_type": "database",
                "connector_type": "postgresql",
                "connection": "prod_db",
                "table": "customers",
                "schema": {"id": "INTEGER", "name": "VARCHAR", "email": "VARCHAR"},
            }
        },
        "security_policies": {"customers": {"allowed_roles": ["admin", "analyst"], "audit_all_access": True}},
    }


@pytest.fixture
def ctx(prod_db: str, config: dict[str, Any]) -> Iterator[VirtualContext]:  # noqa: ARG001
    with VirtualContext(config=config) as context:
        yield context
