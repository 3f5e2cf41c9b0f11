"""One query as several people, side by side: what each of them would get, and in what they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import AccessDenied, TauroError, UsageError
from tauro_nb.html import is_number
from tauro_nb.oversight.access import undeclared
from tauro_nb.report import Report, Sheet
from tauro_nb.text import plural

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.context import VirtualContext
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.result import Result

__all__ = ["Outcome", "Simulation", "simulate"]


@dataclass(frozen=True)
class Outcome:
    """What one person would get.

    Parameters
    ----------
    principal
        Whose rights were used.
    result
        What the query gave; None when it was refused.
    error
        Why it was refused.
    masked
        `table.column` -> name of the mask or `encrypted`, of the columns that the query uses.
    denied
        `table.column` of the tables that the query uses.
    filtered
        Tables whose rows a filter restricts.
    tenant
        Whose tenant they are; two people of one name in two tenants are two.
    """

    principal: str
    result: Result | None = field(default=None, compare=False)
    error: TauroError | None = field(default=None, compare=False)
    masked: Mapping[str, str] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    tenant: str | None = None

    @property
    def label(self) -> str:
        """The name, with the tenant where there is one."""
        return self.principal if self.tenant is None else f"{self.principal} ({self.tenant})"

    @property
    def said(self) -> str:
        """How it ended, in words."""
        if self.error is None:
            return "answered"
        return ("denied: " if isinstance(self.error, AccessDenied) else "failed: ") + str(self.error.message)


@dataclass(frozen=True, repr=False)
class Simulation(Report):
    """The outcomes, in the order of the principals; `simulation["ana"]` is Ana's result, or `simulation["ana (acme)"]`.

    Differences are counted against the first principal who got an answer, over the columns that both got. `notes` name
    principals that are not declared.
    """

    asked_by: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, principal: str) -> Result:
        named = [outcome for outcome in self.outcomes if principal in (outcome.principal, outcome.label)]
        if not named:
            raise UsageError(f"{principal!r} is not part of this simulation.")
        if len({outcome.label for outcome in named}) > 1:
            raise UsageError(f"there are several: {', '.join(outcome.label for outcome in named)}.")
        found = named[0]
        if found.result is None:
            assert found.error is not None
            raise found.error
        return found.result

    def sheets(self) -> Sequence[Sheet]:
        """The comparison, then what each of them got."""
        first = next((outcome for outcome in self.outcomes if outcome.result is not None), None)
        rows = tuple(_row(outcome, first) for outcome in self.outcomes)
        headers = ("as", "rows", "columns", "rows filtered", "masked", "denied", "difference", "outcome")
        note = f"asked by {self.asked_by}; {plural(len(rows), 'principal')}"
        answers = [_answer(outcome) for outcome in self.outcomes if outcome.result is not None]
        return (Sheet("Simulation", note, headers, rows, self.notes, right=(1, 2)), *answers)


def simulate(ctx: VirtualContext, query: Any, principals: Iterable[Any], params: Any, limit: int | None) -> Simulation:
    """Run a query once for each principal, on the road, recorded as asked by the context's own."""
    asked = [] if isinstance(principals, str) else list(principals)
    if not asked:
        raise UsageError("simulate for whom?", hint='Give a list of names: `principals=["ana", "ben"]`.')
    seen = [ctx.acting_as(who) for who in asked]
    ctx._note("simulation", principals=[one.principal.name for one in seen])  # noqa: SLF001 - a part of the context
    notes = filter(None, (undeclared(ctx, one.principal) for one in seen))
    return Simulation(ctx.principal.name, tuple(_outcome(one, query, params, limit) for one in seen), tuple(notes))


def _outcome(ctx: VirtualContext, query: Any, params: Any, limit: int | None) -> Outcome:
    name, tenant = ctx.principal.name, ctx.principal.tenant
    try:
        plan = ctx.plan(query, params, limit=limit)
        result = ctx.run(plan)
        result.to_arrow()
    except TauroError as error:
        return Outcome(name, error=error, tenant=tenant)
    return Outcome(name, result, None, *_marks(plan), tenant)


def _marks(plan: QueryPlan) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    from tauro_nb.query.plan import whole

    decisions = whole(plan).decisions
    masked = {
        f"{table}.{column}": decisions[table].columns[column].mask or decisions[table].columns[column].access
        for table, columns in plan.columns.items()
        for column in columns
        if decisions[table].columns[column].access in ("masked", "encrypted")
    }
    denied = [
        f"{table}.{column}"
        for table, decision in decisions.items()
        for column, found in decision.columns.items()
        if found.access == "denied"
    ]
    return masked, tuple(denied), tuple(name for name, found in decisions.items() if found.filter_tree is not None)


def _row(outcome: Outcome, first: Outcome | None) -> tuple[object, ...]:
    table = None if outcome.result is None else outcome.result.to_arrow()
    return (
        outcome.label,
        None if table is None else table.num_rows,
        None if table is None else table.num_columns,
        ", ".join(outcome.filtered),
        ", ".join(f"{column} ({mask})" for column, mask in outcome.masked.items()),
        ", ".join(outcome.denied),
        _difference(outcome, first),
        outcome.said,
    )


def _difference(outcome: Outcome, first: Outcome | None) -> str:
    if outcome.result is None or first is None or first.result is None or outcome is first:
        return ""
    mine, theirs = outcome.result.to_arrow(), first.result.to_arrow()
    said = [f"without {name}" for name in theirs.column_names if name not in mine.column_names]
    said += [f"with {name}" for name in mine.column_names if name not in theirs.column_names]
    shared = [name for name in theirs.column_names if name in mine.column_names]
    here, there = _rows(mine, shared), _rows(theirs, shared)
    more, fewer = sum((here - there).values()), sum((there - here).values())
    if more or fewer:
        said.append(f"{plural(fewer, 'row')} of {first.label} not here, {plural(more, 'row')} only here")
    return "; ".join(said) or f"the same as {first.label}"


def _rows(table: pa.Table, columns: Sequence[str]) -> Counter[str]:
    # Values of nested types have no hash; `repr` keeps 1, 1.0 and True apart.
    chosen = [table.column(table.column_names.index(name)).to_pylist() for name in columns]
    return Counter(map(repr, zip(*chosen, strict=True)))


def _answer(outcome: Outcome) -> Sheet:
    assert outcome.result is not None
    table = outcome.result.to_arrow()
    head = table.slice(0, outcome.result.display_rows)
    columns = [list(map(_shown, column.to_pylist())) for column in head.columns]
    numbers = tuple(place for place, column in enumerate(columns) if any(map(is_number, column)))
    note = (
        plural(table.num_rows, "row")
        if head.num_rows == table.num_rows
        else f"first {head.num_rows} of {table.num_rows}"
    )
    rows = tuple(zip(*columns, strict=True))
    return Sheet(f"as {outcome.label}", note, tuple(table.column_names), rows, right=numbers)


def _shown(value: object) -> object:
    return value if value is None or is_number(value) else str(value)
