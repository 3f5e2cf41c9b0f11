"""Whether one type can stand for another: in a declared schema, over time, in a join."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
_SEQUENCES: Final = frozenset({"LIST", "ARRAY", "MAP"})
_NESTED: Final = _SEQUENCES | {"STRUCT", "UNION"}


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
    if left == right:
        return True
    if left.name in _NESTED or right.name in _NESTED:
        return {left.name, right.name} <= {"LIST", "ARRAY"} and _alike(left.fields[0][1], right.fields[0][1])
    return _family(left) == _family(right)


def _family(type_: Type) -> str:
    return _FAMILIES.get(type_.name, type_.name)


def _fits(declared: Type, actual: Type, untyped: bool) -> bool:
    if _holds(declared, actual) or any(rule(declared, actual) for rule in _LOUD_OR_LOSSLESS):
        return True
    if untyped and _untyped_fits(declared, actual):
        return True
    return _parts_fit(declared, actual, untyped)


def _untyped_fits(declared: Type, actual: Type) -> bool:
    """A source without types shows text, a number or a moment where the declaration knows better."""
    if declared.name in _NESTED or actual.name in _NESTED:
        return actual.name in {"VARCHAR", "JSON"}
    families = (_family(declared), _family(actual))
    return "VARCHAR" in {declared.name, actual.name} or families[0] == families[1] or families == ("BOOLEAN", "number")


# Casts that are exact, or that fail where they are not: (declared, actual) -> whether this is one.
_LOUD_OR_LOSSLESS: Final[tuple[Callable[[Type, Type], bool], ...]] = (
    lambda declared, actual: declared.name in _INTEGERS and actual.name in _INTEGERS,
    lambda declared, actual: declared.name == actual.name == "DECIMAL" and declared.numbers[1] >= actual.numbers[1],
    lambda declared, actual: declared.name == "DECIMAL" and actual.name in _INTEGERS,
    lambda declared, actual: declared.name == "DOUBLE" and _family(actual) == "number",
    lambda declared, actual: declared.name == "FLOAT" and actual.name in {*_INTEGERS, "DECIMAL"},
    lambda declared, actual: (declared.name, actual.name) == ("TIMESTAMP", "TIMESTAMP_NS"),
    lambda declared, actual: declared.name == "VARCHAR" and actual.name in _TEXTUAL,
)


def _parts_fit(declared: Type, actual: Type, untyped: bool) -> bool:
    """Nested types fit part by part; a struct by the names of its fields, whatever their order."""
    if declared.name == actual.name == "STRUCT":
        theirs = {name.casefold(): part for name, part in actual.fields}
        return len(theirs) == len(declared.fields) and all(
            name.casefold() in theirs and _fits(part, theirs[name.casefold()], untyped)
            for name, part in declared.fields
        )
    same_shape = declared.name == actual.name and declared.numbers == actual.numbers
    list_of_array = (declared.name, actual.name) == ("LIST", "ARRAY")
    if declared.name in _SEQUENCES and (same_shape or list_of_array):
        pairs = zip(declared.fields, actual.fields, strict=True)
        return all(_fits(mine, theirs, untyped) for (_, mine), (_, theirs) in pairs)
    return False


def _holds(wide: Type, narrow: Type) -> bool:
    """Whether `wide` has a place for every value of `narrow`."""
    return wide == narrow or any(rule(wide, narrow) for rule in _WIDENINGS)


def _integer_in_integer(wide: Type, narrow: Type) -> bool:
    if wide.name == "BIGNUM" or narrow.name not in INTEGER_RANGES or wide.name not in INTEGER_RANGES:
        return wide.name == "BIGNUM" and narrow.name in INTEGER_RANGES
    (low, high), (least, most) = INTEGER_RANGES[wide.name], INTEGER_RANGES[narrow.name]
    return low <= least and most <= high


def _number_in_decimal(wide: Type, narrow: Type) -> bool:
    if wide.name != "DECIMAL":
        return False
    whole_digits = wide.numbers[0] - wide.numbers[1]
    if narrow.name == "DECIMAL":
        return whole_digits >= narrow.numbers[0] - narrow.numbers[1] and wide.numbers[1] >= narrow.numbers[1]
    return narrow.name in INTEGER_RANGES and len(str(_largest(narrow))) <= whole_digits


def _number_in_float(wide: Type, narrow: Type) -> bool:
    bits = _FLOATING.get(wide.name, 0)
    if narrow.name in INTEGER_RANGES:
        return _largest(narrow) <= 1 << bits
    return 0 < _FLOATING.get(narrow.name, 0) <= bits


def _moment_in_moment(wide: Type, narrow: Type) -> bool:
    """By the digits of a second; one of them holds fewer years the more digits it has, and says so when it matters."""
    return narrow.name in _TIMESTAMPS and _TIMESTAMPS[narrow.name] <= _TIMESTAMPS.get(wide.name, -2)


def _labels_in_labels(wide: Type, narrow: Type) -> bool:
    return wide.name == narrow.name == "ENUM" and set(narrow.labels) <= set(wide.labels)


def _parts_in_parts(wide: Type, narrow: Type) -> bool:
    if wide.name != narrow.name or wide.name not in _SEQUENCES or wide.numbers != narrow.numbers:
        return False
    return all(_holds(mine, theirs) for (_, mine), (_, theirs) in zip(wide.fields, narrow.fields, strict=True))


_WIDENINGS: Final[tuple[Callable[[Type, Type], bool], ...]] = (
    _integer_in_integer,
    _number_in_decimal,
    _number_in_float,
    _moment_in_moment,
    _labels_in_labels,
    _parts_in_parts,
)


def _largest(integer: Type) -> int:
    low, high = INTEGER_RANGES[integer.name]
    return max(-low, high)
