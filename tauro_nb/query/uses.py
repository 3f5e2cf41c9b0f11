"""What a query does with each column it reads: the roles that an audit record names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from tauro_nb.query.names import VISIBLE, leaf_kind
from tauro_nb.query.trees import conjuncts
from tauro_nb.walks import every_above

if TYPE_CHECKING:
    from tauro_nb.query.plan import QueryPlan

__all__ = ["ROLES", "Roles", "TableUse", "column_roles", "table_uses"]

ROLES: Final = ("projected", "filtered", "joined", "grouped", "sorted", "read")
"""In this order; `read` is a column whose part in the query is not known."""

_CLAUSES: Final = {
    "expressions": "projected", "where": "filtered", "having": "filtered", "qualify": "filtered", "joins": "joined",
    "group": "grouped", "distinct": "grouped", "order": "sorted", "windows": "sorted",
}  # fmt: skip

Base = tuple[str, str]
Roles = Mapping[str, Mapping[str, AbstractSet[str]]]
"""Table -> column -> roles, all in lower case; a table that the query names is there also without columns."""
Found = dict[str, dict[str, set[str]]]


@dataclass(frozen=True, slots=True)
class TableUse:
    """One table of a query, its columns' roles, and whether the query itself names it or a view over it."""

    table: str
    direct: bool
    roles: Mapping[str, tuple[str, ...]]


def table_uses(plan: QueryPlan) -> tuple[TableUse, ...]:
    """Every table that a plan reads, in its order, with the roles of the columns it mentions."""
    views = [entry.view.roles for entry in plan.entries.values() if entry.view is not None]
    uses = []
    for name, columns in plan.columns.items():
        low = name.lower()
        parts = [part[low] for part in (plan.roles, *views) if low in part]
        uses.append(TableUse(name, low in plan.roles, {column: _known(parts, column.lower()) for column in columns}))
    return tuple(uses)


def _known(parts: Sequence[Mapping[str, AbstractSet[str]]], column: str) -> tuple[str, ...]:
    found = set().union(*(part[column] for part in parts if column in part))
    return tuple(role for role in ROLES if role in found) if found else ("read",)


def column_roles(scopes: Sequence[Scope]) -> Roles:
    """What a tree, of which these are the scopes, does with each column that is written with its relation.

    A column that a subquery passes on has the role that the query around it gives it.

    >>> import sqlglot
    >>> from sqlglot.optimizer.scope import traverse_scope
    >>> sql = 'SELECT s.a AS a FROM (SELECT t.a AS a, t.b AS b FROM "~visible".t AS t) AS s WHERE s.b > 1'
    >>> found = column_roles(traverse_scope(sqlglot.parse_one(sql, dialect="duckdb")))
    >>> sorted(found["t"].items())
    [('a', {'projected'}), ('b', {'filtered'})]
    """
    found: Found = {}
    passed: dict[int, list[tuple[str, frozenset[Base]]]] = {}
    for scope in scopes:
        reading = _Reading(scope, passed)
        for base, role in reading.conditions():
            found.setdefault(base[0], {}).setdefault(base[1], set()).add(role)
        passed[id(scope.expression)] = reading.outputs()
        role = _role_of_output(scope, is_root=scope is scopes[-1])
        for _, bases in passed[id(scope.expression)] if role else ():
            for table, column in bases:
                found.setdefault(table, {}).setdefault(column, set()).add(role)
    return found


@dataclass
class _Reading:
    """One SELECT, and what the ones inside it pass on."""

    scope: Scope
    passed: Mapping[int, list[tuple[str, frozenset[Base]]]]
    made_of: dict[int, set[Base]] = field(default_factory=dict)
    _reached: dict[tuple[str, str], frozenset[Base]] = field(default_factory=dict)

    def conditions(self) -> Iterator[tuple[Base, str]]:
        """Columns outside of the SELECT list, each with its role; those inside are noted by their item."""
        top = self.scope.expression
        joining = _joining(top)
        for column in self.scope.columns:
            below, clause = _clause(column, top)
            if clause == "expressions":
                self.made_of.setdefault(id(below), set()).update(self._reach(column))
                continue
            for base in self._reach(column):
                yield base, _CLAUSES.get(clause, "read")
                if id(column) in joining:
                    yield base, "joined"

    def outputs(self) -> list[tuple[str, frozenset[Base]]]:
        """Output name -> columns of tables it is made from; only after `conditions`."""
        node = self.scope.expression
        if isinstance(node, exp.SetOperation):
            sides = [self.passed.get(id(side.unnest()), []) for side in (node.left, node.right)]
            longest = max(sides, key=len)
            return [
                (name, frozenset().union(*(side[place][1] for side in sides if place < len(side))))
                for place, (name, _) in enumerate(longest)
            ]
        if not isinstance(node, exp.Select):
            return []
        return [(item.alias_or_name.lower(), frozenset(self.made_of.get(id(item), ()))) for item in node.selects]

    def _reach(self, column: exp.Column) -> frozenset[Base]:
        key = (column.table, column.name.lower())
        if key not in self._reached:
            self._reached[key] = self._look_up(*key)
        return self._reached[key]

    def _look_up(self, relation: str, name: str) -> frozenset[Base]:
        source = self.scope.sources.get(relation)
        if isinstance(source, exp.Table):
            # Under `FROM t AS x(a, b)` names are those of places.
            if source.alias_column_names:
                return frozenset()
            return frozenset({(source.name.lower(), name)}) if leaf_kind(source) == VISIBLE else frozenset()
        passed = self.passed.get(id(source.expression), ()) if isinstance(source, Scope) else ()
        return next((bases for given, bases in passed if given == name), frozenset())


def _clause(node: exp.Expr, top: exp.Expr) -> tuple[exp.Expr, str]:
    """The child of `top` above a node, and the argument under which it stands; empty when it stands elsewhere."""
    while node.parent is not None and node.parent is not top:
        node = node.parent
    return node, node.arg_key or "" if node.parent is top else ""


def _joining(select: exp.Expr) -> set[int]:
    """Columns of conditions in WHERE that speak of two relations: joins as people wrote them before JOIN."""
    where = select.args.get("where")
    found: set[int] = set()
    if where is None or (select.args.get("joins") is None and select.parent is None):
        return found
    for part in conjuncts(where.this):
        # What stands in a subquery belongs to that one's own conditions.
        columns = every_above(part, lambda node: isinstance(node, exp.Query), exp.Column)
        if len({column.table for column in columns}) > 1:
            found.update(map(id, columns))
    return found


def _role_of_output(scope: Scope, *, is_root: bool) -> str:
    """What becomes of a SELECT list: it is the answer, or a value in a clause of the query around it."""
    if is_root:
        return "projected"
    if scope.is_subquery and scope.parent is not None:
        return _CLAUSES.get(_clause(scope.expression, scope.parent.expression)[1], "read")
    return ""
