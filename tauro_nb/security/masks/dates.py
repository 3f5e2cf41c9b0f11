"""The mask that keeps the beginning of a date's or moment's period."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import Rank, TypedMasker
from tauro_nb.security.masks.compiling import trunk
from tauro_nb.security.masks.options import Option, one_of

if TYPE_CHECKING:
    from ibis.expr.types import TemporalValue

    from tauro_nb.security.masks.base import Branches

__all__ = ["DateTruncMasker"]

_MIDNIGHT = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
# unit -> Ibis's word, and the fields that go back to their beginning.
_UNITS: Mapping[str, tuple[str, Callable[[date], dict[str, int]]]] = MappingProxyType({
    "year": ("Y", lambda _: {"month": 1, "day": 1}),
    "quarter": ("Q", lambda value: {"month": (value.month - 1) // 3 * 3 + 1, "day": 1}),
    "month": ("M", lambda _: {"day": 1}),
    "week": ("W", lambda _: {}),
    "day": ("D", lambda _: {}),
    "hour": ("h", lambda _: {"minute": 0, "second": 0, "microsecond": 0}),
})  # fmt: skip
_OF_DATES = ("year", "quarter", "month", "week")
_FIRST, _LAST = "0001-01-08", "9999-12-31"


class DateTruncMasker(TypedMasker):
    """Keep a date's `unit` (`year`, `quarter`, `month`, `week`; of a moment also `day` and `hour`), nothing finer.

    Dates outside the years 1 to 9999 are hidden altogether, and so is whatever is not a date.

    Examples
    --------
    >>> DateTruncMasker(unit="quarter").mask(date(1984, 5, 17))
    datetime.date(1984, 4, 1)
    >>> DateTruncMasker(unit="month").compile("born", "DATE").sql("duckdb")[-9:]
    ' AS DATE)'
    """

    name = "date_trunc"
    rank = Rank.COARSE
    options = MappingProxyType({"unit": Option(one_of(*_UNITS))})

    def mask(self, value: Any) -> date | datetime | None:
        """Take one date or moment back to the beginning of its period."""
        unit = self.parameters["unit"]
        if not isinstance(value, date) or value.isoformat() < _FIRST:
            return None
        moment = isinstance(value, datetime)
        if not moment and unit not in _OF_DATES:
            return None
        fields = _UNITS[unit][1](value)
        if moment and unit != "hour":
            fields = _MIDNIGHT | fields
        shown = value.replace(**fields)
        return shown - timedelta(days=shown.weekday()) if unit == "week" else shown

    def takes(self, type: str) -> bool:
        """Dates and moments.

        Raises
        ------
        PolicyError
            The unit would show a date as it is.
        """
        if trunk(type) == "DATE" and self.parameters["unit"] not in _OF_DATES:
            raise PolicyError(
                f"the mask `date_trunc` to the {self.parameters['unit']} hides nothing of a DATE",
                hint=f"Its units there are {', '.join(_OF_DATES)}.",
            )
        # A period that begins before the first nanosecond there is cannot be converted back, not even with TRY_CAST.
        return trunk(type) == "DATE" or (trunk(type).startswith("TIMESTAMP") and trunk(type) != "TIMESTAMP_NS")

    def branches(self, column: TemporalValue, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        import ibis

        first, last = (ibis.literal(text).cast(column.type()) for text in (_FIRST, _LAST))
        shown = column.truncate(_UNITS[self.parameters["unit"]][0]).cast(column.type())
        # Beyond these years a period's beginning may not exist; the engine's complaint would quote the date.
        return [((column >= first) & (column <= last), shown)], None
