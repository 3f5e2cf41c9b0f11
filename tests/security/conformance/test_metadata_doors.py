"""No panel, magic, listing, statistic or error names what is closed to somebody, nor what sources call their tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tauro_nb import VirtualContext, VirtualTable
from tauro_nb.errors import AccessDenied, TauroError, UnknownTable
from tauro_nb.federation import FederationEngine
from tauro_nb.interop.ibis import Backend
from tauro_nb.magics import load, show, unload
from tauro_nb.readers import VirtualReaderFactory
from tauro_nb.widgets import (
    CatalogPanel,
    LineageGraphPanel,
    PlanView,
    catalog_html,
    catalog_text,
    lineage_html,
    lineage_text,
    plan_html,
    plan_text,
)

HIDDEN = (
    "payroll", "wages", "bonus", "iban", "vault", "phys_", "raw_feed", "7351", "7,351", "hr_only", "admins_", "hunter2",
)  # fmt: skip
"""A table, a view over it, columns, a connection, names at the sources, a count, a policy's role, a secret."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualContext]:
    tmp_path: Path = tmp_path_factory.mktemp("doors")
    open_file, closed_file = tmp_path / "phys_open.duckdb", tmp_path / "phys_vault.duckdb"
    with duckdb.connect(str(open_file)) as made:
        made.execute(
            "CREATE TABLE phys_people AS SELECT i AS id, 'p' || i || '@x.org' AS email, 'DE' || i AS iban, "
            "i % 2 AS team FROM range(7351) t(i)"
        )
    with duckdb.connect(str(closed_file)) as made:
        made.execute("CREATE TABLE phys_payroll AS SELECT 1 AS id, 2 AS wages, 3 AS bonus")
    config = {
        "connections": {
            "shop": {"type": "duckdb", "path": str(open_file)},
            "vault": {"type": "duckdb", "path": str(closed_file)},
            "mail": {"type": "postgresql", "uri": "postgresql://admins_own:hunter2@localhost:1/vault"},
        },
        "virtual_tables": {
            "people": {
                "connection": "shop", "table": "phys_people", "description": "who works here",
                "source_tables": ["raw_feed.people"], "options": {"token": "hunter2"},
            },
            "payroll": {"connection": "vault", "table": "phys_payroll", "description": "wages", "tags": ["hr_only"]},
            "paid": {"query": "SELECT p.id, y.wages FROM people p JOIN payroll y USING (id)", "description": "wages"},
            "teams": {"query": "SELECT team, count(*) AS size FROM people GROUP BY team"},
        },
        "security_policies": {
            "payroll": {"allowed_roles": ["admins_only", "admin"]},
            "people": {
                "row_level_filters": {"admin": "", "analyst": "id < 40"},
                "field_policies": {
                    "iban": {"access_level": "restricted", "allowed_roles": ["admin"]},
                    "email": {"masking_enabled": True, "mask": "email", "allowed_roles": ["admin"]},
                },
            },
        },
    }  # fmt: skip
    with VirtualContext(config) as made_up:
        yield made_up


@pytest.fixture(scope="module")
def ana(root: VirtualContext) -> VirtualContext:
    """The analyst, after others were busy with what is closed to her."""
    for sql in (
        "SELECT sum(wages) FROM payroll",
        "SELECT iban FROM people",
        "SELECT * FROM paid",
        "SELECT * FROM teams",
    ):
        root.query(sql).rows()
    root.profile("payroll")
    assert root.plan("SELECT id FROM people").estimated_rows == 7351
    who = root.as_principal("ana", roles=["analyst"])
    who.query("SELECT t.size, p.email FROM people p JOIN teams t USING (team)").rows()
    return who


def telling(text: str) -> list[str]:
    return [word for word in HIDDEN if word in text.lower()]


def shown(value: Any) -> str:
    return str(DisplayFormatter().format(value)) + repr(value)


def panel(made: Any) -> str:
    """A panel as widget (what goes to the front end), as HTML and as text."""
    state = {
        name: value for name, value in made.get_state().items() if name not in ("_esm", "_css", "layout", "tabbable")
    }
    return made.to_html() + made.to_text() + repr(made) + json.dumps(state, default=str)


