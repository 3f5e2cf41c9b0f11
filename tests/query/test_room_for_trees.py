"""The garbage collector gets room for one planning, and is left as it was found."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from tauro_nb.errors import ParseError
from tauro_nb.query.garbage import room_for_trees
from tauro_nb.query.parse import parse


@pytest.fixture(autouse=True)
def threshold() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_only_the_youngest_generation_waits(threshold: tuple[int, int, int]) -> None:
    with room_for_trees():
        young, *older = gc.get_threshold()
    assert (young > 50_000, older) == (True, [11, 12])
    assert gc.get_threshold() == threshold


def test_a_refused_query_puts_it_back(threshold: tuple[int, int, int]) -> None:
    with pytest.raises(ParseError), room_for_trees():
        parse("SELECT FROM WHERE")
    assert gc.get_threshold() == threshold


@pytest.mark.parametrize("chosen", [(0, 11, 12), (1_000_000, 11, 12)])
def test_who_wants_less_collecting_keeps_it(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with room_for_trees():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen


def test_what_is_set_meanwhile_stays() -> None:
    with room_for_trees():
        gc.set_threshold(5_000, 1, 1)
    assert gc.get_threshold() == (5_000, 1, 1)


def test_one_inside_another(threshold: tuple[int, int, int]) -> None:
    with room_for_trees():
        room = gc.get_threshold()
        with room_for_trees():
            assert gc.get_threshold() == room
        assert gc.get_threshold() == room
    assert gc.get_threshold() == threshold


def test_side_by_side_nothing_is_left_behind(threshold: tuple[int, int, int]) -> None:
    start = threading.Barrier(8)

    def plan() -> None:
        start.wait()
        for _ in range(500):
            with room_for_trees():
                parse("SELECT 1")

    threads = [threading.Thread(target=plan) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.get_threshold() == threshold
