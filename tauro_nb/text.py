"""Plain text that cannot lie: invisible characters made visible, numbers for people, aligned tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = [
    "clip",
    "count",
    "milliseconds",
    "one_line",
    "parsed_size",
    "plural",
    "size",
    "text_table",
    "visible",
    "width",
]

# Controls (also C1, which terminals obey), bidi marks and overrides, zero-width and tag characters, lone
# surrogates. Tab, newline, ZWJ and ZWNJ stay: text needs them (Persian and emoji, the last two).
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SIZE: Final = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(K|M|G|T|P)?(I)?B?\s*", re.IGNORECASE)
_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(value: object) -> str:
    r"""Return `value` as text in which nothing can hide or reorder.

    >>> print(visible("user\u202egnp.exe"))
    user\u202egnp.exe
    """
    return _INVISIBLE.sub(_escape, str(value))


def one_line(value: object) -> str:
    r"""Return `visible(value)` with every run of whitespace as one space.

    >>> one_line("SELECT 1\n  FROM t")
    'SELECT 1 FROM t'
    """
    return " ".join(visible(value).split())


def width(text: str) -> int:
    """Columns that `text` takes in a terminal.

    >>> width("abc"), width("表"), width("e\u0301")
    (3, 2, 1)
    """
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def clip(text: str, limit: int) -> str:
    """Shorten `text` to at most `limit` columns, with an ellipsis where something is missing.

    >>> clip("customers", 6), clip("short", 6)
    ('custo…', 'short')
    """
    if width(text) <= limit:
        return text
    kept = text[:limit]
    while kept and width(kept) > limit - 1:
        kept = kept[:-1]
    return kept + "…"


def count(number: float | None, unknown: str = "unknown") -> str:
    """Write a number with thousands separators.

    >>> count(1234567), count(None), count(None, "?")
    ('1,234,567', 'unknown', '?')
    """
    return unknown if number is None else f"{number:,.0f}"


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Write a number with its noun.

    >>> plural(1, "table"), plural(2000, "table"), plural(0, "query", "queries")
    ('1 table', '2,000 tables', '0 queries')
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def size(number: float | None, unknown: str = "unknown") -> str:
    """Write a number of bytes in decimal units.

    >>> size(999), size(1536), size(4_800_000), size(None)
    ('999 B', '1.5 KB', '4.8 MB', 'unknown')
    """
    if number is None:
        return unknown
    power = 0
    while number >= 999.5 and power < len(_UNITS) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.1f} {_UNITS[power]}" if power and number < 100 else f"{number:,.0f} {_UNITS[power]}"


def milliseconds(number: float) -> str:
    """Write a duration.

    >>> milliseconds(0.82), milliseconds(1234.5)
    ('0.8 ms', '1,234 ms')
    """
    return f"{number:.1f} ms" if number < 100 else f"{number:,.0f} ms"


def parsed_size(given: int | str) -> int | None:
    """Read a number of bytes: a whole number, or text with a unit; `KiB` is 1024 bytes. None when it is neither.

    >>> parsed_size("500MB"), parsed_size("1.5 GiB"), parsed_size(7), parsed_size("lots")
    (500000000, 1610612736, 7, None)
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return given if given >= 0 else None
    match = _SIZE.fullmatch(given) if isinstance(given, str) else None
    if match is None or (match[3] and not match[2]):
        return None
    power = 0 if not match[2] else "KMGTP".index(match[2].upper()) + 1
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def text_table(
    rows: Iterable[Sequence[object]], headers: Sequence[str], *, right: Iterable[int] = (), limit: int = 60
) -> str:
    """Align rows under headers; `right` holds the positions of right-aligned columns.

    >>> print(text_table([("crm", 3), ("warehouse", 12)], ["source", "tables"], right=[1]))
    source     tables
    ---------  ------
    crm             3
    warehouse      12
    """
    cells = [[clip(one_line("" if value is None else value), limit) for value in row] for row in rows]
    grid = [[one_line(header) for header in headers], *cells]
    widths = [max(width(row[index]) for row in grid) for index in range(len(headers))]
    ends = frozenset(right)

    def line(row: Sequence[str]) -> str:
        padded = (
            " " * (room - width(cell)) + cell if index in ends else cell + " " * (room - width(cell))
            for index, (cell, room) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(grid[0]), "  ".join("-" * room for room in widths), *map(line, cells)])
