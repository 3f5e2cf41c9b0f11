from __future__ import annotations

import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from tauro_nb.catalog import ConnectionSpec, SchemaRegistry, VirtualTable
from tauro_nb.catalog.connections import connection_from_environment
from tauro_nb.catalog.redact import is_secret_key, redact, redact_text
from tauro_nb.config import load_config
from tauro_nb.errors import ConfigError

SECRET = "s3cr3t-p4ss"

CONNECTIONS: list[Any] = [
    f"postgresql://ana:{SECRET}@db/crm",
    {"type": "postgresql", "uri": f"postgresql://ana:{SECRET}@db/crm"},
    {"type": "postgresql", "uri": f"postgresql://ana:a/b@{SECRET}@db/crm"},
    {"type": "postgresql", "uri": f"postgresql://db/crm?user=ana&password={SECRET}"},
    {"type": "postgresql", "host": "db", "password": SECRET},
    {"type": "postgresql", "host": "db", "password": "${PW}"},
    {"type": "postgresql", "host": "db", "options": {"sslpassword": SECRET, "sslkey": SECRET}},
    {"type": "s3", "access_key": SECRET, "secretAccessKey": SECRET, "sessionToken": SECRET},
    {"type": "rest", "url": f"https://{SECRET}@api/x", "headers": {"Authorization": f"Bearer {SECRET}"}},
    {"type": "rest", "url": f"https://api/x?api_key={SECRET}&sig={SECRET}", "auth": {"user": "u", "pass": SECRET}},
    {"type": "snowflake", "dsn": f"account=a;user=u;pwd={SECRET};token='{SECRET} x'"},
    {"type": "azure", "connection_string": f"AccountName=a;AccountKey={SECRET}"},
]


@pytest.mark.parametrize("raw", CONNECTIONS)
def test_no_repr_shows_a_secret(raw: Any) -> None:
    config = load_config({"connections": {"x": raw}}, env={"PW": SECRET})
    (spec,) = config.connections.values()
    assert SECRET in json.dumps(dict(spec.options))  # the connector gets it
    for shown in (repr(spec), str(spec), repr(config), f"{config}", json.dumps(spec.redacted())):
        assert SECRET not in shown
        assert "***" in shown


BROKEN: list[Any] = [
    {"connections": {"x": f"postgresq://ana:{SECRET}@db/crm"}},
    {"connections": {"x": f"ana:{SECRET}@db/crm"}},
    {"connections": {"x": {"type": "sqlite", "uri": f"postgresql://ana:{SECRET}@db/crm"}}},
    {"connections": {"x": {"type": "postgresql", "host": "h", "passwrd": SECRET}}},
    {"connections": {"x": {"type": "postgresql", f"postgresql://ana:{SECRET}@db/crm": None}}},
    {"connections": {f"postgresql://ana:{SECRET}@db/crm": 1}},
    {"connections": {"x": {"type": "${PW}"}}},
    {"connections": {"x": {"uri": "${PW}"}}},
    {"connections": {"x": {"type": "postgresql", "uri": "${PW}"}}},
    {"virtual_tables": {"t": {"path": "t.csv", "source_type": "${PW}"}}},
    {"virtual_tables": {"t": {"path": "t.csv", "schema": {"a": "${PW}"}}}},
    {"virtual_tables": {"t": {"path": "t.csv", "cache_ttl_seconds": "${PW}"}}},
    {"virtual_tables": {"t": {"path": "t.csv", "options": {"password": [SECRET, {1: SECRET}]}}}},
    {"enabled": "${PW}"},
    {"default_access": "${PW}"},
    {
        "connections": {"crm-database": "postgresql://h/d"},
        "virtual_tables": {"t": {"connector_type": "postgresql", "connection": "${NEAR}", "table": "t"}},
    },
    {"connections": {"x": {"type": "postgresql", "host": "${" + SECRET}}},
]


