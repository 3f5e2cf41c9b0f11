"""Know which threads are fetching rows, so that a run can end when none is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tauro_nb.errors import QueryCancelled

__all__ = ["Gate"]


class Gate:
    """Counts the threads that are inside; once it is closed nobody enters any more.

    DuckDB's threads fetch from our streams whenever there is room. One that does so while Python ends takes the whole
    process down, and one that does so while its reader is closed reads what is not there.

    Examples
    --------
    >>> gate = Gate()
    >>> with gate.entered():
    ...     gate.close(0.01)
    False
    >>> gate.close(0.01)
    True
    """

    def __init__(self) -> None:
        self._inside = 0
        self._open = True
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside.

        Raises
        ------
        QueryCancelled
            It is closed.
        """
        with self._changed:
            self.require_open()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nobody enters any more."""
        return not self._open

    def require_open(self) -> None:
        """Refuse what would only begin now.

        Raises
        ------
        QueryCancelled
            It is closed.
        """
        if not self._open:
            raise QueryCancelled("the query was closed before its rows were read.")

    def close(self, patience: float) -> bool:
        """Let nobody in, and wait so many seconds for those inside; whether all of them left."""
        with self._changed:
            self._open = False
            return self._changed.wait_for(lambda: not self._inside, patience)
