"""DuckDB runs the residual: attaches sources, reads streams, gives back an Arrow stream."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
from sqlglot import exp

from tauro_nb.engine.ahead import Ahead
from tauro_nb.engine.answers import interrupt, roll_back
from tauro_nb.engine.feeds import Feeds, counted_plan
from tauro_nb.engine.gate import Gate
from tauro_nb.engine.handed import HandedStreams, OnceReadable
from tauro_nb.engine.helped import Helped
from tauro_nb.engine.interrupt import Interruptible
from tauro_nb.engine.marks import Written
from tauro_nb.engine.moments import Moments
from tauro_nb.engine.parallel import Parallel
from tauro_nb.engine.portions import ANSWER_ROWS, portion
from tauro_nb.engine.redact import redacted
from tauro_nb.engine.settings import EngineSettings, SpillDirectory
from tauro_nb.engine.stages import Stages
from tauro_nb.engine.turns import Turns
from tauro_nb.engine.watch import Watch
from tauro_nb.errors import ExecutionError, QueryCancelled, SourceUnavailable, TauroError
from tauro_nb.query.literals import used_params
from tauro_nb.query.names import frame_name, handed_table
from tauro_nb.query.plan import whole_fragment
from tauro_nb.sources.base import identity

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.engine.meter import Meter
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.security.functions import EngineFunctions
    from tauro_nb.sources.base import Source
    from tauro_nb.sources.extension import Preparation

__all__ = ["DuckDBEngine", "Execution"]

_PATIENCE = 1.0
"""Seconds for what is being fetched when a run is closed."""
_SETTINGS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
}


class _Kind(NamedTuple):
    """What tells one instance from another."""

    switched_off: frozenset[str]
    fetching: bool


class DuckDBEngine:
    """An in-memory instance for each set of optimizers that plans must run without; most plans need none switched off.

    Which they are a plan says (`QueryPlan.switched_off`); the setting is global to an instance.

    Parameters
    ----------
    functions
        What secured plans may call besides DuckDB's own functions.
    settings
        Memory, and where rows go that do not fit.
    """

    def __init__(self, functions: EngineFunctions | None = None, settings: EngineSettings | None = None) -> None:
        self.functions = functions
        self._settings = settings or EngineSettings()
        self._spill: SpillDirectory | None = None
        self._instances: dict[_Kind, duckdb.DuckDBPyConnection] = {}
        self._attached: dict[tuple[_Kind, int], Hashable] = {}
        self._prepared: dict[_Kind, frozenset[Preparation]] = {}
        self._running: weakref.WeakSet[Execution] = weakref.WeakSet()
        self._lock = threading.RLock()

    def cursor(
        self, sources: Sequence[Source], *, switched_off: frozenset[str] = frozenset(), fetching: bool = False
    ) -> duckdb.DuckDBPyConnection:
        """A cursor of an instance in which `sources` are attached, without the optimizers `switched_off`.

        One for `fetching` does all work in the thread that calls it. Where there are others, they may take the work,
        and the one that called keeps a processor busy with asking whether it is done.

        Raises
        ------
        SourceUnavailable
            One of them cannot be attached.
        """
        kind = _Kind(switched_off, fetching)
        with self._lock:
            needed = frozenset(s.preparation for s in sources if s.preparation is not None)
            instance = self._instance(kind, needed)
            for source in sources:
                key, found = (kind, id(source)), identity(source)
                if key not in self._attached or self._attached[key] != found:
                    source.attach(instance)
                    self._attached[key] = found
            return instance.cursor()

    def _instance(self, kind: _Kind, needed: frozenset[Preparation]) -> duckdb.DuckDBPyConnection:
        """The instance, started again when a source needs a setting: a locked one takes no more.

        Queries that run on the one before keep it alive until they end.
        """
        ready = self._prepared.get(kind, frozenset())
        if kind not in self._instances or not needed <= ready:
            self._instances[kind] = self._start(kind, ready | needed)
            self._prepared[kind] = ready | needed
            self._attached = {key: found for key, found in self._attached.items() if key[0] != kind}
        return self._instances[kind]

    def _start(self, kind: _Kind, preparations: frozenset[Preparation]) -> duckdb.DuckDBPyConnection:
        instance = duckdb.connect(":memory:", config={**_SETTINGS, **self._room()})
        instance.execute("SET enable_progress_bar = false")
        # Of lineitem of TPC-H it takes 1 ms to read. Kept only while the file is as it was.
        instance.execute("SET parquet_metadata_cache = true")
        threads = 1 if kind.fetching else self._settings.threads(_threads(instance))
        instance.execute(f"SET threads = {threads}")
        # A policy must not mean something else on a machine in another time zone; cursors inherit only globals.
        instance.execute("SET GLOBAL TimeZone = 'UTC'")
        instance.execute(f"SET disabled_optimizers = '{','.join(sorted(kind.switched_off))}'")
        if self.functions is not None:
            self.functions.register(instance)
        for preparation in preparations:
            preparation.apply(instance)
        instance.execute("SET lock_configuration = true")
        return instance

    def _room(self) -> dict[str, str]:
        """Settings for memory and disk; the directory is made with the first instance."""
        self._spill = self._spill or SpillDirectory(self._settings.temp_directory)
        return {"temp_directory": str(self._spill.path / "spilled"), **self._settings.memory()}

    def describe(self, source: Source, relation: exp.Expr) -> dict[str, str]:
        """Columns and types of a source's relation.

        Raises
        ------
        SourceUnavailable
            The source cannot be read.
        """
        sql = exp.select("*").from_(relation.copy()).sql("duckdb")
        watch = Watch([source])

        def ask() -> list[tuple[Any, ...]]:
            with self.cursor([source]) as cursor:
                return cursor.execute(f"DESCRIBE {sql}").fetchall()

        asking = Interruptible(watch.tell_to_stop, watch)
        try:
            return {row[0]: row[1] for row in asking.call(ask)}
        except duckdb.Error as error:
            failure = redacted(error, "", (source.connection.id,))
            lost = watch.failure or watch.lost() if isinstance(failure, SourceUnavailable) else None
            raise lost or failure from None
        finally:
            asking.close()

    def refresh(self, source: Source) -> None:
        """Make every instance forget what it cached of a source's schema."""
        with self._lock:
            for kind, instance in self._instances.items():
                if (kind, id(source)) in self._attached:
                    with instance.cursor() as cursor:
                        source.refresh(cursor)

    def run(self, plan: QueryPlan, meter: Meter | None = None, tell: Callable[[], None] | None = None) -> Execution:
        """Start a plan; the first batch is on its way when this returns. With a meter every arrival is counted.

        `tell` is called now and then, in the thread that waits for rows.
        """
        execution = Execution(self, plan, meter, tell)
        self._running.add(execution)
        return execution

    def close(self) -> None:
        """Stop what runs, and close every instance."""
        for execution in list(self._running):
            execution.close()
        with self._lock:
            for instance in self._instances.values():
                instance.close()
            self._instances.clear()
            self._attached.clear()
            self._prepared.clear()
            if self._spill is not None:
                self._spill.close()
                self._spill = None


