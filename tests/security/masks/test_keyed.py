"""Pseudonyms: equal within a tenant and a domain, unlike anywhere else, and of the column's own type."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import KeysetError, PolicyError
from tauro_nb.security import FieldSecurityPolicy, Principal, SecurityEnforcer, TableSecurityPolicy
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.masks import choose_mask

PEOPLE = [(1, "ana@example.com", 7), (2, "bo@example.com", 8), (3, None, None), (4, "", 2**62)]
ORDERS = [(10, "bo@example.com", 8), (11, "bo@example.com", 8), (12, "eve@example.com", 9), (13, None, None)]
KEYED = ("hmac", "hmac_ephemeral", "token")
HR, ANA = Principal("hr"), Principal("ana")
ACME, ZETA = Principal("ana", tenant="acme"), Principal("ana", tenant="zeta")


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Any]:
    """People in SQLite, their orders in a file: joins cross from one to the other."""
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER, email TEXT, number INTEGER)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", PEOPLE)
        connection.commit()
    with duckdb.connect() as engine:
        engine.execute("CREATE TABLE orders (id BIGINT, buyer VARCHAR, number INTEGER)")
        engine.executemany("INSERT INTO orders VALUES (?, ?, ?)", ORDERS)
        engine.execute(f"COPY (FROM orders) TO '{tmp_path / 'o.parquet'}'")
    typed = {"id": "BIGINT", "email": "VARCHAR", "number": "BIGINT"}
    return {
        "connections": {"src": {"type": "sqlite", "path": str(tmp_path / "p.db")}},
        "virtual_tables": {
            "people": {"connection": "src", "table": "people", "schema": typed},
            "orders": {
                "path": str(tmp_path / "o.parquet"),
                "schema": {"id": "BIGINT", "buyer": "VARCHAR", "number": "BIGINT"},
            },
        },
    }


def masked(sources: dict[str, Any], mask: str, column: str, people: str | None, orders: str | None) -> VirtualContext:
    def rule(name: str, domain: str | None) -> dict[str, Any]:
        options = {"mask_options": {"domain": domain}} if domain else {}
        return {"field_policies": {name: {"mask": mask, "allowed_roles": ["hr"], **options}}}

    other = "buyer" if column == "email" else column
    policies = {"people": rule(column, people), "orders": rule(other, orders)}
    return VirtualContext({**sources, "security_policies": policies})


JOIN = "SELECT p.id, o.id AS o FROM people p JOIN orders o ON p.{} = o.{} ORDER BY 1, 2"
FOUND = [{"id": 2, "o": 10}, {"id": 2, "o": 11}]


@pytest.fixture(params=KEYED)
def mask(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def values(ctx: VirtualContext, sql: str) -> list[Any]:
    return [next(iter(row.values())) for row in ctx.query(sql).rows()]


def test_a_domain_can_be_joined_and_nothing_else(sources: dict[str, Any], mask: str) -> None:
    join = JOIN.format("email", "buyer")
    with masked(sources, mask, "email", "person", "person") as ctx:
        assert ctx.as_principal(HR).query(join).rows() == FOUND
        assert ctx.as_principal(ANA).query(join).rows() == FOUND
        assert ctx.as_principal(ACME).query(join).rows() == FOUND
        assert not ctx.as_principal(ANA).query("SELECT id FROM people WHERE email = 'bo@example.com'").rows()
    for people, orders in (("person", "buyer"), (None, None), ("person", None)):
        with masked(sources, mask, "email", people, orders) as ctx:
            assert ctx.as_principal(ANA).query(join).rows() == []


@pytest.mark.parametrize("mask", ["hmac", "hmac_ephemeral"])
def test_whole_numbers_declared_wide_join(sources: dict[str, Any], mask: str) -> None:
    with masked(sources, mask, "number", "n", "n") as ctx:
        assert ctx.as_principal(ANA).query(JOIN.format("number", "number")).rows() == FOUND
        shown = values(ctx.as_principal(ANA), "SELECT number FROM people ORDER BY id")
        assert shown[2] is None
        assert all(0 <= number < 2**60 for number in (shown[0], shown[1], shown[3]))
        assert ctx.as_principal(ANA).visible_schema("people")["number"] == "BIGINT"


def test_nothing_of_a_value_shows(sources: dict[str, Any], mask: str) -> None:
    with masked(sources, mask, "email", None, None) as ctx:
        ana = ctx.as_principal(ANA)
        shown = values(ana, "SELECT email FROM people ORDER BY id")
        assert [value is None for value in shown] == [row[1] is None for row in PEOPLE]
        assert not any("@" in value or "ana" in value for value in shown if value)
        assert len(set(shown)) == len(PEOPLE)
        assert ana.visible_schema("people")["email"] == "VARCHAR"
        assert values(ctx.as_principal(HR), "SELECT email FROM people ORDER BY id") == [row[1] for row in PEOPLE]
        assert ana.query("SELECT email, count(*) n FROM people GROUP BY 1 HAVING n > 1").rows() == []


def test_tenants_have_pseudonyms_of_their_own(sources: dict[str, Any], mask: str) -> None:
    with masked(sources, mask, "email", "person", "person") as ctx:
        sql = "SELECT email FROM people WHERE id <> 3"
        acme, zeta, nobody = (set(values(ctx.as_principal(who), sql)) for who in (ACME, ZETA, ANA))
        assert len(acme | zeta | nobody) == 9
        ctx.layer.keys.shred(tenant="acme")
        with pytest.raises(KeysetError, match="destroyed"):
            values(ctx.as_principal(ACME), sql)
        assert len(values(ctx.as_principal(ZETA), sql)) == 3


def test_only_the_ephemeral_one_changes(sources: dict[str, Any], mask: str) -> None:
    with masked(sources, mask, "email", None, None) as ctx:
        sql = "SELECT email FROM people WHERE id = 1 UNION ALL SELECT email FROM people WHERE id = 1"
        first, second = (set(values(ctx.as_principal(ANA), sql)) for _ in range(2))
        assert len(first) == len(second) == 1
        assert (first == second) is (mask != "hmac_ephemeral")


def test_an_ephemeral_pseudonym_is_not_that_of_a_value_that_looks_salted() -> None:
    """Who may write rows could otherwise write `<query>:<value>`, and have `hmac` answer for another query."""
    enforcer = SecurityEnforcer()
    slots = [choose_mask("v", name).slot(FieldSpec("t", "v")) for name in ("hmac", "hmac_ephemeral")]  # type: ignore[attr-defined]
    keys = {enforcer.keys.primary(slot).material for slot in slots}
    assert len(keys) == 2


def test_a_token_opens_with_the_key(sources: dict[str, Any]) -> None:
    with masked(sources, "token", "email", "person", None) as ctx:
        tokens = values(ctx.as_principal(ACME), "SELECT email FROM people WHERE id IN (1, 4) ORDER BY id")
        spec = FieldSpec("people", "email", tenant="acme", domain="person", searchable=True, joined=True)
        assert Cipher(spec, ctx.layer.keys).decrypt(tokens) == ["ana@example.com", ""]


def test_a_new_key_gives_new_pseudonyms(sources: dict[str, Any], mask: str) -> None:
    with masked(sources, mask, "email", "person", "person") as ctx:
        ana = ctx.as_principal(ANA)
        before = set(values(ana, "SELECT email FROM people WHERE id <> 3"))
        for key in ctx.layer.keys.all_keys():
            ctx.layer.keys.rotate(key.slot)
        assert not before & set(values(ana, "SELECT email FROM people WHERE id <> 3"))
        assert ana.query(JOIN.format("email", "buyer")).rows() == FOUND


@pytest.fixture
def enforcer(mask: str) -> Iterator[SecurityEnforcer]:
    found = SecurityEnforcer()
    rules = {name: FieldSecurityPolicy(name, mask=mask) for name in ("text", "uuid", "small", "day")}
    found.register_policy(TableSecurityPolicy("t", field_policies=rules))
    yield found
    found.close()


def test_types_are_kept(enforcer: SecurityEnforcer, mask: str) -> None:
    kinds = {"text": "VARCHAR", "uuid": "UUID", "small": "INTEGER", "day": "DATE"}
    decision = enforcer.decide("t", kinds, "ana")
    selects = ", ".join(f'{column.tree.sql("duckdb")} AS "{name}"' for name, column in decision.columns.items())  # type: ignore[union-attr]
    with duckdb.connect() as con:
        enforcer.functions.register(con)
        con.execute("CREATE TABLE t (text VARCHAR, uuid UUID, small INTEGER, day DATE)")
        con.execute("INSERT INTO t VALUES ('a', uuid(), 1, '2024-01-01'), (NULL, NULL, NULL, NULL)")
        assert {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT {selects} FROM t").fetchall()} == kinds
        (text, uuid, small, day), nothing = con.execute(f"SELECT {selects} FROM t").fetchall()
    assert isinstance(text, str)
    assert isinstance(uuid, UUID) is (mask != "token")
    assert (small, day, nothing) == (None, None, (None,) * 4)


def test_row_lists_are_masked_like_queries(sources: dict[str, Any]) -> None:
    with masked(sources, "hmac", "email", "person", None) as ctx:
        rows = [{"id": number, "email": email} for number, email, _ in PEOPLE]
        found = ctx.layer.security.apply_field_masking("people", ANA, rows)
        assert [row["email"] for row in found] == values(ctx.as_principal(ANA), "SELECT email FROM people ORDER BY id")


@pytest.mark.parametrize("options", [{"domain": ""}, {"domain": 3}, {"domain": "a\nb"}, {"domain": "x" * 201}])
def test_a_domain_is_a_name(mask: str, options: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="`domain` must be a name"):
        choose_mask("v", mask, options=options)


def test_a_plan_shows_no_handle(sources: dict[str, Any], mask: str) -> None:
    with masked(sources, mask, "email", "person", None) as ctx:
        plan = ctx.as_principal(ANA).plan("SELECT email FROM people")
        words = f"{plan} {plan.explain() if hasattr(plan, 'explain') else ''}"
        assert "tauro_" not in words.casefold()
