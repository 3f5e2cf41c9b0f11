"""C23, C60, C75 to C77, C79, C80, C82 and C83: statistics, profiles, records and errors tell nothing of a policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import VirtualContext, VirtualTable
from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics
from tauro_nb.errors import AccessDenied, ExecutionError, PolicyError, SchemaMismatch, TauroError, UnsupportedStatement
from tauro_nb.security import TableSecurityPolicy
from tests.security.conformance.surfaces import CONSTANT, HIGH, LOW, config, leaves, secrets, surfaces

ROWS = (
    "SELECT i AS id, 'name ' || i AS name, 'a' || i || '@example.com' AS email, CASE WHEN i % 2 = 0 THEN 'Sales' "
    "ELSE 'Legal' END AS department, (i * 100)::BIGINT AS salary FROM range(200) t(i)"
)


def made(path: Path, rows: str) -> dict[str, Any]:
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE people AS {rows}")
    return {"at": {"type": "duckdb", "path": str(path)}}


def opened(path: Path, bound: str | None, rows: str = ROWS, **policy: Any) -> VirtualContext:
    found = config((made(path, rows), {"connector_type": "duckdb"}), bound)
    if policy:
        found["security_policies"] = {"people": {"row_level_filters": {"admin": ""}, **policy}}
    ctx = VirtualContext(found)
    statistics = TableStatistics(
        row_count=200,
        size_bytes=64_000,
        columns={
            name: ColumnStatistics(distinct_count=200, null_fraction=0.0, minimum=0, maximum=19_900)
            for name in ("id", "email", "salary", "name", "department")
        },
        source="made up",
    )
    ctx.layer.schema_registry.record_statistics("people", statistics)
    return ctx


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[VirtualContext]:
    with opened(tmp_path / "p.duckdb", LOW) as made_up:
        yield made_up


@pytest.fixture
def ana(ctx: VirtualContext) -> VirtualContext:
    return ctx.as_principal("ana", roles=["analyst"])


@pytest.fixture
def physical(tmp_path: Path) -> Iterator[VirtualContext]:
    """A database that holds the visible, masked rows and nothing else, without any policy."""
    visible = f"SELECT * REPLACE ('{CONSTANT}' AS email) FROM ({ROWS}) WHERE salary < {LOW}"
    with opened(tmp_path / "visible.duckdb", None, visible) as ctx:
        yield ctx


def test_c23_a_profile_is_worked_out_after_the_filter(ana: VirtualContext, physical: VirtualContext) -> None:
    seen, real = ana.profile("people"), physical.profile("people")
    assert seen.rows == 48
    for column, same in zip(seen.columns, real.columns, strict=True):
        assert (column.name, column.nulls, column.distinct) == (same.name, same.nulls, same.distinct)
        assert (column.minimum, column.maximum, column.quantiles) == (same.minimum, same.maximum, same.quantiles)
        assert column.top == same.top
    assert ana.profile("people", sample=10).rows == 10


def test_c23_other_ways_to_ask_for_statistics_are_refused(ana: VirtualContext) -> None:
    for sql in ("SUMMARIZE people", "DESCRIBE people", "SHOW people", "EXPLAIN SELECT * FROM people",
                "ANALYZE people", "SELECT stats(id) FROM people", "SELECT * FROM pragma_storage_info('people')",
                "SELECT estimated_size FROM duckdb_tables()"):  # fmt: skip
        with pytest.raises(TauroError):
            ana.query(sql)


def test_c60_a_profile_has_masked_values(ana: VirtualContext, ctx: VirtualContext) -> None:
    email, salary = (ana.profile("people")[name] for name in ("email", "salary"))
    assert (email.minimum, email.maximum, email.distinct) == (CONSTANT, CONSTANT, 1)
    assert email.top == ((CONSTANT, 48),)
    assert (salary.minimum, salary.maximum, salary.distinct) == (0, 4700, 48)
    assert ctx.profile("people")["email"].distinct == 200


def test_c75_a_plan_holds_no_ranges(ana: VirtualContext, ctx: VirtualContext) -> None:
    plan = ana.plan("SELECT id, salary FROM people")
    assert [(part.estimated_rows, part.estimated_bytes) for part in plan.fragments] == [(None, None)]
    assert (plan.estimated_rows, plan.estimated_bytes) == (0, 0)
    assert not {text for text in leaves(plan) if "19900" in text or "64000" in text}
    assert ctx.plan("SELECT id FROM people").estimated_rows == 200


def test_c76_statistics_are_withheld_where_a_policy_stands_and_back_when_it_goes(
    ana: VirtualContext, ctx: VirtualContext
) -> None:
    for found in (ana.statistics("people"), ana.schema_registry.get_table_statistics("people")):
        assert found is not None
        assert (found.row_count, found.size_bytes, dict(found.columns)) == (None, None, {})
    (people,) = (table for table in ana.catalog().tables if table.name == "people")
    assert people.row_count is None
    assert ctx.statistics("people").columns["salary"].maximum == 19_900
    ctx.security.remove_policy("people")
    found = ana.statistics("people")
    assert (found.row_count, found.columns["salary"].maximum, found.columns["email"].distinct_count) == (
        200, 19_900, 200,
    )  # fmt: skip


def test_c76_a_mask_withholds_what_it_masks(tmp_path: Path) -> None:
    masks = {"email": {"masking_enabled": True, "mask": "email", "allowed_roles": ["admin"]},
             "salary": {"access_level": "restricted", "allowed_roles": ["admin"]}}  # fmt: skip
    policy = {"field_policies": masks, "row_level_filters": {"*": ""}}
    with opened(tmp_path / "p.duckdb", None, **policy) as ctx:
        found = ctx.as_principal("ana").statistics("people")
    assert (found.row_count, found.size_bytes) == (200, None)
    assert set(found.columns) == {"id", "name", "department"}
    assert {(column.minimum, column.maximum, column.distinct_count) for column in found.columns.values()} == {
        (None, None, 200)
    }


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM people",
        "SELECT count(*) AS n FROM people",
        "SELECT id, name, department FROM people",
        "SELECT p.name AS who FROM people AS p",
        "SELECT count(*) AS n FROM people JOIN orders USING (id)",
        "SELECT name FROM spending",
        "SELECT a.id FROM people a JOIN people b ON a.id = b.id",
        "SELECT p.id, r.i FROM people p, range(2) r(i)",
        "WITH c AS (SELECT id, name FROM people) SELECT name FROM c WHERE id < 3",
    ],
)
def test_c77_columns_that_only_the_policy_reads_are_not_named(
    ana: VirtualContext, ctx: VirtualContext, sql: str
) -> None:
    plan = ana.plan(sql)
    assert "salary" not in plan.columns.get("people", ())
    assert all("salary" not in part.schema for part in plan.fragments)
    assert secrets(" ".join(surfaces(ana, sql).values())) == []
    mine = [log for log in ana.audit_logs(table_name="people") if log.status == "SUCCESS"]
    assert mine
    assert all("salary" not in log.field_names and log.policy_columns == () for log in mine)
    assert "salary" in ctx.audit_logs(table_name="people")[-1].policy_columns


@pytest.mark.parametrize(
    "view",
    [
        "SELECT p.id, p.salary, o.amount FROM people p JOIN orders o ON o.person = p.id",
        "SELECT id, salary FROM people UNION ALL SELECT id, amount FROM orders",
        "SELECT p.id, p.salary FROM people p JOIN orders o ON o.amount = p.salary",
    ],
)
def test_c79_statistics_of_joins_and_unions_do_not_tell_the_bound(
    ana: VirtualContext, ctx: VirtualContext, physical: VirtualContext, view: str
) -> None:
    for door in (ctx, physical):
        door.layer.schema_registry.register_table(VirtualTable("both", query=view))
    assert ana.profile("both").columns == physical.profile("both").columns
    found = ana.statistics("both")
    assert (found.row_count, found.size_bytes, dict(found.columns)) == (None, None, {})


def test_c80_functions_that_only_the_policy_calls_are_not_reported(tmp_path: Path) -> None:
    condition = "regexp_matches(name, 'name [0-9]+') AND salary >= 0"
    with opened(tmp_path / "p.duckdb", None, row_level_filters={"analyst": condition}) as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        sql = "SELECT upper(name) AS u FROM people"
        shown = surfaces(ana, sql)
        told = " ".join(shown.values()) + repr(ana.audit_logs()) + repr(ana.describe("people"))
        assert "regexp" not in told.lower()
        assert "upper" in shown["residual"].lower()
        assert "regexp" not in repr([dict(record) for record in ctx.layer.audit_trail.events()]).lower()


def test_c82_a_policy_with_a_subquery_is_refused_without_its_values(ctx: VirtualContext, ana: VirtualContext) -> None:
    condition = f"id IN (SELECT subject FROM entitled WHERE ends > {HIGH})"
    with pytest.raises(PolicyError) as caught:
        ctx.security.register_policy(TableSecurityPolicy("people", row_level_filters={"analyst": condition}))
    assert HIGH not in str(caught.value)
    assert len(ana.query("SELECT id FROM people").rows()) == 48


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        (f"salary < {LOW} AND AND", "parse"),
        (f"nowhere < {LOW}", "unknown column"),
        (f"sum(salary) < {LOW}", "aggregate"),
        (f"row_number() OVER () < {LOW}", "window"),
        (f"salary + {LOW}", "no condition"),
    ],
)
def test_c83_a_policy_that_is_wrong_shows_nothing_of_itself_to_those_it_is_about(
    ctx: VirtualContext, ana: VirtualContext, condition: str, what: str
) -> None:
    """Whoever registers it hears what is wrong; what was in force stays, and says no more than before."""
    policy = TableSecurityPolicy("people", row_level_filters={"analyst": condition})

    def in_force() -> None:
        ctx.security.register_policy(policy)
        ctx.security.decide("people", {"id": "BIGINT", "salary": "BIGINT"}, "analyst")

    with pytest.raises(PolicyError):
        in_force()
    with pytest.raises(TauroError) as caught:
        ana.query("SELECT * FROM people WHERE no_such_column = 1")
    assert LOW not in str(caught.value), what


def test_c83_a_policy_that_fails_while_it_runs_keeps_its_class_and_hides_its_text(tmp_path: Path) -> None:
    condition = f"salary * 9223372036854775807 > {LOW}"
    with opened(tmp_path / "p.duckdb", None, row_level_filters={"admin": "", "analyst": condition}) as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        for ask in (lambda: ana.query("SELECT id FROM people").rows(), lambda: ana.profile("people")):
            with pytest.raises(ExecutionError) as caught:
                ask()
            told = "".join(caught.value._render_traceback_()) + repr(caught.value)
            for word in (LOW, "9223372036854775807", "salary", "overflow of"):
                assert word not in told
        assert [log.error_class for log in ana.audit_logs(status="failed")] == ["ExecutionError"] * 2


def test_c83_a_policy_whose_column_is_gone_closes_the_table_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "p.duckdb"
    with opened(path, LOW) as ctx:
        ctx.layer.close()
        with duckdb.connect(str(path)) as connection:
            connection.execute("ALTER TABLE people RENAME COLUMN salary TO wages")
        ana = ctx.as_principal("ana", roles=["analyst"])
        with pytest.raises((PolicyError, AccessDenied, SchemaMismatch)) as caught:
            ana.query("SELECT id FROM people")
        told = "".join(caught.value._render_traceback_())
        assert LOW not in told
        assert "Board" not in told


def test_c83_a_cast_in_a_policy_drops_rows_and_raises_nothing(tmp_path: Path) -> None:
    condition = f"CAST(name AS INTEGER) > {LOW}"
    with opened(tmp_path / "p.duckdb", None, row_level_filters={"admin": "", "analyst": condition}) as ctx:
        assert ctx.as_principal("ana", roles=["analyst"]).query("SELECT id FROM people").rows() == []


def test_summarize_points_to_the_profile(ana: VirtualContext) -> None:
    with pytest.raises(UnsupportedStatement, match="%vprofile"):
        ana.query("SUMMARIZE people")
