"""Which relations may leave out rows of which others: where an equality must hold for a row to survive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from tauro_nb.query.names import STEP, leaf_table
from tauro_nb.query.placement.alike import implied, pair_of
from tauro_nb.query.placement.reach import null_supplied, plain_joins, relations
from tauro_nb.query.secrecy import below_policy, is_policy
from tauro_nb.query.trees import IMMOVABLE, alias_of, conjuncts, every, every_above, owner_of, quoted_column

__all__ = ["Edge", "Slot", "edges"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a tree where a relation stands: in FROM or a join of a SELECT, or behind `IN`."""

    scope: exp.Expr = field(compare=False, repr=False)
    scope_id: int
    alias: str

    @classmethod
    def of(cls, scope: exp.Expr, alias: str = "") -> Slot:
        """The place of a relation in a SELECT, or of the query of an `IN`."""
        return cls(scope, id(scope), alias)

    @property
    def relation(self) -> exp.Expr:
        """What stands there now."""
        if isinstance(self.scope, exp.Select):
            return relations(self.scope)[self.alias]
        query: exp.Expr = self.scope.args["query"]
        step: exp.Expr | None = query.this.meta.get(STEP)
        return query if step is None else step

    @property
    def around(self) -> Mapping[str, exp.Expr]:
        """The relations that conditions there may speak of."""
        return relations(self.scope) if isinstance(self.scope, exp.Select) else {}

    def conditions(self) -> list[exp.Expr]:
        """Conditions of WHERE that speak of this relation alone, and may be asked of it before it is joined."""
        if not isinstance(self.scope, exp.Select) or self.alias in null_supplied(self.scope):
            return []
        where = self.scope.args.get("where")
        return [
            part
            for part in conjuncts(where.this if where is not None else None)
            if {owner_of(column) for column in every(part, exp.Column)} == {self.alias} and not every(part, *IMMOVABLE)
        ]

    def put_step(self, name: str) -> None:
        """Let a step's rows stand in the place of the relation."""
        relation = self.relation
        if isinstance(self.scope, exp.Select):
            relation.replace(leaf_table(name, STEP, relation.alias))
            return
        column = quoted_column(relation.this.selects[0].alias_or_name)
        step = leaf_table(name, STEP)
        members = exp.Select(expressions=[column]).from_(step, copy=False)
        members.meta[STEP] = step
        relation.this.replace(members)


@dataclass(frozen=True, slots=True)
class Edge:
    """Rows of `target` whose `column` is no `key` of `reducer` find no partner."""

    reducer: Slot
    key: str
    target: Slot
    column: str


def edges(select: exp.Select) -> Iterator[Edge]:
    """Every such pair in the joins of a SELECT, and between it and the `IN` and `EXISTS` of its WHERE.

    The sides of an inner join reduce each other, and so do those of an equality in WHERE, whatever joined them. The
    preserved side of an outer join reduces the other one, never the other way round; what `NOT EXISTS` looks through
    may be reduced, and reduces nothing; so may what a query of one value looks through.

    >>> import sqlglot
    >>> absent = "NOT EXISTS (SELECT 1 FROM c WHERE c.z = a.x)"
    >>> tree = sqlglot.parse_one(f"SELECT 1 FROM a LEFT JOIN b ON a.x = b.y WHERE {absent}")
    >>> [(edge.reducer.alias, edge.target.alias) for edge in edges(tree)]
    [('a', 'c'), ('a', 'b')]
    """
    if not plain_joins(select) or select.args.get("sample"):
        return
    where = select.args.get("where")
    condition = where.this if where is not None else None
    for left, right in _equalities(condition, select):
        yield from _both(select, left, right)
    followed = list(implied(_lasting(select)))
    for left, right in filter(None, map(pair_of, followed)):
        if {owner_of(left), owner_of(right)} <= relations(select).keys():
            yield from _both(select, left, right)
    for part in conjuncts(condition):
        if not is_policy(part):
            yield from _semi(select, part.unnest())
    for query in _scalar(select):
        yield from _correlated(select, query)
    for join in select.args.get("joins") or []:
        yield from _joined(select, join)


def _lasting(select: exp.Select) -> Iterator[exp.Expr]:
    """Conditions that hold of every row that comes out of the joins and WHERE."""
    where, joins = select.args.get("where"), select.args.get("joins") or []
    yield from conjuncts(where.this if where is not None else None)
    if not any(join.side for join in joins):
        for join in joins:
            yield from conjuncts(join.args.get("on"))


