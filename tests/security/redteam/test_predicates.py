"""R1 to R10: statements of every shape over masked columns and hidden rows."""

from __future__ import annotations

from tests.security.redteam.trial import Gate, Trial


def test_r01_searching_a_masked_column(trial: Trial) -> None:
    trial.holds(
        "SELECT id FROM emp WHERE ssn = '666-13-0003'",
        "SELECT id FROM emp WHERE ssn = '***-**-0003'",
        "SELECT id FROM emp WHERE ssn LIKE '666%'",
        "SELECT id FROM emp WHERE ssn LIKE '%3' ORDER BY 1",
        "SELECT id FROM emp WHERE salary BETWEEN 30000 AND 30001",
        "SELECT count(*) AS n FROM emp WHERE salary >= 50000 AND salary < 100000",
        "SELECT id FROM emp WHERE email ~ '^canary'",
        "SELECT id FROM emp WHERE regexp_matches(email, '^c[*]+x') ORDER BY id",
        "SELECT id FROM emp WHERE born = DATE '1953-03-17'",
        "SELECT id FROM emp WHERE born = DATE '1953-01-01'",
        "SELECT id FROM emp WHERE born > DATE '1953-01-01' AND born < DATE '1954-01-01'",
        "SELECT id FROM emp WHERE name = 'UMBRA 2'",
        "SELECT id FROM emp WHERE id = 2",
        "SELECT count(*) AS n FROM emp WHERE dept <> 'Sales' OR dept IS NULL",
        "SELECT id FROM emp WHERE grade = 43",
        "SELECT id FROM emp WHERE city IS NOT NULL",
        "SELECT count(*) AS n FROM emp WHERE ssn SIMILAR TO '666.*'",
        "SELECT count(*) AS n FROM emp WHERE card ILIKE '%CANARY%'",
        "SELECT id FROM emp WHERE NOT (ssn = '666-13-0003') ORDER BY id",
        "SELECT id FROM emp WHERE id = 987654321",
    )


def test_r02_lists_and_subqueries(trial: Trial) -> None:
    trial.holds(
        "SELECT id FROM emp WHERE ssn IN ('666-13-0001', '666-13-0003', '***-**-0005')",
        "SELECT id FROM emp WHERE ssn NOT IN ('***-**-0005') ORDER BY 1",
        "SELECT id FROM emp WHERE id IN (SELECT id FROM emp WHERE dept = 'Legal')",
        "SELECT id FROM orders WHERE emp_id IN (SELECT id FROM emp) ORDER BY 1",
        "SELECT id FROM orders WHERE emp_id NOT IN (SELECT id FROM emp) ORDER BY 1",
        "SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM emp e WHERE e.id = o.emp_id AND e.salary > 1) ORDER BY 1",
        "SELECT id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM emp e WHERE e.id = o.emp_id) ORDER BY 1",
        "SELECT id FROM emp WHERE salary >= ALL (SELECT salary FROM emp WHERE salary IS NOT NULL) ORDER BY 1",
        "SELECT id FROM emp WHERE id = ANY (SELECT emp_id FROM orders) ORDER BY 1",
        "SELECT id FROM orders WHERE emp_id = (SELECT min(id) FROM emp WHERE name LIKE 'UMBRA%')",
        "SELECT id FROM emp WHERE (ssn, id) IN (('666-13-0003', 3), ('***-**-0005', 5))",
        "SELECT id FROM emp WHERE id IN (VALUES (2), (3), (4))",
    )


def test_r03_sorting_by_a_masked_column(trial: Trial) -> None:
    trial.holds(
        "SELECT ssn FROM emp ORDER BY ssn LIMIT 1",
        "SELECT id, salary FROM emp ORDER BY salary DESC NULLS LAST, id LIMIT 3 OFFSET 2",
        "SELECT id FROM emp ORDER BY born NULLS FIRST, id LIMIT 4",
        "SELECT id FROM emp ORDER BY email, id LIMIT 5",
        "SELECT id FROM emp ORDER BY id LIMIT 30 OFFSET 10",
        "SELECT id FROM emp ORDER BY ALL LIMIT 2",
        "SELECT name FROM emp ORDER BY name DESC LIMIT 1",
        "SELECT id FROM emp ORDER BY grade, id DESC LIMIT 3",
    )


