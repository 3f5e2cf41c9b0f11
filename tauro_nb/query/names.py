"""How relations are named inside a tree, and how a tree is shown to people."""

from __future__ import annotations

from sqlglot import exp

__all__ = ["FRAGMENT", "LOCAL", "RAW", "VISIBLE", "display_sql", "leaf_kind", "leaf_table"]

# A relation of a bound tree carries one of these as its schema part. User text cannot spell
# them: names are looked up in the catalog first, and whatever is not found is refused.
VISIBLE = "~visible"
"""A virtual table as the principal sees it (between bind and secure)."""
RAW = "~raw"
"""A virtual table as its source has it (inside a secured leaf)."""
LOCAL = "~local"
"""A table handed over with the query itself (an Ibis memtable, a frame)."""
FRAGMENT = "~fragment"
"""The answer of a fragment (in the residual)."""

_MARKS = (VISIBLE, RAW, LOCAL, FRAGMENT)


def leaf_table(name: str, kind: str, alias: str | None = None) -> exp.Table:
    """Build the relation node for a virtual table.

    >>> leaf_table("crm.customers", RAW, "c").sql("duckdb")
    '"~raw"."crm.customers" AS "c"'
    """
    node = exp.table_(exp.to_identifier(name, quoted=True), db=exp.to_identifier(kind, quoted=True))
    if alias is not None:
        node.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return node


def leaf_kind(node: exp.Expr) -> str | None:
    """The mark of a resolved relation, None for everything else."""
    if isinstance(node, exp.Table) and node.db in _MARKS:
        return node.db
    return None


def display_sql(tree: exp.Expr, *, pretty: bool = False) -> str:
    """SQL for people: virtual names without the marks of bound relations.

    >>> display_sql(exp.select("*").from_(leaf_table("customers", RAW)))
    'SELECT * FROM "customers"'
    """
    sql = tree.sql("duckdb", pretty=pretty)
    for mark in _MARKS:
        sql = sql.replace(f'"{mark}".', "")
    return sql
