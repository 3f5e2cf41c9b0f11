"""A lineage view as one inline SVG: shape and dash carry the kind, colour only repeats it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from tauro_nb.html import Html, el, fragment
from tauro_nb.text import clip, one_line, width
from tauro_nb.widgets.layout import Point, layered
from tauro_nb.widgets.lineage_data import Item, View

__all__ = ["CSS", "legend", "svg"]

_HEIGHT: Final = 42
_PITCH: Final = 62
_GAP: Final = 62
_MARGIN: Final = 26
_LABEL: Final = 30

#: How an edge is known, as a dash pattern and in words; others are dash-dot.
_LINES: Final = MappingProxyType(
    {"declared": ("", "declared"), "view": ("7 4", "from a view"), "query": ("2 4", "seen in a query")}
)
_SHAPES: Final = ("source", "table", "view", "query")

# Presentation attributes make the picture legible where stylesheets are stripped; these rules then theme it.
CSS: Final = """
.tauro svg.tl{display:block;font-family:inherit;margin:4px 0}
.tauro svg.tl .tl-link{stroke:var(--t-dim);opacity:.75}
.tauro svg.tl .tl-tip{fill:color-mix(in srgb,var(--t-fg) 70%,var(--jp-layout-color1,gray))}
.tauro svg.tl .tl-shape{fill:var(--t-sub);stroke:var(--t-dim)}
.tauro svg.tl .tl-source .tl-shape{stroke:var(--t-ok)}.tauro svg.tl .tl-table .tl-shape{stroke:var(--t-accent)}
.tauro svg.tl .tl-view .tl-shape{stroke:var(--t-accent)}.tauro svg.tl .tl-query .tl-shape{stroke:var(--t-warn)}
.tauro svg.tl .tl-focus .tl-shape{stroke-width:3}
.tauro svg.tl text{fill:var(--t-fg)}.tauro svg.tl .tl-dim{fill:var(--t-dim)}
.tauro .tl-legend{display:flex;flex-wrap:wrap;gap:4px 18px;align-items:center;font-size:12px;color:var(--t-dim)}
.tauro .tl-legend span{display:inline-flex;align-items:center;gap:6px}
"""


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _shape(kind: str, x: float, y: float, wide: float, high: float) -> Html:
    """Source: a drum. Table: a box. View: a rounded, dashed box. Query: a box with pointed sides."""
    common = {"class_": "tl-shape", "fill": "none", "stroke": "currentColor", "stroke_width": "1.5"}
    x2, y2, mid = x + wide, y + high, y + high / 2
    if kind == "source":
        bow = high / 9
        left, top, deep, across = _number(x), _number(y + bow), _number(1.4 * bow), _number(wide)
        rim = f"M{left} {top}c0 -{deep} {across} -{deep} {across} 0"
        body = f"v{_number(high - 2 * bow)}c0 {deep} -{across} {deep} -{across} 0z"
        lip = f"M{left} {top}c0 {deep} {across} {deep} {across} 0"
        return el("path", d=rim + body + lip, **common)
    if kind == "query":
        cut = high / 4
        points = [(x + cut, y), (x2 - cut, y), (x2, mid), (x2 - cut, y2), (x + cut, y2), (x, mid)]
        return el("polygon", points=" ".join(f"{_number(a)},{_number(b)}" for a, b in points), **common)
    corner, dash = (high / 2.6, "7 3") if kind == "view" else (3, None)
    box = {"x": _number(x), "y": _number(y), "width": _number(wide), "height": _number(high), "rx": _number(corner)}
    return el("rect", **box, stroke_dasharray=dash, **common)


def _line(points: Sequence[Point], dash: str, title: str) -> Html:
    (x0, y0), (x9, y9) = points[0], points[-1]
    step = 1 if x9 >= x0 else -1
    path = f"M{_number(x0)} {_number(y0)}"
    for (ax, ay), (bx, by) in pairwise([*points[:-1], (x9 - 7 * step, y9)]):
        half = (bx - ax) / 2
        path += f"C{_number(ax + half)} {_number(ay)} {_number(bx - half)} {_number(by)} {_number(bx)} {_number(by)}"
    tip = f"M{_number(x9)} {_number(y9)}l{-9 * step} -4.5v9z"
    return el(
        "g",
        el("title", title),
        el("path", d=path, class_="tl-link", fill="none", stroke="currentColor", stroke_width="1.4",
           stroke_dasharray=dash or None),
        el("path", d=tip, class_="tl-tip", fill="currentColor"),
    )  # fmt: skip


def _node(place: int, item: Item, corner: Point, wide: float, *, focus: bool) -> Html:
    x, y = corner
    # The lid of a drum takes some of its height.
    middle, low = x + wide / 2, y + (3 if item.kind == "source" else 0)
    shape = item.kind if item.kind in _SHAPES else "table"
    label = one_line(item.label)
    more = [
        (x - 6, y + 13, "end", item.more_up, "upstream"),
        (x + wide + 6, y + 13, "start", item.more_down, "downstream"),
    ]
    return el(
        "g",
        el("title", f"{label} ({one_line(item.kind)})" + (", in focus" if focus else "")),
        _shape(shape, x, y, wide, _HEIGHT),
        el("text", clip(label, _LABEL), x=_number(middle), y=_number(low + 19), text_anchor="middle", font_size="12",
           font_weight="700" if focus else "500", fill="currentColor"),
        el("text", ("◎ " if focus else "") + one_line(item.kind), x=_number(middle), y=_number(low + 33),
           text_anchor="middle", font_size="10", fill="currentColor", class_="tl-dim"),
        [
            el("text", f"+{count}", el("title", f"{count:,} more {way}"), x=_number(at), y=_number(high),
               text_anchor=anchor, font_size="10", fill="currentColor", class_="tl-dim")
            for at, high, anchor, count, way in more
            if count
        ],
        class_=f"tl-node tl-{shape}" + (" tl-focus" if focus else ""),
        data_node=place,
    )  # fmt: skip


def _widths(shown: View, layer_of: dict[str, int], layers: int) -> list[float]:
    widths = [72.0] * layers
    for item in shown.items:
        need = width(clip(one_line(item.label), _LABEL)) * 7.3 + 30
        widths[layer_of[item.name]] = max(widths[layer_of[item.name]], need)
    return widths


def svg(shown: View, title: str, description: str) -> Html:
    """Draw a view; equal views give equal text.

    Parameters
    ----------
    shown
        What to draw; nodes carry `data-node`, their place in `shown.items`.
    title, description
        For people who do not see it.
    """
    placed = layered([item.name for item in shown.items], [link[:2] for link in shown.links])
    layer_of = {name: int(layer) for name, (layer, _) in placed.positions.items()}
    widths = _widths(shown, layer_of, placed.layers)
    lefts = [_MARGIN + sum(widths[:index]) + _GAP * index for index in range(placed.layers)]

    def corner(point: Point) -> Point:
        return lefts[int(point[0])], _MARGIN / 2 + point[1] * _PITCH

    def lines() -> Iterator[Html]:
        for source, target, kinds in shown.links:
            bends = placed.bends.get((source, target))
            if bends:
                ahead = bends[-1][0] >= bends[0][0]
                yield _line(
                    _route(bends, ahead),
                    _dash(kinds),
                    f"{one_line(source)} to {one_line(target)}: {', '.join(map(one_line, kinds))}",
                )

    def _route(bends: Sequence[Point], ahead: bool) -> list[Point]:
        # A link crosses a foreign layer in a straight line at its dummy's height; one that closes a cycle runs lower.
        out: list[Point] = []
        for at, bend in enumerate(bends):
            x, y = corner(bend)
            y += _HEIGHT / 2 if ahead else _HEIGHT * 0.78
            wide = widths[int(bend[0])]
            sides = [(x, y), (x + wide, y)] if ahead else [(x + wide, y), (x, y)]
            out += sides[1:] if at == 0 else sides[:1] if at == len(bends) - 1 else sides
        return out

    nodes = []
    for place, item in enumerate(shown.items):
        wide = widths[layer_of[item.name]]
        nodes.append(_node(place, item, corner(placed.positions[item.name]), wide, focus=item.name == shown.focus))
    wide = _MARGIN * 2 + sum(widths) + _GAP * max(placed.layers - 1, 0)
    high = _MARGIN + _HEIGHT + _PITCH * max((y for _, y in placed.positions.values()), default=0)
    return el(
        "svg",
        el("title", title),
        el("desc", description),
        el("g", list(lines())),
        nodes,
        class_="tl",
        role="img",
        aria_label=title,
        width=_number(wide),
        height=_number(high),
        viewBox=f"0 0 {_number(wide)} {_number(high)}",
    )


def _line_of(kind: str) -> tuple[str, str]:
    return _LINES.get(kind, ("10 3 2 3", one_line(kind)))


def _dash(kinds: Sequence[str]) -> str:
    dashes = [_line_of(kind)[0] for kind in kinds]
    return min(dashes, key=lambda dash: (dash != "", dash))


def legend(shown: View) -> Html:
    """Explain the shapes and lines that occur, and nothing else."""
    kinds = [kind for kind in _SHAPES if any(item.kind == kind for item in shown.items)]
    lines = sorted({kind for _, _, found in shown.links for kind in found})
    shapes = [
        el("span", el("svg", el("g", _shape(kind, 2, 2, 24, 14), class_=f"tl-{kind}"), class_="tl", width=28, height=18,
                      aria_hidden="true"), kind)
        for kind in kinds
    ]  # fmt: skip
    strokes = [
        el("span", el("svg", el("path", d="M0 9h30", class_="tl-link", fill="none", stroke="currentColor",
                                stroke_width="1.4", stroke_dasharray=_dash([kind]) or None),
                      class_="tl", width=30, height=18, aria_hidden="true"), _line_of(kind)[1])
        for kind in lines
    ]  # fmt: skip
    more = any(item.more_up or item.more_down for item in shown.items)
    note = el("span", "+n: neighbours not shown") if more else None
    return el("div", fragment(shapes, strokes, note), class_="tl-legend")
