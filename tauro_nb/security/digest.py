"""What a policy says, as one value: equal for equal rules, in whatever order they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

__all__ = ["canonical", "content_hash", "frozen"]

# Lists whose order says nothing.
_SETS = frozenset({"allowed_roles", "denied_roles", "purposes"})


def content_hash(policy: Any) -> str:
    """A digest of a policy or of a list of them."""
    return hashlib.sha256(repr(canonical(policy)).encode("utf-8", "backslashreplace")).hexdigest()


def canonical(value: Any) -> Any:
    """A value whose `repr` is the same for equal rules.

    Examples
    --------
    >>> canonical({"b": 1, "a": True}) == canonical({"a": True, "b": 1})
    True
    >>> canonical(1) == canonical(True)
    False
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return ("map", *sorted((str(key), canonical(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", *(canonical(item) for item in value))
    if hasattr(value, "__dataclass_fields__"):
        return (type(value).__name__, *(_field(value, item.name) for item in fields(value)))
    return repr(value)


def _field(policy: Any, name: str) -> Any:
    value = getattr(policy, name)
    if name in _SETS:
        return (name, sorted(map(str, value)))
    # Names of tables, columns and tags do not depend on case.
    return (name, value.casefold() if name in ("table_name", "tag") and isinstance(value, str) else canonical(value))


def frozen(value: Any) -> Any:
    """A mutable value as one that can be compared; cheap where there is nothing."""
    return repr(value) if value else None
