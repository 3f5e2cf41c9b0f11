"""What one principal may know of the catalog: the values that panels and `%vcatalog` show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["SYSTEM", "CatalogSnapshot", "ColumnSnapshot", "SourceSnapshot", "TableSnapshot"]

SYSTEM: Final = "tauro"
"""Connector type of tables that are part of the system, such as the audit log."""


@dataclass(frozen=True, slots=True)
class ColumnSnapshot:
    """One column as the principal sees it; `mask` names the mask when `access` is masked."""

    name: str
    type: str
    access: Literal["clear", "masked", "encrypted", "denied"] = "clear"
    mask: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """One virtual table as the principal sees it; `reason` says why access is denied."""

    name: str
    source_type: str
    connector_type: str
    connection_id: str
    description: str = ""
    tags: tuple[str, ...] = ()
    columns: tuple[ColumnSnapshot, ...] = ()
    access: Literal["allowed", "denied"] = "allowed"
    row_filtered: bool = False
    reason: str = ""
    row_count: int | None = None
    schema_known: bool = True


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """One source: its id, its type, and whether it is `idle`, `connected` or `down`."""

    id: str
    type: str
    status: Literal["idle", "connected", "down"] = "idle"


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """The catalog as one principal sees it, at one moment."""

    principal: str
    tables: tuple[TableSnapshot, ...] = ()
    sources: tuple[SourceSnapshot, ...] = ()

    def __repr__(self) -> str:
        return f"<CatalogSnapshot {len(self.sources)} sources, {len(self.tables)} tables>"
