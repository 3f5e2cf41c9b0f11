"""The registry as one principal may see it: without what is closed, and without what sources call their tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from tauro_nb.browse import known_columns
from tauro_nb.catalog.registry import SchemaRegistry
from tauro_nb.errors import AccessDenied
from tauro_nb.security.sight import Sight, seen_statistics

if TYPE_CHECKING:
    from tauro_nb.catalog.lineage import LineageGraph
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.layer import VirtualDataLayer
    from tauro_nb.security.principal import Principal

__all__ = ["SeenRegistry", "seen_table"]


class SeenRegistry(SchemaRegistry):
    """A copy, as of now, for reading.

    Parameters
    ----------
    layer
        Has the whole catalog.
    principal
        Who looks.
    lineage
        What the principal may see of it.

    Examples
    --------
    >>> from tauro_nb import VirtualContext
    >>> tables = {"orders": {"path": "orders.csv", "schema": {"id": "BIGINT"}}, "payroll": {"path": "payroll.csv"}}
    >>> ctx = VirtualContext({"virtual_tables": tables, "security_policies": {"payroll": {"allowed_roles": ["hr"]}}})
    >>> seen = ctx.as_principal("ana").schema_registry
    >>> seen.names(), seen.resolve("orders").path
    (('orders',), None)
    """

    def __init__(self, layer: VirtualDataLayer, principal: Principal, lineage: LineageGraph) -> None:
        super().__init__()
        whole, self._lineage, self._who = layer.schema_registry, lineage, principal
        sight = Sight(whole, layer.security, principal)
        for table in whole.list_tables():
            if not sight.closed(table):
                decision = layer.security.decide(table.name, known_columns(layer, table), principal)
                self._store(_seen(table, frozenset(decision.visible_columns), frozenset(sight.names())))
                known = whole.get_table_statistics(table.name)
                if known is not None:
                    self._statistics[table.name.casefold()] = seen_statistics(known, decision)
        self._version = whole.version

    def lineage(self) -> LineageGraph:
        """What is made from what, between tables that are open."""
        return self._lineage

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise AccessDenied(
            f"{self._who.name!r} may not change the catalog.", hint="Those who may read policies change it."
        )

    register_table = update_table = delete_table = record_statistics = add_lineage_edge = _refuse


def seen_table(layer: VirtualDataLayer, principal: Principal, table: VirtualTable) -> VirtualTable:
    """One open table as the principal may see it: a copy, for the catalog's own could be changed through it."""
    decision = layer.security.decide(table.name, table.schema, principal)
    names = Sight(layer.schema_registry, layer.security, principal).names() if table.source_tables else ()
    return _seen(table, frozenset(decision.visible_columns), frozenset(names))


def _seen(table: VirtualTable, columns: frozenset[str], names: frozenset[str]) -> VirtualTable:
    return replace(
        table,
        # A view's text names what it reads and may compare with anything; a source's own is none of ours.
        query=None,
        table_name=None,
        path=None,
        schema={name: kind for name, kind in table.schema.items() if name in columns},
        partitions=[name for name in table.partitions if name in columns],
        source_tables=[name for name in table.source_tables if name in names],
        transformation=None,
        encryption_config=None,
        access_control={},
        parameters={},
        options={},
        column_tags={name: tags for name, tags in table.column_tags.items() if name in columns},
    )
