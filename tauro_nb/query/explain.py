"""A plan in plain text: what `print(plan)` and `%vplan` show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tauro_nb.query.plan import ASKED, SEEN
from tauro_nb.text import count, milliseconds, one_line, plural, size, visible

if TYPE_CHECKING:
    from tauro_nb.query.measured import Measured
    from tauro_nb.query.plan import Fragment, KeyFilter, QueryPlan, Step

__all__ = ["ESTIMATED", "KINDS", "key_text", "kind_of", "measured_facts", "plan_facts", "plan_text", "sql_lines"]

#: How the engine gets the rows of a fragment: glyph and words.
KINDS: Final = {"query": ("⇢", "SQL pushed down"), "relation": ("▤", "scanned"), "stream": ("≋", "streamed")}

#: What a fragment's estimate rests on, where that is not the usual statistics.
ESTIMATED: Final = {SEEN: "as many as an earlier run had", ASKED: "as the source's planner expects"}


def _known(number: int | None) -> int | None:
    # The plan's own totals are 0 when nothing was estimated.
    return number or None


def plan_facts(plan: QueryPlan) -> Iterator[str]:
    """What a plan is in a few words each."""
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


def measured_facts(figures: Measured) -> Iterator[str]:
    """What a run was in a few words each."""
    yield plural(figures.rows, "row")
    yield size(figures.bytes)
    yield f"planned in {milliseconds(figures.plan_ms)}"
    yield f"ran in {milliseconds(figures.run_ms)}"
    if figures.residual_ms is not None:
        yield f"{milliseconds(figures.residual_ms)} of it not waiting for sources"
    if figures.withheld:
        yield "figures of parts are withheld: a policy stands on a table"


def _measured_lines(part: Fragment, figures: Measured, below: str) -> list[str]:
    found = figures.fragments.get(part.id)
    if found is None:
        return [] if figures.withheld else [f"{below}got    not counted: the engine scans it"]
    sent = [
        f"{below}sent   {'no keys: all rows were asked for' if number is None else plural(number, 'key')}"
        for number in (figures.keys.get(key.mark) for key in part.keys)
    ]
    return [*sent, f"{below}got    {plural(found.rows, 'row')}, {size(found.bytes)} in {milliseconds(found.ms)}"]


def kind_of(part: Fragment) -> tuple[str, str]:
    """Glyph and words for how a fragment is read."""
    return KINDS.get(part.kind, ("·", part.kind))


def key_text(key: KeyFilter) -> str:
    """What is sent to a source before it answers."""
    about = "" if key.estimated_keys is None else f", about {count(key.estimated_keys)}"
    return f"{key.target} in the {key.column} of {key.step} ({', '.join(key.tables)}){about}; up to {count(key.most)}"


def _step_lines(step: Step) -> list[str]:
    first, *rest = sql_lines(step.sql, "") or [""]
    head = f"├─ {one_line(step.id)}  runs first  ({', '.join(map(one_line, step.tables))})"
    return [
        f"{head}  ~{count(step.estimated_rows, '?')} rows",
        f"│  runs   {first}",
        *(f"│         {line}" for line in rest),
    ]


def sql_lines(text: str, lead: str) -> list[str]:
    """SQL line by line, after `lead`."""
    return [(lead + line).rstrip() for line in visible(text).splitlines()]


def _fragment_lines(part: Fragment, figures: Measured | None, *, last: bool) -> list[str]:
    tables = ", ".join(map(one_line, part.tables))
    estimate = f"~{count(part.estimated_rows, '?')} rows, {size(part.estimated_bytes, '? bytes')}"
    below = "   " if last else "│  "
    head = "  ".join((one_line(part.id), one_line(part.source), kind_of(part)[1], f"({tables})", estimate))
    out = [f"{'└─' if last else '├─'} {head}"]
    out += [f"{below}rows   {ESTIMATED[part.estimated_by]}"] if part.estimated_by in ESTIMATED else []
    out += [f"{below}where  {one_line(text)}" for text in part.predicates]
    out += [f"{below}keys   {one_line(key_text(key))}" for key in part.keys]
    out += [f"{below}why    {one_line(part.reason)}"] if part.reason else []
    out += [] if figures is None else _measured_lines(part, figures, below)
    sql = sql_lines(part.sql, "")
    out += [f"{below}{'      ' if index else 'asked '} {line}".rstrip() for index, line in enumerate(sql)]
    return out


def _rewrite(sign: str, text: str) -> list[str]:
    """One side of a rewrite: a line, or as many as it was laid out in."""
    first, *rest = sql_lines(text, "") or [""]
    return [f"     {sign} {first}", *(f"       {line}" for line in rest)]


def plan_text(plan: QueryPlan) -> str:
    """Write a plan as plain text; without times, unless it was measured, so that equal plans give equal text.

    Parameters
    ----------
    plan
        A secured, placed query.
    """
    last = len(plan.fragments) - 1
    lines = [f"Plan as {one_line(plan.principal)}: {', '.join(plan_facts(plan))}"]
    if plan.measured is not None:
        lines.append(f"Measured: {', '.join(measured_facts(plan.measured))}")
    lines += ["", "residual  in the engine"]
    lines += sql_lines(plan.residual_sql, "│  " if plan.fragments else "   ")
    for step in plan.steps:
        lines += _step_lines(step)
    for index, part in enumerate(plan.fragments):
        lines += _fragment_lines(part, plan.measured, last=index == last)
    if plan.rules:
        lines += ["", "rewrites"]
        for number, rule in enumerate(plan.rules, start=1):
            lines.append(f"{number:>3}. {one_line(rule.name)}")
            lines += _rewrite("-", rule.before)
            lines += _rewrite("+", rule.after)
    return "\n".join(lines)
