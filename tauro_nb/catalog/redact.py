"""Keep secrets out of whatever people, logs and files get to see."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, time
from enum import Enum
from typing import Any, Final

__all__ = ["MASK", "is_secret_key", "plain", "redact", "redact_text"]

MASK: Final = "***"

_SECRET_PART: Final = re.compile(r"passw|passphrase|secret|token|credential|apikey|accesskey|privatekey", re.IGNORECASE)
_SECRET_WORDS: Final = frozenset("auth authorization cookie key keys pass pw pwd sas sig signature sslkey".split())
# Names with `key` in them that tell where things are, not how to get at them.
_HARMLESS_KEYS: Final = frozenset(
    {"key_id", "primary_key", "foreign_key", "partition_key", "sort_key", "cluster_key", "unique_key", "join_key"}
)
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

# Everything between the first colon behind `scheme://` and the last `@` of the same run: a password may hold `/`, `:`
# and `@` where people forget to quote them. Showing too little of an address is harmless.
_USERINFO: Final = re.compile(r"""(?P<head>[a-z][a-z0-9+.\-]*://)(?P<user>[^\s:@/'"]*):[^\s'"]*@""", re.IGNORECASE)
_BARE_TOKEN: Final = re.compile(r"""(?P<head>https?://)[^\s:@/'"]+@""", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"""(?P<key>\b[\w.\-]*?(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|sig(?:nature)?|api[_-]?key|
        access[_-]?key(?:[_-]?id)?|private[_-]?key|account[_-]?key|sas)[\w\-]*)
        (?P<sep>["']?\s*[=:]\s*)(?P<value>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[^\s&;,'"]+)""",
    re.IGNORECASE | re.VERBOSE,
)


def is_secret_key(key: object) -> bool:
    """Whether a value under this key is a secret by its name.

    >>> [is_secret_key(key) for key in ("password", "apiKey", "sslkey", "PGPASSWORD", "key_id", "path", "monkey")]
    [True, True, True, True, False, False, False]
    """
    text = str(key)
    if text.casefold() in _HARMLESS_KEYS:
        return False
    words = {word.casefold() for word in _WORDS.findall(text)}
    return bool(_SECRET_PART.search(text.replace("_", "").replace("-", "")) or words & _SECRET_WORDS)


def redact_text(text: str) -> str:
    """Mask the passwords that addresses and connection strings carry.

    >>> redact_text("postgresql://ana:s3cr3t@db.example.com/crm?sslpassword=x&sslmode=require")
    'postgresql://ana:***@db.example.com/crm?sslpassword=***&sslmode=require'
    >>> redact_text("host=db user=ana password='a b'")
    'host=db user=ana password=***'
    """
    text = _USERINFO.sub(rf"\g<head>\g<user>:{MASK}@", text)
    text = _BARE_TOKEN.sub(rf"\g<head>{MASK}@", text)
    return _PAIR.sub(rf"\g<key>\g<sep>{MASK}", text)


def redact(value: Any) -> Any:
    """Copy a nested value with every secret masked, by the name of its key or by the shape of its text.

    >>> redact({"uri": "mysql://u:p@h/d", "auth": {"user": "u"}, "ports": [1, 2]})
    {'uri': 'mysql://u:***@h/d', 'auth': '***', 'ports': [1, 2]}
    """
    match value:
        case str():
            return redact_text(value)
        case Mapping():
            return {
                key: MASK if is_secret_key(key) and item is not None else redact(item) for key, item in value.items()
            }
        case list() | tuple():
            return [redact(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """Copy a nested value with only what JSON can hold: text, finite numbers, booleans, null, lists, objects.

    >>> from datetime import date
    >>> plain({"since": date(2024, 1, 1), "ratio": float("nan")})
    {'since': '2024-01-01', 'ratio': 'nan'}
    """
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return next((write for kinds, write in _PLAIN if isinstance(value, kinds)), str)(value)


_PLAIN: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Enum, lambda value: value.value),
    ((date, time), lambda value: value.isoformat()),
    (Mapping, lambda value: {str(key): plain(item) for key, item in value.items()}),
    ((list, tuple), lambda value: [plain(item) for item in value]),
    ((set, frozenset), lambda value: sorted(map(str, value))),
)
