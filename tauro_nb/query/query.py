"""`Query`: the immutable value that travels the road."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlglot import exp

from tauro_nb.query.plan import RuleFired
from tauro_nb.query.trees import copied
from tauro_nb.query.uses import Roles

__all__ = ["Leaf", "Query"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one query reads of one virtual table: every column it mentions, filtered and joined on too."""

    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT-like statement on its way from text to plan.

    Parameters
    ----------
    tree
        sqlglot tree, DuckDB dialect. `bind` makes one of the query's own, and what comes after changes it in place.
    text
        What the user typed, or the SQL of the expression.
    typed
        The tree as the user wrote it, before any rule.
    params
        Values of named parameters; they stay bound, never become text.
    frames
        Arrow tables that came with the query, by name.
    leaves
        What it reads, known after `bind`.
    policy_leaves
        What policies read for it, known after `secure`.
    schema
        Output columns and DuckDB types; None for a dynamic PIVOT, whose columns depend on data.
    qualified
        Whether every column is written with its relation; rules that move columns need it.
    fenced
        Whether a barrier stands in the tree.
    strict
        Whether one of them lets nothing of the user's through.
    roles
        What it does with the columns of the tables that it names, known after `bind`.
    journal
        The steps so far, each with a copy of what it made; None when nobody wants to see them.
    pushdown
        Whether sources may be asked for more than their columns.
    """

    tree: exp.Expr
    text: str
    typed: exp.Expr
    params: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)
    leaves: tuple[Leaf, ...] = ()
    policy_leaves: tuple[Leaf, ...] = ()
    schema: Mapping[str, str] | None = None
    qualified: bool = False
    fenced: bool = False
    strict: bool = False
    roles: Roles = field(default_factory=dict)
    journal: tuple[RuleFired, ...] | None = None
    pushdown: bool = True

    def evolve(self, rule: str, tree: exp.Expr, **changes: Any) -> Query:
        """The query with the tree that a rule made, and the rule in the journal if there is one."""
        if self.journal is None:
            return replace(self, tree=tree, **changes)
        before = self.journal[-1].after_tree if self.journal else self.tree
        return replace(self, tree=tree, journal=(*self.journal, RuleFired(rule, before, copied(tree))), **changes)