class Execution:
    """One running plan: an iterator of record batches that can be stopped."""

    def __init__(
        self,
        engine: DuckDBEngine,
        plan: QueryPlan,
        meter: Meter | None = None,
        tell: Callable[[], None] | None = None,
    ) -> None:
        sources = list(plan.sources.values())
        self._mark = f"tauro_nb run {uuid.uuid4().hex[:12]}"
        self._written = Written(plan, self._mark)
        self._feeds = Feeds(
            lambda: engine.cursor(sources, switched_off=self._plan.switched_off), plan.params, self._mark
        )
        self._plan = plan if meter is None else counted_plan(plan, self._feeds)
        another = partial(engine.cursor, sources, switched_off=plan.switched_off)
        # What is measured is read one after the other, so that the figures are each one's own.
        self._ahead = Ahead(plan, another, self._mark) if meter is None else None
        self._parallel = Parallel(engine, sources, another, self._mark) if meter is None else None
        self._moments = None if self._ahead is None else Moments(engine, plan, Helped(plan), self._ahead.servers)
        self._meter = meter
        self._tell = tell
        self._sources: Mapping[str, Source] = plan.sources
        self._functions = engine.functions
        self._failure: TauroError | None = None
        self._stopped = False
        self._closing = False
        self._read_to_its_end = False
        self._watch = Watch(sources)
        self._worker = Interruptible(self.cancel, self._watch, tell)
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._reader: pa.RecordBatchReader | None = None
        self._gate = Gate()
        self._handed = HandedStreams(self._gate)
        self._turns = Turns(plan, counted=meter is not None)
        self.shipped: Mapping[str, int] = {}
        """Join keys that were sent to sources, by mark of their filter."""
        self.counted: dict[str, int] = {}
        """Rows of fragments that were read to their end."""
        self._unkeyed = frozenset(part.id for part in plan.fragments if not part.keys)
        try:
            self._wait_for_turn()
            self._cursor = self._guarded(lambda: engine.cursor(sources, switched_off=self._plan.switched_off))
            self._reader = self._guarded(self._execute)
        except BaseException:
            self.close()
            raise

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the result, under the names the user wrote."""
        import pyarrow as pa

        assert self._reader is not None
        given = self._reader.schema
        names = list(self._plan.schema) or given.names
        return pa.schema([field.with_name(name) for field, name in zip(given, names, strict=True)])

    def _wait_for_turn(self) -> None:
        """Wait for connections. Nothing runs yet: no server is asked how it is, and none told to stop."""
        if self._turns.take_free():
            return

        def stop() -> None:
            self._stopped = True

        waiting = Interruptible(stop, Watch(()), self._tell)
        try:
            waiting.call(lambda: self._turns.take(lambda: self._stopped))
        finally:
            waiting.close()

    def _execute(self) -> pa.RecordBatchReader:
        assert self._cursor is not None
        for name, stream in self._plan.streams.items():
            self._hand(name, stream)
        for name, frame in self._plan.frames.items():
            self._cursor.register(frame_name(name), frame)
        if self._ahead is not None:
            self._ahead.start()
        stages = Stages(self._plan, self._cursor, self._hand, self._written, self._ahead, self._parallel, self._moments)
        residual = stages.run(lambda: self._stopped)
        self.shipped = stages.shipped
        self.counted |= stages.counted | ({} if self._ahead is None else self._ahead.counted)
        params = used_params(residual, self._plan.params)
        reader = self._cursor.execute(self._written.text(residual), params or None).to_arrow_reader(ANSWER_ROWS)
        if self._moments is not None:
            # All that reads a server has begun.
            self._moments.close()
        return reader

    def _hand(self, name: str, stream: Callable[[], pa.RecordBatchReader]) -> None:
        assert self._cursor is not None
        if name not in self._turns.settled:
            self._cursor.register(name, self._watched(name, stream))
            return
        arriving = f"{name} arriving"
        self._cursor.register(arriving, self._watched(name, stream))
        kept, read = handed_table(name).sql("duckdb"), handed_table(arriving).sql("duckdb")
        self._cursor.execute(f"CREATE TEMP TABLE {kept} AS SELECT * FROM {read}")
        self._cursor.unregister(arriving)

    def _watched(self, name: str, stream: Callable[[], pa.RecordBatchReader]) -> OnceReadable:
        """The stream, remembering its own error: DuckDB would only pass on its text."""
        if self._meter is not None:
            self._meter.asked(name)
        reader = stream()
        arriving = iter(reader) if self._meter is None else self._meter.counted(name, iter(reader))

        def batches() -> Iterator[pa.RecordBatch]:
            rows = 0
            try:
                while (batch := self._fetched(arriving)) is not None:
                    rows += batch.num_rows
                    yield batch
                if name in self._unkeyed:
                    self.counted[name] = rows
            except TauroError as error:
                self._failure = error
                raise

        return self._handed.give(reader.schema, batches(), self._refuse_a_second_reading)

    def _fetched(self, arriving: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self._gate.entered():
            return next(arriving, None)

    def _refuse_a_second_reading(self) -> TauroError:
        self._failure = ExecutionError(
            "the engine would have to read a source's answer twice; nothing was returned.",
            sql=self._plan.sql,
            hint="Write the query without NOT MATERIALIZED, or ask for the parts one by one.",
        )
        return self._failure

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Run `work` interruptibly; engine errors come out redacted."""
        self._gate.require_open()
        try:
            return self._worker.call(work)
        except duckdb.Error as error:
            if self._failure is not None:
                raise self._failure from None
            if self._stopped and isinstance(error, duckdb.InterruptException):
                raise QueryCancelled("the query was interrupted; every source was told to stop.") from None
            if self._functions is not None and (failure := self._functions.failure(str(error))) is not None:
                raise failure from None
            raise self._explained(error) from None

    def _explained(self, error: duckdb.Error) -> TauroError:
        """An engine error in our words; of servers that cannot be reached it names the one."""
        names = tuple(sorted({source.connection.id for source in self._sources.values()}))
        failure = redacted(error, self._plan.sql, names)
        if not isinstance(failure, SourceUnavailable):
            return failure
        return self._watch.failure or self._watch.lost() or failure

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        self._gate.require_open()
        schema = self.schema
        rows = 0
        try:
            while arrived := self._guarded(self._next):
                while arrived:
                    self._gate.require_open()
                    # Nothing here keeps a batch that was handed on.
                    answer = pa.RecordBatch.from_arrays(arrived.pop(0).columns, schema=schema)
                    rows += answer.num_rows
                    if self._meter is not None:
                        self._meter.answered(answer)
                    if self._tell is not None:
                        self._tell()
                    yield answer
            self._read_to_its_end = True
            fragment = whole_fragment(self._plan.shown)
            if fragment in self._unkeyed:
                self.counted[fragment] = rows
        finally:
            self.close()

    def _next(self) -> list[pa.RecordBatch]:
        import pyarrow as pa

        try:
            with self._gate.entered():
                assert self._reader is not None
                return portion(self._reader)
        except (pa.ArrowException, OSError) as error:
            # The reader wraps DuckDB's error as text; only its class name is kept.
            raise _engine_error(str(error)) from None

    def cancel(self) -> None:
        """Interrupt the engine, and every source that runs something for it."""
        self._stopped = True
        if self._cursor is not None:
            interrupt(self._cursor)
        self._feeds.interrupt()
        for fetching in (self._ahead, self._parallel, self._moments):
            if fetching is not None:
                fetching.interrupt()
        self._watch.tell_to_stop()

    def close(self) -> None:
        """Stop what still runs, and free the cursor and the worker; may be called twice.

        A reader that is not closed reads on, at the server and here, until Python collects it. Of a long answer that is
        dropped the scanner would first read the rest: the server is told to stop what this run asked, and no other.
        """
        self._worker.close()
        cursor, self._cursor = self._cursor, None
        if cursor is None:
            if not self._closing:
                self._turns.give()
            return
        self._closing = True
        if self._read_to_its_end:  # there is nothing to wait for
            self._let_go(cursor)
            return
        interrupt(cursor)
        ending = threading.Thread(target=self._let_go, args=(cursor,), name="tauro_nb-close")
        try:
            ending.start()
        except RuntimeError:  # Python ends, and starts no thread any more
            self._let_go(cursor)
        else:
            ending.join(_PATIENCE)

    def _let_go(self, cursor: duckdb.DuckDBPyConnection) -> None:
        if not self._read_to_its_end:
            self._watch.stop(self._mark)
        # Batches on their way may arrive: of an answer that is interrupted the scanner first reads all the rest.
        left = self._gate.close(_PATIENCE)
        if not left:
            self._feeds.interrupt()
            left = self._gate.close(_PATIENCE)
        # The reader keeps the streams: it goes before they are waited for.
        reader, self._reader = self._reader, None
        if left and reader is not None:
            reader.close()
        del reader
        roll_back(cursor)
        cursor.close()
        self._feeds.close(unread=left)
        for fetching in (self._ahead, self._parallel, self._moments):
            if fetching is not None:
                fetching.close()
        self._turns.give()
        self._handed.wait(_PATIENCE)


def _threads(instance: duckdb.DuckDBPyConnection) -> int:
    """As many as DuckDB would use by itself."""
    found = instance.execute("SELECT current_setting('threads')").fetchone()
    return 1 if found is None else int(found[0])


_BY_WORD = {
    "Conversion Error": duckdb.ConversionException,
    "Out of Range Error": duckdb.OutOfRangeException,
    "Out of Memory Error": duckdb.OutOfMemoryException,
    "Invalid Input Error": duckdb.InvalidInputException,
    "IO Error": duckdb.IOException,
    "INTERRUPT Error": duckdb.InterruptException,
    "Mismatch Type Error": duckdb.TypeMismatchException,
}


def _engine_error(text: str) -> duckdb.Error:
    return next((kind(text) for word, kind in _BY_WORD.items() if word in text), duckdb.Error(text))
