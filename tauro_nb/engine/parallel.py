"""Ask one server for the rows of many keys over several connections, all of which see it as it was at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Final

import duckdb
from sqlglot import exp

from tauro_nb.engine.answers import Answers, interrupt, roll_back
from tauro_nb.engine.marks import marked
from tauro_nb.errors import SourceUnavailable
from tauro_nb.query.trees import every
from tauro_nb.sources.base import ParallelSource
from tauro_nb.sources.keys import key_family, shares

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.engine.duckdb import DuckDBEngine
    from tauro_nb.query.plan import Fragment
    from tauro_nb.sources.base import Source
    from tauro_nb.sources.slots import Slots

__all__ = ["Parallel", "connections_for", "is_looked_up"]

_LEAST_KEYS: Final = 2_000
"""Keys for which another connection pays on one machine: looking them up takes a server some 15 ms."""
_KEYS_A_SECOND: Final = 140_000
_TURNS: Final = 4
"""Times there and back before the first row of another connection is asked for."""

_BATCH_ROWS: Final = 65_536

_NAMING: Final = (
    exp.Select, exp.From, exp.Subquery, exp.Union, exp.TableAlias, exp.Identifier, exp.Star, exp.Column, exp.Alias,
    exp.Cast, exp.DataType, exp.DataTypeParam, exp.Literal,
)  # fmt: skip

# Of two texts a server's collation may make one: rows of it would come once with each.
_DISJOINT: Final = frozenset({"integer", "decimal", "date", "timestamp"})


def connections_for(keys: int, round_trip: float, most: int) -> int:
    """Over how many connections it pays to ask for so many keys.

    Examples
    --------
    >>> connections_for(1_500, 0.0002, 4), connections_for(19_000, 0.0002, 4), connections_for(19_000, 0.02, 4)
    (1, 4, 1)
    """
    return max(1, min(most, int(keys // (_LEAST_KEYS + round_trip * _TURNS * _KEYS_A_SECOND))))


class _Lane:
    """One connection to a server, and what it is asked for.

    Parameters
    ----------
    asks
        Reads from the server, in the thread that calls it.
    keeps
        Puts what was read where the plan runs.
    """

    def __init__(self, asks: duckdb.DuckDBPyConnection, keeps: duckdb.DuckDBPyConnection) -> None:
        self._asks = asks
        self._keeps = keeps
        self.slots: Slots | None = None
        """Get one back when the connection is not used any more; None for the first, which has that of the run."""
        asks.begin()

    def share(self, source: ParallelSource, snapshot: str | None) -> str:
        """Begin at the server, with a snapshot if there is one already."""
        if snapshot is None:
            return source.export_snapshot(self._asks)
        source.adopt_snapshot(self._asks, snapshot)
        return snapshot

    def fetch(self, answers: Answers, name: str, relation: exp.Expr) -> None:
        """Read a relation into a table."""
        query = exp.select("*").from_(relation.copy())
        try:
            with self._asks.execute(query.sql("duckdb")).to_arrow_reader(_BATCH_ROWS) as reader:
                answers.put_batches(self._keeps, name, reader)
        finally:
            self._leave()

    def _leave(self) -> None:
        roll_back(self._asks)
        self._asks.close()
        slots, self.slots = self.slots, None
        if slots is not None:
            slots.give(1)

    def interrupt(self) -> None:
        """Stop reading, unless it is over: then its cursor is closed."""
        for cursor in (self._asks, self._keeps):
            interrupt(cursor)

    def close(self, answers: Answers, *names: str) -> None:
        """Give the connection back, and drop what was read."""
        self._leave()
        answers.let_go(self._keeps, names)


class Parallel:
    """What one run reads over several connections to a server.

    It has one slot of the server already, and takes more where they are free, without waiting: who waits for a slot
    must not hold another one.

    Parameters
    ----------
    engine
        Fetches.
    sources
        What the plan reads.
    cursor
        Makes a cursor of the instance that runs the plan.
    mark
        Of the run.
    """

    def __init__(
        self,
        engine: DuckDBEngine,
        sources: Iterable[Source],
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        mark: str,
    ) -> None:
        self._mark = mark
        self._engine = engine
        self._sources = {source.connection.id: source for source in sources if isinstance(source, ParallelSource)}
        self._cursor = cursor
        self._answers = Answers()
        self._lanes: list[_Lane] = []
        self._coming: dict[str, tuple[_Lane, Future[None]]] = {}
        self._stopped = False

    def fetch(
        self, fragment: Fragment, keys: Mapping[str, pa.Array | None], snapshot: str | None = None
    ) -> exp.Expr | None:
        """Fetch a fragment by shares of its keys; None where that cannot be, or does not pay.

        Every row has one key, so that it comes with one share. With a `snapshot` it is of that moment.

        Raises
        ------
        duckdb.Error
            A share could not be fetched: the first that failed; the others are told to stop.
        """
        source, (mark, values) = self._sources.get(fragment.source), _most_keys(keys)
        if values is None or source is None or not is_looked_up(fragment.tree):
            return None
        self._open(source, connections_for(len(values), source.round_trip, source.slots.size), snapshot)
        scans = [fragment.keyed({**keys, mark: part}) for part in shares(values, len(self._lanes))]
        if len(scans) < 2 or any(scan is None or scan.relation is None for scan in scans):
            self._give_back()
            return None
        names = [f"{fragment.id} {number}" for number in range(len(scans))]
        self._start(dict(zip(names, (scan.relation for scan in scans), strict=True)))
        self._wait(names)
        return _together([self._answers.table(name) for name in names])

    def holds(self, tree: exp.Expr) -> bool:
        """Whether a tree only names and casts columns of what was fetched; reading that again costs nothing."""
        fetched = {self._answers.table(name) for name in self._coming}
        return bool(fetched) and all(
            node in fetched if isinstance(node, exp.Table) else isinstance(node, _NAMING) for node in tree.walk()
        )

    def _open(self, source: ParallelSource, wanted: int, snapshot: str | None) -> None:
        """As many connections as can be had; the first says which moment all of them see, if nobody said so before."""
        more = _granted(source.slots, min(wanted, self._threads()) - 1) if wanted > 1 else 0
        try:
            for number in range(more + 1 if more else 0):
                snapshot = self._open_another(source, snapshot)
                self._lanes[-1].slots = source.slots if number else None
        except (duckdb.Error, SourceUnavailable):
            if self._stopped:
                raise
            # The server, or what is between, has no more of them or no snapshots. If it is gone, reading says so.
        finally:
            source.slots.give(more - max(len(self._lanes) - 1, 0))

    def _open_another(self, source: ParallelSource, snapshot: str | None) -> str:
        lane = _Lane(self._engine.cursor([source], fetching=True), self._cursor())
        try:
            seen = lane.share(source, snapshot)
        except BaseException:
            lane.close(self._answers)
            raise
        self._lanes.append(lane)
        return seen

    def _threads(self) -> int:
        with self._cursor() as cursor:
            found = cursor.execute("SELECT current_setting('threads')").fetchone()
        return 1 if found is None else int(found[0])

    def _give_back(self) -> None:
        while self._lanes:
            self._lanes.pop().close(self._answers)

    def _start(self, relations: Mapping[str, exp.Expr]) -> None:
        if self._stopped:
            raise duckdb.InterruptException("told to stop before it began")
        pool = ThreadPoolExecutor(len(relations), thread_name_prefix="tauro_nb-parallel")
        for name, relation in relations.items():
            lane = self._lanes.pop(0)
            self._coming[name] = (lane, pool.submit(lane.fetch, self._answers, name, marked(relation, self._mark)))
        pool.shutdown(wait=False)

    def _wait(self, names: Iterable[str]) -> None:
        coming = [self._coming[name][1] for name in names]
        done, others = wait(coming, return_when=FIRST_EXCEPTION)
        if others:
            self.interrupt()
        for future in done:
            future.result()

    def interrupt(self) -> None:
        """Stop fetching."""
        self._stopped = True
        for lane in (*self._lanes, *(lane for lane, _ in self._coming.values())):
            lane.interrupt()

    def close(self) -> None:
        """Let go of what was fetched, or will be; may be called twice."""
        self._give_back()
        while self._coming:
            name, (lane, coming) = self._coming.popitem()
            coming.add_done_callback(partial(self._let_go, lane, name))

    def _let_go(self, lane: _Lane, name: str, _: Future[None]) -> None:
        lane.close(self._answers, name)


def is_looked_up(tree: exp.Expr) -> bool:
    """Whether a server's work is divided with the keys; a join or an aggregate may be worked out for each share.

    Examples
    --------
    >>> from sqlglot import parse_one
    >>> is_looked_up(parse_one("SELECT a FROM t WHERE b > 1")), is_looked_up(parse_one("SELECT t.a FROM t, u"))
    (True, False)
    """
    return not every(tree, exp.Join, exp.AggFunc, exp.Group, exp.Distinct, exp.SetOperation)


def _granted(slots: Slots, most: int) -> int:
    """Take as many slots as are free."""
    return next((number for number in range(most, 0, -1) if slots.take(number, patience=0.0)), 0)


def _most_keys(keys: Mapping[str, pa.Array | None]) -> tuple[str, pa.Array | None]:
    """The longest list of keys that can be shared out, by its mark."""
    lists = [(mark, values) for mark, values in keys.items() if values is not None]
    fit = [(mark, values) for mark, values in lists if key_family(values.type) in _DISJOINT]
    return max(fit, key=lambda item: len(item[1]), default=("", None))


def _together(tables: Iterable[exp.Table]) -> exp.Subquery:
    parts = [exp.select("*").from_(table) for table in tables]
    return exp.union(*parts, distinct=False).subquery()
