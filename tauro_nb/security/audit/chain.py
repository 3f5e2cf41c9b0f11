"""One record as one line: canonical JSON whose last member is the HMAC over all of it and the record before."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any, Final

__all__ = ["Fixed", "canonical", "keyed", "mac", "mac_of", "plain", "seal", "unseal"]

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
    return f"{{{_members(record)}}}".replace("\x7f", "\\u007f").encode("ascii")


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose members are values only."""
    return {name: value.value if isinstance(value, Fixed) else value for name, value in record.items()}


def _members(record: Mapping[str, Any]) -> str:
    # By hand as far as records go: the library's encoder takes longer to begin than most values take.
    return ",".join(
        [
            f"{encode_basestring_ascii(name)}:{value.text if type(value := record[name]) is Fixed else _written(value)}"
            for name in sorted(record)
        ]
    )


def _written(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is int or (kind is float and isfinite(value)):
        return repr(value)
    if kind is dict and all(type(name) is str for name in value):
        return f"{{{_members(value)}}}"
    if kind is tuple or kind is list:
        return f"[{','.join(map(_written, value))}]"
    return _ENCODER.encode(value)


def keyed(key: bytes) -> hmac.HMAC:
    """The MAC of nothing yet under a key: copied for each record, because to begin one takes longer than a record."""
    return hmac.new(key, digestmod="sha256")


def mac(begun: hmac.HMAC, body: bytes) -> str:
    """The MAC of some bytes, as hexadecimal text.

    >>> mac(keyed(b"k"), b"body") == hmac.digest(b"k", b"body", "sha256").hex()
    True
    """
    code = begun.copy()
    code.update(body)
    return code.hexdigest()


def seal(begun: hmac.HMAC, record: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line of a record, and its MAC; the record names that of the one before it as `prev`.

    Parameters
    ----------
    begun
        What `keyed` gave for the key of the chain.

    Examples
    --------
    >>> line, mac = seal(keyed(b"k"), {"prev": "", "seq": 1})
    >>> unseal(keyed(b"k"), line) == {"prev": "", "seq": 1, "mac": mac}
    True
    >>> unseal(keyed(b"k"), line.replace(b"1", b"2", 1)) is None
    True
    """
    body = canonical(record)
    code = mac(begun, body)
    return body[:-1] + _NAME + code.encode("ascii") + b'"}', code


def mac_of(line: bytes) -> str:
    """The MAC a line claims; empty when it is no record."""
    whole = len(line) > _TAIL and line[-_TAIL:].startswith(_NAME) and line.endswith(b'"}')
    return line[-_HEX - 2 : -2].decode("ascii", "replace") if whole else ""


def unseal(begun: hmac.HMAC, line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None when it is not as it was written."""
    claimed = mac_of(line)
    body = line[:-_TAIL] + b"}"
    if not claimed or not hmac.compare_digest(mac(begun, body).encode(), claimed.encode()):
        return None
    record: dict[str, Any] = json.loads(line)
    return record
