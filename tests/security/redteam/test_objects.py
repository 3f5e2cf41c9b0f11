"""R35 to R38: views, changing tables, time travel, writing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, PolicyError, SchemaMismatch, TauroError
from tauro_nb.security import FieldSecurityPolicy, TableSecurityPolicy
from tests.security.redteam.sites import Site
from tests.security.redteam.staff import VISIBLE_EMP
from tests.security.redteam.trial import Gate, Reach, Trial, canaries


def test_r35_a_view_is_read_by_its_reader(trial: Trial) -> None:
    trial.holds(
        "SELECT * FROM team",
        "SELECT count(*) AS n FROM team WHERE ssn LIKE '666%'",
        "SELECT max(name) AS m FROM team",
        "SELECT dept FROM team WHERE dept <> 'Sales'",
        "SELECT t.name FROM team t JOIN emp e ON e.ssn = t.ssn WHERE e.id > 10",
        "WITH team AS (SELECT * FROM team) SELECT * FROM team WHERE salary > 0",
        "SELECT secret FROM team",
        "SELECT id FROM team",
    )


def test_r35_views_upon_views_and_views_from_before_the_policy(site_of: Callable[[str], Site], reach: Reach) -> None:
    config = site_of("duckdb").config
    views = {
        "one": {"query": "SELECT * FROM team"},
        "two": {"query": "SELECT name, ssn FROM one UNION ALL SELECT name, ssn FROM emp"},
        "raw": {"query": "SELECT * FROM emp"},
        "gems": {"query": "SELECT gem FROM vault"},
    }
    with VirtualContext({**config, "virtual_tables": {**config["virtual_tables"], **views}}, "admin") as admin:
        policy = admin.security.get_policy("emp")
        assert policy is not None
        admin.security.remove_policy("emp")
        analyst = admin.as_principal("ana", roles=["analyst"])
        assert len(analyst.query("SELECT * FROM raw")) == 24
        admin.security.register_policy(policy)
        for view in ("one", "two"):
            assert canaries(str(analyst.query(f"SELECT * FROM {view}").rows())) == []
        with pytest.raises(TauroError) as caught:
            analyst.query("SELECT secret FROM raw")
        assert canaries(str(caught.value).replace("secret", "")) == []
        assert len(analyst.query("SELECT id FROM raw")) == len(VISIBLE_EMP)
        with pytest.raises(AccessDenied):
            analyst.query("SELECT gem FROM gems")
    reach("sql", "holds")


def test_r35_what_one_cached_another_does_not_find(site_of: Callable[[str], Site], reach: Reach) -> None:
    site = site_of("duckdb")
    mine = site.admin.ibis()
    with mine.table("emp").filter(ibis._.dept == "Legal").cache() as cached:
        name = cached.op().name
        assert cached.to_pyarrow().num_rows > 0
        for door in (site.analyst.sql, site.analyst.query, site.analyst.table):
            with pytest.raises(TauroError):
                door(f'SELECT * FROM "{name}"' if door != site.analyst.table else name)
        with pytest.raises(TauroError):
            site.analyst.query(cached)
    reach("ibis", "refused")


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ("ALTER TABLE people RENAME COLUMN email TO mail", PolicyError),
        ("ALTER TABLE people DROP COLUMN email", PolicyError),
        ("DROP TABLE people; CREATE TABLE people (id BIGINT, mail VARCHAR, score INTEGER)", PolicyError),
        ("ALTER TABLE people RENAME TO persons", TauroError),
    ],
)
def test_r36_a_rule_whose_column_is_gone_closes_the_table(
    tmp_path: Path, reach: Reach, change: str, refused: type[TauroError]
) -> None:
    with _people(tmp_path, change) as analyst, pytest.raises(refused) as caught:
        analyst.query("SELECT * FROM people").rows()
    assert "aa@b.c" not in str(caught.value)
    reach("sql", "refused")


@contextlib.contextmanager
def _people(folder: Path, change: str = "", **table: Any) -> Iterator[VirtualContext]:
    """The analyst's door to a table whose columns nobody declared, after the source changed it."""
    path = folder / "c.duckdb"
    rows = "CREATE TABLE people AS SELECT 1::BIGINT AS id, 'aa@b.c' AS email, 5 AS score, 'raw' AS extra"
    with duckdb.connect(str(path)) as con:
        for statement in filter(None, [rows, *change.split(";")]):
            con.execute(statement)
    policy = {
        "allowed_roles": ["analyst"],
        "field_policies": {"email": {"mask": "email"}, "score": {"mask": "bucket", "mask_options": {"size": 10}}},
    }
    config: dict[str, Any] = {
        "connections": {"at": {"type": "duckdb", "path": str(path)}},
        "virtual_tables": {"people": {"connector_type": "duckdb", "connection": "at", "table": "people", **table}},
        "security_policies": {"people": policy},
        "tag_policies": {"pii": {"mask": "null", "allowed_roles": ["steward"]}},
    }
    with VirtualContext(config, "admin") as admin:
        yield admin.as_principal("ana", roles=["analyst"])


