"""Take the barriers away where nothing of the query could fail on a hidden row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from tauro_nb.query.leakproof import is_leakproof
from tauro_nb.query.names import RAW, is_leaf, leaf_kind
from tauro_nb.query.query import Query
from tauro_nb.query.secure import INNER, is_fenced
from tauro_nb.query.trees import conjuncts, every
from tauro_nb.security.types import is_number

if TYPE_CHECKING:
    from tauro_nb.query.binder import Binder
    from tauro_nb.query.planner import Planner

__all__ = ["lift_barriers"]

_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_ABOVE: Final = "~above"
"""Stands before the type of a value that is computed from groups, if that is known: no condition on such values alone
can be moved below the grouping."""
_MOST_DIGITS: Final = 10
_TOTAL: Final = (exp.Substring, exp.Left, exp.Lower, exp.Upper)
"""Functions of a text and whole numbers that are constants, which no text makes fail."""
_APPLIED: Final = (exp.Func, exp.Binary, exp.Unary, exp.Bracket, exp.Lambda)
"""What applies something to values. Of these only the following are left without a barrier: the engine calls other
functions for every entry of a dictionary, also for entries that no row is left to hold (`secure.cut_dictionaries`)."""
_CALCULATING: Final = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg)
_PLAIN: Final = (
    exp.AggFunc, exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is,
    exp.Like, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Cast, exp.Case, exp.If,
    exp.Coalesce, exp.Nullif, exp.Exists, exp.Extract, exp.Interval, exp.Between, exp.In, exp.DPipe, exp.Dot, exp.Any,
    exp.Length, exp.Year, exp.Month, exp.Day, *_TOTAL,
)  # fmt: skip
_TYPES: Final[tuple[tuple[type[exp.Expr], str], ...]] = ((exp.Avg, "DOUBLE"), (exp.Count, "BIGINT"))


def lift_barriers(query: Query, planner: Planner) -> Query:
    """Drop the LIMIT of every leaf when all conditions of the query are leak-proof.

    What an optimizer moves to a row before the policy has judged it are conditions: of WHERE, ON, HAVING and
    QUALIFY, in whatever query they stand. If none of them can fail, there is nothing to keep above, and a barrier
    would only keep the optimizer from ordering joins and from reading less. One doubtful condition keeps all barriers.
    So does a function, wherever it stands, that is not one of a few, and so does ciphertext that is opened.
    Columns computed by an inner query count as doubtful in the conditions outside of it.
    """
    if not query.fenced or query.strict or not query.qualified or _opens_ciphertext(query.tree, planner):
        return query
    if not _applies_plain_things(query.tree, planner):
        return query
    if not _Judge(planner, query.params, planner.binder).is_harmless(query.tree):
        return query
    for leaf in every(query.tree, exp.Select):
        if _is_leaf(leaf) and is_fenced(leaf):
            leaf.set("limit", None)
    return query.evolve("lift_barriers", query.tree)


def _is_leaf(node: exp.Expr | None) -> bool:
    if not isinstance(node, exp.Select) or node.args.get("from_") is None:
        return False
    source = node.args["from_"].this
    return isinstance(source, exp.Expr) and source.alias == INNER


def _opens_ciphertext(tree: exp.Expr, planner: Planner) -> bool:
    return any(planner.raw(leaf.name).stored for leaf in every(tree, exp.Table) if leaf_kind(leaf) == RAW)


def _applies_plain_things(tree: exp.Expr, planner: Planner) -> bool:
    """Whether all that is applied to values outside the leaves is on the list, and calculates with numbers only.

    With numbers the engine does not calculate for rows that are gone: that may fail, and is declared to. A day plus an
    interval or a number may fail too, but is not declared to, and is calculated for whole dictionaries.
    """
    applied = [node for node in every(tree, *_APPLIED) if not _in_a_leaf(node)]
    if not all(isinstance(node, _PLAIN) and (not isinstance(node, _TOTAL) or _is_total(node)) for node in applied):
        return False
    calculated = [node for node in applied if isinstance(node, _CALCULATING)]
    if not calculated:
        return True
    numbers = _Numbers.of(tree, planner)
    return all(numbers.holds(part) for node in calculated for part in node.iter_expressions())


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Which names of a tree are those of numbers, whatever relation they are asked of."""

    shown: Mapping[str, bool]
    made: Mapping[str, list[exp.Expr]]
    _known: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: exp.Expr, planner: Planner) -> _Numbers:
        """Names of the columns of leaves, and of what queries make of them."""
        shown: dict[str, bool] = {}
        made: dict[str, list[exp.Expr]] = {}
        for table in {node.name for node in every(tree, exp.Table) if leaf_kind(node) == RAW}:
            for name, column in planner.raw(table).decision.columns.items():
                shown[name.lower()] = shown.get(name.lower(), True) and is_number(column.shown_type)
        for item in every(tree, exp.Alias):
            name = item.alias.lower()
            if not isinstance(item.this, exp.Column) or item.this.name.lower() != name:
                made.setdefault(name, []).append(item.this)
        return cls(shown, made)

    def holds(self, node: exp.Expr) -> bool:
        """Whether a value is a number, or is computed from groups and so was read from no dictionary."""
        if isinstance(node, exp.Column):
            return self._named(node.name.lower())
        parts = next((parts for kinds, parts in _NUMBER_OF if isinstance(node, kinds)), None)
        found = None if parts is None else parts(node)
        return found is not None and all(map(self.holds, found))

    def _named(self, name: str) -> bool:
        if name not in self._known:
            self._known[name] = False  # what is made of itself is in doubt
            is_number = self.shown.get(name, name in self.made)
            self._known[name] = is_number and all(map(self.holds, self.made.get(name, ())))
        return self._known[name]


