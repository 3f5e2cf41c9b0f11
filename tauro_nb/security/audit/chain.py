"""One record as one line: canonical JSON whose last member is the HMAC over all of it and the record before."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any, Final

__all__ = ["Filled", "Fixed", "Form", "Keyed", "canonical", "linked", "mac_of", "plain", "seal", "stamp", "unseal"]

_VERSION: Final = 1
# Members that only the log itself knows: they chain a record to the one before it.
_LINK: Final = {"prev": '"prev":"%s"', "seq": '"seq":%d', "v": f'"v":{_VERSION}'}
_NAME: Final = b',"mac":"'
_HEX: Final = 64
_BLOCK: Final = 64
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
        return cls(value, _written(value))


class Form:
    """How records are written that have most members in common: those once, the open ones for each.

    Parameters
    ----------
    fixed
        Members that all of them have.
    names
        Open members, all of which every record has; what links it to the one before it is always open.

    Examples
    --------
    >>> form = Form({"b": "100 %"}, ["c", "a"])
    >>> linked(Filled(form, {"a": 1, "c": 2}), 7, "ff")
    b'{"a":1,"b":"100 %","c":2,"prev":"ff","seq":7,"v":1}'
    """

    __slots__ = ("_names", "_places", "_text", "fixed")

    def __init__(self, fixed: Mapping[str, Any], names: Iterable[str]) -> None:
        self.fixed = dict(fixed)
        self._names = sorted(names)
        known = {name: _member(name, value).replace("%", "%%") for name, value in fixed.items()}
        opened = {name: f"{encode_basestring_ascii(name).replace('%', '%%')}:%s" for name in self._names}
        self._text = f"{{{','.join([text for _, text in sorted({**known, **opened, **_LINK}.items())])}}}"
        every = sorted([*self._names, "prev", "seq"])
        self._places = every.index("prev"), every.index("seq")

    def linked(self, values: Mapping[str, Any], sequence: int, previous: str) -> str:
        """A record as it is written at its place of the log."""
        members: list[Any] = [_written(values[name]) for name in self._names]
        # In this order: each then stands where it belongs among all of them.
        members.insert(self._places[0], previous)
        members.insert(self._places[1], sequence)
        return self._text % tuple(members)


class Filled:
    """A record of a form: the values of its open members."""

    __slots__ = ("form", "values")

    def __init__(self, form: Form, values: Mapping[str, Any]) -> None:
        self.form = form
        self.values = values


def linked(record: Mapping[str, Any] | Filled, sequence: int, previous: str) -> bytes:
    """A record as it is written at its place of the log.

    Parameters
    ----------
    sequence
        Its number.
    previous
        MAC of the record before it.

    Examples
    --------
    >>> linked({"event": "deny"}, 2, "ff")
    b'{"event":"deny","prev":"ff","seq":2,"v":1}'
    """
    if isinstance(record, Filled):
        return _ascii(record.form.linked(record.values, sequence, previous))
    return canonical({**record, "v": _VERSION, "seq": sequence, "prev": previous})


def canonical(record: Mapping[str, Any]) -> bytes:
    r"""The one way to write a record: sorted members, no blanks, printable ASCII.

    Examples
    --------
    >>> canonical({"b": "\n\x7f", "a": [1]})
    b'{"a":[1],"b":"\\n\\u007f"}'
    """
    return _ascii(f"{{{_members(record)}}}")


def _ascii(text: str) -> bytes:
    return text.replace("\x7f", "\\u007f").encode("ascii")


def plain(record: Mapping[str, Any] | Filled) -> dict[str, Any]:
    """A record whose members are values only."""
    members = {**record.form.fixed, **record.values} if isinstance(record, Filled) else record
    return {name: value.value if isinstance(value, Fixed) else value for name, value in members.items()}


def _members(record: Mapping[str, Any]) -> str:
    # By hand as far as records go: the library's encoder takes longer to begin than most values take.
    return ",".join([_member(name, record[name]) for name in sorted(record)])


def _member(name: str, value: Any) -> str:
    return f"{encode_basestring_ascii(name)}:{value.text if type(value) is Fixed else _written(value)}"


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


def stamp(moment: datetime) -> str:
    """A moment as records have it: always with microseconds.

    >>> from datetime import UTC
    >>> stamp(datetime(2026, 1, 2, tzinfo=UTC))
    '2026-01-02T00:00:00.000000+00:00'
    """
    # Not to ask for them is cheaper, and right but for one moment in a million.
    return moment.isoformat() if moment.microsecond else moment.isoformat(timespec="microseconds")


class Keyed:
    """HMAC-SHA256 (RFC 2104) under one key; both of its hashes have taken in the key already, and are copied.

    The library's own object takes in the key for each MAC, or is slower to copy than a record is to hash.

    Examples
    --------
    >>> Keyed(b"k").mac(b"body") == hmac.digest(b"k", b"body", "sha256").hex()
    True
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def mac(self, body: bytes) -> str:
        """The MAC of some bytes, as hexadecimal text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.hexdigest()


def seal(key: Keyed, body: bytes) -> tuple[bytes, str]:
    """The line of a record, and its MAC; the record names that of the one before it as `prev`.

    Parameters
    ----------
    key
        The key of the chain.
    body
        The record as it is written, without its MAC.

    Examples
    --------
    >>> line, mac = seal(Keyed(b"k"), canonical({"prev": "", "seq": 1}))
    >>> unseal(Keyed(b"k"), line) == {"prev": "", "seq": 1, "mac": mac}
    True
    >>> unseal(Keyed(b"k"), line.replace(b"1", b"2", 1)) is None
    True
    """
    code = key.mac(body)
    return body[:-1] + _NAME + code.encode("ascii") + b'"}', code


def mac_of(line: bytes) -> str:
    """The MAC a line claims; empty when it is no record."""
    whole = len(line) > _TAIL and line[-_TAIL:].startswith(_NAME) and line.endswith(b'"}')
    return line[-_HEX - 2 : -2].decode("ascii", "replace") if whole else ""


def unseal(key: Keyed, line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None when it is not as it was written."""
    claimed = mac_of(line)
    body = line[:-_TAIL] + b"}"
    if not claimed or not hmac.compare_digest(key.mac(body).encode(), claimed.encode()):
        return None
    record: dict[str, Any] = json.loads(line)
    return record
