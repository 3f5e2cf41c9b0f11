"""The connections that queries may have to one source at once: who finds none free waits for its turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from tauro_nb.errors import QueryCancelled

__all__ = ["Slots"]

_LOOK: Final = 0.1
"""Seconds between two looks at whether who waits was stopped."""


class Slots:
    """A number of slots that are taken and given back; first come, first served.

    A query takes at once all that it needs. Taken one by one, two queries could each wait for what the other has.

    Parameters
    ----------
    size
        How many there are.

    Examples
    --------
    >>> slots = Slots(2)
    >>> slots.take(2, patience=1.0), slots.take(1, patience=0.0)
    (True, False)
    >>> slots.give(2)
    >>> slots.take(1, patience=0.0)
    True
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, number: int, patience: float, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Wait for so many slots, no more than there are, and take them; False when it takes too long.

        Parameters
        ----------
        number
            How many; more than there are could never be had.
        patience
            Seconds.
        stopped
            Asked now and then.

        Raises
        ------
        QueryCancelled
            `stopped` says so.
        """
        ticket, deadline = object(), time.monotonic() + patience
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self._free < number:
                    if stopped():
                        raise QueryCancelled("the query was interrupted while it waited for a connection.")
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._changed.wait(min(left, _LOOK))
                self._free -= number
                return True
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def give(self, number: int) -> None:
        """Give slots back."""
        with self._changed:
            self._free += number
            self._changed.notify_all()
