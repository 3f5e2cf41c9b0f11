"""Let a server's own processes share the work of what takes it long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

import duckdb
from sqlglot import exp

from tauro_nb.engine.answers import roll_back
from tauro_nb.engine.parallel import is_looked_up
from tauro_nb.query.names import ANSWERS, FRAGMENT, leaf_kind
from tauro_nb.sources.base import ParallelSource

if TYPE_CHECKING:
    from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["Helped", "helpers_pay"]

T = TypeVar("T")

_SAVED: Final = 0.05e-6
"""Seconds that a stored row costs less where two processes look at it: half of what looking at it takes one."""
_TURNS: Final = 4
"""Times there and back that asking for it takes."""
_SETTING: Final = 0.004
"""Seconds for asking, and for starting the processes."""


def helpers_pay(rows: float, round_trip: float) -> bool:
    """Whether a server's processes save more, of so many stored rows, than asking for them takes.

    Examples
    --------
    >>> helpers_pay(1_500_000, 0.0002), helpers_pay(1_500_000, 0.02), helpers_pay(10_000, 0.0002)
    (True, False, False)
    """
    return rows * _SAVED > _SETTING + _TURNS * round_trip


class Helped:
    """Which steps of a plan are worth it, and how these run.

    Only what a server joins or groups: rows that it merely hands over, the engine reads over several connections.
    """

    def __init__(self, plan: QueryPlan) -> None:
        sources = {source.connection.id: source for source in plan.sources.values()}
        self._sources = {
            part.id: source
            for part in plan.fragments
            if isinstance(source := sources.get(part.source), ParallelSource) and _is_long(part, source)
        }

    def run(self, cursor: duckdb.DuckDBPyConnection, tree: exp.Expr, work: Callable[[], T]) -> T:
        """Do what reads a tree on a cursor.

        Raises
        ------
        duckdb.Error
            It failed; no transaction is left open.
        """
        source = next((self._sources[name] for name in _fragments(tree) if name in self._sources), None)
        if source is None or not _begun(cursor, source):
            return work()
        try:
            done = work()
            cursor.commit()
        except BaseException:
            roll_back(cursor)
            raise
        return done


def _begun(cursor: duckdb.DuckDBPyConnection, source: ParallelSource) -> bool:
    """Whether a transaction is open in which the server may share the work; not every one knows how."""
    cursor.begin()
    try:
        source.allow_helpers(cursor)
    except BaseException as error:
        roll_back(cursor)
        if isinstance(error, duckdb.InterruptException) or not isinstance(error, duckdb.Error):
            raise
        return False
    return True


def _is_long(part: Fragment, source: ParallelSource) -> bool:
    return helpers_pay(part.stored_rows, source.round_trip) and not is_looked_up(part.tree)


def _fragments(tree: exp.Expr) -> Iterator[str]:
    """Fragments whose answers a tree reads, whether they wait for keys or not."""
    for node in tree.walk():
        if ANSWERS in (node._meta or {}):  # noqa: SLF001 - `meta` makes one
            yield node.meta[ANSWERS]
        elif isinstance(node, exp.Table) and leaf_kind(node) == FRAGMENT:
            yield node.name
