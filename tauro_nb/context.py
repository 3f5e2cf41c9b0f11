"""The front desk: a catalog, its sources, its policies, and one principal's way through them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tauro_nb.catalog.registry import SchemaRegistry
from tauro_nb.config import load_config
from tauro_nb.discovery import Discovery
from tauro_nb.errors import AccessDenied, QueryCancelled, TauroError, UsageError
from tauro_nb.layer import VirtualDataLayer
from tauro_nb.monitor import QueryMonitor
from tauro_nb.oversight import Oversight
from tauro_nb.query.budget import require_within
from tauro_nb.query.plain import plain_frames
from tauro_nb.security.enforcer import SecurityEnforcer
from tauro_nb.security.principal import Principal
from tauro_nb.security.sight import Sight
from tauro_nb.seen import SeenRegistry, seen_table

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from tauro_nb.allowed import WhileAllowed
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.engine.meter import Meter
    from tauro_nb.interop.ibis import Backend
    from tauro_nb.profile import TableProfile
    from tauro_nb.progress import Listener
    from tauro_nb.query.limits import Limits
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.planner import Planner
    from tauro_nb.query.result import Result

T = TypeVar("T")

__all__ = ["VirtualContext"]


class VirtualContext(Discovery, Oversight):
    """One principal's door to a virtual data layer.

    Every query, from whatever door, goes through `plan` and `query` here.

    Parameters
    ----------
    config
        A mapping, the path of a YAML file, or None for an empty catalog.
    principal
        Who asks: a name from the configuration's `principals`, any other name (which is then its own
        role), or a `Principal`. Without one, the configuration's `security.default_principal`, or else `admin`, who is
        `nobody` where policies are in a file.
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
        self._who = self.layer.config.security.default_principal if principal is None else principal
        self._claims: Mapping[str, Any] = {}
        self._caller = ""
        self._lender: VirtualContext | None = None
        self._planner: Planner | None = None
        self._backend: Backend | None = None
        self.principal  # noqa: B018 - a name that is none is refused at once

    @property
    def principal(self) -> Principal:
        """Who asks, as declared at this moment: a role that was taken away is gone with the next request."""
        who = self.layer.security.principal(self._who)
        return replace(who, **self._claims) if self._claims else who

    @property
    def policy_version(self) -> str:
        """Content hash of all policies in force: equal for equal rules, wherever and in what order they are written.

        Empty for whoever may not read policies: a guess at what they say could be tried by it.
        """
        security = self.layer.security
        return security.version() if self.reads_policies or security.book.closed else ""

    # --- the catalog

    @property
    def schema_registry(self) -> SchemaRegistry:
        """The catalog of virtual tables; for whoever may not read policies a copy of what is open, for reading."""
        if self.reads_policies:
            return self.layer.schema_registry
        return self._or_refused(partial(SeenRegistry, self.layer, self.principal, self._lineage()), None, None, None)

    @property
    def sight(self) -> Sight:
        """What this principal may know of the catalog."""
        return Sight(self.layer.schema_registry, self.layer.security, self.principal)

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
        """Figures of past queries; of the own ones for whoever may not read policies."""
        me = self.principal
        return self.layer.monitor if self.reads_policies else self.layer.monitor.of(me.name, me.tenant)

    def get_table(self, name: str) -> VirtualTable | None:
        """The virtual table of that name; None when there is none that this principal may know of.

        Whoever may not read policies gets a copy, as from `schema_registry`.
        """
        table = self.layer.schema_registry.get_table(name)
        if table is None or self.sight.closed(table):
            return None
        return table if self.reads_policies else seen_table(self.layer, self.principal, table)

    def as_principal(
        self,
        name: str | Principal,
        roles: list[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
        *,
        tenant: str | None = None,
        purpose: str | None = None,
    ) -> VirtualContext:
        """The same catalog, sources and audit trail, seen by someone else; what is not given stays as declared."""
        given = {"roles": roles, "attributes": attributes, "tenant": tenant, "purpose": purpose}
        seen = VirtualContext(principal=name, layer=self.layer)
        seen._caller, seen._lender = self._caller, self._lender
        claims: dict[str, Any] = {claim: value for claim, value in given.items() if value is not None}
        # As the principal keeps them: whoever holds the list that was passed could add a role to it.
        claimed = replace(seen.principal, **claims)
        seen._claims = {claim: getattr(claimed, claim) for claim in claims}
        return seen

    # --- the road

    @property
    def planner(self) -> Planner:
        """The planner of this context's principal."""
        who, planner = self.principal, self._planner
        if planner is None or planner.principal.key != who.key:
            from tauro_nb.query.planner import Planner

            planner = self._planner = Planner(self.layer.machine.services, who)
        return planner

    def plan(self, query: Any, params: Any = None, *, limit: int | None = None, pushdown: bool = True) -> QueryPlan:
        """Plan a query without running it.

        Parameters
        ----------
        query
            DuckDB-dialect SQL, or an Ibis expression over this context's tables.
        params
            Values for `:name` (mapping) or `?` (sequence).
        limit
            At most this many rows; pushed to the sources.
        pushdown
            Without it sources hand over their columns, and the engine does everything else: the plan to compare with.

        Raises
        ------
        TauroError
            Any step refused.
        """
        tree, frames, given = self._parts(query)
        return self.plan_parts(tree, frames, params if params is not None else given, limit, pushdown=pushdown)

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
        plan = self._plan(tree, frames, params, limit, pushdown=pushdown, query_id=query_id)
        return self._or_refused(lambda: self._shown(plan), query_id, tree, params)

    def _shown(self, plan: QueryPlan) -> QueryPlan:
        """The plan as its principal may see it; what runs is sealed inside."""
        from tauro_nb.query.plan import own, sealed
        from tauro_nb.query.secrecy import shown_plan

        explained = self.planner.explained(plan)
        shown = own(explained) if self.reads_policies else shown_plan(explained)
        return sealed(shown, explained, self.layer)

    def _plan(
        self,
        tree: Any,
        frames: Mapping[str, pa.Table] | None = None,
        params: Any = None,
        limit: int | None = None,
        *,
        pushdown: bool = True,
        query_id: str | None = None,
    ) -> QueryPlan:
        """The plan that runs."""
        # The planner is made, and its modules are loaded, when it is first asked for: that can be interrupted too.
        return self._or_refused(
            lambda: self.planner.plan(tree, params, frames, limit, pushdown=pushdown), query_id, tree, params
        )

    def _or_refused(self, step: Callable[[], T], query_id: str | None, tree: Any, params: Any) -> T:
        """Take a step that comes before a query runs; that it refuses, or is interrupted, is recorded."""
        try:
            return step()
        except KeyboardInterrupt:
            failure: BaseException = QueryCancelled("the query was interrupted before it ran.")
        except Exception as error:  # noqa: BLE001 - whatever it is, its words do not leave by this door
            failure = self._as_told(error)
        if isinstance(failure, TauroError):
            self._record_refusal(failure, query_id, tree, params)
        raise failure

    def query(
        self,
        query: Any,
        params: Any = None,
        *,
        limit: int | None = None,
        frames: Mapping[str, pa.Table] | None = None,
        max_bytes: int | str | None = None,
        progress: Listener | None = None,
    ) -> Result:
        """Run a query and return its result, whose rows stream.

        Parameters are those of `plan`; `frames` are Arrow tables the query may name, `max_bytes` (bytes, or text such
        as `500MB`) is what it may move from its sources. The configuration's limits hold besides. `progress` is called
        with a `Progress` while the query runs, in this thread, when it takes longer than a second; what sources answer
        is then counted, and read as it is for `analyze`.

        Raises
        ------
        TauroError
            Any step refused, or running failed; nothing was returned then, and it is in the audit trail.
        """
        tree, found, given = self._parts(query)
        values = params if params is not None else given
        frames = {**found, **plain_frames(frames)}
        return self.query_parts(
            tree, frames, values, limit, max_bytes=max_bytes, measure=progress is not None, progress=progress
        )

    def query_parts(
        self,
        tree: Any,
        frames: Mapping[str, pa.Table] | None = None,
        params: Any = None,
        limit: int | None = None,
        *,
        max_bytes: int | str | None = None,
        measure: bool = False,
        pushdown: bool = True,
        progress: Listener | None = None,
    ) -> Result:
        """Run SQL text or a tree, with the frames it names: where all doors meet. `measure` counts what arrives."""
        limits = self.layer.config.limits.with_asked(max_bytes)
        query_id = secrets.token_hex(16)
        started = time.perf_counter()
        plan = self._plan(tree, frames, params, limit, pushdown=pushdown, query_id=query_id)
        return self._run(plan, query_id, started, limits, measure=measure, progress=progress)

    def analyze(
        self,
        query: Any,
        params: Any = None,
        *,
        limit: int | None = None,
        max_bytes: int | str | None = None,
        pushdown: bool = True,
    ) -> QueryPlan:
        """Run a query to its end, and return its plan with what was measured beside what was estimated.

        Parameters are those of `query` and `plan`; the rows are counted and dropped, and the run is recorded like any
        other. Every source's answer is read as a stream, so that it can be counted: DuckDB may order joins otherwise
        than in a run that is not measured. Where a policy stands on a table, whoever may not read policies gets the
        figures of the answer alone.

        Raises
        ------
        TauroError
            Any step refused, or running failed.

        Examples
        --------
        >>> ctx = VirtualContext({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})
        >>> ctx.analyze("SELECT a FROM one").measured.rows
        1
        """
        tree, frames, given = self._parts(query)
        values = params if params is not None else given
        result = self.query_parts(tree, frames, values, limit, max_bytes=max_bytes, measure=True, pushdown=pushdown)
        for _ in result.to_batches():
            pass
        return result.plan

    def run(
        self, plan: QueryPlan, *, query_id: str | None = None, frames: Mapping[str, pa.Table] | None = None
    ) -> Result:
        """Run a plan of this principal's, as this catalog made it: what was changed in it since does not count.

        `frames` are other rows for frames that the query was planned with, with the same columns.

        Raises
        ------
        UsageError
            The plan was made for somebody else, or elsewhere, or by hand, or what its principal may see changed: a plan
            is no ticket.
        AccessDenied
            One of its tables is denied by now.
        SchemaMismatch
            A source has other columns than when the plan was made.
        """
        from tauro_nb.query.plan import made_by

        plan = made_by(self.layer, plan, frames)
        if plan.principal != self.principal.name:
            raise UsageError(f"this plan is {plan.principal!r}'s, not {self.principal.name!r}'s.", hint="Plan again.")
        query_id = query_id or secrets.token_hex(16)
        self._or_refused(lambda: self.planner.require_unchanged(plan), query_id, plan.tree, plan.params)
        return self._run(plan, query_id, time.perf_counter(), self.layer.config.limits)

    def _parts(self, query: Any) -> tuple[Any, dict[str, Any], Any]:
        """Text stays text; an expression becomes a tree and the frames it carries."""
        if isinstance(query, str):
            return query, {}, None
        from tauro_nb.interop.ibis import expression_parts

        return (*expression_parts(query, asked_by=self.principal), None)

    def _run(
        self,
        plan: QueryPlan,
        query_id: str,
        started: float,
        limits: Limits,
        *,
        measure: bool = False,
        progress: Listener | None = None,
    ) -> Result:
        from tauro_nb.engine.meter import Meter
        from tauro_nb.progress import Teller
        from tauro_nb.record import Record

        hidden = plan.policed and not self.reads_policies
        self._or_refused(partial(require_within, plan, limits, hidden=hidden), query_id, plan.tree, plan.params)
        meter = Meter(plan, limits, hidden=hidden) if limits or measure else None
        record = Record(self.layer, self.principal, plan, query_id, started, self._caller)
        try:
            record.intent()
        except KeyboardInterrupt:
            interrupted = QueryCancelled("the query was interrupted before it ran.")
            self._record_refusal(interrupted, query_id, plan.tree, plan.params)
            raise interrupted from None
        tell = None if progress is None else Teller(progress, meter).tell
        return record.run(partial(self._while_allowed, meter=meter, tell=tell), self._shown, meter)

    def _while_allowed(
        self, plan: QueryPlan, meter: Meter | None = None, tell: Callable[[], None] | None = None
    ) -> WhileAllowed:
        from tauro_nb.allowed import WhileAllowed

        version = partial(self.layer.security.version, thorough=False)
        run = partial(self.layer.machine.engine.run, meter=meter, tell=tell)
        return WhileAllowed(plan, run, version, self.layer.security.policy_hashes, self._require_unchanged)

    def _require_unchanged(self, plan: QueryPlan) -> None:
        """Refuse a plan that does not hold for who asks now."""
        self.planner.require_unchanged(plan)

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
        return who.query(_everything_of(who.sight.resolve(name).name)).rows()

    def profile(self, name: str, columns: Sequence[str] | None = None, sample: int | None = None) -> TableProfile:
        """Profile a table: nulls, distinct values, extremes, quantiles and the most frequent values of each column.

        One query, over what this principal may see: filtered rows are not counted, and masked values are profiled
        masked. It is recorded as every query is.

        Parameters
        ----------
        columns
            Only these.
        sample
            Look at this many rows, chosen at random: the same ones each time, as long as the table stays the same and
            no policy stands on it (`query.samples`).

        Raises
        ------
        TauroError
            The road refuses: no such table or column, denied, or the source does not answer.

        Examples
        --------
        >>> ctx = VirtualContext({"virtual_tables": {"t": {"query": "SELECT i % 3 AS a FROM range(10) AS r(i)"}}})
        >>> profile = ctx.profile("t")
        >>> profile.rows, profile["a"].distinct, profile["a"].top[0]
        (10, 3, (0, 4))
        """
        from tauro_nb.profile import profile_table

        return profile_table(self, name, columns, sample)

    def require_unrestricted(self, name: str) -> None:
        """Refuse, and record it, if any policy stands between this principal and the raw table, or one below a view.

        Raises
        ------
        AccessDenied
            One does.
        """
        self._or_refused(lambda: self._require_raw(name), None, None, None)

    def _require_raw(self, name: str) -> None:
        decision = self.planner.fresh_entry(name).decision.require()
        plan = self.planner.plan(_everything_of(self.sight.resolve(name).name))
        filtered = any(found.filter_tree is not None for found in plan.decisions.values())
        read = (plan.decisions[table.lower()].columns[c] for table, columns in plan.columns.items() for c in columns)
        if filtered or decision.visible_columns != tuple(decision.columns) or any(c.access != "clear" for c in read):
            raise AccessDenied(
                f"`{name}` cannot be read without its policy by {self.principal.name!r}.",
                hint="apply_security=False never bypasses a policy that applies to you.",
                table=name,
            )

    def close(self) -> None:
        """Close the layer, for all principals that share it; may be called twice."""
        self.layer.close()
        self._planner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VirtualContext {len(self.sight.names())} tables, as {self.principal.name!r}>"


def _everything_of(table_name: str) -> str:
    return "SELECT * FROM " + ".".join(f'"{part}"' for part in table_name.split("."))
