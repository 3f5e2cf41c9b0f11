"""The company under attack: rows made to betray themselves, a policy, and what that policy leaves, written by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

__all__ = ["CANARY", "COLUMNS", "EMP", "OPEN_ROWS", "POLICY", "VIEW", "VISIBLE_EMP", "visible_row"]

Row = dict[str, Any]

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "emp": {
        "id": "BIGINT", "name": "VARCHAR", "dept": "VARCHAR", "email": "VARCHAR", "ssn": "VARCHAR", "card": "VARCHAR",
        "city": "VARCHAR", "grade": "INTEGER", "salary": "DECIMAL(12,2)", "born": "DATE", "note": "VARCHAR",
        "code": "BIGINT", "big": "BIGINT", "day": "DATE", "seen": "TIMESTAMP", "secret": "VARCHAR",
    },
    "orders": {"id": "BIGINT", "emp_id": "BIGINT", "amount": "DECIMAL(10,2)", "item": "VARCHAR"},
    "vault": {"id": "BIGINT", "gem": "VARCHAR"},
}  # fmt: skip
"""Columns and DuckDB types of every table."""

VIEW = "SELECT name, dept, ssn, salary FROM emp WHERE id > 2"
"""The view `team`."""

POLICY_NUMBER = 987_654_321
"""A number that only the policy's text holds."""

POLICY: dict[str, Any] = {
    "emp": {
        "allowed_roles": ["admin", "analyst"],
        "row_level_filters": {"admin": "", "analyst": f"dept = 'Sales' AND id <> {POLICY_NUMBER}"},
        "field_policies": {
            "email": {"mask": "email", "allowed_roles": ["admin"]},
            "ssn": {"mask": "ssn", "allowed_roles": ["admin"]},
            "card": {"mask": "partial", "mask_options": {"prefix": 6, "suffix": 4}, "allowed_roles": ["admin"]},
            "city": {"mask": "null", "allowed_roles": ["admin"]},
            "grade": {"mask": "default", "allowed_roles": ["admin"]},
            "salary": {"mask": "bucket", "mask_options": {"size": 50_000}, "allowed_roles": ["admin"]},
            "born": {"mask": "date_trunc", "mask_options": {"unit": "year"}, "allowed_roles": ["admin"]},
            "secret": {"access_level": "restricted", "allowed_roles": ["admin"]},
        },
    },
    "vault": {"allowed_roles": ["admin"]},
}
"""What an analyst gets: Sales, seven masked columns, no `secret`, no `vault`."""

CANARY = re.compile(
    r"umbra|canary|666-?13|raw ?town|\.37\b|987.?654.?321|747747|9999-12-31|9223372036854775807|phys_|s3cret|\bRUBY",
    re.IGNORECASE,
)
"""What nobody but an administrator may ever read: values of hidden rows, what masks hide, the policy's text, names and
paths at the source, and its password."""


def _emp(number: int) -> Row:
    """One employee; every second one is hidden, and throws in whatever an attacker computes of it."""
    hidden = number % 2 == 0
    missing = number in (11, 12)
    row = {
        "id": number,
        "name": f"UMBRA {number}" if hidden else f"Ann {number:02d}",
        "dept": ("Legal" if number % 4 else None) if hidden else "Sales",
        "email": f"canary{number}x@example.com",
        "ssn": f"666-13-{number:04d}",
        "card": f"411155canary{number:04d}",
        "city": f"rawtown {number}",
        "grade": 747_747 if hidden else 40 + number,
        "salary": Decimal(number * 10_000) + Decimal("0.37"),
        "born": date(1950 + number, 3, 17),
        "note": f"umbra note {number}" if hidden else str(number * 7),
        "code": 0 if hidden else number,
        "big": 2**63 - 1 if hidden else number * 1000,
        "day": date(9999, 12, 31) if hidden else date(2024, 1, 1 + number % 28),
        "seen": datetime(2024, 1, 1, number % 24),  # noqa: DTZ001 - the column has no zone
        "secret": f"canary secret {number}",
    }
    return {**row, **dict.fromkeys(("email", "ssn", "card", "city", "grade", "salary", "born"))} if missing else row


EMP: list[Row] = [_emp(number) for number in range(1, 25)]
OPEN_ROWS: dict[str, list[Row]] = {
    "orders": [
        {"id": n, "emp_id": n % 26, "amount": Decimal(n * 5) / 4, "item": ("pen", "ink", "pad")[n % 3]}
        for n in range(40)
    ],
    "vault": [{"id": 1, "gem": "RUBY of the canary"}],
}
"""`orders` is open to everybody, `vault` to nobody but administrators."""


def visible_row(row: Row) -> Row:
    """What the policy leaves of an employee of Sales: the masks, written down a second time."""
    shown = {name: value for name, value in row.items() if name != "secret"}
    for name, mask in _MASKED.items():
        shown[name] = None if row[name] is None and name != "grade" else mask(row[name])
    return shown


def _email(text: str) -> str:
    local, _, domain = text.partition("@")
    return f"{local[0]}***{local[-1]}@{domain}"


_MASKED: Mapping[str, Any] = {
    "email": _email,
    "ssn": lambda text: f"***-**-{text[-4:]}",
    "card": lambda text: f"{text[:6]}***{text[-4:]}",
    "city": lambda _: None,
    "grade": lambda _: 0,
    "salary": lambda value: Decimal(int(value) // 50_000 * 50_000),
    "born": lambda day: day.replace(month=1, day=1),
}

VISIBLE_EMP: list[Row] = [visible_row(row) for row in EMP if row["dept"] == "Sales"]
"""What a database of the analyst's own would hold."""
