"""Who is asking: a name, the roles it holds, its tenant, its purpose, and attributes that conditions may use."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tauro_nb.errors import AccessDenied, UsageError

__all__ = ["EVERYBODY", "PURPOSE", "TENANT", "Principal"]

EVERYBODY = "*"
"""In the place of a role: whoever it is."""

TENANT, PURPOSE = "{tenant}", "{purpose}"
"""What `Principal.value_of` calls the two slots that are no attributes; no attribute can have such a name."""

_SCALARS = (str, bool, int, float, Decimal, date, datetime, time, UUID, type(None))
_SEQUENCES = (list, tuple, set, frozenset)
# Control characters forge log lines; format characters (zero width, bidi) make two names look like one.
_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_LONGEST_NAME = 512


@dataclass(frozen=True, slots=True)
class Principal:
    """One identity, immutable; `key` tells two apart in every cache.

    Parameters
    ----------
    name
        Who it is; takes part in rules like a role of the same name.
    roles
        The roles it holds; kept as a frozenset.
    attributes
        Values for `{principal.attribute}` in conditions: scalars, or lists of scalars (after `IN`).
    tenant
        Whose data it may meet at all: `{tenant}` in conditions, and what `tenant_column` is compared with.
    purpose
        What for it asks: `{purpose}` in conditions, and what a policy's `purposes` are compared with.

    Raises
    ------
    AccessDenied
        The name, a role, the tenant or the purpose is empty or holds control characters.

    Examples
    --------
    >>> Principal("ana", roles={"analyst"}, attributes={"region": "EU"}).identities == {"ana", "analyst"}
    True
    """

    name: str
    roles: AbstractSet[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tenant: str | None = None
    purpose: str | None = None
    identities: frozenset[str] = field(init=False, repr=False, compare=False)
    key: tuple[Any, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_name(self.name, "a principal's name")
        held = frozenset(_check_name(role, "a role") for role in _listed(self.roles))
        for value, what in ((self.tenant, "a tenant"), (self.purpose, "a purpose")):
            if value is not None:
                _check_name(value, what)
        attributes = {name: _freeze(name, value) for name, value in (self.attributes or {}).items()}
        put = object.__setattr__
        put(self, "roles", held)
        put(self, "attributes", MappingProxyType(attributes))
        put(self, "identities", held | {self.name})
        # repr keeps 1, 1.0 and True apart, which `==` does not.
        values = tuple(sorted((name, repr(value)) for name, value in attributes.items()))
        put(self, "key", (self.name, held, values, self.tenant, self.purpose))

    def __hash__(self) -> int:
        return hash(self.key)

    def matches(self, roles: Iterable[str]) -> bool:
        """Whether one of these roles is its own, its name, or `*`.

        Examples
        --------
        >>> ana = Principal("ana", {"analyst"})
        >>> ana.matches(["analyst"]), ana.matches(["ana"]), ana.matches(["*"]), ana.matches(["admin"])
        (True, True, True, False)
        """
        return any(role in self.identities or role == EVERYBODY for role in roles)

    def value_of(self, slot: str | None) -> Any:
        """The value for a slot of a condition: its name for None, its tenant, its purpose, or an attribute.

        Raises
        ------
        AccessDenied
            It has none.

        Examples
        --------
        >>> Principal("ana", tenant="acme").value_of(TENANT)
        'acme'
        """
        if slot is None:
            return self.name
        own = {TENANT: self.tenant, PURPOSE: self.purpose}
        value = own[slot] if slot in own else self.attributes.get(slot)
        if value is None:
            what = slot.strip("{}") if slot in own else f"attribute `{slot}`"
            raise AccessDenied(f"`{self.name}` has no {what}, which the rules of this table need")
        return value

    @classmethod
    def of(cls, who: str | Principal | None) -> Principal:
        """Take a principal as it is; a plain string is name and role both.

        Examples
        --------
        >>> Principal.of("analyst").roles
        frozenset({'analyst'})
        """
        if isinstance(who, Principal):
            return who
        name = _check_name(who, "a principal's name")
        return cls(name, frozenset({name}))


def _check_name(name: object, what: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise AccessDenied(f"{what} must be a text that is not empty: nobody in particular may see nothing")
    if len(name) > _LONGEST_NAME:
        raise AccessDenied(f"{what} may have {_LONGEST_NAME} characters, this one has {len(name)}")
    if any(unicodedata.category(character) in _FORBIDDEN for character in name):
        raise AccessDenied(f"{what} may not hold control or invisible characters")
    return name


def _listed(roles: object) -> Iterable[object]:
    # A lone string would otherwise become one role per letter.
    if isinstance(roles, str):
        return (roles,)
    return roles if isinstance(roles, Iterable) else ()


def _freeze(name: str, value: Any) -> Any:
    if isinstance(value, _SEQUENCES):
        items = value if isinstance(value, (list, tuple)) else sorted(value, key=repr)
        return tuple(_freeze(name, item) for item in items)
    if not isinstance(value, _SCALARS):
        raise UsageError(f"attribute `{name}` is a {type(value).__name__}; attributes are scalars or lists of scalars")
    return value
