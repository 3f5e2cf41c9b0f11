"""Everything that can be reached from an object, without running anything: attributes, items, closures, properties."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.query.plan import Sealed

__all__ = ["values_within"]

_PLAIN = (str, bytes, int, float, bool, type(None))
_CLOSED = (type, types.ModuleType, types.BuiltinFunctionType, Sealed, VirtualContext)
"""What is not looked into; the last two are the process itself, which Python can always reach (R34)."""


def values_within(root: Any) -> list[str]:
    """Every plain value below an object with the way to it, sorted; trees as SQL.

    >>> values_within({"a": [1, (None,)]})
    ["['a'][0]: 1", "['a'][1][0]: None"]
    """
    found: list[str] = []
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        way, value = stack.pop()
        if isinstance(value, _PLAIN):
            found.append(f"{way}: {value!r}")
        elif isinstance(value, exp.Expr):
            found.append(f"{way}: {value.sql('duckdb')} {sorted((value._meta or {}).items(), key=str)}")
        elif isinstance(value, (set, frozenset)):
            found.append(f"{way}: {sorted(map(str, value))}")
        elif id(value) not in seen and not isinstance(value, _CLOSED):
            seen.add(id(value))
            stack += ((f"{way}{step}", below) for step, below in _below(value))
    return sorted(found)


def _below(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{place}]", item) for place, item in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, types.FunctionType):
        yield from (("()", cell.cell_contents) for cell in value.__closure__ or ())
    else:
        yield from ((f".{name}", item) for name, item in getattr(value, "__dict__", {}).items())
        for cls in type(value).__mro__:
            slots = getattr(cls, "__slots__", ())
            yield from ((f".{name}", getattr(value, name)) for name in slots if hasattr(value, name))
            if cls.__module__.startswith("tauro_nb"):
                asked = (name for name, kind in vars(cls).items() if isinstance(kind, _ASKED))
                yield from ((f".{name}", getattr(value, name)) for name in asked)


_ASKED = (property, functools.cached_property)
