"""Move predicates into the leaf they speak of, so that its source can apply them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.query.leakproof import is_leakproof
from tauro_nb.query.literals import used_params
from tauro_nb.query.names import is_leaf
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.query import Query
from tauro_nb.query.sealed import sealed_condition
from tauro_nb.query.secrecy import below_policy, mark_policy
from tauro_nb.query.secure import is_fenced
from tauro_nb.query.trees import IMMOVABLE, conjuncts, copied, disjuncts, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner
    from tauro_nb.query.tables import TableEntry

__all__ = ["push_predicates"]

_MOST_KEPT: Final = 0.5
"""An implied condition that keeps more of the rows that the engine reads anyway costs more than it saves."""


def push_predicates(query: Query, planner: Planner) -> Query:
    """Move single-relation conditions of WHERE and ON into their leaf.

    Below a barrier go only leak-proof predicates on unmasked columns, and none when it is strict. Of a column that is
    encrypted at its source, what an equality says of the ciphertext goes below, and the equality stays. A
    condition on the null-supplied side of an outer join stays where it is.
    """
    if not query.qualified or not query.pushdown:
        return query
    for select in every(query.tree, exp.Select):
        leaves = _leaves(select)
        # USING SAMPLE draws before WHERE looks: a pushed condition would change what is drawn from.
        if leaves and not select.args.get("sample"):
            pusher = _Pusher(planner, query.params)
            pusher.push_where(select, leaves)
            pusher.push_on(select, leaves)
    return query.evolve("push_predicates", query.tree)


def _leaves(select: exp.Select) -> dict[str, exp.Subquery]:
    """Leaves among the relations of a SELECT, by alias."""
    out: dict[str, exp.Subquery] = {}
    source = select.args.get("from_")
    relations = [source.this] if source is not None else []
    relations += [join.this for join in select.args.get("joins") or []]
    for relation in relations:
        if isinstance(relation, exp.Subquery) and is_leaf(relation.this) and not _has_extras(relation):
            out[relation.alias.lower()] = relation
    return out


def _has_extras(relation: exp.Subquery) -> bool:
    return any(relation.args.get(name) for name in ("pivots", "sample", "joins"))


@dataclass(frozen=True, slots=True)
class _Pusher:
    """Moves conditions into leaves, as far as the barriers of one principal's tables allow."""

    planner: Planner
    params: Mapping[str, Any]

    def push_where(self, select: exp.Select, leaves: dict[str, exp.Subquery]) -> None:
        where = select.args.get("where")
        if where is None:
            return
        reachable = {alias: leaf for alias, leaf in leaves.items() if alias not in _nullable(select)}
        kept = [part for part in conjuncts(where.this) if not self._try_push(part, reachable)]
        select.set("where", exp.Where(this=exp.and_(*kept, copy=False)) if kept else None)

    def push_on(self, select: exp.Select, leaves: dict[str, exp.Subquery]) -> None:
        nullable = _nullable(select)
        for join in select.args.get("joins") or []:
            condition = join.args.get("on")
            if condition is None or join.method or join.kind.upper() not in ("", "INNER", "OUTER"):
                continue
            own = join.this.alias_or_name.lower()
            if join.side.upper() == "LEFT":
                reachable = {own: leaves[own]} if own in leaves and _only_left_joins(select) else {}
            elif join.side:
                continue
            else:
                reachable = {alias: leaf for alias, leaf in leaves.items() if alias not in nullable}
            kept = [part for part in conjuncts(condition) if not self._try_push(part, reachable)]
            if kept:
                join.set("on", exp.and_(*kept, copy=False))
            else:
                join.set("on", exp.true())

    def _try_push(self, part: exp.Expr, leaves: dict[str, exp.Subquery]) -> bool:
        """Push one conjunct; True when it moved, so that its place is free.

        An OR over several relations stays, and leaves behind what it implies for each of them.
        """
        if every(part, *IMMOVABLE):
            return False
        used = {column.table.lower() for column in every(part, exp.Column)}
        if len(used) == 1:
            leaf = leaves.get(next(iter(used)))
            return leaf is not None and self._push(part, leaf)
        if isinstance(part.unnest(), exp.Or):
            for alias in used & leaves.keys():
                implied = _implied(part.unnest(), alias)
                if implied is not None and self._pays(implied, alias, leaves[alias]):
                    self._push(implied, leaves[alias])
        return False

    def _pays(self, implied: exp.Expr, alias: str, leaf: exp.Subquery) -> bool:
        """Whether it is worth its while to look below, for what the join decides anyway; a source then sends less.

        Plans show where a condition stands, and hidden rows have bounds: a table with a policy is unknown here.
        """
        source = self._entry(leaf.this).source
        if source is None or source.capability is not None:
            return True
        return Estimator(self.planner.open_statistics, {}, blind=True).keeps(implied, {alias: leaf}) < _MOST_KEPT

    def _push(self, part: exp.Expr, leaf: exp.Subquery) -> bool:
        inner = leaf.this
        names = {select.alias.lower(): select.unalias() for select in inner.expressions}
        columns = every(part, exp.Column)
        if any(column.name.lower() not in names for column in columns):
            return False
        if is_fenced(inner) and not self._may_pass(part, inner, names):
            self._search(part, inner, names)
            return False
        moved = copied(part)
        if isinstance(moved, exp.Column):
            moved = copied(names[moved.name.lower()])
        raw = inner.args["from_"].this.alias
        for column in [column for column in every(moved, exp.Column) if column.table != raw]:
            column.replace(copied(names[column.name.lower()]))
        inner.where(exp.paren(moved) if isinstance(moved, exp.Or) else moved, copy=False)
        return True

    def _search(self, part: exp.Expr, leaf: exp.Select, names: Mapping[str, exp.Expr]) -> None:
        """Ask for the ciphertext that a condition looks for: comparing it cannot fail, and who asks may open it."""
        if self._entry(leaf).decision.is_strict:
            return
        condition = sealed_condition(part, names, self.params, self.planner.services.security.keys)
        if condition is not None:
            self.planner.deciding.update(used_params(part, self.params))
            leaf.where(mark_policy(condition), copy=False)

    def _entry(self, leaf: exp.Select) -> TableEntry:
        return self.planner.raw(leaf.args["from_"].this.name)

    def _may_pass(self, part: exp.Expr, leaf: exp.Select, names: Mapping[str, exp.Expr]) -> bool:
        """Whether a condition may stand below the barrier of a leaf: it speaks of clear columns, and cannot fail."""
        if below_policy(leaf):
            return False
        entry = self._entry(leaf)
        if entry.decision.is_strict:
            return False
        types = {name.lower(): kind for name, kind in entry.columns.items()}
        clear = {name: types[value.name.lower()] for name, value in names.items() if isinstance(value, exp.Column)}
        return is_leakproof(part, clear, self.params, self.planner.binder, self.planner.deciding)


