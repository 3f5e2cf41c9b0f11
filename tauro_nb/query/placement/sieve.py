"""Semi-joins in the engine: rows that find no partner among the few of a step are left out while they are scanned.

DuckDB takes the different keys of a table it holds for all that there are: a join with a step seems to leave out
nothing, so that it may join large relations first, and it makes no Bloom filter of the keys. A semi-join says both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from tauro_nb.query.names import FRAGMENT, STEP, leaf_kind
from tauro_nb.query.placement.edges import Edge, edges
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.placement.reach import relations
from tauro_nb.query.plan import Fragment
from tauro_nb.query.secrecy import below_policy
from tauro_nb.query.trees import alias_of, copied, every, owner_of, quoted_column

__all__ = ["sieve"]

_LEFT: Final = 0.25
"""Keys that are a larger part of all values are not looked for."""
_ROWS: Final = 50_000
"""Nor are they among fewer rows,"""
_ROWS_ALONE: Final = 1_000_000
"""or among fewer than these where two relations are joined: their order is the right one."""
_SMALLER: Final = 15.0
"""A step has so many times fewer rows than what it is looked for in."""


@dataclass(frozen=True, slots=True)
class _Sieve:
    """An edge by which a step leaves out rows, and the part that it leaves."""

    edge: Edge
    left: float


def sieve(tree: exp.Expr, fragments: Mapping[str, Fragment], estimator: Estimator) -> None:
    """Let large relations of a tree be read for the keys of the step that leaves least of them, in place.

    Parameters
    ----------
    fragments
        By id; where keys are sent to a source, nothing is left to be done here.
    """
    # A stream can be scanned once: nothing that an optimizer might want to read twice goes beside one.
    scans = [part.scan for part in fragments.values() if part.scan is not None]
    if any(scan.stream is not None or not scan.copyable for scan in scans):
        return
    for select in [node for node in every(tree, exp.Select) if not below_policy(node)]:
        if all(estimator.rows(relation) < _ROWS for relation in relations(select).values()):
            continue
        best: dict[str, _Sieve] = {}
        for edge in edges(select):
            found = _weigh(edge, select, fragments, estimator)
            if found is not None and found.left <= best.get(edge.target.alias, found).left:
                best[edge.target.alias] = found
        for one in best.values():
            _put(one.edge)


def _weigh(edge: Edge, select: exp.Select, fragments: Mapping[str, Fragment], estimator: Estimator) -> _Sieve | None:
    if edge.target.scope is not select or not isinstance(edge.reducer.scope, exp.Select):
        return None
    step, target = edge.reducer.relation, edge.target.relation
    if leaf_kind(step) != STEP or not _can_wrap(target) or _has_keys(target, fragments):
        return None
    rows = estimator.rows(target)
    least = _ROWS if len(relations(select)) > 2 else _ROWS_ALONE
    if rows < max(least, estimator.rows(step) * _SMALLER):
        return None
    left = estimator.distinct(step, edge.key) / max(estimator.domain(step, edge.key), 1.0)
    return _Sieve(edge, left) if left <= _LEFT else None


def _can_wrap(relation: exp.Expr) -> bool:
    """Whether a relation is a plain subquery, which reads nothing of what stands beside it."""
    if not isinstance(relation, exp.Subquery) or any(relation.args.get(name) for name in ("pivots", "sample", "joins")):
        return False
    own = _names(relation.this)
    return all(not column.table or owner_of(column) in own for column in every(relation.this, exp.Column))


def _names(tree: exp.Expr) -> Collection[str]:
    return {alias_of(node) for node in every(tree, exp.Table, exp.Subquery)}


def _has_keys(relation: exp.Expr, fragments: Mapping[str, Fragment]) -> bool:
    read = (table.name for table in every(relation, exp.Table) if leaf_kind(table) == FRAGMENT)
    return any(fragments[name].keys for name in read)


def _put(edge: Edge) -> None:
    """Read the target for the step's keys alone."""
    step, target = copied(edge.reducer.relation), edge.target.relation
    alias = copied(target.args["alias"])
    step.set("alias", exp.TableAlias(this=exp.to_identifier("keys", quoted=True)))
    inner = copied(target)
    inner.set("alias", exp.TableAlias(this=exp.to_identifier("whole", quoted=True)))
    equal = exp.EQ(this=quoted_column(edge.column, "whole"), expression=quoted_column(edge.key, "keys"))
    # Every key is equal to itself: only of a side with a condition DuckDB makes a Bloom filter.
    every_key = exp.EQ(this=quoted_column(edge.key, "keys"), expression=quoted_column(edge.key, "keys"))
    keys = exp.select(quoted_column(edge.key, "keys")).from_(step, copy=False).where(every_key, copy=False)
    keys_read = exp.Subquery(this=keys, alias=exp.TableAlias(this=exp.to_identifier("keys", quoted=True)))
    read = exp.Select(expressions=[exp.Star()]).from_(inner, copy=False)
    read.set("joins", [exp.Join(this=keys_read, kind="SEMI", on=equal)])
    target.replace(exp.Subquery(this=read, alias=alias))
