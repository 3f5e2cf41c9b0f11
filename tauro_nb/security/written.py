"""The one way in which values of a type are written before they are encrypted, so that equal ones have equal tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from tauro_nb.security.types import is_integer, is_text

__all__ = ["is_miswritten", "written"]

_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]*")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> str | None:
    if isinstance(value, str):
        return value if _WHOLE.fullmatch(value) else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _day(value: Any) -> str | None:
    if type(value) is date:
        return value.isoformat()
    try:
        return value if isinstance(value, str) and date.fromisoformat(value).isoformat() == value else None
    except ValueError:
        return None


def _uuid(value: Any) -> str | None:
    if isinstance(value, UUID):
        return str(value)
    try:
        return value if isinstance(value, str) and str(UUID(value)) == value else None
    except ValueError:
        return None


_WRITERS: Final[Mapping[str, Callable[[Any], str | None]]] = MappingProxyType({"DATE": _day, "UUID": _uuid})


def written(value: Any, type: str) -> str | None:
    """A value as the tokens of a column of this DuckDB type have it; None where that cannot be said for sure.

    Examples
    --------
    >>> written("Ana", "VARCHAR"), written(7, "BIGINT"), written("07", "BIGINT"), written(7, "VARCHAR")
    ('Ana', '7', None, None)
    >>> written(date(2024, 2, 29), "DATE"), written("1.50", "DECIMAL(9,2)")
    ('2024-02-29', None)
    """
    writer = _writer(type)
    return None if writer is None else writer(value)


def is_miswritten(text: str, type: str) -> bool:
    """Whether a text is surely not how DuckDB writes a value of the type.

    Examples
    --------
    >>> is_miswritten("07", "BIGINT"), is_miswritten("7", "BIGINT"), is_miswritten("7", "DECIMAL(9,2)")
    (True, False, False)
    """
    writer = _writer(type)
    return writer is not None and writer(text) is None


def _writer(type: str) -> Callable[[Any], str | None] | None:
    return _text if is_text(type) else _whole if is_integer(type) else _WRITERS.get(type.upper())
