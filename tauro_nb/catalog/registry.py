"""The catalog itself: virtual tables by name, their statistics, the history of their schemas, their lineage."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Final

from tauro_nb.catalog.connectors import canonical_connector
from tauro_nb.catalog.enums import SourceType
from tauro_nb.catalog.evolution import SchemaChange, SchemaVersion
from tauro_nb.catalog.lineage import LineageEdge, LineageGraph, LineageNode
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.catalog.table import VirtualTable
from tauro_nb.catalog.validation import JoinCheck, check_join
from tauro_nb.catalog.views import tables_in
from tauro_nb.errors import BindError, DuplicateTable, SchemaMismatch, UnknownTable, UsageError, nearest

__all__ = ["SchemaRegistry"]

_FORMATS: Final = ("json", "dict", "yaml")


class SchemaRegistry:
    """Virtual tables by name; safe to use from several threads.

    Names are unique whatever their case. The registry keeps copies: change a table with `update_table`, not by
    changing the object that was registered.

    Examples
    --------
    >>> registry = SchemaRegistry()
    >>> registry.register_table(VirtualTable("orders", connector_type="csv", path="orders.csv", tags=["sales"]))
    >>> registry.register_table(VirtualTable("daily", query="SELECT day, count(*) FROM orders GROUP BY day"))
    >>> [table.name for table in registry.list_tables(tag="sales")]
    ['orders']
    >>> registry.get_lineage("orders")
    {'upstream': [], 'downstream': ['daily']}
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tables: dict[str, VirtualTable] = {}
        self._system: dict[str, VirtualTable] = {}
        self._history: dict[str, tuple[SchemaVersion, ...]] = {}
        self._statistics: dict[str, TableStatistics] = {}
        self._observed: dict[LineageEdge, None] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """Counts the changes of definitions; statistics and lineage seen in queries do not count."""
        return self._version

    def __len__(self) -> int:
        return len(self._tables)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get_table(name) is not None

    def __iter__(self) -> Iterator[VirtualTable]:
        return iter(self.list_tables())

    def __repr__(self) -> str:
        return f"<SchemaRegistry {len(self)} tables>"

    def add_system_table(self, table: VirtualTable) -> None:
        """Add a table of the system itself: found by its name, in no list of tables, and never changed."""
        self._system[table.name.casefold()] = table

    def system_tables(self) -> tuple[VirtualTable, ...]:
        """The tables of the system itself."""
        return tuple(self._system.values())

    def register_table(self, table: VirtualTable) -> None:
        """Add a table; adding the very same again, as when a cell runs twice, does nothing.

        Raises
        ------
        DuplicateTable
            If another table has the name.
        """
        with self._lock:
            there = self.get_table(table.name)
            if there == table:
                return
            if there is not None:
                hint = "Change it with `update_table`, or delete it first."
                raise DuplicateTable(f"The catalog has a table `{there.name}` already.", hint=hint)
            self._store(table)

    def update_table(self, table: VirtualTable, *, allow_breaking: bool = True) -> tuple[SchemaChange, ...]:
        """Replace the table of the same name.

        Parameters
        ----------
        table
            The new definition, complete.
        allow_breaking
            Whether columns may be dropped or narrowed.

        Returns
        -------
        tuple of SchemaChange
            What is different in the schema.

        Raises
        ------
        UnknownTable
            If there is no such table.
        SchemaMismatch
            If the change breaks readers, and that is not allowed.

        Examples
        --------
        >>> registry = SchemaRegistry()
        >>> registry.register_table(VirtualTable("t", schema={"id": "INTEGER", "x": "DATE"}))
        >>> [str(change) for change in registry.update_table(VirtualTable("t", schema={"id": "BIGINT"}))]
        ['id widened (INTEGER -> BIGINT)', 'x dropped (DATE)']
        """
        with self._lock:
            key = self._own(table.name)
            last = self._history[key][-1]
            version = last.next(table.schema)
            breaking = [str(change) for change in version.changes if change.breaking]
            if version is last:
                self._store(table)
                return ()
            if breaking and not allow_breaking:
                raise SchemaMismatch(f"Updating `{table.name}` would break its readers: {'; '.join(breaking)}.")
            self._store(table)
            return version.changes

    def delete_table(self, name: str) -> None:
        """Remove a table with its statistics; the history of its schema stays.

        Raises
        ------
        UnknownTable
            If there is no such table.
        """
        with self._lock:
            key = self._own(name)
            del self._tables[key]
            self._statistics.pop(key, None)
            self._version += 1

    def _own(self, name: str) -> str:
        """The key of a table that may be changed."""
        key = self.resolve(name).name.casefold()
        if key in self._system:
            raise UsageError(f"`{name}` is a table of the system; it cannot be changed.")
        return key

    def _store(self, table: VirtualTable) -> None:
        key = table.name.casefold()
        self._tables[key] = table.copy()
        history = self._history.get(key, ())
        version = history[-1].next(table.schema) if history else SchemaVersion(1, MappingProxyType(dict(table.schema)))
        if not history or version is not history[-1]:
            self._history[key] = (*history, version)
        self._version += 1

    def get_table(self, name: str) -> VirtualTable | None:
        """The table of this name, or None."""
        key = name.casefold()
        return self._system.get(key) or self._tables.get(key)

    def resolve(self, name: str) -> VirtualTable:
        """The table of this name.

        Raises
        ------
        UnknownTable
            If there is none; the message offers the nearest name.
        """
        with self._lock:
            table = self.get_table(name)
            if table is None:
                names = [known.name for known in self._tables.values()]
                raise UnknownTable(f"There is no table `{name}`.{nearest(name, names)}")
            return table

    def list_tables(
        self, source_type: SourceType | str | None = None, connector_type: str | None = None, tag: str | None = None
    ) -> list[VirtualTable]:
        """Tables in the order of their registration, those that fit every filter."""
        family = None if source_type is None else _family(source_type)
        connector = None if connector_type is None else canonical_connector(connector_type)
        folded = None if tag is None else tag.casefold()
        with self._lock:
            return [
                table
                for table in self._tables.values()
                if (family is None or table.source_type is family)
                and (connector is None or table.connector_type == connector)
                and (folded is None or folded in {own.casefold() for own in table.tags})
            ]

    def names(self) -> tuple[str, ...]:
        """Names of all tables."""
        return tuple(table.name for table in tuple(self._tables.values()))

    def labels(self, name: str) -> tuple[tuple[str, ...], dict[str, list[str]]] | None:
        """The tags of a table and of its columns, which policies of tags go by; None when there is no such table."""
        table = self._tables.get(name.casefold())
        return None if table is None else (tuple(table.tags), table.column_tags)

    def get_table_statistics(self, name: str) -> TableStatistics | None:
        """What was last recorded of a table's size, if anything was."""
        return self._statistics.get(self.resolve(name).name.casefold())

    def record_statistics(self, name: str, statistics: TableStatistics) -> None:
        """Remember a table's size."""
        with self._lock:
            self._statistics[self.resolve(name).name.casefold()] = statistics

    def schema_versions(self, name: str) -> tuple[SchemaVersion, ...]:
        """Every schema the table had, the oldest first; deleted tables keep theirs.

        Raises
        ------
        UnknownTable
            If there never was such a table.
        """
        history = self._history.get(name.casefold())
        return history if history is not None else self._history[self.resolve(name).name.casefold()]

    def check_join_compatibility(
        self, left_table: str, left_column: str, right_table: str, right_column: str
    ) -> JoinCheck:
        """Say whether two columns can be joined, from their declared types.

        Raises
        ------
        UnknownTable, BindError
            If a table is not there, or a declared schema lacks the column.

        Examples
        --------
        >>> registry = SchemaRegistry()
        >>> registry.register_table(VirtualTable("c", schema={"id": "INTEGER"}))
        >>> registry.register_table(VirtualTable("o", schema={"customer": "VARCHAR"}))
        >>> bool(registry.check_join_compatibility("c", "id", "o", "customer"))
        False
        """
        left, left_type = self._column(left_table, left_column)
        right, right_type = self._column(right_table, right_column)
        return check_join(left, left_type, right, right_type)

    def _column(self, table_name: str, column: str) -> tuple[str, str | None]:
        """The column's full name, and its type if a schema is declared."""
        table = self.resolve(table_name)
        by_folded = {name.casefold(): (name, type_) for name, type_ in table.schema.items()}
        found = by_folded.get(column.casefold())
        if table.schema and found is None:
            raise BindError(f"The table `{table.name}` has no column `{column}`.{nearest(column, table.schema)}")
        name, type_ = found or (column, None)
        return f"{table.name}.{name}", type_

    def add_lineage_edge(self, src: str, dst: str, kind: str = "query") -> None:
        """Record that `dst` was made from `src`; names of tables in any case, other names as they are."""
        with self._lock:
            self._observed[LineageEdge(self._spelled(src), self._spelled(dst), kind)] = None

    def _spelled(self, name: str) -> str:
        table = self.get_table(name)
        return name if table is None else table.name

    def lineage(self) -> LineageGraph:
        """What is made from what: declared, read from views, and seen in queries."""
        with self._lock:
            tables = list(self._tables.values())
            edges = [
                LineageEdge(self._spelled(upstream), table.name, kind)
                for table in tables
                for kind, names in (("declared", table.source_tables), ("view", _read_by(table)))
                for upstream in names
            ]
            edges += self._observed
            nodes = [LineageNode(table.name, "view" if table.is_view else "table", table.name) for table in tables]
            known = {node.name for node in nodes}
            nodes += [
                LineageNode(edge.downstream, "query", edge.downstream)
                for edge in self._observed
                if edge.kind == "query" and edge.downstream not in known
            ]
            return LineageGraph.build(edges, nodes)

    def get_lineage(self, table_name: str, depth: int | None = None) -> dict[str, list[str]]:
        """Everything a table is made from and everything made from it, the nearest first.

        Raises
        ------
        UnknownTable
            If neither a table nor anything in the lineage has the name.
        """
        graph = self.lineage()
        name = self._spelled(table_name)
        if name not in {node.name for node in graph.nodes}:
            name = self.resolve(table_name).name
        return {"upstream": list(graph.upstream(name, depth)), "downstream": list(graph.downstream(name, depth))}

    def export_catalog(self, format: str = "json") -> dict[str, Any]:
        """Everything but the secrets, in a stable order.

        Parameters
        ----------
        format
            `json` and `yaml` hold nothing but text, numbers, booleans, lists and mappings; `dict` has the
            `VirtualTable` objects themselves, unmasked.

        Returns
        -------
        dict
            `tables` by name, and `lineage` as a list of edges.

        Examples
        --------
        >>> registry = SchemaRegistry()
        >>> registry.register_table(VirtualTable("c", connector_type="csv", path="c.csv"))
        >>> registry.export_catalog()["tables"]["c"]["path"]
        'c.csv'
        """
        if format not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise UsageError(
                f"The catalog cannot be exported as `{format}`.{nearest(format, _FORMATS)} Known: {known}."
            )
        with self._lock:
            tables = sorted(self._tables.values(), key=lambda table: table.name)
            edges = self.lineage().edges
            if format == "dict":
                return {"tables": {table.name: table.copy() for table in tables}, "lineage": list(edges)}
            return {
                "tables": {table.name: self._exported(table) for table in tables},
                "lineage": [dataclasses.asdict(edge) for edge in edges],
            }

    def _exported(self, table: VirtualTable) -> dict[str, Any]:
        statistics = self._statistics.get(table.name.casefold())
        return {
            "name": table.name,
            **table.to_mapping(),
            "schema_version": self._history[table.name.casefold()][-1].number,
            **({"statistics": statistics.to_mapping()} if statistics else {}),
        }


def _read_by(table: VirtualTable) -> tuple[str, ...]:
    return tables_in(table.query) if table.is_view and table.query else ()


def _family(source_type: SourceType | str) -> SourceType:
    try:
        return SourceType(source_type)
    except ValueError:
        names = [member.value for member in SourceType]
        hint = nearest(str(source_type), names)
        raise UsageError(f"There is no source type `{source_type}`.{hint} Known: {', '.join(names)}.") from None
