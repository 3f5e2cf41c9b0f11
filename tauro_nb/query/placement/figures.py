"""The figures that a plan shows: rows and bytes of every fragment, of the answer, and what it all costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.query.names import FRAGMENT, leaf_table
from tauro_nb.query.placement.cost import LOCAL_ROW, RATES, asked, scanned
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.plan import ASKED, SEEN, Fragment

if TYPE_CHECKING:
    from tauro_nb.catalog.statistics import TableStatistics
    from tauro_nb.query.planner import Planner

__all__ = ["Figures", "figures"]


@dataclass(frozen=True, slots=True)
class Figures:
    """Fragments with their estimates; rows of the answer, bytes that come from sources, seconds."""

    fragments: tuple[Fragment, ...]
    rows: int
    bytes: int
    cost: float


def figures(
    tree: exp.Expr,
    fragments: tuple[Fragment, ...],
    frames: Mapping[str, Any],
    statistics: Callable[[str], TableStatistics],
    planner: Planner,
) -> Figures:
    """Estimate a placed tree.

    A fragment's figures are of its own tables alone, before keys are sent; where a row filter hides some of their rows
    there are none, for they would tell how many. Nor is the answer estimated then.
    """
    handed = {name: float(frame.num_rows) for name, frame in frames.items()}
    estimator = Estimator(statistics, {fragment.id: fragment for fragment in fragments}, known=handed)
    made = tuple(_estimated(fragment, estimator, statistics, planner) for fragment in fragments)
    filtered = any(part.estimated_rows is None for part in made)
    rows = max((part.estimated_rows or 0 for part in made), default=0) if filtered else _whole(estimator.rows(tree))
    return Figures(
        made, rows, sum(part.estimated_bytes or 0 for part in made), sum(_cost(part, planner) for part in made)
    )


def _estimated(
    fragment: Fragment, estimator: Estimator, statistics: Callable[[str], TableStatistics], planner: Planner
) -> Fragment:
    entries = [planner.raw(name) for name in fragment.tables]
    relation = leaf_table(fragment.id, FRAGMENT)
    rows = estimator.rows(relation)
    stored, by = estimator.stored(fragment.tree), _estimated_by(fragment, statistics)
    if not by or any(entry.decision.filter_tree is not None for entry in entries):
        return replace(fragment, expected_rows=rows, stored_rows=stored, estimated_rows=None, estimated_bytes=None)
    return replace(
        fragment,
        expected_rows=rows,
        stored_rows=stored,
        estimated_rows=_whole(rows),
        estimated_bytes=_whole(rows * estimator.width(relation, fragment.schema)),
        estimated_by=by,
    )


def _estimated_by(fragment: Fragment, statistics: Callable[[str], TableStatistics]) -> str:
    """What a fragment's figures rest on; empty when it is nothing."""
    if fragment.scan is not None and fragment.scan.seen:
        return SEEN
    known = [statistics(name) for name in fragment.tables]
    if any(told.row_count is None for told in known):
        return ""
    if fragment.scan is not None and fragment.scan.rows is not None:
        return ASKED
    return ", ".join(dict.fromkeys(told.source or "the catalog" for told in known))


def _cost(fragment: Fragment, planner: Planner) -> float:
    """Seconds to get a fragment's rows and take them in."""
    rows, volume = float(fragment.estimated_rows or 0), float(fragment.estimated_bytes or 0)
    source = planner.raw(fragment.tables[0]).source if fragment.tables else None
    if source is None or source.connection.type not in RATES:
        return rows * LOCAL_ROW
    price = asked if fragment.kind == "query" else scanned
    return price(RATES[source.connection.type], rows, volume / max(rows, 1.0)) + rows * LOCAL_ROW


def _whole(number: float) -> int:
    return round(min(number, 1e18))
