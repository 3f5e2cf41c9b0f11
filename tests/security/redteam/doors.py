"""The doors: each gives the rows of a statement as the analyst, or raises; none of them knows what is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import tauro_nb
from tauro_nb.magics.completion import Completer
from tauro_nb.widgets import PlanView, plan_html
from tests.security.redteam.sites import ANALYST, Site, arrow
from tests.security.redteam.staff import COLUMNS, EMP, OPEN_ROWS, VIEW

__all__ = ["DOORS", "Answer", "Visit", "displayed", "offered"]


@dataclass(frozen=True)
class Visit:
    """What a door works with."""

    site: Site
    shell: InteractiveShell

    @cached_property
    def handed_over(self) -> duckdb.DuckDBPyConnection:
        """What row lists are made into, where statements can be run over it."""
        security, who = self.site.admin.security, self.site.analyst.principal
        kept = security.apply_row_level_security("emp", who, EMP)
        masked = security.apply_field_masking("emp", who, kept)
        visible = {name: COLUMNS["emp"][name] for name in masked[0]}
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        for name, table in (
            ("emp", arrow(visible, masked)),
            ("orders", arrow(COLUMNS["orders"], security.apply_field_masking("orders", who, OPEN_ROWS["orders"]))),
        ):
            con.register("given", table)
            con.execute(f"CREATE TABLE {name} AS FROM given")
            con.unregister("given")
        con.execute(f"CREATE VIEW team AS {VIEW}")
        return con


@dataclass(frozen=True)
class Answer:
    """Rows, and every text the door showed on the way."""

    table: pa.Table
    shown: str = ""


Door = Callable[[Visit, str], Answer]


def by_sql(visit: Visit, sql: str) -> Answer:
    result = visit.site.analyst.query(sql)
    return Answer(result.to_arrow(), repr(result))


def by_ibis(visit: Visit, sql: str) -> Answer:
    expression = visit.site.analyst.ibis().sql(sql)
    return Answer(expression.to_pyarrow(), repr(expression))


def by_dbapi(visit: Visit, sql: str) -> Answer:
    name, roles = ANALYST
    who = visit.site.admin.as_principal(name, roles=roles)
    with tauro_nb.connect(who) as connection:
        cursor = connection.execute(sql)
        assert cursor.description is not None
        kinds = {f"c{place}": column[1] for place, column in enumerate(cursor.description)}
        rows = [dict(zip(kinds, row, strict=True)) for row in cursor.fetchall()]
        names = [column[0] for column in cursor.description]
        return Answer(arrow(kinds, rows).rename_columns(names), str(cursor.description))


def by_magics(visit: Visit, sql: str) -> Answer:
    visit.shell.user_ns["catalog"] = visit.site.analyst
    shown = [displayed(visit.shell, cell) for cell in ("%vconnect catalog", f"%%vquery found\n{sql}", "found")]
    return Answer(visit.shell.user_ns["found"].to_arrow(), "\n".join(shown))


def displayed(shell: InteractiveShell, cell: str) -> str:
    """Everything a cell shows, in every form a notebook would keep; its error is raised."""
    run: Any = shell.run_cell
    with capture_output() as captured:
        done = run(cell)
        forms = {} if done.result is None else shell.display_formatter.format(done.result)[0]
    done.raise_error()
    outputs = [json.dumps(output.data, default=str) for output in captured.outputs]
    return "\n".join([captured.stdout, captured.stderr, *outputs, json.dumps(forms, default=str)])


def by_rows(visit: Visit, sql: str) -> Answer:
    """The statement over what row lists are made into, in an engine that knows no policy."""
    return Answer(visit.handed_over.execute(sql).to_arrow_table())


def by_panels(visit: Visit, sql: str) -> Answer:
    """The plan's panel in all its forms, and the table of the result."""
    result = visit.site.analyst.query(sql)
    panel = PlanView(result.plan)
    shown = [plan_html(result.plan), panel.to_text(), repr(panel), str(panel._page), result._repr_html_()]
    return Answer(result.to_arrow(), "\n".join(shown))


DOORS: Mapping[str, Door] = MappingProxyType(
    {
        "sql": by_sql,
        "ibis": by_ibis,
        "dbapi": by_dbapi,
        "magics": by_magics,
        "rows": by_rows,
        "panels": by_panels,
    }
)
"""Doors through which a statement runs; completion, which runs none, is `offered`."""


def offered(completer: Completer, sql: str) -> list[list[str]]:
    """What Tab offers behind every word of a statement."""
    cell = f"%%vquery\n{sql}"
    places = [place for place, sign in enumerate(cell) if place > len("%%vquery\n") and not sign.isalnum()]
    found = []
    for place in [*places, len(cell)]:
        before = cell[:place]
        line, column = before.count("\n"), place - before.rfind("\n") - 1
        found.append([text for text, _ in completer.complete(cell, line, column)[1]])
    return found
