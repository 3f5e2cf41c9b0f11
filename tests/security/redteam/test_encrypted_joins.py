"""Joins of encrypted columns across sources: hidden rows hold what does not open, and nothing of them shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics
from tauro_nb.errors import CipherError
from tauro_nb.query.plan import whole
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.keys import KeyRing
from tests.security.oracle import Oracle, settle
from tests.security.redteam.trial import Reach
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres

SSN = FieldSpec("people", "ssn", domain="person", searchable=True, joined=True)
CODE = FieldSpec("people", "code", "BIGINT", searchable=True)
PATIENT = FieldSpec("visits", "patient", domain="person", searchable=True, joined=True)
SEALED = {"encrypted_at": "source", "searchable": "equality", "allowed_roles": ["hr"]}
POLICIES = {
    "people": {
        "row_level_filters": {"*": "dept = 'Sales'"},
        "field_policies": {"ssn": {**SEALED, "domain": "person"}, "code": SEALED},
    },
    "visits": {"row_level_filters": {"*": "day < 28"}, "field_policies": {"patient": {**SEALED, "domain": "person"}}},
}
PEOPLE = [(i, None if i % 11 == 0 else f"S{i % 50:03d}", i % 37 if i % 13 else None, "Sales") for i in range(120)]
VISITS = [(i, None if i % 17 == 0 else f"S{i % 70:03d}", i % 28) for i in range(2000)]
ASKED = (
    "SELECT p.id, v.id AS v FROM people p JOIN visits v ON p.ssn = v.patient WHERE v.day = 3",
    "SELECT p.id, r.id AS r FROM people p LEFT JOIN refs r ON r.ssn = p.ssn AND r.w = 2 WHERE p.id < 30",
    "SELECT r.id, p.id AS p FROM refs r JOIN people p ON r.id = p.id WHERE p.code IN (3, 4) OR p.code IS NULL",
    "SELECT p.code, count(*) AS n, count(DISTINCT patient) AS d FROM people p JOIN visits v ON v.id = p.id GROUP BY 1",
    "SELECT id FROM people WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.patient = people.ssn AND v.day < 9)",
    "SELECT id FROM refs WHERE code IN (SELECT code FROM people WHERE id < 50) AND w = 1",
    "SELECT id FROM people WHERE ssn NOT IN (SELECT patient FROM visits WHERE patient IS NOT NULL AND day = 2)",
    "SELECT p.id, v.id AS v FROM people p JOIN visits v ON p.ssn = v.patient AND v.patient IN ('S007', 'S009')",
    "SELECT p.ssn, max(w) AS m FROM people p JOIN visits v ON p.ssn = v.patient JOIN refs r ON r.id = v.id GROUP BY 1",
)
Open = Callable[..., VirtualContext]


def sealed(ring: KeyRing, spec: FieldSpec, values: Iterable[Any], *hidden: str) -> pa.Array:
    texts = [Cipher(spec, ring).encrypt([str(value)])[0] if value is not None else None for value in values]
    return pa.array([*texts, *hidden], pa.string())


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing()


@pytest.fixture
def tables(ring: KeyRing) -> dict[str, pa.Table]:
    """The last rows are hidden: a plain value, another keyset's, and one that is cut."""
    foreign = Cipher(SSN, KeyRing()).encrypt(["S001"])[0]
    bad = ("S001", foreign, Cipher(SSN, ring).encrypt(["S001"])[0][:20])
    ids, ssns, codes, depts = zip(*PEOPLE, strict=True)
    numbers, patients, days = zip(*VISITS, strict=True)
    refs = range(9000)
    return {
        "people": pa.table(
            {
                "id": [*ids, 900, 901, 902],
                "ssn": sealed(ring, SSN, ssns, *bad),
                "code": sealed(ring, CODE, codes, *bad),
                "dept": [*depts, "Legal", "Legal", "Legal"],
            }
        ),
        "visits": pa.table(
            {
                "id": [*numbers, 9000, 9001, 9002],
                "patient": sealed(ring, PATIENT, patients, *bad),
                "day": [*days, 30, 30, 30],
            }
        ),
        "refs": pa.table(
            {
                "id": refs,
                "ssn": [f"S{i % 90:03d}" for i in refs],
                "code": [i % 60 for i in refs],
                "w": [i % 9 for i in refs],
            }
        ),
    }


@pytest.fixture
def opened(ring: KeyRing, postgres_server: PostgresServer, tmp_path: Path) -> Open:
    def open_(tables: dict[str, pa.Table]) -> VirtualContext:
        uri = postgres_server.uri(postgres_server.create_database())
        parts = (
            settle("sqlite", tmp_path, {"people": tables["people"]}, connection="here"),
            settle("postgresql", tmp_path, {"visits": tables["visits"], "refs": tables["refs"]}, uri=uri),
        )
        config: dict[str, Any] = {key: {**parts[0][key], **parts[1][key]} for key in parts[0]}
        config["virtual_tables"]["people"]["schema"] = {
            "id": "BIGINT", "ssn": "VARCHAR", "code": "BIGINT", "dept": "VARCHAR",
        }  # fmt: skip
        ctx = VirtualContext({**config, "security_policies": POLICIES}, "admin")
        ctx.layer.keys._keyset = ring._keyset
        # Large enough, as far as anybody knows, that keys are sent for it.
        facts = {name: ColumnStatistics(distinct_count=10**6, indexed=True) for name in ("id", "ssn", "code")}
        ctx.schema_registry.record_statistics("refs", TableStatistics(10**7, 10**9, facts, source="a test"))
        return ctx

    return open_


def test_r5_encrypted_keys_are_joined_as_a_database_of_plain_values_would(
    opened: Open, tables: dict[str, pa.Table], tmp_path: Path, reach: Reach
) -> None:
    plain = {
        "people": pa.table(dict(zip(("id", "ssn", "code", "dept"), map(list, zip(*PEOPLE, strict=True)), strict=True))),
        "visits": pa.table(dict(zip(("id", "patient", "day"), map(list, zip(*VISITS, strict=True)), strict=True))),
    }
    clear = Oracle(tmp_path, {**tables, **plain}, {name: f"FROM {name}" for name in tables})
    dark = {"people": "FROM people WHERE id < 900", "visits": "FROM visits WHERE day < 28", "refs": "FROM refs"}
    with opened(tables) as ctx, clear, Oracle(tmp_path, tables, dark) as tokens:
        hr, ana = ctx.as_principal("hr", roles=["hr"]), ctx.as_principal("ana", roles=["analyst"])
        assert any(part.keys for sql in ASKED for part in whole(hr.plan(sql)).fragments)
        for sql in ASKED:
            clear.check(hr, sql)
            tokens.check(ana, sql)
    reach("sql", "holds")


def test_r14_one_visible_row_that_does_not_open_ends_every_join_with_it(
    opened: Open, tables: dict[str, pa.Table], reach: Reach
) -> None:
    column = tables["people"].column("ssn").to_pylist()
    column[5] = column[-2]
    wrong = {**tables, "people": tables["people"].set_column(1, "ssn", pa.array(column))}
    with opened(wrong) as ctx:
        for who in ("hr", "analyst"):
            for sql in ASKED:
                if ".ssn" in sql:
                    with pytest.raises(
                        CipherError, match="column `ssn` of `people` was encrypted with a key"
                    ) as caught:
                        ctx.as_principal("ana", roles=[who]).query(sql).rows()
                    assert str(column[5])[5:25] not in f"{caught.value!r} {caught.value.__cause__!r}"
    reach("sql", "holds")