def test_r04_grouping_by_a_masked_column(trial: Trial) -> None:
    trial.holds(
        "SELECT ssn, count(*) AS n FROM emp GROUP BY ssn",
        "SELECT DISTINCT salary FROM emp",
        "SELECT count(DISTINCT ssn) AS n, count(DISTINCT salary) AS m, count(DISTINCT city) AS k FROM emp",
        "SELECT salary, count(*) AS n FROM emp GROUP BY salary HAVING count(*) > 1",
        "SELECT dept, count(*) AS n FROM emp GROUP BY dept",
        "SELECT dept, salary, count(*) AS n FROM emp GROUP BY ROLLUP (dept, salary)",
        "SELECT dept, born, count(*) AS n FROM emp GROUP BY GROUPING SETS ((dept), (born), ())",
        "SELECT DISTINCT ON (salary) salary, id FROM emp ORDER BY salary, id",
        "SELECT grade, count(*) AS n FROM emp GROUP BY ALL",
        "SELECT count(*) AS n FROM emp",
        "SELECT count(*) FILTER (WHERE ssn LIKE '666%') AS n FROM emp",
    )


def test_r05_joining_on_a_masked_column(trial: Trial) -> None:
    candidates = ", ".join(f"('666-13-{number:04d}')" for number in range(25))
    trial.holds(
        f"SELECT e.id FROM emp e JOIN (VALUES {candidates}) AS r(guess) ON e.ssn = r.guess",
        "SELECT a.id, b.id AS other FROM emp a JOIN emp b ON a.ssn = b.ssn",
        "SELECT id FROM emp JOIN (SELECT ssn FROM team) t USING (ssn)",
        "SELECT count(*) AS n FROM emp NATURAL JOIN (SELECT id, salary FROM emp) x",
        "SELECT o.id FROM orders o JOIN emp e ON o.emp_id = e.id WHERE e.salary > 100000 ORDER BY 1",
        "SELECT o.id, e.ssn FROM orders o LEFT JOIN emp e ON o.emp_id = e.id",
        "SELECT o.id FROM orders o SEMI JOIN emp e ON o.emp_id = e.id ORDER BY 1",
        "SELECT o.id FROM orders o ANTI JOIN emp e ON o.emp_id = e.id ORDER BY 1",
        "SELECT e.id, o.id AS o FROM emp e FULL JOIN orders o ON o.emp_id = e.id",
        "SELECT o.id, e.id AS e FROM orders o ASOF JOIN emp e ON o.emp_id >= e.id",
        "SELECT count(*) AS n FROM emp a, emp b WHERE a.salary = b.salary AND a.id < b.id",
        "SELECT o.id FROM emp e RIGHT JOIN orders o ON e.id = o.emp_id AND e.grade = 747747 WHERE e.id IS NOT NULL",
        "SELECT a.id FROM emp a JOIN emp b ON a.id = b.big",
    )


def test_r06_windows_over_hidden_neighbours(trial: Trial) -> None:
    trial.holds(
        "SELECT id, rank() OVER (ORDER BY salary) AS r FROM emp",
        "SELECT id, lag(name) OVER (ORDER BY id) AS before, lead(ssn) OVER (ORDER BY id) AS after FROM emp",
        "SELECT id, nth_value(email, 2) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS x FROM emp",
        "SELECT id, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS whole FROM emp",
        "SELECT id, sum(salary) OVER (ORDER BY id RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING) AS s FROM emp",
        "SELECT id, first_value(name) OVER (ORDER BY id DESC) AS f FROM emp",
        "SELECT id, percent_rank() OVER (ORDER BY born) AS p, cume_dist() OVER (ORDER BY id) AS c FROM emp",
        "SELECT id, max(name) OVER (PARTITION BY dept) AS m FROM emp",
        "SELECT id FROM emp QUALIFY row_number() OVER (ORDER BY name DESC) = 1",
        "SELECT id, ntile(3) OVER (ORDER BY id) AS t FROM emp",
    )


