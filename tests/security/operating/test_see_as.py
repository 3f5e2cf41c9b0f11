"""Through other eyes: explanations and simulations say what a query of that person would meet, and who asked."""

from __future__ import annotations

from typing import Any

import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, UsageError
from tests.security.operating.conftest import POLICIES, Write

SECRET = "department = 'Sales'"


@pytest.fixture
def root(ctx: VirtualContext) -> VirtualContext:
    return ctx.as_principal("root")


def records(ctx: VirtualContext) -> list[tuple[str, str, str, str]]:
    return [(log.principal, log.acting_as, log.table_name, log.status) for log in ctx.audit_logs()]


def test_an_explanation_agrees_with_every_decision(root: VirtualContext) -> None:
    for who in ("ana", "root", "eve"):
        for table in ("people", "orders"):
            found = root.explain_access(who, table)
            decision = root.security.decide(table, dict.fromkeys(["id"], "BIGINT"), who) if table == "orders" else None
            seen = root.as_principal(who)
            if found.allowed:
                assert {c.name: c.type for c in found.columns if c.access != "denied"} == seen.visible_schema(table)
                assert decision is None or decision.allowed
            else:
                with pytest.raises(AccessDenied):
                    seen.describe(table)
            assert found.policy_version == root.policy_version


def test_it_says_which_rule_and_why(root: VirtualContext) -> None:
    found = root.explain_access("ana", "people")
    email = next(column for column in found.columns if column.name == "email")
    assert (email.access, email.mask, email.why, email.policy) == (
        "masked",
        "email",
        "masked except for admin",
        "mask email",
    )
    assert (found.rows, found.row_policy) == ("row filter of `analyst`", (f"`analyst`: {SECRET}",))
    assert root.explain_access("ana", "orders").why == "its `allowed_roles` list `analyst`"
    assert root.explain_access("root", "people").rows == "all; the row filter of `admin` is empty"
    closed = root.explain_access("eve", "orders")
    assert (closed.allowed, closed.why) == (False, "no role of `eve` may read `orders`")
    assert {column.access for column in closed.columns} == {"denied"}


def test_every_form_says_the_same(root: VirtualContext) -> None:
    found = root.explain_access("ana", "people")
    frame = found.to_pandas()
    assert frame.loc[frame["column"] == "email", "gets"].tolist() == ["masked"]
    for form in (str(found), found._repr_html_()):
        assert "masked except for admin" in form
        assert "row filter of" in form


def test_who_may_not_read_policies_learns_the_rule_and_not_its_text(ctx: VirtualContext, write: Write) -> None:
    own = ctx.explain_access(None, "people")
    assert own.rows == "row filter of `analyst`"
    assert "Sales" not in str(own) + own._repr_html_()
    assert not own.row_policy
    for about in ("root", "eve"):
        with pytest.raises(AccessDenied, match="somebody else's eyes"):
            ctx.explain_access(about, "people")
    write(POLICIES.replace("allowed_roles: [admin, analyst]", "allowed_roles: [admin]"))
    closed = ctx.explain_access(None, "orders")
    assert (closed.allowed, closed.columns) == (False, ())


def test_explaining_another_is_recorded(root: VirtualContext) -> None:
    root.explain_access("ana", "people")
    (event,) = [event for event in root.layer.audit_trail.events() if event["event"] == "policy.explain"]
    assert (event["principal"], event["facts"]) == ("root", {"about": "ana", "table": "people"})


def test_whoever_lends_eyes_reads_no_more_of_policies_than_with_the_own(
    catalog: dict[str, Any], policy_file: Any
) -> None:
    roles = {"policies": str(policy_file), "simulators": ["trainer"]}
    with VirtualContext({**catalog, "security": roles}, "root") as root:
        trainer = root.as_principal("tim", roles=["trainer"])
        sql = "SELECT id FROM people"
        for lent in (trainer.acting_as("root"), trainer.acting_as("root").as_principal("root")):
            assert lent.query(sql).rows() == root.query(sql).rows()
            assert (lent.reads_policies, lent.policy_version) == (False, "")
            assert not lent.explain_access(None, "people").row_policy
            with pytest.raises(AccessDenied):
                lent.check_policies()
            with pytest.raises(AccessDenied):
                lent.schema_registry.delete_table("people")
        ana = trainer.simulate(sql, ["ana"])["ana"]
        assert SECRET not in str(ana.plan) + str(trainer.simulate(sql, ["root"])["root"].plan)
        assert root.acting_as("root").reads_policies


