"""Sources are asked with the values of parameters; answers are those of plain DuckDB with the same parameters."""

from __future__ import annotations

import datetime as dt
import itertools
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import TauroError
from tests.mariadb import MariaDBServer
from tests.servers import PostgresServer

TEXTS = ["", "a", "A", "á", "a ", "O'Brien", "back\\slash", "100%", "_", "\U0001f600", None]
ROWS = [
    (number, (number - 3) * 7, TEXTS[number % len(TEXTS)], dt.date(2024, 2, 27) + dt.timedelta(number % 5),
     Decimal(number % 7) / 4)
    for number in range(60)
]  # fmt: skip
TABLES = ("in_pg", "in_maria", "in_lite")
NUL = "nul\x00"
"""No text of PostgreSQL's: DuckDB's scanner fails on it, with or without us."""
COLUMNS = {"id": "BIGINT", "size": "BIGINT", "name": "VARCHAR", "day": "DATE", "price": "DECIMAL(10,2)"}
VALUES: dict[str, list[Any]] = {
    "size": [0, -21, 14, 2**40, -(2**62), Decimal("7.0"), 7.0, None, True],
    "name": [*TEXTS, "nobody", "%a%", "a_", NUL, 5],
    "day": [
        dt.date(2024, 2, 29),
        dt.datetime(2024, 2, 29, 1),  # noqa: DTZ001 - DuckDB's TIMESTAMP has none
        "2024-02-29",
        None,
    ],
    "price": [Decimal("0.25"), Decimal("1.500"), 1, 0.75, Decimal(-1)],
}
CONDITIONS = [
    "{c} = $v", "$v = {c}", "{c} <> $v", "{c} < $v", "{c} >= $v", "{c} BETWEEN $v AND $v", "{c} IN ($v, $v)",
    "{c} IS NOT DISTINCT FROM $v", "NOT ({c} > $v OR {c} IS NULL)", "{c} LIKE $v",
]  # fmt: skip


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, mariadb_server: MariaDBServer
) -> Iterator[VirtualContext]:
    """The same rows in PostgreSQL, MariaDB and SQLite."""
    file: Path = tmp_path_factory.mktemp("parameters") / "lite.sqlite"
    pg, maria = postgres_server.create_database(), mariadb_server.create_database()
    postgres_server.execute("CREATE TABLE t (id bigint, size bigint, name text, day date, price numeric(10,2))", pg)
    mariadb_server.execute(
        "CREATE TABLE t (id bigint, size bigint, name varchar(40), day date, price decimal(10,2)) "
        "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        maria,
    )
    with psycopg.connect(postgres_server.uri(pg)) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s, %s, %s, %s)", ROWS)
    with mariadb_server.connect(maria) as maria_connection:
        with maria_connection.cursor() as maria_cursor:
            maria_cursor.executemany("INSERT INTO t VALUES (%s, %s, %s, %s, %s)", ROWS)
        maria_connection.commit()
    with sqlite3.connect(file) as lite:
        lite.execute("CREATE TABLE t (id BIGINT, size BIGINT, name TEXT, day TEXT, price NUMERIC)")
        plain = [(*row[:3], row[3].isoformat(), float(row[4])) for row in ROWS]
        lite.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", plain)
    lite.close()
    table = {"table": "t", "schema": COLUMNS}
    config = {
        "connections": {
            "pg": {"type": "postgresql", "uri": postgres_server.uri(pg)},
            "maria": {"type": "mysql", "uri": mariadb_server.uri(maria)},
            "lite": {"type": "sqlite", "path": str(file)},
        },
        "virtual_tables": {
            "in_pg": {**table, "connector_type": "postgresql", "connection": "pg"},
            "in_maria": {**table, "connector_type": "mysql", "connection": "maria"},
            "in_lite": {**table, "connector_type": "sqlite", "connection": "lite"},
        },
    }
    with VirtualContext(config) as ctx:
        yield ctx
    postgres_server.drop_database(pg)
    mariadb_server.drop_database(maria)


@pytest.fixture(scope="module")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (id BIGINT, size BIGINT, name VARCHAR, day DATE, price DECIMAL(10,2))")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", ROWS)
        yield connection


def _right(plain: duckdb.DuckDBPyConnection, condition: str, value: Any) -> list[int] | str:
    try:
        return [
            row[0] for row in plain.execute(f"SELECT id FROM t WHERE {condition} ORDER BY id", {"v": value}).fetchall()
        ]
    except duckdb.Error:
        return "error"


def _ours(ctx: VirtualContext, table: str, condition: str, value: Any) -> list[int] | str:
    try:
        rows = ctx.query(f"SELECT id FROM {table} WHERE {condition.replace('$v', ':v')}", params={"v": value}).rows()
    except TauroError:
        return "error"
    return sorted(row["id"] for row in rows)


@pytest.mark.mariadb
@pytest.mark.parametrize("column", list(VALUES))
def test_answers_are_those_of_duckdb(places: VirtualContext, plain: duckdb.DuckDBPyConnection, column: str) -> None:
    wrong = []
    for form, value in itertools.product(CONDITIONS, VALUES[column]):
        condition = form.format(c=column)
        right = _right(plain, condition, value)
        for table in TABLES[value == NUL :]:
            found = _ours(places, table, condition, value)
            if found != right:
                wrong.append((table, condition, value, found, right))
    assert wrong == []


@pytest.mark.parametrize(
    ("table", "condition", "value", "asked"),
    [
        ("in_pg", "size = :v", 14, "= 14"),
        ("in_pg", "name = :v", "O'Brien", "= 'O''Brien'"),
        ("in_pg", "day >= :v", dt.date(2024, 2, 29), "CAST('2024-02-29' AS DATE)"),
        ("in_pg", "name IN (:v, 'x')", "a", "IN ('a', 'x')"),
        ("in_maria", "size < :v", 14, "< 14"),
        ("in_lite", "size < :v", 14, "< 14"),
        ("in_lite", "name = :v", "a", "= 'a'"),
    ],
)
@pytest.mark.mariadb
def test_sources_are_asked_with_values(
    places: VirtualContext, table: str, condition: str, value: Any, asked: str
) -> None:
    plan = places.plan(f"SELECT id FROM {table} WHERE {condition}", params={"v": value})
    assert asked in plan.fragments[0].sql
    assert len(plan.fragments[0].predicates) <= 1
    assert "$v" in plan.fragments[0].tree.sql("duckdb"), "what is kept of a plan has no values"


@pytest.mark.mariadb
def test_a_kept_plan_is_asked_with_other_values(places: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    for table in TABLES:
        for value in (7, 14, 7, -21, 2**40):
            assert _ours(places, table, "size >= $v", value) == _right(plain, "size >= $v", value)
        for text in ("a", "back\\slash", "A", "O'Brien"):
            assert _ours(places, table, "name = $v", text) == _right(plain, "name = $v", text)


def test_a_parameter_chooses_the_keys_of_a_join(places: VirtualContext) -> None:
    sql = "SELECT a.id, b.name FROM in_lite a JOIN in_pg b ON b.id = a.id WHERE a.size = :v AND b.size <= :v"
    assert [row["id"] for row in places.query(sql, params={"v": 14}).rows()] == [5]
    assert [row["id"] for row in places.query(sql, params={"v": 21}).rows()] == [6]