def test_r07_aggregates_that_carry_values(trial: Trial) -> None:
    trial.holds(
        "SELECT min(ssn) AS a, max(ssn) AS b, max(name) AS c, min(day) AS d, max(day) AS e, max(big) AS f FROM emp",
        "SELECT string_agg(ssn, ',' ORDER BY id) AS s FROM emp",
        "SELECT list(email ORDER BY id) AS l FROM emp",
        "SELECT histogram(salary) AS h FROM emp",
        "SELECT arg_max(name, id) AS a, arg_min(ssn, id) AS b FROM emp",
        "SELECT mode(dept) AS m, median(id) AS d FROM emp",
        "SELECT quantile_disc(salary, 0.5) AS q, quantile_cont(code, 0.9) AS c FROM emp",
        "SELECT first(name ORDER BY id) AS f, last(ssn ORDER BY id) AS l FROM emp",
        "SELECT approx_count_distinct(ssn) AS n FROM emp",
        "SELECT sum(salary) AS s, avg(code) AS a, stddev_pop(code) AS d FROM emp",
        "SELECT max(emp.name) AS m FROM emp GROUP BY ALL",
        "SELECT bit_xor(id) AS x, bool_and(code > 0) AS b, product(code) AS p FROM emp WHERE id < 10",
        "SELECT max(e) AS m FROM (SELECT struct_pack(s := ssn, n := name) AS e FROM emp)",
    )


def test_r08_exposing_what_is_masked_again(trial: Trial) -> None:
    trial.holds(
        "SELECT id, CASE WHEN ssn LIKE '666%' THEN 'raw' ELSE ssn END AS s FROM emp",
        "SELECT id, coalesce(city, ssn, email) AS c FROM emp",
        "SELECT id, nullif(ssn, '***-**-0003') AS s FROM emp",
        "SELECT id, salary::VARCHAR AS s, born::VARCHAR AS b, salary::BIGINT AS i FROM emp",
        "SELECT id, substring(ssn, 1, 3) AS s, reverse(email) AS r, length(card) AS l FROM emp",
        "SELECT id, md5(ssn) AS h, hash(email) AS g FROM emp",
        "SELECT id, salary - 0.37 AS s, extract(month FROM born) AS m FROM emp",
        "SELECT id, grade + 1 AS g, typeof(city) AS t, city || 'x' AS c FROM emp",
        "SELECT id, try_cast(ssn AS INTEGER) AS i FROM emp",
        "SELECT id, greatest(ssn, '0') AS g, least(email, 'zz') AS l FROM emp",
        "SELECT id, to_json(emp) AS j FROM emp",
        "SELECT emp FROM emp WHERE id = 3",
        "SELECT unnest([ssn, email]) AS u FROM emp",
        "SELECT secret FROM emp",
        "SELECT id FROM emp WHERE secret IS NOT NULL",
        "SELECT count(secret) AS n FROM emp",
        "SELECT emp.secret FROM emp",
        "SELECT id FROM emp ORDER BY secret",
        "SELECT gem FROM vault",
        "SELECT id, ssn AS secret FROM emp WHERE id = 3",
    )


