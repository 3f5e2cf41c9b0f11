"""The oracle itself: it agrees with what is right, and objects to what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tests.mariadb import MariaDBServer
from tests.security.oracle import KINDS, Oracle, settle

PEOPLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "name": ["Ana Visible", "Bo Hidden", "Cy Visible"],
        "pay": pa.array([10.5, 20.25, None], pa.float64()),
    }
)
SEEN = {"people": "SELECT id, 'xxx' AS name FROM people WHERE id <> 2"}
POLICY = {
    "row_level_filters": {"ana": "id <> 2"},
    "field_policies": {
        "name": {"mask": "constant", "mask_value": "xxx", "masking_enabled": True},
        "pay": {"access_level": "restricted"},
    },
}


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Oracle]:
    with Oracle(tmp_path, {"people": PEOPLE}, SEEN) as made:
        yield made


def uri_of(kind: str, request: pytest.FixtureRequest) -> str | None:
    if kind == "postgresql":
        uri: str = request.getfixturevalue("fresh_postgres_database")
        return uri
    if kind == "mysql":
        server: MariaDBServer = request.getfixturevalue("mariadb_server")
        return server.uri(server.create_database())
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_a_policy_that_does_what_was_meant(
    kind: str, oracle: Oracle, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = settle(kind, tmp_path / kind, {"people": PEOPLE}, uri=uri_of(kind, request))
    with VirtualContext({**world, "security_policies": {"people": POLICY}}, "ana") as ctx:
        assert oracle.check(ctx, "SELECT * FROM people ORDER BY id DESC", ordered=True).columns[0] == ("id", "int64")
        assert oracle.check(ctx, "SELECT count(*) FROM people WHERE name = :n", {"n": "xxx"}).rows == ((("int", 2),),)
        assert oracle.check(ctx, "SELECT pay FROM people").error == "AccessDenied"
        assert oracle.check(ctx, "SELECT name::INTEGER FROM people").error == "ExecutionError"
        assert oracle.check(ctx, "SELECT nothing FROM people").error == "BindError"


@pytest.mark.parametrize(
    ("policy", "sql"),
    [
        (POLICY | {"row_level_filters": {"ana": "id <> 3"}}, "SELECT id FROM people"),
        (POLICY | {"field_policies": {}}, "SELECT * FROM people"),
        (POLICY | {"field_policies": {}}, "SELECT name FROM people WHERE id = 1"),
        (POLICY | {"row_level_filters": {"bo": ""}}, "SELECT 1 AS one FROM people"),
    ],
)
def test_objects_to_a_policy_that_does_something_else(
    oracle: Oracle, policy: dict[str, object], sql: str, tmp_path: Path
) -> None:
    world = settle("duckdb", tmp_path, {"people": PEOPLE})
    with (
        VirtualContext({**world, "security_policies": {"people": policy}}, "ana") as ctx,
        pytest.raises(AssertionError),
    ):
        oracle.check(ctx, sql)


def test_objects_to_another_order_only_where_it_matters(oracle: Oracle, tmp_path: Path) -> None:
    world = settle("duckdb", tmp_path, {"people": PEOPLE.take([2, 0])})
    with VirtualContext({**world, "security_policies": {"people": POLICY}}, "ana") as ctx:
        oracle.check(ctx, "SELECT id FROM people")
        with pytest.raises(AssertionError):
            oracle.check(ctx, "SELECT id FROM people", ordered=True)
