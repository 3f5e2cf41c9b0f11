"""Plans that were made before, kept for whoever asks the same again.

A key says what was asked, by whom and how; what a plan was made from is in `query/kept.py`. Frames are never kept, nor
the values of parameters, except of those that a source was sent.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tauro_nb.security.principal import Principal

__all__ = ["PlanCache", "params_by_name", "plan_key", "same_values"]

_MOST_PLANS: Final = 128


class PlanCache:
    """The plans of one layer, the most recently used ones; safe to use from several threads.

    Parameters
    ----------
    most
        How many are kept.

    Examples
    --------
    >>> cache = PlanCache(most=1)
    >>> cache.put(None, "a plan without a key")
    >>> cache.put("k1", "one"), cache.put("k2", "two"), cache.get("k1"), cache.get("k2"), len(cache)
    (None, None, None, 'two', 1)
    """

    def __init__(self, most: int = _MOST_PLANS) -> None:
        self._most = most
        self._plans: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._plans)

    def get(self, key: Hashable | None) -> Any:
        """The plan kept under a key (`KeptPlan`), or None."""
        with self._lock:
            if key not in self._plans:
                return None
            self._plans.move_to_end(key)
            return self._plans[key]

    def put(self, key: Hashable | None, kept: Any) -> None:
        """Keep a plan in place of an older one; without a key, or without a plan, nothing."""
        if key is None or kept is None:
            return
        with self._lock:
            self._plans[key] = kept
            self._plans.move_to_end(key)
            while len(self._plans) > self._most:
                self._plans.popitem(last=False)

    def forget(self, tables: Sequence[str]) -> None:
        """Drop every plan that reads one of these tables."""
        gone = frozenset(tables)
        with self._lock:
            for key in [key for key, kept in self._plans.items() if gone.intersection(kept.plan.entries)]:
                del self._plans[key]

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._plans.clear()


def params_by_name(params: Mapping[str, Any] | Sequence[Any] | None) -> Mapping[str, Any]:
    """Parameters by name; those of a sequence are called `1`, `2`, ...

    >>> params_by_name(["a"])
    {'1': 'a'}
    """
    if params is None or isinstance(params, Mapping):
        return params or {}
    return {str(index): value for index, value in enumerate(params, start=1)}


def plan_key(
    source: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    frames: Mapping[str, Any] | None,
    limit: int | None,
    principal: Principal,
    *,
    pushdown: bool,
) -> Hashable | None:
    """Under what a plan is kept; None when it must not be.

    Of parameters the names count and what decides about their type. A query with frames has no key.

    >>> from tauro_nb.security.principal import Principal
    >>> ana = Principal.of("ana")
    >>> keys = [plan_key("SELECT :n", {"n": n}, None, None, ana, pushdown=True) for n in (1, 2, 2**40, object())]
    >>> keys[0] == keys[1], keys[0] == keys[2], keys[3]
    (True, False, None)
    """
    if frames:
        return None
    named = params is None or isinstance(params, Mapping)
    values = params_by_name(params)
    try:
        # A name that is not in the text may be that of a template: that it was given counts, and no more of it.
        forms = tuple((name, _form(values[name]) if not named or _names(source, name) else None) for name in values)
    except _NoForm:
        return None
    given = "values" if named else "positions"
    return (source, given, forms, limit, pushdown, principal.key)


def _names(text: str, name: str) -> bool:
    # Blanks and a quote may stand between the sign and the name; behind a comment it may be any name.
    return not name.isidentifier() or re.search(rf'[:$][\s"]*(?:{name}|--|/\*)', text) is not None


class _NoForm(Exception):
    """A value of a kind whose type could depend on anything."""


def _integer(value: int) -> Hashable:
    """DuckDB takes the narrowest type: INTEGER, BIGINT, HUGEINT, and what is wider."""
    return next((bits for bits in (31, 63, 127) if -(2**bits) <= value < 2**bits), 128)


def _listed(values: Sequence[Any]) -> Hashable:
    return tuple(dict.fromkeys(map(_form, values)))


# What of a value decides about its SQL type, beside its class. bool before int and datetime before date: subclasses.
_FORMS: Final[tuple[tuple[type, Callable[[Any], Hashable]], ...]] = (
    (bool, lambda _: None),
    (int, _integer),
    (float, lambda _: None),
    (decimal.Decimal, lambda value: (len(value.as_tuple().digits), value.as_tuple().exponent)),
    (str, lambda _: None),
    (bytes, lambda _: None),
    (dt.datetime, lambda value: value.tzinfo is None),
    (dt.date, lambda _: None),
    (dt.time, lambda value: value.tzinfo is None),
    (type(None), lambda _: None),
    (list, _listed),
    (tuple, _listed),
)


def _form(value: Any) -> Hashable:
    for kind, detail in _FORMS:
        if isinstance(value, kind):
            return type(value), detail(value)
    raise _NoForm


def same_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether these parameters are written alike; 0.0 and -0.0 are not.

    >>> same_values({"a": 0.0}, {"a": 0.0, "b": 1}), same_values({"a": 0.0}, {"a": -0.0})
    (True, False)
    """
    return all(repr(value) == repr(now[name]) for name, value in before.items())
