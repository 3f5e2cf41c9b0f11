"""A lineage view as a plotly figure."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from types import MappingProxyType
from typing import Final

from plotly import graph_objects as go

from tauro_nb.text import one_line
from tauro_nb.widgets.layout import layered
from tauro_nb.widgets.lineage_data import Item, View

__all__ = ["figure"]

# Plotly cannot read the notebook's theme: this grey keeps at least 4:1 on white and on near-black.
_INK: Final = "#767676"
#: Symbol and colour (Okabe-Ito, legible on both) of each kind.
_LOOKS: Final = MappingProxyType(
    {
        "source": ("circle", "#009E73"),
        "table": ("square", "#2f80d8"),
        "view": ("square-open", "#2f80d8"),
        "query": ("diamond", "#D55E00"),
    }
)
_DASHES: Final = MappingProxyType({"view": "dash", "query": "dot"})


def _safe(text: str) -> str:
    # Plotly reads `<a href>`, `<b>` and entities in labels.
    return escape(one_line(text), quote=False)


def _nodes(shown: View, kind: str, items: list[Item], at: dict[str, tuple[float, float]]) -> go.Scatter:
    symbol, colour = _LOOKS.get(kind, ("hexagon-open", _INK))
    return go.Scatter(
        x=[at[item.name][0] for item in items],
        y=[at[item.name][1] for item in items],
        mode="markers+text",
        name=_safe(kind),
        text=[f"<b>{_safe(item.label)}</b>" if item.name == shown.focus else _safe(item.label) for item in items],
        textposition="top center",
        customdata=[item.name for item in items],
        hovertext=[f"{_safe(item.label)} ({_safe(kind)})" for item in items],
        hoverinfo="text",
        marker={
            "symbol": symbol, "color": colour, "opacity": 1, "line": {"width": 2, "color": colour},
            "size": [20 if item.name == shown.focus else 14 for item in items],
        },
    )  # fmt: skip


def figure(shown: View) -> go.Figure:
    """Draw a view: one trace for each kind of edge and of node, so that the legend can hide them."""
    placed = layered([item.name for item in shown.items], [link[:2] for link in shown.links])
    at = {name: (layer, -height) for name, (layer, height) in placed.positions.items()}
    traces: list[go.Scatter] = []
    paths: defaultdict[str, tuple[list[float | None], list[float | None]]] = defaultdict(lambda: ([], []))
    for source, target, kinds in shown.links:
        for kind in kinds:
            xs, ys = paths[kind]
            bends = placed.bends.get((source, target), ())
            xs += [*(x for x, _ in bends), None]
            ys += [*(-y for _, y in bends), None]
    for kind, (xs, ys) in sorted(paths.items()):
        line = {"color": _INK, "width": 1.3, "dash": _DASHES.get(kind, "solid")}
        traces.append(go.Scatter(x=xs, y=ys, mode="lines", name=_safe(kind), hoverinfo="skip", line=line))
    by_kind: defaultdict[str, list[Item]] = defaultdict(list)
    for item in shown.items:
        by_kind[item.kind].append(item)
    traces += [_nodes(shown, kind, items, at) for kind, items in sorted(by_kind.items())]
    hidden = {"visible": False}
    return go.Figure(
        traces,
        go.Layout(
            title=_safe(f"Lineage of {shown.focus}" if shown.focus is not None else "Lineage"),
            xaxis=hidden, yaxis=hidden, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
            font={"color": _INK}, margin={"l": 20, "r": 20, "t": 48, "b": 20}, hovermode="closest",
            legend={"orientation": "h", "y": 0},
        ),
    )  # fmt: skip
