"""The catalog as one principal may see it: values for panels and listings."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tauro_nb.catalog.snapshot import CatalogSnapshot, ColumnSnapshot, SourceSnapshot, TableSnapshot
from tauro_nb.security.sight import Sight

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


def snapshot_catalog(layer: VirtualDataLayer, principal: Principal, *, closed: bool = False) -> CatalogSnapshot:
    """Every table and source that the principal may know of; asks no source, so that unknown schemas stay unknown.

    Parameters
    ----------
    closed
        Also what is there and may not be read: names of tables and columns, marked as denied.
    """
    registry = layer.schema_registry
    sight = Sight(registry, layer.security, principal)
    own = ((table, closed) for table in registry.list_tables())
    system = ((table, False) for table in registry.system_tables())
    tables = tuple(
        snapshot_table(layer, principal, table, known_columns(layer, table), closed=closed)
        for table, listed in (*own, *system)
        if listed or not sight.closed(table)
    )
    return CatalogSnapshot(principal.name, tables, _sources(layer, {table.connection_id for table in tables}))


def snapshot_table(
    layer: VirtualDataLayer,
    principal: Principal,
    table: VirtualTable,
    columns: Mapping[str, str],
    *,
    closed: bool = False,
) -> TableSnapshot:
    """One table, given the columns known of it; `closed` as for the catalog."""
    reason = Sight(layer.schema_registry, layer.security, principal).closed(table)
    filtered = not reason and layer.security.is_row_filtered(table.name, principal)
    decided = layer.security.decide(table.name, columns, principal).columns if columns and not reason else {}
    shown = [column for column in decided.values() if closed or column.access != "denied"]
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
        columns=tuple(ColumnSnapshot(c.name, c.shown_type, c.access, c.mask) for c in shown),
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


def _sources(layer: VirtualDataLayer, used: AbstractSet[str]) -> tuple[SourceSnapshot, ...]:
    """The connections of the tables that are shown: of the others not even the name."""

    def status(connection_id: str) -> Literal["idle", "connected"]:
        known = not layer.idle and layer.machine.pool.is_used(connection_id)
        return "connected" if known else "idle"

    found = (spec for spec in layer.config.connections.values() if spec.id in used)
    return tuple(SourceSnapshot(spec.id, spec.type, status(spec.id)) for spec in found)
