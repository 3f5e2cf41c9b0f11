"""Audit records as text: JSON, JSON lines and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tauro_nb.security.audit.chain import canonical

__all__ = ["to_csv", "to_json", "to_jsonl"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_COLUMNS = (
    "timestamp", "principal", "roles", "operation", "table_name", "field_names", "row_count", "status",
    "acting_as", "denial_reason", "query_id", "statement", "policy_hash", "duration_ms", "event", "parent_id", "tenant",
    "purpose", "origin", "mode", "policy_version", "column_roles", "masked", "row_filter", "policy_columns", "base",
    "fingerprint", "literals", "params", "backends", "byte_count", "error_class", "sequence",
)  # fmt: skip


def to_json(records: Sequence[Mapping[str, Any]]) -> str:
    """Write a JSON array.

    Examples
    --------
    >>> to_json([{"b": 1, "a": 2}])
    '[{"a":2,"b":1}]'
    """
    return "[" + ",".join(_line(record) for record in records) + "]"


def to_jsonl(records: Sequence[Mapping[str, Any]]) -> str:
    r"""Write one object a line; a value cannot start a line of its own.

    Examples
    --------
    >>> to_jsonl([{"a": "x\n{}"}])
    '{"a":"x\\n{}"}\n'
    """
    return "".join(_line(record) + "\n" for record in records)


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Write a table; a cell that a spreadsheet would run as a formula gets a quote in front.

    Examples
    --------
    >>> to_csv([{"principal": "=cmd|'/c calc'!A1"}]).splitlines()[1].split(",")[1]
    "'=cmd|'/c calc'!A1"
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(record.get(name)) for name in _COLUMNS] for record in records)
    return out.getvalue()


def _line(record: Mapping[str, Any]) -> str:
    return canonical(record).decode("ascii")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Mapping):
        value = [f"{name}={_text(item)}" for name, item in value.items()]
    text = _text(value)
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _text(value: Any) -> str:
    return ";".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
