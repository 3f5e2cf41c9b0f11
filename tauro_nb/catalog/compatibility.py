"""Whether one type can stand for another: in a declared schema, over time, in a join."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tauro_nb.catalog.type_names import INTEGER_RANGES
from tauro_nb.catalog.type_text import Type, parse_type

__all__ = ["comparable", "compatible", "widens"]

_FLOATING: Final = MappingProxyType({"FLOAT": 24, "DOUBLE": 53})
_INTEGERS: Final = frozenset({*INTEGER_RANGES, "BIGNUM"})
# Digits of a second that each kind keeps.
_TIMESTAMPS: Final = MappingProxyType(
    {"DATE": -1, "TIMESTAMP_S": 0, "TIMESTAMP_MS": 3, "TIMESTAMP": 6, "TIMESTAMP_NS": 9}
)
_FAMILIES: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys([*_INTEGERS, *_FLOATING, "DECIMAL"], "number")
    | dict.fromkeys([*_TIMESTAMPS, "TIMESTAMP WITH TIME ZONE"], "moment")
    | dict.fromkeys(["TIME", "TIME_NS", "TIME WITH TIME ZONE"], "time")
    | dict.fromkeys(["VARCHAR", "ENUM", "UUID", "JSON"], "text")
)
# Written as text without loss, and often declared as text.
_TEXTUAL: Final = frozenset({"ENUM", "UUID", "JSON"})
_NESTED: Final = frozenset({"LIST", "ARRAY", "STRUCT", "MAP", "UNION"})


def compatible(declared: str, actual: str, *, untyped_source: bool = False) -> bool:
    """Whether a column of type `actual` may be read as `declared`.

    It may when no value is changed silently: a cast that could overflow fails loudly, so any integer may be declared
    for any other; a cast that would round, truncate or shift a time zone may not. Nanoseconds may be declared as
    TIMESTAMP (microseconds), because most files written by pandas hold them without need.

    Parameters
    ----------
    declared, actual
        Types in any spelling.
    untyped_source
        The source does not know types (CSV, JSON, SQLite): text may then be declared as anything, and
        numbers as any number or boolean.

    Examples
    --------
    >>> compatible("BIGINT", "INTEGER"), compatible("INTEGER", "DOUBLE"), compatible("DATE", "VARCHAR")
    (True, False, False)
    >>> compatible("DATE", "VARCHAR", untyped_source=True)
    True
    """
    return _fits(parse_type(declared), parse_type(actual), untyped_source)


def widens(before: str, after: str) -> bool:
    """Whether every value of `before` is a value of `after` as well, so that nobody who reads notices.

    >>> widens("INTEGER", "BIGINT"), widens("BIGINT", "INTEGER"), widens("DECIMAL(10,2)", "DECIMAL(12,2)")
    (True, False, True)
    """
    return _holds(parse_type(after), parse_type(before))


def comparable(left: str, right: str) -> bool:
    """Whether values of the two types can be equal, as a join needs, without a cast that may fail.

    >>> comparable("INTEGER", "DECIMAL(10,2)"), comparable("INTEGER", "VARCHAR"), comparable("UUID", "VARCHAR")
    (True, False, True)
    """
    return _alike(parse_type(left), parse_type(right))


def _alike(left: Type, right: Type) -> bool:
    if left.name in _NESTED and right.name in _NESTED:
        return (
            {left.name, right.name} <= {"LIST", "ARRAY"}
            and _alike(left.fields[0][1], right.fields[0][1])
            or left == right
        )
    family = _FAMILIES.get(left.name, left.name)
    return family == _FAMILIES.get(right.name, right.name)


def _fits(declared: Type, actual: Type, untyped: bool) -> bool:
    if declared == actual or _holds(declared, actual):
        return True
    names = (declared.name, actual.name)
    if declared.name in _NESTED or actual.name in _NESTED:
        return untyped and actual.name in ("VARCHAR", "JSON") or _parts_fit(declared, actual, untyped)
    if declared.name in _INTEGERS and actual.name in _INTEGERS:
        return True
    if declared.name == "DECIMAL" and actual.name == "DECIMAL":
        return declared.numbers[1] >= actual.numbers[1]
    if declared.name == "DECIMAL" and actual.name in _INTEGERS:
        return True
    if declared.name in _FLOATING and _FAMILIES.get(actual.name) == "number":
        return declared.name == "DOUBLE" or actual.name not in _FLOATING or untyped
    if names == ("TIMESTAMP", "TIMESTAMP_NS") or declared.name == "VARCHAR" and actual.name in _TEXTUAL:
        return True
    return untyped and _untyped_fits(*names)


def _untyped_fits(declared: str, actual: str) -> bool:
    """A source without types shows a number, text or moment where the declaration knows better."""
    families = (_FAMILIES.get(declared, declared), _FAMILIES.get(actual, actual))
    return "VARCHAR" in (declared, actual) or families[0] == families[1] or families == ("BOOLEAN", "number")


def _parts_fit(declared: Type, actual: Type, untyped: bool) -> bool:
    """Nested types fit part by part; a struct by the names of its fields, whatever their order."""
    if declared.name == "STRUCT" and actual.name == "STRUCT":
        theirs = {name.casefold(): part for name, part in actual.fields}
        return len(theirs) == len(declared.fields) and all(
            name.casefold() in theirs and _fits(part, theirs[name.casefold()], untyped)
            for name, part in declared.fields
        )
    same_shape = declared.name == actual.name and declared.numbers == actual.numbers
    list_of_array = (declared.name, actual.name) == ("LIST", "ARRAY")
    if declared.name in ("LIST", "ARRAY", "MAP") and (same_shape or list_of_array):
        pairs = zip(declared.fields, actual.fields, strict=True)
        return all(_fits(mine, theirs, untyped) for (_, mine), (_, theirs) in pairs)
    return False


def _holds(wide: Type, narrow: Type) -> bool:
    """Whether `wide` has a place for every value of `narrow`."""
    if wide == narrow:
        return True
    if wide.name in INTEGER_RANGES and narrow.name in INTEGER_RANGES:
        (low, high), (least, most) = INTEGER_RANGES[wide.name], INTEGER_RANGES[narrow.name]
        return low <= least and most <= high
    if wide.name == "BIGNUM":
        return narrow.name in INTEGER_RANGES
    if wide.name == "DECIMAL" and narrow.name == "DECIMAL":
        whole = wide.numbers[0] - wide.numbers[1], narrow.numbers[0] - narrow.numbers[1]
        return whole[0] >= whole[1] and wide.numbers[1] >= narrow.numbers[1]
    if wide.name == "DECIMAL" and narrow.name in INTEGER_RANGES:
        return len(str(_largest(narrow))) <= wide.numbers[0] - wide.numbers[1]
    if wide.name in _FLOATING and narrow.name in INTEGER_RANGES:
        return _largest(narrow) <= 1 << _FLOATING[wide.name]
    if wide.name in _FLOATING and narrow.name in _FLOATING:
        return _FLOATING[wide.name] >= _FLOATING[narrow.name]
    if wide.name in _TIMESTAMPS and narrow.name in _TIMESTAMPS:
        return _TIMESTAMPS[wide.name] >= _TIMESTAMPS[narrow.name]
    if wide.name == "ENUM" and narrow.name == "ENUM":
        return set(narrow.labels) <= set(wide.labels)
    if wide.name == narrow.name and wide.name in ("LIST", "ARRAY", "MAP") and wide.numbers == narrow.numbers:
        return all(_holds(mine, theirs) for (_, mine), (_, theirs) in zip(wide.fields, narrow.fields, strict=True))
    return False


def _largest(integer: Type) -> int:
    low, high = INTEGER_RANGES[integer.name]
    return max(-low, high)