def _results(case: exp.Case) -> list[exp.Expr]:
    """What a CASE gives; its conditions decide which of them it is."""
    found = [*(branch.args["true"] for branch in case.args["ifs"]), case.args.get("default")]
    return [result for result in found if result is not None]


# What may be a number -> what of it must be one; None: it is none. Neither a day is on the list nor a parameter, which
# may be one: a day plus a number fails as a day plus an interval does.
_NUMBER_OF: Final[tuple[tuple[Any, Callable[[Any], Sequence[exp.Expr] | None]], ...]] = (
    ((exp.AggFunc, exp.Null), lambda _: ()),
    (exp.Literal, lambda node: None if node.is_string else ()),
    (exp.Case, _results),
    (exp.Subquery, lambda node: [node.this.selects[0].unalias()] if isinstance(node.this, exp.Select) else None),
    (exp.Filter, lambda node: [node.this]),
    (exp.Cast, lambda node: every(node, exp.Column) if is_number(node.to.sql("duckdb")) else None),
    (exp.Window, lambda node: every(node, exp.Column)),
    ((exp.Paren, exp.Coalesce, exp.Nullif, *_CALCULATING), lambda node: list(node.iter_expressions())),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Judge:
    planner: Planner
    params: Mapping[str, Any]
    binder: Binder
    types: dict[int, dict[str, str | None]] = field(default_factory=dict)

    def is_harmless(self, tree: exp.Expr) -> bool:
        """Whether every condition of every query that is not a policy's own is leak-proof."""
        return all(self._scope_is_harmless(scope) for scope in traverse_scope(tree) if not _in_a_leaf(scope.expression))

    def _scope_is_harmless(self, scope: Scope) -> bool:
        select = scope.expression
        if not isinstance(select, exp.Select):
            return isinstance(select, (exp.SetOperation, exp.Values, exp.Subquery))
        if any(join.method or join.args.get("using") for join in select.args.get("joins") or []):
            return False
        return all(self._condition_is_harmless(part, scope) for part in _conditions(select))

    def _condition_is_harmless(self, part: exp.Expr, scope: Scope) -> bool:
        """Judge a condition with every value in it that is no constant replaced by a column of its type."""
        values: list[exp.Expr] = []
        judged = self._stands_in(part, scope, values)
        kinds = {f"c{place}": self._kind(value, scope) for place, value in enumerate(values)}
        known = {name: kind for name, kind in kinds.items() if kind is not None}
        if len(known) < len(kinds):
            return False
        if kinds and all(kind.startswith(_ABOVE) for kind in known.values()):
            return True
        types = {name: kind.removeprefix(_ABOVE) for name, kind in known.items()}
        return is_leakproof(judged, types, self.params, self.binder, self.planner.deciding)

    def _stands_in(self, node: exp.Expr, scope: Scope, values: list[exp.Expr]) -> exp.Expr:
        """A copy of a condition with columns for values, which are noted in their order."""
        if isinstance(node, exp.Exists) or self._is_plain_like(node, scope):
            return exp.true()
        if isinstance(node, (exp.Column, exp.AggFunc, exp.Subquery, *_TOTAL)):
            values.append(node)
            return exp.Column(this=exp.Identifier(this=f"c{len(values) - 1}"))
        query = node.args.get("query")
        if isinstance(node, exp.In) and isinstance(query, exp.Subquery):
            # `x IN (SELECT ...)` compares as `x = (SELECT ...)` does.
            sides = (self._stands_in(side, scope, values) for side in (node.this, query))
            return exp.EQ(**dict(zip(("this", "expression"), sides, strict=True)))
        twin = node.__class__()
        for key, value in node.args.items():
            if isinstance(value, list):
                twin.set(key, [self._stands_in(v, scope, values) if isinstance(v, exp.Expr) else v for v in value])
            else:
                twin.set(key, self._stands_in(value, scope, values) if isinstance(value, exp.Expr) else value)
        return twin

    def _is_plain_like(self, node: exp.Expr, scope: Scope) -> bool:
        """LIKE with a constant pattern, in which nothing is escaped."""
        if not isinstance(node, exp.Like) or not isinstance(node.expression, exp.Literal):
            return False
        return "\\" not in node.expression.name and self._kind(node.this, scope) == "VARCHAR"

    # -- types

    def _kind(self, node: exp.Expr | None, scope: Scope) -> str | None:
        """The type of a value, behind `_ABOVE` if it is computed from groups; None when in doubt."""
        if isinstance(node, exp.Paren):
            return self._kind(node.this, scope)
        if isinstance(node, exp.Column):
            return self._kind_of_column(node, scope)
        if isinstance(node, _TOTAL):
            return "VARCHAR" if _is_total(node) and self._kind(node.this, scope) == "VARCHAR" else None
        if isinstance(node, exp.Subquery):
            inner = next((s for s in scope.subquery_scopes if s.expression is node.this), None)
            return self._kind_of_output(inner, 0) if inner is not None else None
        return self._kind_above(node, scope)

    def _kind_above(self, node: exp.Expr | None, scope: Scope) -> str | None:
        """What is computed from groups; its type where that is plain, for comparisons with what is not."""
        if node is None or not every(node, exp.AggFunc, exp.Subquery):
            return None
        if any(column.find_ancestor(exp.AggFunc, exp.Subquery) is None for column in every(node, exp.Column)):
            return None
        return _ABOVE + (self._plain_type(node, scope) or "")

    def _plain_type(self, node: exp.Expr, scope: Scope) -> str | None:
        if isinstance(node, exp.Paren):
            return self._plain_type(node.this, scope)
        if isinstance(node, exp.Mul):
            return _product(*(self._plain_type(side, scope) for side in (node.this, node.expression)))
        if isinstance(node, exp.Literal) and not node.is_string:
            whole, _, fraction = node.name.partition(".")
            return (
                f"DECIMAL({len(whole) + len(fraction)},{len(fraction)})" if (whole + fraction).isdigit() else "DOUBLE"
            )
        if isinstance(node, exp.Sum) and isinstance(node.this, exp.Column):
            return _sum(self._kind_of_column(node.this, scope))
        if isinstance(node, (exp.Min, exp.Max)) and isinstance(node.this, exp.Column):
            return (self._kind_of_column(node.this, scope) or "").removeprefix(_ABOVE)
        return next((kind for of, kind in _TYPES if isinstance(node, of)), None)

    def _kind_of_column(self, column: exp.Column, scope: Scope) -> str | None:
        table, name = column.table, column.name.lower()
        while table not in scope.sources:
            if scope.parent is None:
                return None
            scope = scope.parent
        source = scope.sources[table]
        return self._outputs(source).get(name) if isinstance(source, Scope) else None

    def _kind_of_output(self, scope: Scope, position: int) -> str | None:
        return list(self._outputs(scope).values())[position] if self._outputs(scope) else None

    def _outputs(self, scope: Scope) -> dict[str, str | None]:
        """The columns of a relation, by lower-case name."""
        if id(scope) not in self.types:
            self.types[id(scope)] = {}  # a recursive query speaks of itself
            self.types[id(scope)] = self._outputs_of(scope)
        return self.types[id(scope)]

    def _outputs_of(self, scope: Scope) -> dict[str, str | None]:
        select = scope.expression
        if not isinstance(select, exp.Select):
            return {}
        if _is_leaf(select):
            return self._columns_of_leaf(select)
        return {item.alias_or_name.lower(): self._kind_of_item(item.unalias(), scope) for item in select.selects}

    def _kind_of_item(self, item: exp.Expr, scope: Scope) -> str | None:
        """A column of an inner query: passed on as it is, or computed from groups."""
        return self._kind(item, scope) if isinstance(item, exp.Column) else self._kind_above(item, scope)

    def _columns_of_leaf(self, leaf: exp.Select) -> dict[str, str | None]:
        source = leaf.args["from_"].this
        if leaf_kind(source) != RAW:
            return {}  # a view with a policy of its own
        decided = {name.lower(): column for name, column in self.planner.raw(source.name).decision.columns.items()}
        return {item.alias.lower(): decided[item.alias.lower()].shown_type if item.alias.lower() in decided else None
                for item in leaf.expressions}  # fmt: skip


def _is_total(node: exp.Expr) -> bool:
    """Whether the places that a function of a text is given are constants: those of a column may be out of range."""
    places = list(node.iter_expressions())[1:]
    return all(isinstance(place, exp.Literal) and _is_small(place) for place in places)


def _is_small(number: exp.Literal) -> bool:
    """Whether a place in a text is one that the engine can count to; it fails for the first row where it cannot."""
    return number.is_int and len(number.name) < _MOST_DIGITS


def _sum(kind: str | None) -> str | None:
    """DuckDB's type of a sum, as far as it is a decimal or a float."""
    if kind is not None and (found := _DECIMAL.fullmatch(kind)) is not None:
        return f"DECIMAL(38,{found[2]})"
    return "DOUBLE" if kind in ("DOUBLE", "FLOAT") else None


def _product(one: str | None, other: str | None) -> str | None:
    """DuckDB's type of a product, as far as it is a decimal or a float."""
    if one is None or other is None:
        return None
    if "DOUBLE" in (one, other):
        return "DOUBLE"
    first, second = _DECIMAL.fullmatch(one), _DECIMAL.fullmatch(other)
    if first is None or second is None:
        return None
    return f"DECIMAL({min(38, int(first[1]) + int(second[1]))},{int(first[2]) + int(second[2])})"


def _conditions(select: exp.Select) -> Iterator[exp.Expr]:
    for clause in ("where", "having", "qualify"):
        if (found := select.args.get(clause)) is not None:
            yield from conjuncts(found.this)
    for join in select.args.get("joins") or []:
        yield from conjuncts(join.args.get("on"))


def _in_a_leaf(found: exp.Expr) -> bool:
    """Whether a node is a leaf, or stands inside one: there it is what its policy applies."""
    node: exp.Expr | None = found
    while node is not None:
        if is_leaf(node):
            return True
        node = node.parent
    return False