@pytest.mark.parametrize("raw", BROKEN)
def test_no_error_shows_a_secret(raw: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as caught:
        load_config(raw, env={"PW": SECRET, "NEAR": "crm-databse"})
    error = caught.value
    shown = "\n".join([str(error), repr(error), *error.mistakes, *error._render_traceback_(), caplog.text])
    shown += "".join(traceback.format_exception_only(error))
    assert SECRET not in shown
    assert "crm-databse" not in shown
    assert error.__cause__ is None


YAML_BROKEN = [
    f"connections: {{x: {{password: *{SECRET.replace('-', '')}}}}}",
    f"connections: {{x: {{password: !{SECRET} a}}}}",
    f'connections: {{x: {{password: "{SECRET}\\q"}}}}',
    f"connections:\n  x: {SECRET}: a: b",
    f"connections:\n  x:\n  - {SECRET}\n  y: 1\n z: 3",
    f"password: {SECRET}\x07",
    f"connections: {{x: '{SECRET}",
]


@pytest.mark.parametrize("document", YAML_BROKEN)
def test_no_yaml_error_shows_a_secret(document: str, tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text(document)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    text = "".join(traceback.format_exception(caught.value))
    shown = text + str(caught.value)
    assert SECRET not in shown
    assert SECRET.replace("-", "") not in shown


def test_tables_and_exports_hide_secrets_and_keep_columns_that_only_sound_like_one() -> None:
    table = VirtualTable(
        "t",
        connector_type="rest",
        path=f"https://ana:{SECRET}@api/x?token={SECRET}",
        query=f"SELECT * FROM dblink('host=h password={SECRET}')",
        schema={"token": "VARCHAR", "password": "VARCHAR"},
        options={"apiKey": SECRET, "delimiter": ";"},
        parameters={"api_token": SECRET, "since": "2024-01-01"},
        description=f"log in with password={SECRET}",
    )
    registry = SchemaRegistry()
    registry.register_table(table)
    exported = registry.export_catalog()
    for shown in (repr(table), repr(registry), json.dumps(exported), json.dumps(registry.export_catalog("yaml"))):
        assert SECRET not in shown
    assert exported["tables"]["t"]["schema"] == {"token": "VARCHAR", "password": "VARCHAR"}
    assert exported["tables"]["t"]["options"] == {"apiKey": "***", "delimiter": ";"}
    assert exported["tables"]["t"]["parameters"] == {"api_token": "***", "since": "2024-01-01"}


def test_the_environment_gives_a_connection_and_its_error_hides_it() -> None:
    spec = connection_from_environment("prod.db", {"TAURO_CONNECTION_PROD_DB": f"postgresql://a:{SECRET}@h/d"})
    assert spec is not None
    assert (spec.id, spec.type, SECRET in spec.options["uri"]) == ("prod.db", "postgresql", True)
    assert connection_from_environment("prod.db", {}) is None
    with pytest.raises(ConfigError) as caught:
        connection_from_environment("prod.db", {"TAURO_CONNECTION_PROD_DB": f"nosuch://a:{SECRET}@h/d"})
    assert SECRET not in str(caught.value)


def test_a_connection_survives_pickling_with_its_secret() -> None:
    spec = ConnectionSpec("x", "postgresql", {"uri": f"postgresql://a:{SECRET}@h/d"})
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    "harmless",
    [
        "postgresql://ana@db:5432/crm",
        "s3://bucket/path@2024/x.parquet",
        "SELECT key, count(*) FROM t GROUP BY key",
        "https://api.example.com/v1?page=2",
        "/data/2024/*.parquet",
    ],
)
def test_harmless_text_stays(harmless: str) -> None:
    assert redact_text(harmless) == harmless


def test_keys_that_are_secrets_by_name() -> None:
    secret = "password db_password PGPASSWORD secret client_secret token accessToken api_key apikey APIKey key sslkey"
    harmless = "path host monkey keyboard author tokyo key_id primary_key partition_key passenger compass signal assets"
    assert [key for key in secret.split() if not is_secret_key(key)] == []
    assert [key for key in harmless.split() if is_secret_key(key)] == []
    assert redact({"password": None, "key": {"a": 1}}) == {"password": None, "key": "***"}
