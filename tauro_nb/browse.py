"""The catalog as one principal may see it: values for panels and listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tauro_nb.catalog.snapshot import CatalogSnapshot, ColumnSnapshot, SourceSnapshot, TableSnapshot
from tauro_nb.errors import AccessDenied

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.layer import VirtualDataLayer
    from tauro_nb.security.principal import Principal

__all__ = ["TableDescription", "known_columns", "snapshot_catalog", "snapshot_table"]


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A virtual table as one principal sees it, and where it stands in the lineage."""

    table: TableSnapshot
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]


def snapshot_catalog(layer: VirtualDataLayer, principal: Principal) -> CatalogSnapshot:
    """Every table and source; asks no source, so that schemas nobody needed yet stay unknown."""
    tables = tuple(
        snapshot_table(layer, principal, table, known_columns(layer, table))
        for table in layer.schema_registry.list_tables()
    )
    return CatalogSnapshot(principal.name, tables, _sources(layer))


def snapshot_table(
    layer: VirtualDataLayer, principal: Principal, table: VirtualTable, columns: Mapping[str, str]
) -> TableSnapshot:
    """One table, given the columns known of it."""
    reason = _closed(layer, table.name, principal)
    filtered = not reason and layer.security.is_row_filtered(table.name, principal)
    decided = layer.security.decide(table.name, columns, principal).columns if columns and not reason else {}
    statistics = layer.schema_registry.get_table_statistics(table.name)
    # A row count of the whole table would tell a filtered principal about hidden rows.
    count = statistics.row_count if statistics is not None and not reason and not filtered else None
    return TableSnapshot(
        name=table.name,
        source_type=table.source_type.name if table.source_type else "VIEW",
        connector_type=table.connector_type,
        connection_id=table.connection_id,
        description=table.description,
        tags=tuple(table.tags),
        columns=tuple(ColumnSnapshot(c.name, c.shown_type, c.access, c.mask) for c in decided.values()),
        access="denied" if reason else "allowed",
        row_filtered=filtered,
        reason=reason,
        row_count=count,
        schema_known=bool(columns),
    )


def known_columns(layer: VirtualDataLayer, table: VirtualTable) -> dict[str, str]:
    """Declared columns, or those its source told before."""
    if table.schema or layer.idle:
        return dict(table.schema)
    remembered = layer.machine.services.physical.get(table.name)
    return {name: fact.type for name, fact in remembered.facts.items()} if remembered else {}


def _closed(layer: VirtualDataLayer, name: str, principal: Principal) -> str:
    """Why the table is closed to the principal; empty when it is open."""
    try:
        layer.security.check_table(name, principal)
    except AccessDenied as error:
        return error.message
    return ""


def _sources(layer: VirtualDataLayer) -> tuple[SourceSnapshot, ...]:
    def status(connection_id: str) -> Literal["idle", "connected"]:
        used = not layer.idle and layer.machine.pool.is_used(connection_id)
        return "connected" if used else "idle"

    return tuple(SourceSnapshot(spec.id, spec.type, status(spec.id)) for spec in layer.config.connections.values())
