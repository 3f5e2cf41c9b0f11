"""MySQL and MariaDB: values arrive whole, and a condition decides the same here and there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError
from tests.mariadb import MariaDBServer

pytestmark = pytest.mark.mariadb

moment = dt.datetime.fromisoformat

COLUMNS = {
    "tiny": ("tinyint unsigned", [0, 255, None], "UTINYINT"),
    "small": ("smallint", [-32768, 32767, None], "SMALLINT"),
    "medium": ("mediumint", [-8388608, 8388607, None], "INTEGER"),
    "whole": ("int unsigned", [0, 4294967295, None], "UINTEGER"),
    "big": ("bigint", [-(2**63), 2**63 - 1, None], "BIGINT"),
    "huge": ("bigint unsigned", [0, 2**64 - 1, None], "UBIGINT"),
    "flag": ("boolean", [False, True, None], "BOOLEAN"),
    "switch": ("bit(1)", [False, True, None], "BOOLEAN"),
    "bits": ("bit(10)", [b"\x00\x00", b"\x02\xaa", None], "BLOB"),
    "year": ("year", [1901, 1970, None], "INTEGER"),
    "price": ("decimal(20,6)", [Decimal("-12345678901234.567891"), Decimal("0.000001"), None], "DECIMAL(20,6)"),
    "wide": ("decimal(38,10)", [Decimal("1234567890123456789012345678.0123456789"), 0, None], "DECIMAL(38,10)"),
    "single": ("float", [0.5, -1.5, None], "FLOAT"),
    "double": ("double", [0.1, 1e300, None], "DOUBLE"),
    "day": ("date", [dt.date(1, 1, 1), dt.date(9999, 12, 31), None], "DATE"),
    "moment": ("datetime(6)", [moment("0001-01-01"), moment("9999-12-31 23:59:59.999999"), None], "TIMESTAMP"),
    "stamp": ("timestamp(6) null", [moment("1970-01-01 00:00:01"), moment("2024-03-31 01:30:00.123456"), None],
              "TIMESTAMP"),
    "clock": ("time(3)", ["838:59:59.000", "-12:30:00.123", None], "VARCHAR"),
    "name": ("varchar(40)", ["Zoë 北京 🙂 'it''s' \\ \"", "", None], "VARCHAR"),
    "binary_name": ("varchar(40) collate utf8mb4_bin", ["Ana", "ana ", None], "VARCHAR"),
    "western": ("varchar(40) character set latin1", ["é€", "x", None], "VARCHAR"),
    "padded": ("char(5)", ["ab", "", None], "VARCHAR"),
    "long": ("longtext", ["x" * 70000, "", None], "VARCHAR"),
    "document": ("json", ['{"a": [1, 2]}', "null", None], "VARCHAR"),
    "choice": ("enum('z','a')", ["z", "a", None], "VARCHAR"),
    "choices": ("set('x','y')", ["x,y", "", None], "VARCHAR"),
    "bytes": ("blob", [b"\x00\xff", b"", None], "BLOB"),
    "fixed": ("binary(3)", [b"a\x00\x00", b"abc", None], "BLOB"),
    "identity": ("uuid", ["123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000", None],
                 "VARCHAR"),
    "address": ("inet6", ["::1", "2001:db8::ff00:42:8329", None], "VARCHAR"),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(mariadb_server: MariaDBServer) -> Iterator[str]:
    name = mariadb_server.create_database()
    body = ", ".join(f"`{column}` {kind}" for column, (kind, _, _) in COLUMNS.items())
    mariadb_server.execute(f"CREATE TABLE kinds (id int PRIMARY KEY, {body})", name)
    for row in range(3):
        values = [row, *(values[row] for _, values, _ in COLUMNS.values())]
        mariadb_server.execute(f"INSERT INTO kinds VALUES ({', '.join(['%s'] * len(values))})", name, values)
    yield name
    mariadb_server.drop_database(name)


@pytest.fixture(scope="module")
def ctx(mariadb_server: MariaDBServer, database: str) -> Iterator[VirtualContext]:
    table = {"connector_type": "mysql", "connection": "my", "table": "kinds"}
    config = {"connections": {"my": mariadb_server.uri(database)}, "virtual_tables": {"kinds": table}}
    with VirtualContext(config) as context:
        yield context


@pytest.mark.parametrize("column", COLUMNS)
def test_values_arrive_whole(ctx: VirtualContext, column: str) -> None:
    _, values, kind = COLUMNS[column]
    assert ctx.describe("kinds").table.columns[1 + list(COLUMNS).index(column)].type == kind
    plain = ctx.query(f"SELECT {column} AS x FROM kinds ORDER BY id").rows()
    assert [row["x"] for row in plain] == values
    computed = ctx.query(f"SELECT coalesce({column}, NULL) AS x FROM kinds ORDER BY id LIMIT 9").rows()
    assert [row["x"] for row in computed] == values


@pytest.mark.parametrize("column", COLUMNS)
def test_a_value_is_found_by_itself(ctx: VirtualContext, column: str) -> None:
    value: Any = COLUMNS[column][1][0]
    sql = f"SELECT id FROM kinds WHERE {column} = :value"
    assert ctx.query(sql, {"value": value}).rows() == [{"id": 0}]
    assert ctx.query(f"SELECT id FROM kinds WHERE {column} IS NULL").rows() == [{"id": 2}]


TEXTS = ("name", "binary_name", "western", "padded", "long", "document", "choice", "choices", "identity", "address")


@pytest.mark.parametrize("mask", ["first4", "last4", "email", "redact"])
def test_texts_of_every_kind_are_masked_there_as_they_are_here(
    mariadb_server: MariaDBServer, database: str, mask: str
) -> None:
    fields = {column: {"mask": mask, "allowed_roles": ["admin"]} for column in TEXTS}
    config = {
        "connections": {"my": {"type": "mysql", "uri": mariadb_server.uri(database)}},
        "virtual_tables": {"kinds": {"connection": "my", "table": "kinds"}},
        "security_policies": {"kinds": {"field_policies": fields}},
    }
    with VirtualContext(config, principal="ana") as ctx:
        for sql in (
            f"SELECT id, {', '.join(TEXTS)} FROM kinds ORDER BY id",
            "SELECT id FROM kinds WHERE western LIKE '%*%' OR choice <> name ORDER BY id",
            "SELECT name, count(*) AS n, min(identity) AS m FROM kinds GROUP BY name ORDER BY name",
        ):
            plan = ctx._plan(sql, pushdown=False)
            here = ctx._run(plan, "here", 0.0, ctx.layer.config.limits).rows()
            assert ctx.query(sql).rows() == here, sql
            assert sql.startswith("SELECT name") or here


def test_a_backslash_is_one_whatever_the_server_takes_it_for(mariadb_server: MariaDBServer, database: str) -> None:
    config = {
        "connections": {"my": {"type": "mysql", "uri": mariadb_server.uri(database)}},
        "virtual_tables": {"kinds": {"connection": "my", "table": "kinds"}},
    }
    text = COLUMNS["name"][1][0].replace("'", "''")
    counted = (
        f"SELECT count(*) AS n, min(CASE WHEN name = '{text}' THEN 'a\\b''' END) AS v FROM kinds WHERE name = '{text}'"
    )
    try:
        for mode in ("NO_BACKSLASH_ESCAPES", "DEFAULT"):
            mariadb_server.execute(f"SET GLOBAL sql_mode = {mode}")
            with VirtualContext(config) as ctx:
                assert ctx.query(counted).rows() == [{"n": 1, "v": "a\\b'"}], mode
    finally:
        mariadb_server.execute("SET GLOBAL sql_mode = DEFAULT")


def test_a_whole_row_is_made_in_the_engine(ctx: VirtualContext) -> None:
    for relation in ("kinds AS k", "(SELECT id, big FROM kinds) AS k"):
        rows = ctx.query(f"SELECT k FROM {relation}").rows()
        assert sorted(row["k"]["id"] for row in rows) == [0, 1, 2]
        assert ctx.query(f"SELECT count(k) AS n FROM {relation} WHERE k IS NOT NULL").rows() == [{"n": 3}]


def test_written_moments_keep_their_fractions_where_an_index_could_serve(
    mariadb_server: MariaDBServer, fresh_mariadb_database: str
) -> None:
    name = fresh_mariadb_database.rsplit("/", 1)[1]
    mariadb_server.execute("CREATE TABLE t (id int, at datetime(6))", name)
    mariadb_server.execute(
        "INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-01 00:00:00.4'), (3, '2024-01-01 00:00:00.5')", name
    )
    config = {
        "connections": {"my": {"type": "mysql", "uri": fresh_mariadb_database}},
        "virtual_tables": {"t": {"connection": "my", "table": "t"}},
    }
    half = "TIMESTAMP '2024-01-01 00:00:00.5'"
    with VirtualContext(config) as ctx:
        for condition, expected in {
            f"at = {half}": [3],
            f"at < {half}": [1, 2],
            f"at IN ({half})": [3],
            f"at BETWEEN TIMESTAMP '2024-01-01 00:00:00.3' AND {half}": [2, 3],
        }.items():
            plan = ctx.plan(f"SELECT id FROM t WHERE {condition} ORDER BY id")
            assert "DATETIME(6)" in str(plan.fragments[0].sql)
            assert [row["id"] for row in ctx.run(plan).rows()] == expected, condition


def test_a_number_that_has_no_opposite_is_an_error_as_in_duckdb(
    mariadb_server: MariaDBServer, fresh_mariadb_database: str
) -> None:
    name = fresh_mariadb_database.rsplit("/", 1)[1]
    mariadb_server.execute("CREATE TABLE t AS SELECT 1 AS id, CAST(-128 AS INT) AS v", name)
    mariadb_server.execute("ALTER TABLE t MODIFY v tinyint", name)
    config = {
        "connections": {"my": {"type": "mysql", "uri": fresh_mariadb_database}},
        "virtual_tables": {"t": {"connection": "my", "table": "t"}},
    }
    with VirtualContext(config) as ctx:
        assert ctx.query("SELECT id FROM t WHERE v = -128").rows() == [{"id": 1}]
        with pytest.raises(ExecutionError):
            ctx.query("SELECT id FROM t WHERE -v > 1")
