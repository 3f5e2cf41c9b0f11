"""Run blocking calls so that Ctrl-C stops them at their source, and none waits for a server that is gone."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from tauro_nb.engine.watch import Watch
from tauro_nb.errors import QueryCancelled

__all__ = ["Interruptible"]

T = TypeVar("T")

_TELL: Final = 0.25
"""Seconds between two words on how far the work is."""
_GRACE: Final = 2.0
"""Seconds for what was told to stop; then connections are broken."""
_AGAIN: Final = 0.2


class Interruptible:
    """A worker thread for one query, and what to do when the user interrupts it.

    DuckDB called on the main thread cannot be interrupted cleanly; a worker can, within milliseconds.

    Parameters
    ----------
    cancel
        Stops the work at its sources; called once, from the interrupted thread.
    watch
        Looks after servers while the work takes long.
    tell
        Called now and then while the work takes long, in the thread that waits.
    """

    def __init__(self, cancel: Callable[[], None], watch: Watch, tell: Callable[[], None] | None = None) -> None:
        self._cancel = cancel
        self._watch = watch
        self._tell = tell
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tauro_nb-query")

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker and wait.

        Raises
        ------
        QueryCancelled
            The user pressed Ctrl-C; `work` has ended.
        """
        alone = self._watch.patience is None and self._tell is None
        if alone and threading.current_thread() is not threading.main_thread():
            # Signals only reach the main thread: elsewhere a second thread would buy nothing.
            return work()
        future = self._worker.submit(work)
        try:
            self._wait(future)
        except KeyboardInterrupt:
            self._stop(future)
            raise QueryCancelled("the query was interrupted; every source was told to stop.") from None
        except BaseException:
            # Whoever listened failed, and nobody will ask for the rest.
            self._stop(future)
            raise
        return future.result()

    def _wait(self, future: Future[T]) -> None:
        patience = self._watch.patience or math.inf
        step = min(patience, math.inf if self._tell is None else _TELL)
        looked = time.monotonic()
        while wait([future], None if step == math.inf else step).not_done:
            if self._tell is not None:
                self._tell()
            if time.monotonic() - looked >= patience:
                self._watch.look()
                looked = time.monotonic()

    def _stop(self, future: Future[T]) -> None:
        self._cancel()
        given_up = time.monotonic() + _GRACE
        # A scanner whose connection is broken may open another one.
        while wait([future], _AGAIN).not_done:
            self._watch.sever(all_of_them=time.monotonic() > given_up)

    def close(self) -> None:
        """Let the worker go."""
        self._worker.shutdown(wait=False)
