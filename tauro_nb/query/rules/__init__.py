"""Rewrites that make a secured query smaller: one rule a file. The tree is the query's own, and changed in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tauro_nb.query.query import Query
from tauro_nb.query.rules.drop_unread import drop_unread
from tauro_nb.query.rules.fold_constants import fold_constants
from tauro_nb.query.rules.lift_barriers import lift_barriers
from tauro_nb.query.rules.prune_columns import prune_columns
from tauro_nb.query.rules.push_predicates import push_predicates
from tauro_nb.query.rules.share_conditions import share_conditions
from tauro_nb.query.rules.trim_leaves import trim_leaves

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["RULES"]

RULES: tuple[Callable[[Query, Planner], Query], ...] = (
    drop_unread,
    prune_columns,
    fold_constants,
    share_conditions,
    push_predicates,
    trim_leaves,
    lift_barriers,
)
"""No CTE that nobody reads, fewer columns, constants as literals, what an OR says in any case, predicates to the
leaves, columns that only those read, barriers nobody needs."""
