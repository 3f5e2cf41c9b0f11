"""What one principal may know of the catalog: names, lineage and sizes, and nothing of what is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING

from tauro_nb.catalog.lineage import LineageGraph
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.catalog.views import tables_in
from tauro_nb.errors import AccessDenied, UnknownTable, nearest

if TYPE_CHECKING:
    from tauro_nb.catalog.registry import SchemaRegistry
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.security.decision import TableDecision
    from tauro_nb.security.enforcer import SecurityEnforcer
    from tauro_nb.security.principal import Principal

__all__ = ["Sight", "seen_statistics"]


class Sight:
    """One principal's view of a registry.

    Parameters
    ----------
    registry
        The whole catalog.
    security
        Decides.
    principal
        Who looks.

    Examples
    --------
    >>> from tauro_nb import VirtualContext
    >>> tables = {"open": {"query": "SELECT 1 AS a"}, "closed": {"query": "SELECT 2 AS b"}}
    >>> ctx = VirtualContext(
    ...     {"virtual_tables": tables, "security_policies": {"closed": {"allowed_roles": ["admin"]}}}, principal="ana"
    ... )
    >>> Sight(ctx.layer.schema_registry, ctx.security, ctx.principal).names()
    ('open',)
    """

    def __init__(self, registry: SchemaRegistry, security: SecurityEnforcer, principal: Principal) -> None:
        self._registry = registry
        self._security = security
        self._principal = principal

    def closed(self, table: VirtualTable) -> str:
        """Why a table is closed to the principal, itself or a table that it is a view of; empty when it is open."""
        return next(self._reasons(table, set()), "")

    def _reasons(self, table: VirtualTable, met: set[str]) -> Iterator[str]:
        met.add(table.name.casefold())
        try:
            self._security.check_table(table.name, self._principal)
        except AccessDenied as error:
            yield error.message
        for name in tables_in(table.query) if table.is_view and table.query else ():
            below = self._registry.get_table(name)
            if below is not None and below.name.casefold() not in met and any(self._reasons(below, met)):
                yield f"`{table.name}` is a view of a table that is closed to `{self._principal.name}`"

    def denied_below(self, view: VirtualTable, denial: AccessDenied) -> AccessDenied:
        """A denial of something that a view reads, for whoever named the view alone: what is closed is not named."""
        below = None if denial.table is None else self._registry.get_table(denial.table)
        if below is None or self.closed(below):
            said = f"`{view.name}` is a view of a table that is closed to `{self._principal.name}`"
        else:
            said = f"`{view.name}` reads of `{below.name}` what is denied to `{self._principal.name}`"
        return AccessDenied(said, table=view.name)

    def names(self) -> tuple[str, ...]:
        """Names of the open tables of the catalog."""
        return tuple(table.name for table in self._registry.list_tables() if not self.closed(table))

    def resolve(self, name: str) -> VirtualTable:
        """The table of this name, open or not: a copy, for the catalog's own could be pointed elsewhere.

        Raises
        ------
        UnknownTable
            There is none; the message offers the nearest of the open ones.
        """
        table = self._registry.get_table(name)
        if table is None:
            raise UnknownTable(f"There is no table `{name}`.{nearest(name, self.names())}")
        return table.copy()

    def lineage(self, own: Callable[[str], bool] | None = None) -> LineageGraph:
        """The lineage between open tables.

        Parameters
        ----------
        own
            Which queries to show. Without it everything between open tables is shown, also what is no table of the
            catalog: names that the sources use, and everybody's queries.
        """
        graph = self._registry.lineage()
        others = {node.name for node in graph.nodes if node.kind not in ("table", "view")}
        open_ = set(self.names())
        closed = {node.name for node in graph.nodes} - others - open_
        telling = {edge.downstream for edge in graph.edges if edge.upstream in closed}
        shown = (
            others if own is None else {node.name for node in graph.nodes if node.kind == "query" and own(node.name)}
        )
        return _part(graph, open_ | (shown - telling))


def _part(graph: LineageGraph, kept: AbstractSet[str]) -> LineageGraph:
    return LineageGraph(
        tuple(node for node in graph.nodes if node.name in kept),
        tuple(edge for edge in graph.edges if edge.upstream in kept and edge.downstream in kept),
    )


def seen_statistics(statistics: TableStatistics, decision: TableDecision) -> TableStatistics:
    """What the principal of a decision may know of a table's size and values.

    A row filter hides every count and size, for they count hidden rows too; of columns that are not clear nothing is
    known, and minimum and maximum, which are values, of no column while a policy stands before the table. The size of a
    table tells how long the values of all its columns are: it is shown where all of them are known to be clear.
    """
    hidden = decision.filter_tree is not None
    clear = bool(decision.columns) and all(column.access == "clear" for column in decision.columns.values())
    columns = {} if hidden else {
        name: replace(found, minimum=None, maximum=None) if decision.needs_barrier else found
        for name, found in statistics.columns.items()
        if name in decision.columns and decision.columns[name].access == "clear"
    }  # fmt: skip
    return TableStatistics(
        row_count=None if hidden else statistics.row_count,
        size_bytes=statistics.size_bytes if clear and not decision.needs_barrier else None,
        columns=columns,
        as_of=statistics.as_of,
        source=statistics.source,
    )
