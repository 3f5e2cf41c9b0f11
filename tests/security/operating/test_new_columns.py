"""A column that appears, or gets another name, in a table with guarded tags is closed to everybody until classified."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from ibis.common.exceptions import IbisError

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, TauroError

TAGS = {"tag_policies": {"pii": {"mask": "email", "allowed_roles": ["steward"]}}}
LABELS = {"tags": ["pii", "confidential", "financial"], "column_tags": {"id": [], "email": ["pii"]}}
Change = Callable[[str], None]


def sqlite_table(folder: Path) -> tuple[dict[str, Any], Change]:
    path = folder / "crm.sqlite"

    def run(statement: str) -> None:
        with sqlite3.connect(path) as crm:
            crm.execute(statement)
        crm.close()

    run("CREATE TABLE people (id INTEGER, email TEXT)")
    run("INSERT INTO people VALUES (1, 'ana@example.com')")
    connection = {"crm": {"type": "sqlite", "path": str(path)}}
    return {
        "connections": connection,
        "virtual_tables": {"people": {"connection": "crm", "table": "people", **LABELS}},
    }, run


def parquet_table(folder: Path) -> tuple[dict[str, Any], Change]:
    path = folder / "people.parquet"
    state = duckdb.connect()
    state.execute("CREATE TABLE people AS SELECT 1 AS id, 'ana@example.com' AS email")

    def run(statement: str) -> None:
        state.execute(statement)
        state.execute(f"COPY people TO '{path}' (FORMAT parquet)")

    run("SELECT 1")
    return {"virtual_tables": {"people": {"path": str(path), **LABELS}}}, run


def postgres_table(uri: str) -> tuple[dict[str, Any], Change]:
    def run(statement: str) -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(statement)

    run("CREATE TABLE people (id integer, email varchar(60))")
    run("INSERT INTO people VALUES (1, 'ana@example.com')")
    table = {"connection": "crm", "table": "people", **LABELS}
    return {"connections": {"crm": {"type": "postgresql", "uri": uri}}, "virtual_tables": {"people": table}}, run


@pytest.fixture(params=["sqlite", "parquet", pytest.param("postgresql", marks=pytest.mark.postgres)])
def changing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[VirtualContext, Change]]:
    if request.param == "postgresql":
        config, run = postgres_table(request.getfixturevalue("fresh_postgres_database"))
    else:
        config, run = (sqlite_table if request.param == "sqlite" else parquet_table)(tmp_path)
    with VirtualContext({**config, **TAGS}, principal="steward") as ctx:
        yield ctx, run


def doors(ctx: VirtualContext, column: str) -> list[Callable[[], Any]]:
    """Every way to ask for a column of `people`."""
    connection = tauro_nb.connect(ctx)
    return [
        lambda: ctx.query(f"SELECT {column} FROM people"),
        lambda: ctx.query(f"SELECT id FROM people WHERE {column} IS NULL"),
        lambda: ctx.table("people").select(column).execute(),
        lambda: ctx.sql(f"SELECT {column} FROM people").execute(),
        lambda: connection.cursor().execute(f"SELECT {column} FROM people"),
        lambda: tauro_nb.FederationEngine(ctx).plan_query("people", projection=[column]),
    ]


def require_closed(ctx: VirtualContext, column: str, rest: list[str]) -> None:
    for who in (ctx, ctx.as_principal("ana"), ctx.as_principal("admin")):
        for ask in doors(who, column):
            with pytest.raises((TauroError, IbisError)):
                ask()
        assert who.query("SELECT * FROM people").columns == rest
        assert list(who.visible_schema("people")) == rest
        assert list(who.table("people").columns) == rest
        assert list(who.read_table("people")[0]) == rest
    with pytest.raises(AccessDenied, match=f"`{column}`"):
        ctx.query(f"SELECT {column} FROM people")
    rows = [{"id": 1, column: "x"}]
    assert ctx.security.apply_field_masking("people", "steward", rows) == [{"id": 1}]


def test_until_it_is_classified(changing: tuple[VirtualContext, Change]) -> None:
    ctx, run = changing
    assert ctx.query("SELECT * FROM people").rows() == [{"id": 1, "email": "ana@example.com"}]
    plan = ctx.plan("SELECT * FROM people")
    run("ALTER TABLE people ADD COLUMN phone VARCHAR")
    run("UPDATE people SET phone = '+1-661-555-0160'")
    require_closed(ctx, "phone", ["id", "email"])
    with pytest.raises(TauroError, match="Plan again"):
        ctx.run(plan)
    admin = ctx.as_principal("admin")
    proposal = next(one for one in admin.classify("people").proposals if one.column == "phone")
    assert (proposal.tags, proposal.proposed, proposal.values) == (None, ("pii",), None)
    assert "phone: [pii]" in admin.classify("people").to_yaml()
    table = ctx.layer.schema_registry.resolve("people")
    table.column_tags["phone"] = ["pii"]
    assert ctx.query("SELECT phone FROM people").rows() == [{"phone": "+1-661-555-0160"}]
    assert ctx.as_principal("ana").query("SELECT phone FROM people").rows() != [{"phone": "+1-661-555-0160"}]


def test_a_new_name_is_a_new_column(changing: tuple[VirtualContext, Change]) -> None:
    ctx, run = changing
    assert len(ctx.query("SELECT email FROM people")) == 1
    run("ALTER TABLE people RENAME COLUMN email TO mail_of_person")
    require_closed(ctx, "mail_of_person", ["id"])
