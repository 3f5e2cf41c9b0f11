"""What a request brings along, taken down once as Python's own values, before anything is decided by it.

A value of a class of one's own answers as it likes: it may pass a check as one text and be written into SQL as another.
"""

from __future__ import annotations

import datetime as dt
import decimal
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["plain", "plain_frames", "plain_limit", "plain_params"]

_DAY: Final = ("year", "month", "day")
_CLOCK: Final = ("hour", "minute", "second", "microsecond")


def _parts(kind: type, value: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(kind, name).__get__(value) for name in names}


def _zone(offset: dt.timedelta | None) -> dt.timezone | None:
    return None if offset is None else dt.timezone(dt.timedelta(seconds=dt.timedelta.total_seconds(offset)))


def _date(value: dt.date) -> dt.date:
    return dt.date(**_parts(dt.date, value, _DAY))


def _datetime(value: dt.datetime) -> dt.datetime | None:
    # The "not a time" of pandas is a datetime that equals nothing, itself neither.
    if value != value:  # noqa: PLR0124
        return None
    parts = {**_parts(dt.date, value, _DAY), **_parts(dt.datetime, value, (*_CLOCK, "fold"))}
    return dt.datetime(**parts, tzinfo=_zone(dt.datetime.utcoffset(value)))


def _time(value: dt.time) -> dt.time:
    parts = _parts(dt.time, value, (*_CLOCK, "fold"))
    return dt.time(**parts, tzinfo=_zone(dt.time.utcoffset(value)))


# Each by what its class cannot override. bool before int and datetime before date: both are subclasses.
_FORMS: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (bool, lambda value: value),
    (int, lambda value: int.__add__(value, 0)),
    (float, float.__pos__),
    (decimal.Decimal, decimal.Decimal),
    (str, str.__str__),
    (bytes, lambda value: bytes(memoryview(value))),
    (dt.datetime, _datetime),
    (dt.date, _date),
    (dt.time, _time),
    (list, lambda value: [plain(item) for item in value]),
    (tuple, lambda value: tuple(plain(item) for item in value)),
    (dict, lambda value: {plain(name): plain(item) for name, item in value.items()}),
)


def plain(value: Any) -> Any:
    """The same value as one of Python's own classes; what has no such class, as it is.

    Examples
    --------
    >>> class Sly(str):
    ...     def replace(self, *_):
    ...         return "' OR TRUE --"
    >>> type(plain(Sly("it's"))), type(plain([Sly("a")])[0]), plain(Sly("it's")).replace("'", "''")
    (<class 'str'>, <class 'str'>, "it''s")
    """
    if hasattr(value, "item") and hasattr(value, "dtype") and not getattr(value, "shape", None):  # a NumPy scalar
        value = value.item()
    return next((take(value) for kind, take in _FORMS if isinstance(value, kind)), value)


class _Taken(Mapping[str, Any]):
    """Parameters by name: each is taken down when it is first looked at; what no query names is left alone."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._taken: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._taken:
            self._taken[name] = plain(self._given[name])
        return self._taken[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __bool__(self) -> bool:
        return bool(self._given)


def plain_params(params: object) -> Mapping[str, Any] | list[Any] | None:
    """The parameters of a request, by name or by position.

    Raises
    ------
    UsageError
        They are neither.
    """
    if params is None:
        return None
    if isinstance(params, Mapping):
        return _Taken(params)
    try:
        items = iter(params)  # type: ignore[call-overload]  # what has no order is no list
    except TypeError:
        items = None
    if items is not None:
        return [plain(value) for value in items]
    raise UsageError(
        f"parameters are a mapping of names, or a list, not {type(params).__name__}.", hint='Write params={"n": 1}.'
    )


def plain_frames(frames: object) -> dict[str, pa.Table]:
    """The tables that a request brings along, read once from what is none but gives Arrow, by name.

    Raises
    ------
    UsageError
        One gives no Arrow, or has no name.
    """
    if not frames:
        return {}
    if not isinstance(frames, Mapping):
        raise UsageError(f"frames are a mapping of names, not {type(frames).__name__}.")
    import pyarrow as pa

    found: dict[str, pa.Table] = {}
    for name, frame in frames.items():
        if not isinstance(name, str) or not name:
            raise UsageError("a frame is named by a text that is not empty.")
        if not hasattr(frame, "__arrow_c_stream__"):
            raise UsageError(f"frame `{plain(name)}` is a {type(frame).__name__}, not an Arrow table.")
        found[plain(name)] = frame if isinstance(frame, pa.Table) else pa.table(frame)
    return found


def plain_limit(limit: int | None) -> int | None:
    """The limit of a request.

    Raises
    ------
    UsageError
        It is no whole number, or negative.
    """
    if limit is None:
        return None
    try:
        number: int = plain(operator.index(limit))
    except TypeError:
        raise UsageError(f"a limit is a whole number, not {type(limit).__name__}.") from None
    if number < 0:
        raise UsageError(f"limit is {number}; it must be 0 or more.")
    return number
