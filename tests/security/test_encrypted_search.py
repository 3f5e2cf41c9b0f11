"""Equality in columns encrypted at their source: the source is asked for ciphertext, and answers stay right."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import psycopg
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import CipherError, UsageError
from tauro_nb.query.plan import QueryPlan, whole
from tauro_nb.security import Principal
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.keys import KeyRing
from tests.mariadb import MariaDBServer

HR, ANA = Principal("hr"), Principal("ana")
SSN = FieldSpec("people", "ssn", searchable=True)
# The last ones are equal to a collation without case, accents or trailing blanks.
ROWS = [(number, f"S{number % 40:03d}", number % 3) for number in range(120)]
ROWS += [(900, "ana", 0), (901, "ANA", 0), (902, "\u00e1na", 0), (903, "ana ", 0), (904, "", 0), (905, None, 0)]
Rows = list[tuple[Any, ...]]
Put = Callable[[Rows], dict[str, Any]]


def ring_of_two() -> tuple[KeyRing, Rows]:
    """Rows sealed before and after a rotation: equal values have two tokens."""
    ring = KeyRing()
    cipher = Cipher(SSN, ring)
    rows = []
    for at, (number, ssn, dept) in enumerate(ROWS):
        if at == len(ROWS) // 2:
            ring.rotate(SSN.slot)
        rows.append((number, None if ssn is None else cipher.encrypt([ssn])[0], dept))
    return ring, rows


@pytest.fixture(params=["parquet", "duckdb", "sqlite", "postgresql", "mariadb"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Put:
    """Puts rows into a source of one kind; what it returns is the configuration of a connection and a table."""
    return partial(_STORES[request.param], request, tmp_path)


@pytest.fixture
def in_file(request: pytest.FixtureRequest, tmp_path: Path) -> Put:
    return partial(_parquet, request, tmp_path)


def _duckdb(_: pytest.FixtureRequest, folder: Path, rows: Rows) -> dict[str, Any]:
    with duckdb.connect(str(folder / "p.duckdb")) as engine:
        engine.execute("CREATE TABLE people (id BIGINT, ssn VARCHAR, dept BIGINT)")
        engine.executemany("INSERT INTO people VALUES (?, ?, ?)", rows)
    return {"connection": {"type": "duckdb", "path": str(folder / "p.duckdb")}, "table": {"table": "people"}}


def _parquet(request: pytest.FixtureRequest, folder: Path, rows: Rows) -> dict[str, Any]:
    _duckdb(request, folder, rows)
    with duckdb.connect(str(folder / "p.duckdb")) as engine:
        engine.execute(f"COPY people TO '{folder / 'p.parquet'}'")
    return {"connection": None, "table": {"path": str(folder / "p.parquet")}}


def _sqlite(_: pytest.FixtureRequest, folder: Path, rows: Rows) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(folder / "p.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER, ssn TEXT COLLATE NOCASE, dept INTEGER)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", rows)
        connection.execute("CREATE INDEX people_ssn ON people (ssn COLLATE BINARY)")
        connection.commit()
    return {"connection": {"type": "sqlite", "path": str(folder / "p.db")}, "table": {"table": "people"}}


def _postgresql(request: pytest.FixtureRequest, _: Path, rows: Rows) -> dict[str, Any]:
    uri = request.getfixturevalue("postgres_uri")
    _drop(uri)
    request.addfinalizer(partial(_drop, uri))
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE people_sealed (id bigint, ssn text, dept bigint)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO people_sealed VALUES (%s, %s, %s)", rows)
        connection.execute("CREATE INDEX ON people_sealed (ssn)")
        connection.execute("ANALYZE people_sealed")
    return {"connection": uri, "table": {"table": "people_sealed"}}


def _drop(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS people_sealed")


def _mariadb(request: pytest.FixtureRequest, _: Path, rows: Rows) -> dict[str, Any]:
    server: MariaDBServer = request.getfixturevalue("mariadb_server")
    name = server.create_database()
    server.execute("CREATE TABLE people (id bigint, ssn varchar(200), dept bigint, KEY (ssn))", name)
    marks = ", ".join(["(%s, %s, %s)"] * len(rows))
    server.execute(f"INSERT INTO people VALUES {marks}", name, [value for row in rows for value in row])
    return {"connection": server.uri(name), "table": {"table": "people"}}


_STORES = {
    "parquet": _parquet,
    "duckdb": _duckdb,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
}
FIELD = {"encrypted_at": "source", "searchable": "equality", "allowed_roles": ["hr"]}


def opened(put: Put, ring: KeyRing, rows: Rows, type: str = "VARCHAR", **policy: Any) -> VirtualContext:
    made = put(rows)
    table = {**made["table"], "schema": {"id": "BIGINT", "ssn": type, "dept": "BIGINT"}}
    connections = {}
    if made["connection"] is not None:
        connections["src"] = made["connection"]
        table["connection"] = "src"
    policies = {"people": {"field_policies": {"ssn": FIELD}, **policy}}
    config = {"connections": connections, "virtual_tables": {"people": table}, "security_policies": policies}
    ctx = VirtualContext(config)
    ctx.layer.keys._keyset = ring._keyset
    return ctx


def asked(plan: QueryPlan) -> str:
    """Everything that runs, in the sources and in the engine."""
    plan = whole(plan)
    return " ".join([plan.residual.sql("duckdb"), *(fragment.sql for fragment in plan.fragments)])


SEARCHES: list[tuple[str, dict[str, Any] | None, list[int]]] = [
    ("ssn = 'S007'", None, [7, 47, 87]),
    ("'S007' = ssn", None, [7, 47, 87]),
    ("ssn = :who", {"who": "S007"}, [7, 47, 87]),
    ("ssn IN ('S007', 'ana')", None, [7, 47, 87, 900]),
    ("ssn IN (:one, :two) AND dept = 1", {"one": "S007", "two": "S008"}, [7, 88]),
    ("ssn = 'S007' OR ssn = 'ANA'", None, [7, 47, 87, 901]),
    ("(ssn = 'S007' AND dept = 1) OR (ssn = 'S008' AND upper(ssn) = 'S008')", None, [7, 8, 48, 88]),
    ("ssn = 'ana'", None, [900]),
    ("ssn = ''", None, [904]),
    ("ssn = 'nobody'", None, []),
]


def ids(ctx: VirtualContext, condition: str, params: dict[str, Any] | None = None, **how: Any) -> list[int]:
    sql = f"SELECT id FROM people WHERE {condition}"
    if how:
        plan = ctx._plan(sql, None, params, **how)
        return sorted(row["id"] for row in ctx._run(plan, "here", 0.0, ctx.layer.config.limits).rows())
    return sorted(row["id"] for row in ctx.query(sql, params).rows())


def test_a_kept_plan_looks_for_the_value_it_is_given(in_file: Put) -> None:
    ring, rows = ring_of_two()
    with opened(in_file, ring, rows) as ctx:
        hr = ctx.as_principal(HR)
        for who, expected in (("S007", [7, 47, 87]), ("S008", [8, 48, 88]), ("nobody", []), ("S007", [7, 47, 87])):
            assert ids(hr, "ssn = :who", {"who": who}) == expected
            assert hr.plan("SELECT id FROM people WHERE ssn = :who", {"who": who}).cached


@pytest.mark.postgres
@pytest.mark.mariadb
def test_the_source_is_asked_for_tokens_of_every_live_key(put: Put, request: pytest.FixtureRequest) -> None:
    ring, rows = ring_of_two()
    with opened(put, ring, rows) as ctx:
        hr = ctx.as_principal(HR)
        for condition, params, expected in SEARCHES:
            assert ids(hr, condition, params) == expected, condition
            assert ids(hr, condition, params, pushdown=False) == expected, condition
            words = asked(hr.plan(f"SELECT id FROM people WHERE {condition}", params))
            for token in Cipher(SSN, ring).tokens("S007" if "S007" in f"{condition}{params}" else "x"):
                assert (token in words) is ("S007" in f"{condition}{params}"), condition
        plan = whole(hr.plan("SELECT id FROM people WHERE ssn = 'S007'"))
        kind = request.node.callspec.params["put"]
        if kind in ("sqlite", "postgresql", "mariadb"):
            (fragment,) = plan.fragments
            assert all(token in fragment.sql for token in Cipher(SSN, ring).tokens("S007")), fragment.sql
            assert "TAURO" not in fragment.sql.upper()


NOT_SEARCHED = [
    "ssn <> 'S007'", "ssn > 'S007'", "ssn LIKE 'S00%'", "lower(ssn) = 's007'", "ssn = 'S' || dept", "ssn IS NULL",
    "NOT (ssn = 'S007')", "ssn = 'S007' OR dept = 0", "ssn IN ('S007', NULL)",
]  # fmt: skip


def test_what_is_no_equality_with_a_value_is_decided_over_plain_values(in_file: Put) -> None:
    ring, rows = ring_of_two()
    with opened(in_file, ring, rows) as ctx:
        hr = ctx.as_principal(HR)
        with duckdb.connect() as plain:
            plain.execute("CREATE TABLE people (id BIGINT, ssn VARCHAR, dept BIGINT)")
            plain.executemany("INSERT INTO people VALUES (?, ?, ?)", ROWS)
            for condition in NOT_SEARCHED:
                found = plain.execute(f"SELECT id FROM people WHERE {condition}").fetchall()
                expected = sorted(row[0] for row in found)
                assert ids(hr, condition) == expected, condition
                assert "tnb1." not in asked(hr.plan(f"SELECT id FROM people WHERE {condition}"))


def test_outer_joins_keep_their_rows(put: Put) -> None:
    ring, rows = ring_of_two()
    with opened(put, ring, rows) as ctx:
        hr = ctx.as_principal(HR)
        sql = "SELECT a.id, b.id AS b FROM people a LEFT JOIN people b ON a.id = b.id AND b.ssn = 'ana'"
        sql += " WHERE a.id >= 900"
        found = hr.query(f"{sql} ORDER BY 1").rows()
        assert [(row["id"], row["b"]) for row in found] == [(n, 900 if n == 900 else None) for n in range(900, 906)]
        sql = "SELECT a.id FROM people a LEFT JOIN people b ON a.id = b.id - 1 WHERE b.ssn = 'ANA'"
        assert [row["id"] for row in hr.query(sql).rows()] == [900]


TYPED: list[tuple[str, Any, str, str, str | None]] = [
    ("BIGINT", -7, "-7", "ssn = -7", "ssn = -7.0"),
    ("INTEGER", 123, "123", "ssn = '123'", "ssn = '0123'"),
    ("DATE", dt.date(2024, 2, 29), "2024-02-29", "ssn = DATE '2024-02-29'", "ssn = TIMESTAMP '2024-02-29'"),
    ("DATE", dt.date(2024, 2, 29), "2024-02-29", "ssn = '2024-02-29'", "ssn = '2024-2-29'"),
    ("UUID", str(UUID(int=7)), str(UUID(int=7)), f"ssn = '{UUID(int=7)}'", f"ssn = '{UUID(int=7).hex}'"),
    ("VARCHAR", "07", "07", "ssn = '07'", "ssn = 7"),
]


@pytest.mark.parametrize(("type", "value", "text", "searched", "converted"), TYPED)
def test_types(in_file: Put, type: str, value: Any, text: str, searched: str, converted: str) -> None:
    """What DuckDB converts before it compares is not looked for as ciphertext, and is found all the same."""
    ring, spec = KeyRing(), FieldSpec("people", "ssn", type, searchable=True)
    rows = [(1, Cipher(spec, ring).encrypt([text])[0], 0), (2, None, 0)]
    with opened(in_file, ring, rows, type) as ctx:
        hr = ctx.as_principal(HR)
        assert hr.query("SELECT ssn FROM people WHERE id = 1").rows() == [{"ssn": value}]
        for condition, token in ((searched, True), (converted, False)):
            assert ids(hr, condition) == [1], condition
            assert ("tnb1." in asked(hr.plan(f"SELECT id FROM people WHERE {condition}"))) is token, condition
        assert ids(hr, "ssn = :v", {"v": value}) == [1]


@pytest.mark.parametrize(("type", "text"), [("BIGINT", "07"), ("BIGINT", " 7"), ("DATE", "2024-2-9"), ("UUID", "A")])
def test_a_searchable_value_has_one_spelling(type: str, text: str) -> None:
    with pytest.raises(CipherError, match="column `ssn` of `people` is searchable") as caught:
        Cipher(FieldSpec("people", "ssn", type, searchable=True), KeyRing()).encrypt([text])
    assert text not in str(caught.value)
    assert Cipher(FieldSpec("people", "ssn", type), KeyRing()).encrypt([text])


def test_only_who_may_open_the_column_searches_it(in_file: Put) -> None:
    ring, rows = ring_of_two()
    with opened(in_file, ring, rows, row_level_filters={"hr": "dept = 0", "ana": "ssn <> 'S001'"}) as ctx:
        assert ids(ctx.as_principal(HR), "ssn = 'S007'") == [87]
        ana = ctx.as_principal(ANA)
        assert ids(ana, "ssn = 'S007'") == []
        assert not any(token in asked(ana.plan("SELECT id FROM people WHERE ssn = 'S007'"))
                       for token in Cipher(SSN, ring).tokens("S007"))  # fmt: skip
        shown = str(ctx.as_principal(HR).plan("SELECT id FROM people WHERE ssn = 'S007'"))
        assert "tnb1." not in shown


def test_a_strict_barrier_lets_nothing_pass(in_file: Put) -> None:
    ring, rows = ring_of_two()
    with opened(in_file, ring, rows, barrier="strict") as ctx:
        hr = ctx.as_principal(HR)
        assert ids(hr, "ssn = 'S007'") == SEARCHES[0][2]
        assert "tnb1." not in asked(hr.plan("SELECT id FROM people WHERE ssn = 'S007'"))


def test_a_life_of_keys(in_file: Put) -> None:
    """A pending key is looked for before it encrypts, a retired one until it is gone; plans do not outlive keys."""
    ring, rows = ring_of_two()
    pending = ring.add(SSN.slot)
    with opened(in_file, ring, rows) as ctx:
        hr = ctx.as_principal(HR)
        sql = "SELECT id FROM people WHERE ssn = 'S007'"
        plan = hr.plan(sql)
        tokens = Cipher(SSN, ctx.layer.keys).tokens("S007")
        assert len(tokens) == 3
        assert all(token in asked(plan) for token in tokens)
        assert len(hr.run(plan).rows()) == 3
        ctx.layer.keys.promote(pending.id)
        assert len(hr.run(plan).rows()) == 3
        ctx.layer.keys.rotate(SSN.slot)
        with pytest.raises(UsageError, match="keys of `people` changed"):
            hr.run(plan)
        old = ctx.layer.keys.all_keys()[0]
        ctx.layer.keys.destroy(old.id)
        assert ids(hr, "ssn = 'S007'") == [87]
        assert tokens[1] not in asked(hr.plan(sql))
        with pytest.raises(CipherError, match="destroyed"):
            hr.query("SELECT ssn FROM people").rows()
