"""What random queries are made of: columns in scope, and queries whose columns are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AGGREGATED", "COMPARE", "JOINED_BY", "KINDS", "RANGE", "Column", "Question", "Select", "aliased", "quoted"]

KINDS = ("integer", "decimal", "string", "date", "timestamp", "boolean", "double")
AGGREGATED = ("integer", "decimal", "double")
RANGE = ("<", "<=", ">", ">=", "<>")
COMPARE = ("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")

JOINED_BY = {
    "id": "person",
    "person_id": "person",
    "other_id": "person",
    "city": "city",
    "country": "country",
    "code": "code",
}
"""What columns of some names mean: those that mean the same are joined by preference."""


@dataclass(frozen=True)
class Column:
    """A column in scope."""

    sql: str
    kind: str
    name: str

    @property
    def relation(self) -> str:
        """The alias it is read through."""
        return self.sql.partition(".")[0] if "." in self.sql else ""


@dataclass(frozen=True)
class Select:
    """A query whose columns are `c0`, `c1`, ...; what they mean (`city`), where that is known, guides joins."""

    sql: str
    kinds: tuple[str, ...]
    meanings: tuple[str, ...] = ()

    def columns(self, alias: str) -> list[Column]:
        """Its columns under an alias."""
        meanings = self.meanings or ("",) * len(self.kinds)
        pairs = zip(self.kinds, meanings, strict=True)
        return [Column(f"{alias}.c{number}", kind, meaning) for number, (kind, meaning) in enumerate(pairs)]


@dataclass(frozen=True)
class Question:
    """A statement with the values of its parameters, and others that it is asked with again."""

    text: str
    params: dict[str, Any] = field(default_factory=dict)
    others: tuple[dict[str, Any], ...] = ()


def aliased(items: Sequence[str]) -> str:
    """Items of a SELECT under the names `c0`, `c1`, ..."""
    return ", ".join(f"{item} AS c{number}" for number, item in enumerate(items))


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"
