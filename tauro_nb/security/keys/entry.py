"""One key of a keyset: what it is for, whose it is, and whether it may still be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from tauro_nb.errors import KeysetError, UsageError

__all__ = ["PURPOSES", "STATES", "Key", "Purpose", "Slot", "State", "is_name", "prefixed"]

Purpose = Literal["gcm", "siv", "hmac", "audit"]
State = Literal["pending", "primary", "decrypt_only", "destroyed"]
PURPOSES: Final[Mapping[str, int]] = {"gcm": 32, "siv": 64, "hmac": 32, "audit": 32}
"""Purpose -> bytes of a key. Keys of different purposes are never derived from one another."""
STATES: Final[tuple[str, ...]] = get_args(State)
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{0,200}")


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """Who uses a key for what: keys are shared only within a slot.

    Parameters
    ----------
    purpose
        `gcm`, `siv` (field encryption), `hmac` (masks) or `audit`.
    tenant
        Whose data; empty for data of no tenant.
    domain
        Columns that share the key; empty for what is not about columns.
    """

    purpose: str
    tenant: str = ""
    domain: str = ""

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES:
            raise UsageError(f"a key is for {', '.join(PURPOSES)}, not for {self.purpose!r}")
        for name in (self.tenant, self.domain):
            if not is_name(name):
                raise UsageError("the name of a tenant or domain has control characters, or more than 200 characters")

    def __str__(self) -> str:
        parts = [self.purpose, *(f"{label} `{name}`" for label, name in self._named() if name)]
        return " ".join(parts)

    def _named(self) -> tuple[tuple[str, str], ...]:
        return (("tenant", self.tenant), ("domain", self.domain))


@dataclass(slots=True)
class Key:
    """A key and its life. `material` is empty once it is destroyed.

    Parameters
    ----------
    id
        32 bits, in the head of every ciphertext.
    slot
        Who uses it for what.
    state
        `pending`: decrypts, so that every process can learn of it before any uses it. `primary`: encrypts.
        `decrypt_only`: its time is over. `destroyed`: what it encrypted is lost.
    created
        When, in UTC, as ISO text.
    used
        How many values it encrypted at most; see `KeyRing.count`.
    """

    id: int
    slot: Slot
    state: str
    created: str
    used: int = 0
    material: bytes = field(default=b"", repr=False)

    @property
    def hex(self) -> str:
        """The id as people see it.

        >>> Key(255, Slot("gcm"), "primary", "").hex
        '000000ff'
        """
        return f"{self.id:08x}"

    @property
    def live(self) -> bool:
        """Whether it still opens what it closed."""
        return self.state != "destroyed"

    def context(self) -> bytes:
        """What the lock around the key vouches for: an entry of the file cannot pass as another."""
        return prefixed([b"tauro/dek/1", self.id.to_bytes(4), *(part.encode() for part in self._names())])

    def _names(self) -> tuple[str, str, str]:
        return self.slot.purpose, self.slot.tenant, self.slot.domain

    def to_mapping(self, wrapped: str) -> dict[str, Any]:
        """The entry as the file has it."""
        purpose, tenant, domain = self._names()
        return {
            "id": self.hex,
            "purpose": purpose,
            "tenant": tenant,
            "domain": domain,
            "state": self.state,
            "created": self.created,
            "used": self.used,
            "wrapped": wrapped,
        }

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> Key:
        """Read an entry, without its material."""
        try:
            slot = Slot(str(raw["purpose"]), str(raw["tenant"]), str(raw["domain"]))
            key = cls(int(raw["id"], 16), slot, str(raw["state"]), str(raw["created"]), int(raw["used"]))
        except (KeyError, TypeError, ValueError):
            raise KeysetError("the keyset has an entry that is damaged.") from None
        if key.state not in STATES or not 0 < key.id < 2**32 or key.used < 0:
            raise KeysetError("the keyset has an entry that is damaged.")
        return key


def is_name(text: str) -> bool:
    r"""Whether a tenant or domain can be called that: up to 200 characters, no control characters.

    >>> is_name("people.ssn"), is_name("a\nb")
    (True, False)
    """
    return _NAME.fullmatch(text) is not None


def prefixed(parts: list[bytes]) -> bytes:
    """Parts with their lengths before them: `ab, c` and `a, bc` stay apart.

    >>> prefixed([b"ab", b"c"]) == prefixed([b"a", b"bc"])
    False
    """
    return b"".join(len(part).to_bytes(4) + part for part in parts)
