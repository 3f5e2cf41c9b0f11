"""`--as`: the forms in which a notebook takes a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.progress import Listener
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.result import Result

__all__ = ["FORMATS", "convert"]


def _table(result: Result) -> Result:
    # Read here, not when it is shown: an error belongs to the cell, and so does its audit record.
    result.to_arrow()
    return result


def _nothing(result: Result) -> None:
    result.to_arrow()


_FORMS: Final[Mapping[str, Callable[[Result], Any]]] = MappingProxyType(
    {
        "table": _table,
        "pandas": lambda result: result.to_pandas(),
        "arrow": lambda result: result.to_arrow(),
        "polars": lambda result: result.to_polars(),
        "batches": lambda result: result.to_batches(),
        "none": _nothing,
    }
)
FORMATS: Final = (*_FORMS, "ibis")


def convert(
    ctx: VirtualContext,
    sql: str,
    params: Any,
    limit: int | None,
    form: str,
    display_rows: int,
    max_bytes: str | None = None,
    *,
    progress: Listener | None = None,
    measure: bool = False,
) -> tuple[Any, QueryPlan]:
    """Run a query and return its result in one of `FORMATS`, and its plan. `measure` counts rows for `progress`.

    `ibis` runs nothing: it returns the query as a lazy expression, with its parameters as typed literals.
    """
    if form == "ibis":
        return _expression(ctx, sql, params, limit), ctx.plan(sql, params, limit=limit)
    # Batches are read by a later cell, which has no line for it.
    told = None if form == "batches" else progress
    result = ctx.query_parts(sql, None, params, limit, max_bytes=max_bytes, measure=measure, progress=told)
    result.display_rows = display_rows
    return _FORMS[form](result), result.plan


def _expression(ctx: VirtualContext, sql: str, params: Any, limit: int | None) -> Any:
    from tauro_nb.query.literals import bind_literals
    from tauro_nb.query.parse import parse

    query = parse(sql, params)
    expression = ctx.sql(bind_literals(query.tree, query.params).sql("duckdb") if query.params else sql)
    return expression if limit is None else expression.limit(limit)
