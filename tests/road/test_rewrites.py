"""Steps of a plan are not kept but walked again: they are those of the plan that ran, or none are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.security import TableSecurityPolicy

SQL = "SELECT p.a AS a FROM people AS p WHERE p.b = :b AND p.a > 0 ORDER BY p.a"
READS = "EXISTS (SELECT 1 FROM rights AS r WHERE r.a = people.a)"


@pytest.fixture
def boss(tmp_path: Path) -> Iterator[VirtualContext]:
    """Somebody who may read policies, and whom they hold for."""
    with duckdb.connect(str(tmp_path / "db.duckdb")) as con:
        con.execute("CREATE TABLE people AS SELECT * FROM (VALUES (1, 'x'), (2, 'x'), (3, 'y')) AS t(a, b)")
        con.execute("CREATE TABLE rights AS SELECT * FROM (VALUES (1), (2)) AS t(a)")
    tables = {name: {"connector_type": "duckdb", "connection": "db", "table": name} for name in ("people", "rights")}
    config = {
        "connections": {"db": {"type": "duckdb", "path": str(tmp_path / "db.duckdb")}},
        "virtual_tables": {name: {"source_type": "database", **table} for name, table in tables.items()},
        "security_policies": {"people": {"row_level_filters": {"admin": "a >= 1"}}},
    }
    ctx = VirtualContext(config, principal="admin")
    yield ctx
    ctx.close()


def steps(ctx: VirtualContext, row_filter: str, later: str = "", *, on: str = "people") -> list[str]:
    """What the steps of a query say that ran under the first policy, looked at under the second."""
    security = ctx.layer.security
    security.register_policy(TableSecurityPolicy("people", row_level_filters={"admin": row_filter}, run_as="invoker"))
    result = ctx.query(SQL, {"b": "x"})
    assert [row["a"] for row in result.rows()] == [1, 2]
    if later:
        security.register_policy(TableSecurityPolicy(on, row_level_filters={"admin": later}))
    return [f"{rule.name}: {rule.after}" for rule in result.plan.rules]


def test_the_steps_are_those_of_the_plan_that_ran(boss: VirtualContext) -> None:
    told = steps(boss, "a >= 1", later="a >= 2")
    assert [line.split(":")[0] for line in told] == ["bind", "qualify", "secure", "push_predicates", "lift_barriers"]
    assert '"_"."a" >= 1' in told[-1]
    assert '"_"."a" >= 2' not in "".join(told)


def test_no_steps_are_told_that_would_be_others_by_now(boss: VirtualContext) -> None:
    assert any("rights" in line for line in steps(boss, READS))
    assert steps(boss, READS, later="a = 2", on="rights") == []


def test_a_kept_plan_tells_the_same_with_other_values(boss: VirtualContext) -> None:
    plans = [boss.plan(SQL, {"b": value}) for value in ("x", "y")]
    assert [plan.cached for plan in plans] == [False, True]
    texts = [[(rule.name, rule.before, rule.after) for rule in plan.rules] for plan in plans]
    assert texts[0] == texts[1] != []
    plans[0].journal[0].after_tree.set("limit", None)
    assert boss.query(SQL, {"b": "y"}).rows() == [{"a": 3}]
