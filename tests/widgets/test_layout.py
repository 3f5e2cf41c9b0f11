from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tauro_nb.widgets.layout import layered


def links_of(seed: int, size: int = 60, *, cyclic: bool = False) -> list[tuple[str, str]]:
    chance = random.Random(seed)
    pairs = [(chance.randrange(size), chance.randrange(size)) for _ in range(size * 2)]
    return [(f"n{a}", f"n{b}") for a, b in pairs if a != b and (cyclic or a < b)]


@pytest.mark.parametrize("seed", range(10))
def test_data_flows_to_the_right(seed: int) -> None:
    links = links_of(seed)
    placed = layered({name for link in links for name in link}, links)
    assert all(placed.positions[a][0] < placed.positions[b][0] for a, b in links)


@pytest.mark.parametrize("seed", range(10))
def test_nodes_never_overlap_and_links_touch_their_ends(seed: int) -> None:
    links = links_of(seed, cyclic=True)
    placed = layered({name for link in links for name in link}, links)
    points = sorted(placed.positions.values())
    assert all(b[1] - a[1] > 0.98 for a, b in pairwise(points) if a[0] == b[0])
    assert min(height for _, height in points) >= 0
    for (a, b), bends in placed.bends.items():
        assert (bends[0], bends[-1]) == (placed.positions[a], placed.positions[b])
        assert all(abs(x - y) == 1 for (x, _), (y, _) in pairwise(bends))


def test_the_order_of_the_input_does_not_matter() -> None:
    links = links_of(3, cyclic=True)
    names = sorted({name for link in links for name in link})
    assert layered(names, links) == layered(names[::-1], links[::-1] + links)


def test_cycles_loops_and_loners_are_placed() -> None:
    placed = layered("abcde", [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")])
    assert set(placed.positions) == set("abcde")
    assert set(placed.bends) == {("a", "b"), ("b", "c"), ("c", "a")}


def test_a_long_chain_does_not_recurse() -> None:
    links = list(pairwise(f"n{n:05}" for n in range(3_000)))
    assert layered({name for link in links for name in link}, links).layers == 3_000


def test_nothing_is_fine() -> None:
    assert layered([], []).layers == 0


def test_a_crossing_is_undone() -> None:
    placed = layered("abxy", [("a", "y"), ("b", "x")])
    high = {name: height for name, (_, height) in placed.positions.items()}
    assert (high["a"] - high["b"]) * (high["y"] - high["x"]) > 0
