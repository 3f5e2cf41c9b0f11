"""How a table's schema changed, and whether that breaks those who read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tauro_nb.catalog.compatibility import widens

__all__ = ["SchemaChange", "SchemaVersion", "schema_changes"]


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One column that is not what it was; dropped and narrowed columns break readers."""

    column: str
    kind: Literal["added", "dropped", "widened", "narrowed"]
    before: str | None = None
    after: str | None = None

    @property
    def breaking(self) -> bool:
        """Whether a query that worked may now fail or lose values."""
        return self.kind in ("dropped", "narrowed")

    def __str__(self) -> str:
        types = " -> ".join(type_ for type_ in (self.before, self.after) if type_)
        return f"{self.column} {self.kind} ({types})"


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The schema of a table from one registration or update to the next; numbers start at 1."""

    number: int
    schema: Mapping[str, str]
    changes: tuple[SchemaChange, ...] = ()

    @property
    def breaking(self) -> bool:
        """Whether any change since the version before breaks readers."""
        return any(change.breaking for change in self.changes)

    def next(self, schema: Mapping[str, str]) -> SchemaVersion:
        """The version that follows; this one, if nothing has changed."""
        if list(schema.items()) == list(self.schema.items()):
            return self
        return SchemaVersion(self.number + 1, MappingProxyType(dict(schema)), schema_changes(self.schema, schema))


def schema_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[SchemaChange, ...]:
    """List the columns that differ, in table order, the dropped ones last.

    An empty schema is not a table without columns, it is a schema that the source tells: nothing is added or dropped
    when a declaration appears or goes. A renamed column is one dropped and one added. A type that is neither wider nor
    the same counts as narrowed.

    Examples
    --------
    >>> [str(change) for change in schema_changes({"id": "INTEGER", "x": "DATE"}, {"id": "BIGINT", "y": "DATE"})]
    ['id widened (INTEGER -> BIGINT)', 'y added (DATE)', 'x dropped (DATE)']
    """
    if not before or not after:
        return ()
    was = {name.casefold(): type_ for name, type_ in before.items()}
    now = {name.casefold() for name in after}
    changes: list[SchemaChange] = []
    for name, type_ in after.items():
        old = was.get(name.casefold())
        if old is None:
            changes.append(SchemaChange(name, "added", None, type_))
        elif old != type_:
            changes.append(SchemaChange(name, "widened" if widens(old, type_) else "narrowed", old, type_))
    changes += [SchemaChange(name, "dropped", old) for name, old in before.items() if name.casefold() not in now]
    return tuple(changes)
