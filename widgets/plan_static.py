"""A query plan without a widget: script-free HTML; the plain text comes with the plan itself."""

from __future__ import annotations

from typing import Final

from tauro_nb.html import Html, badge, details, el, fragment, style
from tauro_nb.query.explain import ESTIMATED, key_text, kind_of, measured_facts, plan_facts, plan_text
from tauro_nb.query.measured import Measured, Traffic
from tauro_nb.query.plan import Fragment, QueryPlan, RuleFired, Step
from tauro_nb.text import count, milliseconds, plural, size, visible

__all__ = ["plan_html", "plan_text"]

CSS: Final = """
.tauro table.tp-grid td:first-child{white-space:nowrap}
.tauro .tp-branch{color:var(--t-dim);margin:0 6px 0 2px}
.tauro table.tp-grid td ul{margin:0;padding:0 0 0 14px}.tauro table.tp-grid td li{margin:0}
.tauro .tp-rules ol{margin:2px 0;padding-left:26px}
.tauro .tp-pair{display:grid;grid-template-columns:max-content 1fr;gap:0 10px}
.tauro .tp-pair>span{padding-top:12px;color:var(--t-dim);font-size:12px}
"""


def _cells(step: Html, kind: Html, rows: int | None, volume: int | None, where: Html) -> list[Html]:
    return [
        el("td", step),
        el("td", kind),
        el("td", count(rows, "—"), class_="t-num"),
        el("td", size(volume, "—"), class_="t-num"),
        el("td", where),
    ]


def _figures(found: Traffic | None) -> list[Html]:
    """Measured rows, bytes and milliseconds, beside the estimates."""
    texts = ("—",) * 3 if found is None else (count(found.rows), size(found.bytes), milliseconds(found.ms))
    return [el("td", text, class_="t-num") for text in texts]


def _answered(figures: Measured) -> list[Html]:
    ms = figures.residual_ms
    texts = (count(figures.rows), size(figures.bytes), "—" if ms is None else milliseconds(ms))
    return [el("td", text, class_="t-num") for text in texts]


def _residual_row(plan: QueryPlan) -> Html:
    where = el("span", "combines what arrives", class_="t-dim")
    how = badge("◆", "in the engine", "accent")
    cells = _cells(el("b", "residual"), how, plan.estimated_rows or None, plan.estimated_bytes or None, where)
    if plan.measured is not None:
        cells[-1:-1] = _answered(plan.measured)
    return el("tr", cells, aria_level=1, data_step="residual")


def _fragment_row(part: Fragment, figures: Measured | None, *, last: bool) -> Html:
    step = fragment(el("span", "└─" if last else "├─", class_="tp-branch", aria_hidden="true"), _step(part))
    how = badge(*kind_of(part), "ok" if part.kind == "query" else "")
    cells = _cells(step, how, part.estimated_rows, part.estimated_bytes, _why(part, figures))
    if figures is not None:
        cells[-1:-1] = _figures(figures.fragments.get(part.id))
    return el("tr", cells, aria_level=2, data_step=part.id)


def _step_row(step: Step, figures: Measured | None) -> Html:
    """What runs before the residual; it stays in the engine, so that nothing of it is counted."""
    tables = el("span", ", ".join(step.tables), class_="t-dim")
    name = fragment(el("span", "├─", class_="tp-branch", aria_hidden="true"), el("code", step.id), " ", tables)
    where = el("span", "its keys decide what sources are asked for", class_="t-dim")
    cells = _cells(name, badge("①", "runs first", "accent"), step.estimated_rows, None, where)
    if figures is not None:
        cells[-1:-1] = _figures(None)
    return el("tr", cells, aria_level=2, data_step=step.id)


def _grid(plan: QueryPlan) -> Html:
    rows = [_residual_row(plan), *(_step_row(step, plan.measured) for step in plan.steps)]
    rows += [_fragment_row(part, plan.measured, last=part is plan.fragments[-1]) for part in plan.fragments]
    estimates = ("est. rows", "est. bytes")
    figures = () if plan.measured is None else ("rows", "bytes", "time")
    headers = ("step", "how", *estimates, *figures, "predicates and reason")
    head = [el("th", text, scope="col", class_="t-num" if text in {*estimates, *figures} else None) for text in headers]
    grid = el("table", el("thead", el("tr", head)), el("tbody", rows), class_="t-table tp-grid")
    return el("div", grid, class_="t-scroll")


def _step(part: Fragment) -> Html:
    return fragment(
        el("code", part.id), " ", el("b", part.source), " ", el("span", ", ".join(part.tables), class_="t-dim")
    )


def _why(part: Fragment, figures: Measured | None) -> Html:
    where = [el("li", "rows: ", ESTIMATED[part.estimated_by])] if part.estimated_by in ESTIMATED else []
    where += [el("li", el("code", text)) for text in part.predicates]
    where += [el("li", "keys: ", key_text(key)) for key in part.keys]
    where += [el("li", _sent(key.target, figures.keys.get(key.mark))) for key in part.keys if figures is not None]
    return fragment(
        el("ul", where) if where else None, el("span", part.reason, class_="t-dim") if part.reason else None
    )


def _sent(target: str, number: int | None) -> str:
    return f"{target}: " + ("all rows were asked for" if number is None else f"{plural(number, 'key')} sent")


def _pushed(plan: QueryPlan) -> Html:
    by_source: dict[str, list[Fragment]] = {}
    for part in plan.fragments:
        by_source.setdefault(part.source, []).append(part)
    return fragment(
        [
            details(
                fragment("What ", el("b", source), " is asked: ", ", ".join(visible(part.id) for part in parts)),
                [el("pre", part.sql or "(nothing to show)", data_step=part.id) for part in parts],
                opened=len(by_source) <= 3,
                class_="tp-sql",
            )
            for source, parts in by_source.items()
        ]
    )


def _first(plan: QueryPlan) -> Html | None:
    if not plan.steps:
        return None
    texts = [el("pre", step.sql, data_step=step.id) for step in plan.steps]
    return details(fragment("What runs first: ", ", ".join(step.id for step in plan.steps)), texts, class_="tp-sql")


def _rule(rule: RuleFired) -> Html:
    pair = el(
        "div",
        el("span", "before"),
        el("pre", rule.before),
        el("span", "after"),
        el("pre", rule.after),
        class_="tp-pair",
    )
    return el("li", details(el("code", rule.name), pair))


def plan_html(plan: QueryPlan) -> str:
    """Write a plan as HTML: the steps, what each source is asked, and every rewrite. No script; times if measured.

    Parameters
    ----------
    plan
        A secured, placed query.
    """
    head = el(
        "div",
        el("p", "Plan", class_="t-title"),
        el("span", "as ", el("b", plan.principal), class_="t-dim"),
        el("span", " · ".join(plan_facts(plan)), class_="t-dim"),
        class_="t-head",
    )
    measured = plan.measured and el("p", "Measured: ", " · ".join(measured_facts(plan.measured)), class_="t-dim")
    rules = None
    if plan.rules:
        rules = details(
            f"Rewrites: {plural(len(plan.rules), 'rule')} fired", el("ol", map(_rule, plan.rules)), class_="tp-rules"
        )
    return str(
        el(
            "div", style(), style(CSS), head, measured, _grid(plan), _first(plan), _pushed(plan),
            details("What the engine does with it (residual)", el("pre", plan.residual_sql), class_="tp-sql"),
            rules, details("The query as written", el("pre", plan.sql), class_="tp-sql"),
            class_="tauro",
        )
    )  # fmt: skip
