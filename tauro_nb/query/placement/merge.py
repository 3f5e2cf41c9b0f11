"""Relations of one source inside a query over several: joined and aggregated there where that moves less."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from sqlglot import exp

from tauro_nb.query.placement.alike import implied
from tauro_nb.query.placement.early import Early, combined, outer_columns
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.placement.groups import Group, RatesOf, Site, Weigher
from tauro_nb.query.placement.reach import plain_joins, relations
from tauro_nb.query.trees import alias_of, conjuncts, copied, every, every_above, owner_of, quoted_column

__all__ = ["CHOSEN", "merge_joins"]

CHOSEN: Final = "chosen"
"""Key of a query's `meta`: that its source answers all of it was decided here."""


def merge_joins(select: exp.Select, site: Site, estimator: Estimator, rates: RatesOf) -> None:
    """Put relations of one source that are joined with each other into subqueries of a SELECT, in place.

    Only inner joins; a relation of its own stays where it is, but for one that is aggregated early.

    Parameters
    ----------
    site
        The source that can answer a whole relation, if there is one.
    rates
        What a source costs.
    """
    joins = select.args.get("joins") or []
    if any(join.side for join in joins) or not plain_joins(select) or select.args.get("sample"):
        return
    around = relations(select)
    sites = {alias: site(relation) for alias, relation in around.items() if isinstance(relation, exp.Subquery)}
    groups = [Group((alias,), source) for alias, source in sites.items() if source is not None]
    if not groups or len(around) != len(joins) + 1 or not _is_clear(select):
        return
    parts = tuple(_parts(select))
    weigher = Weigher(select, around, parts, tuple(implied(parts)), estimator, rates)
    while (best := weigher.best(groups)) is not None:
        left, right, merged = best
        groups = [group for group in groups if group is not left and group is not right] + [merged]
    partial = weigher.early(groups, lambda group, found: site(_together(select, group, found)) is group.source)
    # Where a SELECT lies whole at one source, that refuses some expression of it: that much stays outside.
    chosen = [group for group in groups if len(group.aliases) > 1 or (partial is not None and group is partial[0])]
    if not chosen:
        return
    names = _free_names(select)
    for group in chosen:
        _rewrite(select, group, next(names), partial[1] if partial is not None and group is partial[0] else None)
    _defer(select)


def _free_names(select: exp.Select) -> Iterator[str]:
    """Names that no relation has: one of a query inside could be taken for the one it speaks of."""
    taken = {alias_of(node) for node in every(select.root(), exp.Table, exp.Subquery)}
    return (name for number in count() if (name := f"group {number}") not in taken)


def _parts(select: exp.Select) -> Iterator[exp.Expr]:
    where = select.args.get("where")
    yield from conjuncts(where.this if where is not None else None)
    for join in select.args.get("joins") or []:
        yield from conjuncts(join.args.get("on"))


def _is_clear(select: exp.Select) -> bool:
    """Whether an alias means one relation wherever it is read, and every output has a name of its own."""
    around = relations(select)
    bodies = {id(relation) for relation in around.values()}
    inner = {
        alias_of(node)
        for node in every_above(select, lambda found: id(found) in bodies, exp.Table, exp.Subquery)
        if id(node) not in bodies
    }
    reaching = any(owner_of(column) in around for relation in around.values() for column in every(relation, exp.Column))
    named = all(isinstance(item, exp.Alias) for item in select.expressions)
    return named and not reaching and not inner & around.keys()


def _needed(select: exp.Select, group: Group, partial: Early | None) -> list[exp.Column]:
    """Where the columns of a group are read by something else than its own conditions and its partial aggregates."""
    units = () if partial is None else partial.units
    inside = {id(column) for part in (*group.conditions, *units) for column in every(part, exp.Column)}
    return [
        column for column in outer_columns(select) if owner_of(column) in group.aliases and id(column) not in inside
    ]


def _together(select: exp.Select, group: Group, partial: Early | None) -> exp.Subquery:
    """What the source is asked for a group: its columns `c0`, `c1`, ..., and partial aggregates `a0`, `a1`, ..."""
    # Names are short: a source cuts those that are too long for it.
    columns = list(_names(_needed(select, group, partial)).values())
    selects: list[exp.Expr] = [
        _typed(exp.alias_(copied(column), f"c{number}", quoted=True, copy=False), column)
        for number, column in enumerate(columns)
    ]
    units = () if partial is None else tuple(dict.fromkeys(partial.units))
    selects += [exp.alias_(copied(unit), f"a{number}", quoted=True, copy=False) for number, unit in enumerate(units)]
    inner = exp.Select(expressions=selects or [exp.alias_(exp.Literal.number(1), "~one", quoted=True)])
    first, *others = (copied(relations(select)[alias]) for alias in group.aliases)
    inner.set("from_", exp.From(this=first))
    inner.set("joins", [exp.Join(this=relation, kind="CROSS") for relation in others])
    if group.conditions:
        inner.set("where", exp.Where(this=exp.and_(*(copied(part) for part in group.conditions), copy=False)))
    if partial is not None and columns:
        inner.set("group", exp.Group(expressions=[copied(column) for column in columns]))
    inner.meta[CHOSEN] = True
    return exp.Subquery(this=inner)


def _names(places: list[exp.Column]) -> dict[tuple[str, str], exp.Column]:
    """One of the places of each column."""
    return {(owner_of(column), column.name): column for column in reversed(places)}


def _rewrite(select: exp.Select, group: Group, name: str, partial: Early | None) -> None:
    """Move the relations and conditions of a group into a subquery, and read its columns by new names."""
    places = _needed(select, group, partial)
    merged = _together(select, group, partial)
    merged.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    numbers = {key: number for number, key in enumerate(_names(places))}
    units = () if partial is None else partial.units
    order = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    for unit, number in [(unit, order[unit]) for unit in units]:
        unit.replace(combined(unit, quoted_column(f"a{number}", name)))
    for column in places:
        column.replace(_typed(quoted_column(f"c{numbers[owner_of(column), column.name]}", name), column))
    _replace(select, group, merged)


def _typed(node: exp.Expr, like: exp.Expr) -> exp.Expr:
    node.type = like.type
    return node


def _replace(select: exp.Select, group: Group, merged: exp.Subquery) -> None:
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
        if len(used) < 2 or any(part.unnest() is pair for pair in pairs) or every(part, exp.Query):
            continue
        joined = [pair for pair in pairs if {pair.this.table, pair.expression.table} & used]
        others = (column for pair in joined for column in (pair.this, pair.expression) if column.table not in used)
        third = next(others, None)
        if third is not None:
            absent = exp.Is(this=copied(third), expression=exp.null())
            part.replace(exp.Case(ifs=[exp.If(this=absent, true=exp.null())], default=copied(part)))


def _is_column(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column)
