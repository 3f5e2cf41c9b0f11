"""Drop the columns of leaves that only conditions read which stand in the leaf itself by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.names import is_leaf
from tauro_nb.query.query import Query
from tauro_nb.query.secure import is_fenced
from tauro_nb.query.trees import every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["trim_leaves"]


def trim_leaves(query: Query, _: Planner) -> Query:
    """Let no leaf hand out a column that nothing around it reads; leaves behind a barrier stay as they are."""
    if not query.qualified:
        return query
    for select in every(query.tree, exp.Select):
        if any(join.method or join.args.get("using") for join in select.args.get("joins") or []):
            continue
        leaves = [leaf for leaf in _leaves(select) if not is_fenced(leaf.this) and leaf.this.args.get("where")]
        if leaves:
            read = {(column.table.lower(), column.name.lower()) for column in every(select, exp.Column)}
            # A row as a value, or a name that some clause of its own resolves.
            whole = {name for table, name in read if not table}
            for leaf in (leaf for leaf in leaves if leaf.alias.lower() not in whole):
                _trim(leaf, {name for table, name in read if table == leaf.alias.lower()})
    return query.evolve("trim_leaves", query.tree)


def _leaves(select: exp.Select) -> list[exp.Subquery]:
    places = [select.args.get("from_"), *(select.args.get("joins") or [])]
    found = (place.this for place in places if place is not None)
    plain = (node for node in found if isinstance(node, exp.Subquery) and node.alias and is_leaf(node.this))
    return [node for node in plain if not any(node.args.get(extra) for extra in ("pivots", "sample", "joins"))]


def _trim(leaf: exp.Subquery, read: set[str]) -> None:
    """Keep what is read, or a constant where only rows count.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT 1 FROM (SELECT _.a AS a, _.b AS b FROM t AS _ WHERE _.b > 1) AS s")
    >>> leaf = tree.args["from_"].this
    >>> _trim(leaf, {"a"})
    >>> leaf.sql()
    '(SELECT _.a AS a FROM t AS _ WHERE _.b > 1) AS s'
    """
    kept = [item for item in leaf.this.expressions if item.alias_or_name.lower() in read]
    leaf.this.set("expressions", kept or [exp.alias_(exp.Literal.number(1), "~one", quoted=True)])
