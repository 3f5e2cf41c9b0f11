"""Rules and tables are held against each other before anybody asks, whoever the rules are for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, PolicyError

Config = dict[str, Any]


@pytest.fixture
def catalog(tmp_path: Path, fresh_postgres_database: str) -> Config:
    """People at PostgreSQL, their rights in SQLite."""
    with psycopg.connect(fresh_postgres_database) as server:
        server.execute("CREATE TABLE people AS SELECT 1::int AS id, 'it' AS dept, 'ann@example.com' AS email")
    with sqlite3.connect(tmp_path / "rights.db") as file:
        file.execute("CREATE TABLE rights (who TEXT, dept TEXT)")
    return {
        "connections": {
            "pg": {"type": "postgresql", "uri": fresh_postgres_database},
            "lite": {"type": "sqlite", "path": str(tmp_path / "rights.db")},
        },
        "virtual_tables": {
            "people": {"connection": "pg", "table": "people"},
            "rights": {"connection": "lite", "table": "rights"},
            "open_to_all": {"query": "SELECT 1 AS a"},
        },
    }


def found(catalog: Config, **policy: Any) -> list[tuple[str, str, str]]:
    with VirtualContext({**catalog, "security_policies": {"people": policy}}, "admin") as ctx:
        return [(finding.table, finding.state, finding.because) for finding in ctx.check_policies().findings]


RIGHT = "dept IN (SELECT r.dept FROM rights r WHERE r.who = {principal})"


def test_rules_that_fit(catalog: Config) -> None:
    masked = {"email": {"masking_enabled": True, "mask": "email", "allowed_roles": ["admin"]}}
    assert found(catalog, row_level_filters={"analyst": RIGHT}, field_policies=masked) == [("people", "right", "")]


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ("dep = 'it'", "the table has no column `dep`. Did you mean `dept`?"),
        ("id + 1", "a filter must be true or false, this one is INTEGER"),
        ("id > 'many'", "a constant in it does not convert to the type of what it is compared with"),
        ("dept IN (SELECT r.dept FROM rights r WHERE r.whom = {principal})", "`whom`"),
    ],
)
def test_a_filter_that_is_wrong_for_one_role_is_found_for_the_others(catalog: Config, filter: str, says: str) -> None:
    table, state, because = found(catalog, row_level_filters={"analyst": filter, "admin": ""})[0]
    assert (table, state) == ("people", "wrong")
    assert says in because
    with VirtualContext(
        {**catalog, "security_policies": {"people": {"row_level_filters": {"analyst": filter, "admin": ""}}}}, "admin"
    ) as ctx:
        assert ctx.query("SELECT count(*) FROM people").rows()
        ana = ctx.as_principal("ana", roles=["analyst"])
        doors: tuple[Callable[[], object], ...] = (
            lambda: ana.query("SELECT count(*) FROM people"),
            lambda: ana.describe("people"),
            lambda: ana.explain_access(None, "people"),
            lambda: ana.table("people"),
            lambda: ana.schema_registry,
        )
        for door in doors:
            with pytest.raises(PolicyError, match="does not go together") as told:
                door()
            assert says not in str(told.value)


def test_every_mistake_is_told(catalog: Config) -> None:
    upper = {"masking_enabled": True, "mask": "expression", "mask_options": {"sql": "upper(mail)"}}
    mistakes = found(
        catalog,
        row_level_filters={"analyst": "dep = 'it'", "manager": "id"},
        restrictive_filters={"analyst": "idd > 3"},
        field_policies={"email": upper},
    )
    assert {state for _, state, _ in mistakes} == {"wrong"}
    assert len(mistakes) == 4
    assert all(any(word in because for _, _, because in mistakes) for word in ("`dep`", "INTEGER", "`idd`", "`mail`"))


def test_a_rule_for_a_column_that_is_not_there(catalog: Config) -> None:
    ((_, state, because),) = found(catalog, field_policies={"emial": {"masking_enabled": True}})
    assert (state, "Did you mean `email`?" in because) == ("wrong", True)


@pytest.mark.parametrize("filter", ["a = 'x'", "b = 1"])
def test_of_a_table_that_is_closed_to_whoever_checks_or_takes_values(catalog: Config, filter: str) -> None:
    catalog["virtual_tables"] = {
        "closed": {"query": "SELECT 'x' AS a"},
        "asked": {"query": "SELECT {{ what }} AS a", "connection": "pg", "parameters": {"what": "x"}},
    }
    rows = {"row_level_filters": {"analyst": filter}}
    policies = {"closed": {**rows, "allowed_roles": ["analyst"]}, "asked": rows}
    with VirtualContext({**catalog, "security_policies": policies}, "admin") as ctx:
        states = {finding.table: finding.state for finding in ctx.check_policies().findings}
    assert states == dict.fromkeys(policies, "right" if filter.startswith("a") else "wrong")


def test_a_source_that_does_not_answer_is_no_mistake_and_not_right(catalog: Config) -> None:
    catalog["connections"]["pg"]["uri"] = "postgresql://nobody@127.0.0.1:9/none"
    with VirtualContext(
        {**catalog, "security_policies": {"people": {"row_level_filters": {"analyst": "dept = 'it'"}}}}, "admin"
    ) as ctx:
        check = ctx.check_policies()
        assert [(finding.table, finding.state) for finding in check.findings] == [("people", "unknown")]
        assert not check.ok


def test_a_file_that_cannot_be_used_is_not_right(catalog: Config, tmp_path: Path) -> None:
    """No rule of it is in force, so that none can be looked at: a test of policies must not pass for that."""
    file = tmp_path / "policies.yaml"
    file.write_text(
        "security_policies: {people: {row_level_filters: {analyst: \"dept = 'it'\"}, allowd_roles: []}}\n...\n"
    )
    with VirtualContext({**catalog, "security": {"policies": str(file)}}, "admin") as ctx:
        check = ctx.check_policies()
        assert not check.ok
        assert "policies.yaml: security_policies.people.allowd_roles: unknown key" in str(check)
        file.write_text("security_policies: {people: {row_level_filters: {analyst: \"dept = 'it'\"}}}\n...\n")
        assert ctx.check_policies().ok


def test_who_may_not_read_policies_may_not_check_them(catalog: Config) -> None:
    policy = {"people": {"row_level_filters": {"analyst": "dept = 'it'"}}}
    with VirtualContext({**catalog, "security_policies": policy}, "admin") as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        with pytest.raises(AccessDenied, match="may not check policies"):
            ana.check_policies()
        assert ctx.audit_logs(principal="ana")[-1].status == "DENIED"
        assert ctx.check_policies().ok
