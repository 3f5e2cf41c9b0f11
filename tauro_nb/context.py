"""The front desk: a catalog, its sources, its policies, and one principal's way through them."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tauro_nb.catalog.registry import SchemaRegistry
from tauro_nb.catalog.snapshot import CatalogSnapshot, ColumnSnapshot, SourceSnapshot, TableSnapshot
from tauro_nb.config import CatalogConfig, load_config
from tauro_nb.errors import AccessDenied, QueryCancelled, TauroError, UsageError
from tauro_nb.monitor import QueryMonitor, QueryStatistics
from tauro_nb.security.audit import AuditLog, AuditTrail
from tauro_nb.security.enforcer import SecurityEnforcer
from tauro_nb.security.principal import Principal

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from tauro_nb.catalog.lineage import LineageGraph
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.engine.duckdb import DuckDBEngine
    from tauro_nb.interop.ibis import Backend
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.planner import Planner
    from tauro_nb.query.result import Result
    from tauro_nb.sources.pool import SourcePool

__all__ = ["VirtualContext", "VirtualDataLayer"]


class VirtualDataLayer:
    """A catalog with its sources and policies, shared by all principals.

    Parameters
    ----------
    config
        A validated configuration; None for an empty catalog that is filled by hand.

    Examples
    --------
    >>> layer = VirtualDataLayer.from_config({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})
    >>> [table.name for table in layer.schema_registry.list_tables()]
    ['one']
    """

    def __init__(self, config: CatalogConfig | None = None) -> None:
        config = config or load_config(None)
        self.config = config
        self.schema_registry = SchemaRegistry()
        for table in config.tables:
            self.schema_registry.register_table(table)
        self.audit_trail = AuditTrail(config.audit.path, config.audit.on_failure)
        self.security = SecurityEnforcer(
            default_access=config.default_access, principals=config.principals, trail=self.audit_trail
        )
        for policy in config.policies:
            self.security.register_policy(policy)
        self.monitor = QueryMonitor()
        self._machine: _Machine | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | os.PathLike[str]) -> VirtualDataLayer:
        """Build a layer from a mapping or a YAML file.

        Raises
        ------
        ConfigError
            Every mistake of the configuration at once.
        """
        return cls(load_config(config))

    @property
    def machine(self) -> _Machine:
        """Engine and sources, made when the first query needs them."""
        if self._machine is None:
            self._machine = _Machine(self)
        return self._machine

    @property
    def idle(self) -> bool:
        """Whether nothing has been connected yet."""
        return self._machine is None

    def close(self) -> None:
        """Close sources, engine and audit file; may be called twice."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None
        self.audit_trail.close()


