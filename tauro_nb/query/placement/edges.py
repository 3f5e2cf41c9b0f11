"""Which relations of a SELECT may leave out rows of which others: where an equality must hold for a row to survive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from tauro_nb.query.placement.reach import null_supplied, plain_joins, relations
from tauro_nb.query.trees import conjuncts

__all__ = ["Edge", "edges", "own_conditions"]

# Their value is not that of one row, or not the same twice.
_IMMOVABLE = (exp.Query, exp.AggFunc, exp.Window, exp.Rand, exp.Uuid, exp.Unnest, exp.Anonymous)


@dataclass(frozen=True, slots=True)
class Edge:
    """Rows of `target` whose `column` is no `key` of `reducer` find no partner."""

    reducer: str
    key: str
    target: str
    column: str


def edges(select: exp.Select) -> Iterator[Edge]:
    """Every such pair.

    The sides of an inner join reduce each other, and so do those of an equality in WHERE, whatever joined them. The
    preserved side of an outer join reduces the other one, never the other way round.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT 1 FROM a LEFT JOIN b ON a.x = b.y")
    >>> [(edge.reducer, edge.target) for edge in edges(tree)]
    [('a', 'b')]
    """
    if not plain_joins(select) or select.args.get("sample"):
        return
    known = relations(select)
    where = select.args.get("where")
    for left, right in _equalities(where.this if where is not None else None, known):
        yield from _both(left, right)
    for join in select.args.get("joins") or []:
        own, side = join.this.alias_or_name.lower(), join.side.upper()
        for left, right in _equalities(join.args.get("on"), known):
            if not side:
                yield from _both(left, right)
            elif own in (left.table.lower(), right.table.lower()):
                inner, outer = (left, right) if left.table.lower() == own else (right, left)
                if side == "LEFT":
                    yield _edge(outer, inner)
                elif side == "RIGHT":
                    yield _edge(inner, outer)


def _equalities(condition: exp.Expr | None, known: dict[str, exp.Expr]) -> Iterator[tuple[exp.Column, exp.Column]]:
    for part in conjuncts(condition):
        node = part.unnest()
        if not isinstance(node, exp.EQ):
            continue
        left, right = node.this, node.expression
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            aliases = {left.table.lower(), right.table.lower()}
            if len(aliases) == 2 and aliases <= known.keys():
                yield left, right


def _both(left: exp.Column, right: exp.Column) -> Iterator[Edge]:
    yield _edge(left, right)
    yield _edge(right, left)


def _edge(reducer: exp.Column, target: exp.Column) -> Edge:
    return Edge(reducer.table.lower(), reducer.name, target.table.lower(), target.name)


def own_conditions(select: exp.Select, alias: str) -> list[exp.Expr]:
    """Conditions of WHERE that speak of one relation alone, and may be asked of it before it is joined."""
    where = select.args.get("where")
    if where is None or alias in null_supplied(select):
        return []
    return [
        part
        for part in conjuncts(where.this)
        if part.find(*_IMMOVABLE) is None and {column.table.lower() for column in part.find_all(exp.Column)} == {alias}
    ]
