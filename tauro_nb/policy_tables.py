"""What policies read besides their own tables, from a data layer: names, columns, and rows for row lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tauro_nb.browse import known_columns
from tauro_nb.catalog.views import tables_in
from tauro_nb.errors import AccessDenied, ExecutionError
from tauro_nb.security.audit import POLICY_ONLY, AuditLog

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from tauro_nb.layer import VirtualDataLayer
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.planner import Planner
    from tauro_nb.security.principal import Principal
    from tauro_nb.security.reads import ColumnsOf

__all__ = ["PolicyTables"]


class PolicyTables:
    """The catalog and the reader that `SecurityEnforcer` asks, over one layer.

    Parameters
    ----------
    layer
        Whose tables.
    """

    def __init__(self, layer: VirtualDataLayer) -> None:
        self._layer = layer

    def find(self, name: str) -> str | None:
        """The virtual table of this name, as it is spelled."""
        table = self._layer.schema_registry.get_table(name)
        return None if table is None else table.name

    def columns(self, name: str) -> Mapping[str, str]:
        """Declared columns, or those that the source told before."""
        table = self._layer.schema_registry.get_table(name)
        return {} if table is None else known_columns(self._layer, table)

    def reads(self, name: str) -> tuple[str, ...]:
        """Tables that a view names."""
        table = self._layer.schema_registry.get_table(name)
        return tables_in(table.query or "") if table is not None and table.is_view else ()

    def columns_for(self, table: str, principal: Principal, run_as: str) -> ColumnsOf:
        """How to look up columns of tables that the policy of `table` reads for a principal."""
        return lambda name: self._planner(principal).policy_columns(table, name, run_as)

    def run(self, table: str, select: exp.Select, rows: pa.Table, principal: Principal) -> list[tuple[Any, ...]]:
        """The answer of a SELECT over `raw`, which are the rows, and over tables that the policy of `table` reads.

        Raises
        ------
        AccessDenied
            The policy cannot be evaluated on these values, or reads what it may not read for the principal.
        SourceUnavailable
            What the policy reads is not available.
        """
        from tauro_nb.query.blame import reading_for
        from tauro_nb.query.over_rows import plan_over_rows

        plan = plan_over_rows(table, select, rows, self._planner(principal))
        self._record(plan, principal)
        found: list[tuple[Any, ...]] = []
        try:
            with reading_for(table):
                for batch in self._layer.machine.engine.run(plan):
                    found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        except ExecutionError:
            raise AccessDenied("the policy cannot be evaluated on these rows", table=table) from None
        return found

    def _record(self, plan: QueryPlan, principal: Principal) -> None:
        """Record what is read besides the rows at hand; when that fails nothing is read."""
        for name, columns in plan.policy_columns.items():
            self._layer.audit_trail.record(
                AuditLog(
                    principal=principal.name,
                    roles=tuple(sorted(principal.roles)),
                    table_name=name,
                    row_count=None,
                    column_roles=dict.fromkeys(columns, POLICY_ONLY),
                    policy_columns=columns,
                )
            )

    def _planner(self, principal: Principal) -> Planner:
        from tauro_nb.query.planner import Planner

        return Planner(self._layer.machine.services, principal)
