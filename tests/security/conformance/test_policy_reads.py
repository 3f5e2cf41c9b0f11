"""What a policy reads besides its own table: pushed with a barrier over it, recorded for auditors, shown to nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, PolicyError, SourceUnavailable, TauroError
from tauro_nb.query.explain import plan_text
from tauro_nb.query.plan import whole
from tauro_nb.query.trees import BARRIER
from tauro_nb.security import SecurityEnforcer, TableSecurityPolicy
from tests.security.conformance.worlds import RAW, World, open_world
from tests.security.oracle import settle

EXISTS = "EXISTS (SELECT 1 FROM rights r WHERE r.who = {principal} AND r.dept = people.dept)"
MINE = "dept IN (SELECT dept FROM rights WHERE who = {principal})"


@pytest.fixture(scope="module", params=["postgresql", "sqlite", "postgresql and sqlite"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(request.param, tmp_path_factory.mktemp("world"), request) as opened:
        yield opened


@pytest.mark.parametrize("row_filter", [EXISTS, MINE])
def test_one_server_answers_policy_and_query_behind_a_barrier(
    row_filter: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_world("postgresql", tmp_path_factory.mktemp("pushed"), request) as pushed, pushed.policy(row_filter):
        plan = whole(pushed.ana.plan("SELECT dept, count(*) AS n FROM people WHERE id > 1 GROUP BY dept"))
        (fragment,) = plan.fragments
        assert fragment.kind == "query"
        assert '"rights"' in fragment.sql
        leaf = next(s for s in fragment.tree.find_all(exp.Select) if s.args.get("limit") is not None)
        assert leaf.args["limit"].expression.name == BARRIER
        assert leaf.args["where"].find(exp.Subquery) is not None, "the policy's subquery stands below the barrier"


ATTACKS = [
    "badge::INTEGER = 5",
    "badge::DECIMAL(9,0) IS NOT NULL",
    "badge::DOUBLE > 0",
    "badge::SMALLINT BETWEEN 1000 AND 2000",
    "(badge || '000')::HUGEINT IS NOT NULL",
    "strptime(badge, '%Y') IS NOT NULL",
    "json_extract(badge, '$') IS NOT NULL",
    "CASE WHEN badge LIKE 'hidden%' THEN error(badge) IS NULL ELSE true END",
    "id IN (SELECT badge::INTEGER - 1000 FROM people)",
    "substr('x', 1, badge::INTEGER) = 'x' OR id = 1",
]
"""Conditions that no row ana may see makes throw, and every row that she may not."""


@pytest.mark.parametrize("row_filter", [EXISTS, MINE, f"NOT NOT {EXISTS}"])
def test_no_predicate_meets_a_row_that_the_policy_hides(world: World, row_filter: str) -> None:
    visible = "SELECT * FROM people WHERE dept IN ('eng', 'ops')"
    with world.policy(row_filter), world.seen(people=visible) as oracle:
        for attack in ATTACKS:
            oracle.check(world.ana, f"SELECT id FROM people WHERE {attack}")


def test_c77_what_only_the_policy_reads_is_for_auditors(world: World) -> None:
    with world.policy(MINE, audit_all_access=True):
        ana, auditor = world.ana, world.root.as_principal("aud", roles=["auditor", "admin"])
        before = len(auditor.audit_logs())
        result = ana.query("SELECT id FROM people")
        result.rows()
        plan = ana.plan("SELECT id FROM people")
        assert (plan.tables, set(plan.columns), set(result.plan.columns)) == (("people",), {"people"}, {"people"})
        (own,) = [log for log in ana.audit_logs() if log.query_id == auditor.audit_logs()[-1].query_id]
        assert own.table_name == "people"
        found = {log.table_name: log for log in auditor.audit_logs()[before:] if log.status == "SUCCESS"}
        assert set(found) == {"people", "rights"}
        assert set(found["rights"].policy_columns) == {"dept", "who"}
        assert found["rights"].is_policy_only
        assert "rights" not in str(ana.lineage("people").nodes)


def test_c70_c74_nothing_of_it_is_in_a_plan(world: World) -> None:
    with world.policy(EXISTS):
        for sql in (
            "SELECT * FROM people",
            "SELECT p.name FROM people p JOIN orders o ON o.person = p.id WHERE o.id > 1",
            "SELECT count(*) FROM people WHERE upper(name) = 'ANA'",
        ):
            plan = world.ana.plan(sql)
            shown = "\n".join([plan_text(plan), repr(plan), plan.residual_sql, *(rule.after for rule in plan.rules)])
            shown += "".join(part.sql + repr(part) for part in plan.fragments)
            for word in ("rights", '"who"', "people~0", "policy_owner", "EXISTS", "~policy", BARRIER):
                assert word not in shown, (sql, word)
            assert {part.source for part in plan.fragments} <= {f"at_{world.place.split()[0]}"}
            assert not any(part.policy for part in plan.fragments)
        world.root.layer.policy_readers = frozenset({"reader"})
        reader = world.root.as_principal("ana", roles=["analyst", "reader"])
        assert "rights" in plan_text(reader.plan("SELECT * FROM people"))
        world.root.layer.policy_readers = frozenset({"admin"})


@pytest.mark.parametrize("run_as", ["policy_owner", "invoker"])
def test_rows_at_hand_are_judged_by_the_same_policy(world: World, run_as: str) -> None:
    rows = RAW["people"].to_pylist()
    masks = {"fields": {"name": {"mask": "expression", "allowed_roles": ["admin"], "mask_options": {"sql": NAMES}}}}
    with world.policy(EXISTS, run_as=run_as, **masks):
        security, who = world.root.security, world.ana.principal
        kept = security.apply_row_level_security("people", who, rows)
        assert [row["id"] for row in kept] == [1, 3, 4]
        assert all(any(row is other for other in rows) for row in kept)
        assert {row["name"] for row in security.apply_field_masking("people", who, kept)} == {"ops"}
        queried = world.ana.query("SELECT * FROM people ORDER BY id").rows()
        assert security.apply_field_masking("people", who, kept) == queried
        assert security.apply_row_level_security("people", world.root.principal, rows) == rows
        auditing = world.root.layer.audit_trail.records(table_name="rights")[-1]
        assert auditing.is_policy_only


NAMES = "(SELECT max(dept) FROM rights WHERE who = {principal})"


def test_rows_without_a_layer_are_refused() -> None:
    enforcer = SecurityEnforcer()
    enforcer.register_policy(TableSecurityPolicy("people", row_level_filters={"ana": EXISTS, "root": ""}))
    with pytest.raises(PolicyError, match="no data layer"):
        enforcer.apply_row_level_security("people", "ana", RAW["people"].to_pylist())
    assert len(enforcer.apply_row_level_security("people", "root", RAW["people"].to_pylist())) == 6
    decision = enforcer.decide("people", {"id": "BIGINT", "dept": "VARCHAR"}, "ana")
    assert decision.row_filter is not None
    assert decision.row_filter.sql() == "FALSE", "what reads a table that is not known shows nothing"


def test_values_of_whoever_asks_do_not_reach_what_a_policy_reads(tmp_path_factory: pytest.TempPathFactory) -> None:
    tables = settle("sqlite", tmp_path_factory.mktemp("given"), RAW)
    tables["virtual_tables"]["granted"] = {
        "query": "SELECT dept FROM rights WHERE who = {{ whom }}",
        "parameters": {"whom": "ana"},
    }
    policy = {"people": {"row_level_filters": {"ana": "dept IN (SELECT dept FROM granted)"}}}
    with VirtualContext({**tables, "security_policies": policy}, "ana") as ctx:
        for params in (None, {"whom": "bo"}):
            with pytest.raises(PolicyError, match="the policy of `people`"):
                ctx.query("SELECT id FROM people", params)


def test_what_fails_in_a_policy_names_the_table_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("failing")
    people = settle("sqlite", folder / "a", {"people": RAW["people"]}, connection="open")
    rights = settle("duckdb", folder / "b", {"rights": RAW["rights"]}, connection="secretive")
    (folder / "b" / "secretive.duckdb").unlink()
    config = {
        "connections": people["connections"] | rights["connections"],
        "virtual_tables": people["virtual_tables"] | rights["virtual_tables"],
        "security_policies": {"people": {"row_level_filters": {"ana": MINE, "root": ""}}},
    }
    with VirtualContext(config, "ana") as ctx:
        with pytest.raises(SourceUnavailable, match="what the policy of `people` reads") as caught:
            ctx.query("SELECT id FROM people")
        assert not any(word in str(caught.value) for word in ("rights", "secretive", "duckdb"))
        assert len(ctx.as_principal("root").query("SELECT id FROM people")) == 6, "it is not read for whom it rules not"
        with pytest.raises(TauroError):
            ctx.security.apply_row_level_security("people", "ana", RAW["people"].to_pylist())


def test_frames_are_no_tables_for_a_policy(world: World) -> None:
    forged = pa.table({"who": ["ana"], "dept": ["hr"], "level": [9]})
    with world.policy(MINE):
        sql = "SELECT p.id FROM people p JOIN rights r ON r.dept = p.dept"
        assert world.ana.query(sql, frames={"rights": forged}).rows() == []
        assert sorted(row["id"] for row in world.ana.query("SELECT id FROM people").rows()) == [1, 3, 4]


def test_a_reader_who_is_not_declared_any_more(world: World) -> None:
    with world.policy(MINE, run_as="svc"):
        policy = world.root.security.get_policy("people")
        assert policy is not None
        policy.run_as = "nobody"
        with pytest.raises(AccessDenied, match="the policy of `people`"):
            world.ana.query("SELECT id FROM people")