def test_r09_set_operations_with_own_rows(trial: Trial) -> None:
    trial.holds(
        "SELECT ssn FROM emp INTERSECT SELECT '666-13-0003'",
        "SELECT ssn FROM emp INTERSECT SELECT '***-**-0003'",
        "SELECT ssn FROM emp EXCEPT SELECT '666-13-0003'",
        "SELECT '666-13-0003' AS s EXCEPT SELECT ssn FROM emp",
        "SELECT id FROM emp UNION SELECT emp_id FROM orders",
        "SELECT id, name FROM emp UNION ALL BY NAME SELECT id, item AS name FROM orders",
        "SELECT emp_id FROM orders EXCEPT ALL SELECT id FROM emp",
        "SELECT count(*) AS n FROM (SELECT name FROM emp UNION ALL SELECT name FROM emp)",
    )


def test_r10_every_shape_of_a_statement(trial: Trial) -> None:
    trial.holds(
        "WITH c AS (SELECT * FROM emp) SELECT id, ssn FROM c",
        "WITH emp AS (SELECT * FROM emp) SELECT id, ssn FROM emp",
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1 AS id) SELECT * FROM a",
        "SELECT e.id, l.n FROM emp e, LATERAL (SELECT count(*) AS n FROM emp x WHERE x.id < e.id) l",
        "SELECT id, (SELECT max(name) FROM emp x WHERE x.id <= e.id) AS m FROM emp e",
        "SELECT id, (SELECT name FROM emp x WHERE x.id = e.id + 1) AS m FROM emp e",
        "SELECT id FROM emp QUALIFY rank() OVER (ORDER BY salary DESC) <= 2",
        "SELECT COLUMNS('s.*') FROM emp",
        "SELECT max(COLUMNS(*)) FROM emp",
        "SELECT * EXCLUDE (ssn) FROM emp",
        "SELECT * REPLACE (upper(ssn) AS ssn) FROM emp",
        "SELECT * FROM emp",
        "SELECT emp.* FROM emp JOIN orders o ON o.id = emp.id",
        "SELECT id FROM emp TABLESAMPLE 100%",
        "SELECT count(*) AS n FROM emp USING SAMPLE 100 PERCENT",
        "FROM emp SELECT id",
        "FROM emp",
        "TABLE emp",
        "SELECT x.id FROM (FROM emp WHERE id > 3) AS x",
        "SELECT * FROM team",
        "SELECT t.name FROM team t WHERE t.ssn = '666-13-0003'",
        "SELECT list_transform(list(id ORDER BY id), x -> x + 1) AS l FROM emp",
        "SELECT [x FOR x IN list(id ORDER BY id) IF x > 3] AS l FROM emp",
        "SELECT a.id FROM emp a POSITIONAL JOIN (SELECT 1 AS one) b",
        "SELECT * RENAME (ssn AS other) FROM emp",
    )


def test_r10_what_ibis_cannot_carry(trial: Trial) -> None:
    """An expression must know its columns before it runs, and loses the RECURSIVE of a CTE: refused, not guessed."""
    statements = (
        "PIVOT emp ON dept IN ('Sales', 'Legal') USING count(*) GROUP BY salary",
        "FROM (PIVOT emp ON dept IN ('Sales', 'Legal') USING max(ssn) GROUP BY id) ORDER BY id",
        "VALUES (1, 'a')",
        "SELECT * FROM (UNPIVOT emp ON ssn, email INTO NAME what VALUE value)",
        "WITH RECURSIVE r(n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r, emp WHERE id = n",
    )
    if trial.door == "ibis":
        trial.gate().refuses(*statements)
    else:
        trial.holds(*statements)


def test_r10_a_mark_of_ours_is_no_name(gate: Gate) -> None:
    gate.refuses(
        'SELECT * FROM "~raw".emp',
        'SELECT * FROM "~visible".emp',
        'SELECT * FROM "~raw"."emp" AS emp',
        'SELECT "~raw".emp.ssn FROM emp',
        'SELECT "_".ssn FROM emp',
        'SELECT emp."_" FROM emp',
        'SELECT "_".secret FROM emp',
        "SELECT rowid FROM emp",
    )
