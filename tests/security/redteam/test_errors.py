"""R11 to R15: errors as a channel. Hidden rows throw in every one of these expressions, visible ones in few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import SourceError, TauroError
from tests.security.redteam.doors import DOORS, Visit
from tests.security.redteam.sites import ANALYST, Site
from tests.security.redteam.trial import Gate, Reach, Trial, canaries, said_by

CASTS = (
    "SELECT id, note::INTEGER AS i FROM emp",
    "SELECT id FROM emp WHERE note::INTEGER > 0 ORDER BY 1",
    "SELECT count(*) AS n FROM emp WHERE CAST(note AS DECIMAL(4,0)) IS NOT NULL",
    "SELECT id, name::INTEGER AS i FROM emp",
    "SELECT id, ssn::INTEGER AS i FROM emp",
    "SELECT id FROM emp WHERE email::UUID IS NULL",
    "SELECT id, note::DATE AS d FROM emp",
    "SELECT id, big::INTEGER AS i FROM emp",
    "SELECT id, code::BOOLEAN AS b, grade::UTINYINT AS u FROM emp",
    "SELECT id FROM emp WHERE dept::ENUM('Sales', 'Legal') = 'Sales' ORDER BY 1",
    "SELECT sum(note::BIGINT) AS s FROM emp",
    "SELECT o.id FROM orders o JOIN emp e ON o.emp_id = e.note::BIGINT",
    "SELECT id FROM emp ORDER BY note::INTEGER",
    "SELECT note::INTEGER AS k, count(*) AS n FROM emp GROUP BY 1",
    "SELECT id, lag(note::INTEGER) OVER (ORDER BY id) AS l FROM emp",
    "SELECT id FROM emp WHERE id IN (SELECT note::BIGINT FROM emp)",
)
FUNCTIONS = (
    "SELECT id, big + 1 AS b FROM emp",
    "SELECT id, big * 2 AS b FROM emp WHERE big * 2 > 0",
    "SELECT sum(big) AS s FROM emp",
    "SELECT id, 1000 // code AS q, 1 / (salary - 200000) AS r FROM emp",
    "SELECT id, substring(name, 1, big) AS s FROM emp",
    "SELECT id, left(name, big) AS l FROM emp",
    "SELECT id, repeat('x', code) AS r FROM emp",
    "SELECT id, lpad(name, 20, CASE WHEN code = 0 THEN '' ELSE 'x' END) AS l FROM emp",
    "SELECT id FROM emp WHERE name LIKE '%' ESCAPE dept",
    "SELECT id, regexp_matches('7', note) AS m FROM emp",
    "SELECT id, strptime(note, '%d') AS s FROM emp",
    "SELECT id, json(note) AS j FROM emp",
    "SELECT id, epoch_ns(day) AS e FROM emp",
    "SELECT id, day + INTERVAL 1 YEAR AS d FROM emp",
    "SELECT id, to_timestamp(big) AS t FROM emp",
    "SELECT id, list_extract([1, 2], code) AS l, [1, 2][code] AS m FROM emp",
    "SELECT id, chr(code::INTEGER) AS c, factorial(code::INTEGER) AS f FROM emp WHERE id < 10",
    "SELECT id, sqrt(code - 1) AS s, ln(code) AS l FROM emp",
    "SELECT id, make_date(2024, 1, CASE WHEN code = 0 THEN 99 ELSE 1 END) AS d FROM emp",
    "SELECT id, CASE WHEN name LIKE 'UMBRA%' THEN name::INTEGER ELSE 1 END AS c FROM emp",
    "SELECT id FROM emp WHERE date_trunc('day', seen) = DATE '2024-01-01' AND note::INTEGER > 50 ORDER BY 1",
    "SELECT id, printf('%d', code) AS p, format('{}', note) AS f FROM emp",
)


def test_r11_casts(trial: Trial) -> None:
    trial.holds(*CASTS)


def test_r12_functions_and_operators(trial: Trial) -> None:
    trial.holds(*FUNCTIONS)


def test_r12_functions_that_throw_on_purpose(gate: Gate) -> None:
    gate.refuses(
        "SELECT error('x' || name) FROM emp",
        "SELECT id FROM emp WHERE error(ssn) IS NULL",
        "SELECT getenv('HOME') FROM emp",
        "SELECT parse_duckdb_log_message('x', note) FROM emp",
    )


CLOSED_PORT = "postgresql://eve:s3cret@127.0.0.1:1/canary"
ELSEWHERE: dict[str, Callable[[Site], dict[str, Any]]] = {
    "a server that is down": lambda _: {"type": "postgresql", "uri": CLOSED_PORT},
    "a file that is gone": lambda site: {"type": "sqlite", "path": str(site.folder / "canary.sqlite")},
    "a file of another kind": lambda site: {"type": "duckdb", "path": str(site.folder / "phys_emp.parquet")},
}


@pytest.mark.parametrize("door", [door for door in DOORS if door != "rows"])
@pytest.mark.parametrize("what", ELSEWHERE)
def test_r14_errors_name_no_place_and_no_secret(
    site_of: Callable[[str], Site], red_shell: Any, reach: Reach, door: str, what: str
) -> None:
    site = site_of("sqlite")
    spec = ELSEWHERE[what](site)
    table = {"connector_type": spec["type"], "connection": "at", "table": "phys_emp"}
    config = {**site.config, "connections": {"at": spec}, "virtual_tables": {"emp": table}}
    with VirtualContext({**config, "security_policies": {"emp": config["security_policies"]["emp"]}}) as admin:
        name, roles = ANALYST
        lost = Site("lost", site.folder, config, admin, admin.as_principal(name, roles=roles))
        with pytest.raises(SourceError) as caught:
            DOORS[door](Visit(lost, red_shell), "SELECT id FROM emp")
    assert canaries(said_by(caught.value)) == []
    assert str(site.folder) not in said_by(caught.value)
    reach(door, "refused")


@pytest.mark.parametrize("door", ["sql", "magics", "panels"])
def test_r15_planning_never_meets_a_row(
    site_of: Callable[[str], Site], red_shell: Any, reach: Reach, door: str
) -> None:
    """A plan of what throws for hidden rows is a plan; what is refused is refused in the words of the analyst's own."""
    site = site_of("postgresql")
    planned = {
        "sql": lambda sql: str(site.analyst.plan(sql)),
        "magics": lambda sql: _planned_by_magic(site, red_shell, sql),
        "panels": lambda sql: _panel(site, sql),
    }[door]
    for sql in (*CASTS, *FUNCTIONS):
        try:
            shown = planned(sql)
        except TauroError as error:
            shown = said_by(error)
        assert canaries(shown, sql) == [], sql
    reach(door, "holds")


def _planned_by_magic(site: Site, shell: Any, sql: str) -> str:
    from IPython.utils.capture import capture_output

    shell.user_ns["catalog"] = site.analyst
    with capture_output() as captured:
        shell.run_cell("%vconnect catalog").raise_error()
        for magic in ("%%vplan", "%%vquery --explain", "%%vquery --dry-run"):
            shell.run_cell(f"{magic}\n{sql}")
    return captured.stdout + str([output.data for output in captured.outputs])


def _panel(site: Site, sql: str) -> str:
    from tauro_nb.widgets import PlanView, plan_html

    plan = site.analyst.plan(sql)
    return plan_html(plan) + PlanView(plan).to_text()
