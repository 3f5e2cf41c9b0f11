"""How far a query is: told while it runs, to whoever asked to be told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tauro_nb.errors import ExecutionError
from tauro_nb.query.measured import Traffic
from tauro_nb.text import plural, size

if TYPE_CHECKING:
    from tauro_nb.engine.meter import Meter

__all__ = ["Listener", "Progress", "Teller"]

_QUIET: Final = 1.0
"""Seconds that need no words."""
_EVERY: Final = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """A query that runs.

    Parameters
    ----------
    seconds
        Since it began to run.
    rows, bytes
        Of the answer, so far; bytes as Arrow holds them.
    sources
        What came from each connection so far. Empty where nothing is counted, and where a policy stands on a table and
        the asker may not read policies: it would count rows that are hidden.

    Examples
    --------
    >>> print(Progress(12.4, 0, 0, {"crm": Traffic(1_204_000, 85_000_000)}))
    12 s: 1,204,000 rows, 85.0 MB from crm
    """

    seconds: float
    rows: int = 0
    bytes: int = 0
    sources: Mapping[str, Traffic] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{plural(came.rows, 'row')}, {size(came.bytes)} from {name}" for name, came in self.sources.items()]
        parts += [f"{plural(self.rows, 'row')} of the answer"] if self.rows else []
        return f"{self.seconds:.0f} s{': ' if parts else ''}{'; '.join(parts)}"


Listener = Callable[[Progress], None]


class Teller:
    """Tells a listener, in the thread that asked the query: not before a second, then four times a second at most.

    Parameters
    ----------
    listener
        Called with what is known.
    meter
        Counts what comes; None when nobody does.
    """

    def __init__(self, listener: Listener, meter: Meter | None) -> None:
        self._listener = listener
        self._meter = meter
        self._started = self._told = time.perf_counter()

    def tell(self) -> None:
        """Call the listener, if it is time.

        Raises
        ------
        ExecutionError
            It raised something.
        """
        now = time.perf_counter()
        if now - self._started < _QUIET or now - self._told < _EVERY:
            return
        self._told = now
        rows, volume, sources = (0, 0, {}) if self._meter is None else self._meter.so_far()
        try:
            self._listener(Progress(now - self._started, rows, volume, sources))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the listener's and no source's
            raise ExecutionError(
                f"the listener of the progress raised {type(error).__name__}; the query was stopped.",
                hint="Call it by itself with a `Progress` to see why.",
            ) from None
