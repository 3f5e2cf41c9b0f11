"""What one query may move from its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tauro_nb.errors import UsageError
from tauro_nb.text import one_line, parsed_size

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that one query may move from its sources, as Arrow holds them; files that the engine scans do not count.

    Parameters
    ----------
    max_bytes
        From all sources together.
    connections
        From one, by its id.
    asked
        The asker's own limit for this query, from all sources together.
    """

    max_bytes: int | None = None
    connections: Mapping[str, int] = field(default_factory=dict)
    asked: int | None = None

    def __bool__(self) -> bool:
        return self.max_bytes is not None or bool(self.connections) or self.asked is not None

    def with_asked(self, given: int | str | None) -> Limits:
        """With the limit of one query, in bytes or as text.

        Raises
        ------
        UsageError
            It is no size.

        Examples
        --------
        >>> Limits(max_bytes=10).with_asked("2 KB").asked
        2000
        """
        if given is None:
            return self
        asked = parsed_size(given)
        if asked is None:
            raise UsageError("`max_bytes` is no number of bytes.", hint="Write 500000000, or '500MB'.")
        return replace(self, asked=asked)

    def exceeded(self, traffic: Mapping[str, int], *, with_asked: bool = True) -> tuple[str, int, int] | None:
        """Whose limit is lower than what moves: names of connections, bytes, limit.

        >>> Limits(connections={"crm": 10}).exceeded({"crm": 11, "erp": 99})
        ('`crm`', 11, 10)
        """
        for source, most in self.connections.items():
            if traffic.get(source, 0) > most:
                return f"`{one_line(source)}`", traffic[source], most
        total, names = sum(traffic.values()), ", ".join(f"`{one_line(name)}`" for name in traffic)
        for limit in (self.max_bytes, self.asked if with_asked else None):
            if limit is not None and total > limit:
                return names, total, limit
        return None
