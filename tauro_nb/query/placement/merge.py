"""Joins of relations of one source inside a query over several: asked for as one relation where that moves less."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from tauro_nb.query.placement.cost import Rates, asked, scanned
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.placement.reach import plain_joins, relations
from tauro_nb.query.trees import conjuncts, every

if TYPE_CHECKING:
    from tauro_nb.sources.base import Source

__all__ = ["merge_joins"]

RatesOf = Callable[["Source"], Rates]
Site = Callable[[exp.Expr], "Source | None"]

_JOIN_WORK: Final = 0.25e-6
"""Seconds that a source needs for a row that it joins."""
_LIGHTER: Final = 0.7
"""A join that moves so much less may take a little longer here: other links are slower than this one."""
_SLOWER: Final = 1.2


@dataclass(frozen=True)
class _Group:
    """Relations of one source that are joined there; `conditions` speak of nothing else."""

    aliases: tuple[str, ...]
    source: Source
    conditions: tuple[exp.Expr, ...] = ()


def merge_joins(select: exp.Select, site: Site, estimator: Estimator, rates: RatesOf) -> None:
    """Put relations of one source that are joined with each other into subqueries of a SELECT, in place.

    Only inner joins; a relation of its own stays where it is.

    Parameters
    ----------
    site
        The source that can answer a whole relation, if there is one.
    rates
        What a source costs.
    """
    joins = select.args.get("joins") or []
    if not joins or any(join.side for join in joins) or not plain_joins(select) or select.args.get("sample"):
        return
    around = relations(select)
    sites = {alias: site(relation) for alias, relation in around.items() if isinstance(relation, exp.Subquery)}
    groups = [_Group((alias,), source) for alias, source in sites.items() if source is not None]
    if len({id(group.source) for group in groups}) == len(groups):
        return
    if len(around) != len(joins) + 1 or not _is_clear(select):
        return
    parts = tuple(_parts(select))
    weigher = _Weigher(select, around, parts, estimator, rates)
    while (best := weigher.best(groups)) is not None:
        left, right, merged = best
        groups = [group for group in groups if group is not left and group is not right] + [merged]
    # A SELECT that lies whole at one source never comes here: something is always left outside.
    merged_groups = [group for group in groups if len(group.aliases) > 1]
    for number, group in enumerate(merged_groups):
        _rewrite(select, group, f"group {number}")
    if merged_groups:
        _defer(select)


def _parts(select: exp.Select) -> Iterator[exp.Expr]:
    where = select.args.get("where")
    yield from conjuncts(where.this if where is not None else None)
    for join in select.args.get("joins") or []:
        yield from conjuncts(join.args.get("on"))


@dataclass(frozen=True)
class _Weigher:
    """Compares what groups cost apart and together."""

    select: exp.Select
    around: Mapping[str, exp.Expr]
    parts: tuple[exp.Expr, ...]
    estimator: Estimator
    rates: RatesOf

    def best(self, groups: list[_Group]) -> tuple[_Group, _Group, _Group] | None:
        """The two groups that gain most when they are asked for together."""
        found = []
        for left, right in itertools.combinations(groups, 2):
            if left.source is not right.source:
                continue
            merged = self._merged(left, right)
            gain = None if merged is None else self._gain(left, right, merged)
            if merged is not None and gain is not None:
                found.append((gain, left, right, merged))
        return max(found, key=lambda one: one[0])[1:] if found else None

    def _merged(self, left: _Group, right: _Group) -> _Group | None:
        """The two as one, if an equality that the source decides alike joins them."""
        inside = {*left.aliases, *right.aliases}
        capability = left.source.capability
        assert capability is not None
        own, joined = [], False
        for part in self.parts:
            used = {column.table.lower() for column in every(part, exp.Column)}
            if not used or not used <= inside or part.find(exp.Query) or capability.refusal(part) is not None:
                continue
            own.append(part)
            crosses = used & set(left.aliases) and used & set(right.aliases)
            joined = joined or (bool(crosses) and isinstance(part.unnest(), exp.EQ))
        return _Group((*left.aliases, *right.aliases), left.source, tuple(own)) if joined else None

    def _gain(self, left: _Group, right: _Group, merged: _Group) -> float | None:
        """How many times cheaper the join is than its two sides; None when it is not."""
        rows = {group.aliases: self._rows(group) for group in (left, right, merged)}
        apart = self._time(left, rows[left.aliases]) + self._time(right, rows[right.aliases])
        work = (rows[left.aliases] + rows[right.aliases]) * _JOIN_WORK
        together = asked(self.rates(merged.source), rows[merged.aliases], self._width(merged)) + work
        volume = rows[merged.aliases] * self._width(merged)
        before = sum(rows[group.aliases] * self._width(group) for group in (left, right))
        if together < apart or (volume < before * _LIGHTER and together < apart * _SLOWER):
            return max(before / max(volume, 1.0), 1e-9)
        return None

    def _time(self, group: _Group, rows: float) -> float:
        price = scanned if len(group.aliases) == 1 else asked
        return price(self.rates(group.source), rows, self._width(group))

    def _rows(self, group: _Group) -> float:
        rows = 1.0
        for alias in group.aliases:
            rows *= self.estimator.rows(self.around[alias])
        for condition in group.conditions:
            rows *= self.estimator.keeps(condition, self.around)
        return max(rows, 1.0)

    def _width(self, group: _Group) -> float:
        """Bytes of the columns that are needed outside of the group."""
        read = {(column.table.lower(), column.name) for column in _needed(self.select, group)}
        return sum(
            self.estimator.width(self.around[alias], {name: "" for own, name in read if own == alias})
            for alias in group.aliases
        )


def _needed(select: exp.Select, group: _Group) -> list[exp.Column]:
    """Where the columns of a group are read by something else than its own conditions."""
    inside = {id(column) for part in group.conditions for column in every(part, exp.Column)}
    bodies = {id(relation) for relation in relations(select).values()}
    return [
        column
        for column in _columns(select, bodies)
        if column.table.lower() in group.aliases and id(column) not in inside
    ]


def _columns(node: exp.Expr, skipped: set[int]) -> Iterator[exp.Column]:
    for child in node.walk(prune=lambda found: id(found) in skipped):
        if isinstance(child, exp.Column):
            yield child


def _is_clear(select: exp.Select) -> bool:
    """Whether an alias means one relation wherever it is read, and every output has a name of its own."""
    around = relations(select)
    bodies = {id(relation) for relation in around.values()}
    inner = {
        node.alias_or_name.lower()
        for node in select.walk(prune=lambda found: id(found) in bodies)
        if isinstance(node, (exp.Table, exp.Subquery)) and id(node) not in bodies
    }
    reaching = any(
        column.table.lower() in around for relation in around.values() for column in every(relation, exp.Column)
    )
    named = all(isinstance(item, exp.Alias) for item in select.expressions)
    return named and not reaching and not inner & around.keys()


def _rewrite(select: exp.Select, group: _Group, name: str) -> None:
    """Move the relations and conditions of a group into a subquery, and read its columns by new names."""
    places = _needed(select, group)
    names: dict[tuple[str, str], str] = {}
    selects: list[exp.Expr] = []
    for column in places:
        key = (column.table.lower(), column.name)
        if key not in names:
            # Short: a source cuts names that are too long for it.
            names[key] = f"c{len(names)}"
            selects.append(_typed(exp.alias_(column.copy(), names[key], quoted=True), column))
    inner = exp.Select(expressions=selects or [exp.alias_(exp.Literal.number(1), "~one", quoted=True)])
    first, *others = (relations(select)[alias].copy() for alias in group.aliases)
    inner.set("from_", exp.From(this=first))
    inner.set("joins", [exp.Join(this=relation, kind="CROSS") for relation in others])
    inner.set("where", exp.Where(this=exp.and_(*(part.copy() for part in group.conditions), copy=False)))
    for column in places:
        renamed = exp.column(
            exp.to_identifier(names[column.table.lower(), column.name], quoted=True),
            table=exp.to_identifier(name, quoted=True),
        )
        column.replace(_typed(renamed, column))
    _replace(select, group, exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True))))


def _typed(node: exp.Expr, like: exp.Expr) -> exp.Expr:
    node.type = like.type
    return node


def _replace(select: exp.Select, group: _Group, merged: exp.Subquery) -> None:
    """Let the subquery stand for the relations; what their ON said and it does not goes to WHERE."""
    own = {id(part) for part in group.conditions}
    kept = [part for part in _parts(select) if id(part) not in own]
    rest = [node for alias, node in relations(select).items() if alias not in group.aliases]
    select.set("from_", exp.From(this=merged))
    select.set("joins", [exp.Join(this=node, kind="CROSS") for node in rest])
    select.set("where", exp.Where(this=exp.and_(*kept, copy=False)) if kept else None)


def _defer(select: exp.Select) -> None:
    """Let conditions that are no equalities of columns wait until a third relation is joined.

    DuckDB takes two relations with such a condition for a few rows, and multiplies them before it joins by keys. The
    column that is added is one of an equality: where it is NULL, the row is left out anyway.
    """
    where = select.args.get("where")
    parts = list(conjuncts(where.this)) if where is not None else []
    keys = [part.unnest() for part in parts]
    pairs = [key for key in keys if isinstance(key, exp.EQ) and all(map(_is_column, (key.this, key.expression)))]
    for part in parts:
        used = {column.table for column in every(part, exp.Column)}
        if len(used) < 2 or any(part.unnest() is pair for pair in pairs) or part.find(exp.Query):
            continue
        joined = [pair for pair in pairs if {pair.this.table, pair.expression.table} & used]
        others = (column for pair in joined for column in (pair.this, pair.expression) if column.table not in used)
        third = next(others, None)
        if third is not None:
            absent = exp.Is(this=third.copy(), expression=exp.null())
            part.replace(exp.Case(ifs=[exp.If(this=absent, true=exp.null())], default=part.copy()))


def _is_column(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column)
