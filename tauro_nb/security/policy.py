"""What an administrator writes: who may read a table, which rows, and each column how.

The classes are mutable on purpose (`policy.field_policies["ssn"] = ...` after registration is part of the
product's contract); enforcement notices every change by comparing `signature()` before each decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from tauro_nb.errors import ConfigError, nearest

__all__ = ["AccessLevel", "FieldSecurityPolicy", "Operation", "TableSecurityPolicy"]


class AccessLevel(Enum):
    """How a column is protected from roles that are not in its `allowed_roles`."""

    UNRESTRICTED = "unrestricted"
    MASKED = "masked"
    ENCRYPTED = "encrypted"
    RESTRICTED = "restricted"


class Operation(Enum):
    """What is done to a table; virtual tables allow reading (`SELECT`, `EXPORT`) only."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    EXPORT = "export"


@dataclass
class FieldSecurityPolicy:
    """The rule for one column.

    Roles in `allowed_roles` see the column clear. Everybody else gets the strictest of what is asked for: denied
    (`RESTRICTED`, `ENCRYPTED`, `encryption_enabled`, or `allowed_roles` alone), masked (`MASKED`, `masking_enabled`,
    `mask`), clear (nothing asked for).

    Parameters
    ----------
    field_name
        The column.
    access_level
        See `AccessLevel`.
    masking_enabled
        Mask for roles that are not allowed.
    mask
        `email`, `phone`, `ssn`, `constant` or `null`; chosen by the column's name when not given.
    mask_value
        The value of the `constant` mask.
    encryption_enabled
        The column is meant to be encrypted. Encrypted results do not exist yet, so the column is denied, with
        the reason "encrypted for ...", to roles that are not allowed, and clear for those that are.
    allowed_roles
        Roles (or principal names) that see the column clear.

    Examples
    --------
    >>> FieldSecurityPolicy("email", masking_enabled=True, allowed_roles=["admin"]).access_level
    <AccessLevel.UNRESTRICTED: 'unrestricted'>
    """

    field_name: str
    access_level: AccessLevel = AccessLevel.UNRESTRICTED
    masking_enabled: bool = False
    mask: str | None = None
    mask_value: Any = None
    encryption_enabled: bool = False
    allowed_roles: list[str] = field(default_factory=list)

    def signature(self) -> tuple[Any, ...]:
        """Everything that decides, as a value that can be compared and hashed."""
        value = self.mask_value
        return (
            self.field_name,
            self.access_level,
            self.masking_enabled,
            self.mask,
            None if value is None else repr(value),
            self.encryption_enabled,
            tuple(self.allowed_roles),
        )

    @classmethod
    def from_mapping(
        cls, field_name: str, raw: Any, *, mistakes: list[str] | None = None, path: str | None = None
    ) -> FieldSecurityPolicy:
        """Read one entry of `field_policies`; see `TableSecurityPolicy.from_mapping`."""
        found: list[str] = []
        where = path or field_name
        values = _read(raw, _FIELD_READERS, where, found)
        values.pop("field_name", None)
        policy = cls(field_name, **values)
        _report(found, mistakes)
        return policy


