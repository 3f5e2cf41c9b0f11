"""Last step: what a query leaves behind, however it ends."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import AccessDenied, QueryCancelled, TauroError, told
from tauro_nb.monitor import QueryStatistics
from tauro_nb.query.fingerprint import fingerprint
from tauro_nb.query.result import Result, ResultStats
from tauro_nb.recorded import Recorded, params_of, parts_of, recorded, shape_of
from tauro_nb.security.audit import AuditLog, AuditTrail
from tauro_nb.security.audited import asker_of
from tauro_nb.security.principal import Principal

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from tauro_nb.allowed import WhileAllowed
    from tauro_nb.engine.meter import Meter
    from tauro_nb.layer import VirtualDataLayer
    from tauro_nb.query.plan import QueryPlan

__all__ = ["Record", "record_refusal"]


def record_refusal(
    trail: AuditTrail,
    principal: Principal,
    error: TauroError,
    query_id: str,
    asked: str | exp.Expr | None = None,
    params: Any = None,
    caller: str = "",
    policy_version: str = "",
) -> None:
    """Record a query that never ran, and under which policies.

    `asked` is its text or tree, `caller` who asked with the principal's rights.
    """
    denied = isinstance(error, AccessDenied)
    failed = "CANCELLED" if isinstance(error, QueryCancelled) else "FAILED"
    trail.record(
        AuditLog(
            table_name=error.table or "",
            status="DENIED" if denied else failed,
            denial_reason=error.message if denied else type(error).__name__,
            error_class=type(error).__name__,
            query_id=query_id,
            event="deny",
            origin=trail.origin,
            policy_version=policy_version,
            **asker_of(principal, caller).attributes(),
            **parts_of(asked, params),
        )
    )


class Record:
    """The last step of the road for one query: intent before, result after, figures in between."""

    def __init__(
        self,
        layer: VirtualDataLayer,
        principal: Principal,
        plan: QueryPlan,
        query_id: str,
        started: float,
        caller: str = "",
    ) -> None:
        self._layer = layer
        self._principal = principal
        self._plan = plan
        self._caller = caller
        self._query_id = query_id
        self._started = started
        self._ended: float | None = None
        self._rows = 0
        self._bytes = 0
        self._shipped: Mapping[str, int] = {}

    def intent(self) -> None:
        """Write what is about to be read. Without this record nothing runs.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        """
        trail, plan, who = self._layer.audit_trail, self._plan, self._principal
        values = trail.value_keys()
        known: Recorded = plan.once("recorded", lambda: recorded(plan, values))
        if known.asked is None:
            return
        trail.begin(
            asker_of(who, self._caller),
            known.asked,
            query_id=self._query_id,
            params=params_of(plan, values),
            along=self._keys(known) if known.used or known.sent else (),
        )

    def _keys(self, known: Recorded) -> list[dict[str, Any]]:
        """Events of the keys that a query uses, and of those that its joins send."""
        facts = (("key.use", "columns", known.used), ("join.keys", "flows", known.sent))
        about = {"roles": self._principal.roles, "tenant": self._principal.tenant, "query": self._query_id}
        asker = self._caller or self._principal.name
        return [AuditTrail.event(event, asker, **about, **{name: found}) for event, name, found in facts if found]

    def run(
        self,
        execute: Callable[[QueryPlan], WhileAllowed],
        shown: Callable[[QueryPlan], QueryPlan],
        meter: Meter | None = None,
    ) -> Result:
        """Start the plan; its batches are counted on their way, and the end of them is recorded.

        The result's own plan is what `shown` makes of it, once somebody looks; a meter's figures are then in it.

        Raises
        ------
        TauroError
            It failed at once; that is recorded too.
        """
        failure: BaseException | None = None
        try:
            execution = execute(self._plan)
        except BaseException as error:  # noqa: BLE001 - recorded, and raised below without what it was made from
            failure = told(error)
        if failure is not None:
            self._failed(failure)
            raise failure
        self._shipped = execution.shipped
        self._note_lineage()
        batches = self._watch(execution)
        # A generator that was never started does not notice that nobody wants it any more.
        weakref.finalize(batches, self._abandoned, execution)
        return Result(execution.schema, batches, lambda: shown(self._measured(meter)), self.stats)

    def _measured(self, meter: Meter | None) -> QueryPlan:
        measured = None if meter is None or self._ended is None else meter.measured(self._shipped, self._ended)
        return replace(self._plan, measured=measured)

    def stats(self) -> ResultStats:
        """Figures so far."""
        elapsed = ((self._ended or time.perf_counter()) - self._started) * 1000
        keys = 0 if self._plan.policed else sum(self._shipped.values())
        return ResultStats(self._rows, self._bytes, self._plan.plan_ms, elapsed, keys)

    def _note_lineage(self) -> None:
        """One node for all queries of one shape, so that the graph stays as small as what people do."""
        name = f"query {fingerprint(shape_of(self._plan))[:8]}"
        self._layer.asked.setdefault(name, set()).add((self._principal.name, self._principal.tenant))
        system = {table.name for table in self._layer.schema_registry.system_tables()}
        for table in (name for name in self._plan.tables if name not in system):
            self._layer.schema_registry.add_lineage_edge(table, name, kind="query")

    def _watch(self, execution: WhileAllowed) -> Iterator[pa.RecordBatch]:
        failure: BaseException | None = None
        try:
            for batch in execution:
                self._rows += batch.num_rows
                self._bytes += batch.nbytes
                yield batch
        except GeneratorExit:
            self.ended("SUCCESS", "closed before the end")
            raise
        except BaseException as error:  # noqa: BLE001 - as in `run`
            failure = told(error)
        if failure is not None:
            self._failed(failure)
            raise failure
        services = self._layer.machine.services
        services.actuals.learn_from(self._plan, self._principal, execution.counted)
        self.ended("SUCCESS", "")

    def _abandoned(self, execution: WhileAllowed) -> None:
        execution.close()
        if self._ended is None:
            self.ended("SUCCESS", "closed before the end")

    def _failed(self, error: BaseException) -> None:
        """Nothing was returned; what is remembered of the tables may be why."""
        self._layer.machine.services.forget((*self._plan.tables, *self._plan.policy_columns))
        cancelled = isinstance(error, (QueryCancelled, KeyboardInterrupt))
        self.ended("CANCELLED" if cancelled else "FAILED", type(error).__name__)

    def ended(self, status: str = "SUCCESS", reason: str = "") -> None:
        """Record how it ended."""
        self._ended = time.perf_counter()
        elapsed_ms = (self._ended - self._started) * 1e3
        self._layer.audit_trail.result(
            self._query_id,
            row_count=self._rows,
            byte_count=self._bytes,
            status=status,
            reason=reason,
            error_class=reason if status in ("FAILED", "CANCELLED") else "",
            duration_ms=elapsed_ms,
        )
        self._layer.monitor.record(
            QueryStatistics(
                query_id=self._query_id,
                table_name=self._plan.tables[0] if self._plan.tables else "",
                execution_time_ms=elapsed_ms,
                rows_returned=self._rows,
                bytes_scanned=self._bytes,
                plan_time_ms=self._plan.plan_ms,
                status=status,
                tables=self._plan.tables,
                principal=self._principal.name,
                tenant=self._principal.tenant,
            )
        )
