"""Two catalogs that differ in hidden rows and in what masks hide: whatever the analyst is shown is the same in both.

What an answer, a plan or a figure of one says that the other's does not is something about rows nobody showed.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError
from tauro_nb.widgets import PlanView, plan_html
from tests.security.oracle import settle
from tests.security.redteam.trial import Reach
from tests.security.redteam.within import values_within
from tests.servers import PostgresServer

Twins = tuple[VirtualContext, VirtualContext]

HIDDEN = (40, 6_000)
"""Hidden employees of the first and of the second: enough that joins are made otherwise."""
POLICIES: dict[str, Any] = {
    "emp": {
        "row_level_filters": {"admin": "", "analyst": "dept = 'Sales'"},
        "field_policies": {
            "salary": {"mask": "bucket", "mask_options": {"size": 1000}, "allowed_roles": ["admin"]},
            "ref": {"mask": "bucket", "mask_options": {"size": 10}, "allowed_roles": ["admin"]},
        },
    },
    "orders": {"row_level_filters": {"admin": "", "analyst": "item <> 'hidden'"}},
}
SHOWN = (
    "SELECT id, note FROM emp WHERE big > 4500",
    "SELECT e.name, sum(l.v) AS s FROM emp e JOIN lots l ON l.emp_id = e.id GROUP BY 1",
    "SELECT e.ref, count(*) AS n FROM emp e JOIN lots l ON l.emp_id = e.ref GROUP BY 1",
    "SELECT l.id FROM lots l WHERE l.emp_id IN (SELECT id FROM emp WHERE salary < 90000)",
    "SELECT l.id FROM lots l WHERE NOT EXISTS (SELECT 1 FROM emp e WHERE e.id = l.emp_id)",
    "SELECT e.name, o.item, l.v FROM emp e JOIN orders o ON o.emp_id = e.id JOIN lots l ON l.emp_id = o.emp_id",
    "SELECT e.cat, o.cat AS c, count(*) AS n FROM emp e JOIN orders o ON e.cat = o.cat GROUP BY ALL",
    "SELECT e.id FROM emp e JOIN orders o ON e.id = o.emp_id WHERE o.note::BIGINT % 2 = 0",
    "SELECT cat, count(*) AS n FROM orders GROUP BY cat ORDER BY n DESC, cat LIMIT 4",
    "SELECT e.id, sum(o.qty) OVER (ORDER BY e.id, o.id) AS s FROM emp e JOIN orders o ON e.id = o.emp_id",
    "SELECT o.id, 10 // o.qty AS q FROM orders o JOIN emp e ON e.id = o.emp_id AND 10 // e.code >= 0",
    "SELECT max(day + 1) AS d, sum(big) AS b FROM orders",
)


OWN_TO_A_RUN = {"timestamp", "query_id", "duration_ms", "origin", "literals"}
"""What a record says of a run that is not about rows; literals are hashed with a key of each catalog."""

TIMES = re.compile(r"\.(plan_ms|run_ms|ms)$|\['layout'\]$")
"""Ways to what says how long something took; and to a name that is made up at random."""


def twin_tables(hidden: int) -> dict[str, pa.Table]:
    """What is seen is the same whatever is hidden; hidden rows fail in whatever is computed of them."""
    emp = f"""
        SELECT i AS id, 'Ann ' || i AS name, 'Sales' AS dept, (i * 1000 + {hidden} % 1000)::BIGINT AS salary,
               i * 10 + {hidden} % 9 AS ref, 'k' || i % 7 AS cat, i AS code, i * 100 AS big, (i * 7)::VARCHAR AS note
        FROM range(1, 90) t(i)
        UNION ALL
        SELECT 1000 + i, 'Hid ' || i, 'Legal', -i, i, 'h' || i, 0, 9223372036854775807, 'no number'
        FROM range({hidden}) t(i)"""
    orders = f"""
        SELECT i AS id, i % 120 AS emp_id, list_extract(['pen', 'ink', 'cup'], 1 + i % 3) AS item, i % 5 + 1 AS qty,
               i::VARCHAR AS note,

               'k' || i % 9 AS cat, DATE '2024-01-01' + (i % 28)::INTEGER AS day, i AS big
        FROM range(600) t(i)
        UNION ALL
        SELECT 5000 + i, i % 120, 'hidden', 0, 'no number', 'h' || i, DATE '9999-12-31', 9223372036854775807
        FROM range({hidden}) t(i)"""
    lots = "SELECT i AS id, i % 3000 AS emp_id, i % 100 AS v FROM range(15000) t(i)"
    with duckdb.connect() as con:
        return {
            name: con.execute(sql).to_arrow_table() for name, sql in (("emp", emp), ("orders", orders), ("lots", lots))
        }


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """The analyst of each, over one kind of source."""
    kind = request.param
    server: PostgresServer | None = request.getfixturevalue("postgres_server") if kind == "postgresql" else None
    with contextlib.ExitStack() as stack:
        made = []
        for hidden in HIDDEN:
            uri = None if server is None else server.uri(server.create_database())
            placed = settle(kind, tmp_path_factory.mktemp(f"twin{hidden}"), twin_tables(hidden), uri=uri)
            if server is not None and uri is not None:
                # What the server knows of its tables must not go by when it looks at them by itself.
                server.execute("ANALYZE", uri.rpartition("/")[2])
            made.append(stack.enter_context(VirtualContext({**placed, "security_policies": POLICIES}, "admin")))
        first, second = (ctx.as_principal("ana", roles=["analyst"]) for ctx in made)
        yield first, second


def _plan(ctx: VirtualContext, sql: str) -> list[str]:
    plan = ctx.plan(sql)
    figures = (plan.estimated_rows, plan.estimated_bytes, plan.estimated_cost, plan.steps, plan.switched_off)
    return [str(plan), repr(plan), plan_html(plan), *map(str, figures)]


def _run(ctx: VirtualContext, sql: str) -> list[str]:
    """The answer with its figures, after which plans know what the run had."""
    try:
        result = ctx.query(sql)
        table = result.to_arrow()
    except TauroError as error:
        return ["\n".join([str(error), *error._render_traceback_()])]
    rows = sorted(map(str, table.to_pylist()))
    return [*rows, str(table.schema), str((result.stats.rows, result.stats.bytes, result.stats.keys_shipped))]


def _recorded(ctx: VirtualContext, sql: str) -> list[str]:
    """What the own audit trail, the monitor and a measured run say of it."""
    before = len(ctx.audit_logs())
    measured = ctx.analyze(sql).measured
    assert measured is not None
    figures = (measured.rows, measured.bytes, measured.fragments, measured.keys, measured.residual_ms)
    records = [
        {name: value for name, value in asdict(log).items() if name not in OWN_TO_A_RUN}
        for log in ctx.audit_logs()[before:]
    ]
    return [str(records), str(figures)]


def _held(ctx: VirtualContext, sql: str) -> list[str]:
    """Whatever Python finds in the plans that are handed out, before and after a run, and in their panel."""
    before, after = ctx.plan(sql), ctx.analyze(sql)
    held = values_within([before, after, PlanView(before).get_state()])
    return [line for line in held if not TIMES.search(line.partition(":")[0])]


def _both(twins: Twins, look: Callable[[VirtualContext, str], list[str]], *statements: str) -> None:
    wrong = []
    for sql in statements:
        one, other = ("\n".join(look(ctx, sql)).splitlines() for ctx in twins)
        different = list(difflib.unified_diff(one, other, lineterm="", n=0))
        wrong += ["\n    ".join([sql, *(line[:200] for line in different[2:8])])] if different else []
    assert not wrong, "\n".join(wrong)


def test_r17_plans_of_twins_are_alike_before_and_after_a_run(twins: Twins, reach: Reach) -> None:
    _both(twins, _plan, *SHOWN)
    _both(twins, _run, *SHOWN)
    _both(twins, _plan, *SHOWN)
    reach("sql", "holds")


def test_r17_nothing_within_the_plans_of_twins_differs(twins: Twins, reach: Reach) -> None:
    """Attributes, closures, private ones too: all but the sealed plan that runs, which is Python's to open (R34)."""
    _both(twins, _held, SHOWN[1], SHOWN[3], SHOWN[6], SHOWN[9])
    assert len(_held(twins[0], SHOWN[1])) > 200
    reach("sql", "holds")
    reach("panels", "holds")


def test_r19_records_and_figures_of_twins_are_alike(twins: Twins, reach: Reach) -> None:
    _both(twins, _recorded, *SHOWN[:6])
    reach("sql", "holds")
