"""R22 to R29: names and parsing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tauro_nb.errors import AccessDenied, TauroError
from tests.security.redteam.sites import Site
from tests.security.redteam.trial import Gate, Reach, Trial


def test_r22_aliases_that_shadow(trial: Trial) -> None:
    trial.holds(
        "SELECT * FROM (SELECT * FROM emp) emp",
        "SELECT emp.id FROM orders emp ORDER BY 1",
        "SELECT orders.ssn FROM emp orders WHERE orders.ssn LIKE '666%'",
        "SELECT vault.id FROM orders AS vault ORDER BY 1",
        "SELECT * FROM (SELECT * FROM vault) emp",
        "SELECT x.id FROM (SELECT * FROM (SELECT * FROM emp) emp) x",
        "WITH vault AS (SELECT 1 AS id) SELECT * FROM vault",
        "WITH vault AS (SELECT * FROM vault) SELECT * FROM vault",
        "WITH orders AS (SELECT * FROM emp), emp AS (SELECT * FROM orders) SELECT ssn FROM emp",
        "SELECT emp.ssn FROM (WITH emp AS (SELECT 1 AS id) SELECT * FROM emp) e, emp WHERE emp.id = e.id",
        "SELECT (SELECT max(emp.id) FROM orders emp) AS m FROM emp LIMIT 1",
        "SELECT id FROM emp, LATERAL (SELECT emp.ssn AS s) emp2 WHERE s LIKE '666%'",
    )


def test_r23_the_same_table_in_other_letters(trial: Trial) -> None:
    trial.holds(
        "SELECT id FROM \"EMP\" WHERE dept <> 'Sales'",
        'SELECT "ID", SSN FROM Emp',
        'SELECT "Emp"."SSN" FROM "emp"',
        'SELECT "Secret" FROM "EMP"',
        "SELECT * FROM VAULT",
        'SELECT id FROM "Vault"',
    )


def test_r23_the_same_table_by_another_road(gate: Gate) -> None:
    gate.refuses(
        "SELECT * FROM main.emp",
        "SELECT * FROM memory.main.emp",
        "SELECT * FROM temp.main.emp",
        'SELECT * FROM "at".emp',
        'SELECT * FROM "at".main.phys_emp',
        "SELECT * FROM phys_emp",
        "SELECT * FROM main.phys_emp",
        "SELECT * FROM public.phys_emp",
        "SELECT * FROM `emp`",
        "SELECT * FROM [emp]",
        "SELECT * FROM emp.",
        "SELECT * FROM emp..ssn",
        'SELECT * FROM "emp "',
        'SELECT * FROM " emp"',
        'SELECT * FROM ""',
        'SELECT * FROM "emp""',
    )


def test_r24_letters_that_look_alike(gate: Gate) -> None:
    gate.refuses(
        "SELECT * FROM \u0435mp",
        'SELECT * FROM "\uff45\uff4d\uff50"',
        'SELECT * FROM "emp\u200b"',
        'SELECT * FROM "e\u00admp"',
        'SELECT * FROM "\u202eemp"',
        'SELECT "ss\u0578" FROM emp',
        'SELECT "\u017fsn" FROM emp',
        "SELECT * FROM \u1d49\u1d50\u1d56",
        "SELECT \u017fecret FROM emp",
        "SELECT * FROM emp\u2024ssn",
    )


def test_r42_a_cte_opens_none_of_the_engines_own_relations(gate: Gate) -> None:
    """What WITH RECURSIVE names, and the Kelvin sign, which is a `k` for Python and none for DuckDB."""
    gate.refuses(
        "WITH RECURSIVE duckdb_databases AS (SELECT * FROM duckdb_databases) SELECT * FROM duckdb_databases",
        "WITH RECURSIVE sqlite_master AS (SELECT * FROM sqlite_master) SELECT m.* FROM sqlite_master m, emp",
        "WITH RECURSIVE d AS (SELECT 1 AS a), duckdb_columns AS (FROM duckdb_columns) FROM duckdb_columns",
        "WITH RECURSIVE duckdb_tables AS (SELECT sql FROM duckdb_tables UNION ALL BY NAME SELECT 'a' AS sql)"
        " FROM duckdb_tables",
        "WITH RECURSIVE duckdb_tables AS (SELECT sql FROM duckdb_tables UNION SELECT sql FROM duckdb_tables)"
        " SELECT d.sql FROM duckdb_tables d, emp",
        "WITH RECURSIVE duckdb_views AS (FROM (PIVOT duckdb_views ON schema_name USING count(*))) FROM duckdb_views",
        'WITH "duc\u212adb_databases" AS (SELECT 1 AS a) SELECT * FROM duckdb_databases',
        'SELECT (WITH "DUC\u212aDB_TABLES" AS (SELECT 1 AS a) SELECT max(sql) FROM duckdb_tables) AS x FROM emp',
        "WITH duckdb_tables AS (SELECT 1 AS a) SELECT a FROM duckdb_tables",
    )


def test_r42_with_recursive_means_what_it_means_to_duckdb(trial: Trial) -> None:
    if trial.door != "ibis":  # which drops RECURSIVE
        trial.holds(
            "WITH RECURSIVE emp AS (SELECT id, ssn FROM emp) SELECT * FROM emp",
            "WITH RECURSIVE emp AS (SELECT id FROM emp UNION SELECT id + 100 FROM emp WHERE id < 300) FROM emp",
            "WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL (SELECT id + 1 FROM n WHERE id < 5)), tables AS (FROM n)"
            " SELECT name FROM emp JOIN tables USING (id)",
            "WITH RECURSIVE n AS ((SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 5)) SELECT id FROM n",
        )


@pytest.mark.parametrize("name", ["ana\u200b", "\u202eana", "ana\n", "ana\x00", "an\u00ada", "", " ", "\ud800"])
def test_r24_names_of_people_that_look_alike(site_of: Callable[[str], Site], reach: Reach, name: str) -> None:
    with pytest.raises(AccessDenied):
        site_of("duckdb").admin.as_principal(name).query("SELECT id FROM emp")
    reach("sql", "refused")


@pytest.mark.parametrize("role", ["\u0430nalyst", "\uff41nalyst", "ANALYST", "analyst ", "Admin", "\u0430dmin"])
def test_r24_roles_that_look_alike_are_other_roles(site_of: Callable[[str], Site], reach: Reach, role: str) -> None:
    with pytest.raises(AccessDenied):
        site_of("duckdb").admin.as_principal("eve", roles=[role]).query("SELECT id FROM emp")
    reach("sql", "refused")


def test_r25_comments(trial: Trial) -> None:
    trial.holds(
        "SELECT id FROM emp -- WHERE dept = 'Legal'",
        "SELECT id /* , secret */ FROM emp",
        "SELECT id FROM emp /*! WHERE 1 = 1 */",
        "SELECT id FROM emp /* a /* nested */ comment */",
        "SELECT id FROM /**/ emp /**/ WHERE /* */ ssn LIKE '666%'",
        "SELECT '--' AS a, '/*' AS b, id FROM emp",
        "SELECT id FROM emp # comment",
        "SELECT id FROM emp -- \r\n WHERE dept = 'Legal'",
    )


def test_r25_texts_that_do_not_end(gate: Gate) -> None:
    gate.refuses(
        "SELECT id FROM emp /* ",
        "SELECT id FROM emp WHERE name = '",
        'SELECT "id FROM emp',
        "SELECT $$ FROM emp",
        "SELECT id FROM emp WHERE name = E'\\",
        "-- nothing",
    )


def test_r26_two_statements(gate: Gate) -> None:
    gate.refuses(
        "SELECT 1; SELECT * FROM emp",
        "SELECT id FROM emp; DROP TABLE emp",
        "SELECT id FROM emp; -- x\nATTACH ':memory:' AS m",
        "SET threads = 1; SELECT id FROM emp",
        ";;SELECT 1;;SELECT 2",
        "BEGIN; SELECT id FROM emp",
    )


def test_r27_statements_that_are_no_query(gate: Gate) -> None:
    gate.refuses(
        "CALL pragma_version()",
        "PREPARE p AS SELECT * FROM emp",
        "EXECUTE p",
        "DEALLOCATE p",
        "LOAD httpfs",
        "INSTALL httpfs",
        "VACUUM",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
        "CREATE SECRET s (TYPE s3)",
        "EXPORT DATABASE 'x'",
        "IMPORT DATABASE 'x'",
        "COMMENT ON TABLE emp IS 'x'",
        "GRANT SELECT ON emp TO eve",
        "ANALYZE emp",
        "USE memory",
        "ALTER TABLE emp ADD COLUMN x INTEGER",
        "TRUNCATE emp",
        "FROM emp INSERT INTO orders",
        "SELECT * INTO copy FROM emp",
        "SELECT * FROM emp FOR UPDATE",
        "DO $$ BEGIN END $$",
        "KILL 1",
    )


def test_r28_dialects(trial: Trial) -> None:
    trial.holds(
        "FROM emp",
        "FROM emp WHERE dept = 'Legal' SELECT ssn",
        "TABLE emp",
        "SELECT * FROM (VALUES (1), (2)) v(id) JOIN emp USING (id)",
        "SELECT id: 1, name FROM emp",
        "SELECT TOP 3 id FROM emp",
        "SELECT id FROM emp FETCH FIRST 2 ROWS ONLY",
        "SELECT id FROM emp WHERE name == 'Ann 01'",
        'SELECT id FROM emp WHERE dept = "Sales"',
        "SELECT id FROM emp WHERE 1",
        "SELECT id FROM emp WHERE name = 'x\\' OR 1=1 --'",
        "SELECT id FROM emp WHERE name = 'x' || chr(39) || ' OR 1=1'",
        "SELECT STRAIGHT_JOIN id FROM emp",
    )


@pytest.mark.parametrize("dialect", ["mysql", "bigquery", "snowflake", "postgres", "tsql"])
def test_r28_other_dialects_are_translated_first(site_of: Callable[[str], Site], reach: Reach, dialect: str) -> None:
    con = site_of("sqlite").analyst.ibis()
    quoted = {"mysql": "`emp`", "bigquery": "`emp`", "tsql": "[emp]"}.get(dialect, '"emp"')
    found = con.sql(f"SELECT count(*) AS n FROM {quoted} WHERE ssn LIKE '666%'", dialect=dialect)
    assert found.to_pyarrow().to_pylist() == [{"n": 0}]
    for text in ("SELECT * FROM vault", "SELECT secret FROM emp", "SELECT 1; SELECT 2"):
        with pytest.raises((TauroError, ValueError)):
            con.sql(text, dialect=dialect)
    reach("ibis", "holds")


def test_r29_objects_of_ones_own(gate: Gate) -> None:
    gate.refuses(
        "CREATE MACRO emp() AS TABLE SELECT 1",
        "CREATE VIEW emp AS SELECT 1",
        "CREATE OR REPLACE TEMP TABLE emp AS SELECT 1",
        "CREATE TYPE emp AS INTEGER",
        "CREATE SCHEMA emp",
        "CREATE SEQUENCE s",
        "SET search_path = 'temp'",
        "SET schema = 'main'",
        "USE temp",
        "SET VARIABLE emp = 1",
        "SELECT emp() FROM emp",
    )


def test_r28_operators_mean_what_they_mean_to_duckdb(trial: Trial) -> None:
    """`~` was read as a search, `id! IN (...)` as NOT IN, and `#1` was the first column that the query needed."""
    trial.holds(
        "SELECT id FROM emp WHERE name ~ 'Ann'",
        "SELECT id FROM emp WHERE name ~ 'Ann 0.'",
        "SELECT id FROM emp WHERE name !~ '.*1'",
        "SELECT id FROM emp WHERE name !~~ '%1'",
        "SELECT id FROM emp WHERE name !~~* 'ANN%1'",
        "SELECT ~id AS a FROM emp WHERE id != ~3",
        "SELECT id FROM emp WHERE name = e'Ann\\x2001'",
    )


def test_r28_what_would_be_read_otherwise_is_refused(gate: Gate) -> None:
    gate.refuses(
        "SELECT #1 FROM emp",
        "SELECT id FROM emp WHERE #2 = 'UMBRA 2'",
        "SELECT count(*) FROM emp GROUP BY #1",
        "SELECT id FROM emp WHERE code! IN (120)",
        "SELECT !id FROM emp",
        "SELECT E'\\u0041' AS a FROM emp",
    )
