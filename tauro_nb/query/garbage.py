"""Room for Python's garbage collector: planning makes many trees, and they all live until it is done."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["room_for_trees"]

_ROOM: Final = 200_000
"""Objects that may be made before the collector looks at the new ones; the largest plan of TPC-DS makes 50 000."""


@contextmanager
def room_for_trees() -> Iterator[None]:
    """Let the collector wait until so many objects are new, and put back what it was told before.

    It is never switched off, so that many plans side by side cannot keep it from its work; one that its owner has
    switched off, or told to wait longer, is left as it is. There is no counting of who is inside: whoever finds the
    room made leaves it, and only a number that somebody else chose is ever put back.

    Examples
    --------
    >>> import gc
    >>> before = gc.get_threshold()
    >>> with room_for_trees():
    ...     gc.get_threshold()[0]
    200000
    >>> gc.get_threshold() == before
    True
    """
    young, *older = gc.get_threshold()
    if not 0 < young < _ROOM:
        yield
        return
    gc.set_threshold(_ROOM, *older)
    try:
        yield
    finally:
        if gc.get_threshold()[0] == _ROOM:
            gc.set_threshold(young, *older)
