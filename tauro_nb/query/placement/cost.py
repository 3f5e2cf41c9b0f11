"""What it costs to get rows from a source, in seconds.

cost = latency + keys sent + what the source does + bytes / bandwidth + what the engine does with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tauro_nb.sources.base import Link

__all__ = ["LOCAL_ROW", "LOOKUPS", "RATES", "WORKED_ROW", "Rates", "asked", "scanned", "share_sent"]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a kind of source costs; measured on one machine, refined while queries run.

    Parameters
    ----------
    latency
        Seconds to ask anything.
    bandwidth
        Bytes a second.
    row
        Seconds for a row of an answer to SQL, found by an index or not.
    scanned_row
        Seconds for a row that the engine's scanner reads.
    visited_row
        Seconds for a row that the source looks at itself.
    key
        Seconds for a key: written, read and looked up.
    """

    latency: float
    bandwidth: float
    row: float
    scanned_row: float
    visited_row: float
    key: float

    def over(self, link: Link | None) -> Rates:
        """The same over a way that was measured: never faster than the source itself."""
        if link is None:
            return self
        # A statement is prepared, bound and fetched: three times there and back.
        latency = self.latency + 3 * link.latency
        return replace(self, latency=latency, bandwidth=min(self.bandwidth, link.bandwidth))


RATES: Final[Mapping[str, Rates]] = {
    "postgresql": Rates(0.004, 220e6, 0.4e-6, 0.1e-6, 0.06e-6, 5e-6),
    "mysql": Rates(0.004, 100e6, 1.5e-6, 1.5e-6, 0.25e-6, 8e-6),
    "sqlite": Rates(0.001, 400e6, 1.0e-6, 0.3e-6, 0.1e-6, 2e-6),
}
LOCAL_ROW: Final = 0.05e-6
"""Seconds for a row that the engine writes into a table of its own."""
WORKED_ROW: Final = 0.35e-6
"""Seconds that a source needs to join or group a row; it does so with one processor for one question."""
LOOKUPS: Final = 10.0
"""How many rows of a sequence cost as much as one that an index finds."""


def scanned(rates: Rates, rows: float, width: float) -> float:
    """Read rows by the engine's scanner."""
    return rates.latency + rows * (rates.scanned_row + width / rates.bandwidth)


def asked(rates: Rates, rows: float, width: float, keys: float = 0.0) -> float:
    """Ask for rows in SQL, with keys."""
    return rates.latency + keys * rates.key + rows * (rates.row + width / rates.bandwidth)


def share_sent(keys: float, distinct: float) -> float:
    """The part of a column's values that keys are, at most all of them."""
    return min(keys / max(distinct, 1.0), 1.0)
