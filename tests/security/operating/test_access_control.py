"""`access_control` of a table's definition closes it, whatever its policy says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tauro_nb import VirtualContext, VirtualTable
from tauro_nb.errors import AccessDenied, ConfigError, TauroError, UnknownTable

Config = dict[str, Any]


def listed(catalog: Config, **more: Any) -> Config:
    tables = {**catalog["virtual_tables"]}
    tables["people"] = {**tables["people"], "access_control": {"SELECT": ["hr"]}}
    tables["named"] = {"query": "SELECT name FROM people"}
    tables["counted"] = {"query": "SELECT count(*) AS n FROM orders", "access_control": {"select": ["hr"]}}
    return {**catalog, "virtual_tables": tables, **more}


DOORS: dict[str, Callable[[VirtualContext, str], Any]] = {
    "sql": lambda ctx, name: ctx.query(f"SELECT * FROM {name}").rows(),
    "ibis": lambda ctx, name: ctx.table(name).to_pyarrow(),
    "describe": lambda ctx, name: ctx.describe(name),
    "profile": lambda ctx, name: ctx.profile(name),
    "read": lambda ctx, name: ctx.read_table(name, apply_security=False),
    "rows": lambda ctx, name: ctx.security.apply_row_level_security(name, ctx.principal, [{"id": 1}]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("policies", [{}, {"people": {"allowed_roles": ["clerk", "hr"]}}], ids=["alone", "policy"])
def test_who_is_not_listed_is_refused_at_every_door(catalog: Config, door: str, policies: Config) -> None:
    with VirtualContext(listed(catalog, security_policies=policies), "admin") as root:
        clerk, hr = (root.as_principal("eve", roles=[role]) for role in ("clerk", "hr"))
        for name in ("people", "counted", *(["named"] if door != "rows" else [])):
            with pytest.raises((AccessDenied, UnknownTable)):
                DOORS[door](clerk, name)
            DOORS[door](hr, name)
        assert {table.name for table in clerk.catalog().tables} == {"orders"}
        assert not root.security.validate_access("eve", "people")
        assert root.security.validate_access("hr", "people")


def test_it_only_narrows(catalog: Config) -> None:
    """A listed role still meets the policy."""
    policies = {"people": {"allowed_roles": ["clerk"]}}
    with VirtualContext(listed(catalog, security_policies=policies), "admin") as root:
        with pytest.raises(AccessDenied):
            root.as_principal("hr").query("SELECT * FROM people")
        root.as_principal("eve", roles=["hr", "clerk"]).query("SELECT * FROM people").rows()
    with (
        VirtualContext(listed(catalog, default_access="deny"), "admin") as root,
        pytest.raises(AccessDenied, match="no policy"),
    ):
        root.as_principal("hr").query("SELECT * FROM people")


def test_a_change_takes_effect_at_once(catalog: Config) -> None:
    with VirtualContext(listed(catalog), "admin") as root:
        hr = root.as_principal("hr")
        plan = hr.plan("SELECT id FROM people")
        hr.run(plan).rows()
        table = root.layer.schema_registry.get_table("people")
        assert table is not None
        table.access_control["SELECT"] = ["board"]
        with pytest.raises(TauroError):
            hr.run(plan)
        with pytest.raises(AccessDenied):
            hr.query("SELECT id FROM people")


def test_explaining_and_posture_know_of_it(catalog: Config) -> None:
    with VirtualContext(listed(catalog), "admin") as root:
        assert "`access_control` lists `hr`" in str(root.explain_access("hr", "people"))
        assert "`access_control` of `people` lists no role of `eve`" in str(root.explain_access("eve", "people"))
        (fact,) = (fact for fact in root.posture().facts if fact.about == "default access")
        assert "people" not in fact.says
        assert "orders" in fact.says


@pytest.mark.parametrize("word", ["read", "export", "selct"])
def test_a_word_that_closes_nothing_is_refused(catalog: Config, word: str) -> None:
    tables = {"people": {**catalog["virtual_tables"]["people"], "access_control": {word: ["hr"]}}}
    with pytest.raises(ConfigError, match=rf"access_control\.{word}"):
        VirtualContext({**catalog, "virtual_tables": tables})
    with pytest.raises(ConfigError, match=f"`{word}` is not known here"):
        VirtualTable("people", query="SELECT 1 AS id", access_control={word: ["hr"]})
