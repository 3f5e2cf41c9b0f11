"""A query without its values: what logs may keep."""

from __future__ import annotations

import hashlib

from sqlglot import exp

__all__ = ["fingerprint", "statement_of"]


def statement_of(tree: exp.Expr) -> str:
    """SQL with every literal replaced by `?`.

    >>> import sqlglot
    >>> statement_of(sqlglot.parse_one("select * from t where ssn = '123' limit 5"))
    'SELECT * FROM t WHERE ssn = ? LIMIT ?'
    """

    def blank(node: exp.Expr) -> exp.Expr:
        return exp.Placeholder() if isinstance(node, exp.Literal) else node

    stripped = tree.transform(blank)
    for node in stripped.walk():
        node.comments = None
    return stripped.sql("duckdb")


def fingerprint(statement: str) -> str:
    """A short stable name for all queries of one shape.

    >>> fingerprint("SELECT ?") == fingerprint("SELECT ?")
    True
    """
    return hashlib.sha256(statement.encode()).hexdigest()[:16]
