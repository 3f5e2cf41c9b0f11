"""Read policies from what a YAML file holds: every key checked, every mistake with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tauro_nb.errors import ConfigError, PolicyError, nearest
from tauro_nb.security.levels import AccessLevel

__all__ = [
    "FIELD_READERS", "MASK_READERS", "TABLE_READERS", "TAG_READERS", "as_read", "read_values", "report",
    "report_empty_list",
]  # fmt: skip

_HIDING = frozenset({"access_level", "masking_enabled", "mask", "encryption_enabled", "role_masks", "denied_roles"})


def report(found: list[str], mistakes: list[str] | None) -> None:
    """Hand mistakes to whoever collects them, or raise them together."""
    if mistakes is not None:
        mistakes.extend(found)
    elif found:
        raise ConfigError(found, origin="security policy")


def read_values(raw: Any, readers: Mapping[str, Any], where: str, found: list[str]) -> dict[str, Any]:
    """Check keys and values against `readers`; what is wrong goes to `found` and is left out."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        found.append(f"{where}: expected a mapping, found {type(raw).__name__}")
        return {}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        reader = readers.get(key) if isinstance(key, str) else None
        if reader is None:
            found.append(f"{where}.{key}: unknown key.{nearest(str(key), readers)}")
            continue
        try:
            values[key] = reader(value)
        except ValueError as wrong:
            found.append(f"{where}.{key}: {wrong}")
    return values


def report_empty_list(values: Mapping[str, Any], where: str, found: list[str]) -> None:
    """Report a rule of a column that names nobody and hides nothing: who took the last role out meant to close it."""
    if values.get("allowed_roles") == [] and not values.keys() & _HIDING:
        found.append(f"{where}.allowed_roles: an empty list alone closes nothing; write `access_level: restricted`")


def as_read(policy: Any, readers: Mapping[str, Any], what: str) -> None:
    """Give a policy that Python made the values that it would have from a file: one role is a list of one.

    Raises
    ------
    PolicyError
        A value is none that a file could give. A text where roles are asked for would be a list of its letters.
    """
    for item in fields(policy):
        value = getattr(policy, item.name)
        if value is None and item.default is None:
            continue
        if item.default_factory in (list, dict) and value == item.default_factory():
            # What nobody gave; in a file, what is empty is something that somebody wrote.
            continue
        try:
            setattr(policy, item.name, readers[item.name](value))
        except ValueError as wrong:
            raise PolicyError(f"{what}: `{item.name}`: {wrong}") from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a text, found {type(value).__name__}")


def _mask_name(value: Any) -> str:
    if value is None:
        raise ValueError('this is how YAML writes nothing; the mask is `"null"`, in quotes')
    return _text(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, found {type(value).__name__}")


def _roles(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    listed = isinstance(items, (list, tuple, set, frozenset))
    if not listed or not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a list of role names")
    return sorted(items) if isinstance(items, (set, frozenset)) else list(items)


def _some_roles(value: Any) -> list[str]:
    roles = _roles(value)
    if not roles:
        # Whoever takes the last role out of the list means to close the table.
        raise ValueError(
            'an empty list would let everybody in; write ["*"] for that, or `denied_roles: ["*"]` for nobody'
        )
    return roles


def _filters(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(role, str) for role in value):
        raise ValueError("expected a mapping of role to SQL condition")
    if not all(isinstance(text, str) for text in value.values()):
        # `analyst:` with nothing behind it is null in YAML; guessing "unrestricted" would open the table.
        raise ValueError('every condition must be a text; write "" for no restriction')
    return dict(value)


def _some_filters(value: Any) -> dict[str, str]:
    filters = _filters(value)
    if not filters:
        raise ValueError('an empty mapping would show all rows to everybody; leave it out for that, or write {"*": ""}')
    return filters


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("expected a mapping of column to policy")
    return dict(value)


def _level(value: Any) -> AccessLevel:
    if isinstance(value, AccessLevel):
        return value
    levels = {level.value: level for level in AccessLevel}
    found = levels.get(value.casefold()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not one of {', '.join(levels)}.{nearest(str(value), levels)}")
    return found


def _word(*words: str) -> Any:
    def read(value: Any) -> str:
        if value in words:
            return str(value)
        raise ValueError(f"{value!r} is not one of {', '.join(words)}.{nearest(str(value), words)}")

    return read


def _role_masks(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(role, str) and role for role in value):
        raise ValueError("expected a mapping of role to mask")
    return {role: _role_mask(role, raw) for role, raw in value.items()}


def _role_mask(role: str, raw: Any) -> dict[str, Any]:
    """`{mask: ..., mask_value: ..., mask_options: ..., when: ...}`, or just the mask's name."""
    found: list[str] = []
    values = read_values({"mask": raw} if isinstance(raw, str) else raw, MASK_READERS, role, found)
    if found:
        raise ValueError("; ".join(found))
    if not values:
        raise ValueError(f"{role}: say which mask")
    return values


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("expected a mapping of option to value")
    return dict(value)


def _identity(value: Any) -> Any:
    return value


MASK_READERS: Mapping[str, Any] = {
    "mask": _mask_name,
    "mask_value": _identity,
    "mask_options": _options,
    "when": _text,
}
TABLE_READERS: Mapping[str, Any] = {
    "table_name": _text,
    "allowed_roles": _some_roles,
    "row_level_filters": _some_filters,
    "field_policies": _mapping,
    "audit_all_access": _flag,
    "requires_encryption": _flag,
    "restrictive_filters": _filters,
    "denied_roles": _roles,
    "purposes": _roles,
    "tenant_column": _text,
    "tenant_optional": _flag,
    "run_as": _text,
    "barrier": _word("leakproof", "strict"),
}
_RULE_READERS: Mapping[str, Any] = {
    "access_level": _level,
    "masking_enabled": _flag,
    "mask": _mask_name,
    "mask_value": _identity,
    "encryption_enabled": _flag,
    "allowed_roles": _roles,
    "mask_options": _options,
    "when": _text,
    "role_masks": _role_masks,
    "denied_roles": _roles,
    "encrypted_at": _word("result", "source"),
    "searchable": _word("equality"),
    "domain": _text,
}
FIELD_READERS: Mapping[str, Any] = {"field_name": _text, **_RULE_READERS}
TAG_READERS: Mapping[str, Any] = {"tag": _text, **_RULE_READERS}
