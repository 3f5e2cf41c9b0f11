"""C70 to C74, C78 and C81: what a policy says is not to be read off a plan, and what the query says is there."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import VirtualContext
from tauro_nb.query.plan import whole
from tauro_nb.query.secrecy import MARKER
from tauro_nb.security.masks import WeakMask
from tests.security.conformance.surfaces import HIGH, LOW, config, leaves, secrets, surfaces

QUERIES = [
    "SELECT id FROM people",
    "SELECT * FROM people",
    "SELECT count(*) AS n FROM people",
    "SELECT p.id, p.name AS who FROM people AS p WHERE p.id = 2",
    "SELECT upper(name) AS u FROM people WHERE upper(name) = 'ANA' ORDER BY 1 LIMIT 3",
    "SELECT id, email FROM people WHERE email LIKE 'a%'",
    "SELECT count(*) AS n FROM people JOIN orders USING (id)",
    "SELECT p.name, o.amount FROM people p JOIN orders o ON o.person = p.id WHERE o.amount > 3",
    "SELECT a.id FROM people a JOIN people b ON a.id = b.id",
    "WITH c AS (SELECT * FROM people) SELECT id FROM c WHERE id < 3",
    "SELECT id FROM people UNION ALL SELECT id FROM orders",
    "SELECT name FROM spending",
    "SELECT id FROM people WHERE id IN (SELECT person FROM orders)",
    "SELECT department, max(name) OVER (PARTITION BY department) AS m FROM people",
    "PIVOT people ON department IN ('Sales') USING count(*) GROUP BY id",
]
KINDS = ("sqlite", "duckdb", "parquet", "postgresql")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, postgres_uri: str) -> dict[str, tuple[dict[str, Any], Any]]:
    """The table `people` at every kind of source: connections and the table's definition."""
    folder: Path = tmp_path_factory.mktemp("places")
    rows = "SELECT i AS id, 'name ' || i AS name, 'a' || i || '@example.com' AS email, "
    rows += "CASE WHEN i % 2 = 0 THEN 'Sales' ELSE 'Legal' END AS department, (i * 100)::BIGINT AS salary "
    with duckdb.connect(str(folder / "p.duckdb")) as made:
        made.execute(f"CREATE TABLE people AS {rows} FROM range(200) t(i)")
        made.execute(f"COPY people TO '{folder / 'people.parquet'}'")
        from tauro_nb.sources.extension import load_extension

        load_extension(made, "sqlite_scanner")
        load_extension(made, "postgres_scanner")
        made.execute(f"ATTACH '{folder / 'p.sqlite'}' AS lite (TYPE sqlite)")
        made.execute("CREATE TABLE lite.people AS FROM people")
        made.execute(f"ATTACH '{postgres_uri}' AS pg (TYPE postgres)")
        made.execute("DROP SCHEMA IF EXISTS pg.secrecy CASCADE")
        made.execute("CREATE SCHEMA pg.secrecy")
        made.execute("CREATE TABLE pg.secrecy.people AS FROM people")
    return {
        "sqlite": ({"at": {"type": "sqlite", "path": str(folder / "p.sqlite")}}, {"connector_type": "sqlite"}),
        "duckdb": ({"at": {"type": "duckdb", "path": str(folder / "p.duckdb")}}, {"connector_type": "duckdb"}),
        "parquet": ({}, {"connector_type": "parquet", "path": str(folder / "people.parquet")}),
        "postgresql": ({"at": {"type": "postgresql", "uri": postgres_uri}}, {"connector_type": "postgresql"}),
    }


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, places: Any) -> Iterator[tuple[VirtualContext, VirtualContext]]:
    """The analyst's door under one bound, and under the other."""
    place = places[request.param]
    with VirtualContext(config(place, LOW)) as low, VirtualContext(config(place, HIGH, "other-constant")) as high:
        yield low.as_principal("ana", roles=["analyst"]), high.as_principal("ana", roles=["analyst"])


@pytest.mark.parametrize("sql", QUERIES)
def test_c70_policy_text_is_redacted_in_every_form_of_a_plan(pair: tuple[VirtualContext, ...], sql: str) -> None:
    named = {"salary"} if "*" in sql or "PIVOT" in sql else set()  # a column that the query itself asks for
    for name, text in surfaces(pair[0], sql).items():
        assert set(secrets(text)) <= named, name
    assert MARKER in str(pair[0].plan(sql)) or "people" not in pair[0].plan(sql).tables


@pytest.mark.parametrize("sql", QUERIES)
def test_c78_the_text_is_the_same_under_every_bound(pair: tuple[VirtualContext, ...], sql: str) -> None:
    low, high = (surfaces(ctx, sql) for ctx in pair)
    assert low == high
    for text in (low["text"], low["residual"], low["rules"]):
        assert all(line.count(MARKER) <= 1 for line in text.splitlines())


@pytest.mark.parametrize("sql", QUERIES)
def test_c70_no_public_attribute_of_a_plan_leads_to_the_policy(pair: tuple[VirtualContext, ...], sql: str) -> None:
    for plan in (pair[0].plan(sql), pair[0].query(sql).plan):
        found = {word for text in leaves(plan) for word in secrets(text)}
        assert found <= ({"salary"} if "*" in sql else set())


