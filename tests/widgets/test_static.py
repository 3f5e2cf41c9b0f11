"""The forms without a widget: golden, escaped, bounded, and free of widget libraries."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from tauro_nb import widgets
from tauro_nb.catalog.snapshot import CatalogSnapshot
from tauro_nb.errors import UnknownTable
from tauro_nb.query.plan import QueryPlan
from tauro_nb.widgets import catalog_html, catalog_text, lineage_html, lineage_text, plan_html, plan_text
from tauro_nb.widgets.lineage_data import view

Golden = Callable[[str, str], None]


def pretty(html: str) -> str:
    """One element a line, without the stylesheets, so that a change reads well."""
    return re.sub(
        r"(?=<(?!/)(?:div|details|table|tr|p|svg|g|pre|ol|li)\b)",
        "\n",
        re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL),
    )


def test_catalog(snapshot: CatalogSnapshot, golden: Golden) -> None:
    golden("catalog.txt", catalog_text(snapshot))
    golden("catalog.html", pretty(catalog_html(snapshot)))
    golden("catalog_search.txt", catalog_text(snapshot, "ordr"))


def test_lineage(graph: Any, golden: Golden) -> None:
    golden("lineage.txt", lineage_text(graph))
    golden("lineage.html", pretty(lineage_html(graph)))
    golden("lineage_focus.txt", lineage_text(graph, "order_totals", depth=1))
    golden("lineage_focus.html", pretty(lineage_html(graph, "ORDER_TOTALS", depth=1)))
    golden("lineage_upstream.txt", lineage_text(graph, "churn_by_country", depth=9, direction="upstream"))


def test_plan(plan: QueryPlan, golden: Golden) -> None:
    golden("plan.txt", plan_text(plan))
    golden("plan.html", pretty(plan_html(plan)))


class Audit(HTMLParser):
    """Everything that runs, loads, or differs from one time to the next."""

    VOID = frozenset({"br", "wbr", "hr", "input", "col"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "img", "object", "embed", "link", "meta"}:
            self.bad.append(tag)
        self.bad += [name for name, _ in attrs if name.startswith("on") or name in {"id", "href", "src", "style"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.bad.append(f"/{tag}")


@pytest.fixture(params=["catalog", "lineage", "plan"])
def forms(request: pytest.FixtureRequest) -> tuple[str, str, str, str]:
    """HTML and text of one panel: calm, then hostile."""
    name = request.param
    html, text = getattr(widgets, f"{name}_html"), getattr(widgets, f"{name}_text")
    fixture = {"catalog": "snapshot", "lineage": "graph", "plan": "plan"}[name]
    calm = request.getfixturevalue(fixture)
    wild = request.getfixturevalue(f"hostile_{fixture}")
    return html(calm), text(calm), html(wild), text(wild)


def test_html_is_well_formed_and_runs_nothing(forms: tuple[str, str, str, str]) -> None:
    for html in (forms[0], forms[2]):
        audit = Audit(html)
        assert (audit.bad, audit.open) == ([], [])


def test_text_has_no_controls(forms: tuple[str, str, str, str]) -> None:
    for text in forms:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    for text in (forms[1], forms[3]):
        assert not any(line != line.rstrip() for line in text.splitlines())


def test_hostile_names_can_be_read(forms: tuple[str, str, str, str], hostile: tuple[str, ...]) -> None:
    assert hostile[0] in forms[3]
    assert "user\\u202egnp.exe" in forms[3]
    assert "&lt;img src=x onerror=alert(1)&gt;" in forms[2]


def test_equal_input_gives_equal_output(graph: Any, plan: QueryPlan) -> None:
    mixed = SimpleNamespace(nodes=graph.nodes[::-1], edges=graph.edges[::-1] + graph.edges)
    assert lineage_html(mixed) == lineage_html(graph)
    later = copy.copy(plan)
    vars(later)["plan_ms"] = 99.0
    assert plan_html(later) == plan_html(plan)
    assert plan_text(later) == plan_text(plan)


def test_a_large_catalog_stays_small_on_paper(large_snapshot: CatalogSnapshot) -> None:
    html, text = catalog_html(large_snapshot), catalog_text(large_snapshot)
    assert len(html) < 50_000
    assert len(text) < 10_000
    assert "7 sources, 5,000 tables" in text
    assert "more tables" in html
    assert "schema_21_table_4321" in catalog_text(large_snapshot, "table_4321")


def test_a_large_graph_shows_its_busiest_node() -> None:
    nodes = tuple(SimpleNamespace(name=f"t{n}", kind="table", label="") for n in range(2_000))
    edges = [SimpleNamespace(upstream="t7", downstream=f"t{n}", kind="view") for n in range(500, 1_000)]
    edges += [SimpleNamespace(upstream=f"t{n}", downstream=f"t{n + 1}", kind="view") for n in range(6, 400)]
    graph = SimpleNamespace(nodes=nodes, edges=edges)
    shown = view(graph)
    assert (shown.focus, len(shown.items), shown.total) == ("t7", 60, 2_000)
    assert len(lineage_html(graph)) < 60_000
    assert "more downstream" in lineage_html(graph)


def test_an_unknown_focus_offers_the_nearest(graph: Any) -> None:
    with pytest.raises(UnknownTable, match="Did you mean `customers`"):
        lineage_html(graph, "custmers")


def test_empty_things_say_so() -> None:
    assert catalog_text(CatalogSnapshot("ana")) == "Catalog as ana: 0 sources, 0 tables"
    nothing = SimpleNamespace(nodes=(), edges=())
    assert "No lineage is known yet" in lineage_html(nothing)
    assert lineage_text(nothing).startswith("Lineage: 0 nodes")


def test_edges_to_nowhere_are_left_out() -> None:
    node = SimpleNamespace(name="a", kind="table", label="")
    edge = SimpleNamespace(upstream="gone", downstream="a", kind="view")
    assert view(SimpleNamespace(nodes=(node,), edges=(edge,))).links == ()


@pytest.mark.parametrize("names", ["", "catalog_html, lineage_html, plan_html, catalog_text, lineage_text, plan_text"])
def test_no_widget_library_is_imported(names: str) -> None:
    code = f"""
import sys, tauro_nb.widgets
{f"from tauro_nb.widgets import {names}" if names else ""}
print(sorted({{"anywidget", "ipywidgets", "plotly", "networkx", "traitlets"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_public_names_exist_and_no_others() -> None:
    assert sorted(widgets.__all__) == list(widgets.__all__)
    assert set(widgets.__all__) <= set(dir(widgets))
    for name in widgets.__all__:
        assert getattr(widgets, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = widgets.Nothing