DOORS: dict[str, Callable[[VirtualContext], str]] = {
    "catalog panel": lambda ctx: panel(CatalogPanel(ctx.catalog(), ctx.catalog)),
    "catalog": lambda ctx: catalog_text(ctx.catalog()) + catalog_html(ctx.catalog()) + repr(ctx.catalog()),
    "snapshot": lambda ctx: f"{ctx.catalog().tables} {ctx.catalog().sources}",
    "lineage panel": lambda ctx: panel(LineageGraphPanel(ctx.lineage(), "people", 5)),
    "lineage": lambda ctx: lineage_text(ctx.lineage()) + lineage_html(ctx.lineage()) + repr(ctx.lineage()),
    "lineage of one": lambda ctx: repr(ctx.lineage("people")) + repr(ctx.lineage("teams")),
    "describe": lambda ctx: shown(show.described(ctx.describe("people"), "ana")) + repr(ctx.describe("teams")),
    "profile": lambda ctx: shown(ctx.profile("people")) + shown(ctx.profile("teams")),
    "statistics": lambda ctx: repr(ctx.statistics("people")) + repr(ctx.statistics("teams")),
    "plan": lambda ctx: panel(PlanView(ctx.plan("SELECT * FROM people JOIN teams USING (team)"))),
    "plan text": lambda ctx: plan_text(ctx.plan("SELECT * FROM teams")) + plan_html(ctx.plan("SELECT * FROM teams")),
    "dry run": lambda ctx: shown(show.dry_run(ctx.plan("SELECT id FROM people"), ctx.catalog())),
    "result": lambda ctx: shown(ctx.query("SELECT count(*) AS n, max(id) AS m FROM people")),
    "connected": lambda ctx: show.connected("default", ctx.catalog()) + repr(ctx),
    "audit": lambda ctx: shown(show.audit(ctx.audit_logs(), verbose=True)) + repr(ctx.audit_logs()),
    "registry": lambda ctx: repr([ctx.schema_registry.export_catalog(form) for form in ("dict", "json")]),
    "registry names": lambda ctx: f"{ctx.schema_registry.names()} {list(ctx.schema_registry)}",
    "registry statistics": lambda ctx: repr([ctx.schema_registry.get_table_statistics(n) for n in ("people", "teams")]),
    "registry lineage": lambda ctx: repr(ctx.schema_registry.get_lineage("people")),
    "monitor": lambda ctx: repr(ctx.monitor.statistics()) + repr(ctx.monitor.get_optimization_metrics()),
    "federation": lambda ctx: repr(FederationEngine(ctx).plan_query("people", limit=3)),
    "ibis names": lambda ctx: repr(ctx.ibis().list_tables()) + repr(ctx.ibis().list_databases()),
    "ibis schema": lambda ctx: repr(ctx.table("people").schema()) + repr(ctx.table("teams")),
    "readers": lambda ctx: repr(VirtualReaderFactory(ctx).create_reader("people").schema()),
}  # fmt: skip


# Doors through which nobody is shown any of these words.
QUIET = {"result", "federation", "connected"}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_names_what_is_closed(ana: VirtualContext, door: str) -> None:
    assert telling(DOORS[door](ana)) == []


@pytest.mark.parametrize(
    "door", [door for door in DOORS if door not in ("result", "federation", "connected", "readers")]
)
def test_these_words_are_there_for_whoever_may_see_them(root: VirtualContext, ana: VirtualContext, door: str) -> None:
    """Otherwise the test above would prove nothing: almost every door has something to hide."""
    assert ana.principal.name == "ana"
    assert telling(DOORS[door](root))


@pytest.mark.parametrize(
    "ask",
    [
        lambda ctx, name: ctx.query(f"SELECT * FROM {name}"),
        lambda ctx, name: ctx.describe(name),
        lambda ctx, name: ctx.profile(name),
        lambda ctx, name: ctx.lineage(name),
        lambda ctx, name: ctx.statistics(name),
        lambda ctx, name: ctx.table(name),
        lambda ctx, name: ctx.read_table(name),
        lambda ctx, name: ctx.schema_registry.resolve(name),
        lambda ctx, name: ctx.schema_registry.get_lineage(name),
        lambda ctx, name: VirtualReaderFactory(ctx).create_reader(name),
    ],
    ids=["query", "describe", "profile", "lineage", "statistics", "ibis", "read", "registry", "get_lineage", "reader"],
)
def test_a_misspelt_name_is_not_corrected_to_a_closed_one(
    root: VirtualContext, ana: VirtualContext, ask: Callable[[VirtualContext, str], Any]
) -> None:
    for wrong in ("payrol", "pay_roll", "paidd"):
        with pytest.raises(UnknownTable) as caught:
            ask(ana, wrong)
        assert telling(str(caught.value)) == []
        assert "`paid`" not in str(caught.value)
    with pytest.raises(UnknownTable, match="Did you mean `people`"):
        ask(ana, "peoplee")
    with pytest.raises(UnknownTable, match="Did you mean `payroll`"):
        ask(root, "payrol")