def test_a_simulation_gives_each_what_they_would_get(root: VirtualContext) -> None:
    sql = "SELECT id, email FROM people ORDER BY id"
    found = root.simulate(sql, ["root", "ana", "eve"])
    assert found["ana"].rows() == root.as_principal("ana").query(sql).rows()
    assert found["root"].rows() == root.query(sql).rows()
    with pytest.raises(AccessDenied):
        found["eve"]
    first, ana, eve = found.outcomes
    assert (first.masked, first.filtered) == ({}, ())
    assert (ana.masked, ana.filtered) == ({"people.email": "email"}, ("people",))
    assert eve.said.startswith("denied: ")
    frame = found.to_pandas()
    assert frame["rows"].tolist()[:2] == [3, 2]
    assert frame["difference"].tolist() == ["", "3 rows of root not here, 2 rows only here", ""]
    for form in (str(found), found._repr_html_()):
        assert "people.email (email)" in form
        assert "a***a@example.com" in form
    with pytest.raises(UsageError, match="not part of"):
        found["nobody else"]


def test_differences_in_columns_and_none_at_all(root: VirtualContext, write: Write) -> None:
    write(POLICIES.replace("email: {mask: email", "email: {access_level: restricted"))
    frame = root.simulate("SELECT * FROM people WHERE id = 1", ["root", "ana"]).to_pandas()
    assert frame["difference"].tolist() == ["", "without email"]
    assert frame["denied"].tolist() == ["", "people.email"]
    frame = root.simulate("SELECT id AS a, id AS a FROM orders ORDER BY 1", ["root", "ana"], limit=1).to_pandas()
    assert frame["difference"].tolist() == ["", "the same as root"]


def test_a_simulation_is_recorded_with_both_names(root: VirtualContext) -> None:
    root.simulate("SELECT id FROM people", ["ana", "eve"])
    assert records(root) == [("root", "ana", "people", "SUCCESS"), ("root", "eve", "people", "DENIED")]
    (event,) = [event for event in root.layer.audit_trail.events() if event["event"] == "simulation"]
    assert (event["principal"], event["facts"]["principals"]) == ("root", ["ana", "eve"])


def test_who_may_simulate(catalog: dict[str, Any], ctx: VirtualContext) -> None:
    with pytest.raises(AccessDenied, match="somebody else's eyes"):
        ctx.simulate("SELECT id FROM people", ["root"])
    assert records(ctx)[-1][3] == "DENIED"
    config = {**catalog, "security": {"simulators": ["help desk"]}, "principals": {"hal": ["help desk"], "ana": ["x"]}}
    with VirtualContext(config, principal="hal") as other:
        assert len(other.simulate("SELECT * FROM orders", ["ana"])["ana"]) == 2
        assert not other.explain_access("ana", "orders").row_policy


def test_simulating_for_nobody_is_a_mistake(root: VirtualContext) -> None:
    with pytest.raises(UsageError, match="for whom"):
        root.simulate("SELECT 1", [])


def test_rights_of_a_simulation_are_not_added_up(root: VirtualContext) -> None:
    """Whoever simulates as somebody small cannot simulate on from there."""
    as_ana = root.acting_as("ana")
    with pytest.raises(AccessDenied):
        as_ana.acting_as("root")
    assert records(root)[-1][:2] == ("root", "ana")
    as_ana.as_principal("root").query("SELECT id FROM orders").rows()
    assert records(root)[-1] == ("root", "root", "orders", "SUCCESS")


def test_a_misspelt_name_is_pointed_out(root: VirtualContext) -> None:
    assert "Did you mean `ana`?" in str(root.explain_access("anna", "people"))
    assert "Did you mean `ana`?" in str(root.simulate("SELECT 1 AS one", ["anna", "ana"]))
    assert not root.explain_access("ana", "people").note
    with pytest.raises(UsageError, match="list of names"):
        root.simulate("SELECT 1", "ana")
