"""The panels in Chromium: keys, roles, messages, both themes. Python is at the other end of every message.

`TAURO_SCREENSHOTS=folder` keeps pictures for people to look at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tauro_nb.catalog.snapshot import CatalogSnapshot
from tauro_nb.query.plan import QueryPlan
from tauro_nb.widgets import CatalogPanel, LineageGraphPanel, PlanView
from tauro_nb.widgets.catalog_data import is_subsequence
from tauro_nb.widgets.panel import Panel

pytestmark = pytest.mark.ui

HARNESS = (Path(__file__).parent / "harness.html").as_uri()
THEMES = Path(sys.prefix) / "share/jupyter/lab/themes/@jupyterlab"
SYNCED = ("selected", "query", "focus", "depth", "direction")

# The lowest contrast between a text and what is really behind it, over every visible text of the page.
CONTRAST = """() => {
  const rgb = (text) => {
    const parts = (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    return text.startsWith("color(") ? [...parts.slice(0, 3).map((v) => v * 255), ...parts.slice(3)] : parts;
  };
  const linear = (v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const lum = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  const root = getComputedStyle(document.body).backgroundColor;
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const el = node.parentElement;
    if (!node.data.trim() || !el.checkVisibility()) continue;
    if (["STYLE", "SCRIPT", "title", "desc", "OPTION"].includes(el.tagName)) continue;
    const chain = [];
    for (let at = el; at; at = at.parentElement) chain.unshift(rgb(getComputedStyle(at).backgroundColor));
    const back = chain.reduce((under, color) => over(color, under), rgb(root).slice(0, 3));
    const style = getComputedStyle(el), ink = over(rgb(el.closest("svg") ? style.fill : style.color), back);
    const [a, b] = [lum(ink), lum(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    const floor = el.tagName === "I" || el.closest("button:disabled") ? ratio * 1.5 : ratio;
    if (floor < worst[0]) worst = [floor, `${node.data.trim()} ${style.color} ${style.fill} on ${back}`];
  }
  return worst;
}"""


class Live:
    """One panel in one page."""

    def __init__(self, page: Any, panel: Panel) -> None:
        self.page, self.panel = page, panel
        self.answers: list[Any] = []
        state = {name: value for name, value in panel.get_state().items() if name in SYNCED or name[0] == "_"}
        code, css = state.pop("_esm"), state.pop("_css")
        page.evaluate("([code, css, state]) => mount(code, css, state)", [code, css, state])
        panel.send = lambda content, **_: self.answers.append(content)  # type: ignore[method-assign]

    def pump(self) -> list[Any]:
        """Wait for debounced messages, let Python answer, and bring the answers to the page."""
        self.page.wait_for_timeout(330)
        messages: list[Any] = self.page.evaluate("sent.splice(0)")
        for message in messages:
            if "state" in message:
                self.panel.set_state(message["state"])
            else:
                self.panel._handle_custom_msg(message["custom"], [])
        state = self.panel.get_state()
        news = {name: state[name] for name in (*SYNCED, "_data", "_picture", "_names", "_notice") if name in state}
        self.page.evaluate("receive", news)
        for answer in self.answers:
            self.page.evaluate("hear", answer)
        self.answers.clear()
        return messages

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def active(self) -> str:
        """The accessible name of the active tree item."""
        name: str = self.page.evaluate(
            "document.getElementById(document.querySelector('[role=tree]').getAttribute('aria-activedescendant')).ariaLabel"
        )
        return name


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on any error, dialog or request."""
    tab = browser.new_page(viewport={"width": 980, "height": 1150})
    trouble: list[str] = []
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    tab.on("dialog", lambda dialog: (trouble.append("dialog"), dialog.dismiss()))
    tab.on(
        "request", lambda request: None if request.url.startswith(("file:", "blob:")) else trouble.append(request.url)
    )
    tab.goto(HARNESS)
    yield tab
    tab.close()
    assert trouble == []


@pytest.fixture
def panels(snapshot: CatalogSnapshot, graph: Any, plan: QueryPlan) -> dict[str, Callable[[], Panel]]:
    return {
        "catalog": lambda: CatalogPanel(snapshot, lambda: snapshot),
        "lineage": lambda: LineageGraphPanel(graph, "order_totals", 2),
        "plan": lambda: PlanView(plan),
    }


def test_the_tree_answers_to_every_key_of_the_pattern(page: Any, snapshot: CatalogSnapshot) -> None:
    live = Live(page, CatalogPanel(snapshot))
    page.get_by_role("tree").focus()
    assert live.active == "crm, postgresql, connected, 2 tables"
    live.press("ArrowDown")
    assert live.active == "customers, rows filtered, 2 masked, 1 denied"
    live.press("ArrowRight", "ArrowRight")
    assert live.active == "id, BIGINT"
    live.press("e")
    assert live.active == "email, VARCHAR, masked, email"
    live.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert live.active == "crm, postgresql, connected, 2 tables"
    live.press("ArrowLeft", "End")
    assert live.active == "events"
    live.press("Home", "*")
    assert page.get_by_role("treeitem", expanded=True).count() == 4
    live.press("ArrowDown", "Enter")
    item = page.get_by_role("treeitem", name="ssn, VARCHAR, denied")
    attributes = ("aria-level", "aria-posinset", "aria-setsize")
    assert [item.get_attribute(name) for name in attributes] == ["3", "5", "6"]
    assert page.get_by_role("treeitem", selected=True).count() == 1


def test_what_is_selected_reaches_python_and_comes_from_it(page: Any, snapshot: CatalogSnapshot) -> None:
    panel = CatalogPanel(snapshot)
    live = Live(page, panel)
    page.get_by_role("treeitem", name="customers").click()
    live.pump()
    assert panel.selected == "customers"
    details = page.get_by_role("region", name="Details").inner_text()
    assert all(words in details for words in ("rows filtered", "masked: email", "about 1,234", "Everyone who"))
    panel.selected = "customers.ssn"
    live.pump()
    assert live.active == "ssn, VARCHAR, denied"
    assert "denied" in page.get_by_role("region", name="Details").inner_text()
    panel.selected = "salaries"
    live.pump()
    assert "allows the roles" in page.get_by_role("region", name="Details").inner_text()


def test_slash_searches_and_escape_ends_it(page: Any, snapshot: CatalogSnapshot) -> None:
    panel = CatalogPanel(snapshot)
    live = Live(page, panel)
    page.get_by_role("tree").focus()
    live.press("/")
    page.keyboard.type("mail")
    assert page.get_by_role("status").inner_text() == "1 of 5 tables match"
    assert page.get_by_role("treeitem").all_inner_texts()[-1].split()[0] == "email"
    live.pump()
    assert panel.query == "mail"
    live.press("ArrowDown")
    assert live.active.startswith("customers")
    live.press("/", "Escape")
    assert page.get_by_role("status").inner_text() == "4 sources, 5 tables"
    live.pump()
    panel.search("ordr")
    live.pump()
    assert page.get_by_role("searchbox").input_value() == "ordr"
    assert page.get_by_role("status").inner_text() == "2 of 5 tables match"


@pytest.mark.parametrize("name", ["catalog", "lineage", "plan"])
def test_no_key_leaves_a_panel(name: str, page: Any, panels: dict[str, Callable[[], Panel]]) -> None:
    """In JupyterLab's command mode `d d` deletes the cell."""
    live = Live(page, panels[name]())
    page.locator("[tabindex='0']").first.focus()
    live.press("d", "d", "a", "ArrowDown", "Enter", "x")
    assert page.evaluate("outer") == []
    assert page.locator("[data-lm-suppress-shortcuts=true]").count() == 1


@pytest.mark.parametrize("name", ["catalog", "lineage", "plan"])
def test_a_view_that_goes_stops_listening(name: str, page: Any, panels: dict[str, Callable[[], Panel]]) -> None:
    Live(page, panels[name]())
    assert page.evaluate("listening()") > 0
    page.evaluate("leave()")
    assert page.evaluate("listening()") == 0


def test_five_thousand_tables_are_a_few_dozen_rows(page: Any, large_snapshot: CatalogSnapshot) -> None:
    live = Live(page, CatalogPanel(large_snapshot))
    assert page.get_by_role("treeitem").count() < 60
    page.get_by_role("tree").focus()
    live.press("End")
    assert page.get_by_role("treeitem", selected=True).count() == 1
    page.get_by_role("searchbox").fill("tbl_4321")
    assert page.get_by_role("status").inner_text() == "1 of 5,000 tables match"
    live.press("ArrowDown", "Enter")
    sent = live.pump()
    assert [message["custom"]["kind"] for message in sent if "custom" in message] == ["details", "details"]
    assert "column_19" in page.get_by_role("region", name="Details").inner_text()
    assert page.get_by_role("treeitem").count() < 60


def test_the_page_matches_as_python_does(page: Any, snapshot: CatalogSnapshot) -> None:
    Live(page, CatalogPanel(snapshot))
    pairs = [
        ("cst", "customers"),
        ("", "x"),
        ("aa", "a"),
        ("aba", "abba"),
        ("sr", "customers"),
        ("s_t", "schema_table"),
    ]
    assert page.evaluate("pairs => pairs.map(([a, b]) => module.subsequence(a, b))", pairs) == [
        is_subsequence(*pair) for pair in pairs
    ]


def test_a_failed_refresh_is_announced(page: Any, snapshot: CatalogSnapshot) -> None:
    def fail() -> CatalogSnapshot:
        msg = "crm is down"
        raise ConnectionError(msg)

    live = Live(page, CatalogPanel(snapshot, fail))
    page.get_by_role("button", name="Refresh").click()
    live.pump()
    assert page.get_by_role("alert").inner_text() == "Not refreshed: crm is down"


def test_a_click_refocuses_and_back_returns(page: Any, graph: Any) -> None:
    panel = LineageGraphPanel(graph, "order_totals", 1)
    live = Live(page, panel)
    page.get_by_role("button", name="customers (table)").click()
    live.pump()
    assert panel.focus == "customers"
    assert page.get_by_text("Lineage of customers").count() >= 1
    page.get_by_role("button", name="Back").click()
    live.pump()
    assert panel.focus == "order_totals"
    page.get_by_role("button", name="order_totals (view), in focus").focus()
    live.press("ArrowLeft", "Enter")
    live.pump()
    assert panel.focus in {"customers", "orders"}
    page.get_by_role("searchbox").fill("custmers")
    live.press("Enter")
    live.pump()
    assert "Did you mean" in page.get_by_role("alert").inner_text()
    page.get_by_label("Direction").select_option("upstream")
    page.get_by_role("button", name="Overview").click()
    live.pump()
    assert (panel.focus, panel.direction) == (None, "upstream")


def test_the_plan_is_a_tree_grid(page: Any, plan: QueryPlan) -> None:
    panel = PlanView(plan)
    live = Live(page, panel)
    page.locator("[role=treegrid] tr[tabindex='0']").focus()
    live.press("ArrowDown", "ArrowDown")
    live.pump()
    assert panel.selected == "f1"
    assert page.locator("pre.tp-on").inner_text().startswith("SELECT customer_id")
    live.press("ArrowLeft", "ArrowLeft")
    assert page.locator("[role=treegrid] tbody tr:visible").count() == 1
    live.pump()
    panel.selected = "f0"
    live.pump()
    assert page.locator("tr[aria-selected=true]").get_attribute("data-step") == "f0"


def test_hostile_names_stay_text(
    page: Any, hostile_snapshot: CatalogSnapshot, hostile_graph: Any, hostile_plan: QueryPlan
) -> None:
    """A dialog, an error or a request fails the page; an element that came from a name fails here."""
    for panel in (CatalogPanel(hostile_snapshot), LineageGraphPanel(hostile_graph), PlanView(hostile_plan)):
        live = Live(page, panel)
        page.evaluate("html => { document.getElementById('static').innerHTML = html; }", panel.to_html())
        if isinstance(panel, CatalogPanel):
            for _ in range(6):
                live.press("Tab")
            page.get_by_role("tree").focus()
            for row in range(12):
                live.press("ArrowDown", *(["Enter"] if row % 3 == 0 else []))
        live.pump()
        assert page.locator("#live :is(script, img, [onerror], [onload]), #static :is(script, img)").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark", "bare-light", "bare-dark"])
@pytest.mark.parametrize("name", ["catalog", "lineage", "plan"])
def test_every_text_is_legible(name: str, theme: str, page: Any, panels: dict[str, Callable[[], Panel]]) -> None:
    """In JupyterLab's themes, and where there are no theme variables at all."""
    if theme.startswith("bare"):
        page.evaluate("scheme => { document.documentElement.style.colorScheme = scheme; }", theme.removeprefix("bare-"))
    else:
        css = (THEMES / f"theme-{theme}-extension" / "index.css").read_text(encoding="utf-8")
        page.add_style_tag(content=css)
    live = Live(page, panels[name]())
    if name == "catalog":
        page.get_by_role("treeitem", name="customers").dblclick()
    if name == "plan":
        page.locator("tr[data-step=f1]").click()
    live.pump()
    page.evaluate("html => { document.getElementById('static').innerHTML = html; }", live.panel.to_html())
    page.evaluate("document.querySelectorAll('#static details').forEach((part, at) => { part.open ||= at < 3; })")
    if folder := os.environ.get("TAURO_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}-{theme}.png", full_page=True)
    assert "[object" not in page.locator("#live").inner_text()
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where


def test_a_narrow_cell_stacks_the_catalog(page: Any, snapshot: CatalogSnapshot) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    Live(page, CatalogPanel(snapshot))
    tree, details = page.get_by_role("tree").bounding_box(), page.get_by_role("region", name="Details").bounding_box()
    assert details["y"] >= tree["y"] + tree["height"] - 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
