"""R39 to R44: who asks, what they pass, and policies that change meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pytest
from IPython.utils.capture import capture_output

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, PolicyError, TauroError
from tauro_nb.security import FieldSecurityPolicy, Principal, TableSecurityPolicy
from tests.security.redteam.doors import DOORS, Visit
from tests.security.redteam.sites import Site, build_site
from tests.security.redteam.staff import EMP, POLICY, VISIBLE_EMP
from tests.security.redteam.trial import Gate, Reach, canaries, said_by

HOSTILE = [
    "x' OR '1'='1",
    "x\\' OR 1=1 --",
    "x'; DROP TABLE emp; --",
    "Ann 01' --",
    "%",
    "_nn 01",
    "{principal}",
    "{principal.__class__}",
    "{0.__init__.__globals__}",
    "%(name)s",
    "$1",
    ":name",
    "ann 01",
    "Ann 01 ",
    "' || (SELECT max(name) FROM emp) || '",
    "NULL",
    "x" * 500,
    "\u1d2c\u1daf\u1daf 01",
]


@pytest.fixture(scope="module")
def own(site_of: Callable[[str], Site]) -> Iterator[VirtualContext]:
    """Everybody sees the row that bears their name, or those that an attribute of theirs lists."""
    site = site_of("sqlite")
    policy = {"row_level_filters": {"own": "name = {principal}", "in": "name IN ({principal.names})"}}
    with VirtualContext({**site.config, "security_policies": {"emp": policy}}, "admin") as admin:
        yield admin


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("door", ["sql", "ibis", "dbapi", "magics", "rows"])
def test_r39_a_name_is_a_value(own: VirtualContext, red_shell: Any, reach: Reach, door: str, name: str) -> None:
    ask: dict[str, Callable[[], list[Any]]] = {
        "sql": lambda: own.as_principal(name, roles=["own"]).query("SELECT id FROM emp").rows(),
        "ibis": lambda: own.as_principal(name, roles=["own"]).table("emp").select("id").to_pyarrow().to_pylist(),
        "dbapi": lambda: tauro_nb.connect(own, Principal(name, {"own"})).execute("SELECT id FROM emp").fetchall(),
        "magics": lambda: _by_magic(own.as_principal(name, roles=["own"]), red_shell),
        "rows": lambda: own.security.apply_row_level_security("emp", Principal(name, {"own"}), EMP),
    }
    assert ask[door]() == []
    reach(door, "holds")


def _by_magic(ctx: VirtualContext, shell: Any) -> list[Any]:
    shell.user_ns["catalog"] = ctx
    with capture_output():
        shell.run_cell("%vconnect catalog").raise_error()
        shell.run_cell("%%vquery found\nSELECT id FROM emp").raise_error()
    rows: list[Any] = shell.user_ns["found"].rows()
    return rows


@pytest.mark.parametrize("name", HOSTILE)
def test_r39_an_attribute_is_a_value(own: VirtualContext, reach: Reach, name: str) -> None:
    listed = own.as_principal("eve", roles=["in"], attributes={"names": [name]})
    assert listed.query("SELECT id FROM emp").rows() == []
    with pytest.raises(AccessDenied):
        own.as_principal("eve", roles=["in"]).query("SELECT id FROM emp")
    reach("sql", "holds")


@pytest.mark.parametrize("who", [None, 7, b"ana", ["ana"], "", "\n"])
def test_r39_nobody_in_particular_sees_nothing(site_of: Callable[[str], Site], reach: Reach, who: Any) -> None:
    site = site_of("sqlite")
    with pytest.raises((TauroError, TypeError)):
        Principal(who)
    with pytest.raises((TauroError, TypeError)):
        site.admin.security.apply_row_level_security("emp", who, EMP)
    reach("rows", "refused")


INJECTED = ["' OR 1=1 --", "emp", "secret", "vault; DROP", "(SELECT max(name) FROM emp)", "\x00", "666-13-0002"]


@pytest.mark.parametrize("value", INJECTED)
@pytest.mark.parametrize("door", ["sql", "ibis", "dbapi", "magics"])
def test_r40_a_parameter_is_a_value(
    site_of: Callable[[str], Site], red_shell: Any, reach: Reach, door: str, value: str
) -> None:
    site = site_of("postgresql")
    sql, found = "SELECT id FROM emp WHERE name = :value OR ssn = :value", None
    if door == "sql":
        found = site.analyst.query(sql, {"value": value}).rows()
    elif door == "ibis":
        parameter = ibis.param("string")
        emp = site.analyst.table("emp")
        chosen = emp.filter((emp.name == parameter) | (emp.ssn == parameter))
        if "\x00" in value:
            # Ibis writes the value into the text, which ends there for DuckDB.
            with pytest.raises(TauroError):
                chosen.to_pyarrow(params={parameter: value})
            return
        found = chosen.to_pyarrow(params={parameter: value}).to_pylist()
    elif door == "dbapi":
        name = site.analyst.principal
        found = tauro_nb.connect(site.admin.as_principal(name)).execute(sql, {"value": value}).fetchall()
    else:
        red_shell.user_ns |= {"catalog": site.analyst, "value": value}
        with capture_output():
            red_shell.run_cell("%vconnect catalog").raise_error()
            red_shell.run_cell(f"%%vquery found\n{sql}").raise_error()
        found = red_shell.user_ns["found"].rows()
    assert found == []
    reach(door, "holds")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM :value",
        "SELECT :value.ssn FROM emp",
        "SELECT id FROM emp ORDER BY ssn :value",
        "SELECT id FROM emp LIMIT :value",
        "SELECT COLUMNS(:value) FROM vault",
        "SELECT * FROM query_table(:value)",
        "SELECT * FROM read_csv(:value)",
        "SELECT id::$value FROM emp",
    ],
)
def test_r40_a_parameter_is_no_name(site_of: Callable[[str], Site], reach: Reach, sql: str) -> None:
    for value in ("emp", "vault", "/etc/passwd", "'emp'", ["emp"]):
        with pytest.raises(TauroError) as caught:
            site_of("duckdb").analyst.query(sql, {"value": value}).rows()
        assert canaries(said_by(caught.value)) == []
    reach("sql", "refused")


@pytest.mark.parametrize("roles", ["analyst,admin", ["analyst,admin"], ["analyst admin"], ["*"], [["admin"]], [None]])
def test_r41_roles_are_no_text(site_of: Callable[[str], Site], reach: Reach, roles: Any) -> None:
    site = site_of("duckdb")
    try:
        rows = site.admin.as_principal("eve", roles=roles).query("SELECT secret FROM emp").rows()
    except (TauroError, TypeError):
        rows = []
    assert rows == []
    reach("sql", "refused")


def test_r41_nobody_becomes_more_after_the_door_was_opened(
    site_of: Callable[[str], Site], reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles, attributes = ["analyst"], {"team": "a"}
    analyst = site_of("duckdb").admin.as_principal("eve", roles=roles, attributes=attributes)
    before = analyst.query("SELECT * FROM emp ORDER BY id").rows()
    roles.append("admin")
    attributes["team"] = "b"
    for name in ("USER", "LOGNAME", "TAURO_PRINCIPAL", "TAURO_ROLES"):
        monkeypatch.setitem(os.environ, name, "admin")
    with pytest.raises((FrozenInstanceError, AttributeError)):
        analyst.principal.roles = frozenset({"admin"})  # type: ignore[misc]
    with pytest.raises(AttributeError):
        analyst.principal.roles.add("admin")  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        analyst.principal.attributes["team"] = "b"  # type: ignore[index]
    assert analyst.query("SELECT * FROM emp ORDER BY id").rows() == before
    reach("sql", "holds")


def test_r44_a_plan_is_no_ticket(reach: Reach, tmp_path: Path) -> None:
    """The policy, then its removal, between plan and run; a prepared expression and a result that is being read."""
    with build_site("duckdb", tmp_path, None) as site:
        plan = site.analyst.plan("SELECT id, ssn FROM emp ORDER BY id")
        expression = site.analyst.table("emp").select("id", "ssn").order_by("id")
        streaming = site.analyst.query("SELECT id, ssn FROM emp ORDER BY id")
        assert len(site.analyst.run(plan)) == len(VISIBLE_EMP)
        policy = TableSecurityPolicy.from_mapping("emp", POLICY["emp"])
        policy.row_level_filters["analyst"] = "id = 1"
        site.admin.security.register_policy(policy)
        with pytest.raises(TauroError, match="changed"):
            site.analyst.run(plan)
        assert expression.to_pyarrow().num_rows == 1
        assert site.analyst.query("SELECT id FROM emp").rows() == [{"id": 1}]
        policy.row_level_filters["analyst"] = "id = 3"
        assert site.analyst.query("SELECT id FROM emp").rows() == [{"id": 3}]
        policy.field_policies["id"] = FieldSecurityPolicy("id", allowed_roles=["admin"])
        with pytest.raises(AccessDenied):
            site.analyst.query("SELECT id FROM emp")
        policy.allowed_roles = ["admin"]
        with pytest.raises(AccessDenied):
            expression.to_pyarrow()
        with pytest.raises(AccessDenied):
            streaming.rows()
    reach("sql", "refused")
    reach("ibis", "refused")


def _by_policy(root: VirtualContext) -> None:
    policy = root.security.get_policy("t")
    assert policy is not None
    policy.allowed_roles = ["admin"]


def _by_rule(root: VirtualContext) -> None:
    policy = root.security.get_policy("t")
    assert policy is not None
    policy.field_policies["name"] = FieldSecurityPolicy("name", mask="null")


def _by_tag(root: VirtualContext) -> None:
    table = root.layer.schema_registry.get_table("t")
    assert table is not None
    table.column_tags["name"] = ["pii"]


def _by_definition(root: VirtualContext) -> None:
    table = root.layer.schema_registry.get_table("t")
    assert table is not None
    root.schema_registry.update_table(replace(table, access_control={"select": ["admin"]}))


@pytest.mark.parametrize("change", [_by_policy, _by_rule, _by_tag, _by_definition])
def test_r44_a_stream_stops_when_its_right_is_gone(
    tmp_path: Path, reach: Reach, change: Callable[[VirtualContext], None]
) -> None:
    """Policies are changed in place, tags and definitions in the catalog: none of them is a new policy."""
    with duckdb.connect(str(tmp_path / "d.duckdb")) as con:
        con.execute("CREATE TABLE t AS SELECT i AS id, 'name ' || i AS name FROM range(400000) s(i)")
    config = {
        "connections": {"at": {"type": "duckdb", "path": str(tmp_path / "d.duckdb")}},
        "virtual_tables": {"t": {"connector_type": "duckdb", "connection": "at", "table": "t"}},
        "security_policies": {"t": {"allowed_roles": ["admin", "ana"]}},
        "tag_policies": {"pii": {"mask": "null", "allowed_roles": ["admin"]}},
    }
    with VirtualContext(config, "admin") as root:
        untouched, stream = (iter(root.as_principal("ana").query("SELECT * FROM t").to_batches()) for _ in range(2))
        assert sum(batch.num_rows for batch in untouched) == 400_000
        next(stream)
        change(root)
        with pytest.raises(TauroError, match=r"changed|no role|lists no"):
            next(stream)
    reach("sql", "refused")


def test_r44_without_its_policy_a_table_is_what_the_default_says(reach: Reach, tmp_path: Path) -> None:
    with build_site("duckdb", tmp_path, None) as site:
        closed = {**site.config, "default_access": "deny"}
        with VirtualContext(closed, "admin") as admin:
            analyst = admin.as_principal("ana", roles=["analyst"])
            assert len(analyst.query("SELECT id FROM emp")) == len(VISIBLE_EMP)
            plan = analyst.plan("SELECT id FROM emp")
            admin.security.remove_policy("emp")
            for ask in (lambda: analyst.query("SELECT id FROM emp"), lambda: analyst.run(plan)):
                with pytest.raises(AccessDenied):
                    ask()
    reach("sql", "refused")


def test_r44_a_policy_that_is_wrong_changes_nothing(reach: Reach, tmp_path: Path) -> None:
    with build_site("duckdb", tmp_path, None) as site:
        for wrong in ("id = ", "sum(id) > 1", "id = 'x' OR", "SELECT 1"):
            policy = TableSecurityPolicy.from_mapping("emp", {**POLICY["emp"], "row_level_filters": {"analyst": wrong}})
            with pytest.raises(PolicyError):
                site.admin.security.register_policy(policy)
            assert len(site.analyst.query("SELECT id FROM emp")) == len(VISIBLE_EMP)
        live = site.admin.security.get_policy("emp")
        assert live is not None
        live.row_level_filters["analyst"] = "id = "
        for _ in range(2):
            with pytest.raises(PolicyError):
                site.analyst.query("SELECT id FROM emp")
    reach("sql", "refused")


def test_r44_half_a_policy_file_closes_everything(reach: Reach, tmp_path: Path) -> None:
    """See also `tests/security/operating`."""
    with duckdb.connect(str(tmp_path / "d.duckdb")) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS id")
    path = tmp_path / "policies.yaml"
    path.write_text("security_policies:\n  t: {allowed_roles: [ana]}\n...\n")
    config = {
        "connections": {"at": {"type": "duckdb", "path": str(tmp_path / "d.duckdb")}},
        "virtual_tables": {"t": {"connector_type": "duckdb", "connection": "at", "table": "t"}},
        "security": {"policies": str(path)},
    }
    with VirtualContext(config, "ana") as ctx:
        assert len(ctx.query("SELECT * FROM t")) == 1
        path.write_text("security_policies:\n  t: {allowed_ro")
        with pytest.raises(TauroError):
            ctx.query("SELECT * FROM t")
        path.unlink()
        with pytest.raises(TauroError):
            ctx.query("SELECT * FROM t")
    reach("sql", "refused")


def test_r42_names_of_a_policy(gate: Gate) -> None:
    """What a query calls its own never becomes what a policy speaks of."""
    gate.refuses(
        'WITH "~raw" AS (SELECT 1) SELECT * FROM "~raw".emp',
        "WITH emp AS (SELECT 2 AS id, 'Sales' AS dept) SELECT secret FROM emp",
        'WITH "temp.main.f0" AS (SELECT 1) SELECT * FROM temp.main.f0',
    )


ENTITLED = {"row_level_filters": {"admin": "", "analyst": "emp_id IN (SELECT id FROM vault)"}}
"""Orders of employees whom a closed table lists: of number 1."""
CAPTURES = (
    "SELECT id FROM orders",
    "WITH vault AS (SELECT emp_id AS id, item AS gem FROM orders) SELECT id FROM orders",
    "WITH vault AS (SELECT 2 AS id, 'x' AS gem) SELECT o.id FROM orders o JOIN vault ON o.emp_id > 0",
    "SELECT vault.id FROM orders AS vault",
    "SELECT o.id FROM orders o, (SELECT 2 AS id) AS vault",
    "SELECT id FROM orders WHERE emp_id IN (WITH vault AS (SELECT 2 AS id) SELECT emp_id FROM orders)",
    'WITH "VAULT" AS (SELECT 2 AS id), v AS (SELECT * FROM "VAULT") SELECT o.id FROM orders o, v',
)


@pytest.fixture
def entitled(site_of: Callable[[str], Site]) -> Iterator[Site]:
    """The site of SQLite, whose policy of orders reads the vault."""
    site = site_of("sqlite")
    policies = {**POLICY, "orders": ENTITLED}
    with VirtualContext({**site.config, "security_policies": policies}, "admin") as admin:
        yield Site(site.kind, site.folder, site.config, admin, admin.as_principal("ana", roles=["analyst"]))


ASKING = [door for door in DOORS if door != "rows"]


@pytest.mark.parametrize("door", ASKING)
def test_r42_what_a_policy_reads_is_not_what_a_query_calls_so(
    entitled: Site, red_shell: Any, reach: Reach, door: str
) -> None:
    own = [{"id": 1}, {"id": 27}]
    for sql in CAPTURES:
        found = DOORS[door](Visit(entitled, red_shell), sql)
        assert sorted(found.table.to_pylist(), key=lambda row: row["id"]) == own, sql
        assert canaries(found.shown) == []
    reach(door, "holds")


def test_r42_nor_what_a_frame_is_called(entitled: Site, reach: Reach) -> None:
    forged = pa.table({"id": pa.array(range(26), pa.int64())})
    found = entitled.analyst.query("SELECT o.id FROM orders o, vault v WHERE v.id = 3", frames={"vault": forged})
    assert sorted(row["id"] for row in found.rows()) == [1, 27]
    named = ibis.memtable(forged).op().copy(name="vault").to_expr()
    orders = entitled.analyst.table("orders")
    joined = orders.join(named, orders.emp_id == named.id).select("emp_id")
    assert joined.to_pyarrow().to_pylist() == [{"emp_id": 1}] * 2
    reach("sql", "holds")
    reach("ibis", "holds")


@pytest.mark.parametrize("door", ASKING)
def test_r43_a_circle_closes_its_tables(entitled: Site, red_shell: Any, reach: Reach, door: str) -> None:
    """One that is registered is refused, and what was in force stays; one that is made in place is no way in."""
    circle = TableSecurityPolicy("vault", row_level_filters={"analyst": "id IN (SELECT emp_id FROM orders)"})
    with pytest.raises(PolicyError, match="vault -> orders -> vault"):
        entitled.admin.security.register_policy(circle)
    assert len(DOORS[door](Visit(entitled, red_shell), "SELECT id FROM orders").table) == 2
    vault = entitled.admin.security.get_policy("vault")
    assert vault is not None
    vault.row_level_filters["admin"] = "id IN (SELECT emp_id FROM orders)"
    with pytest.raises(PolicyError) as caught:
        DOORS[door](Visit(entitled, red_shell), "SELECT id FROM orders")
    assert canaries(said_by(caught.value)) == []
    reach(door, "refused")


SIDE_EFFECTS = (
    "nextval('s') > 0", "setseed(0.5) IS NULL", "write_log(name) IS NULL", "error(name)", "getenv('HOME') = name",
    "EXISTS (SELECT 1 FROM read_text('/etc/passwd'))", "EXISTS (SELECT 1 FROM query('SELECT 1'))", "random() < 0.5",
    "EXISTS (INSERT INTO vault SELECT 1)", "id IN (DELETE FROM vault RETURNING id)", "id = 1; DROP TABLE emp",
)  # fmt: skip


@pytest.mark.parametrize("condition", SIDE_EFFECTS)
def test_r43_a_policy_does_nothing_but_decide(entitled: Site, reach: Reach, condition: str) -> None:
    with pytest.raises(PolicyError):
        entitled.admin.security.register_policy(TableSecurityPolicy("emp", row_level_filters={"analyst": condition}))
    assert len(entitled.analyst.query("SELECT id FROM emp")) == len(VISIBLE_EMP)
    reach("sql", "refused")
