"""The lineage panel: a focus, some steps around it, and a click to move on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets

from tauro_nb.errors import TauroError
from tauro_nb.text import plural, visible
from tauro_nb.widgets.lineage_data import Direction, Graph, View, resolve, view
from tauro_nb.widgets.lineage_static import picture, view_html, view_text
from tauro_nb.widgets.lineage_svg import CSS
from tauro_nb.widgets.panel import Panel, script, sheet

if TYPE_CHECKING:
    import networkx as nx
    from plotly import graph_objects

__all__ = ["LineageGraphPanel"]

_DIRECTIONS: tuple[Direction, ...] = ("both", "upstream", "downstream")


class LineageGraphPanel(Panel):
    """Show where data comes from and where it goes.

    Parameters
    ----------
    graph
        The whole lineage.
    focus
        Whose lineage; None shows all of it while that is legible.
    depth
        Steps from the focus.

    Attributes
    ----------
    focus, depth, direction
        What is shown; set them from Python, observe them to follow the user.

    Examples
    --------
    >>> from types import SimpleNamespace as Row
    >>> nodes = (Row(name="crm", kind="source", label=""), Row(name="people", kind="table", label=""))
    >>> graph = Row(nodes=nodes, edges=(Row(upstream="crm", downstream="people", kind="source"),))
    >>> panel = LineageGraphPanel(graph, focus="people")
    >>> panel
    <LineageGraphPanel of people: 2 of 2 nodes>
    >>> print(panel.to_text())
    Lineage of people: 2 nodes
    <BLANKLINE>
    upstream
    people (table)
    └─ crm (source)
    <BLANKLINE>
    downstream
    people (table)
    """

    _esm = script("lineage.js")
    _css = sheet("lineage.css") + CSS

    focus = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    depth = traitlets.Int(2, min=0, max=20).tag(sync=True)
    direction = traitlets.Enum(_DIRECTIONS, "both").tag(sync=True)
    _picture = traitlets.Unicode("").tag(sync=True)
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _total = traitlets.Int(0).tag(sync=True)
    _notice = traitlets.Unicode("").tag(sync=True)

    def __init__(self, graph: Graph, focus: str | None = None, depth: int = 2) -> None:
        self._graph = graph
        super().__init__(focus=focus, depth=depth)
        self._draw()
        self.observe(self._draw, ["focus", "depth", "direction"])
        self.on_msg(self._answer)

    @traitlets.validate("focus")
    def _known(self, proposal: dict[str, Any]) -> str | None:
        name = proposal["value"]
        return None if name is None else resolve(self._graph, name)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over the front end's values; a focus that is unknown is told, and stays what it was."""
        # While values are taken over together, one that fails its check would stay.
        state, notice = dict(sync_data), ""
        if state.get("focus") is not None:
            try:
                resolve(self._graph, str(state["focus"]))
            except TauroError as error:
                notice = visible(error)
                del state["focus"]
        super().set_state(state)
        if notice:
            self._notice = notice

    @property
    def view(self) -> View:
        """The part of the graph that is shown now."""
        return view(self._graph, self.focus, self.depth, self.direction)

    def _draw(self, _change: object = None) -> None:
        shown = self.view
        with self.hold_sync():
            self._picture = str(picture(shown, self.direction))
            self._names = [visible(item.name) for item in shown.items]
            self._total = shown.total
            self._notice = ""

    def _answer(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Serve the front end: `node` (a place in the view), `focus` (a typed name, or nothing)."""
        try:
            if content.get("kind") == "node":
                items, place = self.view.items, content.get("node")
                if isinstance(place, int) and 0 <= place < len(items):
                    self.focus = items[place].name
            elif content.get("kind") == "focus":
                self.focus = str(content["name"]) if content.get("name") else None
        except TauroError as error:
            self._notice = visible(error)

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return the whole graph; nodes have `kind` and `label`, edges have `kinds`."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for node in self._graph.nodes:
            graph.add_node(node.name, kind=node.kind, label=node.label or node.name)
        for edge in self._graph.edges:
            before = graph.edges.get((edge.upstream, edge.downstream), {}).get("kinds", ())
            graph.add_edge(edge.upstream, edge.downstream, kinds=tuple(sorted({*before, edge.kind})))
        return graph

    def figure(self) -> graph_objects.Figure:
        """Draw what is shown as a plotly figure: no widget, so a saved notebook stays small."""
        from tauro_nb.widgets.lineage_figure import figure

        return figure(self.view)

    def to_html(self) -> str:
        """Write what is shown as HTML without a script."""
        return view_html(self.view, self.direction)

    def to_text(self) -> str:
        """Write what is shown as text trees."""
        return view_text(self.view, self.direction)

    def __repr__(self) -> str:
        shown = self.view
        of = f" of {visible(shown.focus)}" if shown.focus is not None else ""
        return f"<LineageGraphPanel{of}: {len(shown.items):,} of {plural(shown.total, 'node')}>"
