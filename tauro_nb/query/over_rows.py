"""A policy's expression over rows at hand, where it reads tables besides: planned like any query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.names import LOCAL, leaf_table
from tauro_nb.query.place import place
from tauro_nb.query.plan import QueryPlan
from tauro_nb.query.query import Query
from tauro_nb.query.rules import RULES
from tauro_nb.query.secure import expand_policy_reads
from tauro_nb.security.rows import RAW_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.query.planner import Planner

__all__ = ["plan_over_rows"]


def plan_over_rows(table: str, select: exp.Select, rows: pa.Table, planner: Planner) -> QueryPlan:
    """Plan a SELECT over the rows, with the tables that the policy of `table` reads.

    Parameters
    ----------
    table
        The virtual table whose rows they are.
    select
        Over a relation `raw`, with reads of the policy as `security.relations` writes them.
    rows
        What stands for `raw`.
    planner
        Of the principal for whom the policy is evaluated.

    Raises
    ------
    AccessDenied
        Whoever reads for the policy may not.
    """
    tree = select.copy()
    for node in [node for node in tree.find_all(exp.Table) if node.name == RAW_ROWS and not node.db]:
        node.replace(leaf_table(RAW_ROWS, LOCAL, RAW_ROWS))
    query = Query(tree=tree, text="", typed=exp.select("1"), frames={RAW_ROWS: rows}, qualified=True, fenced=True)
    query = expand_policy_reads(tree, table, planner, query)
    for rule in RULES:
        query = rule(query, planner)
    return place(query, planner)
