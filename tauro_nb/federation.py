"""Queries asked with `Predicate`s instead of SQL, and joins across sources planned by name."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.errors import QueryCancelled, UsageError
from tauro_nb.joins import JoinPlan, join_order, join_tree, read_conditions
from tauro_nb.monitor import QueryMonitor, QueryStatistics
from tauro_nb.query.plan import ExecutionStrategy, QueryPlan
from tauro_nb.query.predicate import Predicate, PredicateOperator, pushed, select_tree
from tauro_nb.query.python_values import as_dicts
from tauro_nb.rowfilter import RowFilter

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext

__all__ = [
    "ExecutionStrategy",
    "FederationEngine",
    "JoinPlan",
    "Predicate",
    "PredicateOperator",
    "QueryStatistics",
]

Row = Mapping[str, Any]

DEFAULT_ROWS: Final = 10_000
"""Rows a table is taken to have when there is no catalog to ask."""
DEFAULT_COLUMN_BYTES: Final = 8
"""Bytes a value is taken to have; a row whose columns are not named is taken to have ten."""
_COLUMNS: Final = 10

# Part of a table's rows that a condition is taken to keep; `IN` keeps that of `=` for each value.
_KEEPS: Final[Mapping[PredicateOperator, float]] = {
    PredicateOperator.EQ: 0.1,
    PredicateOperator.IN: 0.1,
    PredicateOperator.LIKE: 0.25,
    PredicateOperator.IS_NULL: 0.1,
    PredicateOperator.NEQ: 0.9,
    PredicateOperator.NOT_IN: 0.9,
    PredicateOperator.IS_NOT_NULL: 0.9,
}
_RANGE_KEEPS: Final = 0.3


class FederationEngine:
    """Plans and runs queries over one table, and plans joins over several.

    With a context every plan comes from the context's own road: bound, authorized, secured, placed. Without one there
    is no catalog: a plan is made from the request alone, and rows come from a function that the caller gives.

    Parameters
    ----------
    context
        Whose catalog, sources, policies and principal to use.

    Examples
    --------
    >>> engine = FederationEngine()
    >>> plan = engine.plan_query("customers", [Predicate("department", PredicateOperator.EQ, "Sales")], limit=1)
    >>> plan.execution_strategy.value, plan.estimated_rows
    ('direct', 1)
    >>> rows, statistics = engine.execute_query(plan, lambda plan: [{"department": "IT"}, {"department": "Sales"}])
    >>> list(rows), statistics.rows_returned
    ([{'department': 'Sales'}], 1)
    """

    def __init__(self, context: VirtualContext | None = None) -> None:
        self.context = context
        self.query_optimizer = QueryMonitor() if context is None else context.monitor
        self._filter = RowFilter()

    def plan_query(
        self,
        table_name: str,
        predicates: Sequence[Predicate] = (),
        projection: Sequence[str] | None = None,
        limit: int | None = None,
        supports_pushdown: bool = True,
    ) -> QueryPlan:
        """Plan a query over one table.

        Parameters
        ----------
        table_name
            The virtual table.
        predicates
            Conditions that all must hold.
        projection
            Columns wanted; None for all that may be read.
        limit
            At most this many rows.
        supports_pushdown
            False keeps the conditions away from the source: the engine applies them.

        Raises
        ------
        TauroError
            The road refuses the query, or the request makes no sense.
        """
        tree = select_tree(table_name, predicates, projection, limit)
        if self.context is None:
            return _offline_plan(tree, table_name, tuple(predicates), projection, limit, supports_pushdown)
        plan = self.context.plan_parts(tree, pushdown=supports_pushdown)
        given = pushed(predicates, (fragment.tree for fragment in plan.fragments)) if supports_pushdown else ()
        left = tuple(predicate for predicate in predicates if predicate not in given)
        return replace(plan, pushdown_predicates=given, residual_predicates=left, limit=limit)

    def execute_query(
        self,
        plan: QueryPlan,
        executor_func: Callable[[QueryPlan], Iterable[Row]] | None = None,
        query_id: str | None = None,
    ) -> tuple[Iterator[dict[str, Any]], QueryStatistics]:
        """Run a plan; rows stream, and the statistics are final once the last one was read.

        Parameters
        ----------
        plan
            From `plan_query` of this engine.
        executor_func
            Only without a context: gets the plan, gives rows. It answers for the projection and for the plan's
            `pushdown_predicates`; these are checked again where their column is there. The engine itself applies the
            `residual_predicates` and the limit.
        query_id
            Key of the statistics in `query_optimizer`.

        Raises
        ------
        UsageError
            A context needs no executor, and without a context there must be one.
        ExecutionError
            While reading: a residual predicate speaks of a column that the rows do not have.
        """
        query_id = query_id or secrets.token_hex(16)
        if self.context is not None:
            if executor_func is not None:
                raise UsageError("an engine with a context reads the sources itself.", hint="Leave out the executor.")
            return self._on_the_road(self.context, plan, query_id)
        if executor_func is None:
            raise UsageError(
                "without a context rows must come from an executor.", hint="Or use FederationEngine(context)."
            )
        if plan.principal:
            raise UsageError("this plan was made with a context.", hint="Run it there.")
        statistics = _statistics(plan, query_id)
        return self._from_executor(plan, executor_func, statistics), statistics

    def _on_the_road(
        self, context: VirtualContext, plan: QueryPlan, query_id: str
    ) -> tuple[Iterator[dict[str, Any]], QueryStatistics]:
        result = context.run(plan, query_id=query_id)
        statistics = _statistics(plan, query_id)

        def rows() -> Iterator[dict[str, Any]]:
            try:
                for batch in result.to_batches():
                    yield from as_dicts(batch)
            except BaseException:
                statistics.status = "FAILED"
                raise
            finally:
                figures = result.stats
                statistics.rows_returned, statistics.bytes_scanned = figures.rows, figures.bytes
                statistics.execution_time_ms = figures.elapsed_ms

        return rows(), statistics

    def _from_executor(
        self, plan: QueryPlan, executor: Callable[[QueryPlan], Iterable[Row]], statistics: QueryStatistics
    ) -> Iterator[dict[str, Any]]:
        started = time.perf_counter()
        try:
            kept = self._filter.apply(executor(plan), plan.pushdown_predicates, plan.residual_predicates)
            with contextlib.closing(kept):
                for row in itertools.islice(kept, plan.limit):
                    statistics.rows_returned += 1
                    yield dict(row)
        except GeneratorExit:
            raise
        except BaseException as error:
            statistics.status = "CANCELLED" if isinstance(error, (QueryCancelled, KeyboardInterrupt)) else "FAILED"
            raise
        finally:
            statistics.execution_time_ms = (time.perf_counter() - started) * 1000
            self.query_optimizer.record(statistics)

    def plan_federated_join(self, tables: Sequence[str], join_predicates: Mapping[str, str]) -> JoinPlan:
        """Plan an inner join of several tables.

        With a context the join is bound and placed by the road, and `JoinPlan.plan` can be executed. Without one the
        plan tells the order and the conditions, and nothing is known of columns.

        Parameters
        ----------
        tables
            Virtual tables, at least two.
        join_predicates
            Name -> condition, such as `{"customer": "customers.id = orders.customer_id"}`.

        Raises
        ------
        BindError
            A condition speaks of a table that is not joined, or (with a context) of an unknown column.
        UsageError
            A condition is none, or leaves a table unconnected.

        Examples
        --------
        >>> plan = FederationEngine().plan_federated_join(["a", "b"], {"key": "a.id = b.a_id"})
        >>> plan.order, plan.conditions[0].sql, plan.estimated_rows
        (('a', 'b'), 'a.id = b.a_id', 10000)
        """
        conditions = read_conditions(tables, join_predicates)
        if self.context is None:
            order = join_order(tables, conditions, {})
            count = len(order)
            return JoinPlan(order, conditions, estimated_rows=DEFAULT_ROWS, estimated_cost=float(DEFAULT_ROWS * count))
        as_given = join_order(tables, conditions, {})
        plan = self.context.plan_parts(join_tree(as_given, conditions))
        # Everything was allowed and asked: what the sources know of sizes is at hand now.
        order = join_order(tables, conditions, {name: self.context.planner.shown_row_count(name) for name in tables})
        if order != as_given:
            plan = self.context.plan_parts(join_tree(order, conditions))
        return JoinPlan(order, conditions, plan.estimated_rows, plan.estimated_cost, plan)

    def close(self) -> None:
        """Let go of what filters rows; a context stays open. The engine can be used again afterwards."""
        self._filter.close()


def _statistics(plan: QueryPlan, query_id: str) -> QueryStatistics:
    table = plan.tables[0] if plan.tables else ""
    return QueryStatistics(
        query_id, table, 0.0, 0, plan_time_ms=plan.plan_ms, tables=plan.tables, principal=plan.principal
    )


def _offline_plan(
    tree: exp.Select,
    table: str,
    predicates: tuple[Predicate, ...],
    projection: Sequence[str] | None,
    limit: int | None,
    supports_pushdown: bool,
) -> QueryPlan:
    """A plan without a catalog: `DEFAULT_ROWS` rows, of which every condition keeps its usual part."""
    rows = float(DEFAULT_ROWS)
    for predicate in predicates:
        several = len(predicate.value) if predicate.operator is PredicateOperator.IN else 1
        rows *= min(_KEEPS.get(predicate.operator, _RANGE_KEEPS) * several, 1.0)
    estimated = max(round(rows), 1) if limit is None else min(max(round(rows), 1), limit)
    # What a source is asked for costs nothing to move; without pushdown every row comes over.
    moved = estimated if supports_pushdown else DEFAULT_ROWS
    return QueryPlan(
        sql=tree.sql("duckdb"),
        tree=tree,
        principal="",
        tables=(table,),
        columns={table: tuple(projection or ())},
        fragments=(),
        residual=tree,
        shown=tree,
        schema={},
        estimated_rows=estimated,
        estimated_bytes=estimated * DEFAULT_COLUMN_BYTES * (len(projection) if projection else _COLUMNS),
        estimated_cost=float(moved),
        pushdown_predicates=predicates if supports_pushdown else (),
        residual_predicates=() if supports_pushdown else predicates,
        limit=limit,
    )