def _only_left_joins(select: exp.Select) -> bool:
    """Whether no RIGHT or FULL join complicates what a LEFT join's condition means."""
    return all(other.side.upper() in ("", "LEFT") for other in select.args.get("joins") or [])


def _nullable(select: exp.Select) -> set[str]:
    """Aliases whose rows may not be thinned out before the join.

    An outer join fills their columns with NULL; an ASOF join picks its match among all of them.
    """
    out: set[str] = set()
    source = select.args.get("from_")
    before = {source.this.alias_or_name.lower()} if source is not None else set()
    for join in select.args.get("joins") or []:
        own = join.this.alias_or_name.lower()
        side = join.side.upper()
        if side in ("LEFT", "FULL") or join.method:
            out.add(own)
        if side in ("RIGHT", "FULL"):
            out |= before
        before.add(own)
    return out


def _implied(disjunction: exp.Expr, alias: str) -> exp.Expr | None:
    """What an OR says of one relation, if every branch says something."""
    branches = []
    for branch in disjuncts(disjunction):
        own = [
            part
            for part in conjuncts(branch)
            if {column.table.lower() for column in every(part, exp.Column)} == {alias}
        ]
        if not own:
            return None
        branches.append(exp.and_(*(copied(part) for part in own)))
    return exp.or_(*branches)
