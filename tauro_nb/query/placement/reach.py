"""How deep a condition on an output column may go into a query without changing what is joined to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from tauro_nb.query.names import FRAGMENT, RAW, leaf_kind
from tauro_nb.query.trees import BARRIER, alias_of, every, owner_of

__all__ = ["Place", "fragment_column", "null_supplied", "plain_joins", "reach", "relations"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows can be left out by the values of a column.

    Parameters
    ----------
    select
        The SELECT whose WHERE takes the condition.
    column
        The column there.
    table, origin
        The raw table it comes from, and its name in that.
    """

    select: exp.Select
    column: exp.Column
    table: str
    origin: str


def relations(select: exp.Select) -> dict[str, exp.Expr]:
    """What a SELECT reads, by lower-case alias, in the order it is joined."""
    args = select.args
    source = args.get("from_")
    nodes = [] if source is None else [source.args["this"]]
    nodes += [join.args["this"] for join in args.get("joins") or ()]
    return {alias_of(node): node for node in nodes}


def null_supplied(select: exp.Select) -> set[str]:
    """Aliases whose columns an outer join may fill with NULL."""
    out: set[str] = set()
    before: set[str] = set()
    for alias, side in _sides(select):
        if side in ("LEFT", "FULL"):
            out.add(alias)
        if side in ("RIGHT", "FULL"):
            out |= before
        before.add(alias)
    return out


def plain_joins(select: exp.Select) -> bool:
    """Whether rows meet by conditions alone: ASOF and POSITIONAL pick among all rows of a side."""
    joins = select.args.get("joins") or []
    return not any(
        join.method or join.args.get("using") or join.kind.upper() not in ("", "INNER", "CROSS", "OUTER")
        for join in joins
    )


def _sides(select: exp.Select) -> Iterator[tuple[str, str]]:
    source = select.args.get("from_")
    if source is not None:
        yield alias_of(source.this), ""
    for join in select.args.get("joins") or []:
        yield alias_of(join.this), join.side.upper()


def passes(select: exp.Expr, name: str) -> exp.Column | None:
    """The column that an output column is, if leaving out rows by it is leaving out rows of the answer."""
    if not isinstance(select, exp.Select):
        return None
    if any(select.args.get(clause) for clause in ("offset", "qualify", "sample", "windows", "laterals")):
        return None
    if not plain_joins(select) or any(map(_is_changed, relations(select).values())):
        return None
    limit, distinct = select.args.get("limit"), select.args.get("distinct")
    if (limit is not None and not _is_barrier(limit)) or (distinct is not None and distinct.args.get("on")):
        return None
    if any(every(item, exp.Window) for item in select.expressions if not _is_plain(item)):
        return None
    item = next((item for item in select.expressions if alias_of(item) == name.lower()), None)
    column = None if item is None else item.unalias()
    if isinstance(column, exp.Cast) and _reads_fragment(select):
        column = column.this
    return column if isinstance(column, exp.Column) and _is_key(select, column) else None


def _is_changed(relation: exp.Expr) -> bool:
    """Whether what is behind a relation's name makes other rows of it: a sample is drawn of all of them."""
    return any(relation.args.get(clause) for clause in ("pivots", "sample", "joins"))


def _is_plain(item: exp.Expr) -> bool:
    """Whether an output is a column, cast or not: there is nothing else in it."""
    value = item.unalias()
    return isinstance(value.this if isinstance(value, exp.Cast) else value, exp.Column)


def _is_barrier(limit: exp.Expr) -> bool:
    count = limit.args.get("expression")
    return isinstance(count, exp.Literal) and count.name == BARRIER


def _reads_fragment(select: exp.Select) -> bool:
    return leaf_kind(select.args["from_"].this) == FRAGMENT if select.args.get("from_") is not None else False


def _is_key(select: exp.Select, column: exp.Column) -> bool:
    """Whether a column is one of those that are grouped by, if anything is."""
    group = select.args.get("group")
    if group is None:
        return select.args.get("having") is None and not any(map(_aggregates, select.expressions))
    if any(group.args.get(kind) for kind in ("all", "rollup", "cube", "grouping_sets", "totals")):
        return False
    return any(part == column for part in group.expressions)


def _aggregates(item: exp.Expr) -> bool:
    found = () if _is_plain(item) else every(item, exp.AggFunc)
    return any(node.find_ancestor(exp.Query) is item.find_ancestor(exp.Query) for node in found)


def fragment_column(relation: exp.Expr, name: str) -> tuple[str, str] | None:
    """The fragment whose column an output column of a relation is, and that column."""
    select = relation.this if isinstance(relation, exp.Subquery) and not _is_changed(relation) else None
    while isinstance(select, exp.Select):
        column = passes(select, name)
        if column is None:
            return None
        if _reads_fragment(select):
            return select.args["from_"].this.name, column.name
        inner = relations(select).get(owner_of(column))
        if inner is None or owner_of(column) in null_supplied(select) or not isinstance(inner, exp.Subquery):
            return None
        select, name = inner.this, column.name
    return None


def reach(query: exp.Expr, name: str) -> Place | None:
    """The deepest place in a fragment's tree for a condition on its output column `name`."""
    column = passes(query, name)
    if column is None:
        return None
    assert isinstance(query, exp.Select)
    inner = relations(query).get(owner_of(column))
    if inner is None:
        return None
    if leaf_kind(inner) == RAW:
        return Place(query, column, inner.name, column.name)
    if not isinstance(inner, exp.Subquery):
        return None
    below = reach(inner.this, column.name)
    if below is not None and owner_of(column) in null_supplied(query):
        return Place(query, column, below.table, below.origin)
    return below
