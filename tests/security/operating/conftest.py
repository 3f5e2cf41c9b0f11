"""A catalog over SQLite and Parquet whose policies are in a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tauro_nb import VirtualContext

Write = Callable[[str], None]

PEOPLE = [
    (1, "Ana Berg", "ana@example.com", "Sales", "acme"),
    (2, "Bo Lind", "bo@example.com", "Legal", "acme"),
    (3, "Cy Roth", "cy@example.com", "Sales", "zeta"),
]
POLICIES = """\
security_policies:
  people:
    row_level_filters: {analyst: "department = 'Sales'", admin: ""}
    field_policies:
      email: {mask: email, allowed_roles: [admin]}
  orders:
    allowed_roles: [admin, analyst]
principals:
  ana: {roles: [analyst]}
  root: {roles: [admin]}
...
"""


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policies.yaml"
    path.write_text(POLICIES)
    return path


@pytest.fixture
def write(policy_file: Path) -> Write:
    """Replace the file as careful people do: another file, then its name."""

    def replace(text: str) -> None:
        new = policy_file.with_name("new")
        new.write_text(text)
        new.replace(policy_file)

    return replace


@pytest.fixture
def catalog(tmp_path: Path) -> dict[str, Any]:
    with sqlite3.connect(tmp_path / "crm.sqlite") as crm:
        crm.execute("CREATE TABLE people (id INTEGER, name TEXT, email TEXT, department TEXT, tenant TEXT)")
        crm.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", PEOPLE)
        crm.execute("CREATE TABLE orders (id INTEGER, person_id INTEGER)")
        crm.executemany("INSERT INTO orders VALUES (?, ?)", [(10, 1), (11, 3)])
    crm.close()
    return {
        "connections": {"crm": {"type": "sqlite", "path": str(tmp_path / "crm.sqlite")}},
        "virtual_tables": {
            "people": {"connection": "crm", "table": "people"},
            "orders": {"connection": "crm", "table": "orders"},
        },
    }


@pytest.fixture
def ctx(catalog: dict[str, Any], policy_file: Path, tmp_path: Path) -> Iterator[VirtualContext]:
    config = {**catalog, "security": {"policies": str(policy_file)}, "audit": {"path": str(tmp_path / "audit.jsonl")}}
    with VirtualContext(config, principal="ana") as context:
        yield context
