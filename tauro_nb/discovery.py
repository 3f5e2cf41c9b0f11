"""Looking around: the part of a context that shows the catalog, as far as its principal may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tauro_nb.browse import TableDescription, snapshot_catalog, snapshot_table
from tauro_nb.errors import AccessDenied, TauroError

if TYPE_CHECKING:
    from tauro_nb.catalog.lineage import LineageGraph
    from tauro_nb.catalog.snapshot import CatalogSnapshot
    from tauro_nb.catalog.statistics import TableStatistics
    from tauro_nb.layer import VirtualDataLayer
    from tauro_nb.query.planner import Planner
    from tauro_nb.query.tables import TableEntry
    from tauro_nb.security.decision import TableDecision
    from tauro_nb.security.principal import Principal
    from tauro_nb.security.sight import Sight

__all__ = ["Discovery"]


class Discovery:
    """The part of a context that shows tables; it reads no rows."""

    layer: VirtualDataLayer

    if TYPE_CHECKING:

        @property
        def principal(self) -> Principal:
            """Who looks."""

        @property
        def planner(self) -> Planner:
            """The planner of that principal."""

        @property
        def sight(self) -> Sight:
            """What that principal may know of the catalog."""

        @property
        def reads_policies(self) -> bool:
            """Whether that principal may read policies."""

        def _record_refusal(
            self, error: TauroError, query_id: str | None = None, asked: Any = None, params: Any = None
        ) -> None:
            """Record what was refused."""

        def _as_told(self, error: BaseException) -> BaseException:
            """An error as this principal may read it."""

    def catalog(self) -> CatalogSnapshot:
        """The catalog as this principal may see it. Asks no source: unknown schemas stay unknown."""
        return snapshot_catalog(self.layer, self.principal, closed=self._sees_closed)

    @property
    def _sees_closed(self) -> bool:
        """Whether the catalog lists what it denies."""
        return self.layer.config.security.list_denied or self.reads_policies

    def describe(self, name: str) -> TableDescription:
        """One table in full; asks the source for its columns where the catalog does not declare them.

        Raises
        ------
        UnknownTable, AccessDenied, SourceUnavailable
            There is no such table, it is denied, or its source does not answer.
        """
        entry = self._entry(name)
        graph = self._lineage()
        return TableDescription(
            snapshot_table(self.layer, self.principal, entry.table, entry.columns, closed=self._sees_closed),
            graph.upstream(entry.table.name),
            graph.downstream(entry.table.name),
        )

    def statistics(self, name: str) -> TableStatistics:
        """What this principal may know of a table's size and values, as its source's own catalog has it.

        Behind a row filter that is nothing; of columns that are masked, encrypted or denied neither.

        Raises
        ------
        UnknownTable, AccessDenied, SourceUnavailable
            There is no such table, it is denied, or its source does not answer.
        """
        return self.planner.shown_statistics(self._entry(name).table.name)

    def decision(self, name: str) -> TableDecision:
        """What was decided for this principal on a table, as it is now.

        Whoever may not read policies is told of no column that is denied, and gets a marker for what a policy says.

        Raises
        ------
        UnknownTable, AccessDenied, SourceUnavailable
            There is no such table, it is denied, or its source does not answer.
        """
        from tauro_nb.query.secrecy import shown_decision

        decision = self._entry(name).decision
        return decision if self.reads_policies else shown_decision(decision)

    def visible_schema(self, name: str) -> dict[str, str]:
        """Columns this principal may read, with DuckDB types.

        Raises
        ------
        UnknownTable, AccessDenied, SourceUnavailable
            There is no such table, it is denied, or its source does not answer.
        """
        decision = self.decision(name)
        return {column: decision.columns[column].shown_type for column in decision.visible_columns}

    def _entry(self, name: str) -> TableEntry:
        """One table as it is now; a refusal leaves a record, as that of a query does."""
        try:
            entry = self.planner.fresh_entry(name)
            entry.decision.require()
        except TauroError as error:
            self._record_refusal(error)
            refusal = self._as_told(error)
        else:
            return entry
        raise refusal

    def lineage(self, name: str | None = None) -> LineageGraph:
        """The lineage of the whole catalog, or of everything around one table, as far as this principal may see it.

        Closed tables are not in it. Names that the sources use, and queries of others, are for whoever may read
        policies.

        Raises
        ------
        UnknownTable, AccessDenied
            There is no such table, or it is denied.
        """
        graph = self._lineage()
        return graph if name is None else graph.around(self.require_open(name))

    def _lineage(self) -> LineageGraph:
        asked, me = self.layer.asked, (self.principal.name, self.principal.tenant)
        own = None if self.reads_policies else lambda query: me in asked.get(query, ())
        return self.sight.lineage(own)

    def require_open(self, name: str) -> str:
        """The name of a table as the catalog spells it; asks no source. A refusal is recorded.

        Raises
        ------
        UnknownTable, AccessDenied
            There is no such table, or it is denied.
        """
        try:
            table = self.sight.resolve(name)
            if reason := self.sight.closed(table):
                raise AccessDenied(reason, table=table.name)
        except TauroError as error:
            self._record_refusal(error)
            raise
        return table.name
