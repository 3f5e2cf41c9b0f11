"""What a run reads of a server in several statements is of one moment, where the server can share a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, TypeVar

import duckdb
from sqlglot import exp

from tauro_nb.engine.answers import interrupt, roll_back
from tauro_nb.engine.helped import may_share
from tauro_nb.query.names import ANSWERS, FRAGMENT, leaf_kind
from tauro_nb.sources.base import ParallelSource

if TYPE_CHECKING:
    from tauro_nb.engine.duckdb import DuckDBEngine
    from tauro_nb.engine.helped import Helped
    from tauro_nb.query.plan import QueryPlan

__all__ = ["Moments", "read_twice"]

T = TypeVar("T")


def read_twice(plan: QueryPlan) -> dict[str, ParallelSource]:
    """Servers that a plan reads in more than one statement, and which can hold a snapshot for them meanwhile.

    That takes a connection besides the one that reads.
    """
    readings: Counter[str] = plan.once("readings", lambda: _readings(plan)) if plan.steps else Counter()
    return {
        source.connection.id: source
        for source in plan.sources.values()
        if isinstance(source, ParallelSource) and readings[source.connection.id] > 1 and source.slots.size > 1
    }


def _readings(plan: QueryPlan) -> Counter[str]:
    """Statements by server; what is asked for keys may be asked for them over several connections."""
    fragments = {fragment.id: fragment for fragment in plan.fragments}
    found: Counter[str] = Counter()
    for tree in (plan.residual, *(step.tree for step in plan.steps)):
        parts = [fragments[name] for name in dict.fromkeys(_fragments(tree))]
        found.update({part.source for part in parts if not part.keys})
        found.update(part.source for part in parts if part.keys)
    return found


class Moments:
    """The transactions in which the statements of one run read servers.

    Each statement has its own, so that what steps found is there for the engine to count and for other cursors to see.
    Those of one server have one snapshot, which another connection holds until the last of them has begun.

    Parameters
    ----------
    helped
        Knows whose servers may share the work of a step.
    fetched
        Servers of which all is fetched ahead, in one transaction.
    """

    def __init__(self, engine: DuckDBEngine, plan: QueryPlan, helped: Helped, fetched: Container[str] = ()) -> None:
        self._engine = engine
        self._helped = helped
        self._wanted = {name: source for name, source in read_twice(plan).items() if name not in fetched}
        self._server_of = {fragment.id: fragment.source for fragment in plan.fragments}
        self._holders: list[duckdb.DuckDBPyConnection] = []
        self.snapshots: dict[str, str] = {}
        """By server; a server that has no snapshots is read as it is at each statement."""

    def open(self) -> None:
        """Let each server remember how it is now.

        Raises
        ------
        duckdb.Error
            It was interrupted.
        """
        for name, source in self._wanted.items():
            holder = self._engine.cursor([source], fetching=True)
            self._holders.append(holder)
            holder.begin()
            try:
                self.snapshots[name] = source.export_snapshot(holder)
            except duckdb.InterruptException:
                raise
            except duckdb.Error:
                # If the server is gone, reading says so.
                roll_back(holder)

    def run(self, cursor: duckdb.DuckDBPyConnection, tree: exp.Expr, work: Callable[[], T]) -> T:
        """Do what reads a step's tree on a cursor.

        Raises
        ------
        duckdb.Error
            It failed; no transaction is left open.
        """
        names = set(_fragments(tree))
        helper = self._helped.source(names)
        if helper is None and not self._snapshots_of(names):
            return work()
        try:
            self._begin(cursor, names)
            if helper is not None and not may_share(cursor, helper):
                # At its server the transaction has failed.
                roll_back(cursor)
                self._begin(cursor, names)
            done = work()
            cursor.commit()
        except BaseException:
            roll_back(cursor)
            raise
        return done

    def begin(self, cursor: duckdb.DuckDBPyConnection, tree: exp.Expr) -> None:
        """Begin the transaction in which the residual is read, where it needs one.

        Raises
        ------
        duckdb.Error
            A server does not give what it remembers; no transaction is left open.
        """
        names = set(_fragments(tree))
        if self._snapshots_of(names):
            try:
                self._begin(cursor, names)
            except BaseException:
                roll_back(cursor)
                raise

    def _begin(self, cursor: duckdb.DuckDBPyConnection, fragments: set[str]) -> None:
        cursor.begin()
        for server, snapshot in self._snapshots_of(fragments).items():
            self._wanted[server].adopt_snapshot(cursor, snapshot)

    def _snapshots_of(self, fragments: set[str]) -> dict[str, str]:
        servers = {self._server_of.get(name) for name in fragments}
        return {server: snapshot for server, snapshot in self.snapshots.items() if server in servers}

    def interrupt(self) -> None:
        """Stop what a server is asked for."""
        for holder in list(self._holders):
            interrupt(holder)

    def close(self) -> None:
        """Let servers forget; may be called twice."""
        while self._holders:
            holder = self._holders.pop()
            roll_back(holder)
            holder.close()


def _fragments(tree: exp.Expr) -> Iterator[str]:
    """Fragments whose answers a tree reads, whether they wait for keys or not."""
    for node in tree.walk():
        if ANSWERS in (node._meta or {}):  # noqa: SLF001 - `meta` makes one
            yield node.meta[ANSWERS]
        elif isinstance(node, exp.Table) and leaf_kind(node) == FRAGMENT:
            yield node.name
