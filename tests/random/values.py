"""Literals and parameters: one Python value, written into a statement or bound to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.random.model import quoted
from tests.random.tables import placed_words

__all__ = ["other_values", "random_value", "written"]


def random_value(rng: random.Random, kind: str, column: str = "") -> Any:
    """A value of a kind; a string is one that the column may hold."""
    return _VALUES[kind](rng, column)


def _string(rng: random.Random, column: str) -> str:
    return rng.choice(placed_words(column or rng.choice(("name", "city", "note"))))


def _date(rng: random.Random, _column: str) -> date:
    return date(2023, rng.randint(1, 12), rng.randint(1, 28))


def _timestamp(rng: random.Random, _column: str) -> datetime:
    return datetime(2023, rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), 30)  # noqa: DTZ001


_VALUES: Mapping[str, Callable[[random.Random, str], Any]] = {
    "integer": lambda rng, _: rng.randint(-2, 40),
    "decimal": lambda rng, _: Decimal(rng.randint(-99_900, 99_999)) / 100,
    "string": _string,
    "date": _date,
    "timestamp": _timestamp,
    "boolean": lambda rng, _: rng.random() < 0.5,
    "double": lambda rng, _: rng.randint(-400, 400) / 4,
}


def written(value: Any) -> str:
    """A literal of DuckDB's for a value.

    >>> [written(value) for value in (True, 3, Decimal("1.50"), 0.25, "it's", date(2023, 1, 2))]
    ['true', '3', '1.50', 'CAST(0.25 AS DOUBLE)', "'it''s'", "DATE '2023-01-02'"]
    """
    return next(write(value) for kind, write in _WRITTEN.items() if isinstance(value, kind))


# A bool is an int and a datetime a date: the narrower type comes first.
_WRITTEN: Mapping[type, Callable[[Any], str]] = {
    bool: lambda value: str(value).lower(),
    int: str,
    Decimal: lambda value: f"{value:.2f}",
    float: lambda value: f"CAST({value} AS DOUBLE)",
    str: quoted,
    datetime: lambda value: f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}'",
    date: lambda value: f"DATE '{value}'",
}


def other_values(rng: random.Random, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Values for parameters of these kinds, some of another type that fits as well, some none at all."""
    return {name: _other(rng, kind) for name, kind in kinds.items()}


def _other(rng: random.Random, kind: str) -> Any:
    draw = rng.random()
    if draw < 0.12:
        return None
    return random_value(rng, rng.choice(_NEAR.get(kind, (kind,))) if draw < 0.35 else kind)


_NEAR = {
    "integer": ("decimal", "double", "boolean"),
    "decimal": ("integer", "double"),
    "double": ("integer", "decimal"),
    "date": ("timestamp",),
    "timestamp": ("date",),
}
