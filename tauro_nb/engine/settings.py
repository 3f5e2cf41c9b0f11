"""What an engine may use: memory, and a private place on disk for what does not fit."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["EngineSettings", "SpillDirectory"]

_THREAD_BYTES: Final = 125_000_000
"""What DuckDB's documentation asks for. With 75 MB a join of two streams of ten times the limit ran out of memory."""

_KEPT_SHARE: Final = 64
_MOST_KEPT: Final = 128 * 2**20
"""DuckDB's own. One of 128 MB for each thread, and one of 512 MB, would add as much again to a small limit."""


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

    def threads(self, available: int) -> int:
        """How many threads may work: each that joins or sorts needs some memory that it cannot spill.

        Examples
        --------
        >>> EngineSettings(memory_limit=300_000_000).threads(8)
        2
        >>> EngineSettings().threads(8)
        8
        """
        if self.memory_limit is None:
            return available
        return max(1, min(available, self.memory_limit // _THREAD_BYTES))

    def memory(self) -> dict[str, str]:
        """DuckDB's settings for memory, none without a limit.

        Of what was freed its allocator keeps a 64th of the limit, before it goes back to the system.

        Examples
        --------
        >>> EngineSettings(memory_limit=640_000_000).memory()["allocator_flush_threshold"]
        '10000000B'
        >>> EngineSettings().memory()
        {}
        """
        if self.memory_limit is None:
            return {}
        kept = f"{min(self.memory_limit // _KEPT_SHARE, _MOST_KEPT)}B"
        return {
            "memory_limit": f"{self.memory_limit}B",
            "allocator_flush_threshold": kept,
            "allocator_bulk_deallocation_flush_threshold": kept,
        }


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
