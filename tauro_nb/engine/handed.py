"""Streams of ours that DuckDB reads: each once, and none while Python ends."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import ExecutionError, TauroError

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.engine.gate import Gate

__all__ = ["HandedStreams", "OnceReadable"]


class HandedStreams:
    """The streams of one run, and which of them nobody will ask again.

    DuckDB reads a stream through Arrow, in threads of Arrow's pool. Such a thread that waits for Python while Python
    ends is ended there and then, and Arrow, which counts its threads, waits for it for ever. So whoever closes a run
    waits until its streams are let go.

    Parameters
    ----------
    gate
        Of the run. Once it is closed nobody reads the answer any more, and a stream just ends: an error would be kept
        by Arrow, which needs Python once more to let go of it.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._let_go: SimpleQueue[object] = SimpleQueue()
        self._known: set[weakref.ref[_Batches]] = set()

    def give(
        self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], refuse: Callable[[], TauroError]
    ) -> OnceReadable:
        """A stream for DuckDB.

        Parameters
        ----------
        refuse
            Makes the error of whoever would read it a second time.
        """
        import pyarrow as pa

        read = _Batches(batches, self._gate)
        # No line of Python runs between this word and the moment that the thread is done with Python: it is the last
        # that is done for a stream, and done in C.
        self._known.add(weakref.ref(read, self._let_go.put))
        return OnceReadable(pa.RecordBatchReader.from_batches(schema, read), refuse)

    def wait(self, patience: float) -> bool:
        """Wait so many seconds until all streams are let go; whether they are.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from tauro_nb.engine.gate import Gate
        >>> streams = HandedStreams(Gate())
        >>> given = streams.give(pa.schema([]), iter([]), NotImplementedError)
        >>> streams.wait(0.01)
        False
        >>> del given
        >>> streams.wait(0.01)
        True
        """
        until = time.monotonic() + patience
        while self._known:
            try:
                self._known.remove(self._let_go.get(timeout=max(until - time.monotonic(), 0)))  # type: ignore[arg-type]
            except Empty:
                return False
        return True


class _Batches:
    """What Arrow asks for batches."""

    def __init__(self, batches: Iterator[pa.RecordBatch], gate: Gate) -> None:
        self._batches: Iterator[pa.RecordBatch] | None = batches
        self._gate = gate

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        assert self._batches is not None
        try:
            return next(self._batches)
        except StopIteration:
            raise
        except Exception as error:
            # The frames it came through would keep this stream for as long as somebody has the error.
            error.__traceback__ = None
            if self._gate.closed:
                raise StopIteration from None
            if isinstance(error, TauroError):
                raise ExecutionError("a stream failed; the run has the error.") from None
            raise

    def __del__(self) -> None:
        # Whatever this sets off is done before the word that the stream is let go.
        self._batches = None


class OnceReadable:
    """A stream for DuckDB that can be scanned once.

    An optimizer of DuckDB's may turn one scan into two (`plan.switched_off` names those that are known to). Of a plain
    reader the second scan would find nothing and say nothing.
    """

    def __init__(self, reader: pa.RecordBatchReader, refuse: Callable[[], TauroError]) -> None:
        self._reader = reader
        self._refuse = refuse
        self._taken = False

    def __arrow_c_schema__(self) -> object:
        return self._reader.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any | None = None) -> object:
        if self._taken:
            raise self._refuse()
        self._taken = True
        return self._reader.__arrow_c_stream__(requested_schema)
