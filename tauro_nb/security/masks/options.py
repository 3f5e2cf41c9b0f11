"""The parameters of masks: read once, with one clear error for what is wrong, and never a value in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tauro_nb.errors import PolicyError, nearest

__all__ = ["REQUIRED", "Option", "flag", "number", "numbers", "one_of", "read_options", "text", "whole"]

Reader = Callable[[Any], Any]
REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Option:
    """One parameter of a mask: how it is read, and what it is when nobody gives it."""

    read: Reader
    default: Any = REQUIRED


def read_options(mask: str, known: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the parameters of a mask.

    Raises
    ------
    PolicyError
        One is unknown, missing or not what the mask takes.

    Examples
    --------
    >>> read_options("partial", {"prefix": Option(whole(0), 0)}, {"prefix": 3})
    {'prefix': 3}
    >>> read_options("partial", {"prefix": Option(whole(0), 0)}, {"prefix": -3})
    Traceback (most recent call last):
    ...
    tauro_nb.errors.PolicyError: the mask `partial`: `prefix` must be a whole number of at least 0
    """
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(f'`{key}`' for key in known)}" if known else "it takes none"
            raise PolicyError(f"the mask `{mask}` has no option `{name}`; {takes}.{nearest(name, known)}")
    values: dict[str, Any] = {}
    for name, option in known.items():
        value = given.get(name, option.default)
        if value is REQUIRED:
            raise PolicyError(f"the mask `{mask}` needs the option `{name}`")
        try:
            values[name] = option.default if value is option.default else option.read(value)
        except ValueError as wrong:
            raise PolicyError(f"the mask `{mask}`: `{name}` must be {wrong}") from None
    return values


def whole(least: int, most: int = 2**31 - 1) -> Reader:
    """A whole number between two others."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number of at least {least}")
        if value > most:
            raise ValueError(f"a whole number of at most {most}")
        return value

    return read


def number(value: Any) -> Decimal:
    """A finite number; what is written as 0.1 is a tenth.

    >>> number(0.1)
    Decimal('0.1')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
        raise ValueError("a number")
    return Decimal(str(value))


def numbers(value: Any) -> tuple[Decimal, ...]:
    """An ascending list of numbers."""
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("a list of ascending numbers")
    found = tuple(number(item) for item in value)
    if any(low >= high for low, high in itertools.pairwise(found)):
        raise ValueError("a list of ascending numbers")
    return found


def text(value: Any) -> str:
    """A text without a NUL, which not every database can hold."""
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("a text")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def one_of(*names: str) -> Reader:
    """One of a few words, in any case."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value.casefold() not in names:
            raise ValueError(f"one of {', '.join(names)}.{nearest(str(value), names)}")
        return value.casefold()

    return read


def bound(value: Any) -> int | float | Decimal | date | datetime:
    """A number, a date or a time: the end of a range."""
    if isinstance(value, (date, datetime)):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value) if len(value) <= len("2024-01-01") else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a number or a date") from None
    return number(value)
