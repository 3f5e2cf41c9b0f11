"""Run blocking calls so that Ctrl-C stops them at their source."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tauro_nb.errors import QueryCancelled

__all__ = ["Interruptible"]

T = TypeVar("T")


class Interruptible:
    """A worker thread for one query, and what to do when the user interrupts it.

    DuckDB called on the main thread cannot be interrupted cleanly; a worker can, within milliseconds.

    Parameters
    ----------
    cancel
        Stops the work at its sources; called once, from the interrupted thread.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tauro_nb-query")

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker and wait.

        Raises
        ------
        QueryCancelled
            The user pressed Ctrl-C; `work` has ended.
        """
        if threading.current_thread() is not threading.main_thread():
            # Signals only reach the main thread: elsewhere a second thread would buy nothing.
            return work()
        future = self._worker.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            self._cancel()
            future.exception()
            raise QueryCancelled("the query was interrupted; every source was told to stop.") from None

    def close(self) -> None:
        """Let the worker go."""
        self._worker.shutdown(wait=False)
