"""Lineage without a widget: script-free HTML around the picture, and a text tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tauro_nb.html import Html, details, el, style
from tauro_nb.text import one_line, plural
from tauro_nb.widgets.lineage_data import Direction, Graph, View, neighbours, view
from tauro_nb.widgets.lineage_svg import CSS, legend, svg

__all__ = ["lineage_html", "lineage_text", "view_html", "view_text"]

_LINES: Final = 300


def _title(shown: View) -> str:
    return f"Lineage of {one_line(shown.focus)}" if shown.focus is not None else "Lineage"


def _extent(shown: View) -> str:
    if len(shown.items) == shown.total:
        return plural(shown.total, "node")
    return f"{len(shown.items):,} of {plural(shown.total, 'node')}"


def _tree(shown: View, root: str, along: Mapping[str, list[str]], more: Mapping[str, int]) -> Iterator[str]:
    """Yield a tree's lines; a node met before is named, not expanded again."""
    words = {item.name: f"{one_line(item.label)} ({one_line(item.kind)})" for item in shown.items}
    met: set[str] = set()
    stack: list[tuple[str, str, str]] = [(root, "", "")]
    while stack:
        name, lead, below = stack.pop()
        again = name in met and bool(along.get(name))
        met.add(name)
        hidden = f"  +{more[name]} more" if more.get(name) else ""
        yield f"{lead}{words[name]}{'  (see above)' if again else hidden}"
        if not again:
            near = along.get(name, [])
            for index in range(len(near) - 1, -1, -1):
                last = index == len(near) - 1
                stack.append((near[index], below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))


def _sections(shown: View, direction: Direction) -> Iterator[tuple[str, list[str]]]:
    up, down = neighbours((source, target) for source, target, _ in shown.links)
    more_up = {item.name: item.more_up for item in shown.items}
    more_down = {item.name: item.more_down for item in shown.items}
    if shown.focus is not None:
        if direction != "downstream":
            yield "upstream", list(_tree(shown, shown.focus, up, more_up))
        if direction != "upstream":
            yield "downstream", list(_tree(shown, shown.focus, down, more_down))
        return
    met: set[str] = set()
    lines: list[str] = []
    names = [item.name for item in shown.items]
    for name in sorted(names, key=lambda name: (name in up, name)):
        # Roots first; what no root reaches is a cycle, shown from its first name.
        if name not in met:
            lines += _tree(shown, name, down, more_down)
            met |= _below(name, down)
    yield "downstream", lines


def _below(name: str, down: Mapping[str, list[str]]) -> set[str]:
    seen, todo = {name}, [name]
    while todo:
        fresh = [near for near in down.get(todo.pop(), ()) if near not in seen]
        seen.update(fresh)
        todo += fresh
    return seen


def view_text(shown: View, direction: Direction = "both") -> str:
    """Write a view as text trees."""
    parts = [f"{_title(shown)}: {_extent(shown)}"]
    for heading, lines in _sections(shown, direction):
        body = [f"… and {plural(len(lines) - _LINES, 'more line')}"] if len(lines) > _LINES else []
        parts.append("\n".join([heading, *lines[:_LINES], *body]))
    return "\n\n".join(parts)


def picture(shown: View, direction: Direction) -> Html:
    """The drawing and its legend, or a sentence when there is nothing to draw."""
    if not shown.items:
        return el("p", "No lineage is known yet: it grows with views and queries.", class_="t-dim")
    drawing = svg(shown, f"{_title(shown)}, {_extent(shown)}", view_text(shown, direction))
    return el("div", el("div", drawing, class_="t-scroll"), legend(shown))


def view_html(shown: View, direction: Direction = "both") -> str:
    """Write a view as HTML: picture, legend, text tree."""
    head = el(
        "div",
        el("p", _title(shown), class_="t-title"),
        el("span", _extent(shown), class_="t-dim"),
        class_="t-head",
    )
    tree = details("As text", el("pre", view_text(shown, direction))) if shown.items else None
    return str(el("div", style(), style(CSS), head, picture(shown, direction), tree, class_="tauro"))


def lineage_html(graph: Graph, focus: str | None = None, depth: int = 2, direction: Direction = "both") -> str:
    """Write lineage as HTML with an inline picture: no script, no ids.

    Parameters
    ----------
    graph
        The whole lineage.
    focus
        Whose lineage; None shows all of it while that is legible.
    depth
        Steps from the focus.
    direction
        `upstream`, `downstream` or `both`.
    """
    return view_html(view(graph, focus, depth, direction), direction)


def lineage_text(graph: Graph, focus: str | None = None, depth: int = 2, direction: Direction = "both") -> str:
    """Write lineage as text trees; the parameters are those of `lineage_html`."""
    return view_text(view(graph, focus, depth, direction), direction)
