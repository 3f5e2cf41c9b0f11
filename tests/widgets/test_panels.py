"""The panels without a browser: traits, messages, bundles."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import traitlets

from tauro_nb.catalog.snapshot import CatalogSnapshot, SourceSnapshot
from tauro_nb.errors import UnknownTable
from tauro_nb.query.plan import QueryPlan
from tauro_nb.widgets import CatalogPanel, LineageGraphPanel, PlanView
from tauro_nb.widgets.panel import Panel, script


@pytest.fixture(params=["catalog", "lineage", "plan"])
def build(request: pytest.FixtureRequest) -> Callable[[], Panel]:
    made: dict[str, Callable[[], Panel]] = {
        "catalog": lambda: CatalogPanel(request.getfixturevalue("snapshot")),
        "lineage": lambda: LineageGraphPanel(request.getfixturevalue("graph"), "order_totals"),
        "plan": lambda: PlanView(request.getfixturevalue("plan")),
    }
    return made[request.param]


def test_a_bundle_holds_three_forms(build: Callable[[], Panel]) -> None:
    panel = build()
    data, _ = panel._repr_mimebundle_(include=None, exclude=None)
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert (data["text/html"], data["text/plain"]) == (panel.to_html(), panel.to_text())


def test_two_panels_of_one_thing_look_the_same(build: Callable[[], Panel]) -> None:
    one, two = build(), build()
    assert repr(one) == repr(two)
    assert (one.to_html(), one.to_text()) == (two.to_html(), two.to_text())
    assert " at 0x" not in repr(one)


def test_a_saved_notebook_stays_small(build: Callable[[], Panel]) -> None:
    panel = build()
    assert len(json.dumps(panel.get_state(), default=str)) < 50_000


@pytest.mark.parametrize("name", ["catalog.js", "lineage.js", "plan.js"])
def test_a_module_is_small_and_loads_nothing(name: str) -> None:
    code = script(name)
    assert len(code) < 20_000
    assert not any(word in code for word in ("import ", "http://", "https://", "eval(", "fetch("))


def custom(panel: Panel, **content: Any) -> None:
    """Send what the front end sends."""
    panel._handle_custom_msg(content, [])


def test_the_large_catalog_is_cheap(large_snapshot: CatalogSnapshot, lines: list[Any]) -> None:
    panel = CatalogPanel(large_snapshot)
    for place in range(100):
        custom(panel, kind="details", table=place * 50)
    panel.search("table_4321")
    panel.selected = "schema_21_table_4321"
    _layout, line = lines
    assert len(line.sent) <= 200
    assert len(json.dumps(line.sent[0], default=str)) < 400_000
    details = [message["data"]["content"] for message in line.sent if message["data"].get("method") == "custom"]
    assert [answer["table"] for answer in details] == [place * 50 for place in range(100)]
    assert len(details[0]["details"]["columns"]) == 20


def test_a_small_catalog_needs_no_second_message(snapshot: CatalogSnapshot, lines: list[Any]) -> None:
    panel = CatalogPanel(snapshot)
    assert len(lines[-1].sent) == 1
    names = [table[0] for table in panel._data["tables"]]
    assert names == ["customers", "salaries", "orders", "order_totals", "events"]
    assert panel._data["details"][0]["columns"][2] == ["email", "VARCHAR", "masked", "email", ""]
    assert panel._data["tables"][0][2] == [
        ["▽", "rows filtered", "warn"],
        ["◐", "2 masked", "warn"],
        ["⊘", "1 denied", "bad"],
    ]


@pytest.mark.parametrize("place", [-1, 5, None, "0", 1.5])
def test_a_place_that_is_none_gets_no_answer(place: object, snapshot: CatalogSnapshot, lines: list[Any]) -> None:
    custom(CatalogPanel(snapshot), kind="details", table=place)
    assert len(lines[-1].sent) == 1


def test_search_ranks_tables_then_columns(snapshot: CatalogSnapshot) -> None:
    panel = CatalogPanel(snapshot)
    assert panel.search("ord") == ["orders", "order_totals", "orders.order_id"]
    assert panel.query == "ord"
    assert panel.search("cstm") == ["customers"]
    assert panel.search("EMAIL") == ["customers.email"]
    assert panel.search("gold bought") == ["customers"]
    assert panel.search("  ") == []
    assert panel.search("zzz") == []


def test_a_search_narrows_the_other_forms(snapshot: CatalogSnapshot) -> None:
    panel = CatalogPanel(snapshot)
    panel.search("email")
    assert "1 of 5 tables match “email”" in panel.to_text()
    assert "orders" not in panel.to_text()


def test_selected_can_be_observed(snapshot: CatalogSnapshot) -> None:
    panel, seen = CatalogPanel(snapshot), []
    panel.observe(lambda change: seen.append(change["new"]), "selected")
    panel.set_state({"selected": "customers.email"})
    assert seen == ["customers.email"]


def test_refresh_replaces_the_catalog_and_drops_what_is_gone(snapshot: CatalogSnapshot) -> None:
    newer = CatalogSnapshot("ana", snapshot.tables[:1], snapshot.sources)
    panel = CatalogPanel(snapshot, lambda: newer)
    panel.selected = "customers.email"
    custom(panel, kind="refresh")
    assert (panel.snapshot, panel.selected) == (newer, "customers.email")
    panel.selected = "orders"
    panel.refresh()
    assert panel.selected == ""
    assert repr(panel) == "<CatalogPanel as ana: 3 sources, 1 table>"


def test_a_failed_refresh_keeps_the_catalog_and_says_why(snapshot: CatalogSnapshot) -> None:
    def fail() -> CatalogSnapshot:
        msg = "crm cannot be\nreached"
        raise ConnectionError(msg)

    panel = CatalogPanel(snapshot, fail)
    custom(panel, kind="refresh")
    assert (panel.snapshot, panel._notice) == (snapshot, "Not refreshed: crm cannot be reached")
    with pytest.raises(ConnectionError):
        panel.refresh()


def test_without_a_refresh_nothing_happens(snapshot: CatalogSnapshot) -> None:
    panel = CatalogPanel(snapshot)
    custom(panel, kind="refresh")
    assert (panel.snapshot, panel._refreshable) == (snapshot, False)


def test_hostile_names_travel_visibly(hostile_snapshot: CatalogSnapshot) -> None:
    sent = json.dumps(CatalogPanel(hostile_snapshot)._data, ensure_ascii=False)
    assert "\u202e" not in sent
    assert CatalogPanel(CatalogSnapshot("a\u202eb", (), (SourceSnapshot("s", "t"),)))._data["principal"] == "a\\u202eb"


def test_a_click_moves_the_focus_in_one_message(graph: Any, lines: list[Any]) -> None:
    panel = LineageGraphPanel(graph, "order_totals", depth=1)
    before = len(lines[-1].sent)
    place = panel._names.index("customers")
    custom(panel, kind="node", node=place)
    assert panel.focus == "customers"
    assert "active_customers" in panel._names
    assert len(lines[-1].sent) - before <= 2


def test_focus_is_case_insensitive_and_checked(graph: Any) -> None:
    panel = LineageGraphPanel(graph)
    panel.focus = "CUSTOMERS"
    assert panel.focus == "customers"
    with pytest.raises(UnknownTable, match="Did you mean `customers`"):
        panel.focus = "custmers"
    custom(panel, kind="focus", name="custmers")
    assert "Did you mean `customers`" in panel._notice
    assert panel.focus == "customers"
    custom(panel, kind="focus", name=None)
    assert (panel.focus, panel._notice, len(panel._names)) == (None, "", 12)


def test_a_forged_focus_leaves_the_panel_as_it_was(graph: Any) -> None:
    panel = LineageGraphPanel(graph, "orders")
    panel.set_state({"focus": "nothing", "depth": 1})
    assert (panel.focus, panel.depth, "No lineage is known of `nothing`" in panel._notice) == ("orders", 1, True)
    assert "orders" in panel.to_text()
    panel.set_state({"focus": "CUSTOMERS"})
    assert (panel.focus, panel._notice) == ("customers", "")


@pytest.mark.parametrize(
    "content", [{}, {"kind": "node", "node": 99}, {"kind": "node", "node": "x"}, {"kind": "other"}]
)
def test_messages_that_mean_nothing_do_nothing(content: dict[str, Any], graph: Any) -> None:
    panel = LineageGraphPanel(graph, "orders")
    custom(panel, **content)
    assert panel.focus == "orders"


def test_depth_and_direction_redraw(graph: Any) -> None:
    panel = LineageGraphPanel(graph, "churn_by_country", depth=1)
    near = set(panel._names)
    panel.depth = 3
    assert near < set(panel._names)
    panel.direction = "downstream"
    assert set(panel._names) == {"churn_by_country", "q:8f1c"}
    assert "upstream" not in panel.to_text()
    with pytest.raises(traitlets.TraitError):
        panel.direction = "sideways"
    with pytest.raises(traitlets.TraitError):
        panel.depth = -1


def test_networkx_holds_the_whole_graph(graph: Any) -> None:
    held = LineageGraphPanel(graph, "orders", depth=1).to_networkx()
    assert (held.number_of_nodes(), held.number_of_edges()) == (12, 13)
    assert held.nodes["q:8f1c"] == {"kind": "query", "label": "query 8f1c"}
    assert held.edges["orders", "order_totals"]["kinds"] == ("view",)


def test_the_figure_draws_each_kind_once(graph: Any, hostile_graph: Any) -> None:
    drawn = LineageGraphPanel(graph, "orders", depth=2).figure()
    assert [trace.name for trace in drawn.data] == ["declared", "query", "view", "query", "source", "table", "view"]
    assert len({trace.marker.symbol for trace in drawn.data if trace.mode == "markers+text"}) == 4
    assert drawn.layout.paper_bgcolor == drawn.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert "<img" not in LineageGraphPanel(hostile_graph).figure().to_json()


def test_a_plan_remembers_what_is_selected(plan: QueryPlan) -> None:
    panel = PlanView(plan)
    panel.set_state({"selected": "f1"})
    assert (panel.selected, panel.plan) == ("f1", plan)
    assert repr(panel) == "<PlanView as ana: 3 fragments, 3 sources>"
