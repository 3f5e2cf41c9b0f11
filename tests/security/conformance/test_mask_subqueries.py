"""C38, C39, C48 to C53, C62, C66: masks and their conditions that read other tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tauro_nb.errors import AccessDenied, PolicyError
from tauro_nb.security import AccessLevel, FieldSecurityPolicy, TableSecurityPolicy
from tests.security.conformance.worlds import World, open_world

STATEMENTS = [
    "SELECT * FROM people",
    "SELECT id FROM people WHERE name = 'Bo'",
    "SELECT name, count(*) AS n FROM people GROUP BY name",
    "SELECT a.id FROM people a JOIN people b USING (name)",
    "WITH rights AS (SELECT 'ana' AS who, 'x' AS dept, 0 AS level) SELECT max(name) AS m FROM people, rights",
]


@pytest.fixture(scope="module", params=["duckdb", "sqlite", "postgresql", "mysql", "parquet and postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(request.param, tmp_path_factory.mktemp("world"), request) as opened:
        yield opened


@pytest.fixture(scope="module")
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world("sqlite", tmp_path_factory.mktemp("here"), request) as opened:
        yield opened


def expression(sql: str, **rules: Any) -> dict[str, Any]:
    return {
        "fields": {"name": {"mask": "expression", "mask_options": {"sql": sql}, "allowed_roles": ["admin"], **rules}}
    }


def agree(world: World, sql: str, value: str, **rules: Any) -> None:
    seen = f"SELECT p.* REPLACE ({value} AS name) FROM people p"
    with world.policy(**expression(sql, **rules)), world.seen(people=seen) as oracle:
        for statement in STATEMENTS:
            oracle.check(world.ana, statement)


def test_c38_uncorrelated_scalar_subquery(world: World) -> None:
    agree(world, "(SELECT max(dept) FROM rights WHERE who = {principal})", "'ops'")


def test_c39_correlated_scalar_subquery(world: World) -> None:
    agree(
        world,
        "left(name, 1) || (SELECT max(r.level)::VARCHAR FROM rights r WHERE r.dept = people.dept)",
        "left(p.name, 1) || (SELECT max(r.level)::VARCHAR FROM rights r WHERE r.dept = p.dept)",
    )


def test_c34_c39_a_condition_reads_another_table(world: World) -> None:
    condition = "NOT EXISTS (SELECT 1 FROM rights r WHERE r.who = {principal} AND r.dept = people.dept)"
    rule = {"mask": "constant", "mask_value": "xxx", "when": condition, "allowed_roles": ["admin"]}
    shown = "CASE WHEN dept IN ('eng', 'ops') THEN name ELSE 'xxx' END"
    with (
        world.policy(fields={"name": rule}),
        world.seen(people=f"SELECT * REPLACE ({shown} AS name) FROM people") as oracle,
    ):
        for statement in STATEMENTS:
            oracle.check(world.ana, statement)


def test_c48_another_identity_has_its_own_masks(here: World) -> None:
    masked = {"dept": FieldSecurityPolicy("dept", masking_enabled=True, mask="null", allowed_roles=["service"])}
    here.root.security.register_policy(TableSecurityPolicy("rights", field_policies=masked))
    try:
        sql = "coalesce((SELECT max(dept) FROM rights), 'nothing')"
        for run_as, value in (("policy_owner", "ops"), ("invoker", "nothing"), ("svc", "ops"), ("root", "nothing")):
            with here.policy(**expression(sql), run_as=run_as):
                assert here.ana.query("SELECT DISTINCT name FROM people").rows() == [{"name": value}], run_as
    finally:
        here.root.security.remove_policy("rights")


@pytest.mark.parametrize(
    "sql",
    ["(SELECT max(name) FROM people)", '(SELECT max(name) FROM "PEOPLE" p)', "(SELECT max(name) FROM staff)"],
    ids=["c49", "c50", "c50-view"],
)
def test_c49_c50_no_mask_reads_its_own_table(here: World, sql: str) -> None:
    with pytest.raises(PolicyError, match="its own table"), here.policy(**expression(sql)):
        pass


def test_c51_nor_in_turn(here: World) -> None:
    with here.policy(**expression("(SELECT max(dept) FROM rights)")):
        rule = FieldSecurityPolicy("who", mask="expression", mask_options={"sql": "(SELECT max(name) FROM people)"})
        with pytest.raises(PolicyError, match="rights -> people -> rights"):
            here.root.security.register_policy(TableSecurityPolicy("rights", field_policies={"who": rule}))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("(SELECT max(dept) FROM rights WHERE orders.person = 1)", "column"),
        ("(SELECT max(dept) FROM", "does not parse"),
        ("(SELECT nothing FROM rights)", "no column `nothing`"),
        ("(SELECT max(dept) FROM nowhere)", "no table `nowhere`"),
        ("max(name)", "uses MAX"),
        ("(SELECT row_number() OVER () FROM rights)", "uses"),
    ],
)
def test_c52_c54_to_c59_what_is_wrong_is_refused(here: World, sql: str, message: str) -> None:
    here.root.query("SELECT * FROM people, rights LIMIT 1")
    with pytest.raises(PolicyError, match=message), here.policy(**expression(sql)):
        pass


def test_c62_an_invoker_who_may_not_read_what_the_mask_reads(here: World) -> None:
    closed = {"dept": FieldSecurityPolicy("dept", access_level=AccessLevel.RESTRICTED, allowed_roles=["admin"])}
    here.root.security.register_policy(TableSecurityPolicy("rights", field_policies=closed))
    try:
        with here.policy(**expression("(SELECT max(dept) FROM rights)"), run_as="invoker"):
            with pytest.raises(AccessDenied, match="policy of `people`") as caught:
                here.ana.query("SELECT name FROM people")
            assert "rights" not in str(caught.value)
            # C66: what the query does not touch does not fail it.
            assert len(here.ana.query("SELECT id FROM people")) == 6
            assert len(here.ana.query("SELECT count(*) FROM people")) == 1
    finally:
        here.root.security.remove_policy("rights")


def test_c66_a_closed_column_with_such_a_mask_is_no_obstacle(here: World) -> None:
    rules = expression("(SELECT max(dept) FROM rights)", denied_roles=["analyst"])
    with here.policy(**rules, run_as="invoker"):
        assert len(here.ana.query("SELECT id, pay FROM people")) == 6
        with pytest.raises(AccessDenied, match="`name`"):
            here.ana.query("SELECT name FROM people")


def test_c83_a_subquery_with_several_rows_is_an_error_without_values(here: World) -> None:
    with here.policy(**expression("(SELECT dept FROM rights)")):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever of ours
            here.ana.query("SELECT name FROM people").rows()
        assert not any(word in str(caught.value) for word in ("eng", "ops", "rights"))
