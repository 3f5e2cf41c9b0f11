"""`Query`: the immutable value that travels the road."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlglot import exp

from tauro_nb.query.plan import RuleFired

__all__ = ["LOCAL", "RAW", "VISIBLE", "Leaf", "Query", "leaf_kind", "leaf_table"]

# A relation of a bound tree carries one of these as its schema part. User text cannot spell
# them: names are looked up in the catalog first, and whatever is not found is refused.
VISIBLE = "~visible"
"""A virtual table as the principal sees it (between bind and secure)."""
RAW = "~raw"
"""A virtual table as its source has it (inside a secured leaf)."""
LOCAL = "~local"
"""A table handed over with the query itself (an Ibis memtable, a frame)."""


def leaf_table(name: str, kind: str, alias: str | None = None) -> exp.Table:
    """Build the relation node for a virtual table.

    >>> leaf_table("crm.customers", RAW, "c").sql("duckdb")
    '"~raw"."crm.customers" AS "c"'
    """
    node = exp.table_(exp.to_identifier(name, quoted=True), db=exp.to_identifier(kind, quoted=True))
    if alias is not None:
        node.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return node


def leaf_kind(node: exp.Expression) -> str | None:
    """`VISIBLE`, `RAW` or `LOCAL` for a resolved relation, None for everything else."""
    if isinstance(node, exp.Table) and node.db in (VISIBLE, RAW, LOCAL):
        return node.db
    return None


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
        sqlglot tree, DuckDB dialect. Never changed in place: rules work on a copy.
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
    schema
        Output columns and DuckDB types; None for a dynamic PIVOT, whose columns depend on data.
    qualified
        Whether every column is written with its relation; rules that move columns need it.
    fenced
        Whether a barrier stands in the tree.
    journal
        The rules that changed it.
    """

    tree: exp.Expression
    text: str
    typed: exp.Expression
    params: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)
    leaves: tuple[Leaf, ...] = ()
    schema: Mapping[str, str] | None = None
    qualified: bool = False
    fenced: bool = False
    journal: tuple[RuleFired, ...] = ()

    def evolve(self, rule: str, tree: exp.Expression, **changes: Any) -> Query:
        """The query with a new tree; remembers the rule when the SQL really changed."""
        before, after = display_sql(self.tree), display_sql(tree)
        journal = self.journal if before == after else (*self.journal, RuleFired(rule, before, after))
        return replace(self, tree=tree, journal=journal, **changes)


def display_sql(tree: exp.Expression, *, pretty: bool = False) -> str:
    """SQL for people: virtual names without the marks of bound relations.

    >>> display_sql(exp.select("*").from_(leaf_table("customers", RAW)))
    'SELECT * FROM "customers"'
    """
    sql = tree.sql("duckdb", pretty=pretty)
    for mark in (VISIBLE, RAW, LOCAL):
        sql = sql.replace(f'"{mark}".', "")
    return sql
