"""One record as one line: canonical JSON whose last member is the HMAC over all of it and the record before."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Final

__all__ = ["Fixed", "canonical", "mac_of", "plain", "seal", "unseal"]

_NAME: Final = b',"mac":"'
_HEX: Final = 64
_TAIL: Final = len(_NAME) + _HEX + len(b'"}')


_ENCODER: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Fixed:
    """A member that many records have, written once.

    >>> canonical({"a": Fixed.of({"c": 1, "b": 2})})
    b'{"a":{"b":2,"c":1}}'
    """

    value: Any
    text: str

    @classmethod
    def of(cls, value: Any) -> Fixed:
        """A value, and how it is written."""
        return cls(value, _ENCODER.encode(value))


def canonical(record: Mapping[str, Any]) -> bytes:
    r"""The one way to write a record: sorted members, no blanks, printable ASCII.

    Examples
    --------
    >>> canonical({"b": "\n\x7f", "a": [1]})
    b'{"a":[1],"b":"\\n\\u007f"}'
    """
    # Member by member: the encoder as a whole takes longer to begin than most values take.
    text = ",".join(f"{encode_basestring_ascii(name)}:{_written(value)}" for name, value in sorted(record.items()))
    # What is escaped is control characters and line separators, but not DEL.
    return f"{{{text}}}".replace("\x7f", "\\u007f").encode("ascii")


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose members are values only."""
    return {name: value.value if isinstance(value, Fixed) else value for name, value in record.items()}


def _written(value: Any) -> str:
    if isinstance(value, Fixed):
        return value.text
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    return str(value) if kind is int else _ENCODER.encode(value)


def seal(key: bytes, record: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line of a record, and its MAC; the record names that of the one before it as `prev`.

    Examples
    --------
    >>> line, mac = seal(b"k", {"prev": "", "seq": 1})
    >>> unseal(b"k", line) == {"prev": "", "seq": 1, "mac": mac}
    True
    >>> unseal(b"k", line.replace(b"1", b"2", 1)) is None
    True
    """
    body = canonical(record)
    mac = hmac.digest(key, body, "sha256").hex()
    return body[:-1] + _NAME + mac.encode("ascii") + b'"}', mac


def mac_of(line: bytes) -> str:
    """The MAC a line claims; empty when it is no record."""
    whole = len(line) > _TAIL and line[-_TAIL:].startswith(_NAME) and line.endswith(b'"}')
    return line[-_HEX - 2 : -2].decode("ascii", "replace") if whole else ""


def unseal(key: bytes, line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None when it is not as it was written."""
    mac = mac_of(line)
    body = line[:-_TAIL] + b"}"
    if not mac or not hmac.compare_digest(hmac.digest(key, body, "sha256").hex().encode(), mac.encode()):
        return None
    record: dict[str, Any] = json.loads(line)
    return record
