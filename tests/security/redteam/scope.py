"""Which attacks there are, and which door each of them cannot come through, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ATTACKS", "COLUMNS", "not_applicable"]

COLUMNS = ("sql", "ibis", "dbapi", "magics", "rows", "completion", "panels")

ATTACKS: Mapping[int, str] = {
    1: "searching a masked column", 2: "lists and subqueries", 3: "sorting by it", 4: "grouping by it",
    5: "joining on it", 6: "windows over hidden neighbours", 7: "aggregates that carry values",
    8: "exposing it again", 9: "set operations", 10: "every shape of a statement", 11: "casts that throw",
    12: "functions that throw", 13: "every function there is", 14: "what errors say", 15: "errors while planning",
    16: "EXPLAIN", 17: "estimates", 18: "statistics", 19: "counters", 20: "how long it takes",
    21: "limits as a measure", 22: "aliases that shadow", 23: "spellings of names", 24: "letters that look alike",
    25: "comments", 26: "two statements", 27: "statements that are no query", 28: "dialects",
    29: "objects of one's own", 30: "functions that read", 31: "changing the engine", 32: "Ibis's other ways",
    33: "pickles", 34: "reading the process", 35: "views and caches of expressions", 36: "changing tables",
    37: "time travel", 38: "writing", 39: "hostile names of people", 40: "parameters", 41: "becoming more",
    42: "capturing a policy's names", 43: "policies in a circle", 44: "policies that change meanwhile",
    45: "another's answer", 46: "rights taken away", 47: "files of a cache", 48: "what stays in a notebook",
    49: "differences of aggregates", 50: "guessing against hashes", 51: "what a mask keeps",
    52: "joining with what is public", 53: "a log that cannot be written", 54: "a log that was changed",
    55: "forged lines and formulas", 56: "values in the log", 57: "reading the log",
}  # fmt: skip

_STATEMENTS = "it is about a statement, and this door takes none"
_IBIS_ONLY = "it is about Ibis's methods"
_SAME_ROAD = "decided below the doors; SQL stands for all of them"
_NO_TEXT = "it shows no text of the engine's"

_ONLY: Mapping[str, tuple[frozenset[int], str]] = {
    # door: the attacks that come through it, and why no others do
    "rows": (frozenset({*range(1, 13), 22, 23, 25, 28, 35, 39, 45, 46, 48, 50, 51, 53, 56}), _STATEMENTS),
    "completion": (frozenset({*range(1, 13), 18, 22, 23, 25, 28, 35, 46, 48}), "it runs nothing and asks no source"),
}
_BELOW: Mapping[int, str] = {
    13: "`make leakfuzz`, not a test of this table", 17: _SAME_ROAD, 19: _SAME_ROAD, 20: "time is no test",
    21: _SAME_ROAD, 32: _IBIS_ONLY, 33: "it takes no objects", 34: _SAME_ROAD, 36: _SAME_ROAD, 41: _SAME_ROAD,
    42: _SAME_ROAD, 43: _SAME_ROAD, 44: _SAME_ROAD, 45: _SAME_ROAD, 47: _SAME_ROAD, 49: _SAME_ROAD, 50: _SAME_ROAD,
    51: _SAME_ROAD, 52: _SAME_ROAD, 54: "a file, not a door", 55: _SAME_ROAD, 57: _NO_TEXT, 15: _NO_TEXT,
    39: _SAME_ROAD, 40: _SAME_ROAD, 48: _NO_TEXT, 18: _SAME_ROAD, 24: _SAME_ROAD,
}  # fmt: skip
"""Attacks that every door meets at the same place: where a door has no test of its own, this is why."""


def not_applicable(number: int, door: str) -> str:
    """Why an attack has no test through a door; empty when it must have one.

    >>> not_applicable(38, "completion")
    'it runs nothing and asks no source'
    """
    listed, why = _ONLY.get(door, (frozenset(ATTACKS), ""))
    return _BELOW.get(number, "") or ("" if number in listed else why)
