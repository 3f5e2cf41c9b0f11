"""Small questions about trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sqlglot import exp

__all__ = ["KEPT", "POLICY", "bare", "conjuncts", "disjuncts"]

POLICY = "policy"
"""Key under which a node's `meta` says that a policy wrote it."""
KEPT = frozenset({POLICY, "mask"})
"""What `bare` leaves in a node's `meta`."""

Tree = TypeVar("Tree", bound=exp.Expr)


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    """The parts of a condition that all must hold.

    >>> import sqlglot
    >>> [part.sql() for part in conjuncts(sqlglot.parse_one("a = 1 AND (b = 2 AND c = 3)"))]
    ['a = 1', 'b = 2', 'c = 3']
    """
    if condition is None:
        return
    unnested = condition.unnest()
    if isinstance(unnested, exp.And):
        yield from conjuncts(unnested.this)
        yield from conjuncts(unnested.expression)
    else:
        yield condition


def disjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """The parts of a condition of which one must hold."""
    unnested = condition.unnest()
    if isinstance(unnested, exp.Or):
        yield from disjuncts(unnested.this)
        yield from disjuncts(unnested.expression)
    else:
        yield unnested


def bare(tree: Tree) -> Tree:
    """The same tree without positions and types, which a copy would otherwise copy node by node."""
    for node in tree.walk():
        node.type = None
        meta = node._meta  # noqa: SLF001 - the public property makes a dictionary to clear
        if meta is not None:
            node._meta = {key: meta[key] for key in KEPT & meta.keys()} or None  # noqa: SLF001
    return tree
