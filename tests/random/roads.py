"""Which roads a plan takes: the joins and aggregates that random queries must meet often to prove anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sqlglot import exp

from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["ROADS", "roads"]


def roads(plan: QueryPlan) -> Iterator[str]:
    """The names of `ROADS` that hold of a plan."""
    return (name for name, holds in ROADS.items() if holds(plan))


def _several(plan: QueryPlan) -> bool:
    return len({part.source for part in plan.fragments}) > 1


def _reads(part: Fragment) -> int:
    return len(list(part.tree.find_all(exp.Table)))


def _looks_through(part: Fragment) -> bool:
    return any(node.find(exp.Table) for node in part.tree.find_all(exp.Exists, exp.In))


def _partial(part: Fragment) -> bool:
    return any(item.alias == "a0" for item in part.tree.selects) and bool(part.tree.find(exp.AggFunc))


ROADS: Mapping[str, Callable[[QueryPlan], bool]] = {
    "several sources": _several,
    "bind join": lambda plan: any(part.keys for part in plan.fragments),
    "keys by several columns": lambda plan: any(len(part.keys) > 1 for part in plan.fragments),
    "keys from one server to another": lambda plan: any(
        part.keys and len({other.source for other in plan.fragments if other.scan is not None and other.scan.relation})
        > 1
        for part in plan.fragments
    ),
    "joined at a source beside others": lambda plan: _several(plan)
    and any(_reads(part) > 1 and not _looks_through(part) for part in plan.fragments),
    "semi-join at a source beside others": lambda plan: _several(plan) and any(map(_looks_through, plan.fragments)),
    "aggregated below a join": lambda plan: any(map(_partial, plan.fragments)),
    "semi-join in the engine": lambda plan: any(
        join.kind == "SEMI" and join.this.alias == "keys" for join in plan.residual.find_all(exp.Join)
    ),
    "a step": lambda plan: bool(plan.steps),
    "whole at one source": lambda plan: len(plan.fragments) == 1 and _reads(plan.fragments[0]) > 1,
}  # fmt: skip
