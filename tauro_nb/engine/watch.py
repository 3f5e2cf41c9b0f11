"""Notice that a server was lost without a word, and end the waiting for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from tauro_nb.errors import SourceUnavailable, TauroError
from tauro_nb.sources.base import RemoteSource, Source, unavailable

__all__ = ["Watch"]

_CANCEL_SECONDS: Final = 0.7
"""A server that cannot be told within this time to stop is not waited for: its connections are broken."""


class Watch:
    """The servers that somebody waits for.

    Parameters
    ----------
    sources
        Those that are read.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources: Sequence[Source] = tuple(sources)
        self._remote = tuple(source for source in self._sources if isinstance(source, RemoteSource))
        self._deaf: set[RemoteSource] = set()
        self.failure: SourceUnavailable | None = None
        """Why a connection was broken."""

    @property
    def patience(self) -> float | None:
        """Seconds without news after which `look` is worth its while; None when all is here."""
        return min((source.read_timeout for source in self._remote), default=None)

    def look(self) -> None:
        """Break the connections to every server that does not say a word to a new one.

        A server that answers, be it with a refusal, may be working on a long question: it is waited for.
        """
        for source in self._remote:
            trouble = source.trouble()
            if trouble is not None and trouble.silent:
                self.failure = SourceUnavailable(
                    f"connection `{source.connection.id}`: the server did not answer for "
                    f"{source.read_timeout:g} s; nothing was returned.",
                    hint="Is the network there? Run the query again.",
                )
                source.sever()

    def lost(self) -> SourceUnavailable | None:
        """After a connection was lost: the error that names a server which cannot be reached now; None of others."""
        for source in self._remote:
            if (trouble := source.trouble()) is not None:
                return unavailable(source.connection, trouble)
        return None

    def tell_to_stop(self) -> None:
        """Tell every source to stop what it does for us; who cannot be told in time loses its connections."""
        told = {source: threading.Thread(target=_tell, args=(source,), daemon=True) for source in self._sources}
        for thread in told.values():
            thread.start()
        deadline = time.monotonic() + _CANCEL_SECONDS
        for thread in told.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        self._deaf |= {source for source in self._remote if told[source].is_alive()}
        self.sever()

    def stop(self, mark: str) -> None:
        """Have every server stop the statements with a mark; one that cannot be told goes on until it notices."""
        for source in self._remote:
            with contextlib.suppress(TauroError):
                source.stop(mark)

    def sever(self, *, all_of_them: bool = False) -> None:
        """Break the connections to the servers that could not be told to stop, or to all."""
        for source in self._remote:
            if all_of_them or source in self._deaf:
                source.sever()


def _tell(source: Source) -> None:
    # A source that is down cannot be told; the engine's side stops all the same.
    with contextlib.suppress(TauroError):
        source.cancel()