@dataclass
class TableSecurityPolicy:
    """The rules for one table.

    Parameters
    ----------
    table_name
        The virtual table, in any case.
    allowed_roles
        Roles (or principal names) that may read it; empty: everybody.
    row_level_filters
        Role or principal name -> SQL condition; `""` is no restriction. Several that match are OR-ed. When there
        are filters and none matches, nothing may be read. `{principal}` and `{principal.attribute}` are values.
    field_policies
        Column -> rule.
    audit_all_access
        Record every access, not only denials.
    requires_encryption
        Every column is treated as encrypted: clear only for roles that the column's own field policy allows,
        denied to the rest, and denied to everybody where the column has no field policy.

    Examples
    --------
    >>> policy = TableSecurityPolicy("customers", row_level_filters={"analyst": "department = 'Sales'"})
    >>> before = policy.content_hash
    >>> policy.field_policies["ssn"] = FieldSecurityPolicy("ssn", masking_enabled=True)
    >>> policy.content_hash == before
    False
    """

    table_name: str
    allowed_roles: list[str] = field(default_factory=list)
    row_level_filters: dict[str, str] = field(default_factory=dict)
    field_policies: dict[str, FieldSecurityPolicy] = field(default_factory=dict)
    audit_all_access: bool = True
    requires_encryption: bool = False

    def signature(self) -> tuple[Any, ...]:
        """Everything that decides, as a value that can be compared and hashed."""
        return (
            self.table_name,
            tuple(self.allowed_roles),
            tuple(self.row_level_filters.items()),
            # The inner tuple is taken in one step, so that another thread may add a rule meanwhile.
            tuple((name, rule.signature()) for name, rule in tuple(self.field_policies.items())),
            self.audit_all_access,
            self.requires_encryption,
        )

    @property
    def content_hash(self) -> str:
        """A digest of the rules: equal for equal rules, in any order of writing."""
        rules = (
            self.table_name.casefold(),
            sorted(self.allowed_roles),
            sorted(self.row_level_filters.items()),
            sorted((name, *_sorted_roles(rule)) for name, rule in self.field_policies.items()),
            self.audit_all_access,
            self.requires_encryption,
        )
        return hashlib.sha256(repr(rules).encode("utf-8", "backslashreplace")).hexdigest()

    @classmethod
    def from_mapping(
        cls, table_name: str, raw: Any, *, mistakes: list[str] | None = None, path: str | None = None
    ) -> TableSecurityPolicy:
        """Read one entry of the `security_policies` section.

        Parameters
        ----------
        table_name
            The key of the entry.
        raw
            Its value.
        mistakes
            Mistakes are appended here, each with its path; without it they are raised together.
        path
            Where the entry stands; default `security_policies.<table_name>`.

        Examples
        --------
        >>> raw = {"allowed_roles": ["admin"], "field_policies": {"ssn": {"access_level": "restricted"}}}
        >>> TableSecurityPolicy.from_mapping("customers", raw).field_policies["ssn"].access_level.name
        'RESTRICTED'
        >>> TableSecurityPolicy.from_mapping("customers", {"allowed_rolls": []})
        Traceback (most recent call last):
        ...
        tauro_nb.errors.ConfigError: security policy: 1 mistake
          - security_policies.customers.allowed_rolls: unknown key. Did you mean `allowed_roles`?
        """
        found: list[str] = []
        where = path or f"security_policies.{table_name}"
        values = _read(raw, _TABLE_READERS, where, found)
        values.pop("table_name", None)
        columns = values.pop("field_policies", {})
        policy = cls(table_name, **values)
        for name, rule in columns.items():
            policy.field_policies[name] = FieldSecurityPolicy.from_mapping(
                name, rule, mistakes=found, path=f"{where}.field_policies.{name}"
            )
        _report(found, mistakes)
        return policy


def _sorted_roles(rule: FieldSecurityPolicy) -> tuple[str, ...]:
    *rest, roles = rule.signature()
    return (*map(repr, rest), repr(sorted(roles)))


def _report(found: list[str], mistakes: list[str] | None) -> None:
    if mistakes is not None:
        mistakes.extend(found)
    elif found:
        raise ConfigError(found, origin="security policy")


def _read(raw: Any, readers: Mapping[str, Any], where: str, found: list[str]) -> dict[str, Any]:
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


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a text, found {type(value).__name__}")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, found {type(value).__name__}")


def _roles(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a list of role names")
    return list(items)


def _filters(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(role, str) for role in value):
        raise ValueError("expected a mapping of role to SQL condition")
    if not all(isinstance(text, str) for text in value.values()):
        # `analyst:` with nothing behind it is null in YAML; guessing "unrestricted" would open the table.
        raise ValueError('every condition must be a text; write "" for no restriction')
    return dict(value)


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


_TABLE_READERS: Mapping[str, Any] = {
    "table_name": _text,
    "allowed_roles": _roles,
    "row_level_filters": _filters,
    "field_policies": _mapping,
    "audit_all_access": _flag,
    "requires_encryption": _flag,
}
_FIELD_READERS: Mapping[str, Any] = {
    "field_name": _text,
    "access_level": _level,
    "masking_enabled": _flag,
    "mask": _text,
    "mask_value": lambda value: value,
    "encryption_enabled": _flag,
    "allowed_roles": _roles,
}
assert set(_TABLE_READERS) == {item.name for item in fields(TableSecurityPolicy)}
assert set(_FIELD_READERS) == {item.name for item in fields(FieldSecurityPolicy)}
