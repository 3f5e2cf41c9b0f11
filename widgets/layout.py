"""A layered layout in pure Python: the same graph always gets the same picture.

Cycles are opened by a depth-first walk, layers are longest paths, long edges bend at dummy nodes, barycenters order
each layer, and heights are the least-squares solution that keeps nodes apart (pool adjacent violators).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Layout", "layered"]

_SWEEPS: Final = 8

Link = tuple[str, str]
Point = tuple[float, float]
#: A node is its name; a dummy is (link, layer). Both sort, so ties break the same way every time.
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions in (layer, height) units, and the bends of each link from upstream to downstream."""

    positions: Mapping[str, Point]
    bends: Mapping[Link, tuple[Point, ...]]
    layers: int


def _acyclic(names: Sequence[str], links: Iterable[Link]) -> list[Link]:
    """Turn around the links that close a cycle; drop loops."""
    down: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in sorted(set(links)):
        if source != target:
            down[source].append(target)
    out: list[Link] = []
    state: dict[str, int] = {}
    entered = {target for targets in down.values() for target in targets}
    for root in sorted(names, key=lambda name: (name in entered, name)):
        stack = [(root, iter(down[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            name, rest = stack[-1]
            for target in rest:
                out.append((target, name) if state.get(target) == 1 else (name, target))
                if target not in state:
                    state[target] = 1
                    stack.append((target, iter(down[target])))
                    break
            else:
                state[name] = 2
                stack.pop()
    return sorted(set(out))


def _ranks(names: Sequence[str], links: Sequence[Link]) -> dict[str, int]:
    """Longest path from a root; then roots move next to their nearest child."""
    down: defaultdict[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(names, 0)
    for source, target in links:
        down[source].append(target)
        waits[target] += 1
    roots = [name for name in names if not waits[name]]
    rank = dict.fromkeys(names, 0)
    ready = list(roots)
    while ready:
        following = []
        for name in ready:
            for target in down[name]:
                rank[target] = max(rank[target], rank[name] + 1)
                waits[target] -= 1
                if not waits[target]:
                    following.append(target)
        ready = following
    for root in roots:
        if down[root]:
            rank[root] = min(rank[target] for target in down[root]) - 1
    return rank


def _apart(wanted: Sequence[float], gap: float = 1.0) -> list[float]:
    """Move heights as little as possible (least squares) so that neighbours are `gap` apart.

    >>> _apart([0, 0, 5])
    [-0.5, 0.5, 5.0]
    """
    blocks: list[tuple[float, int]] = []
    for index, value in enumerate(wanted):
        total, size = value - index * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            before, count = blocks.pop()
            total, size = total + before, size + count
        blocks.append((total, size))
    flat = [total / size for total, size in blocks for _ in range(size)]
    return [value + index * gap for index, value in enumerate(flat)]


def _chains(links: Sequence[Link], rank: Mapping[str, int]) -> dict[Link, list[Key]]:
    """Each link as the nodes and dummies it passes, one a layer."""
    return {
        (source, target): [
            (source, "", rank[source]),
            *((source, target, layer) for layer in range(rank[source] + 1, rank[target])),
            (target, "", rank[target]),
        ]
        for source, target in links
    }


def _order(layers: list[list[Key]], up: Mapping[Key, list[Key]], down: Mapping[Key, list[Key]]) -> None:
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        along, indices = (up, range(1, len(layers))) if forward else (down, range(len(layers) - 2, -1, -1))
        for index in indices:
            beside = layers[index - 1 if forward else index + 1]
            place = {key: position for position, key in enumerate(beside)}
            own = {key: position for position, key in enumerate(layers[index])}
            centers = {
                key: sum(place[near] for near in along[key]) / len(along[key]) if along.get(key) else float(at)
                for key, at in own.items()
            }
            layers[index].sort(key=lambda key: (centers[key], own[key]))


def _heights(layers: list[list[Key]], up: Mapping[Key, list[Key]], down: Mapping[Key, list[Key]]) -> dict[Key, float]:
    height = {key: index - (len(layer) - 1) / 2 for layer in layers for index, key in enumerate(layer)}
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            near = [(*up.get(key, ()), *down.get(key, ())) for key in layer]
            wanted = [
                sum(height[other] for other in others) / len(others) if others else height[key]
                for key, others in zip(layer, near, strict=True)
            ]
            height.update(zip(layer, _apart(wanted), strict=True))
    return height


def layered(names: Iterable[str], links: Iterable[Link]) -> Layout:
    """Lay out a directed graph from left to right.

    Parameters
    ----------
    names
        Every node.
    links
        (upstream, downstream) pairs between them; cycles and loops are fine.

    Examples
    --------
    >>> layout = layered("abc", [("a", "b"), ("b", "c"), ("a", "c")])
    >>> {name: int(layer) for name, (layer, _) in layout.positions.items()}
    {'a': 0, 'b': 1, 'c': 2}
    >>> len(layout.bends["a", "c"])
    3
    """
    nodes, wanted = sorted(set(names)), sorted(set(links))
    straight = _acyclic(nodes, wanted)
    rank = _ranks(nodes, straight)
    chains = _chains(straight, rank)
    up: defaultdict[Key, list[Key]] = defaultdict(list)
    down: defaultdict[Key, list[Key]] = defaultdict(list)
    for chain in chains.values():
        for before, after in pairwise(chain):
            up[after].append(before)
            down[before].append(after)
    count = max(rank.values(), default=-1) + 1
    layers: list[list[Key]] = [[] for _ in range(count)]
    for key in sorted({(name, "", rank[name]) for name in nodes} | {key for chain in chains.values() for key in chain}):
        layers[key[2]].append(key)
    _order(layers, up, down)
    height = _heights(layers, up, down)
    top = min(height.values(), default=0.0)
    point = {key: (float(key[2]), round(value - top, 2)) for key, value in height.items()}
    bends = {}
    for source, target in wanted:
        chain = chains.get((source, target)) or chains.get((target, source), [])[::-1]
        if chain:
            bends[source, target] = tuple(point[key] for key in chain)
    return Layout({name: point[name, "", rank[name]] for name in nodes}, bends, count)
