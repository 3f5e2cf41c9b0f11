"""What an engine may use: memory, and a private place on disk for what does not fit."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EngineSettings", "SpillDirectory"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Section `engine:`.

    Parameters
    ----------
    memory_limit
        Bytes that one instance of DuckDB may hold; None is DuckDB's own default, 80 % of the machine's memory.
    temp_directory
        Where the private directory for spilled rows is made; None is the system's directory for temporary files.
    """

    memory_limit: int | None = None
    temp_directory: Path | None = None


class SpillDirectory:
    """A directory that only this user may read, removed with everything in it when the engine closes.

    Spilled rows are plain: also those that a policy hides, and values that were decrypted.

    Parameters
    ----------
    above
        Where it is made.
    """

    def __init__(self, above: Path | None) -> None:
        if above is not None:
            above.mkdir(parents=True, exist_ok=True)
        # mkdtemp makes it with mode 0700.
        self.path = Path(tempfile.mkdtemp(prefix="tauro_nb-", dir=above))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def close(self) -> None:
        """Remove it; may be called twice."""
        self._remove()
