"""People, their departments' orders, and who may see which department: at every kind of source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tauro_nb.security import FieldSecurityPolicy, TableSecurityPolicy
from tests.mariadb import MariaDBServer
from tests.security.oracle import Oracle, settle

__all__ = ["PLACES", "RAW", "World", "open_world"]

PLACES = ("duckdb", "parquet", "sqlite", "postgresql", "mysql", "postgresql and sqlite", "parquet and postgresql")
"""Where `people` live and, after an `and`, where `rights` do."""

RAW = {
    "people": pa.table(
        {
            "id": pa.array([1, 2, 3, 4, 5, 6], pa.int64()),
            "name": ["Ana", "Bo", "Cy", "Di", "Ed", None],
            "dept": ["eng", "hr", "eng", "ops", None, "hr"],
            "pay": pa.array([10, 20, 30, 40, 50, None], pa.int64()),
            # Digits where ana may look, and what no cast takes where she may not.
            "badge": ["1001", "hidden-one", "1003", "1004", "hidden-two", "hidden-six"],
        }
    ),
    "rights": pa.table(
        {
            "who": ["ana", "ana", "bo", "svc", "ana", None],
            "dept": ["eng", "ops", "hr", "hr", None, "hr"],
            "level": pa.array([1, 2, 3, 9, 1, 7], pa.int64()),
        }
    ),
    "orders": pa.table({"id": pa.array([1, 2, 3], pa.int64()), "person": pa.array([1, 2, 3], pa.int64())}),
}
VIEWS = {
    "staff": {"query": "SELECT id, name, dept FROM people"},
    "shown_rights": {"query": "SELECT who, dept, level FROM rights WHERE level < 100"},
    "around": {"query": "SELECT r.who, p.dept FROM rights r JOIN people p ON p.dept = r.dept"},
}
PRINCIPALS = {
    "ana": {"roles": ["analyst"], "attributes": {"level": 2, "depts": ["eng", "ops"]}},
    "bo": {"roles": ["analyst"], "attributes": {"level": 0, "depts": []}},
    "svc": {"roles": ["service"]},
    "root": {"roles": ["admin"]},
}


@dataclass
class World:
    """One catalog over the tables, and a folder for oracles."""

    place: str
    root: VirtualContext
    folder: Path

    @property
    def ana(self) -> VirtualContext:
        """May see what the policy under test says."""
        return self.root.as_principal("ana")

    @contextmanager
    def policy(self, row_filter: str | None = None, *, table: str = "people", **rules: Any) -> Iterator[None]:
        """Put a policy in force, for this moment; `row_filter` is the analysts'."""
        filters = {} if row_filter is None else {"analyst": row_filter, "admin": "", "service": "FALSE"}
        fields = {name: FieldSecurityPolicy(name, **rule) for name, rule in rules.pop("fields", {}).items()}
        self.root.security.register_policy(
            TableSecurityPolicy(table, row_level_filters=filters, field_policies=fields, **rules)
        )
        try:
            yield
        finally:
            self.root.security.remove_policy(table)

    @contextmanager
    def seen(self, **seen: str) -> Iterator[Oracle]:
        """The oracle of somebody who sees these; tables that are not named are seen whole."""
        whole = {name: f"FROM {name}" for name in RAW}
        with Oracle(self.folder, RAW, whole | seen, catalog=VIEWS, secrets=["rights", "hidden-"]) as oracle:
            yield oracle


@contextmanager
def open_world(place: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Fill the sources and connect."""
    first, _, second = place.partition(" and ")
    groups = (
        {first: ["people", "rights", "orders"]} if not second else {first: ["people", "orders"], second: ["rights"]}
    )
    connections: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for kind, names in groups.items():
        made = settle(
            kind,
            folder / kind,
            {name: RAW[name] for name in names},
            uri=_uri(kind, request),
            connection=f"at_{kind}",
        )
        connections |= made["connections"]
        tables |= made["virtual_tables"]
    config = {"connections": connections, "virtual_tables": tables | VIEWS, "principals": PRINCIPALS}
    with VirtualContext(config, "root") as root:
        yield World(place, root, folder)


def _uri(kind: str, request: pytest.FixtureRequest) -> str | None:
    if kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        return str(server.uri(server.create_database()))
    if kind == "mysql":
        maria: MariaDBServer = request.getfixturevalue("mariadb_server")
        return maria.uri(maria.create_database())
    return None
