"""Masks that a source answers itself give there what they give in the engine, over values made to differ."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tauro_nb.query.plan import sealed, whole
from tauro_nb.security.masks import MARK, Masker, choose_mask
from tauro_nb.sources.capability import MASK, Capability
from tauro_nb.sources.mysql import CAPABILITY as MYSQL
from tauro_nb.sources.postgresql import CAPABILITY as POSTGRES
from tauro_nb.sources.sqlite import CAPABILITY as SQLITE
from tests.hostile import HOSTILE, crafted
from tests.mariadb import MariaDBServer

VALUES: list[str | None] = [*HOSTILE, *crafted(4000)]
BROKEN = ["al\0n@x.de", "\0", "123-45-5678\0", "5551234567\0", "\x005551234567", "abcdefgh\0ijkl", "alan@x\0.com"]
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("email", {}), ("phone", {}), ("ssn", {}), ("redact", {}), ("redact", {"shape": True}),
    ("first4", {}), ("last4", {}), ("last4", {"hide": 4}), ("partial", {"prefix": 2, "suffix": 3}),
    ("partial", {"prefix": 1, "pad": "'\\%"}), ("partial", {"suffix": 1, "pad": ""}),
    ("partial", {"prefix": 1, "pad": "\u00e9\U0001f600"}), ("partial", {"suffix": 1, "pad": "- hidden -\n"}),
]  # fmt: skip
MASKS = [choose_mask("v", name, options=options) for name, options in FORMS]


def listed(capability: Capability) -> list[Masker]:
    return [masker for masker in MASKS if masker.form in capability.masks]


def name_of(masker: Masker) -> str:
    return masker.form


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def in_engine(engine: duckdb.DuckDBPyConnection, masker: Masker, values: list[str | None]) -> list[str | None]:
    engine.register("t", pa.table({"n": list(range(len(values))), "v": pa.array(values, pa.string())}))
    sql = f"SELECT {masker.compile('v', 'VARCHAR').sql('duckdb')} FROM t ORDER BY n"
    return [row[0] for row in engine.execute(sql).fetchall()]


def test_every_listed_mask_is_tested() -> None:
    tested = {masker.form for masker in MASKS}
    assert POSTGRES.masks <= tested
    assert SQLITE.masks <= tested
    assert MYSQL.masks <= tested
    assert MASK == MARK, "the mask's mark is the one that sources look for"


@pytest.mark.parametrize(
    "masker", [masker for masker in MASKS if masker.form in POSTGRES.masks | SQLITE.masks | MYSQL.masks], ids=name_of
)
def test_a_mask_that_a_source_answers_is_a_text_for_the_engine(
    engine: duckdb.DuckDBPyConnection, masker: Masker
) -> None:
    # A fragment's types are read off such masks, and not asked for.
    engine.execute("CREATE OR REPLACE TABLE texts (v VARCHAR)")
    (kind,) = engine.sql(f"SELECT {masker.compile('v', 'VARCHAR').sql('duckdb')} FROM texts").types
    assert str(kind) == "VARCHAR"


@pytest.fixture(scope="module")
def server(postgres_uri: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS hostile CASCADE")
        connection.execute("CREATE SCHEMA hostile")
        connection.execute('CREATE TABLE hostile.t (n int, v text, plain text COLLATE "C")')
        with connection.cursor() as cursor, cursor.copy("COPY hostile.t FROM STDIN") as copy:
            for number, value in enumerate(VALUES):
                copy.write_row((number, value, value))
        yield connection
        connection.execute("DROP SCHEMA hostile CASCADE")


@pytest.mark.postgres
@pytest.mark.parametrize("column", ["v", "plain"])
@pytest.mark.parametrize("masker", listed(POSTGRES), ids=name_of)
def test_postgresql_masks_as_the_engine_does(
    server: psycopg.Connection[Any], engine: duckdb.DuckDBPyConnection, masker: Masker, column: str
) -> None:
    tree = masker.compile_for("postgres", column, "VARCHAR")
    assert tree is not None
    found = server.execute(f"SELECT {tree.sql('postgres')} FROM hostile.t ORDER BY n".encode()).fetchall()
    assert [row[0] for row in found] == in_engine(engine, masker, VALUES)


@pytest.mark.parametrize("collation", ["BINARY", "NOCASE", "RTRIM"])
@pytest.mark.parametrize("masker", listed(SQLITE), ids=name_of)
def test_sqlite_masks_as_the_engine_does(engine: duckdb.DuckDBPyConnection, masker: Masker, collation: str) -> None:
    values: list[str | None] = [*VALUES, *BROKEN]
    tree = masker.compile_for("sqlite", "v", "VARCHAR")
    assert tree is not None
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (n INTEGER, v TEXT COLLATE {collation})")
        connection.executemany("INSERT INTO t VALUES (?, ?)", enumerate(values))
        found = connection.execute(f"SELECT {tree.sql('sqlite')} FROM t ORDER BY n").fetchall()
    assert [row[0] for row in found] == in_engine(engine, masker, values)


@pytest.mark.parametrize("masker", listed(SQLITE), ids=name_of)
def test_bytes_in_a_sqlite_text_column_are_hidden(masker: Masker) -> None:
    tree = masker.compile_for("sqlite", "v", "VARCHAR")
    assert tree is not None
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(b"alan@example.com",), (b"123-45-5678",), (b"\xff@\xfe",)])
        found = connection.execute(f"SELECT DISTINCT {tree.sql('sqlite')} FROM t").fetchall()
    assert found == [(masker.mask(""),)]


SHORT = [value for value in [*VALUES, *BROKEN] if value is None or len(value) <= 255]
"""Longer texts are compared in the engine, and masked there."""


@pytest.fixture(scope="module")
def maria(mariadb_server: MariaDBServer) -> Iterator[MariaDBServer]:
    kinds = {"v": "utf8mb4_general_ci", "b": "utf8mb4_bin", "u": "utf8mb4_unicode_ci"}
    mariadb_server.execute("DROP TABLE IF EXISTS hostile")
    texts = ", ".join(f"{name} VARCHAR(255) COLLATE {kind}" for name, kind in kinds.items())
    mariadb_server.execute(f"CREATE TABLE hostile (n INT, {texts})")
    with mariadb_server.connect("test") as connection, connection.cursor() as cursor:
        rows = [(number, value, value, value) for number, value in enumerate(SHORT)]
        cursor.executemany("INSERT INTO hostile VALUES (%s, %s, %s, %s)", rows)
    yield mariadb_server
    mariadb_server.execute("DROP TABLE hostile")


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT"])
@pytest.mark.parametrize("masker", listed(MYSQL), ids=name_of)
def test_mariadb_masks_as_the_engine_does(
    maria: MariaDBServer, engine: duckdb.DuckDBPyConnection, masker: Masker, mode: str
) -> None:
    options: dict[str, Any] = {"mask": masker.name, "allowed_roles": ["admin"], "mask_options": dict(masker.parameters)}
    config = {
        "connections": {"c": {"type": "mysql", "uri": maria.uri()}},
        "virtual_tables": {"t": {"connection": "c", "table": "hostile"}},
        "security_policies": {"t": {"field_policies": dict.fromkeys("vbu", options)}},
    }
    maria.execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        with VirtualContext(config, principal="ana") as ctx:
            plan = ctx.plan("SELECT n, v, b, u FROM t ORDER BY n")
            (fragment,) = whole(plan).fragments
            assert "CASE" in fragment.sql, "the server masks"
            rows = ctx.run(plan).rows()
    finally:
        maria.execute("SET GLOBAL sql_mode = DEFAULT")
    expected = in_engine(engine, masker, SHORT)
    for column in "vbu":
        assert [row[column] for row in rows] == expected


COLUMNS = {"email": "email", "phone": "phone", "ssn": "ssn", "card": "last4", "iban": "first4", "name": "redact"}
PEOPLE = [
    (1, "ana@example.com", "+1 (555) 123-1234", "123-45-5678", "4111111111111111", "DE89370400440532013000", "Ana", 9),
    (2, "bo@example.com", "n/a", None, "4111", "", None, 8),
    (3, None, "5551234567", "987654321", None, "FR7630006000011234567890189", "\u00c7elik", 7),
]
SHAPES = [
    "SELECT id, email, phone, ssn, card, iban, name FROM t",
    "SELECT * FROM t WHERE id >= 2",
    "SELECT email FROM t WHERE upper(coalesce(name, '')) = '***' AND id < 9",
    "SELECT email, count(*) AS n FROM t GROUP BY email",
    "SELECT a.email, b.phone FROM t a JOIN t b ON a.ssn = b.ssn",
    "SELECT id FROM t WHERE email = 'a***a@example.com'",
    "SELECT reverse(email) AS r FROM t WHERE id = 1",
    "SELECT DISTINCT name FROM t",
    "SELECT email FROM t UNION SELECT phone FROM t",
]


def guarded(connection: Any, kind: str) -> VirtualContext:
    """A context whose principal sees every text of the table masked."""
    fields = {column: {"mask": mask, "allowed_roles": ["admin"]} for column, mask in COLUMNS.items()}
    config = {
        "connections": {"c": connection},
        "virtual_tables": {"t": {"connector_type": kind, "connection": "c", "table": "people_masked"}},
        "security_policies": {"t": {"field_policies": fields}},
    }
    return VirtualContext(config, principal="ana")


def raw_texts() -> set[str]:
    return {value for row in PEOPLE for value in row if isinstance(value, str) and len(value) > 4}


@pytest.fixture(scope="module")
def people(postgres_uri: str) -> Iterator[VirtualContext]:
    texts = ", ".join(f"{column} text" for column in COLUMNS)
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS people_masked")
        connection.execute(f"CREATE TABLE people_masked (id int, {texts}, points int)".encode())
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO people_masked VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", PEOPLE)
        with guarded(postgres_uri, "postgresql") as ctx:
            yield ctx
        connection.execute("DROP TABLE people_masked")


@pytest.mark.postgres
@pytest.mark.parametrize("sql", SHAPES)
def test_no_raw_value_leaves_postgresql(people: VirtualContext, postgres_uri: str, sql: str) -> None:
    plan = people.plan(sql)
    fragments = whole(plan).fragments
    assert fragments
    for fragment in fragments:
        assert fragment.kind == "query", "scanned, raw values would come over"
        with psycopg.connect(postgres_uri) as connection:
            sent = connection.execute(fragment.sql.encode()).fetchall()
        values = {str(value) for row in sent for value in row}
        assert not any(raw in value for raw in raw_texts() for value in values), fragment.sql
    found = people.query(sql).rows()
    # What the engine scans and masks itself is the same.
    plan = people._plan(sql, pushdown=False)
    here = people._run(plan, "here", 0.0, people.layer.config.limits).rows()
    assert sorted(map(repr, found)) == sorted(map(repr, here))
    assert not any(raw in str(value) for row in found for value in row.values() for raw in raw_texts())


@pytest.fixture(scope="module")
def people_in_mariadb(mariadb_server: MariaDBServer) -> Iterator[VirtualContext]:
    texts = ", ".join(f"{column} VARCHAR(200)" for column in COLUMNS)
    mariadb_server.execute("DROP TABLE IF EXISTS people_masked")
    mariadb_server.execute(f"CREATE TABLE people_masked (id INT, {texts}, points INT)")
    with mariadb_server.connect("test") as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO people_masked VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", PEOPLE)
    with guarded({"type": "mysql", "uri": mariadb_server.uri()}, "mysql") as ctx:
        yield ctx
    mariadb_server.execute("DROP TABLE people_masked")


@pytest.mark.parametrize("sql", SHAPES)
def test_no_raw_value_leaves_mariadb(
    people_in_mariadb: VirtualContext, mariadb_server: MariaDBServer, sql: str
) -> None:
    ctx = people_in_mariadb
    for fragment in whole(ctx.plan(sql)).fragments:
        sent = {str(value) for row in mariadb_server.execute(fragment.sql) for value in row}
        assert sent
        assert not any(raw in value for raw in raw_texts() for value in sent), fragment.sql
    found = ctx.query(sql).rows()
    plan = ctx._plan(sql, pushdown=False)
    here = ctx._run(sealed(plan, plan, ctx.layer), "here", 0.0, ctx.layer.config.limits).rows()
    assert sorted(map(repr, found)) == sorted(map(repr, here))


@pytest.mark.postgres
def test_what_is_masked_there_is_what_is_masked_here(people: VirtualContext) -> None:
    first = people.query("SELECT email, phone, ssn, card, iban, name FROM t WHERE id = 1").rows()
    assert first == [
        {
            "email": "a***a@example.com",
            "phone": "****1234",
            "ssn": "***-**-5678",
            "card": "****1111",
            "iban": "DE89****",
            "name": "***",
        }
    ]


def test_sqlite_answers_masks_in_a_query_it_is_asked(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "p.sqlite")) as connection:
        texts = ", ".join(f"{column} TEXT" for column in COLUMNS)
        connection.execute(f"CREATE TABLE people_masked (id INTEGER, {texts}, points INTEGER)")
        connection.executemany("INSERT INTO people_masked VALUES (?, ?, ?, ?, ?, ?, ?, ?)", PEOPLE)
        connection.commit()
    with guarded({"type": "sqlite", "path": str(tmp_path / "p.sqlite")}, "sqlite") as ctx:
        plan = whole(ctx.plan("SELECT email, phone, ssn FROM t WHERE id = 1"))
        assert [fragment.kind for fragment in plan.fragments] == ["query"]
        assert "GLOB" in plan.fragments[0].sql
        for sql in SHAPES:
            found = ctx.query(sql).rows()
            assert not any(raw in str(value) for row in found for value in row.values() for raw in raw_texts())
        assert ctx.query("SELECT email, phone, ssn FROM t WHERE id = 1").rows() == [
            {"email": "a***a@example.com", "phone": "****1234", "ssn": "***-**-5678"}
        ]
