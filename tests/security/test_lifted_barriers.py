"""A barrier goes only where no condition of the whole query could fail on a hidden row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import VirtualContext
from tauro_nb.query.plan import whole
from tauro_nb.query.trees import BARRIER


@pytest.fixture(scope="module")
def analyst(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualContext]:
    """Hidden rows hold what fails when it is converted, divided by or cut; orders are open."""
    path: Path = tmp_path_factory.mktemp("lifted") / "w.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(
            """CREATE TABLE people AS SELECT i::BIGINT AS id, if(seen, 'eng', 'hr') AS dept,
               if(seen, i::VARCHAR, 'x' || i) AS code, if(seen, 1, 0) AS one, if(seen, 2.5, 1e30)::DOUBLE AS real,
               if(seen, DATE '2020-01-01', DATE '5877642-06-20') AS day,
               0.5::DECIMAL(38,30) AS share
               FROM (SELECT i, i % 2 = 0 AS seen FROM range(300000) t(i))"""
        )
        con.execute("CREATE TABLE orders AS SELECT i AS person, (i % 7)::DECIMAL(12,2) AS amount FROM range(1000) t(i)")
    catalog = {
        "connections": {"w": {"type": "duckdb", "path": str(path)}},
        "virtual_tables": {
            name: {"connector_type": "duckdb", "connection": "w", "table": name} for name in ("people", "orders")
        },
        "security_policies": {"people": {"row_level_filters": {"analyst": "upper(dept) = 'ENG'"}}},
    }
    with VirtualContext(catalog) as ctx:
        yield ctx.as_principal("ana", roles=["analyst"])


def is_fenced(ctx: VirtualContext, sql: str, params: dict[str, Any] | None = None) -> bool:
    return BARRIER in whole(ctx.plan(sql, params)).residual_sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM people",
        "SELECT 1 / one AS x, CAST(code AS INTEGER) AS c FROM people WHERE id < 10 ORDER BY 2",
        "SELECT p.id FROM people p JOIN orders o ON o.person = p.id GROUP BY 1 HAVING sum(o.amount) > 3",
        "SELECT id FROM people WHERE code LIKE '1%' AND substring(code, 1, 2) IN ('10', '11')",
        "SELECT id FROM people WHERE id IN (SELECT person FROM orders) AND EXISTS (FROM orders o WHERE o.person = id)",
        "SELECT p.id FROM people p WHERE p.one > (SELECT 0.5 * avg(o.amount) FROM orders o WHERE o.person = p.id)",
        "SELECT 100.0 * sum(CASE WHEN code LIKE '1%' THEN real * (1 - share) ELSE 0 END) / sum(real) FROM people",
        "SELECT sum(CASE WHEN c = '1' THEN v ELSE 0 END) / sum(v) FROM (SELECT code AS c, real * 2 AS v FROM people)",
        "SELECT max(day) - min(day) AS days FROM people",
        "WITH big AS (SELECT dept, count(*) AS n FROM people GROUP BY dept) SELECT dept FROM big WHERE 100 / n < 3",
    ],
)
def test_a_barrier_nobody_needs_is_lifted(analyst: VirtualContext, sql: str) -> None:
    assert not is_fenced(analyst, sql)
    analyst.query(sql).to_arrow()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM people WHERE 1 % one = 0",
        "SELECT count(*) FROM people WHERE CAST(code AS INTEGER) >= 0",
        "SELECT count(*) FROM people WHERE day < TIMESTAMP '2024-01-01 12:00:00'",
        "SELECT count(*) FROM people WHERE substring(code, id) = 'x'",
        "SELECT count(*) FROM people WHERE id = 1 AND left(code, 9223372036854775807) = 'x'",
        "SELECT max(left(code, id % 5)) FROM people WHERE id < 9",
        "SELECT max(substring(code, 1, one)) FROM people WHERE id < 9",
        "SELECT count(*) FROM people WHERE code LIKE dept",
        "SELECT count(*) FROM (SELECT CAST(code AS INTEGER) AS c FROM people) WHERE c >= 0",
        "WITH x AS (SELECT CAST(real AS INTEGER) AS c FROM people) SELECT count(*) FROM x JOIN orders ON c = person",
        "SELECT count(*) FROM people p JOIN orders o ON p.code = o.person",
        "SELECT count(*) FROM orders o WHERE EXISTS (SELECT 1 FROM people p WHERE CAST(p.code AS INTEGER) = o.person)",
        "SELECT count(*) FROM people WHERE id IN (SELECT person FROM orders) AND CAST(code AS INTEGER) >= 0",
        "SELECT max(day + INTERVAL 1 DAY) FROM people WHERE id < 10",
        "SELECT count(d + 1) FROM (SELECT day AS d FROM people) WHERE d < DATE '2030-01-01'",
        "SELECT sum(CASE WHEN day + 1 > day THEN 1 ELSE 0 END) / count(*) FROM people",
        "SELECT max(CASE WHEN id > 0 THEN day ELSE DATE '2024-01-01' END + 1) FROM people",
        "SELECT max(DATE '2024-01-01' + one) FROM people",
        "SELECT max(CASE WHEN id > 0 THEN DATE '2024-01-01' END + one) FROM people",
        "SELECT max(v + 1) FROM (SELECT day - one AS v FROM people)",
        "SELECT count(*) FROM people WHERE one > (SELECT CAST(0.5 AS DECIMAL(38,37)))",
    ],
)
def test_a_doubtful_condition_keeps_every_barrier(analyst: VirtualContext, sql: str) -> None:
    assert is_fenced(analyst, sql)
    assert analyst.query(sql).rows()


@pytest.mark.parametrize(
    ("condition", "harmless", "failing"),
    [
        ("day = :value", "2024-01-01", "no day"),
        ("day IN (DATE '2020-01-01', :value)", "2024-01-01", "2024-02-30"),
        ("share < :value", 5, 1234567890),
    ],
)
def test_a_barrier_lifted_for_one_value_stands_for_another(
    analyst: VirtualContext, condition: str, harmless: Any, failing: Any
) -> None:
    """A plan is kept for the type of a parameter; a value that cannot be converted fails for the first row it meets."""
    sql = f"SELECT count(*) FROM people WHERE id = 1 AND {condition}"
    assert not is_fenced(analyst, sql, {"value": harmless})
    assert analyst.plan(sql, {"value": harmless}).cached
    assert is_fenced(analyst, sql, {"value": failing})
    assert analyst.query(sql, {"value": failing}).rows() == [{"count_star()": 0}]


def test_a_plan_is_kept_for_values_that_decide_nothing(analyst: VirtualContext) -> None:
    sql = "SELECT code FROM people WHERE id = :id AND code = :code AND day < :day"
    day = dt.date(2024, 1, 1)
    assert not is_fenced(analyst, sql, {"id": 2, "code": "2", "day": day})
    assert analyst.plan(sql, {"id": 400000, "code": "no number", "day": dt.date(1999, 1, 1)}).cached
    assert analyst.query(sql, {"id": 4, "code": "4", "day": day}).rows() == [{"code": "4"}]


def test_a_parameter_may_be_a_day(analyst: VirtualContext) -> None:
    sql = "SELECT max(:day + one) FROM people"
    assert is_fenced(analyst, sql, {"day": dt.date(2024, 1, 1)})
    assert analyst.query(sql, {"day": dt.date(2024, 1, 1)}).rows()
