"""Aggregating early: what a SELECT aggregates of one relation alone can be aggregated before that is joined.

sum(a) over a join is the sum of sum(a) by whatever the join and the rest of the query read besides; a partner that is
met twice counts the partial sum twice, as it would have counted every row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from tauro_nb.query.placement.reach import relations
from tauro_nb.query.trees import every, every_above, owner_of

__all__ = ["Early", "Reads", "combined", "early", "outer_columns"]


def _same(part: exp.Expr) -> exp.Expr:
    return exp.Sum(this=part)


def _counted(part: exp.Expr) -> exp.Expr:
    """Of no rows a count is 0, and a sum NULL."""
    whole = exp.Coalesce(this=exp.Sum(this=part), expressions=[exp.Literal.number(0)])
    return exp.Cast(this=whole, to=exp.DataType.build("BIGINT"))


_COMBINED: Final[Mapping[type[exp.Expr], Callable[[exp.Expr], exp.Expr]]] = {
    exp.Sum: _same,
    exp.Count: _counted,
    exp.Min: lambda part: exp.Min(this=part),
    exp.Max: lambda part: exp.Max(this=part),
}
"""How partial results become the whole one."""


@dataclass(frozen=True)
class Early:
    """What is aggregated of some relations before the others are joined, and the columns it is grouped by."""

    units: tuple[exp.Expr, ...]
    keys: tuple[exp.Column, ...]


def combined(unit: exp.Expr, part: exp.Expr) -> exp.Expr:
    """The whole of partial results.

    >>> combined(exp.Count(this=exp.Star()), exp.column("n")).sql("duckdb")
    'CAST(COALESCE(SUM(n), 0) AS BIGINT)'
    """
    return _COMBINED[type(_function(unit))](part)


@dataclass(frozen=True)
class Reads:
    """What a SELECT aggregates and reads by itself; holds as long as the SELECT is not changed.

    Parameters
    ----------
    units
        Its own aggregates, with their FILTER.
    columns
        Those it reads anywhere but inside the relations of its own FROM.
    grouped, windowed
        Whether it says GROUP BY; whether it has a window function of its own.
    """

    units: tuple[exp.Expr, ...]
    columns: tuple[exp.Column, ...]
    grouped: bool
    windowed: bool

    @classmethod
    def of(cls, select: exp.Select) -> Reads:
        """Look through a SELECT once."""
        units, windows = _own(select, exp.AggFunc), _own(select, exp.Window)
        grouped = select.args.get("group") is not None
        return cls(tuple(map(_unit, units)), tuple(outer_columns(select)), grouped, bool(windows))


def early(reads: Reads, aliases: Collection[str], conditions: Collection[exp.Expr]) -> Early | None:
    """What can be aggregated early of relations whose own conditions are applied with them; None if nothing may be.

    >>> import sqlglot
    >>> sql = "SELECT b.k, SUM(a.v) AS s FROM a JOIN b ON a.id = b.id GROUP BY b.k"
    >>> found = early(Reads.of(sqlglot.parse_one(sql)), {"a"}, ())
    >>> [node.sql() for node in (*found.units, *found.keys)]
    ['SUM(a.v)', 'a.id']
    """
    units = reads.units
    if reads.windowed or not (units or reads.grouped) or not all(_is_decomposable(unit, aliases) for unit in units):
        return None
    inside = {id(column) for node in (*units, *conditions) for column in every(node, exp.Column)}
    outside = [column for column in reads.columns if id(column) not in inside]
    keys = {(owner_of(column), column.name): column for column in outside if owner_of(column) in aliases}
    # Without keys a partial result is one row even of no rows: a group that nobody asked for.
    return Early(units, tuple(keys.values())) if keys or not reads.grouped else None


def outer_columns(select: exp.Select) -> Iterator[exp.Column]:
    """Columns that a SELECT reads anywhere but inside the relations of its own FROM."""
    bodies = {id(relation) for relation in relations(select).values()}
    yield from every_above(select, lambda found: id(found) in bodies, exp.Column)


def _own(select: exp.Select, kind: type[exp.Expr]) -> list[exp.Expr]:
    return [node for node in every(select, kind) if node.find_ancestor(exp.Query) is select]


def _unit(node: exp.Expr) -> exp.Expr:
    """An aggregate with its FILTER."""
    return node.parent if isinstance(node.parent, exp.Filter) and node.parent.this is node else node


def _function(unit: exp.Expr) -> exp.Expr:
    return unit.this if isinstance(unit, exp.Filter) else unit


def _is_decomposable(unit: exp.Expr, aliases: Collection[str]) -> bool:
    function = _function(unit)
    plain = type(function) in _COMBINED and not function.expressions and not every(function, exp.Distinct, exp.Order)
    plain = plain and not isinstance(unit.parent, exp.WithinGroup) and not every(unit, exp.Query)
    return plain and all(owner_of(column) in aliases for column in every(unit, exp.Column))
