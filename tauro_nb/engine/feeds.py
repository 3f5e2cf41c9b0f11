"""Read what sources answer as streams of batches, where they must be counted one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.engine.answers import interrupt
from tauro_nb.engine.marks import marked
from tauro_nb.engine.portions import FEED_ROWS
from tauro_nb.query.literals import used_params
from tauro_nb.query.names import ANSWERS, handed_table
from tauro_nb.sources.base import Scan

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from tauro_nb.query.plan import Fragment, QueryPlan

__all__ = ["Feeds", "counted_plan"]


class Feeds:
    """Relations read on cursors of their own, which end with the run.

    Parameters
    ----------
    cursor
        Makes a cursor of the instance that runs the plan.
    params
        Values of named parameters.
    mark
        Of the run.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], params: Mapping[str, Any], mark: str) -> None:
        self._cursor = cursor
        self._params = params
        self._mark = mark
        self._open: list[duckdb.DuckDBPyConnection] = []
        self._readers: list[pa.RecordBatchReader] = []

    def read(self, relation: exp.Expr) -> pa.RecordBatchReader:
        """Start reading a relation."""
        import pyarrow as pa

        cursor = self._cursor()
        self._open.append(cursor)
        query = marked(exp.select("*").from_(relation.copy()), self._mark)
        reader = cursor.execute(query.sql("duckdb"), used_params(query, self._params) or None).to_arrow_reader(
            FEED_ROWS
        )
        self._readers.append(reader)

        def batches() -> Iterator[pa.RecordBatch]:
            yield from reader
            # What was read to its end lets its connection go: the next one may be waiting for it.
            cursor.close()

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def interrupt(self) -> None:
        """Stop whatever is read."""
        for cursor in list(self._open):
            interrupt(cursor)

    def close(self, *, unread: bool = True) -> None:
        """Close the cursors, and the readers too if no thread reads from one; may be called twice."""
        while unread and self._readers:
            self._readers.pop().close()
        while self._open:
            self._open.pop().close()


def counted_plan(plan: QueryPlan, feeds: Feeds) -> QueryPlan:
    """The plan in which everything that sources answer comes as a stream; files the engine scans stay as they are."""
    streams: dict[str, Any] = dict(plan.streams)
    waiting = {part.id for part in plan.fragments if part.keys}

    def handed(tree: exp.Expr) -> exp.Expr:
        root = exp.Subquery(this=tree.copy())
        for node in [node for node in root.walk() if ANSWERS in (node._meta or {})]:  # noqa: SLF001 - `meta` makes one
            name = node.meta[ANSWERS]
            if name in waiting:
                continue
            relation = node.copy()
            relation.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
            streams[name] = partial(feeds.read, relation)
            table = handed_table(name)
            table.set("alias", node.args.get("alias"))
            node.replace(table)
        ready: exp.Expr = root.this
        return ready

    steps = tuple(replace(step, tree=handed(step.tree)) for step in plan.steps)
    residual = handed(plan.residual)
    fragments = tuple(_streamed(part, streams, feeds) for part in plan.fragments)
    return replace(plan, steps=steps, residual=residual, fragments=fragments, streams=streams)


def _streamed(part: Fragment, streams: Mapping[str, Any], feeds: Feeds) -> Fragment:
    if part.scan is None:
        return part
    if not part.keys:
        return replace(part, scan=_as_stream(part.scan, streams.get(part.id)))
    whole = None if part.unkeyed is None else partial(feeds.read, part.unkeyed)
    return replace(part, scan=_as_stream(part.scan, whole), keyed=partial(_keyed, part.keyed, feeds))


def _keyed(ask: Callable[[Any], Scan | None], feeds: Feeds, keys: Any) -> Scan | None:
    scan = ask(keys)
    if scan is None or scan.relation is None:
        return scan
    return _as_stream(scan, partial(feeds.read, scan.relation))


def _as_stream(scan: Scan, stream: Callable[[], Any] | None) -> Scan:
    return scan if scan.stream is not None or stream is None else replace(scan, relation=None, stream=stream)
