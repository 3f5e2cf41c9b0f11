"""A query plan without a widget: script-free HTML and plain text for `--explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tauro_nb.html import Html, badge, details, el, fragment, style
from tauro_nb.query.plan import Fragment, QueryPlan, RuleFired
from tauro_nb.text import count, one_line, plural, size, visible

__all__ = ["plan_html", "plan_text"]

#: How the engine gets the rows of a fragment: glyph and words.
KINDS: Final = {"query": ("⇢", "SQL pushed down"), "relation": ("▤", "scanned"), "stream": ("≋", "streamed")}
CSS: Final = """
.tauro table.tp-grid td:first-child{white-space:nowrap}
.tauro .tp-branch{color:var(--t-dim);margin:0 6px 0 2px}
.tauro table.tp-grid td ul{margin:0;padding:0 0 0 14px}.tauro table.tp-grid td li{margin:0}
.tauro .tp-rules ol{margin:2px 0;padding-left:26px}
.tauro .tp-pair{display:grid;grid-template-columns:max-content 1fr;gap:0 10px}
.tauro .tp-pair>span{padding-top:12px;color:var(--t-dim);font-size:12px}
"""


def _known(number: int | None) -> int | None:
    # The plan's own totals are 0 when nothing was estimated.
    return number or None


def _facts(plan: QueryPlan) -> Iterator[str]:
    sources = len({part.source for part in plan.fragments})
    yield plural(sources, "source")
    yield plural(len(plan.fragments), "fragment")
    yield plan.execution_strategy.value
    rows, volume = _known(plan.estimated_rows), _known(plan.estimated_bytes)
    if rows is not None:
        yield f"about {plural(rows, 'row')}"
    if volume is not None:
        yield f"about {size(volume)}"
    if plan.fenced:
        yield "behind a policy barrier"


def _kind(part: Fragment) -> tuple[str, str]:
    return KINDS.get(part.kind, ("·", part.kind))


def _cells(step: Html, kind: Html, rows: int | None, volume: int | None, where: Html) -> list[Html]:
    return [
        el("td", step),
        el("td", kind),
        el("td", count(rows, "—"), class_="t-num"),
        el("td", size(volume, "—"), class_="t-num"),
        el("td", where),
    ]


def _residual_row(plan: QueryPlan) -> Html:
    where = el("span", "combines what arrives", class_="t-dim")
    how = badge("◆", "in the engine", "accent")
    cells = _cells(el("b", "residual"), how, _known(plan.estimated_rows), _known(plan.estimated_bytes), where)
    return el("tr", cells, aria_level=1, data_step="residual")


def _fragment_row(part: Fragment, *, last: bool) -> Html:
    step = fragment(el("span", "└─" if last else "├─", class_="tp-branch", aria_hidden="true"), _step(part))
    how = badge(*_kind(part), "ok" if part.kind == "query" else "")
    cells = _cells(step, how, part.estimated_rows, part.estimated_bytes, _why(part))
    return el("tr", cells, aria_level=2, data_step=part.id)


def _grid(plan: QueryPlan) -> Html:
    rows = [_residual_row(plan)]
    rows += [_fragment_row(part, last=part is plan.fragments[-1]) for part in plan.fragments]
    headers = ("step", "how", "est. rows", "est. bytes", "predicates and reason")
    head = [el("th", text, scope="col", class_="t-num" if text.startswith("est.") else None) for text in headers]
    grid = el("table", el("thead", el("tr", head)), el("tbody", rows), class_="t-table tp-grid")
    return el("div", grid, class_="t-scroll")


def _step(part: Fragment) -> Html:
    return fragment(
        el("code", part.id), " ", el("b", part.source), " ", el("span", ", ".join(part.tables), class_="t-dim")
    )


def _why(part: Fragment) -> Html:
    where = [el("li", el("code", text)) for text in part.predicates]
    return fragment(
        el("ul", where) if where else None, el("span", part.reason, class_="t-dim") if part.reason else None
    )


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
    """Write a plan as HTML: the steps, what each source is asked, and every rewrite. No script, no times.

    Parameters
    ----------
    plan
        A secured, placed query.
    """
    head = el(
        "div",
        el("p", "Plan", class_="t-title"),
        el("span", "as ", el("b", plan.principal), class_="t-dim"),
        el("span", " · ".join(_facts(plan)), class_="t-dim"),
        class_="t-head",
    )
    rules = None
    if plan.rules:
        rules = details(
            f"Rewrites: {plural(len(plan.rules), 'rule')} fired", el("ol", map(_rule, plan.rules)), class_="tp-rules"
        )
    return str(
        el(
            "div", style(), style(CSS), head, _grid(plan), _pushed(plan),
            details("What the engine does with it (residual)", el("pre", plan.residual_sql), class_="tp-sql"),
            rules, details("The query as written", el("pre", plan.sql), class_="tp-sql"),
            class_="tauro",
        )
    )  # fmt: skip


def _block(text: str, lead: str) -> list[str]:
    return [(lead + line).rstrip() for line in visible(text).splitlines()]


def _fragment_lines(part: Fragment, *, last: bool) -> list[str]:
    tables = ", ".join(map(one_line, part.tables))
    estimate = f"~{count(part.estimated_rows, '?')} rows, {size(part.estimated_bytes, '? bytes')}"
    below = "   " if last else "│  "
    head = "  ".join((one_line(part.id), one_line(part.source), _kind(part)[1], f"({tables})", estimate))
    out = [f"{'└─' if last else '├─'} {head}"]
    out += [f"{below}where  {one_line(text)}" for text in part.predicates]
    out += [f"{below}why    {one_line(part.reason)}"] if part.reason else []
    sql = _block(part.sql, "")
    out += [f"{below}{'      ' if index else 'asked '} {line}".rstrip() for index, line in enumerate(sql)]
    return out


def plan_text(plan: QueryPlan) -> str:
    """Write a plan as plain text; the times are left out, so equal plans give equal text.

    Parameters
    ----------
    plan
        A secured, placed query.
    """
    last = len(plan.fragments) - 1
    lines = [f"Plan as {one_line(plan.principal)}: {', '.join(_facts(plan))}", "", "residual  in the engine"]
    lines += _block(plan.residual_sql, "│  " if plan.fragments else "   ")
    for index, part in enumerate(plan.fragments):
        lines += _fragment_lines(part, last=index == last)
    if plan.rules:
        lines += ["", "rewrites"]
        for number, rule in enumerate(plan.rules, start=1):
            lines.append(f"{number:>3}. {one_line(rule.name)}")
            lines.append(f"     - {one_line(rule.before)}")
            lines.append(f"     + {one_line(rule.after)}")
    return "\n".join(lines)
