"""C70 to C83: what a policy says is not to be read off a plan, off statistics or off errors."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from IPython.core.formatters import DisplayFormatter
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.magics import show
from tauro_nb.query.plan import whole
from tauro_nb.query.secrecy import MARKER
from tauro_nb.widgets import PlanView, plan_html

LOW, HIGH = "4711", "8813"
"""Two bounds of the same policy; whichever holds, nobody may read it."""
CONSTANT = "mask-constant-5150"

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


def config(place: tuple[dict[str, Any], dict[str, Any]], bound: str | None, mask: str = CONSTANT) -> dict[str, Any]:
    connections, table = place
    people = dict(table)
    if "path" not in people:
        name = "secrecy.people" if people["connector_type"] == "postgresql" else "people"
        people |= {"connection": "at", "table": name}
    orders = {"query": "SELECT i AS id, i AS person, i * 2 AS amount FROM range(20) t(i)"}
    joined = "people p JOIN orders o ON o.person = p.id"
    spending = {"query": f"SELECT p.name, sum(o.amount) AS total FROM {joined} GROUP BY 1"}
    policies = {
        "people": {
            "row_level_filters": {"admin": "", "analyst": f"salary < {bound} OR department = 'Board {bound}'"},
            "field_policies": {
                "email": {"masking_enabled": True, "mask": "constant", "mask_value": mask, "allowed_roles": ["admin"]}
            },
        }
    }
    return {
        "connections": connections,
        "virtual_tables": {"people": people, "orders": orders, "spending": spending},
        "security_policies": policies if bound else {},
    }


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, places: Any) -> Iterator[tuple[VirtualContext, VirtualContext]]:
    """The analyst's door under one bound, and under the other."""
    place = places[request.param]
    with VirtualContext(config(place, LOW)) as low, VirtualContext(config(place, HIGH, "other-constant")) as high:
        yield low.as_principal("ana", roles=["analyst"]), high.as_principal("ana", roles=["analyst"])


def surfaces(ctx: VirtualContext, sql: str) -> dict[str, str]:
    """Every form in which a plan is shown."""
    plan = ctx.plan(sql)
    panel = PlanView(plan)
    dry = show.dry_run(plan, ctx.catalog())
    return {
        "text": str(plan),
        "repr": repr(plan),
        "html": plan_html(plan),
        "panel": panel.to_html() + panel.to_text() + repr(panel) + panel._page,
        "dry run": dry.text + dry.html,
        "rules": "\n".join(f"{rule.name}\n{rule.before}\n{rule.after}" for rule in plan.rules),
        "fragments": "\n".join(f"{part!r} {part.sql} {part.predicates}" for part in plan.fragments),
        "residual": plan.residual_sql,
        "result": str(ctx.query(sql).plan),
        "rich": str(DisplayFormatter().format(ctx.query(sql).plan)),
    }


def secrets(text: str) -> list[str]:
    return [word for word in (LOW, HIGH, CONSTANT, "other-constant", "salary", "Board", str(2**62)) if word in text]


def leaves(value: Any, seen: set[int] | None = None, depth: int = 0) -> Iterator[str]:
    """Everything that public attributes, items and reprs of a value lead to, as text."""
    seen = set() if seen is None else seen
    if id(value) in seen or depth > 8 or isinstance(value, type) or callable(value):
        return
    seen.add(id(value))
    if isinstance(value, exp.Expr):
        yield value.sql("duckdb")
        yield repr(value)
        return
    if isinstance(value, (str, int, float, bytes, bool)) or value is None:
        # A measured time holds any digits.
        yield "" if isinstance(value, float) else str(value)
        return
    yield re.sub(r"0x[0-9a-f]+", "", repr(value))  # an address may hold the digits of a secret
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(key, seen, depth + 1)
            yield from leaves(item, seen, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from leaves(item, seen, depth + 1)
    else:
        for name in dir(value):
            if not name.startswith("_"):
                yield from leaves(getattr(value, name), seen, depth + 1)


@pytest.mark.parametrize("sql", QUERIES)
def test_c70_policy_text_is_redacted_in_every_form_of_a_plan(pair: tuple[VirtualContext, ...], sql: str) -> None:
    for name, text in surfaces(pair[0], sql).items():
        assert not (secrets(text) and "SELECT *" not in sql) or not set(secrets(text)) - {"salary"}, name
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
