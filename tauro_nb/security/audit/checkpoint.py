"""A signed statement that a log had so many records, with this content, at this moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tauro_nb.security.audit.chain import canonical, stamp
from tauro_nb.security.audit.keys import AuditKeys, check_signature

__all__ = ["Checkpoint", "read_checkpoints"]

_LABEL = b"tauro audit checkpoint 1\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is signed: whoever holds one can tell later whether the log still begins the same.

    Parameters
    ----------
    log, segment
        Which log, and which of its segments.
    size, root
        Records of the segment that are covered, and their Merkle tree head (RFC 6962).
    sequence, mac
        Number and MAC of the last of them.
    time
        When it was signed.
    key, signature
        The public Ed25519 key, and its signature over everything else.

    Examples
    --------
    >>> keys = AuditKeys(bytes(32))
    >>> signed = Checkpoint("l", 1, 2, "00", 2, "ff").sign(keys)
    >>> signed.is_signed_by(keys.public), replace(signed, size=3).is_signed_by(keys.public)
    (True, False)
    """

    log: str
    segment: int
    size: int
    root: str
    sequence: int
    mac: str
    time: str = ""
    key: str = ""
    signature: str = ""

    def sign(self, keys: AuditKeys) -> Checkpoint:
        """The checkpoint with time, key and signature."""
        now = stamp(datetime.now(UTC))
        stamped = replace(self, time=now, key=keys.public, signature="")
        return replace(stamped, signature=keys.sign(stamped.message()))

    def is_signed_by(self, public: str) -> bool:
        """Whether the signature is that of this public key."""
        return self.key == public and check_signature(public, self.signature, self.message())

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def to_line(self) -> bytes:
        """As one line of JSON, to keep in a second place."""
        return canonical(self.to_dict()) + b"\n"

    def message(self) -> bytes:
        """What is signed."""
        return _LABEL + canonical({**self.to_dict(), "signature": ""})

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Checkpoint:
        """Read one from a record.

        Raises
        ------
        ValueError
            It is none.
        """
        try:
            values = {name: kind(record[name]) for name, kind in _MEMBERS.items()}
        except (KeyError, TypeError, ValueError):
            raise ValueError("this is no checkpoint") from None
        return cls(**values)


_MEMBERS = {
    "log": str, "segment": int, "size": int, "root": str, "sequence": int, "mac": str, "time": str, "key": str,
    "signature": str,
}  # fmt: skip


def read_checkpoints(content: bytes) -> list[Checkpoint]:
    """The checkpoints of a file, in its order; a line that broke off at the end does not count.

    Raises
    ------
    ValueError
        A line is no checkpoint.
    """
    lines = content.split(b"\n")[:-1]
    return [Checkpoint.of(json.loads(line)) for line in lines if line]
