"""What one run of a plan was seen to move: the figures that stand beside its estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Measured", "Traffic"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What arrived from a source: rows, bytes as Arrow holds them, and milliseconds of waiting for them."""

    rows: int = 0
    bytes: int = 0
    ms: float = 0.0

    def plus(self, rows: int, volume: int, ms: float) -> Traffic:
        """With one more batch.

        >>> Traffic(1, 8, 0.5).plus(2, 16, 0.5)
        Traffic(rows=3, bytes=24, ms=1.0)
        """
        return Traffic(self.rows + rows, self.bytes + volume, self.ms + ms)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a plan.

    Parameters
    ----------
    rows, bytes
        Of the answer.
    plan_ms, run_ms
        Making the plan, and running it to its last row.
    residual_ms
        What of the run was not waiting for a source; None where it is withheld.
    fragments
        Traffic by fragment; what the engine scans in files by itself is not counted, and missing.
    keys
        Join keys that were sent, by mark of their filter; missing where they were given up.
    withheld
        A policy stands on one of the tables: figures of its parts could count rows that it hides.
    """

    rows: int
    bytes: int
    plan_ms: float
    run_ms: float
    residual_ms: float | None = None
    fragments: Mapping[str, Traffic] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    withheld: bool = False

    def without_parts(self) -> Measured:
        """Only what the asker sees anyhow: the answer, and how long it took."""
        return Measured(self.rows, self.bytes, self.plan_ms, self.run_ms, withheld=True)
