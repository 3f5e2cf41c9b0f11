"""Which part of a lineage graph to show: neighbours of a focus, and what lies beyond them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from tauro_nb.errors import UnknownTable, nearest
from tauro_nb.text import visible

__all__ = ["Direction", "Edge", "Graph", "Node", "View", "neighbours", "view"]

Direction = Literal["both", "upstream", "downstream"]
#: More than this in one picture is a hairball.
MOST_NODES: Final = 60


class Node(Protocol):
    """A `LineageNode`."""

    @property
    def name(self) -> str:
        """Its unique name."""

    @property
    def kind(self) -> str:
        """`source`, `table`, `view` or `query`."""

    @property
    def label(self) -> str:
        """What to call it; empty means its name."""


class Edge(Protocol):
    """A `LineageEdge`: data flows from `upstream` to `downstream`."""

    @property
    def upstream(self) -> str:
        """Where data comes from."""

    @property
    def downstream(self) -> str:
        """Where data goes."""

    @property
    def kind(self) -> str:
        """How it is known: `declared`, `view`, `query`."""


class Graph(Protocol):
    """A `LineageGraph`."""

    @property
    def nodes(self) -> Sequence[Node]:
        """Every node."""

    @property
    def edges(self) -> Sequence[Edge]:
        """Every edge."""


@dataclass(frozen=True, slots=True)
class Item:
    """A node in a view; `more_up` and `more_down` count neighbours that the view leaves out."""

    name: str
    kind: str
    label: str
    more_up: int = 0
    more_down: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """The part of a graph to show. `links` are (upstream, downstream, kinds), without repeats."""

    focus: str | None
    items: tuple[Item, ...]
    links: tuple[tuple[str, str, tuple[str, ...]], ...]
    total: int


def neighbours(links: Iterable[tuple[str, str]]) -> tuple[Mapping[str, list[str]], Mapping[str, list[str]]]:
    """Return (upstream, downstream) neighbours by name, sorted.

    >>> up, down = neighbours([("a", "b"), ("c", "b")])
    >>> up["b"], down["a"]
    (['a', 'c'], ['b'])
    """
    up: defaultdict[str, set[str]] = defaultdict(set)
    down: defaultdict[str, set[str]] = defaultdict(set)
    for source, target in links:
        up[target].add(source)
        down[source].add(target)
    return {name: sorted(found) for name, found in up.items()}, {name: sorted(found) for name, found in down.items()}


def _reach(start: str, along: Mapping[str, list[str]], depth: int) -> dict[str, int]:
    distance, edge = {start: 0}, [start]
    for step in range(1, depth + 1):
        edge = [name for near in edge for name in along.get(near, ()) if name not in distance]
        edge = list(dict.fromkeys(edge))
        distance.update(dict.fromkeys(edge, step))
    return distance


def resolve(graph: Graph, name: str) -> str:
    """Return the node's own spelling; names are case-insensitive."""
    names = {node.name: node for node in graph.nodes}
    if name in names:
        return name
    found = [known for known in names if known.casefold() == name.casefold()]
    if found:
        return found[0]
    msg = f"No lineage is known of `{visible(name)}`.{nearest(name, names)}"
    raise UnknownTable(msg)


def view(graph: Graph, focus: str | None = None, depth: int = 2, direction: Direction = "both") -> View:
    """Choose what to show.

    Parameters
    ----------
    graph
        The whole lineage.
    focus
        A node's name; None shows everything, or, of a large graph, the surroundings of its busiest node.
    depth
        Steps from the focus.
    direction
        Which way to go from the focus.

    Raises
    ------
    UnknownTable
        `focus` is not in the graph.
    """
    known = {node.name: node for node in graph.nodes}
    kinds: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for edge in graph.edges:
        if edge.upstream in known and edge.downstream in known:
            kinds[edge.upstream, edge.downstream].add(edge.kind)
    up, down = neighbours(kinds)
    if focus is not None:
        focus = resolve(graph, focus)
    elif len(known) > MOST_NODES:
        focus = min(known, key=lambda name: (-len(up.get(name, ())) - len(down.get(name, ())), name))
    if focus is None:
        chosen = set(known)
    else:
        distance = _reach(focus, up, depth if direction != "downstream" else 0)
        for name, steps in _reach(focus, down, depth if direction != "upstream" else 0).items():
            distance[name] = min(steps, distance.get(name, steps))
        chosen = set(sorted(distance, key=lambda name: (distance[name], name))[:MOST_NODES])
    items = tuple(
        Item(
            name,
            node.kind,
            node.label or name,
            sum(near not in chosen for near in up.get(name, ())),
            sum(near not in chosen for near in down.get(name, ())),
        )
        for name, node in sorted(known.items())
        if name in chosen
    )
    links = tuple(
        (source, target, tuple(sorted(found)))
        for (source, target), found in sorted(kinds.items())
        if source in chosen and target in chosen
    )
    return View(focus, items, links, len(known))
