"""The mask that shows a new random value for every row and every query."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import SystemRandom
from types import MappingProxyType
from typing import Any

from sqlglot import exp

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import Masker, Rank, null_of
from tauro_nb.security.masks.compiling import trunk
from tauro_nb.security.masks.options import Option, bound
from tauro_nb.security.types import data_type, is_number, is_text

__all__ = ["RandomMasker"]

_LETTERS = 12


class RandomMasker(Masker):
    """Show a random value, NULLs included: 12 hexadecimal digits, a number or a date from `low` to below `high`.

    It says nothing about the value, joins with nothing, and differs in every query. Without `low` and `high` numbers
    are from 0 to below 100, dates and moments from 1970 to 2020. What is none of these is shown as NULL.

    Examples
    --------
    >>> 18 <= RandomMasker(low=18, high=65).mask(47) < 65, len(RandomMasker().mask("Ana"))
    (True, 12)
    """

    name = "random"
    rank = Rank.KEYED
    reads = False
    options = MappingProxyType({"low": Option(bound, None), "high": Option(bound, None)})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        low, high = self.parameters["low"], self.parameters["high"]
        if (low is None) != (high is None):
            raise PolicyError("the mask `random` needs both `low` and `high`, or neither")
        if low is not None and (isinstance(low, date) != isinstance(high, date) or not _seconds(low) < _seconds(high)):
            raise PolicyError("the mask `random`: `low` must be less than `high`")

    def mask(self, value: Any) -> Any:
        """Show something else."""
        random = SystemRandom()
        if isinstance(value, bool):
            return random.random() < 0.5
        if isinstance(value, str):
            return f"{random.getrandbits(4 * _LETTERS):0{_LETTERS}x}"
        if isinstance(value, (int, float, Decimal)):
            low, high = self._range("BIGINT")
            found = low + random.random() * (high - low)
            return type(value)(int(found)) if isinstance(value, (int, Decimal)) else found
        if isinstance(value, date):
            low, high = self._range("DATE")
            moment = datetime.fromtimestamp(low, UTC) + timedelta(seconds=int(random.random() * (high - low)))
            return moment.replace(tzinfo=None) if isinstance(value, datetime) else moment.date()
        return None

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Write the mask as a DuckDB tree; the column is not in it."""
        import ibis
        from ibis.backends.sql.compilers.duckdb import DuckDBCompiler

        found: Any
        if is_text(type):
            found = ibis.uuid().cast("string").replace("-", "").substr(0, _LETTERS)
        elif trunk(type) == "BOOLEAN":
            found = ibis.random() < 0.5
        elif is_number(type):
            low, high = self._range(type)
            found = ibis.random() * (high - low) + low
            found = found.floor() if trunk(type) not in ("FLOAT", "DOUBLE", "DECIMAL") else found
        elif trunk(type) == "DATE" or trunk(type).startswith("TIMESTAMP"):
            low, high = self._range("DATE")
            found = (ibis.random() * (high - low) + low).floor().cast("int64").as_timestamp("s")
        else:
            return null_of(type)
        tree: exp.Expr = DuckDBCompiler().to_sqlglot(found.as_table()).selects[0].unalias().copy()
        return tree if is_text(type) else exp.TryCast(this=tree, to=data_type(type))

    def _range(self, type: str) -> tuple[float, float]:
        """The range for a type, dates as seconds.

        Raises
        ------
        PolicyError
            The range is one of numbers and the column one of dates, or the other way round.
        """
        dates = not is_number(type)
        low, high = self.parameters["low"], self.parameters["high"]
        if low is None:
            return (0.0, float(50 * 365.25 * 86400)) if dates else (0.0, 100.0)
        if isinstance(low, date) != dates:
            raise PolicyError(f"the mask `random`: `low` and `high` do not fit a {type}")
        return _seconds(low), _seconds(high)


def _seconds(value: Any) -> float:
    """Numbers as they are, dates as seconds since 1970."""
    if not isinstance(value, date):
        return float(value)
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
