"""R12 where tables of two sources meet: keys, semi-joins, partial aggregates and orders computed of hidden rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tauro_nb import VirtualContext
from tests.security.oracle import Oracle, settle
from tests.security.redteam.test_twins import POLICIES, twin_tables
from tests.security.redteam.trial import Reach
from tests.servers import PostgresServer

SEEN = {
    "emp": "SELECT * REPLACE ((salary // 1000 * 1000)::BIGINT AS salary, (ref // 10 * 10)::BIGINT AS ref) FROM emp "
    "WHERE dept = 'Sales'",
    "orders": "SELECT * FROM orders WHERE item <> 'hidden'",
    "lots": "FROM lots",
}
THROWING = (
    "SELECT e.id, l.v FROM emp e JOIN lots l ON l.emp_id = 1000 // e.code",
    "SELECT e.id, l.v FROM emp e JOIN lots l ON l.emp_id = e.note::BIGINT",
    "SELECT e.ref, l.v FROM emp e JOIN lots l ON l.emp_id = e.ref",
    "SELECT l.id FROM lots l WHERE l.emp_id IN (SELECT e.big + 1 FROM emp e)",
    "SELECT l.id FROM lots l WHERE EXISTS (SELECT 1 FROM emp e WHERE e.id = l.emp_id AND e.note::INT > 5)",
    "SELECT o.item, sum(o.big + 1) AS s FROM orders o JOIN lots l ON l.emp_id = o.emp_id GROUP BY 1",
    "SELECT item, count(*) FILTER (WHERE o.note::INT > 5) AS s FROM orders o JOIN emp e ON e.id = emp_id GROUP BY 1",
    "SELECT sum(l.v // o.qty) AS s FROM orders o JOIN lots l ON l.emp_id = o.emp_id",
    "SELECT e.id FROM emp e JOIN orders o ON e.id = o.emp_id AND e.big + o.big > 0 AND o.day + 1 > o.day",
    "SELECT o.id FROM orders o WHERE (o.qty, o.big + 1) IN (SELECT e.code, e.big + 1 FROM emp e)",
    "SELECT o.id FROM orders o ORDER BY 100 % o.qty, o.note::INT, o.id LIMIT 4",
    "SELECT l.id FROM lots l ORDER BY l.id LIMIT (SELECT max(100 // code) FROM emp)",
    "SELECT o.id FROM orders o JOIN emp e ON e.id = o.emp_id WHERE e.note::TINYINT > 3",
)


@pytest.mark.postgres
@pytest.mark.parametrize("barrier", ["leakproof", "strict"])
def test_r12_hidden_rows_of_two_sources_fail_nothing(
    postgres_server: PostgresServer, tmp_path: Path, reach: Reach, barrier: str
) -> None:
    tables = twin_tables(40)
    uri = postgres_server.uri(postgres_server.create_database())
    here = settle("sqlite", tmp_path / "here", {"emp": tables["emp"]}, connection="here")
    there = settle("postgresql", tmp_path / "there", {k: tables[k] for k in ("orders", "lots")}, uri=uri)
    config = {part: {**here[part], **there[part]} for part in ("connections", "virtual_tables")}
    config |= {"security_policies": POLICIES, "security": {"barrier": barrier}}
    with Oracle(tmp_path, tables, SEEN) as oracle, VirtualContext(config) as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        for sql in THROWING:
            oracle.check(ana, sql)
    reach("sql", "holds")