def test_a_misspelt_column_is_not_corrected_to_a_closed_one(ana: VirtualContext) -> None:
    for ask in (lambda: ana.query("SELECT ibann FROM people"), lambda: ana.profile("people", ["ibann"])):
        with pytest.raises(TauroError) as caught:
            ask()
        assert "iban`" not in str(caught.value)


def test_whoever_names_it_is_denied_and_recorded(ana: VirtualContext) -> None:
    before = len(ana.audit_logs(status="denied"))
    asks: list[Callable[[], Any]] = [
        lambda: ana.describe("payroll"), lambda: ana.profile("payroll"), lambda: ana.lineage("payroll"),
        lambda: ana.statistics("payroll"), lambda: ana.query("SELECT 1 FROM payroll"),
        lambda: ana.profile("people", ["iban"]), lambda: ana.describe("paid"),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(AccessDenied):
            ask()
    assert len(ana.audit_logs(status="denied")) == before + len(asks)
    assert ana.get_table("payroll") is None
    assert ana.schema_registry.get_table("payroll") is None


def test_the_registry_of_a_restricted_person_is_for_reading(ana: VirtualContext) -> None:
    registry = ana.schema_registry
    people = registry.resolve("people")
    assert (people.table_name, people.path, people.options, people.source_tables) == (None, None, {}, [])
    changes: list[Callable[[], Any]] = [
        lambda: registry.register_table(VirtualTable("mine", query="SELECT 1 AS a")),
        lambda: registry.update_table(people),
        lambda: registry.delete_table("people"),
        lambda: registry.add_lineage_edge("people", "mine"),
    ]
    for change in changes:
        with pytest.raises(AccessDenied, match="may not change the catalog"):
            change()


def test_the_names_may_be_listed_where_the_catalog_says_so(
    root: VirtualContext, ana: VirtualContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = root.layer.config
    monkeypatch.setattr(root.layer, "config", replace(config, security=replace(config.security, list_denied=True)))
    listed = {table.name: table for table in ana.catalog().tables}
    assert (listed["payroll"].access, listed["payroll"].columns, listed["payroll"].row_count) == ("denied", (), None)
    assert listed["paid"].access == "denied"
    assert {column.name: column.access for column in ana.describe("people").table.columns}["iban"] == "denied"
    assert "phys_" not in repr(ana.catalog().tables)
    assert "7351" not in repr(ana.catalog().tables)


@pytest.fixture
def cells(ana: VirtualContext) -> Iterator[Callable[[str], str]]:
    """Run a cell as the analyst; everything that is shown, or the error."""
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_ns={"catalog": ana})
    load(shell)

    def run(code: str) -> str:
        done = shell.run_cell(code, store_history=False, silent=True)
        error = done.error_in_exec or done.error_before_exec
        return str(error) if error is not None else shown(done.result)

    assert run("%vconnect catalog")
    run.complete = lambda text: _offered(shell, text)  # type: ignore[attr-defined]
    yield run
    unload(shell)


def _offered(shell: InteractiveShell, text: str) -> list[str]:
    with provisionalcompleter():
        return [found.text for found in shell.Completer.completions(text, len(text))]


@pytest.mark.parametrize(
    "code",
    [
        "%vcatalog", "%vcatalog pay", "%vdescribe people", "%vdescribe payrol", "%vprofile people",
        "%vprofile people ibann", "%vlineage", "%vlineage --queries", "%vlineage people --depth 9", "%vlineage payrol",
        "%vplan SELECT * FROM people",
        "%vquery SELECT * FROM teams", "%vquery -n SELECT email FROM people", "%vquery --explain SELECT * FROM people",
        "%vquery SELECT * FROM payrol", "%vaudit -v", "%vaudit --all", "%vconnect --list",
    ],
)  # fmt: skip
def test_no_magic_names_what_is_closed(cells: Callable[[str], str], code: str) -> None:
    typed = {word for word in HIDDEN if word in code}
    assert set(telling(cells(code))) <= typed


@pytest.mark.parametrize("typed", ["SELECT * FROM p", "SELECT ib", "SELECT * FROM people WHERE i", "SELECT * FROM va"])
def test_completion_offers_nothing_closed(cells: Any, typed: str) -> None:
    assert telling(" ".join(cells.complete(f"%%vquery\n{typed}"))) == []
    assert telling(" ".join(cells.complete("%vdescribe pa"))) == []


def test_ibis_has_no_handle_on_closed_tables(ana: VirtualContext) -> None:
    con: Backend = ana.ibis()
    assert con.list_tables() == ["people", "teams"]
    assert con.list_databases() == ["main"]
    with pytest.raises(AccessDenied):
        con.table("payroll")
