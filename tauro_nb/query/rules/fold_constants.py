"""Compute constant expressions in predicates, so that a source is asked to compare with a plain literal."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from tauro_nb.query.literals import literal
from tauro_nb.query.query import Query
from tauro_nb.query.secrecy import mark_view
from tauro_nb.query.trees import every, written

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["fold_constants"]

# Only arithmetic and casts: nothing that depends on time, randomness, settings or rows.
_FOLDABLE = (exp.Add, exp.Sub, exp.Mul, exp.Cast, exp.Interval, exp.Literal, exp.Paren, exp.Neg, exp.DataType, exp.Var)
_ROOTS = (exp.Add, exp.Sub, exp.Mul, exp.Cast)
_PLAIN = {"DATE": dt.date, "TIMESTAMP": dt.datetime, "INTEGER": int, "BIGINT": int, "VARCHAR": str}


def fold_constants(query: Query, planner: Planner) -> Query:
    """`DATE '1998-12-01' - INTERVAL 90 DAY` becomes a literal of the same type, computed by DuckDB itself."""
    found = _candidates(query.tree)
    if not found:
        return query
    try:
        values = planner.binder.evaluate([written(node) for node in found])
    except duckdb.Error:
        # The constant throws: let it throw where the user wrote it.
        return query
    for node, (value, kind) in zip(found, values, strict=True):
        folded = _typed(value, kind)
        if folded is not None:
            mark_view(folded, like=node)
            node.replace(folded)
    return query.evolve("fold_constants", query.tree)


def _candidates(tree: exp.Expr) -> list[exp.Expr]:
    """Topmost constant expressions below WHERE, ON and HAVING."""
    out: list[exp.Expr] = []
    for clause in every(tree, exp.Where, exp.Join, exp.Having):
        stack = [child for child in clause.iter_expressions() if not isinstance(child, (exp.Table, exp.Subquery))]
        while stack:
            node = stack.pop()
            if isinstance(node, _ROOTS) and all(isinstance(part, _FOLDABLE) for part in node.walk()):
                out.append(node)
            elif not isinstance(node, (exp.Query, exp.DataType)):
                stack.extend(node.iter_expressions())
    return [node for node in {id(node): node for node in out}.values() if not _is_typed_literal(node)]


def _is_typed_literal(node: exp.Expr) -> bool:
    return isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal)


def _typed(value: Any, kind: str) -> exp.Expr | None:
    expected = _PLAIN.get(kind)
    if expected is not None and type(value) is expected:
        node = literal(value)
        return exp.cast(node, kind, dialect="duckdb") if kind == "BIGINT" else node
    if kind.startswith("DECIMAL") and isinstance(value, decimal.Decimal):
        return exp.cast(literal(value), kind, dialect="duckdb")
    return None
