"""Make a failing query small: try simpler trees for as long as they fail in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

__all__ = ["shrink"]

_CLAUSES = ("with_", "where", "having", "group", "qualify", "order", "limit", "offset", "distinct")


def shrink(text: str, still_fails: Callable[[str], bool], *, attempts: int = 300) -> str:
    """The smallest text found; `text` itself when only the original spelling fails.

    >>> shrink("SELECT a, b FROM t WHERE a = 1 AND upper(b) = 'X' ORDER BY 1", lambda sql: "upper" in sql.lower())
    'SELECT b FROM t WHERE UPPER(b)'
    """
    tree = sqlglot.parse_one(text, dialect="duckdb")
    if not still_fails(tree.sql("duckdb")):
        return text
    tried = {tree.sql("duckdb")}
    progress = True
    while progress:
        progress = False
        for candidate in _candidates(tree):
            simpler = candidate.sql("duckdb")
            if simpler in tried or len(simpler) >= len(tree.sql("duckdb")):
                continue
            if len(tried) >= attempts:
                return str(tree.sql("duckdb"))
            tried.add(simpler)
            if still_fails(simpler):
                tree, progress = candidate, True
                break
    return str(tree.sql("duckdb"))


def _candidates(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Big cuts first."""
    for select in list(tree.find_all(exp.Query))[1:]:
        yield _unwrapped(select).copy()
    yield from _without_clauses(tree)
    yield from _without_list_items(tree)
    yield from _operands(tree)


def _unwrapped(query: exp.Query) -> exp.Expr:
    return query.this if isinstance(query, exp.Subquery) else query


def _without_clauses(tree: exp.Expr) -> Iterator[exp.Expr]:
    for number, node in enumerate(tree.walk()):
        for clause in _CLAUSES:
            if isinstance(node, exp.Query) and node.args.get(clause) is not None:
                copy = tree.copy()
                _nth(copy, number).set(clause, None)
                yield copy


def _without_list_items(tree: exp.Expr) -> Iterator[exp.Expr]:
    for number, node in enumerate(tree.walk()):
        for key in ("expressions", "joins"):
            items = node.args.get(key) or []
            for place in range(len(items) if len(items) > (key == "expressions") else 0):
                copy = tree.copy()
                listed = _nth(copy, number).args[key]
                _nth(copy, number).set(key, listed[:place] + listed[place + 1 :])
                yield copy


def _operands(tree: exp.Expr) -> Iterator[exp.Expr]:
    """An operator or a function becomes one of its operands."""
    for number, node in enumerate(tree.walk()):
        if not isinstance(node, (exp.Condition, exp.Subquery)) or node.parent is None:
            continue
        for place in range(len(_inner(node))):
            copy = tree.copy()
            target = _nth(copy, number)
            target.replace(_inner(target)[place].copy())
            yield copy


def _inner(node: exp.Expr) -> list[exp.Expr]:
    return [child for child in node.iter_expressions() if isinstance(child, (exp.Condition, exp.Subquery))]


def _nth(tree: exp.Expr, number: int) -> exp.Expr:
    for place, node in enumerate(tree.walk()):
        if place == number:
            return node
    raise IndexError(number)
