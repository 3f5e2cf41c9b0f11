"""What a query does with each column it reads: the roles that an audit record names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from tauro_nb.query.names import VISIBLE, leaf_kind
from tauro_nb.query.trees import conjuncts
from tauro_nb.walks import every_above

if TYPE_CHECKING:
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.query import Query

__all__ = ["ROLES", "TableUse", "column_roles", "table_uses"]

ROLES: Final = ("projected", "filtered", "joined", "grouped", "sorted", "read")
"""In this order; `read` is a column whose part in the query is not known."""

_CLAUSES: Final = {
    "expressions": "projected", "where": "filtered", "having": "filtered", "qualify": "filtered", "joins": "joined",
    "group": "grouped", "distinct": "grouped", "order": "sorted", "windows": "sorted",
}  # fmt: skip

Base = tuple[str, str]
Found = dict[str, dict[str, set[str]]]


@dataclass(frozen=True, slots=True)
class TableUse:
    """One table of a query, its columns' roles, and whether the query itself names it or a view over it."""

    table: str
    direct: bool
    roles: Mapping[str, tuple[str, ...]]


def table_uses(plan: QueryPlan) -> tuple[TableUse, ...]:
    """Every table that a plan reads, in its order, with the roles of the columns it mentions."""
    bound = plan.bound
    if bound is None:
        return tuple(TableUse(name, True, _known({}, columns)) for name, columns in plan.columns.items())
    found = column_roles(bound)
    for entry in plan.entries.values():
        if entry.view is not None:
            _merge(found, _roles_of_view(entry.view))
    direct = {table.name.lower() for table in bound.find_all(exp.Table) if leaf_kind(table) == VISIBLE}
    return tuple(
        TableUse(name, name.lower() in direct, _known(found.get(name.lower(), {}), columns))
        for name, columns in plan.columns.items()
    )


def _roles_of_view(view: Query) -> Found:
    return column_roles(view.tree)


def _known(found: Mapping[str, set[str]], columns: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(role for role in ROLES if role in found.get(name.lower(), {"read"})) for name in columns}


def _merge(into: Found, other: Found) -> None:
    for table, columns in other.items():
        for column, roles in columns.items():
            into.setdefault(table, {}).setdefault(column, set()).update(roles)


def column_roles(tree: exp.Expr) -> Found:
    """Table -> column -> roles, all in lower case, of a tree whose columns are written with their relations.

    A column that a subquery passes on has the role that the query around it gives it.

    >>> import sqlglot
    >>> sql = 'SELECT s.a AS a FROM (SELECT t.a AS a, t.b AS b FROM "~visible".t AS t) AS s WHERE s.b > 1'
    >>> found = column_roles(sqlglot.parse_one(sql, dialect="duckdb"))
    >>> sorted(found["t"].items())
    [('a', {'projected'}), ('b', {'filtered'})]
    """
    found: Found = {}
    passed: dict[int, list[tuple[str, frozenset[Base]]]] = {}
    scopes = traverse_scope(tree)
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
