"""One question through every door, as the administrator and as the analyst.

Between two people, rows, masks and audit records differ exactly as the policy of the demo catalog says; between two
doors, nothing differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import pytest
from ibis import _
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import tauro_nb
from tauro_nb.context import VirtualContext
from tauro_nb.errors import AccessDenied
from tauro_nb.magics import load, unload

COLUMNS = ("customer_id", "name", "email", "phone", "ssn", "department", "region")
SQL = f"SELECT {', '.join(COLUMNS)} FROM customers ORDER BY customer_id"
# name: (masked columns, condition on rows)
POLICY: dict[str, tuple[frozenset[str], str]] = {
    "root": (frozenset(), "TRUE"),
    "ana": (frozenset({"email", "phone", "ssn"}), "department = 'Sales'"),
    "sam": (frozenset({"ssn"}), "TRUE"),
    "rita": (frozenset({"email", "phone", "ssn"}), "region = 'South'"),
}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def ctx(demo: Path) -> Iterator[VirtualContext]:
    with VirtualContext(demo, "root") as context:
        yield context


@pytest.fixture(scope="module")
def shell(ctx: VirtualContext) -> Iterator[InteractiveShell]:
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_ns={})
    load(shell)
    shell.user_ns["catalog"] = ctx
    shell.run_cell("%vconnect catalog").raise_error()
    yield shell
    unload(shell)


def true_rows(demo: Path, condition: str = "TRUE") -> Rows:
    """What SQLite itself has."""
    connection = sqlite3.connect(demo.parent / "crm.sqlite")
    connection.row_factory = sqlite3.Row
    try:
        sql = f"SELECT {', '.join(COLUMNS)} FROM customers WHERE {condition} ORDER BY customer_id"
        return [dict(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def masked(column: str, value: str | None) -> str | None:
    """The masks of the demo catalog, written down a second time."""
    if value is None:
        return None
    if column == "email":
        local, _, host = value.partition("@")
        return f"{local[0]}***{local[-1]}@{host}" if len(local) > 2 else f"***@{host}"
    return f"****{value[-4:]}" if column == "phone" else f"***-**-{value[-4:]}"


def expected(demo: Path, who: str) -> Rows:
    hidden, condition = POLICY[who]
    return [
        {name: masked(name, value) if name in hidden else value for name, value in row.items()}
        for row in true_rows(demo, condition)
    ]


# --- the doors: (context, shell, principal, SQL, the same as an expression) -> rows


class Question:
    """The same question as SQL and as an expression."""

    def __init__(self, sql: str, expression: Callable[[ir.Table], ir.Table], table: str = "customers") -> None:
        self.sql, self.expression, self.table = sql, expression, table


def by_sql(ctx: VirtualContext, _shell: InteractiveShell, who: str, asked: Question) -> Rows:
    return ctx.as_principal(who).query(asked.sql).rows()


def by_lazy_sql(ctx: VirtualContext, _shell: InteractiveShell, who: str, asked: Question) -> Rows:
    rows: Rows = ctx.as_principal(who).sql(asked.sql).to_pyarrow().to_pylist()
    return rows


def by_ibis(ctx: VirtualContext, _shell: InteractiveShell, who: str, asked: Question) -> Rows:
    rows: Rows = asked.expression(ctx.as_principal(who).table(asked.table)).to_pyarrow().to_pylist()
    return rows


def by_dbapi(ctx: VirtualContext, _shell: InteractiveShell, who: str, asked: Question) -> Rows:
    cursor = tauro_nb.connect(ctx, who).execute(asked.sql)
    assert cursor.description is not None
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def by_magic(_ctx: VirtualContext, shell: InteractiveShell, who: str, asked: Question) -> Rows:
    done = shell.run_cell(f"%%vquery found --principal {who}\n{asked.sql}")
    done.raise_error()
    rows: Rows = shell.user_ns["found"].rows()
    return rows


Door = Callable[[VirtualContext, InteractiveShell, str, Question], Rows]
DOORS: tuple[Door, ...] = (by_sql, by_lazy_sql, by_ibis, by_dbapi, by_magic)
EVERYTHING = Question(SQL, lambda t: t.select(*COLUMNS).order_by("customer_id"))
every_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
everybody = pytest.mark.parametrize("who", POLICY)


@everybody
@every_door
def test_everybody_sees_what_the_policy_says(
    demo: Path, ctx: VirtualContext, shell: InteractiveShell, door: Door, who: str
) -> None:
    assert door(ctx, shell, who, EVERYTHING) == expected(demo, who)


@everybody
def test_rows_at_hand_are_treated_alike(demo: Path, ctx: VirtualContext, who: str) -> None:
    principal, rows = ctx.as_principal(who).principal, true_rows(demo)
    before = len(ctx.audit_logs(principal=who))
    kept = ctx.security.apply_row_level_security("customers", principal, rows)
    assert ctx.security.apply_field_masking("customers", principal, kept) == expected(demo, who)
    logs = ctx.audit_logs(principal=who)[before:]
    assert {(log.table_name, log.row_count, log.status) for log in logs} == {("customers", len(kept), "SUCCESS")}


@everybody
def test_whole_tables_are_treated_alike(demo: Path, ctx: VirtualContext, who: str) -> None:
    rows = sorted(ctx.read_table("customers", principal=who), key=lambda row: row["customer_id"])
    assert [{name: row[name] for name in COLUMNS} for row in rows] == expected(demo, who)
    assert ("credit_limit" in rows[0]) == (who in {"root", "rita"})


@everybody
@every_door
def test_the_audit_record_is_the_same(
    demo: Path, ctx: VirtualContext, shell: InteractiveShell, door: Door, who: str
) -> None:
    before = len(ctx.audit_logs())
    door(ctx, shell, who, EVERYTHING)
    (log,) = ctx.audit_logs()[before:]
    assert (log.principal, log.table_name, log.status) == (who, "customers", "SUCCESS")
    assert set(log.roles) == set(ctx.layer.config.principals[who].roles)
    assert set(log.field_names) == set(COLUMNS)
    assert log.row_count == len(true_rows(demo, POLICY[who][1]))
    assert log.policy_hash
    assert log.query_id


BY_DIGITS = Question(
    "SELECT count(*) AS n FROM customers WHERE ssn LIKE '9%'",
    lambda t: t.filter(t.ssn.like("9%")).aggregate(n=_.count()),
)


@every_door
def test_a_condition_sees_the_mask_and_not_what_is_under_it(
    ctx: VirtualContext, shell: InteractiveShell, door: Door
) -> None:
    assert door(ctx, shell, "root", BY_DIGITS) == [{"n": 2_000}]
    assert door(ctx, shell, "ana", BY_DIGITS) == [{"n": 0}]


DENIED = (
    Question("SELECT count(*) AS n FROM tickets", lambda t: t.aggregate(n=_.count()), "tickets"),
    Question("SELECT credit_limit FROM customers", lambda t: t.select("credit_limit")),
)


@every_door
def test_a_closed_table_is_closed_at_every_door(ctx: VirtualContext, shell: InteractiveShell, door: Door) -> None:
    before = len(ctx.audit_logs())
    with pytest.raises(AccessDenied, match="tickets"):
        door(ctx, shell, "ana", DENIED[0])
    logs = ctx.audit_logs()[before:]
    assert {(log.principal, log.table_name, log.status, log.row_count) for log in logs} == {
        ("ana", "tickets", "DENIED", 0)
    }


@pytest.mark.parametrize("door", [door for door in DOORS if door is not by_ibis], ids=lambda door: door.__name__)
def test_a_closed_column_is_closed_at_every_door(ctx: VirtualContext, shell: InteractiveShell, door: Door) -> None:
    before = len(ctx.audit_logs())
    with pytest.raises(AccessDenied, match="credit_limit"):
        door(ctx, shell, "ana", DENIED[1])
    (log,) = ctx.audit_logs()[before:]
    assert (log.principal, log.table_name, log.status, log.row_count) == ("ana", "customers", "DENIED", 0)


def test_ibis_does_not_even_offer_a_closed_column(ctx: VirtualContext) -> None:
    assert "credit_limit" not in ctx.as_principal("ana").table("customers").columns
    assert "credit_limit" in ctx.as_principal("root").table("customers").columns