def test_c70_a_plan_gives_nothing_to_copies_and_pickles(pair: tuple[VirtualContext, ...]) -> None:
    plan = pair[0].plan("SELECT id FROM people")
    assert not secrets(repr(copy.copy(plan)))
    assert "<sealed>" in repr(dataclasses.asdict(dataclasses.replace(plan, frames={}))["_whole"])
    with pytest.raises(TypeError):
        pickle.dumps(plan)


def test_c70_results_are_unchanged_by_redaction(pair: tuple[VirtualContext, ...]) -> None:
    analyst = pair[0]
    expected = analyst.query("SELECT id, email FROM people ORDER BY id").rows()
    assert len(expected) == 48
    assert analyst.run(analyst.plan("SELECT id, email FROM people ORDER BY id")).rows() == expected


def test_c71_the_policy_is_still_given_to_a_source_that_can_apply_it(places: Any) -> None:
    for kind in ("sqlite", "postgresql"):
        with VirtualContext(config(places[kind], LOW)) as ctx:
            plan = ctx.as_principal("ana", roles=["analyst"]).plan("SELECT id FROM people")
            assert LOW in whole(plan).fragments[0].sql
            assert LOW not in plan.fragments[0].sql
            assert plan.fragments[0].scan is None


def test_c72_own_predicates_are_shown_and_pushed(places: Any) -> None:
    for kind in KINDS:
        with VirtualContext(config(places[kind], LOW)) as ctx:
            plan = ctx.as_principal("ana", roles=["analyst"]).plan("SELECT name FROM people WHERE id = 2")
            (part,) = plan.fragments
            assert f'{MARKER} AND "_"."id" = 2' in part.sql
            assert '"_"."id" = 2' in str(plan)
            assert "= 2" in whole(plan).fragments[0].sql


def test_c81_whoever_may_read_policies_sees_them(places: Any) -> None:
    with VirtualContext(config(places["duckdb"], LOW)) as ctx:
        auditor = ctx.as_principal("ana", roles=["analyst"])
        assert LOW not in str(auditor.plan("SELECT id FROM people"))
        ctx.layer.policy_readers = frozenset({"admin", "auditor"})
        reader = ctx.as_principal("rolf", roles=["analyst", "auditor"])
        assert LOW in str(reader.plan("SELECT id FROM people"))
        assert LOW not in str(auditor.plan("SELECT id FROM people"))


def test_c73_no_warning_tells_what_a_policy_uses(pair: tuple[VirtualContext, ...]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pair[0].query("SELECT id, email FROM people").rows()
        pair[0].describe("people")
        pair[0].profile("people", ["id", "email"])
    assert [str(warning.message) for warning in caught] == []


def test_c73_what_a_weak_mask_warns_of_is_for_whoever_registers_it(places: Any) -> None:
    found = config(places["duckdb"], LOW)
    weak = {"mask": "sha256_unkeyed", "allowed_roles": ["admin"]}
    found["security_policies"]["people"]["field_policies"]["email"] = weak
    with pytest.warns(WeakMask, match="sha256_unkeyed"):
        ctx = VirtualContext(found)
    with ctx, warnings.catch_warnings():
        warnings.simplefilter("error")
        analyst = ctx.as_principal("ana", roles=["analyst"])
        assert len(analyst.query("SELECT id, email FROM people").rows()) == 48
        analyst.describe("people")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT o.id FROM people p JOIN orders o ON o.amount = p.salary",
        "SELECT o.id FROM orders o WHERE o.amount IN (SELECT salary FROM people)",
        "SELECT o.id FROM people p JOIN orders o ON o.amount = p.salary AND o.amount > 2",
    ],
)
def test_c74_what_a_join_infers_from_the_policy_is_not_shown(pair: tuple[VirtualContext, ...], sql: str) -> None:
    low, high = (surfaces(ctx, sql) for ctx in pair)
    assert low == high
    assert not {word for text in low.values() for word in secrets(text)} - {"salary"}


def test_what_a_view_is_written_with_is_no_way_round_its_policy() -> None:
    """The rows that a policy hides, or what it keeps apart, may be in the text of the view itself."""
    text = """
        SELECT id, dept, date_trunc('month', DATE '1987-06-05') AS since, CAST(id AS DECIMAL(12, 3)) AS exact
        FROM (VALUES (1, 'Sales'), (2, 'Wexford')) AS v(id, dept)
        WHERE dept <> 'Kilk' || 'enny' AND id < 7000 + 321 ORDER BY id LIMIT 4242
    """
    policy = {"row_level_filters": {"analyst": "dept = 'Sales'", "admin": ""}}
    catalog = {"virtual_tables": {"staff": {"query": text}}, "security_policies": {"staff": policy}}
    with VirtualContext(catalog, "admin") as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        plan = ana.plan("SELECT * FROM staff WHERE id = 5")
        shown = str(plan) + repr(plan.journal) + repr(plan.residual.sql("duckdb")) + repr(plan.fragments)
        assert not [word for word in ("Wexford", "Kilk", "enny", "321", "4242", "1987") if word in shown]
        assert '"staff"."id" = 5' in shown
        assert "DECIMAL(12, 3)" in shown
        assert ana.query("SELECT id FROM staff").rows() == [{"id": 1}]
        assert "Wexford" in str(ctx.plan("SELECT * FROM staff"))
