"""Whether a source should be spared a join or aggregate that leaves out too little to pay for its work."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from tauro_nb.query.names import is_leaf
from tauro_nb.query.placement.cost import LOOKUPS, Rates, asked, scanned
from tauro_nb.query.placement.estimate import Estimator, is_decimal
from tauro_nb.query.placement.reach import relations
from tauro_nb.query.trees import BARRIER, every

__all__ = ["is_unselective"]

_SOURCE_ROW: Final = 0.45e-6
"""Seconds that a source needs to join or group a row; it does so with one processor for one question."""
_LOCAL_ROW: Final = 0.04e-6
"""The same for the engine."""
_MARGIN: Final = 1.3
_SMALL: Final = 0.02
"""Below so many seconds there is nothing to gain."""


def is_unselective(query: exp.Expr, estimator: Estimator, rates: Rates) -> bool:
    """Whether the engine is expected to be faster with the tables than the source with the whole query.

    Only for joins and aggregates over plain leaves; a LIMIT is always given to the source, for it may find the few rows
    by an index.
    """
    selects = every(query, exp.Select)
    if not isinstance(query, exp.Select) or any(map(_cuts, selects)) or every(query, exp.With, exp.SetOperation):
        return False
    worked = sum(_rows_worked(select, estimator) for select in selects)
    leaves = [select for select in selects if is_leaf(select)]
    there = asked(rates, estimator.rows(query), _width(query, estimator)) + worked * _SOURCE_ROW
    here = sum(scanned(rates, estimator.rows(leaf), _width(leaf, estimator)) for leaf in leaves) + worked * _LOCAL_ROW
    # The margin is for work that is hard to foresee: what is only handed on moves the same rows either way.
    return there > here * (_MARGIN if worked else 1.0) + _SMALL


def _cuts(select: exp.Select) -> bool:
    limit = select.args.get("limit")
    return select.args.get("offset") is not None or (limit is not None and limit.expression.name != BARRIER)


def _rows_worked(select: exp.Select, estimator: Estimator) -> float:
    """Rows that a SELECT takes in, if it does more with them than to let them through."""
    around = relations(select)
    grouped = select.args.get("group") is not None or any(every(item, exp.AggFunc) for item in select.expressions)
    rows = [estimator.rows(relation) for relation in around.values()]
    if len(rows) < 2:
        return sum(rows) * grouped
    joined = estimator.joined(select)
    # From the smaller side an index may lead to its few partners.
    return min(sum(rows), LOOKUPS * (min(rows) + joined)) + joined * grouped


def _width(select: exp.Select, estimator: Estimator) -> float:
    return estimator.width(
        select,
        {item.alias_or_name: "DECIMAL" if is_decimal(item) else "" for item in select.expressions},
    )
