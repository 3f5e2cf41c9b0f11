"""Drop what WITH names and nobody reads: DuckDB never looks at it, and no source shall be asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.query import Query
from tauro_nb.query.trees import alias_of, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["drop_unread"]


def drop_unread(query: Query, _: Planner) -> Query:
    """Drop CTEs that nothing reads but themselves; what they read was authorized like everything else."""
    dropped = [_drop_from(clause) for clause in every(query.tree, exp.With)]
    if not any(dropped):
        return query
    return query.evolve("drop_unread", query.tree)


def _drop_from(clause: exp.Expr) -> bool:
    """Drop from one WITH, the last first, for it may have been all that read one before; whether there was any.

    >>> import sqlglot
    >>> text = "WITH a AS (SELECT 1), b AS (FROM a), c AS (SELECT 2) SELECT * FROM C"
    >>> tree = sqlglot.parse_one(text, dialect="duckdb")
    >>> _drop_from(tree.find(exp.With)), tree.sql("duckdb")
    (True, 'WITH c AS (SELECT 2) SELECT * FROM C')
    """
    around = clause.parent
    assert around is not None
    unread: list[exp.Expr] = []
    for cte in reversed(clause.expressions):
        own = {id(table) for gone in (cte, *unread) for table in every(gone, exp.Table)}
        reads = (table for table in every(around, exp.Table) if not table.db and id(table) not in own)
        if not any(table.name.lower() == alias_of(cte) for table in reads):
            unread.append(cte)
    for cte in unread:
        cte.pop()
    if not clause.expressions:
        clause.pop()
    return bool(unread)
