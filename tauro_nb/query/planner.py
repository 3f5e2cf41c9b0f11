"""One principal's desk: knows the tables as this principal sees them, and walks queries down the road."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import duckdb
from sqlglot import exp

from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.catalog.validation import check_schema
from tauro_nb.errors import (
    AccessDenied,
    BindError,
    PolicyError,
    QueryError,
    SchemaMismatch,
    TauroError,
    UnknownTable,
    UsageError,
)
from tauro_nb.query.bind import bind
from tauro_nb.query.binder import Binder
from tauro_nb.query.blame import about, reading_for
from tauro_nb.query.cache import params_by_name, plan_key, same_values
from tauro_nb.query.garbage import room_for_trees
from tauro_nb.query.kept import KeptPlan, holds, keep
from tauro_nb.query.parse import limited, parse, parse_view, statement_text
from tauro_nb.query.place import outline, place
from tauro_nb.query.placement.actuals import misjudged
from tauro_nb.query.plain import plain_frames, plain_limit, plain_params
from tauro_nb.query.plan import QueryPlan, RuleFired, Walk
from tauro_nb.query.query import Query
from tauro_nb.query.required import require_filters
from tauro_nb.query.rules import RULES
from tauro_nb.query.samples import draw_by_row
from tauro_nb.query.secure import authorize, secure
from tauro_nb.query.tables import Physical, Services, TableEntry, cast_relation
from tauro_nb.query.template import template_names
from tauro_nb.query.trees import written
from tauro_nb.security.encryption import searched_keys, stored_types
from tauro_nb.security.relations import INVOKER, OWNER
from tauro_nb.security.sight import Sight, seen_statistics
from tauro_nb.sources.base import revisions

if TYPE_CHECKING:
    from tauro_nb.catalog.registry import SchemaRegistry
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.security.decision import TableDecision
    from tauro_nb.security.principal import Principal
    from tauro_nb.sources.base import Source

__all__ = ["ROAD", "Planner"]

ROAD: tuple[Callable[[Query, Planner], Query], ...] = (bind, authorize, secure, draw_by_row, *RULES, require_filters)
"""From a parsed query to one that can be placed. There is no other road."""

_ATTEMPTS: Final = 3


class Planner:
    """Plans one principal's queries over shared services."""

    def __init__(
        self, services: Services, principal: Principal, *, reads_for: Planner | None = None, run_as: str = ""
    ) -> None:
        self.services = services
        self.principal = principal
        self.depth: int = 0 if reads_for is None else reads_for.depth + 1
        self._for_policies = reads_for is not None
        self._as_owner = run_as == OWNER
        self._acting: dict[str, Planner] = {}
        self.sight = Sight(services.registry, services.security, principal)
        self.params: Mapping[str, Any] = {}
        self.deciding: set[str] = set()
        """Parameters whose values, and not only their types, decided how the plan is made."""
        self._given: Mapping[str, Any] = {}
        self._entries: dict[str, TableEntry] = {}
        self._revisions: dict[str, str] = {}
        self._open_views: list[str] = []
        self._lock = threading.RLock()

    @cached_property
    def binder(self) -> Binder:
        """The judge of this principal's names and types."""
        return Binder()

    @property
    def registry(self) -> SchemaRegistry:
        """The catalog."""
        return self.services.registry

    @room_for_trees()
    def plan(
        self,
        source: str | exp.Expr,
        params: Any = None,
        frames: Mapping[str, Any] | None = None,
        limit: int | None = None,
        *,
        pushdown: bool = True,
    ) -> QueryPlan:
        """Parse, bind, authorize, secure, optimize and place; or take the plan that was made of the same before.

        Without `pushdown` sources hand over their columns, and the engine does everything else.

        Raises
        ------
        TauroError
            Any step refused; see `tauro_nb.errors`.
        """
        started = time.perf_counter()
        source, params, limit = statement_text(source), plain_params(params), plain_limit(limit)
        frames, pushdown = plain_frames(frames), bool(pushdown)
        key = plan_key(source, params, frames, limit, self.principal, pushdown=pushdown)
        kept = self.services.plans.get(key)
        cached = (
            kept is not None
            and same_values(kept.decided, params_by_name(params))
            and holds(kept, self.services, self.principal)
        )
        if cached:
            plan = self._with_values(key, kept, params)
        else:
            query = replace(parse(source, params, frames), pushdown=pushdown)
            if limit is not None:
                query = replace(query, tree=limited(query.tree, limit))
            plan = self._made(key, query, params)
        return replace(plan, cached=cached, plan_ms=(time.perf_counter() - started) * 1000)

    def _made(self, key: Hashable | None, query: Query, given: Any) -> QueryPlan:
        """Walk the road, and keep the plan for the next time."""
        # One plan at a time: entries must stay the same throughout one, and new for the next.
        with self._lock:
            self._start(query.params, given)
            version = self.registry.version
            walked, plan = self._walked(query)
            # What a request put into templates is not kept, nor what policies found in other tables.
            if (
                key is not None
                and not plan.checks
                and not any(template_names(e.table) & self._given.keys() for e in plan.entries.values())
            ):
                self.services.plans.put(key, keep(self.services, plan, walked, version, self.deciding))
        return plan

    def _start(self, params: Mapping[str, Any], given: Any = None) -> None:
        self.params = params
        self._given = given if isinstance(given, Mapping) else {}
        self.forget()

    def _walked(self, query: Query) -> tuple[Query, QueryPlan]:
        """Walk the rest of the road under one version of the policies: all tables are decided by the same rules."""
        for _ in range(_ATTEMPTS):
            version = self.services.security.version()
            self._start(self.params, self._given)
            walked = query
            for step in ROAD:
                walked = step(walked, self)
            plan = replace(self._placed(walked, version), walk=Walk(replace(query, params={}, frames={}), walked.tree))
            if self.services.security.version(thorough=False) == version:
                return walked, plan
        raise AccessDenied("the policies change faster than a query can be planned.", hint="Ask again.")

    def _placed(self, query: Query, version: str) -> QueryPlan:
        entries = {entry.table.name: entry for entry in self.entries}
        plan = place(query, self)
        own, others = self.entries, tuple(self.read_for_policies())
        policed = bool(others) or any(entry.decision.needs_barrier for entry in own)
        shown = partial(self._outlined, replace(query, params={}), own, others) if policed else None
        return replace(plan, entries=entries, checks=tuple(self.policy_checks()), policy_version=version, outline=shown)

    def _outlined(
        self, query: Query, own: Iterable[TableEntry], others: Iterable[TableEntry], plan: QueryPlan
    ) -> QueryPlan:
        """A plan as it may be shown, by the tables it was made for, whatever was planned since."""
        desk = Planner(self.services, self.principal)
        desk.params = plan.params
        desk.take(own)
        desk.acting(OWNER).take(others)
        return outline(plan, replace(query, params=plan.params), desk)

    def _with_values(self, key: Hashable | None, kept: KeptPlan, given: Any) -> QueryPlan:
        """A kept plan with the parameters of this request; it is placed anew where sources are sent others.

        So is one that runs since have shown to rest on wrong figures.
        """
        values = params_by_name(given)
        params = {name: values[name] for name in kept.names}
        if same_values(kept.sent, params) and not self._was_misjudged(kept.plan):
            return replace(kept.plan, params=params)
        with self._lock:
            self._resume(kept.plan, params)
            plan = self._placed(replace(kept.query, params=params), kept.plan.policy_version)
        plan = replace(plan, walk=kept.plan.walk)
        self.services.plans.put(key, kept.placed_anew(plan))
        return plan

    def _resume(self, plan: QueryPlan, params: Mapping[str, Any]) -> None:
        """Take up a plan again, with its tables as they were found and decided then."""
        self._start(params)
        self.take(plan.entries.values())

    def explained(self, plan: QueryPlan) -> QueryPlan:
        """A plan of this planner's with the steps that its query took; they are walked again, for they are not kept.

        The plan stays as it is. If the walk ends elsewhere by now, as when a table that a policy reads has changed,
        there is nothing to tell: steps of another plan are not shown.
        """
        walk = plan.walk
        if walk is None:
            return plan
        return replace(plan, journal=plan.once("journal", partial(self._journal, plan, walk)), walk=None)

    def _journal(self, plan: QueryPlan, walk: Walk) -> tuple[RuleFired, ...]:
        with self._lock:
            self._resume(plan, plan.params)
            query = replace(walk.asked, params=plan.params, frames=plan.frames, journal=())
            try:
                for step in ROAD:
                    query = step(query, self)
            except (TauroError, duckdb.Error):
                return ()
        return query.journal or () if query.tree == walk.secured else ()

    def _was_misjudged(self, plan: QueryPlan) -> bool:
        actuals = self.services.actuals
        asked = (part for part in plan.fragments if part.scan is not None and not part.policy)
        of = partial(actuals.of, self.principal, policed=plan.fenced)
        return any(misjudged(part, of(part.source, part.scan.sql)) for part in asked)

    def forget(self) -> None:
        """Start afresh: nothing of an earlier plan counts."""
        self.deciding.clear()
        self._entries.clear()
        self._revisions.clear()
        for acting in self._acting.values():
            acting.forget()

    @property
    def entries(self) -> tuple[TableEntry, ...]:
        """Every table that was looked up for this plan."""
        return tuple(self._entries.values())

    def take(self, entries: Iterable[TableEntry]) -> None:
        """Work with tables as they were found before."""
        self._entries.update({entry.table.name.lower(): entry for entry in entries})

    def read_for_policies(self) -> Iterator[TableEntry]:
        """Tables that were looked up for policies of this plan, in whatever depth."""
        for acting in self._acting.values():
            yield from acting.entries
            yield from acting.read_for_policies()

    def policy_checks(self) -> Iterator[Callable[[], None]]:
        """What must still hold of the tables that were looked up for policies, when the plan runs."""
        for acting in self._acting.values():
            yield from (partial(acting.require_same, entry) for entry in acting.entries)
            yield from acting.policy_checks()

    def require_unchanged(self, plan: QueryPlan) -> None:
        """Refuse a plan whose tables are no longer what it was made for.

        Raises
        ------
        AccessDenied
            One of them is denied by now.
        UsageError
            The catalog or the policy says something else of one.
        SchemaMismatch
            The source has other columns or types: read as planned, values would come out wrong.
        """
        with self._lock:
            self.forget()
            for entry in plan.entries.values():
                with about(entry.table):
                    self.require_same(entry)
            try:
                for check in plan.checks:
                    check()
            except AccessDenied:
                raise AccessDenied("a policy of this plan reads what it may not read any more.") from None
            except TauroError:
                raise UsageError("what a policy of this plan reads has changed.", hint="Plan again.") from None

    def require_same(self, entry: TableEntry) -> None:
        """Refuse a table that is no longer as it was found; see `require_unchanged`."""
        name, source = entry.table.name, entry.source
        self._check_table(entry.table)
        decision = self._decide(name, entry.columns).require()
        table = replace(self.registry.resolve(name), parameters=entry.table.parameters)
        if table != entry.table or decision != entry.decision:
            message = f"`{name}`, or what {self.principal.name!r} may see of it, changed since this plan was made."
            raise UsageError(message, hint="Plan again.")
        if entry.keys != searched_keys(decision, self.services.security.keys):
            message = f"the keys of `{name}` changed since this plan was made."
            raise UsageError(message, hint="Plan again.")
        if source is not None and self._physical(table, source, source.relation(table)).facts != entry.facts:
            message = f"the columns of `{name}` changed at its source since this plan was made."
            raise SchemaMismatch(message, hint="Plan again.")

    def entry(self, name: str) -> TableEntry:
        """The table as this principal meets it, the same throughout one plan."""
        key = name.lower()
        if key not in self._entries:
            self._entries[key] = self._make_entry(self.sight.resolve(name))
        return self._entries[key]

    def fresh_entry(self, name: str) -> TableEntry:
        """The table as it is now, outside of any plan."""
        with self._lock:
            self._start({})
            return self.entry(name)

    def look_ahead(self, names: Iterable[str]) -> None:
        """Ask every source once for the revisions of all tables a query reads of it.

        Raises
        ------
        AccessDenied
            One of them may not be read: nothing was asked then.
        """
        groups: dict[int, tuple[Source, list[VirtualTable]]] = {}
        for name in names:
            table = self.sight.resolve(name)
            with about(table):
                self._check_table(table)
                if not table.is_view and name.lower() not in self._entries:
                    source = self.services.pool.source(table)
                    groups.setdefault(id(source), (source, []))[1].append(self._with_parameters(table))
        for source, tables in groups.values():
            if len(tables) > 1:
                with about(tables[0]):
                    self._revisions |= revisions(source, tables)

    def raw(self, name: str) -> TableEntry:
        """The table as it is at its source, whoever it is read as in this plan."""
        return self.known(name.lower()) or self.entry(name)

    def known(self, key: str) -> TableEntry | None:
        """A table that was looked up for this plan, by whomever."""
        found = self._entries.get(key)
        others = (acting.known(key) for acting in self._acting.values())
        return found if found is not None else next((entry for entry in others if entry is not None), None)

    def acting(self, run_as: str) -> Planner:
        """Who reads tables for a policy that this principal meets: its owner, the principal, or a declared one.

        Raises
        ------
        AccessDenied
            Nobody of that name is declared any more.
        """
        if run_as not in self._acting:
            own = run_as in (OWNER, INVOKER)
            who = self.principal if own else self.services.security.principals.get(run_as)
            if who is None:
                raise AccessDenied("who reads for this policy is not declared any more.")
            self._acting[run_as] = Planner(self.services, who, reads_for=self, run_as=run_as)
        return self._acting[run_as]

    def _decide(self, name: str, columns: Mapping[str, str]) -> TableDecision:
        security = self.services.security
        if self._as_owner:
            return security.decide_for_policy(name, columns, self.principal)
        columns_of = partial(self.policy_columns, name, run_as=security.run_as(name))
        return security.decide(name, columns, self.principal, columns_of=columns_of)

    def policy_columns(self, table: str, name: str, run_as: str) -> dict[str, str]:
        """Columns of a table that the policy of `table` reads, with the types that it sees; denied ones too."""
        with reading_for(table):
            return self.acting(run_as).readable_columns(name)

    def readable_columns(self, name: str) -> dict[str, str]:
        """All columns, with the types that this principal would see them in."""
        return {column.name: column.shown_type for column in self.entry(name).decision.columns.values()}

    @contextmanager
    def reading_for_policy_of(self, table: str, run_as: str) -> Iterator[Planner]:
        """Who reads for the policy of a table; what goes wrong tells of the table, not of what is read for it."""
        with reading_for(table):
            yield self.acting(run_as)

    def _make_entry(self, table: VirtualTable) -> TableEntry:
        with about(table):
            return self._entry_of(table)

    def _entry_of(self, table: VirtualTable) -> TableEntry:
        # Table rights come before the source is touched: a denied table is not even connected to.
        self._check_table(table)
        if self._for_policies and template_names(table):
            raise PolicyError(f"`{table.name}` takes values from whoever asks: no policy may read it.")
        table = self._with_parameters(table)
        if table.is_view:
            view = self._bind_view(table)
            columns = dict(view.schema or {})
            decision = self._decide(table.name, columns)
            stored = self.services.security.stored_columns(table.name)
            return TableEntry(table, None, view, columns, {}, exp.Null(), decision, stored)
        source = self.services.pool.source(table)
        relation = source.relation(table)
        physical = self._physical(table, source, relation)
        columns = self._columns(table, source, physical)
        decision = self._decide(table.name, columns)
        stored = self.services.security.stored_columns(table.name)
        held = stored_types(columns, stored)
        typed = source.typed_relation(table, relation, held, physical.facts)
        casted = cast_relation(typed, held, physical.facts)
        keys = searched_keys(decision, self.services.security.keys) if stored else frozenset()
        return TableEntry(table, source, None, columns, physical.facts, casted, decision, stored, keys)

    def _with_parameters(self, table: VirtualTable) -> VirtualTable:
        """The table with the request's values for the `{{ name }}`s of its query; its own are the defaults."""
        wanted = template_names(table)
        given = {name: self._given[name] for name in wanted if name in self._given}
        return replace(table, parameters={**table.parameters, **given}) if given else table

    def _check_table(self, table: VirtualTable) -> None:
        if not self._as_owner:
            self.services.security.check_table(table.name, self.principal)

    def _physical(self, table: VirtualTable, source: Source, relation: exp.Expr) -> Physical:
        """Columns at the source, looked up again only when its revision or the table's definition changed."""
        revision = self._revisions.get(table.name) or source.revision(table)
        sql = written(relation)
        known = self.services.physical.get(table.name)
        if known is not None and (known.revision, known.relation) == (revision, sql):
            return known
        if id(source) in self.services.described:
            # The engine may remember this table from another virtual one, or from before it changed.
            self.services.refresh(source)
        self.services.described.add(id(source))
        described = self.services.describe(source, relation)
        fresh = Physical(revision, sql, source.facts(table, described))
        self.services.physical[table.name] = fresh
        return fresh

    def _columns(self, table: VirtualTable, source: Source, physical: Physical) -> dict[str, str]:
        actual = {name: fact.type for name, fact in physical.facts.items()}
        declared = dict(table.schema) or actual
        stored = self.services.security.stored_columns(table.name)
        if not (table.schema or stored):
            return actual
        mistakes = check_schema(table.name, stored_types(declared, stored), actual, untyped_source=source.untyped)
        if mistakes:
            raise SchemaMismatch(f"table `{table.name}` does not fit its source: {' '.join(mistakes)}")
        return declared

    def _bind_view(self, table: VirtualTable) -> Query:
        if table.name in self._open_views:
            chain = " -> ".join([*self._open_views, table.name])
            raise BindError(f"view `{table.name}` refers to itself: {chain}.", hint="Break the circle.")
        self._open_views.append(table.name)
        try:
            query = bind(parse_view(table), self)
            authorize(query, self)
        except (QueryError, UnknownTable) as error:
            # The person who asks did not type the view's text: its excerpt would point at nothing of theirs.
            where = "" if error.message.startswith("view `") else f"view `{table.name}`: "
            raise type(error)(where + error.message, hint=error.hint, table=error.table) from None
        except AccessDenied as error:
            raise self.sight.denied_below(table, error) from None
        finally:
            self._open_views.pop()
        if query.schema is None:
            raise UsageError(f"view `{table.name}`: PIVOT in a view needs an IN list, so that its columns are known.")
        return query

    def visible_columns(self, name: str) -> dict[str, str]:
        """Columns this principal may use, with types.

        Raises
        ------
        AccessDenied
            The table is denied, or every column of it.
        """
        decision = self.entry(name).decision.require()
        if not decision.visible_columns:
            raise AccessDenied(f"every column of `{name}` is denied to {self.principal.name!r}.", table=name)
        return {column: decision.columns[column].shown_type for column in decision.visible_columns}

    def require_access(self, name: str, columns: tuple[str, ...]) -> None:
        """Refuse unless the principal may read these columns of the table.

        Raises
        ------
        AccessDenied
            The table or one of the columns is denied.
        """
        decision = self.entry(name).decision.require()
        for column in columns:
            if column not in decision.visible_columns:
                raise AccessDenied(f"column `{column}` of `{name}` is denied to {self.principal.name!r}.", table=name)

    def frame_columns(self, frame: Any) -> dict[str, str]:
        """Columns and DuckDB types of an Arrow table that came with the query."""
        cursor = self.binder.connection.cursor()
        try:
            cursor.register("frame", frame.slice(0, 0))
            return {row[0]: row[1] for row in cursor.execute("DESCRIBE SELECT * FROM frame").fetchall()}
        finally:
            cursor.close()

    def row_count(self, name: str) -> int | None:
        """Rows of a table, as far as its source's own catalog knows."""
        return self.statistics(name).row_count

    def statistics(self, name: str) -> TableStatistics:
        """What is known of a table; its source is asked now and then."""
        entry = self.raw(name)
        return self.services.knowledge.of(entry.table, entry.source)

    def open_statistics(self, name: str) -> TableStatistics:
        """What is known of a table that the query names and no policy stands on; of any other nothing."""
        entry = self._entries.get(name.lower())
        return TableStatistics() if entry is None or entry.decision.needs_barrier else self.statistics(name)

    def shown_statistics(self, name: str) -> TableStatistics:
        """What this principal may know of a table's size and values, as it is now."""
        with self._lock:
            decision = self.fresh_entry(name).decision.require()
            return seen_statistics(self.statistics(decision.table), decision)

    def shown_row_count(self, name: str) -> int | None:
        """The row count a plan may show: none where a row filter hides rows, for it would count them too."""
        return None if self.raw(name).decision.filter_tree is not None else self.row_count(name)
