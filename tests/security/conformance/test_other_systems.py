"""X1 to X9: what other systems promise of policies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, ConfigError, PolicyError, TauroError
from tauro_nb.security import AccessLevel, FieldSecurityPolicy, TableSecurityPolicy, TagPolicy
from tests.security.conformance.worlds import PRINCIPALS, RAW, World, open_world
from tests.security.oracle import settle

MINE = "dept IN (SELECT dept FROM rights WHERE who = {principal})"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(request.param, tmp_path_factory.mktemp("world"), request) as opened:
        yield opened


def ids(ctx: VirtualContext, sql: str = "SELECT id FROM people") -> list[int]:
    return sorted(row["id"] for row in ctx.query(sql).rows())


def test_x1_permissive_are_ored_restrictive_anded(world: World) -> None:
    policy = TableSecurityPolicy(
        "people",
        row_level_filters={"analyst": "dept = 'eng'", "extra": MINE, "admin": ""},
        restrictive_filters={"analyst": "id > 1", "*": "EXISTS (SELECT 1 FROM orders o WHERE o.person = people.id)"},
    )
    world.root.security.register_policy(policy)
    try:
        assert ids(world.ana) == [3]
        assert ids(world.root.as_principal("ana", roles=["analyst", "extra"])) == [3]
        assert ids(world.root.as_principal("ana", roles=["extra"])) == [1, 3]
        assert ids(world.root) == [1, 2, 3], "restrictive filters hold for whom no permissive one restricts, too"
        with pytest.raises(AccessDenied):
            ids(world.root.as_principal("eve", roles=["nothing"]))
    finally:
        world.root.security.remove_policy("people")


def test_x2_a_check_for_writes_is_refused_for_nothing_writes() -> None:
    for key in ("with_check", "check"):
        with pytest.raises(ConfigError, match=f"{key}: unknown key"):
            TableSecurityPolicy.from_mapping("people", {"row_level_filters": {"analyst": MINE}, key: MINE})


def test_x3_without_security_is_an_error_and_never_a_filter(world: World) -> None:
    with world.policy(MINE):
        with pytest.raises(AccessDenied, match="without its policy"):
            world.ana.read_table("people", apply_security=False)
        assert len(world.root.read_table("people", apply_security=False)) == 6
        assert len(world.ana.read_table("people")) == 3
    masked = world.policy(fields={"pay": {"masking_enabled": True, "allowed_roles": ["admin"]}})
    with masked, pytest.raises(AccessDenied, match="without its policy"):
        world.ana.read_table("people", apply_security=False)


def test_x3_nor_by_way_of_a_view(world: World) -> None:
    """The view itself has no policy; what the tables below it hide is hidden all the same, and so refused."""
    before = len(world.root.audit_logs(principal="ana", status="denied"))
    for rules in ({"row_filter": MINE}, {"fields": {"name": {"mask": "null", "allowed_roles": ["admin"]}}}):
        with world.policy(**rules):
            for view in ("staff", "people"):
                with pytest.raises(AccessDenied, match="without its policy"):
                    world.ana.read_table(view, apply_security=False)
            assert len(world.root.read_table("staff", apply_security=False)) == 6
    assert len(world.root.audit_logs(principal="ana", status="denied")) == before + 4
    with world.policy(fields={"pay": {"mask": "null", "allowed_roles": ["admin"]}}):
        assert len(world.ana.read_table("staff", apply_security=False)) == 6, "the view does not read `pay`"


def test_x4_nobody_bypasses_but_whom_the_policy_names(world: World) -> None:
    with world.policy(MINE):
        for roles in (["owner"], ["superuser"], ["policy_owner"], ["bypassrls"], []):
            with pytest.raises(AccessDenied):
                ids(world.root.as_principal("svc2", roles=roles))
        assert len(ids(world.root)) == 6


def test_x5_masks_are_applied_at_read(world: World) -> None:
    masked = {"fields": {"pay": {"mask": "bucket", "mask_options": {"size": 25}, "allowed_roles": ["admin"]}}}
    seen = "SELECT * REPLACE ((pay // 25 * 25)::BIGINT AS pay) FROM people WHERE dept IN ('eng', 'ops')"
    with world.policy(MINE, **masked), world.seen(people=seen) as oracle:
        for sql in (
            "SELECT id FROM people WHERE pay = 30",
            "SELECT id FROM people WHERE pay = 25",
            "SELECT pay, count(*) AS n FROM people GROUP BY pay",
            "SELECT a.id, b.id AS other FROM people a JOIN people b USING (pay)",
            "SELECT max(pay) AS most FROM people",
        ):
            oracle.check(world.ana, sql)
        oracle.check(world.ana, "SELECT id FROM people ORDER BY pay DESC, id", ordered=True)


@pytest.mark.parametrize("default", ["deny", "allow"])
def test_x6_after_the_last_policy_the_default_decides(default: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = settle("sqlite", tmp_path_factory.mktemp("x6"), RAW) | {
        "principals": PRINCIPALS,
        "default_access": default,
    }
    with VirtualContext(config, "ana") as ana:
        ana.security.register_policy(TableSecurityPolicy("people", row_level_filters={"analyst": MINE}))
        assert ids(ana) == [1, 3, 4]
        assert ana.security.remove_policy("people")
        if default == "allow":
            assert len(ids(ana)) == 6
        else:
            with pytest.raises(AccessDenied, match="no policy"):
                ids(ana)


def test_x6_a_policy_is_replaced_in_one_step_or_not_at_all(world: World) -> None:
    with world.policy(MINE):
        for wrong in ("dept IN (SELECT nothing FROM rights)", "dept IN (SELECT dept FROM staff)", "sum(id) > 1"):
            world.ana.query("SELECT * FROM rights LIMIT 0")
            with pytest.raises(PolicyError):
                world.root.security.register_policy(TableSecurityPolicy("people", row_level_filters={"analyst": wrong}))
            assert ids(world.ana) == [1, 3, 4]
        with world.policy("dept = 'hr'"):
            assert ids(world.ana) == [2, 6]


def test_x7_a_change_takes_effect_at_once(world: World) -> None:
    with world.policy(MINE):
        planned = world.ana.plan("SELECT id FROM people")
        assert len(world.ana.run(planned)) == 3
        policy = world.root.security.get_policy("people")
        assert policy is not None
        policy.row_level_filters["analyst"] = "dept IN (SELECT dept FROM rights WHERE who = 'bo')"
        assert ids(world.ana) == [2, 6]
        with pytest.raises(TauroError, match=r"Plan again|changed"):
            world.ana.run(planned)


def test_x7_a_change_of_what_the_policy_reads_takes_effect_at_once(world: World) -> None:
    with world.policy(MINE, run_as="invoker"):
        planned = world.ana.plan("SELECT id FROM people")
        assert len(world.ana.run(planned)) == 3
        with world.policy("dept = 'ops'", table="rights"):
            assert ids(world.ana) == [4]
            with pytest.raises(TauroError):
                world.ana.run(planned)
        with world.policy(table="rights", allowed_roles=["admin"]):
            for act in (lambda: ids(world.ana), lambda: world.ana.run(planned)):
                with pytest.raises(AccessDenied) as caught:
                    act()
                assert "rights" not in str(caught.value)


def test_x8_a_policy_may_use_what_its_reader_may_not(world: World) -> None:
    closed = {"dept": FieldSecurityPolicy("dept", access_level=AccessLevel.RESTRICTED)}
    world.root.security.register_policy(TableSecurityPolicy("rights", allowed_roles=["admin"], field_policies=closed))
    try:
        with world.policy(MINE, fields={"dept": {"access_level": AccessLevel.RESTRICTED, "allowed_roles": ["admin"]}}):
            assert ids(world.ana) == [1, 3, 4]
            assert "dept" not in world.ana.query("SELECT * FROM people").columns
    finally:
        world.root.security.remove_policy("rights")


def test_c62_an_invoker_may_not_by_way_of_a_policy_either(world: World) -> None:
    closed = {"dept": FieldSecurityPolicy("dept", access_level=AccessLevel.RESTRICTED, allowed_roles=["admin"])}
    world.root.security.register_policy(TableSecurityPolicy("rights", field_policies=closed))
    try:
        with world.policy(MINE, run_as="invoker"):
            with pytest.raises(AccessDenied, match="the policy of `people`") as caught:
                ids(world.ana)
            assert "rights" not in str(caught.value)
            assert len(ids(world.root)) == 6
    finally:
        world.root.security.remove_policy("rights")


def test_x7_a_tag_takes_effect_at_once_and_its_rule_is_not_the_table_owners(world: World) -> None:
    """The plan that is kept for the text, and one that was made before, are as good as none."""
    rule = TagPolicy("pii", mask="null", allowed_roles=["admin"])
    world.root.security.register_tag_policy(rule)
    table = world.root.layer.schema_registry.get_table("people")
    assert table is not None
    try:
        with world.policy("id < 3", fields={"name": {"allowed_roles": ["*"]}}):
            ask = "SELECT name FROM people ORDER BY id"
            planned = world.ana.plan(ask)
            assert [row["name"] for row in world.ana.query(ask).rows()] == ["Ana", "Bo"]
            table.column_tags["name"] = ["pii"]
            assert [row["name"] for row in world.ana.query(ask).rows()] == [None, None]
            with pytest.raises(TauroError, match="changed"):
                world.ana.run(planned)
            table.column_tags["name"] = []
            assert [row["name"] for row in world.ana.query(ask).rows()] == ["Ana", "Bo"]
    finally:
        table.column_tags.pop("name", None)
        world.root.security.remove_tag_policy("pii")


def test_x9_see_as_somebody_else(world: World) -> None:
    with world.policy(MINE):
        assert {who: ids(world.root.as_principal(who)) for who in ("ana", "bo")} == {"ana": [1, 3, 4], "bo": [2, 6]}


def test_x9_simulating_shows_what_each_would_get(world: World) -> None:
    with world.policy(MINE):
        found = world.root.simulate("SELECT id FROM people ORDER BY id", principals=["ana", "bo", "root", "eve"])
        rows = {
            outcome.principal: None if outcome.result is None else [row["id"] for row in outcome.result.rows()]
            for outcome in found.outcomes
        }
        assert rows == {"ana": [1, 3, 4], "bo": [2, 6], "root": [1, 2, 3, 4, 5, 6], "eve": None}
        with pytest.raises(AccessDenied):
            world.ana.simulate("SELECT id FROM people", principals=["root"])