class _Machine:
    """The moving parts of a layer. Imported late: a catalog can be browsed without an engine."""

    def __init__(self, layer: VirtualDataLayer) -> None:
        from tauro_nb.engine.duckdb import DuckDBEngine
        from tauro_nb.query.planner import Services
        from tauro_nb.sources.pool import SourcePool

        self.engine: DuckDBEngine = DuckDBEngine()
        self.pool: SourcePool = SourcePool(layer.config.connections, layer.config.base_path)
        self.services = Services(
            registry=layer.schema_registry,
            pool=self.pool,
            security=layer.security,
            describe=self.engine.describe,
            refresh=self.engine.refresh,
        )

    def close(self) -> None:
        self.pool.close()
        self.engine.close()


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A virtual table as one principal sees it, and where it stands in the lineage."""

    table: TableSnapshot
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]


class VirtualContext:
    """One principal's door to a virtual data layer.

    Every query, from whatever door, goes through `plan` and `query` here.

    Parameters
    ----------
    config
        A mapping, the path of a YAML file, or None for an empty catalog.
    principal
        Who asks: a name from the configuration's `principals`, any other name (which is then its own
        role), or a `Principal`. Without one, `admin`.
    layer
        Share an existing layer; `config` is then not read.

    Raises
    ------
    ConfigError
        Every mistake of the configuration at once.

    Examples
    --------
    >>> ctx = VirtualContext({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})
    >>> ctx.query("SELECT a + 1 AS b FROM one").rows()
    [{'b': 2}]
    """

    def __init__(
        self,
        config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        principal: str | Principal | None = None,
        *,
        layer: VirtualDataLayer | None = None,
    ) -> None:
        self.layer = layer if layer is not None else VirtualDataLayer(load_config(config))
        self.principal = self._resolve(principal)
        self._planner: Planner | None = None
        self._backend: Backend | None = None

    def _resolve(self, principal: str | Principal | None) -> Principal:
        if isinstance(principal, Principal):
            return principal
        name = "admin" if principal is None else principal
        known = self.layer.config.principals.get(name)
        return known if known is not None else Principal.of(name)

    # --- the catalog

    @property
    def schema_registry(self) -> SchemaRegistry:
        """The catalog of virtual tables."""
        return self.layer.schema_registry

    @property
    def virtual_layer(self) -> VirtualDataLayer:
        """The shared layer."""
        return self.layer

    @property
    def security(self) -> SecurityEnforcer:
        """Policies and decisions."""
        return self.layer.security

    @property
    def monitor(self) -> QueryMonitor:
        """Figures of past queries."""
        return self.layer.monitor

    def get_table(self, name: str) -> VirtualTable | None:
        """The virtual table of that name, or None."""
        return self.schema_registry.get_table(name)

    def as_principal(
        self, name: str | Principal, roles: list[str] | None = None, attributes: Mapping[str, Any] | None = None
    ) -> VirtualContext:
        """The same catalog, sources and audit trail, seen by someone else."""
        who = self._resolve(name)
        if roles is not None or attributes is not None:
            who = Principal(
                who.name,
                frozenset(roles) if roles is not None else who.roles,
                attributes if attributes is not None else who.attributes,
            )
        return VirtualContext(principal=who, layer=self.layer)

    # --- the road

    @property
    def planner(self) -> Planner:
        """The planner of this context's principal."""
        if self._planner is None:
            from tauro_nb.query.planner import Planner

            self._planner = Planner(self.layer.machine.services, self.principal)
        return self._planner

    def plan(self, query: Any, params: Any = None, *, limit: int | None = None) -> QueryPlan:
        """Plan a query without running it.

        Parameters
        ----------
        query
            DuckDB-dialect SQL, or an Ibis expression over this context's tables.
        params
            Values for `:name` (mapping) or `?` (sequence).
        limit
            At most this many rows; pushed to the sources.

        Raises
        ------
        TauroError
            Any step refused.
        """
        tree, frames, given = self._parts(query)
        return self.plan_parts(tree, frames, params if params is not None else given, limit)

    def plan_parts(
        self,
        tree: Any,
        frames: Mapping[str, pa.Table] | None = None,
        params: Any = None,
        limit: int | None = None,
        *,
        pushdown: bool = True,
        query_id: str | None = None,
    ) -> QueryPlan:
        """Plan SQL text or a tree; what is refused is in the audit trail, whichever door it came through."""
        try:
            return self.planner.plan(tree, params, frames, limit, pushdown=pushdown)
        except TauroError as error:
            self._record_refusal(error, tree, query_id or uuid.uuid4().hex)
            raise

    def query(
        self,
        query: Any,
        params: Any = None,
        *,
        limit: int | None = None,
        frames: Mapping[str, pa.Table] | None = None,
    ) -> Result:
        """Run a query and return its result, whose rows stream.

        Parameters are those of `plan`; `frames` are Arrow tables the query may name.

        Raises
        ------
        TauroError
            Any step refused, or running failed; nothing was returned then, and it is in the audit trail.
        """
        tree, found, given = self._parts(query)
        return self.query_parts(tree, {**found, **(frames or {})}, params if params is not None else given, limit)

    def query_parts(
        self, tree: Any, frames: Mapping[str, pa.Table] | None = None, params: Any = None, limit: int | None = None
    ) -> Result:
        """Run SQL text or a tree, with the frames it names: where all doors meet."""
        query_id = uuid.uuid4().hex
        started = time.perf_counter()
        plan = self.plan_parts(tree, frames, params, limit, query_id=query_id)
        return self._run(plan, query_id, started)

    def run(self, plan: QueryPlan, *, query_id: str | None = None) -> Result:
        """Run a plan of this principal's.

        Raises
        ------
        UsageError
            The plan was made for somebody else, or what that one may see changed: a plan is no ticket.
        AccessDenied
            One of its tables is denied by now.
        """
        if plan.principal != self.principal.name:
            raise UsageError(f"this plan is {plan.principal!r}'s, not {self.principal.name!r}'s.", hint="Plan again.")
        query_id = query_id or uuid.uuid4().hex
        try:
            self._require_unchanged(plan)
        except TauroError as error:
            self._record_refusal(error, plan.tree, query_id)
            raise
        return self._run(plan, query_id, time.perf_counter())

    def _require_unchanged(self, plan: QueryPlan) -> None:
        """Refuse a plan that was secured with other decisions than those of this moment."""
        for name, decision in plan.decisions.items():
            columns = {column.name: column.type for column in decision.columns.values()}
            if self.security.decide(name, columns, self.principal).require() != decision:
                message = f"what {plan.principal!r} may see of `{name}` changed since this plan was made."
                raise UsageError(message, hint="Plan again.", table=name)

    def _parts(self, query: Any) -> tuple[Any, dict[str, Any], Any]:
        """Text stays text; an expression becomes a tree and the frames it carries."""
        if isinstance(query, str):
            return query, {}, None
        from tauro_nb.query.plan import QueryPlan

        if isinstance(query, QueryPlan):
            return query.sql, {}, query.params
        from tauro_nb.interop.ibis import expression_parts

        return (*expression_parts(query), None)

    def _run(self, plan: QueryPlan, query_id: str, started: float) -> Result:
        from tauro_nb.query.result import Result, ResultStats

        record = _Record(self, plan, query_id, started)
        record.intent()
        machine = self.layer.machine
        try:
            execution = machine.engine.run(plan)
        except BaseException as error:
            record.failed(error)
            raise
        for table in plan.tables:
            self.schema_registry.add_lineage_edge(table, f"query {query_id[:8]}", kind="query")

        def stats() -> ResultStats:
            return ResultStats(record.rows, record.bytes, plan.plan_ms, record.elapsed_ms)

        return Result(execution.schema, record.watch(execution), plan, stats)

    def _record_refusal(self, error: TauroError, tree: Any, query_id: str) -> None:
        """A query that never ran leaves a record all the same."""
        table = getattr(error, "table", "") or ""
        if isinstance(error, AccessDenied):
            self.layer.audit_trail.denied(
                self.principal.name, table, str(error.message), roles=self.principal.roles, query_id=query_id
            )
        else:
            self.layer.audit_trail.record(
                AuditLog(
                    principal=self.principal.name,
                    roles=tuple(sorted(self.principal.roles)),
                    table_name=table,
                    status="FAILED",
                    denial_reason=type(error).__name__,
                    query_id=query_id,
                )
            )

    # --- the doors

    def ibis(self) -> Backend:
        """The context as an Ibis backend."""
        if self._backend is None:
            from tauro_nb.interop.ibis import Backend

            self._backend = Backend.of(self)
        return self._backend

    def table(self, name: str) -> ir.Table:
        """A virtual table as a lazy Ibis expression."""
        return self.ibis().table(name)

    def sql(self, text: str) -> ir.Table:
        """SQL as a lazy Ibis expression; bound, authorized and secured when it runs, like everything else."""
        return self.ibis().sql(text)

    def read_table(
        self, name: str, principal: str | Principal | None = None, apply_security: bool = True
    ) -> list[dict[str, Any]]:
        """All rows of a table as dictionaries.

        Parameters
        ----------
        principal
            Read as somebody else.
        apply_security
            False asks for the raw rows; only a principal whom no policy of the table restricts gets them.

        Raises
        ------
        AccessDenied
            The table is denied, or raw rows were asked for and a policy applies.
        """
        who = self if principal is None else self.as_principal(principal)
        if not apply_security:
            who.require_unrestricted(name)
        quoted = ".".join(f'"{part}"' for part in self.schema_registry.resolve(name).name.split("."))
        return who.query(f"SELECT * FROM {quoted}").rows()

    def require_unrestricted(self, name: str) -> None:
        """Refuse if any policy stands between this principal and the raw table.

        Raises
        ------
        AccessDenied
            One does.
        """
        decision = self.planner.fresh_entry(name).decision.require()
        if decision.needs_barrier or len(decision.visible_columns) != len(decision.columns):
            raise AccessDenied(
                f"`{name}` cannot be read without its policy by {self.principal.name!r}.",
                hint="apply_security=False never bypasses a policy that applies to you.",
            )

    # --- looking around

    def catalog(self) -> CatalogSnapshot:
        """The catalog as this principal may see it. Asks no source: unknown schemas stay unknown."""
        tables = tuple(self._snapshot(table) for table in self.schema_registry.list_tables())
        return CatalogSnapshot(self.principal.name, tables, self._sources())

    def _sources(self) -> tuple[SourceSnapshot, ...]:
        status = (lambda _: "idle") if self.layer.idle else self.layer.machine.pool.status
        return tuple(
            SourceSnapshot(spec.id, spec.type, status(spec.id))  # type: ignore[arg-type]
            for spec in self.layer.config.connections.values()
        )

    def _snapshot(self, table: VirtualTable, columns: Mapping[str, str] | None = None) -> TableSnapshot:
        known = dict(columns if columns is not None else table.schema)
        if columns is None and not known and not self.layer.idle:
            remembered = self.layer.machine.services.physical.get(table.name)
            known = {name: fact.type for name, fact in remembered.facts.items()} if remembered else {}
        reason = self._closed(table.name)
        filtered = not reason and self.security.is_row_filtered(table.name, self.principal)
        decided = self.security.decide(table.name, known, self.principal).columns if known and not reason else {}
        statistics = self.schema_registry.get_table_statistics(table.name)
        # A row count of the whole table would tell a filtered principal about hidden rows.
        count = statistics.row_count if statistics is not None and not reason and not filtered else None
        return TableSnapshot(
            name=table.name,
            source_type=table.source_type.name if table.source_type else "VIEW",
            connector_type=table.connector_type,
            connection_id=table.connection_id,
            description=table.description,
            tags=tuple(table.tags),
            columns=tuple(ColumnSnapshot(c.name, c.type, c.access, c.mask) for c in decided.values()),
            access="denied" if reason else "allowed",
            row_filtered=filtered,
            reason=reason,
            row_count=count,
            schema_known=bool(known),
        )

    def _closed(self, name: str) -> str:
        try:
            self.security.check_table(name, self.principal)
        except AccessDenied as error:
            return error.message
        return ""

    def describe(self, name: str) -> TableDescription:
        """One table in full; asks the source for its columns where the catalog does not declare them.

        Raises
        ------
        UnknownTable, AccessDenied, SourceUnavailable
            There is no such table, it is denied, or its source does not answer.
        """
        table = self.schema_registry.resolve(name)
        entry = self.planner.fresh_entry(table.name)
        entry.decision.require()
        lineage = self.schema_registry.get_lineage(table.name)
        return TableDescription(
            self._snapshot(table, entry.columns), tuple(lineage["upstream"]), tuple(lineage["downstream"])
        )

    def visible_schema(self, name: str) -> dict[str, str]:
        """Columns this principal may read, with DuckDB types.

        Raises
        ------
        UnknownTable, AccessDenied, SourceUnavailable
            There is no such table, it is denied, or its source does not answer.
        """
        decision = self.planner.fresh_entry(self.schema_registry.resolve(name).name).decision.require()
        return {column: decision.columns[column].type for column in decision.visible_columns}

    def lineage(self, name: str | None = None) -> LineageGraph:
        """The lineage of the whole catalog, or of everything around one table."""
        graph = self.schema_registry.lineage()
        return graph if name is None else graph.around(self.schema_registry.resolve(name).name)

    def audit_logs(self, **filters: Any) -> list[AuditLog]:
        """Audit records by `table_name`, `principal`, `start_time`, `end_time`, `status`."""
        return self.layer.audit_trail.records(**filters)

    def close(self) -> None:
        """Close the layer, for all principals that share it; may be called twice."""
        self.layer.close()
        self._planner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VirtualContext {len(self.schema_registry)} tables, as {self.principal.name!r}>"


