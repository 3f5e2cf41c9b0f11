"""A connection to PostgreSQL that does not wait for ever. Imported late: it needs psycopg."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

__all__ = ["PatientConnection"]

R = TypeVar("R")

_CANCEL_SECONDS: Final = 0.5


class PatientConnection(psycopg.Connection[Any]):
    """Waits for an answer as long as `patience` says, in seconds, and not at all once Ctrl-C was pressed."""

    patience: float | None = None

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server.

        Raises
        ------
        psycopg.OperationalError
            It said nothing for too long.
        """
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - the one name it has
            raise psycopg.OperationalError("timeout") from None

    def _try_cancel(self, *, timeout: float = _CANCEL_SECONDS) -> None:
        """What psycopg calls on Ctrl-C, with a shorter time.

        Afterwards it waits for the statement to end, which at a server that cannot be told takes long: an error here
        makes it close the connection instead.
        """
        del timeout
        self.cancel_safe(timeout=_CANCEL_SECONDS)