def _joined(select: exp.Select, join: exp.Join) -> Iterator[Edge]:
    own, side = alias_of(join.this), join.side.upper()
    for left, right in _equalities(join.args.get("on"), select):
        if not side:
            yield from _both(select, left, right)
        elif own in (owner_of(left), owner_of(right)):
            inner, outer = (left, right) if owner_of(left) == own else (right, left)
            if side == "LEFT":
                yield _edge(select, outer, select, inner)
            elif side == "RIGHT":
                yield _edge(select, inner, select, outer)


def _semi(select: exp.Select, node: exp.Expr) -> Iterator[Edge]:
    """Between a SELECT and the query that one of its conditions looks through."""
    negated = isinstance(node, exp.Not)
    inner = node.this.unnest() if negated else node
    negated = negated or bool(inner.args.get("negate"))
    if isinstance(inner, exp.Exists):
        yield from _exists(select, inner.this.unnest(), negated=negated)
    elif isinstance(inner, exp.In) and not negated and inner.args.get("query") is not None:
        yield from _member(select, inner)


def _exists(select: exp.Select, query: exp.Expr, *, negated: bool) -> Iterator[Edge]:
    clauses = ("group", "having", "limit", "offset", "qualify", "sample")
    if not isinstance(query, exp.Select) or any(query.args.get(clause) for clause in clauses):
        return
    if not plain_joins(query) or any(every(item, exp.AggFunc, exp.Window) for item in query.expressions):
        return
    for edge in _correlated(select, query):
        yield edge
        if not negated:
            yield Edge(edge.target, edge.column, edge.reducer, edge.key)


def _scalar(select: exp.Select) -> Iterator[exp.Select]:
    """Queries of one value in the clauses of a SELECT: each row looks only at what its own columns are equal to."""
    bodies = {id(relation) for relation in relations(select).values()}

    def is_end(found: exp.Expr) -> bool:
        return id(found) in bodies or (found is not select and _is_query(found))

    for node in every_above(select, is_end, exp.Subquery):
        query = node.this if id(node) not in bodies else None
        if not isinstance(query, exp.Select) or isinstance(node.parent, (exp.In, exp.Exists, exp.SetOperation)):
            continue
        if plain_joins(query) and not query.args.get("sample") and not below_policy(query):
            yield query


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, exp.Query) and not isinstance(node, exp.Subquery)


def _correlated(select: exp.Select, query: exp.Select) -> Iterator[Edge]:
    """What a SELECT leaves of the rows that a query inside looks at."""
    outside, inside = relations(select), relations(query)
    where = query.args.get("where")
    for part in conjuncts(where.this if where is not None else None):
        node = part.unnest()
        if not (isinstance(node, exp.EQ) and isinstance(node.this, exp.Column)):
            continue
        if not isinstance(node.expression, exp.Column):
            continue
        for own, outer in ((node.this, node.expression), (node.expression, node.this)):
            name = owner_of(outer)
            if owner_of(own) in inside and name in outside and name not in inside:
                yield _edge(select, outer, query, own)


def _member(select: exp.Select, node: exp.In) -> Iterator[Edge]:
    column, query = node.this, node.args["query"]
    if not isinstance(column, exp.Column) or owner_of(column) not in relations(select):
        return
    if not isinstance(query, exp.Subquery) or not isinstance(query.this, exp.Select) or len(query.this.selects) != 1:
        return
    inside, name = Slot.of(node), query.this.selects[0].alias_or_name
    for member in _equal_to(column, select):
        outside = Slot.of(select, owner_of(member))
        yield Edge(inside, name, outside, member.name)
        yield Edge(outside, member.name, inside, name)


def _equal_to(column: exp.Column, select: exp.Select) -> list[exp.Column]:
    """A column of a SELECT, and the others that are equal to it."""
    parts = list(_lasting(select))
    pairs = [pair for pair in map(pair_of, (*parts, *implied(parts))) if pair is not None and column in pair]
    others = [right if left == column else left for left, right in pairs if left.type == right.type]
    return [column, *(other for other in others if owner_of(other) in relations(select))]


def _equalities(condition: exp.Expr | None, select: exp.Select) -> Iterator[tuple[exp.Column, exp.Column]]:
    known = relations(select)
    for left, right in filter(None, map(pair_of, conjuncts(condition))):
        aliases = {owner_of(left), owner_of(right)}
        if len(aliases) == 2 and aliases <= known.keys():
            yield left, right


def _both(select: exp.Select, left: exp.Column, right: exp.Column) -> Iterator[Edge]:
    yield _edge(select, left, select, right)
    yield _edge(select, right, select, left)


def _edge(scope: exp.Select, reducer: exp.Column, other: exp.Select, target: exp.Column) -> Edge:
    return Edge(Slot.of(scope, owner_of(reducer)), reducer.name, Slot.of(other, owner_of(target)), target.name)
