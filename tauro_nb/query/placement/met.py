"""How many values of a column are left where others must be equal to it: never more than those have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from tauro_nb.query.placement.alike import pair_of
from tauro_nb.query.placement.reach import relations
from tauro_nb.query.trees import conjuncts, owner_of

__all__ = ["Met"]

_DEPTH = 2


@dataclass(frozen=True)
class Met:
    """The equalities that hold of every row of the joins of a SELECT.

    Parameters
    ----------
    around
        Its relations by alias.
    rows, distinct
        Estimates of a relation, and of a column of one.
    """

    around: Mapping[str, exp.Expr]
    pairs: tuple[tuple[exp.Column, exp.Column], ...]
    rows: Callable[[exp.Expr], float]
    distinct: Callable[[exp.Expr, str], float]

    @classmethod
    def of(
        cls, select: exp.Select, rows: Callable[[exp.Expr], float], distinct: Callable[[exp.Expr, str], float]
    ) -> Met:
        """Those of a SELECT; none where an outer join keeps rows without a partner.

        Examples
        --------
        >>> import sqlglot
        >>> tree = sqlglot.parse_one("SELECT s.n FROM s, n, r WHERE s.n = n.k AND n.r = r.k")
        >>> sizes = {"s": 10_000.0, "n": 25.0, "r": 1.0}
        >>> values = {("s", "n"): 25.0, ("n", "k"): 25.0, ("n", "r"): 5.0, ("r", "k"): 1.0}
        >>> met = Met.of(tree, lambda node: sizes[node.name], lambda node, name: values[node.name, name])
        >>> met.values("s", "n")
        5.0
        """
        joins = select.args.get("joins") or []
        where = select.args.get("where")
        conditions = [where.this if where is not None else None, *(join.args.get("on") for join in joins)]
        parts = [] if any(join.side for join in joins) else [part for one in conditions for part in conjuncts(one)]
        around = relations(select)
        pairs = (pair for part in parts if (pair := pair_of(part)) is not None)
        inside = (pair for pair in pairs if all(owner_of(column) in around for column in pair))
        return cls(around, tuple(inside), rows, distinct)

    def values(self, alias: str, name: str) -> float:
        """Different values of a relation's column that are left by what must be equal to it; infinite if nothing is."""
        equal = (other for own, other in self._of(alias) if own.name.lower() == name.lower())
        return min((self._keys(other, frozenset({alias}), _DEPTH) for other in equal), default=math.inf)

    def _of(self, alias: str) -> Iterator[tuple[exp.Column, exp.Column]]:
        for left, right in self.pairs:
            if owner_of(left) == alias:
                yield left, right
            if owner_of(right) == alias:
                yield right, left

    def _keys(self, column: exp.Column, without: frozenset[str], depth: int) -> float:
        alias = owner_of(column)
        relation = self.around[alias]
        return min(self.distinct(relation, column.name), self.rows(relation) * self._left(alias, without, depth))

    def _left(self, alias: str, without: frozenset[str], depth: int) -> float:
        """The part of a relation's rows that its best partner leaves."""
        beyond = without | {alias}
        shares = (
            self._keys(other, beyond, depth - 1) / max(self.distinct(self.around[alias], own.name), 1.0)
            for own, other in self._of(alias)
            if owner_of(other) not in beyond
        )
        return min(1.0, min(shares, default=1.0)) if depth else 1.0