class _Record:
    """The last step of the road for one query: intent before, result after, figures in between."""

    def __init__(self, ctx: VirtualContext, plan: QueryPlan, query_id: str, started: float) -> None:
        self._ctx = ctx
        self._plan = plan
        self._query_id = query_id
        self._started = started
        self._ended: float | None = None
        self.rows = 0
        self.bytes = 0

    @property
    def elapsed_ms(self) -> float:
        return ((self._ended or time.perf_counter()) - self._started) * 1000

    def intent(self) -> None:
        """Write what is about to be read. Without this record nothing runs."""
        from tauro_nb.query.fingerprint import statement_of

        self._ctx.layer.audit_trail.intent(
            self._ctx.principal.name,
            self._plan.columns,
            roles=self._ctx.principal.roles,
            statement=statement_of(self._plan.tree),
            policies={name: self._plan.decisions[name].policy_hash for name in self._plan.tables},
            query_id=self._query_id,
        )

    def watch(self, execution: Any) -> Iterator[pa.RecordBatch]:
        """Pass batches on, and write the result record at the end, however it comes."""
        try:
            for batch in execution:
                self.rows += batch.num_rows
                self.bytes += batch.nbytes
                yield batch
        except GeneratorExit:
            self._finish("SUCCESS", "closed before the end")
            raise
        except BaseException as error:
            self.failed(error)
            raise
        self._finish("SUCCESS", "")

    def failed(self, error: BaseException) -> None:
        """The result record of a query that returned nothing; what is remembered of its tables is dropped."""
        self._ctx.layer.machine.services.forget(self._plan.tables)
        cancelled = isinstance(error, (QueryCancelled, KeyboardInterrupt))
        self._finish("CANCELLED" if cancelled else "FAILED", type(error).__name__)

    def _finish(self, status: str, reason: str) -> None:
        self._ended = time.perf_counter()
        self._ctx.layer.audit_trail.result(
            self._query_id, row_count=self.rows, status=status, reason=reason, duration_ms=self.elapsed_ms
        )
        self._ctx.layer.monitor.record(
            QueryStatistics(
                query_id=self._query_id,
                table_name=self._plan.tables[0] if self._plan.tables else "",
                execution_time_ms=self.elapsed_ms,
                rows_returned=self.rows,
                bytes_scanned=self.bytes,
                plan_time_ms=self._plan.plan_ms,
                status=status,
                tables=self._plan.tables,
            )
        )