def test_r36_a_new_column_of_a_tagged_table_is_closed_until_it_is_classified(tmp_path: Path, reach: Reach) -> None:
    added = "ALTER TABLE people ADD COLUMN iban VARCHAR DEFAULT 'DE89'"
    with _people(tmp_path, added, tags=["pii"]) as analyst:
        for sql in ("SELECT iban FROM people", "SELECT extra FROM people", "SELECT id FROM people WHERE iban = 'DE89'"):
            with pytest.raises(AccessDenied, match="classified"):
                analyst.query(sql)
        assert "DE89" not in str(analyst.query("SELECT * FROM people").rows())
    reach("sql", "refused")


@pytest.mark.parametrize("kind", ["VARCHAR", "DATE", "BOOLEAN", "INTEGER[]", "BLOB"])
def test_r36_a_mask_that_no_longer_fits_its_column_hides_it(tmp_path: Path, reach: Reach, kind: str) -> None:
    change = f"ALTER TABLE people DROP COLUMN score; ALTER TABLE people ADD COLUMN score {kind}"
    value = {"VARCHAR": "'7'", "DATE": "DATE '2024-01-07'", "BOOLEAN": "true", "INTEGER[]": "[7]", "BLOB": "'7'"}[kind]
    with _people(tmp_path, f"{change}; UPDATE people SET score = {value}") as analyst:
        try:
            assert analyst.query("SELECT score FROM people").rows() == [{"score": None}]
        except PolicyError:
            reach("sql", "refused")
        else:
            reach("sql", "holds")


def test_r36_columns_in_another_order_keep_their_masks(tmp_path: Path, reach: Reach) -> None:
    change = "CREATE TABLE p AS SELECT extra, score, email, id FROM people; "
    change += "DROP TABLE people; ALTER TABLE p RENAME TO people"
    with _people(tmp_path, change) as analyst:
        found = analyst.query("SELECT * FROM people").rows()
    assert found == [{"extra": "raw", "score": 0, "email": "***@b.c", "id": 1}]
    reach("sql", "holds")


def test_r36_a_change_under_an_open_catalog(tmp_path: Path, reach: Reach) -> None:
    """Another policy between plan and run, and a declared column that the source does not have."""
    with _people(
        tmp_path, schema={"id": "BIGINT", "email": "VARCHAR", "score": "INTEGER", "extra": "VARCHAR"}
    ) as analyst:
        plan = analyst.plan("SELECT email FROM people")
        assert analyst.run(plan).rows() == [{"email": "***@b.c"}]
        policy = TableSecurityPolicy("people", field_policies={"email": FieldSecurityPolicy("email", mask="null")})
        analyst.security.register_policy(policy)
        with pytest.raises(TauroError, match="changed"):
            analyst.run(plan)
        assert analyst.query("SELECT email FROM people").rows() == [{"email": None}]
    other = tmp_path / "other"
    other.mkdir()
    declared = {"id": "BIGINT", "email": "VARCHAR", "score": "INTEGER", "gone": "VARCHAR"}
    with _people(other, schema=declared) as analyst, pytest.raises(SchemaMismatch):
        analyst.query("SELECT * FROM people")
    reach("sql", "refused")


def test_r37_time_travel(gate: Gate) -> None:
    gate.refuses(
        "SELECT * FROM emp AT (VERSION => 1)",
        "SELECT * FROM emp AT (TIMESTAMP => now())",
        "SELECT * FROM emp FOR SYSTEM_TIME AS OF '2020-01-01'",
        "SELECT * FROM emp FOR VERSION AS OF 1",
        "SELECT * FROM emp VERSION AS OF 1",
        "SELECT * FROM emp AS OF TIMESTAMP '2020-01-01'",
        "SELECT * FROM emp BEFORE (STATEMENT => 'x')",
        "SELECT * FROM table_changes('emp', 1)",
        'SELECT * FROM "emp$snapshots"',
        "SELECT * FROM emp@main",
    )


def test_r38_writing(gate: Gate) -> None:
    gate.refuses(
        "INSERT INTO emp (id, dept) VALUES (2, 'Sales')",
        "INSERT INTO emp SELECT * FROM emp",
        "INSERT INTO orders VALUES (1, 2, 3, 'x') RETURNING *",
        "INSERT INTO emp (id) VALUES (2) ON CONFLICT (id) DO NOTHING",
        "UPDATE emp SET dept = 'Sales' WHERE id = 2",
        "UPDATE emp SET ssn = ssn RETURNING ssn",
        "DELETE FROM emp WHERE ssn = '666-13-0002'",
        "DELETE FROM emp RETURNING *",
        "MERGE INTO emp USING orders o ON emp.id = o.id WHEN MATCHED THEN DELETE",
        "WITH x AS (DELETE FROM emp RETURNING *) SELECT * FROM x",
        "WITH x AS (INSERT INTO orders SELECT 1, 2, 3, 'x' RETURNING *) SELECT * FROM x",
        "CREATE TABLE mine AS SELECT * FROM emp",
        "CREATE TABLE mine (id BIGINT REFERENCES emp (id))",
        "CREATE UNIQUE INDEX i ON emp (ssn)",
        "REPLACE INTO emp VALUES (1)",
    )
