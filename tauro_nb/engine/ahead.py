"""Fetch small answers of several servers side by side, before the engine needs them one after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.engine.answers import Answers, interrupt
from tauro_nb.engine.marks import marked
from tauro_nb.query.names import ANSWERS
from tauro_nb.sources.base import RemoteSource

if TYPE_CHECKING:
    import duckdb

    from tauro_nb.query.plan import QueryPlan

__all__ = ["Ahead"]

_NEAR: Final = 0.002
"""Seconds to a server and back that are not worth a thread and a table."""

_MOST: Final = 32_000_000
"""Bytes that are expected of one server at most; more is read when the engine asks for it, which need not keep it."""


class Ahead:
    """What one run fetches ahead. Each server has one thread and one transaction, so that its answers fit each other.

    The engine starts what it reads when it needs it: the second server is asked when the first has answered. That is as
    good as any order on one machine; over a network the times to answer add up.

    Parameters
    ----------
    plan
        What runs. It is left as it is unless it reads from two servers at least.
    cursor
        Makes a cursor of the instance that runs the plan.
    mark
        Of the run.
    """

    def __init__(self, plan: QueryPlan, cursor: Callable[[], duckdb.DuckDBPyConnection], mark: str) -> None:
        self._plan = plan
        self._mark = mark
        self._cursor = cursor
        self._wanted = _chosen(plan)
        self._answers = Answers()
        self._cursors: dict[str, duckdb.DuckDBPyConnection] = {}
        self._coming: dict[str, Future[None]] = {}
        self.counted: dict[str, int] = {}
        """Rows of fragments that were fetched."""

    @property
    def servers(self) -> frozenset[str]:
        """Those of which everything is fetched."""
        return frozenset(self._wanted)

    def start(self) -> None:
        """Ask every server."""
        if not self._wanted:
            return
        pool = ThreadPoolExecutor(len(self._wanted), thread_name_prefix="tauro_nb-ahead")
        for server in self._wanted:
            self._cursors[server] = self._cursor()
            self._coming[server] = pool.submit(self._fetch, server)
        pool.shutdown(wait=False)

    def _fetch(self, server: str) -> None:
        cursor = self._cursors[server]
        cursor.begin()
        for name, relation in self._wanted[server].items():
            self.counted[name] = self._answers.put(cursor, name, marked(relation, self._mark), self._plan.params)
        cursor.commit()

    def ready(self, tree: exp.Expr) -> exp.Expr:
        """The tree over what was fetched; waits for it.

        Raises
        ------
        duckdb.Error
            It could not be fetched.
        """
        if not self._coming:
            return tree
        server_of = {name: server for server, names in self._wanted.items() for name in names}
        root = exp.Subquery(this=tree.copy())
        for node, name in _answers(root):
            if name in server_of:
                self._coming[server_of[name]].result()
                table = self._answers.table(name)
                table.set("alias", node.args.get("alias"))
                node.replace(table)
        ready: exp.Expr = root.this
        return ready

    def interrupt(self) -> None:
        """Stop fetching."""
        for cursor in self._cursors.values():
            interrupt(cursor)

    def close(self) -> None:
        """Let go of what was fetched, or will be; may be called twice."""
        while self._coming:
            server, coming = self._coming.popitem()
            coming.add_done_callback(partial(self._let_go, server))

    def _let_go(self, server: str, _: Future[None]) -> None:
        self._answers.let_go(self._cursors[server], self._wanted[server])


def _answers(tree: exp.Expr) -> list[tuple[exp.Expr, str]]:
    """Relations that are a fragment's answer."""
    return [(node, node.meta[ANSWERS]) for node in tree.walk() if ANSWERS in (node._meta or {})]  # noqa: SLF001 - `meta` makes one


def _chosen(plan: QueryPlan) -> dict[str, dict[str, exp.Expr]]:
    """By server: the answers to fetch. Those of one server are fetched all or none, for they belong to one moment."""
    remote = {source.connection.id: source for source in plan.sources.values() if isinstance(source, RemoteSource)}
    far = [name for name, source in remote.items() if source.round_trip > _NEAR]
    if len(remote) < 2 or not far:
        return {}
    relations: dict[str, exp.Expr] = {}
    for tree in (plan.residual, *(step.tree for step in plan.steps)):
        for node, name in _answers(tree):
            relation = node.copy()
            relation.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
            relations[name] = relation
    chosen = {}
    for server in far:
        parts: list[Any] = [part for part in plan.fragments if part.source == server]
        sizes = [part.estimated_bytes for part in parts if not part.keys and part.id in relations]
        if parts and len(sizes) == len(parts) and None not in sizes and sum(sizes) <= _MOST:
            chosen[server] = {part.id: relations[part.id] for part in parts}
    return chosen
