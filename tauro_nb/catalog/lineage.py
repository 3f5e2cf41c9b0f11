"""Which table is made from which: a small immutable graph that never loops, even where its edges do."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["LineageEdge", "LineageGraph", "LineageNode"]

NodeKind = Literal["source", "table", "view", "query"]


@dataclass(frozen=True, slots=True, order=True)
class LineageEdge:
    """`downstream` is made from `upstream`.

    `kind` says how it is known: `declared` in `source_tables`, read from a `view`, or seen in a `query`.
    """

    upstream: str
    downstream: str
    kind: str = "declared"


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A virtual table or view, a query, or a source: something outside the catalog that a table is made from."""

    name: str
    kind: NodeKind = "table"
    label: str = ""


@dataclass(frozen=True)
class LineageGraph:
    """Nodes in a stable order and the edges between them.

    Examples
    --------
    >>> graph = LineageGraph.build([LineageEdge("orders", "daily"), LineageEdge("daily", "report")])
    >>> graph.upstream("report"), graph.upstream("report", depth=1), graph.downstream("orders")
    (('daily', 'orders'), ('daily',), ('daily', 'report'))
    """

    nodes: tuple[LineageNode, ...] = ()
    edges: tuple[LineageEdge, ...] = ()
    _up: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _down: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_up", _neighbours((edge.downstream, edge.upstream) for edge in self.edges))
        object.__setattr__(self, "_down", _neighbours((edge.upstream, edge.downstream) for edge in self.edges))

    @classmethod
    def build(cls, edges: Iterable[LineageEdge], nodes: Iterable[LineageNode] = ()) -> LineageGraph:
        """Make a graph in which every end of an edge is a node; ends that are not given are sources."""
        unique = sorted(set(edges))
        known = {node.name: node for node in nodes}
        for edge in unique:
            for name in (edge.upstream, edge.downstream):
                known.setdefault(name, LineageNode(name, "source", name))
        return cls(tuple(known[name] for name in sorted(known)), tuple(unique))

    def upstream(self, name: str, depth: int | None = None) -> tuple[str, ...]:
        """Names that `name` is made from, the nearest first; not further than `depth` steps."""
        return _reach(self._up, name, depth)

    def downstream(self, name: str, depth: int | None = None) -> tuple[str, ...]:
        """Names that are made from `name`, the nearest first; not further than `depth` steps."""
        return _reach(self._down, name, depth)

    def around(self, name: str, depth: int | None = None) -> LineageGraph:
        """The part of the graph within `depth` steps up or down of one node."""
        keep = {name, *self.upstream(name, depth), *self.downstream(name, depth)}
        return LineageGraph(
            tuple(node for node in self.nodes if node.name in keep),
            tuple(edge for edge in self.edges if edge.upstream in keep and edge.downstream in keep),
        )


def _neighbours(pairs: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for origin, target in pairs:
        found[origin][target] = None
    return {origin: tuple(targets) for origin, targets in found.items()}


def _reach(neighbours: Mapping[str, tuple[str, ...]], start: str, depth: int | None) -> tuple[str, ...]:
    """Breadth first; a node is entered once, so cycles end, and nothing is upstream of itself."""
    steps = {start: 0}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        if depth is None or steps[name] < depth:
            for target in neighbours.get(name, ()):
                if target not in steps:
                    steps[target] = steps[name] + 1
                    queue.append(target)
    return tuple(steps)[1:]
