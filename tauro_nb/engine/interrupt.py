"""Run blocking calls so that Ctrl-C stops them at their source, and none waits for a server that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from tauro_nb.engine.watch import Watch
from tauro_nb.errors import QueryCancelled

__all__ = ["Interruptible"]

T = TypeVar("T")

_GRACE: Final = 2.0
"""Seconds for what was told to stop; then connections are broken."""


class Interruptible:
    """A worker thread for one query, and what to do when the user interrupts it.

    DuckDB called on the main thread cannot be interrupted cleanly; a worker can, within milliseconds.

    Parameters
    ----------
    cancel
        Stops the work at its sources; called once, from the interrupted thread.
    watch
        Looks after servers while the work takes long.
    """

    def __init__(self, cancel: Callable[[], None], watch: Watch) -> None:
        self._cancel = cancel
        self._watch = watch
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tauro_nb-query")

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker and wait.

        Raises
        ------
        QueryCancelled
            The user pressed Ctrl-C; `work` has ended.
        """
        patience = self._watch.patience
        if patience is None and threading.current_thread() is not threading.main_thread():
            # Signals only reach the main thread: elsewhere a second thread would buy nothing.
            return work()
        future = self._worker.submit(work)
        try:
            while patience is not None and wait([future], patience).not_done:
                self._watch.look()
            return future.result()
        except KeyboardInterrupt:
            self._stop(future)
            raise QueryCancelled("the query was interrupted; every source was told to stop.") from None

    def _stop(self, future: Future[T]) -> None:
        self._cancel()
        if wait([future], _GRACE).not_done:
            self._watch.sever()
        future.exception()

    def close(self) -> None:
        """Let the worker go."""
        self._worker.shutdown(wait=False)
